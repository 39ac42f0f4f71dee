/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/text/jinja_parts.h"
#include "runtime/text/utf8.h"

enum { MEMORY = 256 << 20 }; /* bytes of one rendering */

int run_fail(struct run *r, int line, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err_setv(r->e, code, fmt, ap);
    va_end(ap);
    return err_prefix(r->e, "%s: line %d", r->t->what, line);
}

void *run_alloc(struct run *r, size_t bytes)
{
    if (bytes > MEMORY || r->used > MEMORY - bytes) {
        err_set(r->e, ERR_INPUT, "%s: the template needs more than %d MiB of memory", r->t->what, MEMORY >> 20);
        return NULL;
    }
    r->used += bytes;
    void *p = arena_alloc(&r->mem, bytes ? bytes : 1);
    if (!p)
        err_nomem(r->e, bytes, "rendering a template");
    return p;
}

/* ---- making ---- */

struct val val_str(struct str s)
{
    return (struct val){.kind = V_STR, .s = s};
}

struct val val_int(int64_t i)
{
    return (struct val){.kind = V_INT, .i = i};
}

struct val val_bool(bool b)
{
    return (struct val){.kind = V_BOOL, .b = b};
}

struct val val_undefined(struct str name)
{
    return (struct val){.kind = V_UNDEFINED, .s = name};
}

int val_list(struct run *r, struct val *out)
{
    struct list *l = run_alloc(r, sizeof *l);
    *out = (struct val){.kind = V_LIST, .l = l};
    return l ? 0 : r->e->code;
}

int val_dict(struct run *r, struct val *out)
{
    struct dict *d = run_alloc(r, sizeof *d);
    *out = (struct val){.kind = V_DICT, .d = d};
    return d ? 0 : r->e->code;
}

int list_push(struct run *r, struct list *l, struct val v)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 8;
        struct val *more = run_alloc(r, cap * sizeof *more);
        if (!more)
            return r->e->code;
        if (l->n)
            memcpy(more, l->v, l->n * sizeof *more);
        l->v = more;
        l->cap = cap;
    }
    l->v[l->n++] = v;
    return 0;
}

const struct val *dict_get(const struct dict *d, struct str key)
{
    for (size_t i = 0; i < d->n; i++)
        if (str_eq(d->v[i].key, key))
            return &d->v[i].v;
    return NULL;
}

int dict_set(struct run *r, struct dict *d, struct str key, struct val v)
{
    struct val *old = (struct val *)(uintptr_t)dict_get(d, key);
    if (old) {
        *old = v;
        return 0;
    }
    if (d->n == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 8;
        struct dict_entry *more = run_alloc(r, cap * sizeof *more);
        if (!more)
            return r->e->code;
        if (d->n)
            memcpy(more, d->v, d->n * sizeof *more);
        d->v = more;
        d->cap = cap;
    }
    d->v[d->n++] = (struct dict_entry){key, v};
    return 0;
}

int val_copy_str(struct run *r, const struct buf *b, struct val *out)
{
    if (b->failed)
        return err_nomem(r->e, b->n, "rendering a template");
    char *p = run_alloc(r, b->n + 1);
    if (!p)
        return r->e->code;
    if (b->n)
        memcpy(p, b->p, b->n);
    *out = val_str((struct str){p, b->n});
    return 0;
}

int val_from_json(struct run *r, const struct js *j, int depth, struct val *out)
{
    int rc = 0;
    if (depth > JINJA_DEPTH)
        return err_set(r->e, ERR_INPUT, "%s: a value of the row is nested more than %d deep", r->t->what, JINJA_DEPTH);
    switch (js_kind(j)) {
    case JS_NONE: *out = val_undefined(STR("")); return 0;
    case JS_NULL: *out = (struct val){.kind = V_NONE}; return 0;
    case JS_BOOL: *out = val_bool(js_bool(j, false)); return 0;
    case JS_INT: *out = val_int(js_int(j, 0)); return 0;
    case JS_REAL: *out = (struct val){.kind = V_FLOAT, .f = js_num(j, 0)}; return 0;
    case JS_STRING: *out = val_str(js_str(j)); return 0;
    case JS_ARRAY:
        rc = val_list(r, out);
        for (size_t i = 0; rc == 0 && i < js_len(j); i++) {
            struct val v;
            rc = val_from_json(r, js_at(j, i), depth + 1, &v);
            if (rc == 0)
                rc = list_push(r, out->l, v);
        }
        return rc;
    case JS_OBJECT:
        rc = val_dict(r, out);
        for (void *it = js_iter(j); rc == 0 && it; it = js_next(j, it)) {
            struct val v;
            rc = val_from_json(r, js_iter_value(it), depth + 1, &v);
            if (rc == 0)
                rc = dict_set(r, out->d, str_of(js_iter_key(it)), v);
        }
        return rc;
    }
    return rc;
}

/* ---- asking ---- */

