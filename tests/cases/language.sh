# SPDX-License-Identifier: MIT
# The language from outside: what a parameter finally is, after extends (chains, lists, removal), anchors, defaults,
# variables, the environment, the sweep (product, zip, ranges), variants and --set; where relative paths start.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
python3 -c '' 2>/dev/null || { echo "SKIPPED: python3 is not here"; exit 77; }
# param NODE PARAM ARGS: its value, from the key
param() {
    node=$1 name=$2
    shift 2
    pk explain top.yaml "$node" --json "$@"; is_status 0 "$node $*"
    value=$(printf '%s' "$out" | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)[0]["key"]["params"].get(sys.argv[1])))' "$name")
}
# are NODE PARAM VALUE ARGS
are() {
    want=$3
    set -- "$1" "$2" "${@:4}"
    param "$@"
    [ "$value" = "$want" ] || fail "$*: $value, not $want"
}
mkdir -p a/b cwd
for f in one a/two a/b/three cwd/four; do printf '{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "5"}]}\n' "$f" >$f.jsonl; done
cat >a/b/base.yaml <<'Y'
pkgraph: 1
vars: {rows: 3, file: three.jsonl, folder: ., text: "${folder}/three.jsonl"}
x-common: &common {split: test, difficulty: 2}
defaults: {synth: {seed: 5, rows: "${rows}"}}
nodes:
  plain: {op: synth}
  anchored: {op: synth, params: {<<: *common, rows: 7}}
  twice: {op: synth, params: {<<: [{rows: 1_000}, *common, {split: train, seed: 9}]}}
  gone: {op: synth}
  cut: {op: synth, params: {rows: 8, split: train}}
  here: {op: data, params: {path: "${file}"}}
  there: {op: data, params: {path: "${text}"}}
  env: {op: data, params: {path: "${env:PKG_TEST_FILE}"}}
  odd: {op: synth, params: {rows: 2}}
Y
cat >a/mid.yaml <<'Y'
pkgraph: 1
extends: b/base.yaml
vars: {file: two.jsonl}
nodes: {gone: null, cut: {params: {rows: null}}}
Y
printf 'pkgraph: 1\ndefaults: {synth: {difficulty: 1}}\nnodes: {cut: {doc: "seen last", params: {split: seed}}}\n' >a/over.yaml
cat >top.yaml <<'Y'
pkgraph: 1
extends: [a/mid.yaml, a/over.yaml]
vars: {count: 4}
nodes:
  made: {op: synth, params: {rows: 1, seed: 1}}
  odd: {op: data, params: {rows: null, path: one.jsonl}}
sweep:
  made.seed: {from: 1, to: 5, step: 2}
  zip: {made.rows: [10, "${count}"], made.split: [train, test]}
variants:
  more: {vars: {rows: 6}, nodes: {made: {params: {rows: 77}}, env: null}}
Y
export PKG_TEST_FILE=../../cwd/four.jsonl
pk check top.yaml; is_status 0 check; says "22 nodes"
are plain rows 3; are plain seed 5; are plain difficulty 1
are anchored rows 7; are anchored split '"test"'; are anchored difficulty 2; are anchored seed 5
are twice rows 1000; are twice split '"test"'; are twice seed 9
are cut rows 3; are cut split '"seed"'
pk explain top.yaml gone; is_status 2 "a removed node"
are made@made.seed=3,made.rows=10 rows 10
are made@made.seed=5,made.rows=4 split '"test"'
are made@made.seed=1,made.rows=9 rows 9 --set count=9
are plain@more rows 6; are made@more,made.seed=3,made.split=test rows 77
are plain rows 12 --set rows=12; are plain@more rows 6 --set plain.seed=1
are made@made.seed=3 rows 2 --set made.rows=2 --set made.split=test --variant base
are cut rows 11 --set cut.rows=11 --set rows=12
are plain rows 16 --set rows=1.6e1
# where paths start: the file they stand in, a variable's file, the folder of --set
pk run top.yaml --variant base --quiet; is_status 0 run
row() {
    pk show top.yaml "$1" "${@:3}"
    says "$2" "$1"
}
row here a/two; row there a/b/three; row env cwd/four; row odd one
(cd cwd && "$PKGRAPH" check ../top.yaml --set file=four.jsonl >/dev/null) || fail "a path of --set starts in the current folder"
pk check top.yaml --set file=four.jsonl; is_status 2 "not beside the spec"; says "used here"; says "extended here"
unset PKG_TEST_FILE
pk check top.yaml --variant base; is_status 2 "no such variable of the environment"; says "the environment has no PKG_TEST_FILE"
# colour on a terminal alone, and not with NO_COLOR
printf 'pkgraph: 1\nnodes: {d: {op: synth, params: {rowz: 1}}}\n' >bad.yaml
if command -v script >/dev/null; then
    terminal() { script -qec "$*" /dev/null </dev/null; }
    case $(terminal "env -u NO_COLOR TERM=xterm '$PKGRAPH' check bad.yaml") in *$'\033[1;31merror'*) ;; *) fail "no colour on a terminal" ;; esac
    case $(terminal "env NO_COLOR=1 TERM=xterm '$PKGRAPH' check bad.yaml") in *$'\033['*) fail "colour with NO_COLOR" ;; esac
else
    echo "no script(1): colours are not looked at"
fi
case $(env -u NO_COLOR "$PKGRAPH" check bad.yaml 2>&1) in *$'\033['*) fail "colour in a pipe" ;; esac
finish
