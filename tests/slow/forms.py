# SPDX-License-Identifier: MIT
"""forms.py make BASE OUT: the checkpoint as shards, as pytorch_model.bin and as shards of that, under OUT.
forms.py logits BASE GGUF LOGITS: the largest difference between log-probabilities that pkgraph kept (teacher.safetensors in the folder LOGITS)
and those of transformers, in f32, of the folder BASE, or of the file GGUF beside it ("-": none).
forms.py perplexity BASE GGUF TEXT CONTEXT: as llama-perplexity counts: pieces of CONTEXT tokens, the second half of each scored."""
import json
import math
import os
import shutil
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(2)


def model_of(base, gguf):
    more = {"gguf_file": os.path.basename(gguf)} if gguf != "-" else {}
    folder = os.path.dirname(gguf) if more else base
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", **more).eval()


def make(base, out):
    tensors = load_file(os.path.join(base, "model.safetensors"))
    names = sorted(tensors)
    for form in ("shards", "bin", "bin-shards"):
        folder = os.path.join(out, form)
        shutil.copytree(base, folder, ignore=shutil.ignore_patterns("model.safetensors"))
        parts = [names] if form == "bin" else [names[i::3] for i in range(3)]
        where = {}
        for i, part in enumerate(parts):
            kind = "model-{:05}-of-{:05}.safetensors" if form == "shards" else "pytorch_model.bin" if form == "bin" else "pytorch_model-{:05}-of-{:05}.bin"
            name = kind.format(i + 1, len(parts))
            where.update({k: name for k in part})
            values = {k: tensors[k].contiguous() for k in part}
            if form == "shards":
                from safetensors.torch import save_file
                save_file(values, os.path.join(folder, name), {"format": "pt"})
            else:
                torch.save(values, os.path.join(folder, name))
        index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())}, "weight_map": where}
        if form != "bin":
            name = "model.safetensors.index.json" if form == "shards" else "pytorch_model.bin.index.json"
            json.dump(index, open(os.path.join(folder, name), "w"))


def logits(base, gguf, folder):
    model, t = model_of(base, gguf), load_file(os.path.join(folder, "teacher.safetensors"))
    at, worst = 0, 0.0
    for a, b in zip(t["cu"][:-1].tolist(), t["cu"][1:].tolist()):
        ids = t["ids"][a:b].long()
        with torch.no_grad():
            p = torch.log_softmax(model(input_ids=ids[None], use_cache=False).logits[0].double(), -1)[:-1]
        n = len(ids) - 1
        top = t["top_ids"][at:at + n].long()
        worst = max(worst, (p.gather(1, top) - t["top_logprobs"][at:at + n]).abs().max().item())
        at += n
    assert at == t["top_ids"].shape[0] and at > 100, "not every token is a target"
    print(f"{os.path.basename(folder)}: largest difference of {t['top_ids'].numel()} log-probabilities {worst:.3g}")
    assert worst <= 1e-4


def perplexity(base, gguf, text, context):
    n, total, count = int(context), 0.0, 0
    ids = AutoTokenizer.from_pretrained(base)(open(text).read(), return_tensors="pt").input_ids[0]
    model = model_of(base, gguf)
    for i in range(len(ids) // n):
        piece = ids[i * n:(i + 1) * n]
        with torch.no_grad():
            p = torch.log_softmax(model(input_ids=piece[None], use_cache=False).logits[0].double(), -1)
        for k in range(n // 2, n - 1):
            total -= p[k, piece[k + 1]].item()
            count += 1
    print(math.exp(total / count))


{"make": make, "logits": logits, "perplexity": perplexity}[sys.argv[1]](*sys.argv[2:])
