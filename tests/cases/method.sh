# SPDX-License-Identifier: MIT
# The operators of the method on a tiny pair: every strategy, structure and start runs; what cannot work is refused before
# anything runs, with place, cause and remedy.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

base() {
    cat >s.yaml <<'Y'
pkgraph: 1
name: method
defaults:
  init: {max_position_embeddings: 256}
  sensitivity: {compute: f32}
nodes:
  teacher: {op: init, params: {hidden_size: 32, intermediate_size: 48, num_hidden_layers: 3, num_attention_heads: 4, num_key_value_heads: 2, seed: 1}}
  tied: {op: init, params: {hidden_size: 32, intermediate_size: 48, num_hidden_layers: 3, num_attention_heads: 2, num_key_value_heads: 2, seed: 1, tie_word_embeddings: true}}
  student: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, seed: 2}}
  small: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 1, num_key_value_heads: 1, seed: 2, tie_word_embeddings: true}}
  seeds: {op: synth, params: {split: seed, rows: 3, difficulty: 3}}
  scores: {op: sensitivity, inputs: {model: teacher, data: seeds}}
  layers: {op: layer-select, inputs: {scores: scores, student: student}}
  blocks: {op: dim-align, inputs: {model: teacher, scores: scores, layers: layers, student: student}}
  lora: {op: lora-init, inputs: {student: student, blocks: blocks}, params: {r: 4}}
Y
}
# add NAME OP INPUTS PARAMS
add() { printf '  %s: {op: %s, inputs: {%s}, params: {%s}}\n' "$1" "$2" "$3" "$4" >>s.yaml; }
bad() {
    local name=$1 t
    shift
    pk check s.yaml
    is_status 2 "$name"
    for t in "$@"; do says "$t" "$name"; done
}

# ---- everything that should work, in one run
base
for s in random first last uniform least; do add "l-$s" layer-select "scores: scores, student: student" "strategy: $s"; done
add l-explicit layer-select "scores: scores, student: student" "strategy: explicit, layers: [2, 0]"
for s in row-column neuron random; do add "b-$s" dim-align "model: teacher, scores: scores, layers: layers, student: student" "structure: $s"; done
add b-reference dim-align "model: teacher, scores: scores, layers: l-explicit, student: student" "compat: reference"
add b-shared dim-align "model: teacher, scores: scores, layers: layers, student: student" "shared_axes: true"
add b-ffn dim-align "model: teacher, scores: scores, layers: layers, student: student" "modules: ffn"
for i in default gaussian pissa olora; do add "i-$i" lora-init "student: student" "init: $i, r: 3, use_rslora: true"; done
add i-noise lora-init "student: student, blocks: blocks" "init: noise, r: 3"
add i-reference lora-init "student: student, blocks: b-reference" "r: 4, compat: reference"
add i-some lora-init "student: student, blocks: b-ffn" "r: 4"
add i-only lora-init "student: student, blocks: b-ffn" "r: 4, rest: none"
add i-pattern lora-init "student: student" "init: pissa, r: 3, rank_pattern: {down_proj: 5, layers.1.mlp.down_proj: 2}, alpha_pattern: {q_proj: 6}"
add s-bf16 sensitivity "model: teacher, data: seeds" "dtype: bf16"
add b-bf16 dim-align "model: teacher, scores: s-bf16, layers: layers, student: student" "structure: neuron"
add s-train sensitivity "model: teacher, data: seeds" "text: train, limit: 2"
add s-ffn sensitivity "model: teacher, data: seeds" "modules: [ffn, norms]"
add b-few dim-align "model: teacher, scores: s-ffn, layers: layers, student: student" "modules: ffn"
add t-scores sensitivity "model: tied, data: seeds" ""
add t-layers layer-select "scores: t-scores, student: small" ""
add t-blocks dim-align "model: tied, scores: t-scores, layers: t-layers, student: small" ""
add t-lora lora-init "student: small, blocks: t-blocks" "r: 4"
add t-pissa lora-init "student: small" "init: pissa, r: 4"
add u-layers layer-select "scores: t-scores, student: student" ""
add u-blocks dim-align "model: tied, scores: t-scores, layers: u-layers, student: student" ""
pk run s.yaml --keep-going -q
is_status 0 "the run"
pk export s.yaml l-explicit x/l; is_status 0 "export"
tr -d ' \n' <x/l/layers.json >flat; grep -q '"map":\[2,0\]' flat || fail "the explicit map: $(cat flat)"
pk export s.yaml i-only x/i; is_status 0 "export"
grep -q q_proj x/i/adapter_config.json && fail "rest: none gave q_proj an adapter"
grep -q gate_proj x/i/adapter_config.json || fail "no adapter for gate_proj"
pk export s.yaml i-some x/s; is_status 0 "export"
grep -q q_proj x/s/adapter_config.json || fail "rest: default gave q_proj no adapter"
pk export s.yaml i-default x/d; is_status 0 "export"
[ -e x/d/compensation.safetensors ] && fail "compensation beside a B of zero"
for n in lora i-pissa i-olora i-noise i-pattern; do
    pk export s.yaml $n x/$n; is_status 0 "export"
    cmp -s x/$n/adapter_model.safetensors x/$n/compensation.safetensors || fail "$n: adapter and compensation differ before training"
