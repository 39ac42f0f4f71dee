# SPDX-License-Identifier: MIT
"""templates.py FOLDER PREDICTIONS ROWS NAME: the prompts that pkgraph rendered (their SHA-256 stands in predictions.jsonl) beside those of
transformers' apply_chat_template with the tokenizer of FOLDER. Rows that the template refuses must be refused by both: NAME.refused lists those."""
import hashlib
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
from transformers import AutoTokenizer

FROM = {"human": "user", "gpt": "assistant", "system": "system", "observation": "tool", "function_call": "assistant"}


def arguments(call):
    f = dict(call.get("function", call))
    if isinstance(f["arguments"], str):
        f["arguments"] = json.loads(f["arguments"])
    outer = {k: v for k, v in call.items() if k not in ("name", "arguments", "function")}
    return {**outer, "type": "function", "function": f}


def conversation(row):
    """As OpenAI has it."""
    tools = row.get("tools") or None
    tools = json.loads(tools) if isinstance(tools, str) else tools
    tools = tools and [t if "function" in t else {"type": "function", "function": t} for t in tools]
    if "messages" in row:
        turns = [dict(t) for t in row["messages"]]
        for t in turns:
            if t.get("tool_calls"):
                t["tool_calls"] = [arguments(c) for c in t["tool_calls"]]
                t.setdefault("content", None)
        return turns, tools
    turns = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    for t in row["conversations"]:
        turn = {"role": FROM[t["from"]], "content": t["value"]}
        if t["from"] == "function_call":
            calls = json.loads(t["value"])
            turn = {"role": "assistant", "content": "", "tool_calls": [arguments(c) for c in (calls if isinstance(calls, list) else [calls])]}
        turns.append(turn)
    return turns, tools


def main(folder, predictions, rows):
    tok = AutoTokenizer.from_pretrained(folder)
    bad = n = 0
    for line, row in zip(open(predictions), open(rows)):
        turns, tools = conversation(json.loads(row))
        if turns[-1]["role"] == "assistant":
            turns = turns[:-1]
        text = tok.apply_chat_template(turns, tools=tools, tokenize=False, add_generation_prompt=True)
        n += 1
        if hashlib.sha256(text.encode()).hexdigest() != json.loads(line)["prompt_sha256"]:
            bad += 1
            print(f"row {n - 1} differs; transformers writes:\n{text!r}")
    print(f"{os.path.basename(folder)}: {n} prompts, {bad} differ")
    return bad != 0 or n == 0


sys.exit(main(*sys.argv[1:4]))
