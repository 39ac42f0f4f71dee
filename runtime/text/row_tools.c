/* SPDX-License-Identifier: MIT */
#include "runtime/text/row_tools.h"

#include <stdint.h>
#include <string.h>

/* The value itself, or what the text says. */
static struct js *value_of(const struct js *j, const char *where, const char *key, struct err *e)
{
    if (js_kind(j) != JS_STRING)
        return js_ref(j);
    struct js *v = js_parse(js_str(j), key, e);
    if (!v)
        err_prefix(e, "%s: the text of \"%s\" should be JSON", where, key);
    return v;
}

static struct js *shape(const char *where, const char *key, size_t i, const char *wanted, struct err *e)
{
    err_set(e, ERR_INPUT, "%s: element %zu of \"%s\" should be %s", where, i + 1, key, wanted);
    return NULL;
}

/* {"type": "function", "function": f}; takes over f, and `out` as far as it has other fields. */
static struct js *wrapped(struct js *out, struct js *f)
{
    if (!js_get(out, "type") && js_set(out, "type", js_new_cstr("function")) != 0) {
        js_free(f);
        f = NULL;
    }
    if (js_set(out, "function", f) == 0)
        return out;
    js_free(out);
    return NULL;
}

static struct js *tool(const struct js *j, const char *where, const char *key, size_t i, struct err *e)
{
    if (js_kind(js_get(j, "function")) == JS_OBJECT)
        return js_copy(j);
    return js_cstr(js_get(j, "name")) ? wrapped(js_object(), js_copy(j)) : shape(where, key, i, "a function with a \"name\"", e);
}

static struct js *call(const struct js *j, const char *where, const char *key, size_t i, struct err *e)
{
    const struct js *inner = js_get(j, "function"), *f = js_kind(inner) == JS_OBJECT ? inner : j, *given = js_get(f, "arguments");
    if (!js_cstr(js_get(f, "name")))
        return shape(where, key, i, "a call with a \"name\" and \"arguments\"", e);
    struct err ignored;
    struct js *out = f == inner ? js_copy(j) : js_object(), *function = js_object();
    struct js *arguments = js_kind(given) == JS_STRING ? js_parse(js_str(given), key, &ignored) : given ? js_copy(given) : js_object();
    if (!arguments)
        arguments = js_copy(given); /* a text that is no JSON: as it is */
    if (js_set(function, "name", js_ref(js_get(f, "name"))) != 0 || js_set(function, "arguments", arguments) != 0) {
        js_free(function);
        function = NULL;
    }
    return wrapped(out, function);
}

static struct js *each(const struct js *j, const char *where, const char *key,
                       struct js *(*one)(const struct js *j, const char *where, const char *key, size_t i, struct err *e), struct err *e)
{
    struct js *v = value_of(j, where, key, e), *out = v ? js_array() : NULL;
    bool single = js_kind(v) == JS_OBJECT;
    size_t n = single ? 1 : js_len(v);
    e->code = v ? 0 : e->code;
    if (v && !single && js_kind(v) != JS_ARRAY)
        err_set(e, ERR_INPUT, "%s: \"%s\" should be a list", where, key);
    for (size_t i = 0; v && e->code == 0 && i < n; i++) {
        struct js *x = one(single ? v : js_at(v, i), where, key, i, e);
        if (!x && e->code == 0)
            err_nomem(e, 256, key);
        else if (x && js_push(out, x) != 0)
            err_nomem(e, 256, key);
    }
    js_free(v);
    if (e->code == 0)
        return out;
    js_free(out);
    return NULL;
}

/* j[key] as text, if it is a list or an object. */
static int as_text(struct js *j, const char *key)
{
    const struct js *v = js_get(j, key);
    struct buf text = {0};
    if (js_kind(v) != JS_ARRAY && js_kind(v) != JS_OBJECT)
        return 0;
    js_write_ordered(&text, v);
    int bad = text.failed ? -1 : js_set(j, key, js_new_str(buf_view(&text)));
    buf_release(&text);
    return bad;
}

struct js *tools_as_text(const struct js *row)
{
    static const char *const lists[] = {"messages", "conversations", "prompt", "completion"};
    struct js *j = js_copy(row);
    int bad = !j || as_text(j, "tools");
    for (size_t i = 0; !bad && i < sizeof lists / sizeof *lists; i++) {
        const struct js *turns = js_get(j, lists[i]);
        for (size_t k = 0; !bad && js_kind(turns) == JS_ARRAY && k < js_len(turns); k++) {
            struct js *turn = (struct js *)(uintptr_t)js_at(turns, k); /* of our copy */
            bad = as_text(turn, "tool_calls") || as_text(turn, "function_call");
        }
    }
    if (!bad)
        return j;
    js_free(j);
    return NULL;
}

struct js *tools_list(const struct js *j, const char *where, const char *key, struct err *e)
{
    return each(j, where, key, tool, e);
}

struct js *tool_calls(const struct js *j, const char *where, const char *key, struct err *e)
{
    return each(j, where, key, call, e);
}
