# SPDX-License-Identifier: MIT
# Every message that a specification can meet has its case in tests/cases/diag: the texts of the language's files, and what
# the infer functions of the operators (with all that they call in ops/) refuse with, are looked for there. Texts of limits
# that only a large file reaches are in hostile.sh and in the unit tests, and listed here.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
python3 -c '' 2>/dev/null || { echo "SKIPPED: python3 is not here"; exit 77; }
cat >all.py <<'P'
import glob, os, re, sys

source = sys.argv[1]
elsewhere = {  # hostile.sh
    "more than %d nodes", "nodes, variants and points of the sweep together are too many", "fewer sweep values or variants",
    "more than %d values after substitution", "more than %d bytes", "more than %d keys in the sweep",
    "more than %d specs extend each other",
}
not_shown = {  # no operator of the table comes to these; unit tests of the engine do
    "another value", "refused without a reason", "not YAML", " str int float bool null map seq ", "%.80s (%s) has no outputs",
    '%s (%s) does not produce its output \\"%s\\" with these parameters', " of at least ", " of at most ", " (16GiB, 512MB)",
    "the dataset's template %s is not encoded by this version; use template: open-instruct",
}
shown = ""
for path in glob.glob(source + "/tests/cases/diag/*.txt"):
    shown += open(path, encoding="utf-8", errors="replace").read()
LITERAL = r'"((?:[^"\\\n]|\\.)*)"'


def text_of(path):
    t = open(path, encoding="utf-8").read()
    t = re.sub(LITERAL + r"|/\*.*?\*/", lambda m: m.group(0) if m.group(0)[0] == '"' else " ", t, flags=re.S)
    return re.sub(r'"\s*\n\s*"', "", t)


def is_shown(literal):
    z = literal.replace('\\"', '"').replace("\\n", "\n")
    parts = re.split(r"%%|%[-+ #0]*[0-9*]*(?:\.[0-9*]+)?(?:hh|h|ll|l|z|j)?[a-zA-Z]", z)
    return re.search(".*?".join(re.escape(p) for p in parts), shown) is not None


def functions(path):
    """name -> (file, static, body) of every function of a file."""
    text = text_of(path)
    heads = re.finditer(r"^(static )?(?:const )?(?:struct )?[a-z_0-9]+ \**([a-z_0-9]+)\([^;{]*\)\n\{", text, re.M)
    return {h.group(2): (path, bool(h.group(1)), text[h.start():text.find("\n}\n", h.end())]) for h in heads}


missing, n = set(), 0
for name in "yaml spec vars sweep edition expand own param graph infer".split():
    for statement in text_of(f"{source}/engine/{name}.c").split(";"):
        if re.search(r"err_nomem|err_set|nomem\(|#include", statement):
            continue
        for z in re.findall(LITERAL, statement):
            if " " in z.strip(" ,:") and z not in elsewhere | not_shown:
                n += 1
                if not is_shown(z):
                    missing.add(f"engine/{name}.c: {z}")
files = {path: functions(path) for path in glob.glob(source + "/ops/*.c") + glob.glob(source + "/ops/lib/*.c")}
public = {name: f[0] for path in files for name, f in files[path].items() if not f[1]}
for path in sorted(glob.glob(source + "/ops/*.c")):
    todo, done = [(path, name) for name in re.findall(r"\.infer = ([a-z_0-9]+)", text_of(path))], set()
    while todo:
        at = todo.pop()
        if at in done:
            continue
        done.add(at)
        body = files[at[0]][at[1]][2]
        for name in re.findall(r"\b([a-z_0-9]+)\(", body):
            where = at[0] if name in files[at[0]] else public.get(name)
            if where:
                todo.append((where, name))
        for code, z in re.findall(r"err_set\(\s*[a-z]+,\s*(ERR_[A-Z]+),\s*" + LITERAL, body):
            n += code != "ERR_INTERNAL"
            if code != "ERR_INTERNAL" and z not in not_shown and not is_shown(z):
                missing.add(f"{os.path.relpath(at[0], source)}, {at[1]}: {z}")
for m in sorted(missing):
    print("no case shows:", m)
print(n, "texts,", len(missing), "without a case")
sys.exit(len(missing) > 0 or n < 200)
P
python3 all.py "$PKG_SOURCE" || { status=$?; out=; errors=; fail "see above"; }
finish
