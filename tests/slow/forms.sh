# SPDX-License-Identifier: MIT
# A real checkpoint in every form that is read (a folder, shards, PyTorch's .bin, GGUF as we write it) gives transformers' logits to 1e-4 in f32, and
# the GGUF files that we write have the perplexity of the original in llama.cpp, to 1 %. Needs a folder of Hugging Face checkpoints
# in $PKG_REAL, rows in $PKG_SHARED, a Python with torch and transformers in $PKG_PYTHON, and for the second part llama.cpp's programs in $PKG_LLAMA.
set -eu
python=${PKG_PYTHON:-python3}
base=${PKG_REAL:-}/${PKG_FORMS_MODEL:-smollm2-135m}
rows=${PKG_SHARED:-}/data/gsm8k/train_1000.jsonl
if [ -z "${PKG_REAL:-}" ] || [ ! -f "$base/model.safetensors" ] || [ ! -f "$rows" ]; then
    echo "SKIPPED: set PKG_REAL to a folder with ${PKG_FORMS_MODEL:-smollm2-135m} and PKG_SHARED to the shared data"
    exit 77
fi
if ! "$python" -c 'import transformers, torch, gguf' 2>/dev/null; then
    echo "SKIPPED: $python has no torch, transformers and gguf; set PKG_PYTHON"
    exit 77
fi
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
"$python" "$here/forms.py" make "$base" "$dir/c"
"$python" - "$rows" <<'P'
import json, sys
texts = [m["content"] for line in open(sys.argv[1]).read().splitlines()[:60] for m in json.loads(line)["messages"]]
open("text.txt", "w").write("\n\n".join(texts))
open("rows.jsonl", "w").write("".join(json.dumps({"text": t}) + "\n" for t in texts[:6]))
P
form() { # NAME CHECKPOINT
    printf '  %s: {op: load, params: {model: %s}}\n  %s-logits: {op: teacher-logits, inputs: {model: %s, data: rows}, params: {compute: f32, top_k: 64}}\n' \
        "$1" "$2" "$1" "$1" >>forms.yaml
}
printf 'pkgraph: 1\nnodes:\n  rows: {op: data, params: {path: rows.jsonl, train_on: all}}\n  base: {op: load, params: {model: %s}}\n' "$base" >forms.yaml
for t in f32 f16 bf16 q8_0; do
    "$PKGRAPH" run forms.yaml --only base --store st -q
    "$PKGRAPH" export forms.yaml base "g-$t" --as gguf --dtype "$t" --store st >/dev/null
done
form folder "$base"
for f in shards bin bin-shards; do form "$f" "c/$f"; done
for t in f32 f16 bf16 q8_0; do form "gguf-$t" "g-$t/model.gguf"; done
"$PKGRAPH" run forms.yaml --store st -q
compare() { # NAME GGUF
    "$PKGRAPH" export forms.yaml "$1-logits" "$1" --store st >/dev/null
    "$python" "$here/forms.py" logits "$base" "$2" "$dir/$1"
}
for f in folder shards bin bin-shards gguf-f32 gguf-bf16; do compare "$f" -; done
for t in f16 q8_0; do compare "gguf-$t" "$dir/g-$t/model.gguf"; done
if [ ! -x "${PKG_LLAMA:-}/llama-perplexity" ]; then
    echo "SKIPPED the half with llama.cpp: set PKG_LLAMA to the folder of llama-perplexity"
    exit 0
fi
for t in f32 f16 bf16 q8_0; do
    theirs=$("$PKG_LLAMA/llama-perplexity" -m "g-$t/model.gguf" -f text.txt -c 512 -t 2 2>&1 | sed -n 's/.*Final estimate: PPL = \([0-9.]*\).*/\1/p')
    ours=$("$python" "$here/forms.py" perplexity "$base" "$([ "$t" = q8_0 ] && echo "$dir/g-$t/model.gguf" || echo -)" text.txt 512)
    echo "gguf $t: perplexity $theirs in llama.cpp, $ours in transformers"
    awk -v a="$theirs" -v b="$ours" 'BEGIN { exit !(a > 0 && a / b < 1.01 && a / b > 0.99) }' || exit 1
done
