# SPDX-License-Identifier: MIT
# data and synth: the same rows in three kinds of files give the same bytes; start and limit; what plan time refuses.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1

printf '\357\273\277{"output": "o1", "instruction": "i1"}\r\n\r\n{"instruction":"i2","output":"o,\\"2\\""}' >rows.jsonl
printf '[{"instruction": "i1",\n "output": "o1"},\n{"instruction": "i2", "output": "o,\\"2\\""}]' >rows.json
printf 'instruction,output\r\ni1,o1\r\ni2,"o,""2"""\r\n' >rows.csv
: >empty.jsonl
printf '{"text": "a"}\n{"text": \n' >broken.jsonl
cat >s.yaml <<'EOF'
pkgraph: 1
nodes:
  a: {op: data, params: {path: rows.jsonl}}
  b: {op: data, params: {path: rows.json}}
  c: {op: data, params: {path: rows.csv}}
  d: {op: data, params: {path: rows.jsonl, start: 1, limit: 5}}
  e: {op: synth, params: {rows: 3, split: train, seed: 0}}
EOF
pk run s.yaml; is_status 0 run
for n in a b c d e; do pk export s.yaml $n out/$n; is_status 0 "export $n"; done
cmp out/a/data.jsonl out/b/data.jsonl || fail "a JSON list gives other bytes than JSONL"
cmp out/a/data.jsonl out/c/data.jsonl || fail "CSV gives other bytes than JSONL"
[ "$(cat out/d/data.jsonl)" = '{"instruction":"i2","output":"o,\"2\""}' ] || fail "start and limit: $(cat out/d/data.jsonl)"
grep -q '"format": *"alpaca"' out/a/dataset.json || fail "dataset.json: $(cat out/a/dataset.json)"
grep -q '"rows": *1' out/d/dataset.json || fail "dataset.json: $(cat out/d/dataset.json)"
grep -q 'Kim has 99 keys and gets 71.' out/e/data.jsonl || fail "synth: $(head -1 out/e/data.jsonl)"
[ "$(wc -l <out/e/data.jsonl)" = 3 ] || fail "rows of synth"

refused() { # PARAMETERS WORDS...: check says all of the words
    printf 'pkgraph: 1\nnodes:\n  a: {op: data, params: {%s}}\n' "$1" >bad.yaml
    pk check bad.yaml; is_status 2 "check $1"; says "bad.yaml:3:"; shift
    for word; do says "$word"; done
}
refused 'path: nothing.jsonl' "no such file"
refused 'path: empty.jsonl' "no rows"
refused 'path: rows.parquet' "Parquet" "to_json"
refused 'path: rows.jsonl, start: 2' "2 rows"
refused 'path: rows.jsonl, format: messages' "rows.jsonl:1:" "alpaca"
refused 'path: rows.jsonl, template: chatlm' "no such template" "chatml, llama2, llama3"
echo '{% for m in messages %}{{ m.content | frob }}{% endfor %}' >bad.jinja
refused 'path: rows.jsonl, template: bad.jinja' "bad.jinja: line 1" 'filter "frob" is not supported'

# templates: built in, of a file, of the checkpoint; what is trained; the file's content is in the key, its name is not
printf '%s' '{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{{ "[assistant]" if add_generation_prompt }}' >own.jinja
cat >t.yaml <<'EOF'
pkgraph: 1
nodes:
  m: {op: init, params: {hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 1}}
  a: {op: data, params: {path: rows.jsonl, template: chatml}}
  b: {op: data, params: {path: rows.jsonl, template: own.jinja}}
  ea: {op: eval, inputs: {model: m, data: a}, params: {task: loss}}
  eb: {op: eval, inputs: {model: m, data: b}, params: {task: loss}}
EOF
pk run t.yaml; is_status 0 "templates"
pk show t.yaml a --tokens; is_status 0 "show --tokens"; says '<|||i|m|_|s|t|a|r|t|||>|u|s|e|r|' "chatml"; says '{{o|1|<'
pk show t.yaml b --tokens; is_status 0 "show --tokens of a file"; says '[|u|s|e|r|]|i|1|[|a|s|s|i|s|t|a|n|t|]|{{o|1|</s>|}}' "the file"
mv own.jinja moved.jinja; sed -i 's/own.jinja/moved.jinja/' t.yaml
pk run t.yaml; is_status 0 "a template that moved"; says "everything is up to date" "a template that moved is the same"
echo x >>moved.jinja; pk plan t.yaml; is_status 2 "a template that changed"
pk export s.yaml a data-a; sed 's/template: chatml/template: tokenizer/' t.yaml >u.yaml
pk check u.yaml; is_status 2 "no template in the checkpoint"; says "brings no chat template"
pk export t.yaml m hf --as hf; printf '%s' '{{ messages[0].content }}={{ messages[1].content if messages|length > 1 }}' >hf/chat_template.jinja
sed -e 's/m: {op: init.*/m: {op: load, params: {model: hf}}/' -e 's/template: chatml/template: tokenizer/' t.yaml >v.yaml
pk run v.yaml; is_status 0 "the checkpoint's template"; pk show v.yaml a --tokens; says 'i|1|=|{{o|1|</s>|}}'
# tools: calls are trained, answers are not; keys of a tool keep their order; a template that would drop them is refused
cat >tools.jsonl <<'EOF'
{"tools": [{"name": "f", "description": "d"}], "conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"z\": 1}}"}, {"from": "observation", "value": "r"}, {"from": "gpt", "value": "a"}]}
EOF
cat >tools.jinja <<'EOF'
{%- for t in tools or [] %}{{ t.function | tojson }}{% endfor %}
{%- for m in messages %}<{{ m.role[0] }}>{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %};{% endfor %}
{%- if add_generation_prompt %}<a>{% endif %}
EOF
refused 'path: tools.jsonl' "row 0 has tools" "template: tokenizer"
refused 'path: tools.jsonl, template: chatml' "no form in the template chatml"
cat >w.yaml <<'EOF'
pkgraph: 1
nodes:
  m: {op: init, params: {hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 1}}
  a: {op: data, params: {path: tools.jsonl, template: tools.jinja, train_on: assistant}}
  e: {op: eval, inputs: {model: m, data: a}, params: {task: loss, template: train}}
EOF
pk run w.yaml; is_status 0 "tools"
grep -q '"tools": *true' "$("$PKGRAPH" export w.yaml a tools-out >/dev/null 2>&1; echo tools-out/dataset.json)" || fail "dataset.json knows of tools"
pk show w.yaml a --tokens; out=$(printf %s "$out" | tr -d '|\n'); errors=
says '{"name": "f", "description": "d"}<u>q;<a>{{{"name": "f", "arguments": {"z": 1}};}}<t>r;<a>{{a;</s>}}' "what is trained of tools"
echo '{% for m in messages %}{{ m.content }}{% endfor %}' >tools.jinja
pk run w.yaml; is_status 1 "a template without tools"; says "the template does not write tools"
printf 'pkgraph: 1\nnodes:\n  a: {op: data, params: {path: broken.jsonl}}\n' >late.yaml
pk check late.yaml; is_status 0 "only the first row is looked at"
pk run late.yaml; is_status 1 "a broken row"; says "broken.jsonl:2:"
finish
