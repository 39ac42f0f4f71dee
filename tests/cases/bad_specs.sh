# SPDX-License-Identifier: MIT
# Wrong specs: status 2, the place, the cause, the nearest right name; nothing runs and no store appears.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

# bad NAME TEXT...: `check` of s.yaml fails with every TEXT
bad() {
    local name=$1 t
    shift
    pk check s.yaml
    is_status 2 "$name"
    for t in "$@"; do says "$t" "$name"; done
}
edit() { tiny_spec s.yaml; sed -i "$1" s.yaml; }

tiny_spec s.yaml; pk check s.yaml; is_status 0 "the tiny spec"; says "12 nodes"
edit 's/learning_rate/learning_rat/'; bad "typo in a parameter" 's.yaml:' learning_rat '"learning_rate"' '^'
edit 's/op: layer-select/op: layerselect/'; bad "typo in an operator" layerselect '"layer-select"'
edit 's/^nodes:/node:/'; bad "typo in a section" '"nodes"'
edit 's/scores: scores, student: student}}/scores: scoers, student: student}}/'; bad "typo in a node" scoers '"scores"'
edit 's/model: teacher, data: seeds/modl: teacher, data: seeds/'; bad "typo in a port" modl '"model"'
edit 's/model: teacher, data: seeds/model: seeds, data: seeds/'; bad "a dataset where a model belongs" dataset model
edit 's/data: rows}/data: rows.log}/'; bad "an output that is not there" 'log'
edit 's/num_train_epochs/num_epochs/'; bad "another trainer's name" num_epochs num_train_epochs
edit 's/learning_rate: 1e-3/learning_rate: fast/'; bad "not a number" fast
edit 's/rows: 32, difficulty: 3/rows: 32, difficulty: 9/'; bad "out of range" difficulty
edit 's/r: "${r}"/r: "${rank}"/'; bad "unknown variable" rank
edit 's/{model: teacher, data: seeds}/{model: teacher, data: loop}/; $a\  loop: {op: sensitivity, inputs: {model: teacher, data: loop}}'; bad "a cycle" loop
edit 's/hidden_size: 32/hidden_size: 8/; s/num_attention_heads: 2, num_key_value_heads: 2, seed: 1/num_attention_heads: 1, num_key_value_heads: 1, seed: 1/'
bad "a teacher narrower than its student" blocks
edit 's/num_hidden_layers: 3/num_hidden_layers: 1/'; bad "a teacher with fewer layers" layers
edit 's/inputs: {model: teacher, data: seeds}/inputs: {model: teacher}/'; bad "a missing input" data
edit 's/params: {r: "${r}"/params: {r: "${r}", r: 8/'; bad "a key given twice" '"r"'
printf 'pkgraph: 1\nnodes: [unclosed\n' >s.yaml; bad "broken YAML" 's.yaml:'
printf 'pkgraph: 99\nname: x\nnodes: {}\n' >s.yaml; bad "a later language" 99
: >s.yaml; bad "an empty file" s.yaml
head -c 3000 /dev/urandom >s.yaml; bad "no YAML at all" s.yaml

# all errors of a file at once
edit 's/learning_rate/learning_rat/; s/op: layer-select/op: layerselect/'; bad "two errors" learning_rat layerselect

tiny_spec s.yaml
pk check s.yaml --set tuned.learning_rat=1; is_status 2 "--set of an unknown parameter"; says learning_rat
pk check s.yaml --set rr=1; is_status 2 "--set of an unknown variable"
pk check s.yaml --variant nothing; is_status 2 "an unknown variant"
pk run s.yaml --only tund; is_status 2 "--only of an unknown node"; says tund
pk show s.yaml tund; is_status 2 "show of an unknown node"; says '"tuned"'
pk show s.yaml tuned.lgo; is_status 2 "show of an unknown port"; says "log"
pk show s.yaml tuned.log; is_status 1 "show before a run"; says "pkgraph run"
finish
