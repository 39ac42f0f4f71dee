/* SPDX-License-Identifier: MIT
 *
 * Any value may also be null (it removes) or text with `${`, since it can come from a variable; so each parameter is "its
 * type, or that". Nodes are described by one `if op is NAME then ...` an operator, and one for edits that name none. Building ignores lack of memory on the way:
 * js_set and js_push refuse what is missing, and schema_make looks at the end whether all is there.
 */
#include "engine/schema.h"

#include <stdio.h>
#include <string.h>

#include "engine/op_private.h"
#include "engine/opdoc.h"
#include "engine/param.h"

#define NAME_PATTERN "^[A-Za-z0-9_\\u0080-\\uffff][-A-Za-z0-9_\\u0080-\\uffff]*$"

static struct js *one(const char *key, struct js *v)
{
    struct js *j = js_object();
    if (js_set(j, key, v)) {
        js_free(j);
        return NULL;
    }
    return j;
}

static struct js *text_pair(const char *key, const char *v)
{
    return one(key, js_new_cstr(v));
}

static struct js *ref(const char *name)
{
    struct buf b = {0};
    buf_printf(&b, "#/$defs/%s", name);
    struct js *j = one("$ref", js_new_str(buf_view(&b)));
    buf_release(&b);
    return j;
}

static struct js *typed(const char *type)
{
    return text_pair("type", type);
}

static struct js *pattern(const char *p)
{
    struct js *j = typed("string");
    js_set(j, "pattern", js_new_cstr(p));
    return j;
}

static struct js *words(const char *choices)
{
    struct js *a = js_array();
    for (const char *p = choices; a && p; p = strchr(p, '|')) {
        p += *p == '|';
        js_push(a, js_new_str((struct str){p, strcspn(p, "|")}));
    }
    return one("enum", a);
}

static struct js *either(struct js *a, struct js *b)
{
    struct js *list = js_array();
    js_push(list, a);
    js_push(list, b);
    return one("anyOf", list);
}

static struct js *list_of(struct js *item)
{
    struct js *j = typed("array");
    js_set(j, "items", item);
    return j;
}

/* What an editor shows beside the key. */
static struct js *said(struct js *j, const char *text)
{
    js_set(j, "description", js_new_cstr(text));
    return j;
}

/* An object whose keys are these, `x-...` and nothing else. */
static struct js *closed(struct js *properties)
{
    struct js *j = typed("object");
    js_set(j, "properties", properties);
    js_set(j, "patternProperties", one("^x-", said(js_object(), "free: a place for anchors and notes")));
    js_set(j, "additionalProperties", js_new_bool(false));
    return j;
}

/* An object with the names that an operator knows. Those of another operator may be removed: in a spec that changes the
 * `op` of a node it extends. */
static struct js *of_operator(struct js *properties)
{
    struct js *j = typed("object");
    js_set(j, "properties", properties);
    js_set(j, "additionalProperties", said(typed("null"), "null removes what another operator knew"));
    return j;
}

/* An object with names of the user's choice. */
static struct js *named(struct js *value)
{
    struct js *j = typed("object");
    js_set(j, "propertyNames", pattern(NAME_PATTERN));
    js_set(j, "additionalProperties", value);
    return j;
}

/* ---- parameters ---- */

static struct js *number(const char *type, const struct param_def *p)
{
    struct js *j = typed(type);
    if (p->min < p->max && p->min > -1e15)
        js_set(j, "minimum", js_new_num(p->min));
    if (p->min < p->max && p->max < 1e15)
        js_set(j, "maximum", js_new_num(p->max));
    return j;
}

static struct js *scalar_text(void)
{
    struct js *types = js_array(), *j = NULL;
    js_push(types, js_new_cstr("string"));
    js_push(types, js_new_cstr("number"));
    js_push(types, js_new_cstr("boolean"));
    j = one("type", types);
    return j;
}

