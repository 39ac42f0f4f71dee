# SPDX-License-Identifier: MIT
# compare: variants and points beside each other with shared nodes, a run against another, all formats; work that two
# variants share is computed once.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
tiny_spec s.yaml
pk compare s.yaml; is_status 2 "nothing to compare"; says "has not run"
cat >>s.yaml <<'Y'
sweep: {r: [2, 4]}
variants:
  plain: {nodes: {lora: {params: {init: default}, inputs: {blocks: null}}}}
  none: {nodes: {tuned: null, after: null}}
Y
pk compare s.yaml; is_status 0 "before any run"; says "plain,r=4"; says "lora.init"
pk run s.yaml --events ev --variant base; is_status 0 run
[ "$(ran ev | wc -w)" = 15 ] || fail "the base graph: 15 nodes run"
pk run s.yaml --events ev --variant plain; is_status 0 "run of the variant"
[ "$(ran ev)" = "after@plain,r=2 after@plain,r=4 lora@plain,r=2 lora@plain,r=4 tuned@plain,r=2 tuned@plain,r=4" ] ||
    fail "the variant runs what differs, and nothing else: $(ran ev)"
pk run s.yaml; is_status 0 "run of all"
pk compare s.yaml; is_status 0 compare
for t in lora.init "none,r=2" "after loss" "(all)"; do says "$t"; done
says_not "tuned.learning_rate"
pk compare s.yaml r=4 plain,r=4 --format csv; is_status 0 "two points as CSV"
case $out in 'kind,node,field,r=4,"plain,r=4"'*) ;; *) fail "the head of the CSV" ;; esac
says "parameter,lora,init,svd,default"
says_not "parameter,lora,r,"
pk compare s.yaml base,r=4; is_status 2 "an unknown side"; says '"'
pk compare s.yaml plan,r=4; is_status 2 "a typo"; says '"plain,r=4"'
pk compare s.yaml 99; is_status 2 "an unknown run"; says "pkgraph runs"
pk run s.yaml --variant base --set tuned.learning_rate=1e-2; is_status 0 "another learning rate"
pk compare s.yaml 1 last --format markdown; is_status 0 "two runs"; says "| tuned@r=4.learning_rate | 0.001 | 0.01 |"
pk runs s.yaml; is_status 0 runs; says "done"; says "began"
pk runs s.yaml --json; says '"status": "done"'
pk runs s.yaml after@r=4 --json; is_status 0 "runs of a node"; says '"status": "ran"'
pk run s.yaml --variant base --set tuned.learning_rate=1e-2; is_status 0 "the same again"
pk runs s.yaml --json; says '"ran": 0, "run": 5, "status": "done", "up_to_date": 15' "a run that found all up to date"
pk compare s.yaml 1 last --format markdown; is_status 0 "a run that found all up to date"; says "| tuned@r=4.learning_rate | 0.001 | 0.01 |"
pk compare s.yaml --json; is_status 0 json
printf '%s' "$out" | python3 -c '
import json, sys
o = json.load(sys.stdin)
assert o["sides"] == ["r=2", "r=4", "plain,r=2", "plain,r=4", "none,r=2", "none,r=4"], o["sides"]
op = [p for p in o["parameters"] if p["node"] == "tuned" and p["parameter"] == "op"][0]["values"]
assert op == ["train"] * 4 + [None] * 2, op
assert any(m["node"] == "after" and m["metric"] == "loss" and m["stderr"][0] > 0 for m in o["metrics"])
' || { [ -x "$(command -v python3)" ] && fail "the JSON"; }
finish
