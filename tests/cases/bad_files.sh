# SPDX-License-Identifier: MIT
# Wrong checkpoints and data files: found before anything runs, with file and cause.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

cat >init.yaml <<'Y'
pkgraph: 1
name: init
nodes:
  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1, max_position_embeddings: 64}}
Y
pk run init.yaml; is_status 0 "init"
pk export init.yaml m good --as hf; is_status 0 "export of a model"
for f in config.json model.safetensors tokenizer.json tokenizer_config.json; do [ -s good/$f ] || fail "no $f"; done
pk inspect good; is_status 0 "inspect"; says llama; says "model.layers.*.self_attn.q_proj.weight"
pk inspect good/model.safetensors --json; is_status 0 "inspect of a file"; says '"shape"'
pk tokenize good "ab"; is_status 0 tokenize; [ "$out" = "[256, 97, 98]" ] || fail "tokenize"
out=$(printf '"a\\nb"\n' | "$PKGRAPH" tokenize good --json --no-special); [ "$out" = "[97, 10, 98]" ] || fail "tokenize --json"
out=$(echo '[256, 97, 98]' | "$PKGRAPH" tokenize good --decode); [ "$out" = "ab" ] || fail "tokenize --decode"
out=$(echo '[300]' | "$PKGRAPH" tokenize good --decode 2>/dev/null); status=$?; is_status 2 "an id that is not there"

printf 'pkgraph: 1\nname: load\nnodes:\n  m: {op: load, params: {model: x}}\n' >load.yaml
# broken NAME TEXT...: check and inspect of folder x fail
broken() {
    local name=$1 t
    shift
    pk check load.yaml
    is_status 2 "$name"
    for t in "$@"; do says "$t" "$name"; done
    pk inspect x
    is_status 2 "inspect: $name"
    rm -rf x
}
copy() { rm -rf x; cp -r good x; chmod -R u+w x; }
copy; pk check load.yaml; is_status 0 "the good folder"
copy; head -c 5000 good/model.safetensors >x/model.safetensors; broken "a truncated file" model.safetensors
copy; head -c 4 good/model.safetensors >x/model.safetensors; broken "no header" model.safetensors
copy; printf '\377\377\377\377\377\377\377\177{}' >x/model.safetensors; broken "a header of 2^63 bytes" model.safetensors
copy; python3 - <<'P' || exit 77
import json, struct
d = open("x/model.safetensors", "rb").read()
n = struct.unpack("<Q", d[:8])[0]
h = json.loads(d[8:8 + n])
names = [k for k in h if k != "__metadata__"]
h[names[1]]["data_offsets"] = [x - 4 for x in h[names[1]]["data_offsets"]]
t = json.dumps(h).encode()
open("x/model.safetensors", "wb").write(struct.pack("<Q", len(t)) + t + d[8 + n:])
P
broken "overlapping tensors" model.safetensors
copy; sed -i 's/"hidden_size": *16/"hidden_size": 20/' x/config.json; broken "a configuration of another model" 
copy; sed -i 's/"llama"/"mamba"/' x/config.json; broken "an unknown architecture" mamba
copy; echo '{' >x/config.json; broken "broken JSON" config.json
copy; rm x/config.json; broken "no configuration" config.json
copy; rm x/model.safetensors; broken "no weights" safetensors
copy; printf 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n' >x/model.safetensors; broken "a pointer of Git LFS" "Git LFS" "git lfs pull"
copy; rm x/tokenizer.json; ln -s ../../blobs/gone x/tokenizer.json; broken "a download that broke off" tokenizer.json "not complete"
copy; sed -i 's/"hidden_size": *16/"hidden_size": 20, "quantization_config": {"quant_method": "gptq"}/' x/config.json; broken "quantised weights" "quantised (gptq)" GGUF
rm -rf x; broken "no folder" x
# a repository of the hub's cache
mkdir -p x/refs x/snapshots; printf main0 >x/refs/main; cp -r good x/snapshots/main0; pk check load.yaml; is_status 0 "a folder of the hub cache"
printf main1 >x/refs/main; broken "a snapshot that is gone" snapshots/main1

copy; sed -i 's/"type": *"BPE"/"type": "Unigram"/' x/tokenizer.json
pk tokenize x hello; is_status 2 "an unknown tokenizer"; says Unigram

# data
cat >data.yaml <<'Y'
pkgraph: 1
name: data
nodes:
  m: {op: load, params: {model: good}}
  d: {op: data, params: {path: d.jsonl}}
  e: {op: eval, inputs: {model: m, data: d}, params: {task: loss, compute: f32}}
Y
: >d.jsonl; pk run data.yaml; [ $status != 0 ] || fail "an empty data file"; says d.jsonl
echo '{"messages": [{"role": "user"' >d.jsonl; pk run data.yaml; [ $status != 0 ] || fail "a broken row"; says d.jsonl
echo '{"question": "?"}' >d.jsonl; pk run data.yaml; [ $status != 0 ] || fail "an unknown row"; says d.jsonl
rm d.jsonl; pk run data.yaml; [ $status != 0 ] || fail "no data file"; says d.jsonl

# a row longer than the window of training is an error that names the row
long=$(printf 'x%.0s' $(seq 300))
printf '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "%s"}]}\n' "$long" >d.jsonl
cat >train.yaml <<'Y'
pkgraph: 1
name: train
nodes:
  m: {op: load, params: {model: good}}
  d: {op: data, params: {path: d.jsonl}}
  t: {op: train, inputs: {model: m, data: d}, params: {mode: full, max_length: 60, per_device_train_batch_size: 1, gradient_accumulation_steps: 1, compute: f32}}
Y
pk run train.yaml; is_status 1 "a row longer than the window"; says "60"; says "drop"
finish
