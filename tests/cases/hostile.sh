# SPDX-License-Identifier: MIT
# Files that want to be expensive are refused, each within seconds of processor time (below one, on an idle machine): aliases of aliases, a scalar of
# 100 MB, 10,000 nested brackets, a sweep of a billion points. A chain of 20,000 nodes is fine.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
# quick NAME TEXT: `check` of s.yaml says TEXT with status 2, in five seconds of processor time
quick() {
    (ulimit -t 5; exec "$PKGRAPH" check s.yaml >.out 2>.err)
    status=$?
    out=$(head -c 2000 .out)
    errors=$(cat .err)
    is_status 2 "$1"
    says "$2" "$1"
    [ "$(wc -c <.err)" -lt 9000 ] || fail "$1: a long message"
}
{
    printf 'pkgraph: 1\nx-0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n'
    for i in $(seq 1 30); do p=$((i - 1)); echo "x-$i: &a$i [*a$p, *a$p, *a$p, *a$p, *a$p, *a$p, *a$p, *a$p, *a$p, *a$p]"; done
} >s.yaml; quick "a billion laughs" "more than 4000000 values"
{ printf 'pkgraph: 1\nvars:\n  a0: lollollollol\n'; for i in $(seq 1 40); do p=$((i - 1)); echo "  a$i: \"\${a$p}\${a$p}\${a$p}\${a$p}\""; done
  printf 'nodes:\n  m: {op: synth, params: {split: "${a40}"}}\n'; } >s.yaml; quick "laughs by variables" "longer than"
{ printf 'pkgraph: 1\nname: "'; head -c 100000000 /dev/zero | tr '\0' x; printf '"\n'; } >s.yaml; quick "a scalar of 100 MB" "s.yaml"
{ printf 'pkgraph: 1\nx-a: '; head -c 10000 /dev/zero | tr '\0' '['; } >s.yaml; quick "nested brackets" "levels"
{ printf 'pkgraph: 1\nx-a: '; head -c 10000 /dev/zero | tr '\0' '{'; } >s.yaml; quick "nested braces" "s.yaml:2:"
printf 'pkgraph: 1\nnodes:\n  m: {op: synth}\nsweep: {m.rows: {from: 1, to: 9000}, m.seed: {from: 1, to: 9000}, m.difficulty: [1, 2, 3]}\n' >s.yaml
quick "a billion points" "points"
printf 'pkgraph: 1\nnodes:\n  m: {op: synth}\nsweep: {m.rows: {from: 1, to: 1e18, step: 1e-9}}\n' >s.yaml; quick "an endless range" "more than 100000 values"
mkdir deep
for i in $(seq 40); do printf 'pkgraph: 1\nextends: %d.yaml\n' $((i + 1)) >deep/$i.yaml; done
printf 'pkgraph: 1\nextends: deep/1.yaml\n' >s.yaml; quick "files that extend each other" "more than 32 specs extend each other"
{ printf 'pkgraph: 1\nnodes:\n  m: {op: synth}\nvars: {'; for i in $(seq 65); do printf 'v%d: 1, ' "$i"; done
  printf 'z: 1}\nsweep:\n'; for i in $(seq 65); do echo "  v$i: [1]"; done; } >s.yaml; quick "keys of a sweep" "more than 64 keys in the sweep"
printf 'pkgraph: 1\nnodes:\n  m: {op: synth}\n  n: {op: synth}\n  o: {op: synth}\nsweep: {zip: {m.seed: {from: 1, to: 1e5}, n.seed: {from: 1, to: 1e5}, o.seed: {from: 1, to: 1e5}}}\n' >s.yaml
quick "nodes of a sweep" "more than 200000 nodes"
{
    printf 'pkgraph: 1\ndefaults: {train: {mode: full, gradient_accumulation_steps: 1}}\nnodes:\n  d: {op: synth}\n'
    echo '  n0: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 1}}'
    for i in $(seq 20000); do echo "  n$i: {op: train, inputs: {model: n$((i - 1)), data: d}}"; done | tac
} >s.yaml
(ulimit -s 256; exec "$PKGRAPH" check s.yaml >.out 2>.err); status=$?; out=$(head -c 500 .out); errors=$(head -c 500 .err)
is_status 0 "a chain, from its end, on a small stack"; says "20002 nodes"
for c in "plan s.yaml" "explain s.yaml n20000" "viz s.yaml"; do
    # shellcheck disable=SC2086
    (ulimit -s 256; exec "$PKGRAPH" $c >.out 2>.err); status=$?; out=$(tail -c 500 .out); errors=$(head -c 500 .err)
    case $c in plan*) is_status 2 "$c" ;; *) is_status 0 "$c" ;; esac
    [ "$(wc -l <.out)" -ge 20000 ] || fail "$c of a chain is short"
done
finish
