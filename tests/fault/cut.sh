# SPDX-License-Identifier: MIT
# Every file that a run or a command maps, cut to half right after it was mapped, one by one: an error with the file, the cause and the
# remedy, never the end of the process by a signal, and no result or exported file that was made of what was missing. The next run of
# the graph makes the same bytes as an undisturbed one.
SPEC=tiny KINDS=cut most=${MOST:-0}
. "$PKG_SOURCE/tests/fault/nth.bash"
[ "${tolerated:-1}" = 0 ] || fail "$tolerated runs ended well on a file that was cut"


# files of the user: a checkpoint and rows
"$PKGRAPH" run spec.yaml --store whole -q >/dev/null 2>&1
pk export spec.yaml teacher good --as hf --store whole; is_status 0 "export of the teacher"
pk export spec.yaml seeds good --store whole; is_status 0 "export of the rows"
rows=$(cd good && ls *.jsonl)
cat >user.yaml <<SPEC
pkgraph: 1
nodes:
  m: {op: load, params: {model: user}}
  d: {op: data, params: {path: user/$rows}}
  s: {op: sensitivity, inputs: {model: m, data: d}, params: {compute: f32}}
  e: {op: eval, inputs: {model: m, data: d}, params: {task: loss, compute: f32}}
SPEC
restore() { rm -rf user; cp -a good user; }
restore; FAULT_COUNT=$work/count FAULT_KIND=cut LD_PRELOAD=$work/shim.so "$PKGRAPH" run user.yaml --store u -q >/dev/null 2>&1
for n in s e.predictions; do pk export user.yaml $n want --store u; is_status 0 "export of $n"; done
total=$(cat count)
for ((i = 1; i <= total; i++)); do
    rm -rf u2 got; restore
    FAULT_KIND=cut FAULT_AT=$i LD_PRELOAD=$work/shim.so timeout -k 1 60 "$PKGRAPH" run user.yaml --store u2 -q >.out 2>.err </dev/null
    status=$?; out=$(cat .out) errors=$(cat .err)
    is_status 1 "a run, file $i cut"; says "cut short" "a run, file $i cut"; says "run again" "a run, file $i cut"
    restore
    pk run user.yaml --store u2 -q; is_status 0 "the run after that"
    for n in s e.predictions; do pk export user.yaml $n got --store u2; is_status 0 "export of $n"; done
    diff -r want got >/dev/null || fail "file $i: other results after it was brought back"
done
echo "files of the user: $total"
[ "$total" -gt 3 ] || fail "only $total files of the user were mapped"

# commands that read artifacts, each on a store of its own
command_cut() {
    local name=$1 total
    shift
    FAULT_COUNT=$work/count FAULT_KIND=cut LD_PRELOAD=$work/shim.so "$PKGRAPH" "$@" --store whole >/dev/null 2>&1
    total=$(cat count)
    [ "$total" -gt 0 ] || fail "$name maps no file"
    for ((i = 1; i <= total; i++)); do
        rm -rf s x page.html
        cp -a whole s
        FAULT_KIND=cut FAULT_AT=$i LD_PRELOAD=$work/shim.so timeout -k 1 60 "$PKGRAPH" "$@" --store s >.out 2>.err </dev/null
        status=$?; out=$(cat .out) errors=$(cat .err)
        is_status 1 "$name, file $i"
        case $errors in *"cut short"*|*"run again"*) ;; *) fail "$name, file $i: no cause" ;; esac
        [ -e page.html ] && fail "$name: a page was written"
        [ -d x ] && [ -n "$(ls -A x)" ] && fail "$name: files were left: $(ls -A x)"
    done
    echo "$name: $total files"
}
command_cut "show scores" show spec.yaml scores
command_cut "report" report spec.yaml --output page.html
command_cut "export a model" export spec.yaml teacher x --as hf
command_cut "export GGUF" export spec.yaml teacher x --as gguf
command_cut "export an adapter" export spec.yaml tuned x --as peft
finish
