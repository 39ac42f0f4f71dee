# SPDX-License-Identifier: MIT
# What a command remembers of a plan in which nothing is to be done: the same words as without it, and gone with any change:
# of the specification, a checkpoint's configuration, a file that was not there, a source, the store.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

# estimates of a new store start from the speed of this machine, measured once
tiny_spec t.yaml
pk plan t.yaml --store new; is_status 2 "a new store"; says "; about "
[ "$(find new/memo -type f | wc -l)" = 1 ] || fail "the speed was not kept"
cp new/memo/* speed; pk plan t.yaml --store new; cmp -s new/memo/* speed || fail "the speed was measured again"
said() { printf '%s\n' "$1" >"$(echo new/memo/*)"; pk plan t.yaml --store new --json; printf '%s' "$out" | sed -n 's/^ *"seconds": \([0-9.e+-]*\).*/\1/p'; }
slow=$(said '1e9 1e9'); quick=$(said '1e12 1e12')
python3 -c "import sys; sys.exit(not float('$slow') > 1.1 * float('$quick') > 0)" || fail "estimates do not follow the speed: $slow, $quick"
printf '1e12\n' >"$(echo new/memo/*)"; pk plan t.yaml --store new; grep -q ' ' new/memo/* || fail "a speed of f32 alone, as an earlier version kept it, was not measured again"

cat >init.yaml <<'Y'
pkgraph: 1
name: init
nodes:
  m: {op: init, params: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 2, max_position_embeddings: 256, seed: 1}}
Y
pk run init.yaml --store other; is_status 0 "init"
pk export init.yaml m model --as hf --store other; is_status 0 "export"
printf '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' >d.jsonl
cat >s.yaml <<'Y'
pkgraph: 1
name: s
nodes:
  model: {op: load, params: {model: model}}
  rows: {op: data, params: {path: d.jsonl}}
  loss: {op: eval, inputs: {model: model, data: rows}, params: {task: loss, compute: f32}}
Y
memos() { find .pkgraph/memo -type f -size +100c 2>/dev/null | wc -l; }
sleep 0.1
pk run s.yaml; is_status 0 "first run"; first=$out
[ "$(memos)" = 1 ] || fail "no memo after the first run"
pk run s.yaml; is_status 0 "second run"; says "everything is up to date: 3 nodes"; says "pkgraph show s.yaml loss"
[ "$out" = "$first" ] || fail "the table differs: $first"
pk run s.yaml --events e; is_status 0 "with events"; [ -s e ] || fail "no events"
pk run s.yaml --json; is_status 0 "as JSON"; says '"up_to_date": 3'
pk plan s.yaml; is_status 0 plan; quick=$out; says "3 nodes, 3 up to date, 0 to run"
pk check s.yaml; is_status 0 check; says "3 nodes, 2 edges, no errors"; checked=$out
pk runs s.yaml; says "done"
[ "$(printf '%s\n' "$out" | grep -c done)" -ge 4 ] || fail "the history lacks runs in which nothing was to do"
rm -r .pkgraph/memo
pk plan s.yaml; [ "$out" = "$quick" ] || fail "the plan differs without a memo: $quick"
[ "$(memos)" = 1 ] || fail "plan did not remember"
pk check s.yaml; [ "$out" = "$checked" ] || fail "check differs"

pending() { pk plan s.yaml; is_status 2 "$1"; }
same() { sleep 0.1; pk plan s.yaml --read; is_status 0 "$1"; pk plan s.yaml; is_status 0 "$1, remembered"; }
cp -r model was
sed -i 's/"rms_norm_eps": *[^,]*/"rms_norm_eps": 0.5/' model/config.json
cmp -s model/config.json was/config.json && fail "config.json was not changed"
pending "another configuration"
cp was/config.json model/config.json; same "the old configuration"
printf '{"chat_template": "x"}' >model/tokenizer_config.json
pk plan s.yaml; appeared=$status; rm model/tokenizer_config.json
rm -rf .pkgraph/memo; cp was/tokenizer_config.json model/ 2>/dev/null; same "without the new file"
printf '{"chat_template": "x"}' >model/tokenizer_config.json
rm -rf .pkgraph/memo; pk plan s.yaml; [ "$status" = "$appeared" ] || fail "a file that appears is seen only without a memo"
rm model/tokenizer_config.json; cp was/tokenizer_config.json model/ 2>/dev/null; same "as it was"
sed -i 's/"b"/"c"/' d.jsonl; pending "another row"
sed -i 's/"c"/"b"/' d.jsonl; pk run s.yaml; same "the old row"
sed -i 's/task: loss/task: loss, limit: 1/' s.yaml; pending "another parameter"
sed -i 's/task: loss, limit: 1/task: los/' s.yaml
pk plan s.yaml; is_status 2 "an error in the specification"; says "s.yaml:6"
pk check s.yaml; is_status 2 "check of an error"
sed -i 's/task: los/task: loss/' s.yaml; same "without the error"
mv model away; pk plan s.yaml; is_status 2 "the model is gone"; mv away model; same "the model is back"
f=$(find .pkgraph/blobs -type f -size +100c | head -1); rm -f "$f"; pending "a result is gone"
pk run s.yaml; is_status 0 "computed again"; same "after that"
rm .pkgraph/index.sqlite*; pending "the index is gone"
pk run s.yaml; is_status 0 "with a new index"; same "after that"

mkdir sub; cp s.yaml sub/; cp -r model sub/model; cp d.jsonl sub/
(cd sub && "$PKGRAPH" plan s.yaml --read --store ../.pkgraph >/dev/null 2>&1); [ $? = 0 ] || fail "the same from another folder"
for f in .pkgraph/memo/*; do printf 'x' >"$f"; done
pk plan s.yaml; is_status 0 "damaged memos"
finish
