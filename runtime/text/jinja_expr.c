/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "runtime/text/jinja_parts.h"
#include "runtime/text/utf8.h"

enum { EVAL_DEPTH = 600, STEPS = 20000000 };

static int undefined_use(struct run *r, int line, const struct val *v, const char *what)
{
    return run_fail(r, line, ERR_INPUT, "\"%.*s\" is undefined, and the template %s", (int)(v->s.n < 60 ? v->s.n : 60), v->s.p ? v->s.p : "", what);
}

/* ---- operators ---- */

static int wrong_types(struct run *r, const struct node *n, const struct val *a, const struct val *b)
{
    if (a->kind == V_UNDEFINED || b->kind == V_UNDEFINED)
        return undefined_use(r, n->line, a->kind == V_UNDEFINED ? a : b, "computes with it");
    return run_fail(r, n->line, ERR_INPUT, "%s %.*s %s cannot be computed", val_type(a), (int)n->s.n, n->s.p, val_type(b));
}

static int join_texts(struct run *r, struct str a, struct str b, struct val *out)
{
    char *p = run_alloc(r, a.n + b.n + 1);
    if (!p)
        return r->e->code;
    if (a.n)
        memcpy(p, a.p, a.n);
    if (b.n)
        memcpy(p + a.n, b.p, b.n);
    *out = val_str((struct str){p, a.n + b.n});
    return 0;
}

static int as_text(struct run *r, const struct val *v, struct val *out)
{
    struct buf b = {0};
    if (v->kind == V_STR) {
        *out = *v;
        return 0;
    }
    val_print(&b, v);
    int rc = val_copy_str(r, &b, out);
    buf_release(&b);
    return rc;
}

