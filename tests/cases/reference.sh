# SPDX-License-Identifier: MIT
# docs/operators.md is what `pkgraph ops --format markdown` prints; the specs of the repository parse.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
"$PKGRAPH" ops --format markdown >operators.md || { status=$?; out=; errors=; fail "ops --format markdown"; }
diff -u "$PKG_SOURCE/docs/operators.md" operators.md || {
    echo "docs/operators.md is not current: pkgraph ops --format markdown > docs/operators.md"
    exit 1
}
pk check "$PKG_SOURCE/specs/quickstart.yaml"; is_status 0 "the quickstart"
pk ops --json; is_status 0 "ops --json"
pk schema; is_status 0 schema; says '$schema'
# specs whose models are not here fail on those alone
for s in "$PKG_SOURCE"/specs/*_to_*.yaml; do
    pk check "$s"
    is_status 2 "$s without its models"
    says_not "unknown" "$s"
done
finish
