# SPDX-License-Identifier: MIT
"""delta.py AFTER.safetensors OUT.safetensors BEFORE_DIR: W after - W before as f32, for every parameter. Standard library only."""
import array
import glob
import json
import struct
import sys


def read(path):
    d = open(path, "rb").read()
    n = 8 + struct.unpack("<Q", d[:8])[0]
    out = {}
    for k, v in json.loads(d[8:n]).items():
        if k == "__metadata__":
            continue
        raw = d[n + v["data_offsets"][0]:n + v["data_offsets"][1]]
        if v["dtype"] == "BF16":
            x = array.array("f", struct.pack(f"<{len(raw) // 2}I", *(u << 16 for u in struct.unpack(f"<{len(raw) // 2}H", raw))))
        else:
            x = array.array("f", struct.unpack(f"<{len(raw) // {'F16': 2, 'F32': 4}[v['dtype']]}{ {'F16': 'e', 'F32': 'f'}[v['dtype']] }", raw))
        out[k] = (v["shape"], x)
    return out


after, before = read(sys.argv[1]), {}
for f in glob.glob(sys.argv[3] + "/*.safetensors"):
    before |= read(f)
head, data = {}, b""
for k in sorted(after):
    raw = array.array("f", (a - b for a, b in zip(after[k][1], before[k][1]))).tobytes()
    head[k] = {"dtype": "F32", "shape": after[k][0], "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
text = json.dumps(head).encode()
open(sys.argv[2], "wb").write(struct.pack("<Q", len(text)) + text + data)