/* What the parameter's own value looks like: pushes the alternatives. */
static void push_types(struct js *to, const struct param_def *p)
{
    struct js *item;
    switch (p->type) {
    case PARAM_BOOL: js_push(to, typed("boolean")); break;
    case PARAM_INT:
    case PARAM_FLOAT: /* 1_000, and 3e-4 in YAML 1.1, reach an editor as text */
        js_push(to, number(p->type == PARAM_INT ? "integer" : "number", p));
        js_push(to, pattern("^[-+]?[0-9][0-9_]*(\\.[0-9]*)?([eE][-+]?[0-9]+)?$"));
        break;
    case PARAM_SIZE:
        js_push(to, number("integer", p));
        js_push(to, pattern("^[0-9][0-9_.]* *([KMGT]iB|[kKMGT]B|[KMGTB])?$"));
        break;
    case PARAM_DURATION:
        js_push(to, number("number", p));
        js_push(to, pattern("^[0-9][0-9_.]* *(ms|s|sec|min|m|h|d)?$"));
        break;
    case PARAM_ENUM: js_push(to, words(p->choices)); break;
    case PARAM_STRING:
    case PARAM_PATH: js_push(to, scalar_text()); break;
    case PARAM_MAP: js_push(to, typed("object")); break;
    case PARAM_INTS:
        js_push(to, typed("integer"));
        js_push(to, list_of(either(typed("integer"), ref("variable"))));
        break;
    case PARAM_STRINGS:
        item = p->choices ? words(p->choices) : scalar_text();
        js_push(to, js_ref(item));
        js_push(to, list_of(either(item, ref("variable"))));
        break;
    }
}

static struct js *param_schema(const struct param_def *p)
{
    struct js *list = js_array();
    push_types(list, p);
    if (p->unset)
        js_push(list, text_pair("const", p->unset));
    js_push(list, typed("null"));
    js_push(list, ref("variable"));
    struct js *j = one("anyOf", list);
    struct buf text = {0};
    param_describe(&text, p);
    if (p->help && *p->help)
        buf_printf(&text, ". %s", p->help);
    js_set(j, "description", js_new_str(buf_view(&text)));
    if (p->fallback)
        js_set(j, "default", opdoc_default(p));
    buf_release(&text);
    return j;
}

static struct js *params_schema(const struct op *op)
{
    struct js *props = js_object();
    for (size_t i = 0; i < op_param_count(op); i++)
        js_set(props, op->params[i].name, param_schema(&op->params[i]));
    return of_operator(props);
}

/* ---- nodes ---- */

static struct js *inputs_schema(const struct op *op)
{
    struct js *props = js_object();
    for (size_t i = 0; i < port_count(op->inputs); i++) {
        const struct port_def *p = &op->inputs[i];
        struct js *j = either(ref("input"), list_of(ref("input")));
        struct buf text = {0};
        buf_printf(&text, "%s%s%s", p->type, p->help && *p->help ? ": " : "", p->help ? p->help : "");
        js_set(j, "description", js_new_str(buf_view(&text)));
        buf_release(&text);
        js_set(props, p->name, j);
    }
    return of_operator(props);
}

static struct js *when_op(const struct op *op)
{
    struct js *cond = one("properties", one("op", text_pair("const", op->name))), *must = js_array(), *then = js_object(), *j = js_object();
    char name[128], text[300];
    js_push(must, js_new_cstr("op"));
    js_set(cond, "required", must);
    snprintf(name, sizeof name, "inputs_%.100s", op->name);
    js_set(then, "inputs", said(either(ref(name), either(typed("null"), ref("variable"))), "inputs: {port: node, port: node.output}"));
    snprintf(name, sizeof name, "params_%.100s", op->name);
    snprintf(text, sizeof text, "parameters of %.100s; `pkgraph ops %.100s` describes them", op->name, op->name);
    js_set(then, "params", said(either(ref(name), either(typed("null"), ref("variable"))), text));
    js_set(j, "if", cond);
    js_set(j, "then", one("properties", then));
    return j;
}

/* A node that a spec edits without naming its operator again: the names of some one operator. */
static struct js *when_no_op(const struct op *const *ops)
{
    static const char *const keys[] = {"inputs", "params"};
    struct js *must = js_array(), *then = js_object(), *j = js_object();
    js_push(must, js_new_cstr("op"));
    js_set(j, "if", one("not", one("required", must)));
    for (int i = 0; i < 2; i++) {
        struct js *any = js_array();
        for (const struct op *const *o = ops; *o; o++) {
            char name[128];
            snprintf(name, sizeof name, "%s_%.100s", keys[i], (*o)->name);
            js_push(any, ref(name));
        }
        js_push(any, typed("null"));
        js_push(any, ref("variable"));
        js_set(then, keys[i], one("anyOf", any));
    }
    js_set(j, "then", one("properties", then));
    return j;
}

static struct js *nullable(struct js *j)
{
    return either(j, typed("null"));
}

static struct js *node_schema(const struct op *const *ops)
{
    struct js *props = js_object(), *all = js_array(), *names = js_array();
    js_push(all, when_no_op(ops));
    for (; *ops; ops++) {
        struct js *name = text_pair("const", (*ops)->name);
        if ((*ops)->summary)
            js_set(name, "description", js_new_cstr((*ops)->summary));
        js_push(names, name);
        js_push(all, when_op(*ops));
    }
    js_push(names, ref("variable"));
    js_set(props, "op", said(one("anyOf", names), "the operator: what the node does"));
    js_set(props, "inputs", said(js_object(), "where its inputs come from: {port: node, port: node.output}"));
    js_set(props, "params", said(js_object(), "parameters, by the operator"));
    js_set(props, "doc", said(nullable(scalar_text()), "text for people, shown by viz"));
    struct js *j = said(closed(props), "one step: an operator with inputs and parameters");
    js_set(j, "allOf", all);
    return j;
}

