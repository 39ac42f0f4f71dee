/* SPDX-License-Identifier: MIT */
#include "engine/opdoc.h"

#include <string.h>

#include "engine/op_private.h"
#include "engine/param.h"

enum { WIDTH = 96 };

/* "model or adapter" */
static void put_type(struct buf *out, const char *type)
{
    for (const char *p = type; *p; p++)
        if (*p == '|')
            buf_puts(out, " or ");
        else
            buf_putc(out, *p);
}

/* Text broken at blanks, every line after the first indented. Newlines of the text stay. */
static void put_wrapped(struct buf *out, const char *text, size_t indent, size_t column)
{
    while (*text) {
        size_t n = strcspn(text, " \n");
        if (column > indent && column + 1 + n > WIDTH) {
            buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            buf_putc(out, ' ');
            column++;
        }
        buf_put(out, text, n);
        column += n;
        text += n;
        if (*text == '\n') {
            buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
            text++;
        }
        while (*text == ' ')
            text++;
    }
}

static void put_paragraphs(struct buf *out, const char *text, size_t indent)
{
    buf_printf(out, "%*s", (int)indent, "");
    put_wrapped(out, text, indent, indent);
    buf_putc(out, '\n');
}

static void put_ports(struct buf *out, const char *title, const struct port_def *ports)
{
    if (!port_count(ports))
        return;
    buf_printf(out, "\n%s\n", title);
    for (; ports->name; ports++) {
        struct buf head = {0};
        buf_printf(&head, "  %-14s ", ports->name);
        put_type(&head, ports->type);
        if (ports->flags & PORT_OPTIONAL)
            buf_puts(&head, ", optional");
        if (ports->flags & PORT_VARIADIC)
            buf_puts(&head, ", any number");
        buf_str(out, buf_view(&head));
        out->failed |= head.failed;
        buf_release(&head);
        if (ports->help && *ports->help) {
            buf_puts(out, "\n      ");
            put_wrapped(out, ports->help, 6, 6);
        }
        buf_putc(out, '\n');
    }
}

static void put_default(struct buf *out, const struct param_def *p)
{
    if (p->flags & PARAM_REQUIRED)
        buf_puts(out, "required");
    else if (p->fallback)
        buf_printf(out, "default %s", *p->fallback ? p->fallback : "\"\"");
    else
        buf_puts(out, "not set by default");
}

static void put_param(struct buf *out, const struct param_def *p)
{
    buf_printf(out, "  %s: ", p->name);
    put_default(out, p);
    buf_puts(out, "\n      ");
    struct buf text = {0};
    param_describe(&text, p);
    if (p->flags & PARAM_NOKEY)
        buf_puts(&text, "; does not change the result");
    if (p->help && *p->help)
        buf_printf(&text, ". %s", p->help);
    put_wrapped(out, text.p ? text.p : "", 6, 6);
    out->failed |= text.failed;
    buf_release(&text);
    buf_putc(out, '\n');
}

void opdoc_text(struct buf *out, const struct op *op)
{
    buf_printf(out, "%s (version %d): %s\n", op->name, op->version, op->summary ? op->summary : "");
    if (op->doc && *op->doc) {
        buf_putc(out, '\n');
        put_paragraphs(out, op->doc, 0);
    }
    put_ports(out, "Inputs", op->inputs);
    put_ports(out, "Outputs", op->outputs);
    if (op_param_count(op))
        buf_puts(out, "\nParameters\n");
    for (size_t i = 0; i < op_param_count(op); i++)
        put_param(out, &op->params[i]);
}

static void put_signature(struct buf *out, const struct op *op)
{
    for (const struct port_def *p = op->inputs; p && p->name; p++)
        buf_printf(out, "%s%s%s%s", p == op->inputs ? "" : ", ", p->name, p->flags & PORT_OPTIONAL ? "?" : "",
                   p->flags & PORT_VARIADIC ? "..." : "");
    buf_puts(out, port_count(op->inputs) ? " -> " : "-> ");
    for (const struct port_def *p = op->outputs; p && p->name; p++)
        buf_printf(out, "%s%s", p == op->outputs ? "" : ", ", p->name);
    if (!port_count(op->outputs))
        buf_puts(out, "nothing");
}

void opdoc_list(struct buf *out, const struct op *const *ops)
{
    for (; *ops; ops++) {
        buf_printf(out, "%-14s %s\n%-14s ", (*ops)->name, (*ops)->summary ? (*ops)->summary : "", "");
        put_signature(out, *ops);
        buf_putc(out, '\n');
    }
}

/* ---- Markdown ---- */

/* Text inside a table cell. */
static void put_cell(struct buf *out, const char *text)
{
    for (; text && *text; text++)
        if (*text == '|')
            buf_puts(out, "\\|");
        else
            buf_putc(out, *text == '\n' ? ' ' : *text);
}

