# SPDX-License-Identifier: MIT
# The operator generate on a tiny model: what it writes, stop strings, seeds, the same bytes whatever the threads, what plan time refuses.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

printf '%s\n' '{"id": "first", "messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": " uno "}]}' \
    '{"messages": [{"role": "user", "content": "two"}, {"role": "assistant", "content": "dos"}, {"role": "user", "content": "three"}]}' >rows.jsonl
printf '%s\n' '{"text": "once upon"}' '{"text": "twice upon"}' >text.jsonl
head='pkgraph: 1
name: gen
defaults:
  generate: {compute: f32, max_new_tokens: 12}
nodes:
  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, seed: 1, max_position_embeddings: 256}}
  rows: {op: data, params: {path: rows.jsonl}}
  text: {op: data, params: {path: text.jsonl}}
'
spec() { printf '%s' "$head" >s.yaml; }
add() { printf '  %s: {op: generate, inputs: {model: m, data: %s}, params: {%s}}\n' "$1" "$2" "$3" >>s.yaml; }

spec
add greedy rows ""
add small rows "batch_tokens: 3"
add drawn rows "temperature: 2, seed: 1"
add again rows "temperature: 2, seed: 1, batch_tokens: 512"
add other rows "temperature: 2, seed: 2"
add one rows "temperature: 2, top_k: 1, seed: 5"
add plain text "limit: 1"
pk run s.yaml -q
is_status 0 "generate runs"
for n in greedy small drawn again other one plain; do pk export s.yaml $n out/$n; is_status 0 "export $n"; done
cmp out/greedy/predictions.jsonl out/small/predictions.jsonl || fail "the text depends on the pieces of the prefill"
cmp out/drawn/predictions.jsonl out/again/predictions.jsonl || fail "a draw depends on more than seed, row and place"
cmp -s out/drawn/predictions.jsonl out/other/predictions.jsonl && fail "another seed gives the same text"
cmp out/greedy/predictions.jsonl out/one/predictions.jsonl || fail "top_k: 1 is not the most probable token"
stop=$(python3 - <<'P'
import json
rows = [json.loads(l) for l in open("out/greedy/predictions.jsonl")]
assert [r["id"] for r in rows] == ["first", 1], rows
assert rows[0]["reference"] == "uno" and rows[1]["reference"] is None, rows
assert all(0 < len(r["output_ids"]) <= 12 and r["correct"] is None and len(r["prompt_sha256"]) == 64 for r in rows), rows
assert len([json.loads(l) for l in open("out/plain/predictions.jsonl")]) == 1
text = rows[0]["output"]
good = [c for c in text[1:] if c.isascii() and c.isalnum()]
print(good[0] if good else "")
P
) || fail "predictions"

if [ -n "$stop" ]; then
    spec
    add stopped rows "stop: ['$stop']"
    pk run s.yaml -q
    is_status 0 "stop strings"
    pk export s.yaml stopped out/stopped
    STOP=$stop python3 - <<'P' || fail "the output goes beyond the stop string"
import json, os
a = [json.loads(l) for l in open("out/greedy/predictions.jsonl")]
b = [json.loads(l) for l in open("out/stopped/predictions.jsonl")]
for x, y in zip(a, b):
    assert y["output"] == x["output"].split(os.environ["STOP"])[0], (x, y)
    assert y["output_ids"] == x["output_ids"][:len(y["output_ids"])]
assert len(b[0]["output_ids"]) <= len(a[0]["output_ids"])
P
fi

spec
add greedy rows ""
pk run s.yaml -q --cpus 1 --store elsewhere
pk export s.yaml greedy out/one_thread --store elsewhere
cmp out/greedy/predictions.jsonl out/one_thread/predictions.jsonl || fail "the text depends on the threads"

refuse() { # NAME PARAMS TEXT
    spec
    add x rows "$2"
    pk check s.yaml
    is_status 2 "$1"
    says "$3" "$1"
}
refuse "top_p at temperature 0" "top_p: 0.9" "temperature is 0"
refuse "an empty stop string" "stop: ['']" "an empty string stops everything"
refuse "top_p above 1" "temperature: 1, top_p: 1.5" "top_p"
finish
