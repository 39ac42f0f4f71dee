# SPDX-License-Identifier: MIT
# For the scripts beside it: a scratch folder, checks that say what they saw, and a tiny pipeline. Sourced, not run.
: "${PKGRAPH:?the program}" "${PKG_SOURCE:?the source tree}"
[ -x "$PKGRAPH" ] || { echo "no program at $PKGRAPH"; exit 1; }
set -u
work=$(mktemp -d "${TMPDIR:-/tmp}/pkgraph-test-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
unset PKGRAPH_STORE
export LC_ALL=C NO_COLOR=1
failures=0

# pk ARGS: runs the program; sets $status, $out, $errors
pk() {
    "$PKGRAPH" "$@" >"$work/.out" 2>"$work/.err" </dev/null
    status=$?
    out=$(cat "$work/.out")
    errors=$(cat "$work/.err")
}
fail() {
    echo "FAIL: $*"
    echo "  status $status"
    printf '%s\n' "$out" | sed 's/^/  out: /' | head -40
    printf '%s\n' "$errors" | sed 's/^/  err: /' | head -40
    failures=$((failures + 1))
}
is_status() { [ "$status" = "$1" ] || fail "$2: expected status $1"; }
says() { case "$errors$out" in *"$1"*) ;; *) fail "${2:-the message} lacks: $1" ;; esac; }
says_not() { case "$errors$out" in *"$1"*) fail "${2:-the message} has: $1" ;; esac; }
finish() {
    [ "$failures" = 0 ] && echo "ok"
    exit $((failures > 0))
}

# tiny_spec FILE: the whole pipeline in seconds, from nothing
tiny_spec() { cp "$PKG_SOURCE/tests/cases/tiny.yaml" "$1"; }

# ran EVENTS: names of the nodes that ran, sorted, on one line
ran() { sed -n 's/.*"event":"done".*"node":"\([^"]*\)".*/\1/p' "$1" | sort | tr '\n' ' ' | sed 's/ $//'; }
