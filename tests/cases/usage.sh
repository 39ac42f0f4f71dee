# SPDX-License-Identifier: MIT
# Usage errors, help, exit statuses of the command line; nothing runs.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

pk; is_status 2 "no command"; says "pkgraph COMMAND"
pk --help; is_status 0 "--help"; says "Exit status"
for c in $("$PKGRAPH" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    pk "$c" --help
    is_status 0 "$c --help"
    says "pkgraph $c" "$c --help"
    says "xample" "$c --help"
done
pk rnu x.yaml; is_status 2 "unknown command"; says 'did you mean `pkgraph run`'
pk version; is_status 0 version; says "oneDNN"; says "OpenBLAS"
pk --version; is_status 0 --version
pk plan x.yaml --jsn; is_status 2 "unknown option"; says "did you mean --json?"
pk run x.yaml --keep; is_status 2 "abbreviated option"; says "did you mean --keep-going?"
pk run x.yaml --cpus; is_status 2 "missing value"; says "needs a value"
pk run x.yaml --quiet=1; is_status 2 "value of a flag"; says "takes no value"
pk run x.yaml --cpus many; is_status 2 "not a number"; says "whole number"
pk run x.yaml --mem lots; is_status 2 "not a size"; says "16GiB"
pk viz x.yaml --format gif; is_status 2 "not a choice"; says "dot|mermaid|svg|png"
pk check; is_status 2 "no spec"; says "needs SPEC"
pk check a b; is_status 2 "too many"; says "too many arguments"
pk check nowhere.yaml; is_status 2 "missing spec"; says "nowhere.yaml"
pk ops nothing; is_status 2 "unknown operator"
pk ops layer-selct; is_status 2 "misspelt operator"; says 'did you mean "layer-select"?'
pk completions tcsh; is_status 2 "unknown shell"
for shell in bash zsh fish; do
    pk completions $shell; is_status 0 "completions $shell"; says "keep-going"
done
"$PKGRAPH" completions bash >c.bash && bash -n c.bash || { fail "the bash completions do not parse"; }
pk runs nowhere.yaml; is_status 0 "runs without a store"
pk doctor; is_status 0 doctor; says threads
"$PKGRAPH" ops >/dev/full 2>/dev/null; status=$?; is_status 1 "a full disk"
[ ! -e .pkgraph ] || fail "a command that needs no store made one"
finish