const char *val_type(const struct val *v)
{
    static const char *const names[] = {"undefined", "None", "bool", "int", "float", "str", "list", "dict", "namespace", "loop", "macro", "function"};
    return names[v->kind];
}

bool val_true(const struct val *v)
{
    switch (v->kind) {
    case V_UNDEFINED:
    case V_NONE: return false;
    case V_BOOL: return v->b;
    case V_INT: return v->i != 0;
    case V_FLOAT: return v->f != 0;
    case V_STR: return v->s.n != 0;
    case V_LIST: return v->l->n != 0;
    case V_DICT: return v->d->n != 0;
    default: return true;
    }
}

bool val_number(const struct val *v, double *out)
{
    *out = v->kind == V_BOOL ? (double)v->b : v->kind == V_INT ? (double)v->i : v->kind == V_FLOAT ? v->f : 0;
    return v->kind == V_BOOL || v->kind == V_INT || v->kind == V_FLOAT;
}

static bool equal_deep(const struct val *a, const struct val *b, int depth)
{
    double x, y;
    if (val_number(a, &x) && val_number(b, &y))
        return x == y;
    if (a->kind != b->kind || depth > JINJA_DEPTH)
        return false;
    switch (a->kind) {
    case V_UNDEFINED:
    case V_NONE: return true;
    case V_STR: return str_eq(a->s, b->s);
    case V_LIST:
        for (size_t i = 0; a->l->n == b->l->n && i < a->l->n; i++)
            if (!equal_deep(&a->l->v[i], &b->l->v[i], depth + 1))
                return false;
        return a->l->n == b->l->n;
    case V_DICT:
        for (size_t i = 0; a->d->n == b->d->n && i < a->d->n; i++) {
            const struct val *other = dict_get(b->d, a->d->v[i].key);
            if (!other || !equal_deep(&a->d->v[i].v, other, depth + 1))
                return false;
        }
        return a->d->n == b->d->n;
    default: return a->d == b->d;
    }
}

bool val_equal(const struct val *a, const struct val *b)
{
    return equal_deep(a, b, 0);
}

int val_order(struct run *r, int line, const struct val *a, const struct val *b, int *out)
{
    double x, y;
    if (val_number(a, &x) && val_number(b, &y)) {
        *out = (x > y) - (x < y);
        return 0;
    }
    if (a->kind == V_STR && b->kind == V_STR) {
        size_t n = a->s.n < b->s.n ? a->s.n : b->s.n;
        int c = n ? memcmp(a->s.p, b->s.p, n) : 0; /* UTF-8 sorts as code points */
        *out = c ? c : (a->s.n > b->s.n) - (a->s.n < b->s.n);
        return 0;
    }
    return run_fail(r, line, ERR_INPUT, "%s and %s cannot be ordered", val_type(a), val_type(b));
}

size_t text_length(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

int val_items(struct run *r, int line, const struct val *v, struct list **out)
{
    struct val l;
    int rc = 0;
    if (v->kind == V_LIST) {
        *out = v->l;
        return 0;
    }
    if (v->kind != V_DICT && v->kind != V_STR && v->kind != V_UNDEFINED)
        return run_fail(r, line, ERR_INPUT, "%s cannot be iterated", val_type(v));
    rc = val_list(r, &l);
    for (size_t i = 0; rc == 0 && v->kind == V_DICT && i < v->d->n; i++)
        rc = list_push(r, l.l, val_str(v->d->v[i].key));
    for (size_t i = 0, n; rc == 0 && v->kind == V_STR && i < v->s.n; i += n) {
        n = utf8_len(v->s.p[i]);
        n = n > v->s.n - i ? v->s.n - i : n;
        rc = list_push(r, l.l, val_str((struct str){v->s.p + i, n}));
    }
    *out = l.l;
    return rc;
}

/* ---- as text ---- */

/* Python's repr of a string, as far as templates show it: the quotes, backslashes and control characters. */
static void repr_str(struct buf *out, struct str s)
{
    char quote = s.n && memchr(s.p, '\'', s.n) && !memchr(s.p, '"', s.n) ? '"' : '\'';
    buf_putc(out, quote);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == quote || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c == '\n' || c == '\t' || c == '\r')
            buf_printf(out, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
        else if ((unsigned char)c < 0x20 || c == 0x7f)
            buf_printf(out, "\\x%02x", (unsigned)c);
        else
            buf_putc(out, c);
    }
    buf_putc(out, quote);
}

