# SPDX-License-Identifier: MIT
# A judge behind an HTTP endpoint that is slow, drops connections, answers nonsense, is full or forbidding (tests/judge_server.py): the
# win rate, what is tried again, what is kept when it is given up, and that the key is nowhere.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
command -v python3 >/dev/null || { echo "SKIPPED: no python3"; exit 77; }
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY
export PKGRAPH_JUDGE_KEY=key-that-nobody-may-see
python3 "$PKG_SOURCE/tests/judge_server.py" port log 2>server.err &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$work"' EXIT
for i in $(seq 100); do [ -s port ] && break; sleep 0.05; done
[ -s port ] || { cat server.err; echo "FAIL: the test's server does not start"; exit 1; }
at="http://127.0.0.1:$(cat port)"

# outputs of 2, 4, 6, 8, 10, 12 letters against a reference of 6
python3 - <<'P'
import json
q = [{"dataset": "d", "instruction": f"Write {n} letters{' (odd)' if n == 4 else ''}."} for n in (2, 4, 6, 8, 10, 12)]
json.dump([x | {"output": "abcdef", "generator": "them"} for x in q], open("questions.json", "w"))
json.dump([x | {"output": "z" * n, "generator": "us"} for x, n in zip(q, (2, 4, 6, 8, 10, 12))], open("outputs.json", "w"))
json.dump([x | {"output": "abcdef" * 9} for x in q], open("longer.json", "w"))
P
printf '{instruction}\n[A]{output_1}[B]{output_2}[END]' >prompt.txt

# node NAME MODE [PARAMETERS]: appends to s.yaml
begin() {
    printf 'pkgraph: 1\nname: judge\nnodes:\n  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1}}\n' >s.yaml
}
node() {
    printf '  %s: {op: eval, inputs: {model: m}, params: {task: alpaca, path: questions.json, outputs: outputs.json, judge: "%s/%s/v1", judge_model: wise-%s, judge_prompt: prompt.txt%s}}\n' \
        "$1" "$at" "$2" "$2" "${3:+, $3}" >>s.yaml
}
asked() { grep -c "\"mode\": \"$1\"" log; }

begin
node good good "judge_request: {top_p: 1, max_tokens: null}"
node both good "judge_order: both"
node ref good "reference: longer.json"
for m in slow drop cut nonsense limit; do node $m $m; done
pk run s.yaml -q
is_status 0 "judges that answer in the end"
for n in good both ref slow drop cut nonsense limit; do
    for p in metrics predictions; do pk export s.yaml $n.$p out/$n; is_status 0 "export $n"; done
done
python3 - <<'P' || fail "win rates"
import json
m = lambda n: json.load(open(f"out/{n}/metrics.json"))
for n in "good both slow drop cut nonsense limit".split():
    x = m(n)
    c = x["by"]["counts"]
    # 2 losses, a tie, 3 wins: 100 * 3.5 / 6
    assert abs(x["metrics"]["win_rate"] - 350 / 6) < 1e-9 and abs(x["stderr"]["win_rate"] - 20.0693243) < 1e-6, (n, x)
    assert (c["wins"], c["losses"], c["ties"], c["judged"], c["no_verdict"]) == (3, 2, 1, 6, 0), (n, c)
    assert "judged by wise" in x["protocol"]
assert m("ref")["metrics"]["win_rate"] == 0
a = json.load(open("out/good/annotations.json"))
assert [x["preference"] for x in a] == [1, 1, 1.5, 2, 2, 2] and {x["annotator"] for x in a} == {"wise-good"}, a
assert a[0]["output_1"] == "abcdef" and a[0]["output_2"] == "zz" and a[0]["generator_1"] == "them" and "raw_completion" in a[0]
log = [json.loads(l) for l in open("log")]
assert all(l["auth"] == "Bearer key-that-nobody-may-see" and l["path"].endswith("/v1/chat/completions") for l in log)
first = [l["body"] for l in log if "top_p" in l["body"]]
assert len(first) == 6 and all("max_tokens" not in b and b["temperature"] == 0 and b["model"] == "wise-good" for b in first)
swaps = [b["messages"][0]["content"].split("[A]")[1].startswith("z") for b in first]
assert 0 < sum(swaps) < 6, "the order is drawn"
P
[ "$(asked drop)" = 12 ] || fail "a dropped connection is tried again: $(asked drop) requests"
[ "$(asked limit)" = 12 ] || fail "429 is tried again: $(asked limit) requests"

