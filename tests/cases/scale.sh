# SPDX-License-Identifier: MIT
# Sensitivity in little memory and on damaged input: rows in parts, layers' inputs in a file, choose the same layers and blocks as
# all rows at once, and are announced, by the plan as well; too little memory is refused before anything runs; a row without a target is skipped by name; a NaN among the weights is named; a run that is
# stopped leaves nothing behind and goes through when it is started again.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
command -v python3 >/dev/null || exit 77

cat >s.yaml <<'Y'
pkgraph: 1
name: scale
vars: {teacher: good}
nodes:
  teacher: {op: load, params: {model: "${teacher}"}}
  student: {op: init, params: {hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2, max_position_embeddings: 4096, seed: 2}}
  seeds: {op: data, params: {path: d.jsonl}}
  scores: {op: sensitivity, inputs: {model: teacher, data: seeds}, params: {compute: f32, max_length: 1200}}
  layers: {op: layer-select, inputs: {scores: scores, student: student}}
  blocks: {op: dim-align, inputs: {model: teacher, scores: scores, layers: layers, student: student}}
Y
cat >init.yaml <<'Y'
pkgraph: 1
name: init
nodes:
  teacher: {op: init, params: {hidden_size: 128, intermediate_size: 256, num_hidden_layers: 4, num_attention_heads: 4, num_key_value_heads: 4, max_position_embeddings: 4096, seed: 1}}
Y
pk run init.yaml; is_status 0 "init"
pk export init.yaml teacher good --as hf; is_status 0 "export"
for i in $(seq 16); do
    printf '{"id": "row%d", "messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "%s"}]}\n' \
        "$i" "$(printf "q$i %.0s" $(seq 40))" "$(printf "a$((i * 7)) %.0s" $(seq 180))"
done >d.jsonl
printf '{"id": "filled", "messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "x"}]}\n' \
    "$(printf 'x%.0s' $(seq 1500))" >>d.jsonl

# what the plan says about memory is what a run needs
memory() { "$PKGRAPH" plan s.yaml --json "$@" | tr -d ' \n' | sed 's/.*"id":"scores"[^}]*"memory":\([0-9]*\).*/\1/'; }
pk plan s.yaml --mem 4GiB; says_not "to fit the memory" "a plan with room"
room=$(memory)
pk plan s.yaml --mem $((room - 1)); says "keeps the layers' inputs in a file to fit the memory" "a plan with less"
filed=$(memory --mem $((room - 1)))
pk plan s.yaml --mem $((filed - 1)); says "keeps the layers' inputs in a file and takes the rows in parts to fit the memory" "a plan with little"
parts=$(memory --mem $((filed - 1)))
[ "$parts" -lt "$filed" ] && [ "$filed" -lt "$room" ] || fail "memory of the three ways: $room, $filed, $parts"
pk run s.yaml --only scores --mem $((parts - 1)) --store none; is_status 1 "no memory"; says "node scores (sensitivity): needs"; says "give more with --mem"
says "ran 0" "a run that cannot fit begins"
pk run s.yaml --only scores --mem "$parts" --store least; is_status 0 "the memory that the plan asks for"; says "in parts of" "the note on parts"

pk run s.yaml --mem 4GiB --store all; is_status 0 "all rows at once"
says "row 16 (id filled) is skipped" "the skipped row"; says_not "temporary file"
pk run s.yaml --mem 110MiB --store some; is_status 0 "parts"; says "layers' inputs lie in a temporary file, and each layer takes them in parts" "the note on parts"
for s in all some; do
    pk export s.yaml layers $s-layers --store $s; is_status 0 "export of layers"
    pk export s.yaml blocks $s-blocks --store $s; is_status 0 "export of blocks"
    python3 - $s >$s.txt <<'P' || fail "$s: nothing was chosen"
import json, sys
s = sys.argv[1]
print({k: v for k, v in json.load(open(s + "-layers/layers.json")).items() if "score" not in k})
print([(k, v["source"], v["rows"], v["cols"]) for k, v in sorted(json.load(open(s + "-blocks/blocks.json"))["tensors"].items())])
P
done
cmp -s all.txt some.txt || { diff all.txt some.txt; fail "parts choose other layers or blocks"; }
cmp -s all-blocks/blocks.safetensors some-blocks/blocks.safetensors || fail "parts cut out other blocks"

# a NaN in one weight of the third layer
cp -r good bad; chmod -R u+w bad
python3 - <<'P' || fail "no NaN could be written"
import json, struct
f = open("bad/model.safetensors", "r+b")
n = struct.unpack("<Q", f.read(8))[0]
t = json.loads(f.read(n))["model.layers.2.self_attn.v_proj.weight"]
size = {"F32": 4, "BF16": 2}[t["dtype"]]
f.seek(8 + n + t["data_offsets"][0] + 10 * size)
f.write({4: b"\x00\x00\xc0\x7f", 2: b"\xc0\x7f"}[size])
P
pk run s.yaml --set teacher=bad --store all; [ $status != 0 ] || fail "a NaN among the weights"
says "model.layers.2.self_attn.v_proj.weight holds 1 weights that are not finite" "the damaged weight"

# cancelled, then started again: nothing half-done is taken
"$PKGRAPH" run s.yaml --store stopped --mem 4GiB >stopped.out 2>&1 </dev/null &
pid=$!
for i in $(seq 100); do grep -q "start *scores" stopped.out && break; sleep 0.1; done
kill -INT $pid; wait $pid
pk run s.yaml --store stopped --mem 4GiB; is_status 0 "started again"
pk export s.yaml blocks stopped-blocks --store stopped; is_status 0 "export after a stop"
cmp -s all-blocks/blocks.safetensors stopped-blocks/blocks.safetensors || fail "other blocks after a stop"

# killed after a checkpoint: the same command goes on from there, to the same bytes
pk export s.yaml scores all-scores --store all; is_status 0 "export of scores"
resumed=0
for try in 1 2 3 4 5; do
    "$PKGRAPH" run s.yaml --set scores.save_interval=0 --store killed$try --mem 4GiB >killed.out 2>&1 </dev/null &
    pid=$!
    while kill -0 $pid 2>/dev/null && ! compgen -G "killed$try/checkpoints/*/state.safetensors" >/dev/null; do :; done
    kill -KILL $pid 2>/dev/null; wait $pid
    pk run s.yaml --set scores.save_interval=0 --store killed$try --mem 4GiB; is_status 0 "after a kill"
    case "$errors$out" in *"going on after layer"*) resumed=1 ;; esac
    pk export s.yaml scores killed-scores --store killed$try --force; is_status 0 "export after a kill"
    cmp -s all-scores/scores.safetensors killed-scores/scores.safetensors || fail "other scores after a kill"
    cmp -s all-scores/scores.json killed-scores/scores.json || fail "other sums after a kill"
    rm -rf killed-scores
    pk run s.yaml --set scores.save_interval=0 --store killed$try; says "up to date: 6 nodes" "all is stored"
    compgen -G "killed$try/checkpoints/*/scores.partial" >/dev/null && fail "the partial file is left"
    [ $resumed = 1 ] && break
done
[ $resumed = 1 ] || fail "no run went on from a checkpoint"
finish
