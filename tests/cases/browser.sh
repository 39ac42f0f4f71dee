# SPDX-License-Identifier: MIT
# The report in headless Chromium: nothing on the console, nothing without size or outside its place on a desk and on a phone, light
# and dark; and the numbers that the browser shows are those of the artifacts.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
. "$PKG_SOURCE/tests/cases/chromium.bash"

tiny_spec s.yaml
cat >>s.yaml <<'Y'
variants: {plain: {nodes: {lora: {params: {init: default}, inputs: {blocks: null}}}}}
Y
pk report s.yaml -o before.html; rendered before.html 1280 before.dom
pk run s.yaml; is_status 0 run
pk report s.yaml -o page.html; is_status 0 report
rendered page.html 1280 desk.dom; says "rgb(251, 251, 249)" "the light page"
rendered page.html 1280 dark.dom --blink-settings=preferredColorScheme=0; says "rgb(21, 23, 26)" "the dark page"
rendered page.html 500 phone.dom
for n in scores after before tuned.log; do pk export s.yaml $n out/$n; done
python3 - <<'P' || fail "numbers of the rendered page"
import json, re
dom = open("desk.dom", encoding="utf-8").read()
def values(name):
    return [float(m) for m in re.findall(r'class="%s"[^>]*data-v="([^"]+)"|data-v="([^"]+)"[^>]*class="%s"' % (name, name), dom) for m in m if m]
assert values("layer") == json.load(open("out/scores/scores.json"))["layers"], values("layer")
for n in ("after", "before"):
    assert json.load(open(f"out/{n}/metrics.json"))["metrics"]["loss"] in values("metric"), n
    shown = "%.4f" % json.load(open(f"out/{n}/metrics.json"))["metrics"]["loss"]
    assert shown in dom, shown
assert [json.loads(l)["loss"] for l in open("out/tuned.log/train.jsonl")][-1] in values("last")
P
finish
