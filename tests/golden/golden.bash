# SPDX-License-Identifier: MIT
# One golden case (tests/golden/CASE.sh names it): the whole method on a tiny pair of checkpoints, compared step by step with
# what PyTorch, transformers and peft gave for the same weights. The vectors lie outside the repository, in
# $PKG_SHARED/oracle/golden; without them the test is skipped, loudly. Sourced, not run.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
golden="${PKG_SHARED:-}/oracle/golden"
if [ ! -d "$golden/$CASE" ] || ! command -v python3 >/dev/null; then
    echo "SKIPPED: no golden vectors at $golden/$CASE, or no python3 (set PKG_SHARED)"
    exit 77
fi

python3 - "$golden/$CASE/case.json" "$golden" >spec.yaml <<'P'
import json, sys
c, golden = json.load(open(sys.argv[1])), sys.argv[2]
print(f"""pkgraph: 1
name: golden-{c['name']}
defaults:
  sensitivity: {{compute: f32, max_length: 2048}}
  lora-init: {{r: {c['rank']}, lora_alpha: {c['alpha']}, lora_dropout: 0, target_modules: [{', '.join(c['targets'])}]}}
  train:
    compute: f32
    shuffle: false
    max_length: 2048
    num_train_epochs: {c['epochs']}
    per_device_train_batch_size: {c['micro']}
    gradient_accumulation_steps: {c['accumulate']}
    warmup_ratio: {c['warmup']}
    learning_rate: {c['lr']}
  eval: {{task: loss, template: train, compute: f32, limit: 4}}
nodes:
  teacher: {{op: load, params: {{model: "{golden}/models/{c['teacher']}"}}}}
  student: {{op: load, params: {{model: "{golden}/models/{c['student']}"}}}}
  seeds: {{op: data, params: {{path: "{golden}/{c['name']}/seeds.jsonl"}}}}
  rows: {{op: data, params: {{path: "{golden}/{c['name']}/rows.jsonl"}}}}
  scores: {{op: sensitivity, inputs: {{model: teacher, data: seeds}}}}
  scores-bf16: {{op: sensitivity, inputs: {{model: teacher, data: seeds}}, params: {{compute: bf16}}}}
  layers-bf16: {{op: layer-select, inputs: {{scores: scores-bf16, student: student}}}}
  blocks-bf16: {{op: dim-align, inputs: {{model: teacher, scores: scores-bf16, layers: layers-bf16, student: student}}}}
  lora: {{op: lora-init, inputs: {{student: student, blocks: submatrix}}}}
  token: {{op: train, inputs: {{model: student, adapter: lora, data: rows}}, params: {{loss_reduction: token}}}}
  microbatch: {{op: train, inputs: {{model: student, adapter: lora, data: rows}}, params: {{loss_reduction: microbatch, weight_decay: 0.01}}}}
  full: {{op: train, inputs: {{model: student, data: rows}}, params: {{mode: full, learning_rate: 1e-3, max_steps: 10, dtype: f32}}}}
  plain-loss: {{op: eval, inputs: {{model: student, data: rows}}}}
  step0-loss: {{op: eval, inputs: {{model: student, adapter: lora, data: rows}}}}
  token-loss: {{op: eval, inputs: {{model: student, adapter: token, data: rows}}}}
  microbatch-loss: {{op: eval, inputs: {{model: student, adapter: microbatch, data: rows}}}}
  full-loss: {{op: eval, inputs: {{model: full, data: rows}}}}""")
for s in ("sensitivity", "least", "first", "last", "uniform"):
    print(f"  {s}: {{op: layer-select, inputs: {{scores: scores, student: student}}, params: {{strategy: {s}}}}}")
for name, structure, compat in (("submatrix", "submatrix", "none"), ("submatrix-reference", "submatrix", "reference"),
                                ("row-column", "row-column", "none"), ("neuron", "neuron", "none")):
    print(f"  {name}: {{op: dim-align, inputs: {{model: teacher, scores: scores, layers: sensitivity, student: student}}, "
          f"params: {{structure: {structure}, compat: {compat}}}}}")
P

pk run spec.yaml --keep-going -q
is_status 0 "the run of $CASE"

# compare FOLDER GOLDEN [--bf16]: the exported artifact against a folder of the case
compare() {
    python3 "$PKG_SHARED/oracle/compare.py" "$1" "$golden/$CASE/$2" ${3:-} >compare.txt 2>&1
    status=$?
    out=$(cat compare.txt) errors=
    [ $status = 0 ] || fail "$CASE: $2"
    sed "s|^|$2: |" compare.txt
}
export_node() { pk export spec.yaml "$@"; is_status 0 "export $*"; }

export_node scores x/scores; compare x/scores scores
for n in scores layers blocks; do export_node $n-bf16 x/$n-bf16; done
compare x/scores-bf16 scores --bf16; compare x/layers-bf16 layers/sensitivity --bf16
rm -f x/blocks-bf16/blocks.safetensors; compare x/blocks-bf16 blocks/submatrix --bf16 # other windows of nearly the same sum have other bytes
for s in sensitivity least first last uniform; do export_node $s x/$s; compare x/$s layers/$s; done
for s in submatrix submatrix-reference row-column neuron; do export_node $s x/$s; compare x/$s blocks/$s; done
export_node lora x/lora; compare x/lora lora-init
for r in token microbatch; do
    export_node $r x/$r --as peft
    export_node $r.log x/$r
    compare x/$r train/$r
done
export_node full x/full-model
export_node full.log x/full
python3 "$PKG_SOURCE/tests/golden/delta.py" x/full-model/model.safetensors x/full/delta.safetensors "$golden/models/$CASE-student" ||
    { status=1 out= errors=; fail "no delta of the full training"; }
compare x/full full

# losses of the first four rows, f32: 1e-4 relative
for n in plain step0 token microbatch full; do export_node $n-loss.predictions x/$n-loss; done
python3 - "$golden/$CASE" <<'P' || { status=1 out= errors=; fail "losses"; }
import json, sys
g = sys.argv[1]
load = lambda f: json.load(open(f"{g}/{f}"))
want = {"plain": load("peft.json")["plain"], "step0": load("peft.json")["step0"], "full": load("full/after.json")["loss"],
        "token": load("train/token/after.json")["loss"], "microbatch": load("train/microbatch/after.json")["loss"]}
bad = 0
for n, w in want.items():
    got = [json.loads(x)["loss"] for x in open(f"x/{n}-loss/predictions.jsonl")][:4]
    worst = max(abs(a - b) / abs(b) for a, b in zip(got, w)) if len(got) == len(w) else float("inf")
    bad += worst > 1e-4
    print("ok  " if worst <= 1e-4 else "FAIL", f"loss {n}: worst relative {worst:.3g}")
sys.exit(bad)
P
finish
