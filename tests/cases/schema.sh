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
        if "default" in p and p["default"] is not None:
            for e in V({**props[p["name"]], "$defs": schema["$defs"]}).iter_errors(props[p["name"]]["default"]):
                say(op["name"], p["name"], "default:", e.message[:200])


# what an editor shows: for every key of every spec there is a description, found as a language server finds it
def reached(s, value):
    """Subschemas that speak of the value: through references, alternatives, and the conditions that it meets."""
    yield s
    if "$ref" in s:
        yield from reached(schema["$defs"][s["$ref"].split("/")[-1]], value)
    for x in s.get("anyOf", []) + s.get("allOf", []):
        yield from reached(x, value)
    if "if" in s and V({**s["if"], "$defs": schema["$defs"]}).is_valid(value):
        yield from reached(s["then"], value)


def under(subschemas, key):
    for s in subschemas:
        named = s.get("properties", {}).get(key)
        if named is None and key.startswith("x-"):
            named = s.get("patternProperties", {}).get("^x-")
        if named is None:
            named = s.get("additionalProperties")
        if isinstance(named, dict):
            yield named


keys = 0


def walk(path, subschemas, value, where, own):
    global keys
    for k, v in value.items() if isinstance(value, dict) else []:
        found = list(under(subschemas, str(k)))
        all_of = [x for s in found for x in reached(s, v)]
        keys += 1
        if not own and not any("description" in x for x in all_of):
            say(path, where + "/" + str(k), "has no description")
        walk(path, all_of, v, where + "/" + str(k), str(k) == "vars" or str(k).startswith("x-") or (own and where.endswith("vars")))


for path in specs:
    text = load(path)
    walk(path, list(reached(schema, text)), text, "", False)
print(keys, "keys with their descriptions")
print(len(specs), "specs,", seen, "good cases,", len(damaged), "damaged")
sys.exit(bad > 0)
P
python3 -W ignore validate.py "$PKG_SOURCE" "$PKGRAPH" || { status=$?; out=; errors=; fail "see above"; }
finish
