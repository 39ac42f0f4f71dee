# SPDX-License-Identifier: MIT
# The documentation tells the truth: its command lines run on a small quickstart and print what the page shows (docs/testing.md has
# the rule), command lines that are only named name commands and options that exist, graphs and the reference are what the program
# prints, links between the pages lead somewhere.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
export LC_ALL=C.UTF-8

mkdir -p specs bin
cp -r "$PKG_SOURCE"/specs/. specs/
sed -e 's/^  rows: 14400/  rows: 24/' -e 's/rows: 7200/rows: 24/' -e 's/rows: 1536/rows: 32/' -e 's/rows: 384/rows: 6/' -e 's/rows: 32, difficulty/rows: 4, difficulty/' \
    -e 's/num_train_epochs: 3/num_train_epochs: 1/' -e 's/max_new_tokens: 32/max_new_tokens: 4/' "$PKG_SOURCE/specs/quickstart.yaml" >specs/quickstart.yaml
sed -e 's/split: train, seed: 1000, rows: 4/split: train, seed: 1000, rows: 32/' specs/quickstart.yaml >q && mv q specs/quickstart.yaml
ln -s "$PKGRAPH" bin/pkgraph
PATH=$work/bin:$PATH

# blocks PAGE: every fenced block into block.N, the words behind its fence into block.N.kind, the place into block.N.place
blocks() {
    rm -f block.*
    awk -v page="${1#"$PKG_SOURCE"/}" '
        /^```/ && !on {on = 1; name = sprintf("block.%03d", ++n); print substr($0, 4) > (name ".kind"); print page ":" NR > (name ".place"); printf "" > name; next}
        /^```/ {on = 0; close(name); next}
        on {print > name}' "$1"
}

# plain: what may differ from one run or machine to the next has one form
plain() {
    sed -E -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{5,8}/DATE/g' -e 's/[0-9a-f]*[0-9][0-9a-f]{11,}/DIGEST/g' -e 's/[^ ]*\/\.pkgraph/.pkgraph/g' \
        -e 's/-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?/N/g' -e 's/\bN ([KMGT]i)?B\b/SIZE/g' -e 's/\bN (d|h|min|s|ms|us)( N (h|min|s))?\b/TIME/g' -e 's/< TIME/TIME/g' \
        -e 's/[#▁▂▃▄▅▆▇█░▒▓]([ #▁▂▃▄▅▆▇█░▒▓]*[#▁▂▃▄▅▆▇█░▒▓])?/BAR/g' -e 's/[ -]{2,}/ /g' -e 's/ +$//'
}

# same EXPECTED GOT: line by line; a line "..." of EXPECTED stands for any lines
same() {
    awk 'function fits(i, j) {
             for (; i <= n; i++) {
                 if (want[i] == "...") {
                     for (; j <= m + 1; j++)
                         if (fits(i + 1, j)) return 1
                     return 0
                 }
                 if (j > m || want[i] != got[j++]) return 0
             }
             return j == m + 1
         }
         NR == FNR {want[++n] = $0; next} {got[++m] = $0} END {exit !fits(1, 1)}' "$1" "$2"
}

# ran_line LINE PLACE: runs it; its output into got
ran_line() {
    bash -c "$1" >got 2>&1 </dev/null
    status=$? out=$(cat got) errors=''
    case "$1" in
    "pkgraph plan "*) [ $status = 0 ] || is_status 2 "$2: $1" ;;
    *) is_status 0 "$2: $1" ;;
    esac
}

# shown BLOCK PLACE: runs the lines after "$ " and compares what follows each
shown() {
    awk '/^\$ / {file = sprintf("step.%02d", ++n); print substr($0, 3) > (file ".line"); printf "" > file; next} {print > file}' "$1"
    for step in step.??; do
        ran_line "$(cat "$step.line")" "$2"
        plain <got >got.plain
        plain <"$step" >want.plain
        same want.plain got.plain || fail "$2: not what this prints: $(cat "$step.line")
$(diff want.plain got.plain)"
    done
    rm -f step.*
}

# page NAME: what it shows, block by block
page() {
    blocks "$PKG_SOURCE/$1"
    for block in block.???; do
        [ -e "$block" ] || continue
        place=$(cat "$block.place")
        case $(cat "$block.kind") in
        sh) while IFS= read -r line; do ran_line "$line" "$place"; done <"$block" ;;
        console) shown "$block" "$place" ;;
        "console measured") sed -n 's/^\$ //p' "$block" >>all.lines ;;
        yaml)
            file=$(sed -n '1s/^# \([A-Za-z0-9_-]*\.yaml\)$/\1/p' "$block")
            [ -n "$file" ] || { fail "$place: the first line of a yaml block is # FILE.yaml"; continue; }
            cp "$block" "$file"
            ran_line "pkgraph check $file" "$place" ;;
        mermaid) # what the command line before it prints
            line=$(head -n "${place#*:}" "$PKG_SOURCE/$1" | grep -oE '`pkgraph viz [^`]*' | tail -1)
            ran_line "${line#?}" "$place"
            cmp -s got "$block" || fail "$place: not what ${line#?} prints" ;;
        *) fail "$place: a block of the kind \"$(cat "$block.kind")\": sh, console, console measured, yaml or mermaid" ;;
        esac
    done
}

: >all.lines
page docs/tutorial.md
[ -s quickstart.html ] && [ -s pair.html ] && [ -s adapter/adapter_model.safetensors ] || fail "the tutorial left less than it says"
ln -s teacher models/Llama-2-13b-hf && ln -s student models/Llama-2-7b-hf # the files of the example in docs/spec.md, in small
cp data/seeds/data.jsonl data/seed_32.jsonl && cat data/rows/data.jsonl data/rows/data.jsonl >data/train_1000.jsonl
page README.md
for p in "$PKG_SOURCE"/docs/*.md; do
    case "$p" in */tutorial.md) ;; *) page "docs/${p##*/}" ;; esac
done
status=0 out='' errors=''

# every line in an indented block or a code span that begins with pkgraph, of any page: the command and its options exist
pages="$PKG_SOURCE/README.md $PKG_SOURCE/docs/*.md"
grep -hoE '^ {4}(build/)?pkgraph [a-z].*|`pkgraph [a-z][^`]*' $pages >>all.lines
sed -e 's/^[ `]*//' -e 's/^build\///' -e 's/ #.*//' -e "s/'[^']*'//g" all.lines | sort -u >all.commands
[ "$(wc -l <all.commands)" -gt 20 ] || fail "only $(wc -l <all.commands) command lines found"
while read -r _ command rest; do
    help=$("$PKGRAPH" "$command" --help 2>&1) || { fail "no command: pkgraph $command $rest"; continue; }
    for word in $rest; do
        case "$word" in
        "&&" | "|" | ">") break ;;
        --*) case "$help" in *"${word%%=*}"*) ;; *) fail "no option $word: pkgraph $command $rest" ;; esac ;;
        esac
    done
done <all.commands
for c in $("$PKGRAPH" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    [ "$c" = help ] || grep -q "\`$c\`" "$PKG_SOURCE/docs/spec.md" || fail "docs/spec.md does not name the command $c"
done
for p in $pages; do
    for link in $(grep -oE '\]\([A-Za-z0-9_/.-]+\.md\)' "$p" | tr -d ']()'); do
        [ -f "$(dirname "$p")/$link" ] || fail "$p: dead link $link"
    done
done
"$PKGRAPH" ops --format markdown >operators.md && cmp -s operators.md "$PKG_SOURCE/docs/operators.md" || fail "docs/operators.md is not what pkgraph ops --format markdown prints"
finish
