# SPDX-License-Identifier: MIT
# An evaluation that was killed goes on from the answers, logits and losses it has, and ends with the bytes of an undisturbed one.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

mkdir -p mmlu/test mmlu/dev
for s in anatomy sociology virology; do
    for i in $(seq 1 120); do printf 'Question %s of %s %s?,one,two,three,four,%s\n' "$i" $s "$(seq -s ' ' 1 40)" "$(echo ABCD | cut -c$((i % 4 + 1)))"; done >mmlu/test/${s}_test.csv
    for i in 1 2 3 4 5; do printf 'Shot %s of %s?,a,b,c,d,A\n' $i $s; done >mmlu/dev/${s}_dev.csv
done
python3 - <<'P'
import json
with open("gsm.jsonl", "w") as f:
    for i in range(100):
        f.write(json.dumps({"question": f"{i} + {i * 7 % 50}{'?' * (i % 9)}", "answer": f"so\n#### {i + i * 7 % 50}"}) + "\n")
P
model='hidden_size: 32, intermediate_size: 64, num_hidden_layers: 3, num_attention_heads: 2, num_key_value_heads: 1, seed: 1, max_position_embeddings: 2048'
cat >s.yaml <<Y
pkgraph: 1
name: resume
defaults: {eval: {compute: f32}, generate: {compute: f32}}
nodes:
  m: {op: init, params: {$model}}
  d: {op: synth, params: {rows: 2500, difficulty: 3}}
  gsm: {op: eval, inputs: {model: m}, params: {task: gsm8k, path: gsm.jsonl, max_new_tokens: 48, shots_path: gsm.jsonl, n_shot: 4}}
  drawn: {op: generate, inputs: {model: m, data: d}, params: {limit: 100, max_new_tokens: 48, temperature: 0.8, seed: 3}}
  mmlu: {op: eval, inputs: {model: m}, params: {task: mmlu, path: mmlu, n_shot: 5}}
  loss: {op: eval, inputs: {model: m, data: d}, params: {task: loss}}
Y

# killed NODE FILE LINES: kills the run of NODE when its journal has so many lines; says so when it ended before
killed() {
    "$PKGRAPH" run s.yaml --only "$1" --store cut -q >o 2>x &
    local pid=$! i
    for i in $(seq 2000); do
        [ "$(cat cut/checkpoints/*/"$2" 2>/dev/null | wc -l)" -ge "$3" ] && break
        kill -0 $pid 2>/dev/null || break
        sleep 0.005
    done
    kill -KILL $pid 2>/dev/null || { status=0 out= errors=$(cat x); fail "$1 ended before it could be killed"; }
    wait $pid 2>/dev/null
    [ "$(cat cut/checkpoints/*/"$2" 2>/dev/null | wc -l)" -ge "$3" ] || { status=0 out= errors=$(cat x); fail "$1 left no journal"; }
}
pk run s.yaml --store whole -q
is_status 0 "undisturbed"
for way in 'gsm answers.jsonl 8' 'drawn answers.jsonl 8' 'mmlu logits.jsonl 3' 'loss losses.jsonl 3'; do
    set -- $way
    killed "$@"
    printf '{"question": 9, "ids": [1, 2' | tee -a cut/checkpoints/*/"$2" >/dev/null # what a kill can leave at the end
    pk run s.yaml --only "$1" --store cut --events e
    is_status 0 "$1 goes on"
    [ "$(ls cut/checkpoints 2>/dev/null | wc -l)" = 0 ] || fail "$1 left its checkpoint behind"
    for p in predictions metrics; do
        [ "$1.$p" = drawn.metrics ] && continue
        pk export s.yaml "$1.$p" "a/$1" --store whole
        pk export s.yaml "$1.$p" "b/$1" --store cut
    done
    diff -r "a/$1" "b/$1" >diff.txt || fail "$1: other bytes than undisturbed: $(head -c 600 diff.txt)"
done

# progress is in tokens, with a rate
grep -q '"event":"progress".*"unit":"tokens"' e || fail "no progress in tokens"
finish
