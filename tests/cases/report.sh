# SPDX-License-Identifier: MIT
# report: one well-formed page without network, whose numbers are those of the artifacts; partly run and never run specs.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

tiny_spec s.yaml
pk report s.yaml -o before.html; is_status 0 "before any run"
grep -q 'id="graph"' before.html || fail "no graph before any run"
cat >>s.yaml <<'Y'
variants: {plain: {nodes: {lora: {params: {init: default}, inputs: {blocks: null}}}}}
Y
pk run s.yaml; is_status 0 run
pk report s.yaml -o page.html; is_status 0 report
pk report s.yaml -o again.html; cmp -s page.html again.html || fail "the page differs from one time to the next"
for id in metrics graph timeline loss sensitivity windows spectra parameters provenance; do
    grep -q "<section id=\"$id\">" page.html || fail "the page has no section $id"
done
grep -qE '(src|href)="(https?:)?//|@import|url\(' page.html && fail "the page fetches something"
grep -q 'tuned@plain' page.html || fail "the variant is not in the page"
[ "$(wc -c <page.html)" -lt 200000 ] || fail "the page is large: $(wc -c <page.html) bytes"
pk report s.yaml -o -; is_status 0 "to standard output"; says "<!DOCTYPE html>"
pk report s.yaml --baseline student -o page2.html; is_status 0 "--baseline"
pk report s.yaml --baseline nobody; is_status 2 "no such baseline"
pk report s.yaml -o nowhere/page.html; is_status 1 "a folder that is not there"
pk report s.yaml; [ -s tiny.html ] || fail "no tiny.html by default"

# published results beside one's own
printf '%s\n' '{"question": "1+1?", "answer": "1+1=<<1+1=2>>2\n#### 2"}' >gsm.jsonl
printf 'pkgraph: 1\nnodes:\n  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 2}}\n  e: {op: eval, inputs: {model: m}, params: {task: gsm8k, path: gsm.jsonl, max_new_tokens: 2}}\n' >gsm.yaml
pk run gsm.yaml; is_status 0 "gsm8k"
pk report gsm.yaml -o gsm.html; is_status 0 "report of gsm8k"
grep -q 'Published: gsm8k' gsm.html && grep -q '25.30' gsm.html || fail "no published results"

# blocks of lists of rows and columns, and of single weights
printf 'pkgraph: 1\nname: structures\nextends: s.yaml\nvariants:\n  rc: {nodes: {blocks: {params: {structure: row-column}}}}\n  neuron: {nodes: {blocks: {params: {structure: neuron}}}}\n' >rc.yaml
pk run rc.yaml --only blocks; is_status 0 "other structures"
pk report rc.yaml -o rc.html; is_status 0 "report of other structures"
grep -q 'rows: 16 chosen' rc.html || fail "lists of rows are not in the page"
grep -qi '[^a-z]nan[^a-z]' rc.html page.html gsm.html && fail "a number is none"

# names from outside are escaped
sed 's/^name: tiny/name: "<script>alert(1)<\/script>\&\\""/' s.yaml >evil.yaml
pk report evil.yaml -o evil.html; is_status 0 "a strange name"
grep -q '<script>alert' evil.html && fail "a name is markup"

if command -v python3 >/dev/null; then
    for n in scores after before tuned.log blocks; do pk export s.yaml $n out/$n; done
    python3 - <<'P' || fail "numbers of the page"
import json, xml.etree.ElementTree as E
for f in ("page.html", "evil.html", "before.html", "gsm.html", "rc.html"):
    root = E.parse(f).getroot()
root = E.parse("page.html").getroot()
def values(name):
    return [float(x.get("data-v")) for x in root.iter() if x.get("class") == name]
layers = json.load(open("out/scores/scores.json"))["layers"]
assert values("layer") == layers, (values("layer"), layers)
for n in ("after", "before"):
    assert json.load(open(f"out/{n}/metrics.json"))["metrics"]["loss"] in values("metric"), n
last = [json.loads(l)["loss"] for l in open("out/tuned.log/train.jsonl")][-1]
assert last in values("last"), (last, values("last"))
tips = "\n".join(x.get("data-t") for x in root.iter() if x.get("data-t"))
# sums of the cells of a layer are the layer's score
import re
for i, total in enumerate(layers):
    cells = [float(x) for x in re.findall(r"^layer %d, \w+: S = (\S+)$" % i, tips, re.M)]
    assert len(cells) >= 9 and abs(sum(cells) - total) < 1e-4 * total, (i, cells, total)
blocks = json.load(open("out/blocks/blocks.json"))["tensors"]
assert sum(x.get("class") == "window" for x in root.iter()) == len(blocks)
b = blocks["model.layers.1.mlp.up_proj.weight"]
assert "rows %d..%d" % (b["rows"]["start"], b["rows"]["start"] + b["rows"]["count"] - 1) in tips
P
fi
finish
