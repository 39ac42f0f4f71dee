# SPDX-License-Identifier: MIT
# What runs again and what does not: nothing, after a run; only what depends on a change; nothing for names and order;
# everything below a file whose content changed.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

tiny_spec s.yaml
pk plan s.yaml; is_status 2 "plan before"; says "5 to run, 7 after those"
pk run s.yaml --events e1; is_status 0 "first run"
[ "$(ran e1)" = "after before blocks layers lora rows scores seeds student teacher test tuned" ] || fail "first run ran: $(ran e1)"
says loss "the table of metrics"
says before; says tuned
pk plan s.yaml; is_status 0 "plan after"
pk run s.yaml --events e2; is_status 0 "second run"; says "everything is up to date"
[ -z "$(ran e2)" ] || fail "second run ran: $(ran e2)"

pk plan s.yaml --set r=2; is_status 2 "plan of another rank"; says "lora"
pk plan s.yaml --set r=2 --json; says '"up to date"'; says '"to run"'
pk explain s.yaml lora --set r=2; is_status 0 explain; says "r"; says 4; says 2
pk run s.yaml --set r=2 --events e3; is_status 0 "another rank"
[ "$(ran e3)" = "after lora tuned" ] || fail "another rank ran: $(ran e3)"
pk run s.yaml --events e4; [ -z "$(ran e4)" ] || fail "back to the first rank ran: $(ran e4)"

# another name, another order, another folder
mkdir elsewhere
{ sed -n '1,/^nodes:/p' s.yaml; sed '1,/^nodes:/d' s.yaml | tac; } | sed 's/\btuned\b/trained/g; s/name: tiny/name: other/' >elsewhere/o.yaml
pk run elsewhere/o.yaml --store .pkgraph --events e5; is_status 0 "renamed and reordered"
[ -z "$(ran e5)" ] || fail "renamed and reordered ran: $(ran e5)"

pk run s.yaml --force layers --events e6; is_status 0 "--force"
[ "$(ran e6)" = "layers" ] || fail "--force ran: $(ran e6) (the same bytes stop the wave)"
pk run s.yaml --only scores --events e7; is_status 0 "--only"; says "3 nodes"

# an input file swapped for another of the same size
printf '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' >d.jsonl
printf 'pkgraph: 1\nname: d\nnodes:\n  d: {op: data, params: {path: d.jsonl}}\n' >d.yaml
pk run d.yaml --events f1; is_status 0 "data"
pk run d.yaml --events f2; [ -z "$(ran f2)" ] || fail "an unchanged file ran"
sed -i 's/"b"/"c"/' d.jsonl
pk run d.yaml --events f3; [ "$(ran f3)" = d ] || fail "a swapped file was not noticed"
touch d.jsonl
pk run d.yaml --events f4; [ -z "$(ran f4)" ] || fail "a touched file ran"

# a damaged store is a miss
find .pkgraph/blobs -type f -size +10k -exec sh -c 'chmod u+w "$1"; : >"$1"' _ {} \;
pk run s.yaml --events e8; is_status 0 "after damage"; says loss

pk cache du; is_status 0 "cache du"; says records
pk cache ls; is_status 0 "cache ls"; says sensitivity
pk cache ls --json; is_status 0 "cache ls --json"; says '"wall"'
pk cache pin tiny s.yaml; is_status 0 "cache pin"; says "holds 12"
pk cache gc --max-size 1B; is_status 0 "cache gc"; says removed
pk run s.yaml --events g1; [ -z "$(ran g1)" ] || fail "pinned work ran: $(ran g1)"
pk cache unpin tiny; is_status 0 "cache unpin"
pk cache gc --keep-runs 1 --dry-run; is_status 0 "cache gc --keep-runs"; says "would remove"
pk cache gc --keep-runs 0; is_status 2 "cache gc --keep-runs 0"
pk cache gc --dry-run --json; is_status 0 "cache gc --json"; says '"kept_records"'
pk cache gc --max-age 1s --max-size 1B --dry-run; is_status 0 "cache gc --dry-run"; says "would remove"
pk cache verify # what the damage above left of older records
pk cache verify; is_status 0 "cache verify"
f=$(find .pkgraph/blobs -type f -size +1k | sort | head -1); chmod u+w "$f"; printf 'x' | dd of="$f" conv=notrunc bs=1 seek=7 2>/dev/null
pk cache verify; is_status 1 "cache verify of damage"
pk cache verify; is_status 0 "cache verify after that"
pk run s.yaml; is_status 0 "after cache verify"
pk cache nothing; is_status 2 "cache of an unknown word"
finish
