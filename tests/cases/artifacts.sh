# SPDX-License-Identifier: MIT
# show, export, viz, runs on the tiny pipeline; files of artifacts; same bytes with one thread and with two.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

tiny_spec s.yaml
pk viz s.yaml; is_status 0 "viz without a store"; says "digraph"; says_not "up to date"
[ ! -e .pkgraph ] || fail "viz made a store"
pk run s.yaml --json --trace trace.json; is_status 0 run; says '"metrics"'
python3 -m json.tool trace.json >/dev/null 2>&1 || ! command -v python3 >/dev/null || fail "the trace is not JSON"

for n in teacher seeds scores layers blocks lora tuned tuned.log tuned.metrics after after.predictions; do
    pk show s.yaml $n; is_status 0 "show $n"; [ -n "$out" ] || fail "show $n is empty"
    cp .out shown
    pk show s.yaml $n --json; is_status 0 "show $n --json"; says '"digest"'
    pk export s.yaml $n out/$n; is_status 0 "export $n"
    pk inspect out/$n; is_status 0 "inspect $n"; cmp -s .out shown || fail "inspect and show differ: $n"
    pk inspect out/$n --json; is_status 0 "inspect $n --json"
done
pk show s.yaml after --json; says '"loss": ' "the content of small files"
pk show s.yaml after; grep -q "^counts.*tokens  *[0-9]*$" .out || fail "counts are not whole numbers"
pk inspect .pkgraph; is_status 2 "inspect of a store"; says "pkgraph cache du --store .pkgraph"
pk inspect s.yaml; is_status 2 "inspect of a specification"; says "pkgraph check s.yaml"
pk show s.yaml rows --tokens --rows 1; is_status 0 "show --tokens"; says "{{"
for f in scores/scores.safetensors scores/scores.json layers/layers.json blocks/blocks.safetensors blocks/blocks.json \
         lora/adapter_model.safetensors lora/adapter_config.json lora/compensation.safetensors tuned/adapter_model.safetensors \
         tuned/compensation.safetensors tuned.log/train.jsonl tuned.metrics/metrics.json after/metrics.json \
         after.predictions/predictions.jsonl seeds/data.jsonl seeds/dataset.json teacher/model.json teacher/config.json \
         teacher/model.safetensors teacher/tokenizer.json; do
    [ -s out/$f ] || fail "export gave no $f"
done
[ "$(wc -l <out/seeds/data.jsonl)" = 4 ] || fail "rows of the dataset"

# never over foreign files
pk export s.yaml layers out/layers; is_status 0 "the same export again"
echo mine >out/layers/layers.json
pk export s.yaml layers out/layers; is_status 2 "over a foreign file"; says "--force"
[ "$(cat out/layers/layers.json)" = mine ] || fail "the foreign file is gone"
[ -z "$(ls -A out/layers | grep tmp)" ] || fail "temporary files are left"
pk export s.yaml layers out/layers --force; is_status 0 "--force"
pk export s.yaml teacher linked --link; is_status 0 "--link"
diff -r out/teacher linked || fail "--link gave other files"
[ "$(stat -c %h linked/model.safetensors)" = 2 ] || fail "--link copied the weights"
[ "$(stat -c %h out/teacher/model.safetensors)" = 1 ] || fail "an export without --link is a link"
pk export s.yaml teacher linked --link; is_status 0 "--link again"
[ -z "$(find linked -name '.*tmp*')" ] || fail "--link again left temporary files"
chmod u+w linked/model.safetensors; printf x | dd of=linked/model.safetensors bs=1 seek=9000 conv=notrunc 2>/dev/null
pk run s.yaml; is_status 0 "after an exported link was changed"; says "ran 1,"
pk export s.yaml teacher again; cmp -s again/model.safetensors out/teacher/model.safetensors || fail "a changed link changed the store's content"
pk export s.yaml layers x --as hf; is_status 2 "--as hf of a layer map"
pk export s.yaml tuned peft --as peft; is_status 0 "--as peft"
grep -q '"lora_alpha": *8[,}]*$\|"lora_alpha": *8,' peft/adapter_config.json || fail "lora_alpha is not the rank: $(cat peft/adapter_config.json)"
[ ! -e peft/compensation.safetensors ] || fail "a portable adapter has no compensation"
pk export s.yaml tuned peft3 --as peft --for vllm --base org/name; is_status 0 "--for vllm"; says "vllm serve org/name --enable-lora --max-lora-rank 8 --lora-modules adapter=peft3"
cat >q.yaml <<'Y'
pkgraph: 1
nodes:
  m: {op: init, params: {architecture: qwen2, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 1}}
  a: {op: lora-init, inputs: {student: m}, params: {init: default, r: 2, target_modules: [q_proj, embed_tokens]}}
Y
pk run q.yaml; is_status 0 "an adapter of the embedding"
pk export q.yaml a q --as peft --for vllm; is_status 2 "what vLLM refuses"; says "vLLM serves no adapter of embed_tokens of qwen2 models"; says "op merge"
[ ! -e q/adapter_config.json ] || fail "an adapter that vLLM refuses was written"
pk export s.yaml tuned peft2 --as peft --rank 4; is_status 0 "--rank"; says "relative error"

pk viz s.yaml; says "up to date"; says "layer-map"
pk viz s.yaml --format mermaid; says "flowchart"
if command -v dot >/dev/null; then pk viz s.yaml --format svg; is_status 0 "svg"; says "<svg"; fi
pk runs s.yaml; is_status 0 runs; says "12"
pk runs s.yaml tuned; says "ran"

# a trained or new model loads again as a checkpoint
printf 'pkgraph: 1\nname: l\nnodes:\n  m: {op: load, params: {model: out/teacher}}\n  d: {op: synth, params: {split: test, rows: 8, difficulty: 3}}\n  e: {op: eval, inputs: {model: m, data: d}, params: {task: loss, compute: f32}}\n' >l.yaml
pk run l.yaml; is_status 0 "the exported model"; says loss

# the bytes do not depend on the threads
pk run s.yaml --store two --cpus 1 -j 1; is_status 0 "one thread"
for n in scores blocks lora tuned after; do
    pk export s.yaml $n one/$n --store two; is_status 0 "export $n"
    diff -r out/$n one/$n >/dev/null || fail "$n differs with one thread"
done
finish
