# SPDX-License-Identifier: MIT
# explain goes down to what changed: a parameter, a source file, the rows of an input three nodes up; plan counts what
# points and variants share.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
tiny_spec s.yaml
pk explain s.yaml after; is_status 0 "before any run"; says "it has not run with this store"
pk run s.yaml; is_status 0 run
pk explain s.yaml after; is_status 0 "up to date"; says "every run that the store remembers"
pk explain s.yaml after --set rows.rows=40; is_status 0 "something upstream runs first"
says "its own parameters are those of its last run"; says "params.rows    32   40"
pk run s.yaml --set rows.rows=40; is_status 0 "run with more rows"
pk explain s.yaml after --set rows.rows=40; is_status 0 "three nodes up"
says "inputs.adapter is tuned (train)"; says "inputs.data is rows (synth)"; says "    rows    32   40"
pk explain s.yaml after --set rows.rows=40 --json; is_status 0 "as JSON"
printf '%s' "$out" | python3 -c '
import json, sys
x = json.load(sys.stdin)[0]["why"][0]["why"][0]
assert x["from"] == "rows" and x["facts"] == [{"field": "rows", "then": 32, "now": 40}], x
' || { [ -x "$(command -v python3)" ] && fail "the JSON"; }
pk explain s.yaml scores --set sensitivity.dtype=bf16; is_status 2 "no such node"
pk explain s.yaml scores --set scores.dtype=bf16; is_status 0 "a parameter"; says 'params.dtype  "f32"  "bf16"'

printf '{"messages": [{"role": "user", "content": "2+3"}, {"role": "assistant", "content": "5"}]}\n%.0s' $(seq 8) >rows.jsonl
printf 'pkgraph: 1\nnodes:\n  d: {op: data, params: {path: rows.jsonl}}\n  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 1}}\n  e: {op: eval, inputs: {model: m, data: d}}\n' >d.yaml
pk run d.yaml; is_status 0 "rows of a file"
sleep 0.1
head -1 rows.jsonl >>rows.jsonl
pk explain d.yaml d; is_status 0 "a changed file"; says "sources.rows"; says "rows.jsonl: other content"
pk run d.yaml; is_status 0 "again"
pk explain d.yaml e; is_status 0 "the file behind an input"; says "rows     8    9"; says "rows.jsonl: other content"

# a node that never ran beside another point of it
printf 'pkgraph: 1\nnodes:\n  d: {op: synth}\nsweep: {d.rows: [5, 6]}\n' >p.yaml
pk run p.yaml; is_status 0 "two points"
pk explain p.yaml d --set d.rows=7; is_status 0 "a third"; says "d@d.rows="; says "params.rows"; says "7"
pk explain p.yaml d --set d.rows=7 --json; says '"compared_with": "d@d.rows='
pk explain p.yaml d@d.rows=5; says "every run that the store remembers"

# 2 points, base and a variant: 48 nodes written out
cat >>s.yaml <<'Y'
sweep: {r: [2, 4]}
variants: {plain: {nodes: {lora: {params: {init: default}, inputs: {blocks: null}}}}}
Y
rm -rf .pkgraph
pk plan s.yaml; is_status 2 plan; says "48 nodes, 27 shared, 0 up to date"
pk run s.yaml --variant base --set r=2; is_status 0 "one point"
pk plan s.yaml; is_status 2 "plan of the rest"; says "48 nodes, 27 shared, 12 up to date"
pk plan s.yaml --json
printf '%s' "$out" | python3 -c '
import json, sys
p = json.load(sys.stdin)
assert p["all"] == p["shared"] + p["up_to_date"] + p["to_run"] + p["pending"] + p["blocked"] == 48, p
' || { [ -x "$(command -v python3)" ] && fail "the counts"; }
finish
