/* SPDX-License-Identifier: MIT */
#include "runtime/text/row_parse.h"

#include <stdio.h>
#include <string.h>

#include "runtime/text/row_tools.h"

/* what a parser of one format works on */
struct maker {
    const char *where;
    struct arena *mem;
    struct row *row;
    size_t cap;
};

static const char *const names[] = {"auto", "messages", "sharegpt", "alpaca", "prompt-completion", "text"};

const char *row_format_name(enum row_format f)
{
    return names[f];
}

static const char *kind_word(const struct js *j)
{
    static const char *const words[] = {"nothing",  "null",     "a boolean", "a number",
                                        "a number", "a string", "a list",    "an object"};
    return words[js_kind(j)];
}

static int missing(const struct maker *m, const char *key, const char *wanted, const struct js *found, struct err *e)
{
    return err_set(e, ERR_INPUT, "%s: \"%s\" should be %s, found %s", m->where, key, wanted, kind_word(found));
}

static int add_message(struct maker *m, struct message message, struct err *e)
{
    struct row *r = m->row;
    if (r->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 4;
        struct message *v = arena_array(m->mem, cap, sizeof *v);
        if (!v)
            return err_nomem(e, cap * sizeof *v, "messages");
        if (r->n)
            memcpy(v, r->messages, r->n * sizeof *v);
        r->messages = v;
        m->cap = cap;
    }
    r->messages[r->n++] = message;
    return 0;
}

static int add(struct maker *m, enum role role, struct str content, struct err *e)
{
    return add_message(m, (struct message){.role = role, .content = content}, e);
}

/* The row owns what was made for it; made: a new reference, or NULL with e filled. */
static int own(struct maker *m, struct js *made, const struct js **out, struct err *e)
{
    struct row *r = m->row;
    *out = made;
    if (!made)
        return e->code;
    if (!r->made && !(r->made = js_array())) {
        js_free(made);
        return err_nomem(e, 64, "tools");
    }
    return js_push(r->made, made) == 0 ? 0 : err_nomem(e, 64, "tools");
}

/* a + between + b in the arena */
static int join(const struct maker *m, struct str a, const char *between, struct str b, struct str *out, struct err *e)
{
    size_t k = strlen(between), n = a.n + k + b.n;
    char *p = arena_alloc(m->mem, n + 1);
    if (!p)
        return err_nomem(e, n, "text of a row");
    if (a.n)
        memcpy(p, a.p, a.n);
    memcpy(p + a.n, between, k);
    if (b.n)
        memcpy(p + a.n + k, b.p, b.n);
    *out = (struct str){p, n};
    return 0;
}

