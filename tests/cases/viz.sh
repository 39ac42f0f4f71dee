# SPDX-License-Identifier: MIT
# viz: DOT and Mermaid with types, states, clusters of variants, points folded and unfolded; Graphviz takes it, 5,000
# nodes as well.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
tiny_spec s.yaml
cat >>s.yaml <<'Y'
sweep: {r: [2, 4, 8]}
variants: {plain: {nodes: {lora: {params: {init: default}, inputs: {blocks: null}}}}}
Y
pk viz s.yaml; is_status 0 dot; says 'lora (x3)\nlora-init'; says 'subgraph cluster_1 {'; says 'label="plain"'; says '[label="adapter"]'
says_not "lora@r=2"; says_not "up to date"
[ "$(printf '%s\n' "$out" | grep -c ' -> ')" = 25 ] || fail "edges between boxes are drawn once"
pk viz s.yaml --unfold; is_status 0 unfolded; says 'lora@r=2'; says 'lora@plain,r=8'
pk viz s.yaml --format mermaid; is_status 0 mermaid; says 'flowchart LR'; says 'subgraph v1 ["plain"]'; says 'tuned (x3)'
pk run s.yaml --variant base --set r=2; is_status 0 run
pk viz s.yaml; says '2 to run, 1 up to date'; says '#ffe0b2'; says '#d4edda'
pk viz s.yaml --format mermaid; says ':::s2'; says 'classDef s2 fill:#d4edda'
{
    printf 'pkgraph: 1\nnodes:\n  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 1}}\n'
    for i in $(seq 4999); do echo "  a$i: {op: lora-init, inputs: {student: m}, params: {init: default, r: 2, seed: $i}}"; done
} >big.yaml
pk viz big.yaml --no-state; is_status 0 "5,000 nodes"
cp .out big.dot
pk viz big.yaml --no-state --format mermaid; is_status 0 "5,000 nodes for Mermaid"; [ "$(grep -c -- ' --> ' .out)" = 4999 ] || fail "edges"; case $errors in *maxEdges*) ;; *) fail "nothing about its limits" ;; esac
command -v dot >/dev/null || { echo "SKIPPED: no Graphviz, its part of the test did not run"; finish; }
nop big.dot >big.canon || fail "Graphviz does not read 5,000 nodes"
pk viz s.yaml --format svg -o s.svg; is_status 0 svg; grep -q '</svg>' s.svg || fail "no picture"
pk viz s.yaml --format png -o s.png; is_status 0 png; [ "$(head -c 4 s.png | tail -c 3)" = PNG ] || fail "no PNG"
finish
