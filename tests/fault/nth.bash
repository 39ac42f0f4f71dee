# SPDX-License-Identifier: MIT
# Fails the N-th call of a kind in a small run and then runs again: no crash, no hang, and afterwards the same bytes as an
# undisturbed run. Sourced with $most, the largest number of places tried per kind (0: every one). $KINDS: only these;
# $SHARDS: places are divided among so many processes at once. $SPEC=tiny: the whole
# pipeline instead of three nodes.
. "$PKG_SOURCE/tests/cases/lib.bash"
cc=$(command -v "${CC:-cc}" || command -v gcc || command -v clang) || { echo "SKIPPED: no C compiler for the shim"; exit 77; }
case $("$cc" -dumpmachine) in *linux-gnu*) ;; *) echo "SKIPPED: the shim needs glibc"; exit 77 ;; esac
nm -D "$PKGRAPH" 2>/dev/null | grep -q __asan && { echo "SKIPPED: preloading does not go with the address sanitizer"; exit 77; }
"$cc" -O2 -D_GNU_SOURCE -shared -fPIC -o shim.so "$PKG_SOURCE/tests/fault/shim.c" -ldl || { echo "the shim does not build"; exit 1; }
export GOMP_SPINCOUNT=2000 # otherwise a run starts itself anew, and would count twice
unset PKGRAPH_REMOTE

[ "${SPEC:-small}" = tiny ] && tiny_spec spec.yaml || cat >spec.yaml <<'SPEC'
pkgraph: 1
nodes:
  a: {op: synth, params: {split: train, rows: 4, difficulty: 3}}
  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1, seed: 2}}
  n: {op: eval, inputs: {model: m, data: a}, params: {task: loss, compute: f32}}
SPEC
blobs() { (cd "$1/blobs" 2>/dev/null && find . -type f | sort && find . -type f | sort | xargs sha256sum) 2>/dev/null; }
"$PKGRAPH" run spec.yaml --store whole -q >/dev/null 2>&1 || { echo "the undisturbed run fails"; exit 1; }
blobs whole | sort >whole.txt

# one KIND AT
one() {
    rm -rf s
    FAULT_KIND=$1 FAULT_AT=$2 LD_PRELOAD=$work/shim.so timeout -k 1 60 "$PKGRAPH" run ../spec.yaml --store s -q >.out 2>.err </dev/null
    status=$?; out=$(cat .out); errors=$(cat .err)
    case $status in
    0 | 1 | 2) ;;
    *) fail "$1 $2: ended with status $status"; return ;;
    esac
    [ $status = 0 ] || [ -n "$errors" ] || fail "$1 $2: failed without a word"
    [ $status = 0 ] && tolerated=$((tolerated + 1))
    "$PKGRAPH" run ../spec.yaml --store s -q >.out 2>.err </dev/null
    status=$?; out=$(cat .out); errors=$(cat .err)
    [ $status = 0 ] || { fail "$1 $2: the run after it"; return; }
    # what a failed run left unnamed may lie beside
    blobs s | sort | comm -23 ../whole.txt - | grep -q . && fail "$1 $2: other bytes afterwards"
    return 0
}

# shard KIND FIRST STEP TOTAL, in a folder of its own
shard() {
    tolerated=0; tried=0; failures=0
    for ((i = $2; i <= $4; i += $3)); do
        one "$1" "$i"; tried=$((tried + 1))
        [ $failures -lt 20 ] || break
    done
    echo "$tried $tolerated $failures" >result
}

shards=${SHARDS:-1}
for kind in ${KINDS:-alloc write fsync rename open sqlite}; do
    rm -rf s
    FAULT_COUNT=$work/count FAULT_KIND=$kind LD_PRELOAD=$work/shim.so "$PKGRAPH" run spec.yaml --store s -q >/dev/null 2>&1
    total=$(cat count)
    [ "$total" -gt 0 ] || fail "$kind: nothing was counted"
    step=1; [ "$most" = 0 ] || step=$(((total + most - 1) / most))
    for ((k = 0; k < shards; k++)); do
        mkdir -p "shard$k"
        (cd "shard$k" && shard "$kind" $((1 + k * step)) $((step * shards)) "$total") &
    done
    wait
    tried=0; tolerated=0
    for ((k = 0; k < shards; k++)); do
        read -r a b c <"shard$k/result"
        tried=$((tried + a)); tolerated=$((tolerated + b)); failures=$((failures + c))
    done
    echo "$kind: $total calls, $tried of them failed one by one, $tolerated of these did not stop the run"
    [ $failures -lt 20 ] || break
done