/* A message's content: a string, or a list of parts {"type": "text", "text": ...}, which are joined. */
static int content_of(const struct maker *m, const struct js *j, const char *key, struct str *out, struct err *e)
{
    if (js_kind(j) == JS_STRING) {
        *out = js_str(j);
        return 0;
    }
    if (js_kind(j) != JS_ARRAY)
        return missing(m, key, "a string", j, e);
    *out = STR("");
    for (size_t i = 0; i < js_len(j); i++) {
        const struct js *part = js_at(j, i), *text = js_get(part, "text");
        const char *type = js_cstr(js_get(part, "type"));
        if (js_kind(text) != JS_STRING || (type && strcmp(type, "text") != 0))
            return err_set(e, ERR_UNSUPPORTED, "%s: part %zu of \"%s\" is not text%s%.40s; only text rows can be used",
                           m->where, i + 1, key, type ? " but " : "", type ? type : "");
        int rc = join(m, *out, "", js_str(text), out, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static bool blank(const struct js *j)
{
    return j == NULL || js_kind(j) == JS_NULL || (js_kind(j) == JS_STRING && js_str(j).n == 0);
}

static int role_of(const struct maker *m, const struct js *j, const char *key, enum role *out, struct err *e)
{
    static const struct {
        const char *name;
        enum role role;
    } roles[] = {{"system", ROLE_SYSTEM},       {"user", ROLE_USER},     {"human", ROLE_USER},
                 {"assistant", ROLE_ASSISTANT}, {"gpt", ROLE_ASSISTANT}, {"model", ROLE_ASSISTANT},
                 {"function_call", ROLE_ASSISTANT}, {"tool", ROLE_TOOL}, {"observation", ROLE_TOOL}, {"function", ROLE_TOOL}};
    const char *name = js_cstr(j);
    if (!name)
        return missing(m, key, "a string", j, e);
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(name, roles[i].name) == 0) {
            *out = roles[i].role;
            return 0;
        }
    }
    return err_set(e, ERR_INPUT,
                   "%s: unknown role \"%.60s\"; known are system, user (human), assistant (gpt, model, function_call) and tool (function, observation)",
                   m->where, name);
}

/* An assistant turn may call tools: tool_calls, OpenAI's old function_call, or a ShareGPT turn whose text is the call. */
static int calls_of(struct maker *m, const struct js *turn, const char *role_key, const char *text_key, struct message *out, struct err *e)
{
    const struct js *calls = js_get(turn, "tool_calls"), *old = js_get(turn, "function_call"), *role = js_get(turn, role_key);
    if (str_is(js_str(role), "function_call")) {
        out->content = STR("");
        return own(m, tool_calls(js_get(turn, text_key), m->where, text_key, e), &out->calls, e);
    }
    if (blank(calls) && blank(old))
        return 0;
    int rc = own(m, blank(calls) ? tool_calls(old, m->where, "function_call", e) : tool_calls(calls, m->where, "tool_calls", e), &out->calls, e);
    if (rc == 0 && js_len(out->calls) == 0)
        out->calls = NULL;
    return rc;
}

static int turn_of(struct maker *m, const struct js *turn, const char *role_key, const char *text_key, struct err *e)
{
    struct message x = {.role = ROLE_USER};
    const struct js *text = js_get(turn, text_key);
    int rc = role_of(m, js_get(turn, role_key), role_key, &x.role, e);
    if (rc == 0 && x.role == ROLE_ASSISTANT)
        rc = calls_of(m, turn, role_key, text_key, &x, e);
    if (rc == 0 && x.role == ROLE_TOOL)
        x.fields = turn;
    bool silent = x.calls && (!text || js_kind(text) == JS_NULL);
    if (rc == 0 && !silent && !x.content.p)
        rc = content_of(m, text, text_key, &x.content, e);
    return rc ? rc : add_message(m, x, e);
}

static int add_tools(struct maker *m, const struct js *row, struct err *e)
{
    const struct js *tools = js_get(row, "tools");
    int rc = blank(tools) ? 0 : own(m, tools_list(tools, m->where, "tools", e), &m->row->tools, e);
    if (rc == 0 && js_len(m->row->tools) == 0)
        m->row->tools = NULL;
    return rc;
}

static int add_turns(struct maker *m, const struct js *list, const char *key, const char *role_key,
                     const char *text_key, struct err *e)
{
    if (js_kind(list) != JS_ARRAY)
        return missing(m, key, "a list of turns", list, e);
    if (js_len(list) == 0)
        return err_set(e, ERR_INPUT, "%s: \"%s\" is an empty list; leave such rows out", m->where, key);
    for (size_t i = 0; i < js_len(list); i++) {
        const struct js *turn = js_at(list, i);
        int rc = 0;
        if (js_kind(turn) != JS_OBJECT)
            return err_set(e, ERR_INPUT, "%s: turn %zu of \"%s\" should be an object with \"%s\" and \"%s\", found %s",
                           m->where, i + 1, key, role_key, text_key, kind_word(turn));
        if ((rc = turn_of(m, turn, role_key, text_key, e)) < 0)
            return rc;
    }
    return 0;
}

static int add_text(struct maker *m, const struct js *j, const char *key, enum role role, struct err *e)
{
    if (js_kind(j) != JS_STRING)
        return missing(m, key, "a string", j, e);
    return add(m, role, js_str(j), e);
}

static int add_system(struct maker *m, const struct js *row, struct err *e)
{
    const struct js *s = js_get(row, "system");
    return blank(s) ? 0 : add_text(m, s, "system", ROLE_SYSTEM, e);
}

static int parse_messages(struct maker *m, const struct js *j, struct err *e)
{
    int rc = add_tools(m, j, e);
    return rc < 0 ? rc : add_turns(m, js_get(j, "messages"), "messages", "role", "content", e);
}

static int parse_sharegpt(struct maker *m, const struct js *j, struct err *e)
{
    int rc = add_system(m, j, e);
    if (rc == 0)
        rc = add_tools(m, j, e);
    return rc < 0 ? rc : add_turns(m, js_get(j, "conversations"), "conversations", "from", "value", e);
}

static int parse_alpaca(struct maker *m, const struct js *j, struct err *e)
{
    const struct js *instruction = js_get(j, "instruction"), *input = js_get(j, "input"),
                    *history = js_get(j, "history");
    int rc = add_system(m, j, e);
    if (rc < 0)
        return rc;
    if (!blank(history) && js_kind(history) != JS_ARRAY)
        return missing(m, "history", "a list of [question, answer]", history, e);
    for (size_t i = 0; i < js_len(history); i++) {
        const struct js *pair = js_at(history, i);
        if (js_kind(pair) != JS_ARRAY || js_len(pair) != 2)
            return err_set(e, ERR_INPUT, "%s: element %zu of \"history\" should be [question, answer]", m->where,
                           i + 1);
        if ((rc = add_text(m, js_at(pair, 0), "history", ROLE_USER, e)) < 0 ||
            (rc = add_text(m, js_at(pair, 1), "history", ROLE_ASSISTANT, e)) < 0)
            return rc;
    }
    if (js_kind(instruction) != JS_STRING)
        return missing(m, "instruction", "a string", instruction, e);
    if (!blank(input) && js_kind(input) != JS_STRING)
        return missing(m, "input", "a string", input, e);
    struct str prompt = js_str(instruction);
    if (!blank(input) && (rc = join(m, prompt, "\n", js_str(input), &prompt, e)) < 0)
        return rc;
    if ((rc = add(m, ROLE_USER, prompt, e)) < 0)
        return rc;
    return add_text(m, js_get(j, "output"), "output", ROLE_ASSISTANT, e);
}

static int parse_pair(struct maker *m, const struct js *j, struct err *e)
{
    if (add_tools(m, j, e) < 0)
        return e->code;
    static const char *const keys[] = {"prompt", "completion"};
    static const enum role roles[] = {ROLE_USER, ROLE_ASSISTANT};
    for (int i = 0; i < 2; i++) {
        const struct js *x = js_get(j, keys[i]);
        int rc = js_kind(x) == JS_ARRAY ? add_turns(m, x, keys[i], "role", "content", e)
                                        : add_text(m, x, keys[i], roles[i], e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int parse_text(struct maker *m, const struct js *j, struct err *e)
{
    m->row->plain = true;
    return add_text(m, js_get(j, "text"), "text", ROLE_ASSISTANT, e);
}

static const struct {
    const char *first, *second; /* the keys that tell the format */
    int (*parse)(struct maker *m, const struct js *j, struct err *e);
} formats[] = {
    [ROW_MESSAGES] = {"messages", "messages", parse_messages},
    [ROW_SHAREGPT] = {"conversations", "conversations", parse_sharegpt},
    [ROW_ALPACA] = {"instruction", "output", parse_alpaca},
    [ROW_PROMPT_COMPLETION] = {"prompt", "completion", parse_pair},
    [ROW_TEXT] = {"text", "text", parse_text},
};

int row_detect(const struct js *j, const char *where, enum row_format *out, struct err *e)
{
    for (enum row_format f = ROW_MESSAGES; f <= ROW_TEXT; f++) {
        if (js_get(j, formats[f].first) && js_get(j, formats[f].second)) {
            *out = f;
            return 0;
        }
    }
    struct buf keys = {0};
    size_t n = 0;
    for (void *it = js_iter(j); it && n < 12; it = js_next(j, it), n++)
        buf_printf(&keys, "%s%.40s", n ? ", " : "", js_iter_key(it));
    err_set(e, ERR_INPUT,
            "%s: no known row format: found %s%s; one of these is needed: messages | conversations (sharegpt) | "
            "instruction + output "
            "(alpaca) | prompt + completion | text",
            where,
            js_kind(j) != JS_OBJECT ? kind_word(j)
            : n                     ? "the keys "
                                    : "no keys",
            n && !keys.failed ? keys.p : "");
    buf_release(&keys);
    return e->code;
}

static int set_id(struct maker *m, const struct js *id, struct err *e)
{
    if (js_kind(id) == JS_STRING)
        m->row->id = arena_str(m->mem, js_str(id));
    else if (js_kind(id) == JS_INT)
        m->row->id = arena_printf(m->mem, "%lld", (long long)js_int(id, 0));
    else
        return 0;
    return m->row->id ? 0 : err_nomem(e, js_str(id).n, "the id of a row");
}

int row_parse(struct js *j, enum row_format format, const char *where, struct arena *mem, struct row *out,
              struct err *e)
{
    *out = (struct row){.source = j};
    struct maker m = {.where = where, .mem = mem, .row = out};
    if (js_kind(j) != JS_OBJECT)
        return err_set(e, ERR_INPUT, "%s: a row should be an object, found %s", where, kind_word(j));
    if (!js_get(j, formats[format].first) || !js_get(j, formats[format].second)) {
        enum row_format other;
        if (row_detect(j, where, &other, e) == 0)
            err_set(
                e, ERR_INPUT,
                "%s: this row has the format %s, but %s is expected (from the first row of the file, or the parameter "
                "format); all rows of a file have one format",
                where, names[other], names[format]);
        return e->code;
    }
    int rc = set_id(&m, js_get(j, "id"), e);
    return rc < 0 ? rc : formats[format].parse(&m, j, e);
}

bool row_uses_tools(const struct row *r)
{
    bool uses = r->tools != NULL;
    for (size_t i = 0; i < r->n; i++)
        uses |= r->messages[i].calls || r->messages[i].role == ROLE_TOOL;
    return uses;
}