/* ---- the whole ---- */

static struct js *defaults_schema(const struct op *const *ops)
{
    struct js *props = js_object();
    char name[128];
    for (; *ops; ops++) {
        snprintf(name, sizeof name, "params_%.100s", (*ops)->name);
        js_set(props, (*ops)->name, said(nullable(ref(name)), (*ops)->summary ? (*ops)->summary : (*ops)->name));
    }
    return said(closed(props), "parameters for every node of an operator; those of the node win");
}

static struct js *sweep_schema(void)
{
    struct js *range = js_object(), *must = js_array(), *values;
    js_set(range, "from", said(typed("number"), "the first value"));
    js_set(range, "to", said(typed("number"), "the last value, included where a step reaches it"));
    js_set(range, "step", said(typed("number"), "from each value to the next; 1 when left out"));
    range = said(closed(range), "a range of numbers");
    js_push(must, js_new_cstr("from"));
    js_push(must, js_new_cstr("to"));
    js_set(range, "required", must);
    values = either(either(list_of(js_object()), range), either(ref("variable"), typed("null")));
    struct js *j = typed("object"), *zip = said(typed("object"), "lists of one length, whose values go together");
    js_set(zip, "additionalProperties", js_ref(values));
    js_set(j, "properties", one("zip", either(either(zip, typed("null")), list_of(js_ref(zip)))));
    js_set(j, "additionalProperties", values);
    js_set(j, "description", js_new_cstr("every combination of the values of variables and node.param; zip: lists that go together"));
    return j;
}

static struct js *variants_schema(void)
{
    struct js *props = js_object();
    js_set(props, "nodes", ref("nodes"));
    js_set(props, "vars", ref("vars"));
    js_set(props, "defaults", ref("defaults"));
    js_set(props, "doc", said(nullable(scalar_text()), "text for people"));
    return said(named(nullable(closed(props))), "named edits of the graph: each is a graph beside the base, with which it shares what is the same");
}

static struct js *defs(const struct op *const *ops)
{
    struct js *j = js_object();
    js_set(j, "variable", said(pattern("\\$\\{"), "${name}: a variable; ${env:NAME}: the environment"));
    js_set(j, "input", said(either(pattern("^[^@]+$"), typed("null")), "a node (its first output) or node.output"));
    js_set(j, "vars", said(nullable(named(js_object())), "values for ${name}; --set name=value replaces them"));
    js_set(j, "node", node_schema(ops));
    js_set(j, "nodes", said(nullable(named(either(nullable(ref("node")), ref("variable")))), "the graph: a name for each step; null removes one that is extended"));
    js_set(j, "defaults", nullable(defaults_schema(ops)));
    for (; *ops; ops++) {
        char name[128];
        snprintf(name, sizeof name, "inputs_%.100s", (*ops)->name);
        js_set(j, name, inputs_schema(*ops));
        snprintf(name, sizeof name, "params_%.100s", (*ops)->name);
        js_set(j, name, params_schema(*ops));
    }
    return j;
}

struct js *schema_make(const struct op *const *ops)
{
    struct js *props = js_object();
    js_set(props, "pkgraph", said(one("const", js_new_int(1)), "the version of the language: 1"));
    js_set(props, "name", said(nullable(scalar_text()), "of the spec; the name of the file when left out"));
    js_set(props, "doc", said(nullable(scalar_text()), "text for people"));
    js_set(props, "extends", said(nullable(either(typed("string"), list_of(typed("string")))),
                                  "another spec, or a list of them, which this one edits: mappings are merged, null removes"));
    js_set(props, "vars", ref("vars"));
    js_set(props, "defaults", ref("defaults"));
    js_set(props, "nodes", ref("nodes"));
    js_set(props, "sweep", nullable(sweep_schema()));
    js_set(props, "variants", nullable(variants_schema()));
    struct js *j = closed(props);
    js_set(j, "$schema", js_new_cstr("https://json-schema.org/draft/2020-12/schema"));
    js_set(j, "title", js_new_cstr("pkgraph specification"));
    if (js_set(j, "$defs", defs(ops)) == 0 && js_len(js_get(j, "properties")) == 9)
        return j;
    js_free(j);
    return NULL;
}
