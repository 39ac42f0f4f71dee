# SPDX-License-Identifier: MIT
# Every diagnostic: tests/cases/diag/NAME.yaml in, NAME.txt out, byte by byte. A first line `# command: WORDS` says what is
# run in place of `check`. After a change that is meant: ACCEPT=FOLDER writes the new texts
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
from=$PKG_SOURCE/tests/cases/diag
cp -r "$from"/. . || exit 1
unset PKGRAPH_NOT_SET
n=0
for f in *.yaml; do
    name=${f%.yaml}
    command=$(sed -n '1s/^# command: //p' "$f" | tr -d '\r')
    # shellcheck disable=SC2086
    set -- ${command:-check}
    first=$1
    shift
    "$PKGRAPH" "$first" "$f" "$@" >"$name.out" 2>&1 </dev/null
    printf 'status %d\n' $? >>"$name.out"
    sed -i "s|$(pwd)|DIR|g" "$name.out"
    if [ "${ACCEPT:-}" ]; then cp "$name.out" "$ACCEPT/$name.txt"; fi
    diff -u "$name.txt" "$name.out" || failures=$((failures + 1))
    n=$((n + 1))
done
echo "$n diagnostics"
[ "$n" -gt 90 ] || failures=1
finish
