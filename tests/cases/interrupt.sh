# SPDX-License-Identifier: MIT
# Ctrl-C: status 130, what is done is kept, the same command goes on and gives the bytes of an undisturbed run. A failing
# node: status 1, and --keep-going runs what does not depend on it.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

tiny_spec s.yaml
sed -i 's/rows: 32, difficulty: 3/rows: 4096, difficulty: 3/' s.yaml
"$PKGRAPH" run s.yaml --events e1 >o1 2>x1 &
pid=$!
for _ in $(seq 100); do # until training is under way
    grep -q '"event":"progress".*"node":"tuned"' e1 2>/dev/null && break
    kill -0 $pid 2>/dev/null || break
    sleep 0.1
done
kill -INT $pid
wait $pid
status=$? out=$(cat o1) errors=$(cat x1)
is_status 130 "after SIGINT"; says interrupted
case " $(ran e1) " in *" tuned "*) fail "training ended before the interrupt: the test shows nothing" ;; esac
pk run s.yaml --events e2; is_status 0 "the same command again"; says loss
case " $(ran e2) " in *" teacher "*) fail "finished work ran again: $(ran e2)" ;; esac
pk run s.yaml --store fresh; is_status 0 "an undisturbed run"
pk export s.yaml tuned a; pk export s.yaml tuned b --store fresh
diff -r a b || fail "the interrupted run gave other bytes"

# a node that fails while running: a row that is too long is found when it is read
cat >f.yaml <<'Y'
pkgraph: 1
name: f
nodes:
  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1}}
  d: {op: synth, params: {rows: 8}}
  t: {op: train, inputs: {model: m, data: d}, params: {mode: full, max_length: 8, gradient_accumulation_steps: 1, compute: f32}}
  e: {op: eval, inputs: {model: t, data: d}, params: {task: loss, compute: f32}}
  b: {op: eval, inputs: {model: m, data: d}, params: {task: loss, compute: f32}}
Y
pk run f.yaml --keep-going --events e3; is_status 1 "a failing node"
case " $(ran e3) " in *" b "*) ;; *) fail "--keep-going ran: $(ran e3)" ;; esac
grep -q '"event":"skipped".*"node":"e"' e3 || fail "what depends on the failure was not skipped"
grep -q '"event":"failed".*"node":"t"' e3 || fail "no event of the failure"
pk plan f.yaml; is_status 2 "plan after a failure"
pk runs f.yaml t; says failed
finish
