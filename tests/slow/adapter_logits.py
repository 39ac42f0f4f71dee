# SPDX-License-Identifier: MIT
"""Logits of an exported adapter in PEFT, and of the merged model, beside each other, in f32.
Usage: adapter_logits.py BASE ADAPTER MERGED MEAN_LOSS ROWS.jsonl LIMIT
Every path computes the loss of the rows' last assistant turn in the training form; MEAN_LOSS is pkgraph's own."""
import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter, merged, ours, rows, limit = sys.argv[1:7]
torch.set_num_threads(2)
tok = AutoTokenizer.from_pretrained(base)


def pieces(messages):
    """Token ids and the number of those that are only read, after docs/method: the last assistant turn is trained on."""
    text = "".join(f"<|{m['role']}|>\n{m['content'].strip()}\n\n" for m in messages[:-1]) + "<|assistant|>\n"
    last = messages[-1]["content"].strip() + "\n\n" + tok.eos_token
    ids = tok(text + last, add_special_tokens=True)["input_ids"]
    return ids, len(tok(text, add_special_tokens=True)["input_ids"])


def logits_and_loss(model):
    out, loss, n = [], 0.0, 0
    with torch.no_grad():
        for line in open(rows).read().splitlines()[: int(limit)]:
            ids, read = pieces(json.loads(line)["messages"])
            z = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
            loss += torch.nn.functional.cross_entropy(z[read - 1:-1], torch.tensor(ids[read:]), reduction="sum").item()
            n += len(ids) - read
            out.append(z[read - 1:-1])
    return torch.cat(out), loss / n


load = dict(dtype=torch.float32, attn_implementation="eager")
plain, plain_loss = logits_and_loss(AutoModelForCausalLM.from_pretrained(base, **load).eval())
peft, peft_loss = logits_and_loss(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, **load), adapter).eval())
one, one_loss = logits_and_loss(AutoModelForCausalLM.from_pretrained(merged, **load).eval())
print(f"loss: base {plain_loss:.6f}, pkgraph {float(ours):.6f}, PEFT {peft_loss:.6f}, merged {one_loss:.6f}")
print(f"largest difference of logits: PEFT - base {(peft - plain).abs().max():.3g}, PEFT - merged {(peft - one).abs().max():.3g}")
assert (peft - plain).abs().max() > 1e-2, "the adapter changes nothing: this test would prove nothing"
assert abs(peft_loss - float(ours)) <= 1e-4 * abs(peft_loss), "PEFT computes another function than pkgraph"
assert abs(one_loss - peft_loss) <= 1e-4 * abs(peft_loss), "the merged model is another function than the adapter"
assert (peft - one).abs().max() <= 1e-4 * max(1.0, peft.abs().max().item()), "logits of the merged model differ"
