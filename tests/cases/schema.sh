# SPDX-License-Identifier: MIT
# The JSON Schema beside a public validator: it is a valid 2020-12 schema, takes every spec of the tree and every case that
# `check` takes, and refuses the damage that a schema can see.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
"$PKGRAPH" schema >schema.json || { status=$?; out=; errors=; fail schema; finish; }
python3 -c 'import jsonschema, yaml' 2>/dev/null || { echo "SKIPPED: python3 with jsonschema and yaml is not here"; exit 77; }
cat >validate.py <<'P'
import glob, json, os, subprocess, sys, warnings
import yaml
from jsonschema import Draft202012Validator as V

source, pkgraph = sys.argv[1:]
schema = json.load(open("schema.json"))
V.check_schema(schema)
v = V(schema)
bad = 0


def say(*words):
    global bad
    bad += 1
    print("FAIL:", *words)


def load(path):
    return yaml.safe_load(open(path, encoding="utf-8"))


specs = sorted(glob.glob(source + "/specs/**/*.yaml", recursive=True)) + glob.glob(source + "/tests/cases/*.yaml")
for path in specs:
    for e in v.iter_errors(load(path)):
        say(path, e.json_path, e.message[:200])

# what `check` takes, the schema takes
seen = 0
os.chdir(source + "/tests/cases/diag")
for path in sorted(glob.glob("*.yaml")):
    good = open(path[:-5] + ".txt", encoding="utf-8").read().endswith("status 0\n")
    if good:
        seen += 1
        for e in v.iter_errors(load(path)):
            say(path, "is good, but:", e.json_path, e.message[:200])

def places(errors):
    """Of all errors, those inside an anyOf included: where they are, and what they say (a key that is not known)."""
    for e in errors:
        yield "/".join(map(str, e.absolute_path)) + " " + e.message
        yield from places(e.context)


# what it must refuse, and where
damaged = {
    "unknown_section": "node", "later_version": "pkgraph", "section_kind": "vars", "list": "", "extends_kind": "extends",
    "node_key": "m", "node_kind": "m", "node_name": "nodes", "node_op_unknown": "op", "node_op_kind": "op", "node_doc": "doc",
    "param_at_node": "m", "param_unknown": "params", "param_foreign": "params", "param_integer": "params", "param_range": "params",
    "param_choice": "params", "param_number": "params", "param_boolean": "params", "param_list": "params", "param_mapping": "params",
    "defaults_operator": "defaults", "defaults_param": "defaults", "defaults_kind": "defaults", "input_unknown_port": "inputs",
    "input_kind": "inputs", "input_param": "inputs", "input_of_source": "inputs", "sweep_scalar": "sweep", "sweep_range": "sweep",
    "variant_key": "variants", "variant_name": "variants",
}
for name, where in damaged.items():
    errors = list(places(v.iter_errors(load(name + ".yaml"))))
    if not any(where in e for e in errors):
        say(name, "is not refused at", repr(where), errors)

# --set spells parameters the same way: every parameter of the tables is in the schema
ops = json.loads(subprocess.run([pkgraph, "ops", "--json"], stdout=subprocess.PIPE, check=True).stdout)
for op in ops:
    props = schema["$defs"]["params_" + op["name"]]["properties"]
    for p in op["params"]:
        if p["name"] not in props or not props[p["name"]].get("description"):
            say(op["name"], p["name"], "is not in the schema")
print(len(specs), "specs,", seen, "good cases,", len(damaged), "damaged")
sys.exit(bad > 0)
P
python3 -W ignore validate.py "$PKG_SOURCE" "$PKGRAPH" || { status=$?; out=; errors=; fail "see above"; }
finish