static void print_float(struct buf *out, double f)
{
    if (isnan(f) || isinf(f))
        buf_puts(out, isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
    else
        js_write_num(out, f);
}

void val_repr(struct buf *out, const struct val *v, int depth)
{
    if (depth > JINJA_DEPTH) {
        buf_puts(out, "...");
        return;
    }
    switch (v->kind) {
    case V_UNDEFINED: buf_puts(out, "Undefined"); break;
    case V_NONE: buf_puts(out, "None"); break;
    case V_BOOL: buf_puts(out, v->b ? "True" : "False"); break;
    case V_INT: buf_printf(out, "%lld", (long long)v->i); break;
    case V_FLOAT: print_float(out, v->f); break;
    case V_STR: repr_str(out, v->s); break;
    case V_LIST:
        buf_putc(out, v->l->tuple ? '(' : '[');
        for (size_t i = 0; i < v->l->n; i++) {
            buf_puts(out, i ? ", " : "");
            val_repr(out, &v->l->v[i], depth + 1);
        }
        buf_puts(out, !v->l->tuple ? "]" : v->l->n == 1 ? ",)" : ")");
        break;
    case V_DICT:
        buf_putc(out, '{');
        for (size_t i = 0; i < v->d->n; i++) {
            buf_puts(out, i ? ", " : "");
            repr_str(out, v->d->v[i].key);
            buf_puts(out, ": ");
            val_repr(out, &v->d->v[i].v, depth + 1);
        }
        buf_putc(out, '}');
        break;
    default: buf_printf(out, "<%s>", val_type(v));
    }
}

void val_print(struct buf *out, const struct val *v)
{
    if (v->kind == V_STR)
        buf_str(out, v->s);
    else if (v->kind != V_UNDEFINED)
        val_repr(out, v, 0);
}

static void json_str(struct buf *out, struct str s, bool ascii)
{
    struct buf plain = {0};
    js_write_str(&plain, s);
    out->failed |= plain.failed;
    for (size_t i = 0, n; i < plain.n; i += n) {
        uint32_t cp;
        n = utf8_next(plain.p + i, plain.n - i, &cp);
        n = n ? n : 1;
        if (!ascii || n == 1)
            buf_put(out, plain.p + i, n);
        else if (cp >= 0x10000)
            buf_printf(out, "\\u%04x\\u%04x", 0xd800 + ((cp - 0x10000) >> 10), 0xdc00 + ((cp - 0x10000) & 0x3ff));
        else
            buf_printf(out, "\\u%04x", cp);
    }
    buf_release(&plain);
}

static void json_break(struct buf *out, const struct json_style *style, int depth)
{
    if (style->indent < 0)
        return;
    buf_putc(out, '\n');
    for (int i = 0; i < style->indent * depth; i++)
        buf_putc(out, ' ');
}

/* The entry of d that follows the key `last` in order. */
static const struct dict_entry *next_sorted(const struct dict *d, const struct str *last)
{
    const struct dict_entry *best = NULL;
    for (size_t i = 0; i < d->n; i++) {
        struct str k = d->v[i].key;
        int after = !last ? 1 : memcmp(k.p, last->p, k.n < last->n ? k.n : last->n);
        if (last && (after < 0 || (after == 0 && k.n <= last->n)))
            continue;
        int c = !best ? -1 : memcmp(k.p, best->key.p, k.n < best->key.n ? k.n : best->key.n);
        if (c < 0 || (c == 0 && k.n < best->key.n))
            best = &d->v[i];
    }
    return best;
}

int val_json(struct run *r, int line, struct buf *out, const struct val *v, const struct json_style *style, int depth)
{
    int rc = 0;
    if (depth > JINJA_DEPTH)
        return run_fail(r, line, ERR_INPUT, "tojson of a value nested more than %d deep", JINJA_DEPTH);
    if (v->kind == V_STR) {
        json_str(out, v->s, style->ascii);
    } else if (v->kind == V_NONE || v->kind == V_BOOL) {
        buf_puts(out, v->kind == V_NONE ? "null" : v->b ? "true" : "false");
    } else if (v->kind == V_FLOAT && (isnan(v->f) || isinf(v->f))) {
        buf_puts(out, isnan(v->f) ? "NaN" : v->f > 0 ? "Infinity" : "-Infinity");
    } else if (v->kind == V_INT || v->kind == V_FLOAT) {
        val_repr(out, v, 0);
    } else if (v->kind == V_LIST) {
        buf_putc(out, '[');
        for (size_t i = 0; rc == 0 && i < v->l->n; i++) {
            if (i)
                buf_str(out, style->comma);
            json_break(out, style, depth + 1);
            rc = val_json(r, line, out, &v->l->v[i], style, depth + 1);
        }
        if (v->l->n)
            json_break(out, style, depth);
        buf_putc(out, ']');
    } else if (v->kind == V_DICT) {
        const struct dict_entry *x = NULL;
        buf_putc(out, '{');
        for (size_t i = 0; rc == 0 && i < v->d->n; i++) {
            x = style->sort ? next_sorted(v->d, x ? &x->key : NULL) : &v->d->v[i];
            if (i)
                buf_str(out, style->comma);
            json_break(out, style, depth + 1);
            json_str(out, x->key, style->ascii);
            buf_str(out, style->colon);
            rc = val_json(r, line, out, &x->v, style, depth + 1);
        }
        if (v->d->n)
            json_break(out, style, depth);
        buf_putc(out, '}');
    } else {
        return run_fail(r, line, ERR_INPUT, "tojson of %s", v->kind == V_UNDEFINED ? "an undefined value" : val_type(v));
    }
    return rc;
}
