# SPDX-License-Identifier: MIT
# run on a terminal: a line for each running node that is never wider than the terminal, with and without Unicode, without
# colour where that is not wanted, plain lines on a dumb terminal; stopped and taken up again it goes on below what the shell wrote.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
command -v script >/dev/null && script -qec true /dev/null </dev/null >/dev/null 2>&1 || { echo "SKIPPED: no script(1), so no terminal"; exit 77; }
cat >s.yaml <<'Y'
pkgraph: 1
name: long names
nodes:
  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 1}}
  rows: {op: synth, params: {rows: 400}}
  a-training-with-a-very-long-name: {op: train, inputs: {model: m, data: rows}, params: {mode: full, gradient_accumulation_steps: 1, num_train_epochs: 4}}
sweep: {a-training-with-a-very-long-name.seed: [1, 2, 3, 4, 5]}
Y

# on_terminal COLUMNS ROWS COMMAND: what it writes to a terminal of that size, a line of the screen a line, escape sequences of
# cursor and erasing taken out: into screen; all bytes into raw
on_terminal() {
    script -qec "stty cols $1 rows $2; $3" /dev/null </dev/null >raw 2>&1
    status=$? out=$(tail -5 raw) errors=''
    sed -e 's/\x1b\[[0-9]*A//g' -e 's/\x1b\[J//g' -e 's/\r//g' raw >screen
}
# widest: characters of the widest line of a running node
widest() { grep -a '^  ' screen | LC_ALL=C.UTF-8 wc -L; }

export TERM=xterm
on_terminal 40 8 "NO_COLOR=1 LC_ALL=C '$PKGRAPH' run s.yaml --store one --cpus 5"
is_status 0 "40 columns, no Unicode, no colour"
grep -qa 'of 7 done' screen || fail "no line with what is done"
grep -qa '^  a-trai\.\.d=1' screen || grep -qa '^  a-.*\.\..*=1 ' screen || fail "a long name is not cut in its middle"
[ "$(widest)" -lt 40 ] || fail "a line of $(widest) characters in 40 columns"
LC_ALL=C grep -qa '[^ -~[:space:]]' screen && fail "more than ASCII, or an escape sequence that neither moves nor erases: $(LC_ALL=C grep -a '[^ -~[:space:]]' screen | head -1 | cat -v)"

LC_ALL=C.UTF-8
# it runs until all of a line was seen: the rate comes after half a second
on_terminal 110 24 "unset NO_COLOR; export LC_ALL=C.UTF-8; '$PKGRAPH' run s.yaml --store two --cpus 5 --set a-training-with-a-very-long-name.num_train_epochs=100000 &
    for i in \$(seq 600); do grep -aq 'steps/s, .* left, .* [KMG]iB' raw && break; sleep 0.1; done; kill -TERM \$!; wait \$!"
is_status 130 "110 columns"
grep -q 'a-training.*…' screen || fail "a long name is not cut with an ellipsis"
grep -qE '[█▏▎▍▌▋▊▉]+ +[0-9]+%' screen || fail "no bar"
grep -q 'steps/s, .* left, .* [KMG]iB' screen || fail "no rate, time left and memory"
grep -q "$(printf '\033\[32mdone')" screen || fail "no colour"
sed -i 's/\x1b\[[0-9;]*m//g' screen
[ "$(widest)" -lt 110 ] || fail "a line of $(widest) characters in 110 columns"

on_terminal 12 4 "'$PKGRAPH' run s.yaml --store three --cpus 5"; is_status 0 "12 columns, 4 rows"
[ "$(widest)" -lt 12 ] || fail "a line of $(widest) characters in 12 columns"
[ "$(grep -a 'A' raw | grep -aoE '\[[0-9]+A' | tr -dc '0-9\n' | sort -n | tail -1)" -lt 4 ] || fail "the cursor goes up beyond the top"

on_terminal 80 24 "TERM=dumb '$PKGRAPH' run s.yaml --store four"; is_status 0 "a dumb terminal"
grep -qa "$(printf '\033')" raw && fail "an escape sequence on a dumb terminal"
grep -qa '^start ' screen || fail "no plain lines"

# stopped by the user and taken up again: what stands on the screen stays. Not a job of the shell's, for its wait would end at a stop
# that it hears of late; the stop has happened when the kernel says so
on_terminal 80 24 "'$PKGRAPH' run s.yaml --store five --events ev --set a-training-with-a-very-long-name.num_train_epochs=100000 &
    for i in \$(seq 600); do grep -q progress ev 2>/dev/null && break; sleep 0.1; done; kill -STOP \$!
    for i in \$(seq 600); do grep -q '^State:.*T' /proc/\$!/status && break; sleep 0.1; done
    echo stopped here; kill -CONT \$!; sleep 0.5; kill -TERM \$!; wait \$!"
is_status 130 "stopped and taken up again"
sed -n '/stopped here/,$p' raw | head -2 | tail -1 | grep -qa "$(printf '^\033\[[0-9]*A')" && fail "the lines of before are cleared after a stop"
finish
