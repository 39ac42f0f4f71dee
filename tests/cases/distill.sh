# SPDX-License-Identifier: MIT
# Distillation: towards the teacher's logits, cached or not, and on the teacher's answers; what cannot be is refused with place,
# cause and remedy.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

base() {
    cat >s.yaml <<'Y'
pkgraph: 1
name: distill
defaults:
  init: {max_position_embeddings: 256}
  train: {mode: full, compute: f32, learning_rate: 3e-3, per_device_train_batch_size: 8, gradient_accumulation_steps: 1, num_train_epochs: 2, max_length: 160}
  teacher-logits: {compute: f32, max_length: 160}
  eval: {compute: f32, task: loss}
nodes:
  big: {op: init, params: {hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 2, seed: 1}}
  small: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 1, seed: 2}}
  rows: {op: synth, params: {rows: 96, difficulty: 3}}
  test: {op: synth, params: {split: test, rows: 16, difficulty: 3}}
  teacher: {op: train, inputs: {model: big, data: rows}, params: {num_train_epochs: 10}}
  logits: {op: teacher-logits, inputs: {model: teacher, data: rows}}
  all: {op: teacher-logits, inputs: {model: teacher, data: rows}, params: {top_k: 259}}
Y
}
# add NAME OP INPUTS PARAMS
add() { printf '  %s: {op: %s, inputs: {%s}, params: {%s}}\n' "$1" "$2" "$3" "$4" >>s.yaml; }
bad() {
    local name=$1 t
    shift
    pk check s.yaml
    is_status 2 "$name"
    for t in "$@"; do says "$t" "$name"; done
    base
}
metric() {
    "$PKGRAPH" export s.yaml "$1" "m-$1" >/dev/null 2>&1
    sed 's/.*"metrics"://' "m-$1/metrics.json" | tr ',{}' '\n\n\n' | sed -n "s/^ *\"$2\": *\(-*[0-9][-0-9.e]*\).*/\1/p" | head -1
}
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 > 0 && a + 0 < b + 0) }'; }

base
add offline train "model: small, data: rows, teacher: logits" "distill: offline, temperature: 2, distill_weight: 0.5"
add kept train "model: small, data: rows, teacher: all" "distill: offline"
add direct train "model: small, data: rows, teacher: teacher" "distill: offline, top_k: 259"
add own train "model: big, data: rows, teacher: own-logits" "distill: offline, max_steps: 1, learning_rate: 0"
add own-logits teacher-logits "model: big, data: rows" "top_k: 259"
add long train "model: small, data: rows, teacher: logits" "distill: offline, num_train_epochs: 12"
add answers generate "model: teacher, data: rows" "max_new_tokens: 24, compute: f32"
add online train "model: small, data: rows, teacher: answers" "distill: online"
add plain train "model: small, data: rows" ""
add l-small eval "model: small, data: test" ""
add l-long eval "model: long, data: test" ""
pk run s.yaml -q
is_status 0 "distillation runs"

# the teacher's own logits: nothing to learn
l=$(metric own.metrics train_loss)
awk -v l="$l" 'BEGIN { exit !(l < 1e-6 && l > -1e-6) }' || fail "the divergence of a model from itself is $l"
# the cached logits and the model itself give the same training, bytes and all
for n in kept direct; do pk export s.yaml $n.log $n; done
cmp kept/train.jsonl direct/train.jsonl || fail "cached logits and the teacher's model differ"
# a student that follows its teacher's logits knows held-out rows better
less "$(metric l-long loss)" "$(metric l-small loss)" || fail "loss after distillation: $(metric l-long loss), before $(metric l-small loss)"
# online is training on other text
for n in online plain; do pk export s.yaml $n.log $n; done
cmp -s online/train.jsonl plain/train.jsonl && fail "the teacher's answers change nothing"
# one thread or two
for t in 1 2; do
    pk run s.yaml --only offline --cpus $t --store s$t -q
    is_status 0 "$t threads"
    pk export s.yaml offline.trained "t$t" --store s$t
done
cmp t1/model.safetensors t2/model.safetensors || fail "distillation depends on threads"

base
add a train "model: small, data: rows" "distill: offline"
bad "no teacher" "s.yaml:16:" "distill: offline needs a teacher" "teacher-logits"
add a train "model: small, data: rows" "distill: online"
bad "no answers" "distill: online needs a teacher" "generate"
add a train "model: small, data: rows, teacher: logits" ""
bad "not asked for" "set distill: offline"
add a train "model: small, data: rows" "temperature: 2"
bad "temperature alone" "temperature belongs to distill: offline"
add a train "model: small, data: rows, teacher: logits" "distill: offline, top_k: 3"
bad "top_k twice" "teacher-logits node"
add a train "model: small, data: test, teacher: logits" "distill: offline"
bad "other rows" "the teacher's logits are of 96 rows, data has 16"
add a train "model: small, data: rows, teacher: logits" "distill: online"
bad "logits online" "connect a generate node"
add g generate "model: teacher, data: rows" ""
add a train "model: small, data: rows, teacher: g" "distill: offline"
bad "answers offline" "predictions are for distill: online"
add e eval "model: teacher, data: rows" ""
add a train "model: small, data: rows, teacher: e.predictions" "distill: online"
bad "predictions of eval" "text that the teacher wrote"
# rows of padding in the one or the other do not matter; other tokens do
add wide init "" "hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 1, vocab_size: 300"
add a train "model: wide, data: test, teacher: small" "distill: offline, num_train_epochs: 1"
add b train "model: small, data: test, teacher: wide" "distill: offline, num_train_epochs: 1, top_k: 259"
pk run s.yaml --only a --only b -q
is_status 0 "padding"
base
cat >other.json <<'J'
{"version": "1.0", "added_tokens": [{"id": 2, "content": "<s>", "special": true}, {"id": 3, "content": "</s>", "special": true}], "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
 "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}
J
add other init "" "hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 1, vocab_size: 259, tokenizer: other.json"
add a train "model: other, data: rows, teacher: teacher" "distill: offline"
bad "vocabularies" "the added token \"<s>\" has the id 256 in the teacher and 2 in the student" "distill: online"
add a teacher-logits "model: teacher, data: rows" "top_k: 260"
bad "more than all" "top_k 260 is more than the teacher's vocabulary of 259"
# rows without an answer: nothing to train on, but something to ask
printf '{"messages":[{"role":"user","content":"hi"}]}\n' >u.jsonl
printf '{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"yes"}]}\n' >v.jsonl
for op in train teacher-logits; do
    add u data "" "path: u.jsonl"
    add a $op "model: big, data: u" ""
    bad "$op without an answer" "the first row has no assistant turn" "s.yaml:17:"
done
add v data "" "path: v.jsonl"
add a train "model: big, data: rows, validation: v" ""
add u data "" "path: u.jsonl"
add g generate "model: big, data: u" ""
add b train "model: big, data: u, teacher: g" "distill: online"
pk check s.yaml
is_status 0 "rows to be answered"
base
# the same number of rows, other rows: only seen when both are there
add others synth "" "rows: 96, difficulty: 3, seed: 5"
add a train "model: small, data: others, teacher: logits" "distill: offline"
pk run s.yaml --only a -q
is_status 1 "logits of other rows"
says "row 0" "logits of other rows"
says "are of another text or tokenizer" "logits of other rows"
finish
