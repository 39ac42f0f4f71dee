# SPDX-License-Identifier: MIT
# Chat templates: prompts of conversations, with tools and without, rendered by pkgraph and by transformers' apply_chat_template: the templates
# beside this file, which are built as those of common models are, and the templates of the checkpoints in $PKG_REAL. Needs a Python
# with transformers and torch in $PKG_PYTHON.
set -u
python=${PKG_PYTHON:-python3}
if ! "$python" -c 'import transformers, torch' 2>/dev/null; then
    echo "SKIPPED: $python has no transformers; set PKG_PYTHON"
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
cat > plain.jsonl <<'R'
{"messages": [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}]}
{"messages": [{"role": "system", "content": " Be brief.\n"}, {"role": "user", "content": "Gr\u00fc\u00df <b>\"Gott\"</b>"}, {"role": "assistant", "content": "  Hallo "}, {"role": "user", "content": "and?\n"}, {"role": "assistant", "content": "Bye"}]}
R
cat > calls.jsonl <<'R'
{"tools": [{"type": "function", "function": {"name": "weather", "description": "The weather of a \"place\" <now>", "parameters": {"type": "object", "properties": {"place": {"type": "string", "enum": ["K\u00f6ln", "Rom"]}, "days": {"type": "integer", "default": 1, "minimum": 0.5}}, "required": ["place"]}}}], "messages": [{"role": "system", "content": "Help."}, {"role": "user", "content": "Weather in K\u00f6ln?"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "call00001", "type": "function", "function": {"name": "weather", "arguments": "{\"place\": \"K\u00f6ln\", \"days\": 2, \"deep\": {\"a\": [1, 2.5, null, true]}}"}}]}, {"role": "tool", "name": "weather", "tool_call_id": "call00001", "content": "{\"sky\": \"clear\"}"}, {"role": "assistant", "content": "Clear."}]}
{"tools": "[{\"name\": \"now\", \"description\": \"\", \"parameters\": {}}, {\"name\": \"add\", \"parameters\": {\"type\": \"object\"}}]", "messages": [{"role": "user", "content": "time?"}, {"role": "assistant", "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "now", "arguments": {}}}]}, {"role": "tool", "tool_call_id": "abcdefghi", "content": "12:00"}, {"role": "assistant", "content": "Noon."}, {"role": "user", "content": "thanks"}]}
R
cat > many.jsonl <<'R'
{"tools": [{"name": "add", "parameters": {"type": "object"}}], "conversations": [{"from": "human", "value": "1+1, 2+2"}, {"from": "function_call", "value": "[{\"name\": \"add\", \"arguments\": {\"a\": 1}}, {\"name\": \"add\", \"arguments\": {\"a\": 2}}]"}, {"from": "observation", "value": "2"}, {"from": "observation", "value": "4"}, {"from": "gpt", "value": "2 and 4"}], "system": "S"}
{"tools": "[{\"name\": \"add\"}]", "conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "{\"name\": \"add\", \"arguments\": {\"x\": \"\u00e9\"}}"}, {"from": "observation", "value": "ok"}, {"from": "gpt", "value": "done"}]}
R
cat > init.yaml <<'S'
pkgraph: 1
nodes:
  m: {op: init, params: {hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 1, max_position_embeddings: 8192}}
S
"$PKGRAPH" run init.yaml --store st -q && "$PKGRAPH" export init.yaml m base --as hf --store st >/dev/null || exit 1
bad=0 all=0
compare() { # FOLDER ROWS
    all=$((all + 1))
    printf 'pkgraph: 1\nnodes:\n  m: {op: load, params: {model: %s}}\n  d: {op: data, params: {path: %s, template: tokenizer}}\n  g: {op: generate, inputs: {model: m, data: d}, params: {max_new_tokens: 1, compute: f32}}\n' \
        "$1" "$2" >g.yaml
    rm -rf out
    "$PKGRAPH" run g.yaml --store st -q && "$PKGRAPH" export g.yaml g out --store st >/dev/null &&
        "$python" "$PKG_SOURCE/tests/slow/templates.py" "$1" out/predictions.jsonl "$2" || bad=$((bad + 1))
}
for t in tags headers brackets; do
    cp -r base "$t" && cp "$PKG_SOURCE/tests/slow/templates/$t.jinja" "$t/chat_template.jinja"
    compare "$t" plain.jsonl
    compare "$t" calls.jsonl
done
compare tags many.jsonl
for m in "${PKG_REAL:-/nonexistent}"/*; do
    [ -f "$m/chat_template.jinja" ] || continue
    t=real-$(basename "$m")
    cp -r base "$t" && cp "$m/chat_template.jinja" "$t/"
    compare "$t" plain.jsonl
    grep -q tool_calls "$m/chat_template.jinja" || continue
    compare "$t" calls.jsonl
    compare "$t" many.jsonl
done
echo "$all comparisons, $bad failed"
[ "$bad" = 0 ]