static void markdown_ports(struct buf *out, const char *title, const struct port_def *ports)
{
    if (!port_count(ports))
        return;
    buf_printf(out, "\n| %s | type | |\n|---|---|---|\n", title);
    for (; ports->name; ports++) {
        buf_printf(out, "| `%s` | ", ports->name);
        put_type(out, ports->type);
        if (ports->flags & PORT_OPTIONAL)
            buf_puts(out, ", optional");
        if (ports->flags & PORT_VARIADIC)
            buf_puts(out, ", any number");
        buf_puts(out, " | ");
        put_cell(out, ports->help);
        buf_puts(out, " |\n");
    }
}

static void markdown_params(struct buf *out, const struct op *op)
{
    size_t n = op_param_count(op);
    if (n)
        buf_puts(out, "\n| parameter | default | value | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < n; i++) {
        const struct param_def *p = &op->params[i];
        struct buf text = {0};
        param_describe(&text, p);
        buf_printf(out, "| `%s` | ", p->name);
        if (p->flags & PARAM_REQUIRED)
            buf_puts(out, "required");
        else if (p->fallback)
            buf_printf(out, "`%s`", p->fallback);
        buf_puts(out, " | ");
        put_cell(out, text.p);
        buf_puts(out, " | ");
        put_cell(out, p->help);
        buf_puts(out, p->flags & PARAM_NOKEY ? " (not part of the key) |\n" : " |\n");
        out->failed |= text.failed;
        buf_release(&text);
    }
}

void opdoc_markdown(struct buf *out, const struct op *op)
{
    buf_printf(out, "## %s\n\n%s (version %d)\n", op->name, op->summary ? op->summary : "", op->version);
    if (op->doc && *op->doc)
        buf_printf(out, "\n%s\n", op->doc);
    markdown_ports(out, "input", op->inputs);
    markdown_ports(out, "output", op->outputs);
    markdown_params(out, op);
    buf_putc(out, '\n');
}

/* ---- JSON ---- */

static void set_text(struct js *j, const char *key, const char *text)
{
    if (text && *text)
        js_set(j, key, js_new_cstr(text));
}

/* "a|b" as ["a", "b"] */
static struct js *split(const char *list)
{
    struct js *a = js_array();
    for (const char *p = list; a && p; p = strchr(p, '|')) {
        p += *p == '|';
        js_push(a, js_new_str((struct str){p, strcspn(p, "|")}));
    }
    return a;
}

static struct js *ports_json(const struct port_def *ports)
{
    struct js *a = js_array();
    for (; a && ports && ports->name; ports++) {
        struct js *j = js_object();
        set_text(j, "name", ports->name);
        js_set(j, "types", split(ports->type));
        set_text(j, "help", ports->help);
        js_set(j, "optional", js_new_bool(ports->flags & PORT_OPTIONAL));
        js_set(j, "variadic", js_new_bool(ports->flags & PORT_VARIADIC));
        js_push(a, j);
    }
    return a;
}

struct js *opdoc_default(const struct param_def *p)
{
    struct arena arena = {0};
    struct param_value v = {0};
    struct err e;
    struct js *j = p->type == PARAM_PATH || param_fallback(p, "", &arena, &v, &e) ? js_new_cstr(p->fallback) : NULL;
    if (!j)
        j = v.set ? param_json(p, &v) : js_new_cstr(p->fallback);
    if (p->type == PARAM_MAP && v.set)
        js_free(v.map);
    arena_release(&arena);
    return j;
}

static struct js *param_doc(const struct param_def *p)
{
    struct js *j = js_object();
    set_text(j, "name", p->name);
    set_text(j, "type", param_type_name(p->type));
    set_text(j, "help", p->help);
    if (p->fallback)
        js_set(j, "default", opdoc_default(p));
    if (p->choices)
        js_set(j, "choices", split(p->choices));
    set_text(j, "unset", p->unset);
    if (p->min < p->max) {
        js_set(j, "min", js_new_num(p->min));
        js_set(j, "max", js_new_num(p->max));
    }
    js_set(j, "required", js_new_bool(p->flags & PARAM_REQUIRED));
    js_set(j, "key", js_new_bool(!(p->flags & PARAM_NOKEY)));
    return j;
}

struct js *opdoc_json(const struct op *op)
{
    struct js *j = js_object(), *params = js_array();
    for (size_t i = 0; params && i < op_param_count(op); i++)
        js_push(params, param_doc(&op->params[i]));
    if (!j || !params) {
        js_free(j);
        js_free(params);
        return NULL;
    }
    set_text(j, "name", op->name);
    js_set(j, "version", js_new_int(op->version));
    set_text(j, "summary", op->summary);
    set_text(j, "doc", op->doc);
    js_set(j, "inputs", ports_json(op->inputs));
    js_set(j, "outputs", ports_json(op->outputs));
    js_set(j, "params", params);
    return j;
}

struct js *opdoc_list_json(const struct op *const *ops)
{
    struct js *a = js_array();
    for (; a && *ops; ops++)
        js_push(a, opdoc_json(*ops));
    return a;
}
