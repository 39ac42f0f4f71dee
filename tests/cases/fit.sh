# SPDX-License-Identifier: MIT
# A training that needs more memory than there is makes its activations again: the plan says so, and the bytes are the same.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
cat >s.yaml <<'Y'
pkgraph: 1
name: fit
nodes:
  base: {op: init, params: {hidden_size: 64, intermediate_size: 4096, num_hidden_layers: 4, num_attention_heads: 2, max_position_embeddings: 512}}
  rows: {op: synth, params: {rows: 32, difficulty: 3}}
  start: {op: lora-init, inputs: {student: base}, params: {init: default, r: 4}}
  t:
    op: train
    inputs: {model: base, adapter: start, data: rows}
    params: {compute: f32, max_steps: 2, per_device_train_batch_size: 16, gradient_accumulation_steps: 1, max_length: 512}
Y
pk plan s.yaml
is_status 2 plan
says_not "recomputes" "a plan with room"
memory() { "$PKGRAPH" plan s.yaml --json "$@" | tr -d ' \n' | sed 's/.*"id":"t"[^}]*"memory":\([0-9]*\).*/\1/'; }
need=$(memory)
[ "$need" -gt 500000000 ] || fail "the training needs $need bytes"
pk plan s.yaml --mem $((need - 1))
is_status 2 "plan --mem"
says "recomputes activations to fit the memory" "a plan without room"
pk plan s.yaml --mem $((need - 1)) --json
says '"how": "recomputes activations"' "the plan as JSON"
pk plan s.yaml --mem lots
is_status 2 "--mem lots"
says "a size such as 16GiB" "--mem lots"
pk run s.yaml --store a -q
is_status 0 "a run with room"
pk run s.yaml --store b -q --mem "$(memory --mem $((need - 1)))"
is_status 0 "a run without room"
for s in a b; do pk export s.yaml t.trained x-$s --store $s; done
cmp x-a/adapter_model.safetensors x-b/adapter_model.safetensors || fail "recomputed activations give another adapter"
pk run s.yaml --store c -q --mem 100KiB
is_status 1 "a run that cannot fit"
says "give more with --mem" "a run that cannot fit"
finish
