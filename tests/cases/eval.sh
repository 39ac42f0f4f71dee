# SPDX-License-Identifier: MIT
# The tasks of eval that read benchmark files, on a tiny model: what they write, limits that are named, what is refused and where.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

mkdir -p mmlu/test mmlu/dev ni/tasks ni/splits/default
for s in anatomy sociology; do
    for i in 1 2 3 4 5; do printf 'Shot %s of %s?,a,"b, c",d,e,%s\n' $i $s "$(echo ABCDA | cut -c$i)"; done >mmlu/dev/${s}_dev.csv
    for i in 1 2 3 4 5 6; do printf 'Question %s?,one,two,three,four,%s\r\n' $i "$(echo ABCDAB | cut -c$i)"; done >mmlu/test/${s}_test.csv
done
printf 'task001_copy\ntask002_yes\n' >ni/splits/default/test_tasks.txt
echo '{"Definition": ["Copy the input."], "Instances": [{"id": "a", "input": "dogs run", "output": ["dogs run", "dog runs"]}, {"id": "b", "input": "x", "output": "x"}, {"id": "c", "input": "y", "output": ["y"]}]}' >ni/tasks/task001_copy.json
echo '{"Definition": "Say yes", "Instances": [{"input": "now", "output": ["yes"]}]}' >ni/tasks/task002_yes.json
printf '%s\n' '{"task": "t", "definition": "D.", "input": "i", "output": "o"}' '{"id": "super_ni_task070-ab", "messages": [{"role": "user", "content": "q\nOutput:\n"}, {"role": "assistant", "content": "2"}]}' >rows.jsonl
echo '[{"dataset": "d", "instruction": "Say a."}, {"dataset": "d", "instruction": "Say b.", "input": "loudly"}, {"instruction": "Say c."}]' >alpaca.json
echo '[{"instruction": "Say a.", "preference": 2}, {"instruction": "Say b.", "input": "loudly", "preference": 1}, {"instruction": "Say c.", "preference": 1.5}, {"instruction": "else", "preference": 1}]' >judged.json
printf '%s\n' '{"question": "1+1?", "answer": "1+1=<<1+1=2>>2\n#### 2"}' '{"question": "2+2?", "answer": "so\n#### 4"}' '{"question": "3?", "answer": "so\n#### 3"}' >gsm.jsonl

head='pkgraph: 1
name: eval
defaults:
  eval: {compute: f32, max_new_tokens: 4}
nodes:
  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, seed: 1, max_position_embeddings: 2048}}
'
spec() { printf '%s' "$head" >s.yaml; }
add() { printf '  %s: {op: eval, inputs: {model: m}, params: {%s}}\n' "$1" "$2" >>s.yaml; }

spec
add mm0 "task: mmlu, path: mmlu"
add mm5 "task: mmlu, path: mmlu, n_shot: 5, chat: false, compat: reference"
add mm1 "task: mmlu, path: mmlu, n_shot: 5, subjects: [anatomy], limit: 4, sample: random, seed: 3"
add ni "task: super_ni, path: ni, per_task: 2"
add nirows "task: super_ni, path: rows.jsonl, template: train"
add al "task: alpaca, path: alpaca.json, generator: tiny"
add aljudged "task: alpaca, path: alpaca.json, judge: judged.json"
add gsm "task: gsm8k, path: gsm.jsonl, shots_path: gsm.jsonl, n_shot: 2, cot: false, limit: 2"
pk run s.yaml -q
is_status 0 "every task runs"
says "mmlu 5-shot acc % (4 of 6)" "the table"
for n in mm0 mm5 mm1 ni nirows al aljudged gsm; do
    for p in metrics predictions; do pk export s.yaml $n.$p out/$n; is_status 0 "export $n.$p"; done
done

python3 - <<'P' || fail "metrics and predictions"
import json
m = lambda n: json.load(open(f"out/{n}/metrics.json"))
rows = lambda n: [json.loads(l) for l in open(f"out/{n}/predictions.jsonl")]
a = m("mm0")
assert a["n"] == 12 and a["n_shot"] == 0 and a["task"] == "mmlu" and a["protocol"] == "open-instruct-2023", a
assert set(a["by"]["subject"]) == {"anatomy", "sociology"} and set(a["by"]["category"]) == {"other", "social sciences"}
assert a["by_stderr"]["subject"].keys() == a["by"]["subject"].keys() and "acc" in a["stderr"] and "limit" not in a
r = rows("mm0")
assert len(r) == 12 and r[0]["id"] == "anatomy/0" and all(x["prediction"] == "ABCD"[x["logits"].index(max(x["logits"]))] for x in r)
assert abs(a["metrics"]["acc"] - 100 * sum(x["correct"] for x in r) / 12) < 1e-9
b = m("mm5")
assert b["protocol"] == "open-instruct-2023, plain, reference" and {x["shots"] for x in rows("mm5")} == {5}, b["protocol"]
c = m("mm1")
assert c["limit"] == {"rows": 4, "of": 6, "sample": "random", "seed": 3} and c["n"] == 4 and "4 of 6 at random, seed 3" in c["protocol"]
d = m("ni")
assert d["n"] == 3 and set(d["by"]["task"]) == {"task001_copy", "task002_yes"} and "rouge_l" in d["metrics"] and "exact_match" in d["stderr"]
assert rows("ni")[0]["references"] == ["dogs run", "dog runs"] and rows("ni")[0]["id"] == "a"
assert [x.get("task") for x in rows("nirows")] == ["t", "task070"] and m("nirows")["protocol"].endswith("training form")
o = json.load(open("out/al/outputs.json"))
assert [x["instruction"] for x in o] == ["Say a.", "Say b.", "Say c."] and all(x["generator"] == "tiny" and "output" in x for x in o)
assert "win_rate" not in m("al")["metrics"]
j = m("aljudged")
assert j["metrics"]["win_rate"] == 50 and abs(j["stderr"]["win_rate"] - 28.8675134594812) < 1e-9 and j["by"]["counts"]["ties"] == 1
assert m("gsm")["limit"] == {"rows": 2, "of": 3, "sample": "first"} and "direct" in m("gsm")["protocol"]
P