done
tr -d ' \n' <x/i-pattern/adapter_config.json >flat
for t in '"model.layers.0.mlp.down_proj":5' '"model.layers.1.mlp.down_proj":2' '"model.layers.0.self_attn.q_proj":6'; do grep -q "$t" flat || fail "patterns lack $t: $(cat flat)"; done
pk export s.yaml t-blocks x/t; is_status 0 "export"
grep -q lm_head x/t/blocks.json && fail "an lm_head block for a tied student"
pk export s.yaml u-blocks x/u; is_status 0 "export"
tr -d ' \n' <x/u/blocks.json >flat; grep -q '"lm_head.weight":{[^}]*}[^}]*}[^}]*"source":"model.embed_tokens.weight"' flat || fail "lm_head does not come from the tied embedding: $(head -c 300 flat)"
# the same bytes again, on other threads
pk run s.yaml --only lora --store other --cpus 1 -q; is_status 0 "a second store"
pk export s.yaml lora y --store other; is_status 0 "export"
for f in adapter_model.safetensors pkgraph.json; do cmp -s x/lora/$f y/$f || fail "$f differs between runs"; done

# rows of padding in the student or in the teacher
for who in student teacher; do
    base; sed -i "/^  $who/s/seed: \([12]\)/seed: \1, vocab_size: 300/" s.yaml
    for s in row-column neuron random; do add "b-$s" dim-align "model: teacher, scores: scores, layers: layers, student: student" "structure: $s"; done
    add b-reference dim-align "model: teacher, scores: scores, layers: layers, student: student" "compat: reference"
    pk run s.yaml -q; is_status 0 "a $who with rows of padding"
done

# ---- what cannot work
base; sed -i 's/student: student}}/student: student}, params: {strategy: explicit}}/' s.yaml; bad "explicit without a list" 's.yaml:' 'layers' 'student layer'
base; add l layer-select "scores: scores, student: student" "strategy: explicit, layers: [0]"; bad "a list too short" "1 entries" "2 layers"
base; add l layer-select "scores: scores, student: student" "strategy: explicit, layers: [0, 3]"; bad "a layer that is not there" "layer 3" "0 to 2"
base; add l layer-select "scores: scores, student: student" "layers: [0, 1]"; bad "a list without explicit" "strategy"
base; sed -i 's/num_hidden_layers: 3/num_hidden_layers: 1/' s.yaml; bad "a shallow teacher" "2 layers" "only 1"
base; sed -i '0,/intermediate_size: 48/s//intermediate_size: 20/' s.yaml; bad "a narrow teacher" gate_proj "24 x 16" "20 x 32"
base; printf '{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}' >other.json
sed -i '/^  student/s/seed: 2/seed: 2, vocab_size: 259, tokenizer: other.json, bos_token: a, eos_token: b/' s.yaml; bad "another vocabulary" 'the added token "<s>" (id 256) of the teacher' "leave embed and lm_head out"
base; add b dim-align "model: teacher, scores: scores, layers: layers, student: student" "shared_axes: true, structure: neuron"; bad "shared axes of single weights" shared_axes submatrix
base; add s sensitivity "model: teacher, data: seeds" "modules: attention"; add b dim-align "model: teacher, scores: s, layers: layers, student: student" ""; bad "scores that were left out" "no scores of" modules
base; add s sensitivity "model: tied, data: seeds" "modules: lm_head"; bad "lm_head of a tied model" embed
base; add s sensitivity "model: teacher, data: seeds" "max_length: 300"; bad "longer than the model's positions" max_length 256
base; add i lora-init "student: student" "r: 4"; bad "svd without blocks" blocks dim-align "init: default"
base; add i lora-init "student: student, blocks: blocks" "r: 17"; bad "a rank too large" "r 17" "at most"
base; add i lora-init "student: student, blocks: blocks" "r: 4, target_modules: [q_porj]"; bad "an unknown module" q_porj q_proj
base; add i lora-init "student: student" "init: default, r: 4, rank_pattern: {q_porj: 3}"; bad "a pattern for nothing" rank_pattern q_porj "not the end of any target's path"
base; add i lora-init "student: student" "init: default, r: 4, rank_pattern: {q_proj: 0}"; bad "a rank of zero" rank_pattern "from 1 to 65536"
base; add i lora-init "student: student" "init: pissa, r: 4, rank_pattern: {q_proj: 17}"; bad "a rank of a pattern too large" "r 17" "q_proj"
base; add i lora-init "student: student" "init: default, r: 4, alpha_pattern: {q_proj: big}"; bad "an alpha that is none" alpha_pattern "a number"
base; add i lora-init "student: small, blocks: blocks" "r: 4"; bad "blocks of another student" k_proj "8 x 16" "16 x 16"
base; add b dim-align "model: teacher, scores: scores, layers: layers, student: student" "modules: ffn"; add i lora-init "student: student, blocks: b" "r: 4, target_modules: [q_proj]"; bad "no target has a block" target_modules
finish
