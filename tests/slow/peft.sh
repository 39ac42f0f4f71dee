# SPDX-License-Identifier: MIT
# A LoRA of a real checkpoint, trained for two steps, exported and loaded by PEFT on the original base, and merged and
# loaded by transformers: the same losses and logits as pkgraph. Needs a folder of Hugging Face checkpoints in $PKG_REAL,
# rows in $PKG_SHARED and a Python with torch, transformers and peft in $PKG_PYTHON.
set -eu
python=${PKG_PYTHON:-python3}
model=${PKG_REAL:-}/${PKG_PEFT_MODEL:-smollm2-135m}
rows=${PKG_SHARED:-}/data/gsm8k/train_1000.jsonl
if [ -z "${PKG_REAL:-}" ] || [ ! -f "$model/config.json" ] || [ ! -f "$rows" ]; then
    echo "SKIPPED: set PKG_REAL to a folder with ${PKG_PEFT_MODEL:-smollm2-135m} and PKG_SHARED to the shared data"
    exit 77
fi
if ! "$python" -c 'import peft, transformers, torch' 2>/dev/null; then
    echo "SKIPPED: $python has no torch, transformers and peft; set PKG_PYTHON"
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/peft.yaml" <<SPEC
pkgraph: 1
name: peft
nodes:
  base: {op: load, params: {model: $model}}
  rows: {op: data, params: {path: $rows, limit: 8}}
  test: {op: data, params: {path: $rows, start: 8, limit: 4}}
  start:
    op: lora-init
    inputs: {student: base}
    params: {init: default, r: 8, lora_alpha: 16, lora_dropout: 0, target_modules: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]}
  trained:
    op: train
    inputs: {model: base, adapter: start, data: rows}
    params: {compute: f32, learning_rate: 1e-3, num_train_epochs: 2, per_device_train_batch_size: 4, gradient_accumulation_steps: 1}
  merged: {op: merge, inputs: {model: base, adapter: trained}, params: {dtype: f32}}
  loss: {op: eval, inputs: {model: base, adapter: trained, data: test}, params: {task: loss, compute: f32, template: train}}
SPEC
"$PKGRAPH" run "$dir/peft.yaml" --store "$dir/store" --quiet
"$PKGRAPH" export "$dir/peft.yaml" trained "$dir/adapter" --store "$dir/store" --as peft --verify
"$PKGRAPH" export "$dir/peft.yaml" merged "$dir/merged" --store "$dir/store" --as hf
"$PKGRAPH" export "$dir/peft.yaml" loss "$dir/loss" --store "$dir/store"
ours=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["metrics"]["loss"])' "$dir/loss/metrics.json")
sed -n '9,12p' "$rows" > "$dir/test.jsonl"
"$python" "$(dirname "$0")/adapter_logits.py" "$model" "$dir/adapter" "$dir/merged" "$ours" "$dir/test.jsonl" 4
