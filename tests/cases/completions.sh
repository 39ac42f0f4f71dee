# SPDX-License-Identifier: MIT
# Completions: what bash answers, asked as readline asks; zsh and fish where they are installed. Names come from the spec.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
cat >spec.yaml <<'Y'
pkgraph: 1
vars: {rank: 4, where: here}
nodes:
  rows: {op: synth}
  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 1}}
  a: {op: lora-init, inputs: {student: m}, params: {init: default, r: "${rank}"}}
sweep: {rows.seed: [1, 2], rank: [4, 8]}
variants: {plain: {nodes: {m: {params: {seed: 9}}}}}
Y
mkdir bin && ln -s "$PKGRAPH" bin/pkgraph
export PATH="$work/bin:$PATH" HOME="$work"
pk completions bash; is_status 0 bash; printf '%s\n' "$out" >c.bash
# shellcheck disable=SC1091
. ./c.bash
compopt() { :; }
# asks LINE WORDS: the answers, in any order, on one line
asks() {
    COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
    _pkgraph
    out=$(printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' ' | sed 's/ $//') errors='' status=0
    [ "$out" = "$2" ] || fail "bash, \"$1\": not \"$2\""
}
asks "pkgraph exp" "explain export"
asks "pkgraph viz --format " "dot mermaid png svg"
asks "pkgraph viz --format=m" "mermaid"
asks "pkgraph run spec.yaml --keep" "--keep-going"
asks "pkgraph check sp" "spec.yaml"
asks "pkgraph ops lo" "load lora-init"
asks "pkgraph help com" "compare completions"
asks "pkgraph explain spec.yaml r" "rows@rows.seed=1 rows@rows.seed=2"
asks "pkgraph explain spec.yaml rows@" "@rows.seed=1 @rows.seed=2"
asks "pkgraph explain spec.yaml rows@rows.seed=" "1 2"
asks "pkgraph run spec.yaml --only r" "rows rows@rows.seed=1 rows@rows.seed=2"
asks "pkgraph run spec.yaml --variant " "base plain"
asks "pkgraph run spec.yaml --set ra" "rank="
asks "pkgraph run spec.yaml --set rows.ro" "rows.rows="
asks "pkgraph run nowhere.yaml --set ra" ""
asks "pkgraph export spec.yaml m sp" "spec.yaml"
pk completions names nodes; is_status 0 "no spec"
pk completions names colours; is_status 2 "names of nothing"; says "nodes, ids, variants, settings"
pk completions bash more; is_status 2 "too many"
pk completions zsh; is_status 0 zsh; printf '%s\n' "$out" >_pkgraph
pk completions fish; is_status 0 fish; mkdir -p .config/fish/completions; printf '%s\n' "$out" >.config/fish/completions/pkgraph.fish
if command -v zsh >/dev/null; then zsh -n _pkgraph || fail "zsh does not read its completions"; else echo "no zsh: not tried"; fi
if command -v fish >/dev/null; then
    says_fish() { out=$(fish -c "complete -C '$1'" 2>&1 | cut -f1 | sort | tr '\n' ' ' | sed 's/ $//'); [ "$out" = "$2" ] || fail "fish, \"$1\": not \"$2\""; }
    says_fish "pkgraph exp" "explain export"
    says_fish "pkgraph viz --format m" "mermaid"
    says_fish "pkgraph explain spec.yaml r" "rows@rows.seed=1 rows@rows.seed=2"
    says_fish "pkgraph run spec.yaml --set rows.ro" "rows.rows="
    says_fish "pkgraph run spec.yaml --variant p" "plain"
else
    echo "no fish: not tried"
fi
finish