# annotations that a judge made are a file for another node
begin
printf '  again: {op: eval, inputs: {model: m}, params: {task: alpaca, path: questions.json, outputs: outputs.json, judge: out/good/annotations.json}}\n' >>s.yaml
pk run s.yaml
is_status 0 "annotations of ours"; says "58.3" "annotations of ours"

# no verdict: counted, not guessed
begin
node mute mute "judge_tries: 2"
pk run s.yaml
is_status 0 "no verdict"; says "6 of 6 outputs got no verdict" "no verdict"
[ "$(asked mute)" = 12 ] || fail "no verdict is asked again: $(asked mute)"

# a row that the endpoint refuses costs that row
begin
node odd odd "judge_threads: 1, seed: 2"
pk run s.yaml
if [ "$status" = 0 ]; then says "1 of 6 outputs got no verdict" "a refused row"; else says "not about that" "a refused row"; fi

# refusals: the server's words, no key
refused() { # MODE TEXT [PARAMETERS]
    begin
    node x "$1" "$3"
    pk run s.yaml
    is_status 1 "$1"
    says "$2" "$1"
    says_not "nobody-may-see" "$1"
}
refused no "access refused (status 401): wrong key: Bearer ***; the key is read from \$PKGRAPH_JUDGE_KEY, which is set" ""
refused full "status 402: no money" ""
refused down "status 503: overloaded (2 tries); 0 of 6 answers are kept" "judge_tries: 2"
refused long "asks to wait 3600 s" ""
refused hang "(1 tries)" "judge_tries: 1, judge_timeout: 200ms"
refused huge "longer than 4 MB (1 tries)" "judge_tries: 1"
begin
printf '  x: {op: eval, inputs: {model: m}, params: {task: alpaca, path: questions.json, outputs: outputs.json, judge: "http://127.0.0.1:9/v1", judge_model: w, judge_tries: 1}}\n' >>s.yaml
pk run s.yaml
is_status 1 "nobody there"; says "127.0.0.1:9" "nobody there"

# a limit of cost: 110 tokens an answer, at 1000 and 10000 a million: 0.2 each
begin
node x good "judge_max_cost: 0.9, judge_price_in: 1000, judge_price_out: 10000, judge_threads: 1, seed: 5"
pk run s.yaml
is_status 1 "cost"; says "0.8 of 0.9 is spent after 4 of 6 answers, which are kept" "cost"
before=$(asked good)
sed -i 's/judge_max_cost: 0.9/judge_max_cost: 9/' s.yaml
pk run s.yaml
is_status 0 "cost, raised"
[ $(($(asked good) - before)) = 2 ] || fail "paid answers were asked for again: $(($(asked good) - before)) requests"

# killed: what was answered is not asked for again
begin
node x slow "judge_threads: 1, seed: 6"
before=$(asked slow)
"$PKGRAPH" run s.yaml -q >o 2>x &
pid=$!
for i in $(seq 200); do [ $(($(asked slow) - before)) -ge 4 ] && break; sleep 0.02; done
kill -KILL $pid; wait $pid 2>/dev/null
pk run s.yaml -q
is_status 0 "after a kill"
n=$(($(asked slow) - before))
[ "$n" -ge 6 ] && [ "$n" -le 7 ] || fail "after a kill: $n requests for 6 answers"

# a rate: 6 requests at 300 a minute take a second
begin
node x good "judge_rate: 300, seed: 7"
pk run s.yaml -q
is_status 0 "rate"
python3 - <<'P' || fail "the rate is not kept"
import json
t = sorted([json.loads(l)["at"] for l in open("log")][-6:])
assert t[-1] - t[0] > 0.9, t
P

# at plan time
wrong() { # PARAMETERS TEXT
    begin
    node x good "$1"
    pk check s.yaml
    is_status 2 "$1"
    says "$2" "$1"
}
wrong "judge_key: sk-123" "is the name of an environment variable"
wrong "judge_max_cost: 1" "needs judge_price_in"
wrong "judge_verdicts: [a, b]" "takes three"
wrong "judge_rate: 0" "judge_rate"
begin
printf '  x: {op: eval, inputs: {model: m}, params: {task: alpaca, path: questions.json, judge: "https://me:secret@host/v1", judge_model: w}}\n' >>s.yaml
pk check s.yaml
is_status 2 "secret in the address"; says "without user and password" "secret in the address"
begin
node x good "judge_key: NOT_THERE_AT_ALL, seed: 9"
pk run s.yaml
is_status 1 "no key"; says "\$NOT_THERE_AT_ALL is not set" "no key"

grep -rqa "nobody-may-see" .pkgraph s.yaml out && fail "the key is in a file"
finish
