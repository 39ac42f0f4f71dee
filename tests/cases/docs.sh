# SPDX-License-Identifier: MIT
# Command lines in the documentation work: those of the tutorial and its neighbours are run, on a small quickstart; all others
# name commands and options that exist. Links between the pages lead somewhere.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

pages="$PKG_SOURCE/README.md $PKG_SOURCE/docs/*.md"
mkdir -p specs/ablations
cp -r "$PKG_SOURCE"/specs/. specs/
sed -e 's/^  rows: 14400/  rows: 24/' -e 's/rows: 7200/rows: 24/' -e 's/rows: 1536/rows: 32/' -e 's/rows: 384/rows: 6/' -e 's/rows: 32, difficulty/rows: 4, difficulty/' \
    -e 's/num_train_epochs: 3/num_train_epochs: 1/' -e 's/max_new_tokens: 32/max_new_tokens: 4/' "$PKG_SOURCE/specs/quickstart.yaml" >specs/quickstart.yaml
sed -e 's/split: train, seed: 1000, rows: 4/split: train, seed: 1000, rows: 32/' specs/quickstart.yaml >q && mv q specs/quickstart.yaml
mkdir bin && ln -s "$PKGRAPH" bin/pkgraph
PATH=$work/bin:$PATH

# lines PAGE: the lines of its ```sh blocks; a yaml block that begins with "# FILE.yaml" is written to that file
lines() {
    awk '/^```sh/ {on = 1; next} /^```yaml/ {yaml = 1; next} /^```/ {on = 0; yaml = 0; file = ""; next}
         yaml && /^# [a-z]*\.yaml$/ {file = $2; next} yaml && file {print >file; next} on' "$1"
}
for page in tutorial coming-from; do
    lines "$PKG_SOURCE/docs/$page.md" >"$page.lines"
    [ -s "$page.lines" ] || fail "no command lines in $page.md"
    while IFS= read -r line; do
        out=$(bash -c "$line" 2>.err </dev/null)
        status=$?
        errors=$(cat .err)
        case "$line" in
        "pkgraph plan "*) [ $status = 0 ] || is_status 2 "$page.md: $line" ;;
        *) is_status 0 "$page.md: $line" ;;
        esac
    done <"$page.lines"
done
status=0 out='' errors=''
[ -s quickstart.html ] && [ -s pair.html ] && [ -s adapter/adapter_model.safetensors ] || fail "the tutorial left less than it says"

# every line in an indented or fenced block that begins with pkgraph, of any page: the command and its options exist
grep -hE '^(    |`)?(build/)?pkgraph [a-z]' $pages | sed -e 's/^[ `]*//' -e 's/^build\///' -e 's/`.*//' -e 's/ #.*//' -e "s/'[^']*'//g" | sort -u >all.lines
[ "$(wc -l <all.lines)" -gt 20 ] || fail "only $(wc -l <all.lines) command lines found"
while read -r _ command rest; do
    help=$("$PKGRAPH" "$command" --help 2>&1) || { fail "no command: pkgraph $command $rest"; continue; }
    for word in $rest; do
        case "$word" in
        --*) case "$help" in *"${word%%=*}"*) ;; *) fail "no option $word: pkgraph $command $rest" ;; esac ;;
        esac
    done
done <all.lines
for c in $("$PKGRAPH" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    [ "$c" = help ] || grep -q "\`$c\`" "$PKG_SOURCE/docs/spec.md" || fail "docs/spec.md does not name the command $c"
done
for page in $pages; do
    for link in $(grep -oE '\]\([A-Za-z0-9_/.-]+\.md\)' "$page" | tr -d ']()'); do
        [ -f "$(dirname "$page")/$link" ] || fail "$page: dead link $link"
    done
done
"$PKGRAPH" ops --format markdown >operators.md && cmp -s operators.md "$PKG_SOURCE/docs/operators.md" || fail "docs/operators.md is not what pkgraph ops --format markdown prints"
finish
