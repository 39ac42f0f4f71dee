# SPDX-License-Identifier: MIT
# GGUF out and in: a model exported as GGUF loads again and gives the same loss; quantised teachers go through the pipeline;
# adapters; refusals.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

tiny_spec s.yaml
pk run s.yaml; is_status 0 run
pk export s.yaml teacher t32 --as gguf; is_status 0 "teacher as gguf"
pk export s.yaml teacher t8 --as gguf --dtype q8_0; is_status 0 "teacher in q8_0"
pk export s.yaml student s16 --as gguf --dtype bf16; is_status 0 "student in bf16"
grep -q 'FROM ./model.gguf' t8/Modelfile || fail "no Modelfile"
[ "$(stat -c %s t8/model.gguf)" -lt "$(stat -c %s t32/model.gguf)" ] || fail "q8_0 is not smaller"
pk export s.yaml teacher t8b --as gguf --dtype q8_0
cmp -s t8/model.gguf t8b/model.gguf || fail "the same export has other bytes"
pk inspect t8/model.gguf; is_status 0 inspect; says "Q8_0"; says "hidden_size"
pk tokenize t8/model.gguf "12 + 30"; is_status 0 "tokenize with a GGUF file"; ids=$out
pk export s.yaml teacher hf0 --as hf; pk tokenize hf0 "12 + 30"
[ "$ids" = "$out" ] || fail "other ids through GGUF: $ids"

cat >g.yaml <<'EOF'
pkgraph: 1
extends: s.yaml
name: gguf
nodes:
  again: {op: load, params: {model: t32/model.gguf}}
  teacher: null
  q8: {op: load, params: {model: t8/model.gguf}}
  scores: {inputs: {model: q8}}
  blocks: {inputs: {model: q8}}
  first: {op: init, params: {hidden_size: 32, intermediate_size: 48, num_hidden_layers: 3, num_attention_heads: 2, num_key_value_heads: 2, seed: 1}}
  one: {op: eval, inputs: {model: first, data: test}, params: {task: loss}}
  two: {op: eval, inputs: {model: again, data: test}, params: {task: loss}}
EOF
pk run g.yaml; is_status 0 "with GGUF teachers"
pk export g.yaml one one; pk export g.yaml two two
cmp -s one/metrics.json two/metrics.json || fail "another loss through GGUF: $(diff one/metrics.json two/metrics.json)"
pk export g.yaml blocks blocks; grep -q '"expanded_from": *"Q8_0"' blocks/blocks.json || fail "blocks.json does not say that weights were expanded"
pk export g.yaml q8 hf --as hf; is_status 0 "quantised model as a folder"
pk inspect hf; is_status 0 "inspect the folder"; says "BF16"

# shards with their index, and the same loss through them
pk export s.yaml teacher sh --as hf --shard-size 20KB; is_status 0 "shards"
[ "$(ls sh/model-0000*-of-0000*.safetensors | wc -l)" -gt 2 ] && [ -s sh/model.safetensors.index.json ] || fail "no shards: $(ls sh)"
printf 'pkgraph: 1\nextends: g.yaml\nname: shards\nnodes:\n  again: {params: {model: sh}}\n' >h.yaml
pk run h.yaml --only two; is_status 0 "shards loaded"; pk export h.yaml two three
cmp -s one/metrics.json three/metrics.json || fail "another loss through shards"
pk export s.yaml teacher x --as gguf --shard-size 1GB; is_status 2 "--shard-size of a GGUF file"
pk export s.yaml teacher x --as hf --shard-size many; is_status 2 "no size"; says "not a size"

pk export s.yaml tuned a --as gguf; is_status 0 "adapter as gguf"; [ -s a/adapter.gguf ] || fail "no adapter.gguf"
pk inspect a/adapter.gguf; is_status 0 "inspect of an adapter"; says "GGUF adapter for llama, lora_alpha"; says "lora_a"
pk export s.yaml rows x --as gguf; is_status 2 "rows as gguf"; says "models and adapters"
pk export s.yaml tuned x --as gguf --dtype f16; is_status 2 "--dtype of an adapter"
head -c 300 t8/model.gguf >cut.gguf
pk inspect cut.gguf; [ "$status" != 0 ] || fail "a cut file was read"; says "truncated"
printf 'pkgraph: 1\nname: x\nnodes:\n  a: {op: load, params: {model: cut.gguf}}\n' >x.yaml
pk check x.yaml; is_status 2 "check of a cut file"; says "cut.gguf"
finish
