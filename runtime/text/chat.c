/* SPDX-License-Identifier: MIT */
#include "runtime/text/chat.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/text/jinja.h"
#include "runtime/text/rows.h"
#include "runtime/text/tokenizer.h"

struct chat {
    struct jinja *template;
    struct js *tokens; /* bos_token, eos_token, ... */
    bool built_in, writes_tools, writes_calls, writes_answers; /* the last three: by the names in its text */
};

static const struct {
    const char *name, *text;
} built_in[] = {
    {"chatml", "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endfor %}"
               "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"},
    {"llama2", "{% set turns = messages[1:] if messages[0].role == 'system' else messages %}"
               "{% for message in turns %}"
               "{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
               "{{ raise_exception('llama2 has turns of user and assistant one after the other, the user first') }}{% endif %}"
               "{% set text = message.content %}"
               "{% if loop.first and messages[0].role == 'system' %}"
               "{% set text = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' + text %}{% endif %}"
               "{% if message.role == 'user' %}{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}"
               "{% else %}{{ ' ' + text.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"},
    {"llama3", "{{ bos_token }}{% for message in messages %}"
               "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}{% endfor %}"
               "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"},
};

struct str chat_builtin(const char *name)
{
    for (size_t i = 0; i < sizeof built_in / sizeof *built_in; i++)
        if (strcmp(name, built_in[i].name) == 0)
            return str_of(built_in[i].text);
    return (struct str){NULL, 0};
}

/* The names of the special tokens that templates know. A built-in one has empty ones where the model has none. */
static struct js *token_names(const struct js *facts, bool all)
{
    static const char *const names[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
    static const char *const stand_ins[] = {"<s>", "</s>", "<pad>", "<unk>"};
    struct js *j = js_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct js *token = js_get(facts, names[i]);
        int rc = 0;
        if (js_kind(token) == JS_STRING)
            rc = js_set(j, names[i], js_ref(token));
        else if (!facts || all)
            rc = js_set(j, names[i], js_new_cstr(facts ? "" : stand_ins[i]));
        if (rc < 0) {
            js_free(j);
            return NULL;
        }
    }
    return j;
}

int chat_new(const char *name, struct str text, const struct js *facts, struct chat **out, struct err *e)
{
    struct chat *c = calloc(1, sizeof *c);
    struct buf what = {0};
    struct str own = chat_builtin(name);
    *out = NULL;
    if (!c)
        return err_nomem(e, sizeof *c, "a template");
    c->built_in = own.p != NULL;
    c->tokens = token_names(facts, c->built_in);
    buf_printf(&what, strcmp(name, CHAT_TOKENIZER) == 0 ? "the chat_template of the checkpoint" : "template %s", name);
    int rc = !c->tokens || what.failed ? err_nomem(e, 256, "a template") : jinja_parse(own.p ? own : text, what.p, &c->template, e);
    buf_release(&what);
    text = own.p ? own : text;
    c->writes_tools = text.n && memmem(text.p, text.n, "tools", 5);
    c->writes_calls = text.n && memmem(text.p, text.n, "tool_calls", 10);
    c->writes_answers = !c->built_in;
    if (rc < 0)
        chat_free(c);
    else
        *out = c;
    return rc;
}

void chat_free(struct chat *c)
{
    if (!c)
        return;
    jinja_free(c->template);
    js_free(c->tokens);
    free(c);
}

static struct js *message_json(const struct message *m)
{
    static const char *const roles[] = {[ROLE_SYSTEM] = "system", [ROLE_USER] = "user", [ROLE_ASSISTANT] = "assistant", [ROLE_TOOL] = "tool"};
    static const char *const more[] = {"name", "tool_call_id"};
    struct js *j = js_object();
    int bad = js_set(j, "role", js_new_cstr(roles[m->role])) < 0 ||
              js_set(j, "content", m->calls && !m->content.p ? js_new_null() : js_new_str(m->content)) < 0 ||
              (m->calls && js_set(j, "tool_calls", js_ref(m->calls)) < 0);
    for (size_t i = 0; !bad && i < sizeof more / sizeof *more; i++) {
        const struct js *v = js_get(m->fields, more[i]);
        bad = v && js_set(j, more[i], js_ref(v)) < 0;
    }
    if (!bad)
        return j;
    js_free(j);
    return NULL;
}

/* A template that knows nothing of what the turns have would drop it. */
static int check_tools(const struct chat *c, const struct message *m, size_t n, const struct js *tools, struct err *e)
{
    const char *what = tools && !c->writes_tools ? "tools" : NULL;
    for (size_t i = 0; i < n && !what; i++)
        what = m[i].calls && !c->writes_calls ? "calls of tools" : m[i].role == ROLE_TOOL && !c->writes_answers ? "answers of tools" : NULL;
    return what ? err_set(e, ERR_UNSUPPORTED, "the template does not write %s, which the row has; take a template that does, or leave such rows out", what) : 0;
}

int chat_render(const struct chat *c, const struct message *m, size_t n, const struct js *tools, bool prompt, struct buf *out, struct err *e)
{
    if (check_tools(c, m, n, tools, e) != 0)
        return e->code;
    struct js *vars = js_object(), *messages = js_array();
    int bad = !vars || !messages;
    for (size_t i = 0; i < n && !bad; i++)
        bad = js_push(messages, message_json(&m[i])) < 0;
    for (void *it = js_iter(c->tokens); it && !bad; it = js_next(c->tokens, it))
        bad = js_set(vars, js_iter_key(it), js_ref(js_iter_value(it))) < 0;
    bad = bad || js_set(vars, "messages", js_ref(messages)) < 0 || js_set(vars, "add_generation_prompt", js_new_bool(prompt)) < 0 ||
          js_set(vars, "tools", tools ? js_ref(tools) : js_new_null()) < 0 || js_set(vars, "documents", js_new_null()) < 0;
    int rc = bad ? err_nomem(e, n * 64, "a conversation") : jinja_render(c->template, vars, out, NULL, e);
    js_free(messages);
    js_free(vars);
    return rc;
}

int chat_check(const struct chat *c, struct err *e)
{
    static const struct message probe[] = {{.role = ROLE_USER, .content = {"question", 8}}, {.role = ROLE_ASSISTANT, .content = {"answer", 6}}};
    int rc = 0;
    for (int n = 1; n <= 2 && rc == 0; n++) {
        struct buf text = {0};
        rc = chat_render(c, probe, (size_t)n, NULL, n == 1, &text, e);
        buf_release(&text);
    }
    return rc == ERR_INPUT ? 0 : rc;
}

bool chat_adds_bos(const struct chat *c)
{
    return c->built_in;
}

/* A text that begins with the BOS text itself gets only one BOS. */
static int drop_second_bos(const struct tokenizer *t, struct ids *ids, size_t from, struct err *e)
{
    struct ids empty = {0};
    int32_t *v = ids->v + from;
    size_t n = ids->n - from;
    int rc = n >= 2 && v[0] == v[1] ? tokenizer_encode(t, STR(""), true, &empty, e) : 0;
    if (rc == 0 && empty.n && v[0] == empty.v[0] && v[1] == empty.v[0]) {
        memmove(v, v + 1, (n - 1) * sizeof *v);
        ids->n--;
    }
    ids_release(&empty);
    return rc;
}

int chat_encode(const struct chat *c, const struct tokenizer *t, struct str text, struct ids *out, struct err *e)
{
    bool special = !c || c->built_in;
    size_t from = out->n;
    int rc = tokenizer_encode(t, text, special, out, e);
    return rc == 0 && special ? drop_second_bos(t, out, from, e) : rc;
}