/* x * n of a text or a list */
static int repeat(struct run *r, const struct val *x, int64_t times, struct val *out)
{
    size_t each = x->kind == V_STR ? x->s.n : x->l->n, n = times > 0 && each ? (size_t)times : 0;
    if (n > ((size_t)1 << 28) / (each ? each : 1))
        return err_set(r->e, ERR_INPUT, "%s: a repetition is too long", r->t->what);
    if (x->kind == V_STR) {
        char *p = run_alloc(r, n * each + 1);
        if (!p)
            return r->e->code;
        for (size_t i = 0; i < n; i++)
            memcpy(p + i * each, x->s.p, each);
        *out = val_str((struct str){p, n * each});
        return 0;
    }
    int rc = val_list(r, out);
    for (size_t i = 0; rc == 0 && i < n * each; i++)
        rc = list_push(r, out->l, x->l->v[i % each]);
    return rc;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

static int whole(struct run *r, const struct node *n, int64_t a, int64_t b, struct val *out)
{
    bool divides = str_is(n->s, "//") || str_is(n->s, "%"), over = false;
    int64_t x = 1;
    if (divides && (b == 0 || (b == -1 && a == INT64_MIN)))
        return run_fail(r, n->line, ERR_INPUT, "a division by zero");
    if (str_is(n->s, "+"))
        over = __builtin_add_overflow(a, b, &x);
    else if (str_is(n->s, "-"))
        over = __builtin_sub_overflow(a, b, &x);
    else if (str_is(n->s, "*"))
        over = __builtin_mul_overflow(a, b, &x);
    else if (str_is(n->s, "//"))
        x = floor_div(a, b);
    else if (str_is(n->s, "%"))
        x = a - floor_div(a, b) * b;
    else /* ** with b >= 0 */
        for (int64_t i = 0; i < b && !over && i < 64 + (b & 1); i++)
            over = __builtin_mul_overflow(x, a, &x);
    if (over)
        return run_fail(r, n->line, ERR_INPUT, "a number beyond 64 bits");
    *out = val_int(x);
    return 0;
}

static int real(struct run *r, const struct node *n, double a, double b, struct val *out)
{
    char op = n->s.n == 2 ? (n->s.p[0] == '/' ? 'd' : '^') : n->s.p[0];
    if (b == 0 && (op == '/' || op == 'd' || op == '%'))
        return run_fail(r, n->line, ERR_INPUT, "a division by zero");
    double x = op == '+'   ? a + b
               : op == '-' ? a - b
               : op == '*' ? a * b
               : op == '/' ? a / b
               : op == 'd' ? floor(a / b)
               : op == '%' ? a - floor(a / b) * b
                           : pow(a, b);
    *out = (struct val){.kind = V_FLOAT, .f = x};
    return 0;
}

static int binary(struct run *r, const struct node *n, const struct val *a, const struct val *b, struct val *out)
{
    double x, y;
    if (str_is(n->s, "~")) {
        struct val s, t;
        int rc = as_text(r, a, &s);
        if (rc == 0)
            rc = as_text(r, b, &t);
        return rc == 0 ? join_texts(r, s.s, t.s, out) : rc;
    }
    if (val_number(a, &x) && val_number(b, &y)) {
        bool exact = a->kind != V_FLOAT && b->kind != V_FLOAT && !str_is(n->s, "/") && !(str_is(n->s, "**") && y < 0);
        int64_t i = a->kind == V_BOOL ? a->b : a->kind == V_INT ? a->i : 0, k = b->kind == V_BOOL ? b->b : b->kind == V_INT ? b->i : 0;
        return exact ? whole(r, n, i, k, out) : real(r, n, x, y, out);
    }
    if (str_is(n->s, "+") && a->kind == V_STR && b->kind == V_STR)
        return join_texts(r, a->s, b->s, out);
    if (str_is(n->s, "+") && a->kind == V_LIST && b->kind == V_LIST) {
        int rc = val_list(r, out);
        for (size_t i = 0; rc == 0 && i < a->l->n + b->l->n; i++)
            rc = list_push(r, out->l, i < a->l->n ? a->l->v[i] : b->l->v[i - a->l->n]);
        return rc;
    }
    bool sequence = a->kind == V_STR || a->kind == V_LIST;
    if (str_is(n->s, "*") && sequence && (b->kind == V_INT || b->kind == V_BOOL))
        return repeat(r, a, b->kind == V_INT ? b->i : b->b, out);
    if (str_is(n->s, "%") && a->kind == V_STR)
        return run_fail(r, n->line, ERR_UNSUPPORTED, "formatting with %% is not supported");
    return wrong_types(r, n, a, b);
}

static bool contains_text(struct str s, struct str part)
{
    return part.n == 0 || (s.n >= part.n && memmem(s.p, s.n, part.p, part.n));
}

static int membership(struct run *r, const struct node *n, const struct val *a, const struct val *b, bool *out)
{
    *out = false;
    if (b->kind == V_STR) {
        if (a->kind != V_STR)
            return wrong_types(r, n, a, b);
        *out = contains_text(b->s, a->s);
    } else if (b->kind == V_DICT || b->kind == V_LOOP) {
        *out = a->kind == V_STR && dict_get(b->d, a->s);
    } else if (b->kind == V_LIST) {
        for (size_t i = 0; i < b->l->n && !*out; i++)
            *out = val_equal(a, &b->l->v[i]);
    } else if (b->kind != V_UNDEFINED) {
        return wrong_types(r, n, a, b);
    }
    return 0;
}

static int compare_two(struct run *r, const struct node *n, const struct val *a, const struct val *b, bool *out)
{
    int c = 0;
    if (str_is(n->s, "==") || str_is(n->s, "!=")) {
        *out = val_equal(a, b) == str_is(n->s, "==");
        return 0;
    }
    if (str_ends(n->s, "in")) {
        int rc = membership(r, n, a, b, out);
        *out ^= str_starts(n->s, "not");
        return rc;
    }
    if (a->kind == V_UNDEFINED || b->kind == V_UNDEFINED)
        return wrong_types(r, n, a, b);
    int rc = val_order(r, n->line, a, b, &c);
    *out = (c < 0 && n->s.p[0] == '<') || (c > 0 && n->s.p[0] == '>') || (c == 0 && n->s.n == 2);
    return rc;
}

static int compare(struct run *r, const struct node *n, struct val *out)
{
    struct val a, b;
    bool yes = true;
    int rc = eval(r, n->a, &a);
    for (const struct node *x = n->list; rc == 0 && x && yes; x = x->next) {
        rc = eval(r, x->b, &b);
        if (rc == 0)
            rc = compare_two(r, x, &a, &b, &yes);
        a = b;
    }
    *out = val_bool(yes);
    return rc;
}

/* ---- attributes and items ---- */

int eval_attribute(struct run *r, int line, const struct val *v, struct str name, struct val *out)
{
    *out = val_undefined(name);
    if (v->kind == V_UNDEFINED)
        return undefined_use(r, line, v, "asks for a part of it");
    if (v->kind == V_DICT || v->kind == V_NAMESPACE || v->kind == V_LOOP) {
        const struct val *x = dict_get(v->d, name);
        if (x)
            *out = *x;
    }
    return 0;
}

/* Byte offset of character i. */
static size_t char_at(struct str s, size_t i)
{
    size_t k = 0;
    while (i-- && k < s.n)
        k += utf8_len(s.p[k]);
    return k < s.n ? k : s.n;
}

static int item(struct run *r, const struct node *n, const struct val *v, const struct val *key, struct val *out)
{
    *out = val_undefined(key->kind == V_STR ? key->s : STR("item"));
    if (v->kind == V_UNDEFINED)
        return undefined_use(r, n->line, v, "asks for a part of it");
    if (key->kind == V_STR)
        return eval_attribute(r, n->line, v, key->s, out);
    if (key->kind != V_INT || (v->kind != V_LIST && v->kind != V_STR))
        return 0;
    int64_t size = v->kind == V_LIST ? (int64_t)v->l->n : (int64_t)text_length(v->s), i = key->i < 0 ? key->i + size : key->i;
    if (i < 0 || i >= size)
        return 0;
    if (v->kind == V_LIST) {
        *out = v->l->v[i];
    } else {
        size_t from = char_at(v->s, (size_t)i);
        *out = val_str((struct str){v->s.p + from, utf8_len(v->s.p[from])});
    }
    return 0;
}

static int bound(struct run *r, const struct node *n, bool *given, int64_t *out)
{
    struct val v = {.kind = V_NONE};
    int rc = n ? eval(r, n, &v) : 0;
    *given = v.kind == V_INT;
    *out = v.kind == V_INT ? v.i : 0;
    if (rc == 0 && v.kind != V_INT && v.kind != V_NONE)
        return run_fail(r, n->line, ERR_INPUT, "%s as a limit of a slice", val_type(&v));
    return rc;
}

/* Python's rule for the limits of a slice. */
static int64_t clamp(int64_t i, int64_t size, bool back)
{
    i += i < 0 ? size : 0;
    return i < 0 ? (back ? -1 : 0) : i >= size ? (back ? size - 1 : size) : i;
}

static int slice(struct run *r, const struct node *n, const struct val *v, struct val *out)
{
    bool has_from, has_to, has_step;
    int64_t from, to, step;
    int rc = bound(r, n->b, &has_from, &from);
    if (rc == 0)
        rc = bound(r, n->c, &has_to, &to);
    if (rc == 0)
        rc = bound(r, n->list, &has_step, &step);
    if (rc < 0)
        return rc;
    step = has_step ? step : 1;
    if (v->kind != V_LIST && v->kind != V_STR)
        return v->kind == V_UNDEFINED ? undefined_use(r, n->line, v, "asks for a part of it") : run_fail(r, n->line, ERR_INPUT, "a slice of %s", val_type(v));
    if (step == 0)
        return run_fail(r, n->line, ERR_INPUT, "a slice with the step 0");
    struct list *l;
    struct buf text = {0};
    if ((rc = val_items(r, n->line, v, &l)) < 0)
        return rc;
    int64_t size = (int64_t)l->n;
    from = has_from ? clamp(from, size, step < 0) : step < 0 ? size - 1 : 0;
    to = has_to ? clamp(to, size, step < 0) : step < 0 ? -1 : size;
    if (v->kind == V_LIST)
        rc = val_list(r, out);
    step = step > size ? size + 1 : step < -size ? -size - 1 : step;
    for (int64_t i = from; rc == 0 && (step > 0 ? i < to : i > to); i += step) {
        if (v->kind == V_LIST)
            rc = list_push(r, out->l, l->v[i]);
        else
            buf_str(&text, l->v[i].s);
    }
    if (rc == 0 && v->kind == V_STR)
        rc = val_copy_str(r, &text, out);
    buf_release(&text);
    return rc;
}

/* ---- calls ---- */

int eval_args(struct run *r, const struct node *args, struct call_args *out)
{
    out->n = 0;
    for (const struct node *x = args; x; x = x->next) {
        if (out->n == sizeof out->v / sizeof *out->v)
            return run_fail(r, x->line, ERR_UNSUPPORTED, "more than %zu arguments", out->n);
        int rc = eval(r, x->a, &out->v[out->n]);
        if (rc < 0)
            return rc;
        out->name[out->n++] = x->s;
    }
    return 0;
}

static int call_value(struct run *r, const struct node *n, const struct val *f, const struct call_args *a, struct val *out)
{
    struct str name = n->a->s;
    if (f->kind == V_MACRO)
        return call_macro(r, n->line, f->m, a, out);
    if (f->kind == V_FUNCTION)
        return call_function(r, n->line, f->s, a, out);
    if (str_is(name, "strftime_now"))
        return run_fail(r, n->line, ERR_UNSUPPORTED,
                        "strftime_now writes today's date, so that every day would have another text; write the date into a copy of the template "
                        "and give that file as template");
    return run_fail(r, n->line, ERR_UNSUPPORTED, "\"%.*s\" is called, which %s", (int)(name.n < 60 ? name.n : 60), name.p ? name.p : "",
                    f->kind == V_UNDEFINED ? "is no function known here" : "is no function");
}

static int call(struct run *r, const struct node *n, struct val *out)
{
    struct call_args a;
    struct val self, f;
    int rc = eval_args(r, n->list, &a);
    if (rc < 0)
        return rc;
    if (n->a->kind != N_ATTR) {
        rc = eval(r, n->a, &f);
        return rc == 0 ? call_value(r, n, &f, &a, out) : rc;
    }
    rc = eval(r, n->a->a, &self);
    if (rc == 0)
        rc = call_method(r, n->line, &self, n->a->s, &a, out);
    if (rc != ERR_NOTFOUND)
        return rc;
    rc = eval_attribute(r, n->line, &self, n->a->s, &f);
    if (rc == 0 && f.kind == V_UNDEFINED)
        return run_fail(r, n->line, ERR_UNSUPPORTED, "the method \"%.*s\" of %s is not supported", (int)(n->a->s.n < 60 ? n->a->s.n : 60), n->a->s.p, val_type(&self));
    return rc == 0 ? call_value(r, n, &f, &a, out) : rc;
}

/* ---- the tree ---- */

static int name(struct run *r, const struct node *n, struct val *out)
{
    const struct val *v = run_lookup(r, n->s);
    if (v)
        *out = *v;
    else if (function_known(n->s))
        *out = (struct val){.kind = V_FUNCTION, .s = n->s};
    else
        *out = val_undefined(n->s);
    return 0;
}

static int list_literal(struct run *r, const struct node *n, struct val *out)
{
    int rc = val_list(r, out);
    if (rc == 0)
        out->l->tuple = n->s.n > 0;
    for (const struct node *x = n->list; rc == 0 && x; x = x->next) {
        struct val v;
        rc = eval(r, x, &v);
        if (rc == 0)
            rc = list_push(r, out->l, v);
    }
    return rc;
}

static int dict_literal(struct run *r, const struct node *n, struct val *out)
{
    int rc = val_dict(r, out);
    for (const struct node *x = n->list; rc == 0 && x; x = x->next) {
        struct val k, v;
        rc = eval(r, x->a, &k);
        if (rc == 0)
            rc = eval(r, x->b, &v);
        if (rc == 0 && k.kind != V_STR)
            rc = run_fail(r, x->line, ERR_UNSUPPORTED, "a dict whose key is %s", val_type(&k));
        if (rc == 0)
            rc = dict_set(r, out->d, k.s, v);
    }
    return rc;
}

static int unary(struct run *r, const struct node *n, struct val *out)
{
    struct val v;
    double x;
    int rc = eval(r, n->a, &v);
    if (rc < 0)
        return rc;
    if (!val_number(&v, &x))
        return run_fail(r, n->line, ERR_INPUT, "%.*s of %s", (int)n->s.n, n->s.p, val_type(&v));
    bool minus = str_is(n->s, "-");
    if (v.kind == V_FLOAT)
        *out = (struct val){.kind = V_FLOAT, .f = minus ? -x : x};
    else
        *out = val_int(minus ? -(int64_t)x : (int64_t)x);
    if (v.kind == V_INT && !(minus && v.i == INT64_MIN))
        *out = val_int(minus ? -v.i : v.i);
    return 0;
}

static int junction(struct run *r, const struct node *n, struct val *out)
{
    int rc = eval(r, n->a, out);
    return rc == 0 && val_true(out) == (n->kind == N_AND) ? eval(r, n->b, out) : rc;
}

static int apply(struct run *r, const struct node *n, struct val *out)
{
    struct call_args a;
    struct val v;
    bool yes = false;
    int rc = eval(r, n->a, &v);
    if (rc == 0)
        rc = eval_args(r, n->list, &a);
    if (rc < 0)
        return rc;
    if (n->kind == N_FILTER)
        return apply_filter(r, n->line, n->s, &v, &a, out);
    rc = apply_test(r, n->line, n->s, &v, &a, &yes);
    *out = val_bool(yes);
    return rc;
}

static int with_two(struct run *r, const struct node *n, struct val *out)
{
    struct val a, b;
    int rc = eval(r, n->a, &a);
    if (rc == 0)
        rc = eval(r, n->b, &b);
    if (rc < 0)
        return rc;
    return n->kind == N_BINARY ? binary(r, n, &a, &b, out) : item(r, n, &a, &b, out);
}

static int with_one(struct run *r, const struct node *n, struct val *out)
{
    struct val a;
    int rc = eval(r, n->kind == N_COND ? n->b : n->a, &a);
    if (rc < 0)
        return rc;
    if (n->kind == N_NOT)
        *out = val_bool(!val_true(&a));
    else if (n->kind == N_ATTR)
        return eval_attribute(r, n->line, &a, n->s, out);
    else if (n->kind == N_SLICE)
        return slice(r, n, &a, out);
    else if (val_true(&a))
        return eval(r, n->a, out);
    else if (n->c)
        return eval(r, n->c, out);
    else
        *out = val_undefined(STR(""));
    return 0;
}

static int eval_kind(struct run *r, const struct node *n, struct val *out)
{
    switch (n->kind) {
    case N_LITERAL: *out = n->value; return 0;
    case N_NAME: return name(r, n, out);
    case N_LIST: return list_literal(r, n, out);
    case N_DICT: return dict_literal(r, n, out);
    case N_UNARY: return unary(r, n, out);
    case N_BINARY:
    case N_ITEM: return with_two(r, n, out);
    case N_AND:
    case N_OR: return junction(r, n, out);
    case N_COMPARE: return compare(r, n, out);
    case N_NOT:
    case N_ATTR:
    case N_SLICE:
    case N_COND: return with_one(r, n, out);
    case N_FILTER:
    case N_TEST: return apply(r, n, out);
    case N_CALL: return call(r, n, out);
    default: return run_fail(r, n->line, ERR_INTERNAL, "a statement where an expression stands");
    }
}

int eval(struct run *r, const struct node *n, struct val *out)
{
    *out = (struct val){.kind = V_NONE};
    if (++r->steps > STEPS)
        return run_fail(r, n->line, ERR_INPUT, "the template takes too long: more than %d steps", STEPS);
    if (++r->depth > EVAL_DEPTH)
        return run_fail(r, n->line, ERR_INPUT, "the template is nested too deeply here");
    int rc = eval_kind(r, n, out);
    r->depth--;
    return rc;
}