# ---- results for programs that read lm-evaluation-harness
pk export s.yaml mm0 out/lm --as lm-eval
is_status 0 "export --as lm-eval"
pk export s.yaml ni.predictions out/lm2 --as lm-eval
is_status 2 "predictions --as lm-eval"
says "is for metrics" "predictions --as lm-eval"
python3 - <<'P' || fail "results of lm-eval"
import json
r, m = json.load(open("out/lm/results.json")), json.load(open("out/mm0/metrics.json"))
t = r["results"]["pkgraph_mmlu"]
assert abs(t["acc,none"] - m["metrics"]["acc"] / 100) < 1e-12 and abs(t["acc_stderr,none"] - m["stderr"]["acc"] / 100) < 1e-12
assert abs(r["results"]["pkgraph_mmlu_anatomy"]["acc,none"] - m["by"]["subject"]["anatomy"] / 100) < 1e-12
assert r["group_subtasks"]["pkgraph_mmlu"] == ["pkgraph_mmlu_anatomy", "pkgraph_mmlu_sociology"]
assert r["n-shot"]["pkgraph_mmlu"] == 0 and r["n-samples"]["pkgraph_mmlu"] == {"original": 12, "effective": 12}
assert r["higher_is_better"]["pkgraph_mmlu"]["acc"] is True
P
pk show s.yaml mm0
says "+-" "show of a group"
says "LLaMA-1 7B, LoRA" "show beside the published rows"
says "43.43" "show beside the published rows"

# ---- outputs of an earlier node instead of generating
spec
add al2 "task: alpaca, path: alpaca.json, outputs: out/al/outputs.json, judge: judged.json"
pk run s.yaml -q
is_status 0 "win rate from earlier outputs"

# ---- what is refused
refuse() { # NAME PARAMS TEXT..
    local name=$1 params=$2 t
    shift 2
    spec
    add x "$params"
    pk check s.yaml
    is_status 2 "$name"
    for t in "$@"; do says "$t" "$name"; done
}
refuse "no folder" "task: mmlu, path: nowhere" "no such folder"
refuse "no subject" "task: mmlu, path: mmlu, subjects: [alchemy]" "alchemy_test.csv: no such file"
refuse "subject twice" "task: mmlu, path: mmlu, subjects: [anatomy, anatomy]" "twice"
refuse "not a folder of MMLU" "task: mmlu, path: ni" "test/SUBJECT_test.csv"
refuse "endpoint" "task: alpaca, path: alpaca.json, judge: 'https://judge.example/v1'" "needs \`judge_model\`"
refuse "outputs alone" "task: alpaca, path: alpaca.json, outputs: alpaca.json" "needs \`judge\`"
refuse "no split" "task: super_ni, path: ni, split: xlingual" "splits/xlingual/test_tasks.txt: no such file"
refuse "per_task of rows" "task: super_ni, path: rows.jsonl, per_task: 3" "belong to a checkout"
refuse "another task's parameter" "task: gsm8k, path: gsm.jsonl, subjects: [anatomy]" "does not use subjects"
refuse "cot without shots" "task: gsm8k, path: gsm.jsonl, cot: false" "n_shot is 0"

broken() { # NAME PARAMS TEXT
    spec
    add x "$2"
    pk run s.yaml -q
    is_status 1 "$1"
    says "$3" "$1"
}
cp mmlu/test/anatomy_test.csv kept.csv
printf 'caf\351?,a,b,c,d,A\n' >>mmlu/test/anatomy_test.csv
broken "not UTF-8" "task: mmlu, path: mmlu" "anatomy_test.csv:7: row 7, column 1 is not text in UTF-8"
cp kept.csv mmlu/test/anatomy_test.csv
echo 'q,a,b,c,A' >>mmlu/test/anatomy_test.csv
broken "five columns" "task: mmlu, path: mmlu" "anatomy_test.csv:7: row 7 has 5 columns"
: >mmlu/dev/sociology_dev.csv
broken "empty dev file" "task: mmlu, path: mmlu, subjects: sociology, n_shot: 5" "sociology_dev.csv: no rows"
echo '{"Definition": ["D"], "Instances": [{"input": "x", "output": []}]}' >ni/tasks/task002_yes.json
broken "no output" "task: super_ni, path: ni" "task002_yes.json: instance 0"
echo '{"instruction": ' >broken.json
broken "damaged instructions" "task: alpaca, path: broken.json" "broken.json:1: not a JSON object: unexpected token"
echo '[{"instruction": "Say a."}]' >broken.json
broken "no preference" "task: alpaca, path: alpaca.json, judge: broken.json" "broken.json: element 0: an annotation has"
echo '[{"instruction": "q", "preference": 1}]' >broken.json
broken "foreign annotations" "task: alpaca, path: alpaca.json, judge: broken.json" "no annotation is for one of the instructions"
finish
