/* SPDX-License-Identifier: MIT
 *
 * Filters and tests, by Jinja's names. Each is a function in a table at the end of its half.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/text/jinja_parts.h"
#include "runtime/text/utf8.h"

struct given {
    struct run *r;
    int line;
    struct str name;
    const struct call_args *a;
};

/* The argument at a position or under a keyword; NULL: not given. */
static const struct val *arg(const struct given *g, size_t i, const char *keyword)
{
    for (size_t k = 0; k < g->a->n; k++)
        if (g->a->name[k].n ? keyword && str_is(g->a->name[k], keyword) : k == i)
            return &g->a->v[k];
    return NULL;
}

static int refuse(const struct given *g, const struct val *v)
{
    return run_fail(g->r, g->line, ERR_INPUT, "the filter %.*s of %s", (int)g->name.n, g->name.p, v->kind == V_UNDEFINED ? "an undefined value" : val_type(v));
}

/* The value as text; Jinja's text filters take anything. */
static int text_of(const struct given *g, const struct val *v, struct str *out)
{
    struct buf b = {0};
    struct val s;
    if (v->kind == V_STR) {
        *out = v->s;
        return 0;
    }
    val_print(&b, v);
    int rc = val_copy_str(g->r, &b, &s);
    buf_release(&b);
    if (rc == 0)
        *out = s.s;
    return rc;
}

/* ---- of texts ---- */

static int f_trim(const struct given *g, const struct val *v, struct val *out)
{
    struct str s = STR("");
    if (g->a->n)
        return call_method(g->r, g->line, v, STR("strip"), g->a, out);
    int rc = text_of(g, v, &s);
    *out = val_str(utf8_strip(s));
    return rc;
}

/* The filters that are methods of strings. */
static int f_method(const struct given *g, const struct val *v, struct val *out)
{
    struct str s = STR("");
    int rc = text_of(g, v, &s);
    struct val text = val_str(s);
    return rc == 0 ? call_method(g->r, g->line, &text, g->name, g->a, out) : rc;
}

static int f_string(const struct given *g, const struct val *v, struct val *out)
{
    struct str s = STR("");
    int rc = text_of(g, v, &s);
    *out = val_str(s);
    return rc;
}

static int f_same(const struct given *g, const struct val *v, struct val *out)
{
    (void)g;
    *out = *v;
    return 0;
}

static int f_escape(const struct given *g, const struct val *v, struct val *out)
{
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    struct str s = STR("");
    struct buf b = {0};
    int rc = text_of(g, v, &s);
    for (size_t i = 0; rc == 0 && i < s.n; i++) {
        const char *k = memchr(from, s.p[i], sizeof from - 1);
        if (k)
            buf_puts(&b, to[k - from]);
        else
            buf_putc(&b, s.p[i]);
    }
    if (rc == 0)
        rc = val_copy_str(g->r, &b, out);
    buf_release(&b);
    return rc;
}

static int f_indent(const struct given *g, const struct val *v, struct val *out)
{
    const struct val *width = arg(g, 0, "width"), *first = arg(g, 1, "first"), *blank = arg(g, 2, "blank");
    struct str s = STR("");
    struct buf b = {0};
    int rc = text_of(g, v, &s);
    int64_t n = width && width->kind == V_INT ? width->i : 4;
    if (rc == 0 && (n < 0 || n > 1000))
        rc = run_fail(g->r, g->line, ERR_INPUT, "an indent of %lld", (long long)n);
    for (size_t i = 0; rc == 0 && i < s.n;) {
        const char *end = memchr(s.p + i, '\n', s.n - i);
        size_t k = end ? (size_t)(end - s.p) + 1 : s.n;
        bool empty = s.p[i] == '\n';
        if ((i ? !empty || (blank && val_true(blank)) : first && val_true(first)))
            for (int64_t x = 0; width && width->kind == V_STR ? x < 1 : x < n; x++)
                buf_str(&b, width && width->kind == V_STR ? width->s : STR(" "));
        buf_put(&b, s.p + i, k - i);
        i = k;
    }
    if (rc == 0)
        rc = val_copy_str(g->r, &b, out);
    buf_release(&b);
    return rc;
}

static int f_tojson(const struct given *g, const struct val *v, struct val *out)
{
    const struct val *indent = arg(g, 1, "indent"), *ascii = arg(g, 0, "ensure_ascii"), *sort = arg(g, 3, "sort_keys"), *marks = arg(g, 2, "separators");
    if (g->a->n && !g->a->name[0].n && g->a->v[0].kind == V_INT) { /* tojson(4), Jinja's own order */
        indent = &g->a->v[0];
        ascii = NULL;
    }
    bool broken = indent && indent->kind == V_INT && indent->i >= 0 && indent->i <= 100;
    struct json_style style = {.indent = broken ? (int)indent->i : -1, .sort = sort && val_true(sort), .ascii = ascii && val_true(ascii),
                               .comma = broken ? STR(",") : STR(", "), .colon = STR(": ")};
    if (marks && marks->kind == V_LIST && marks->l->n == 2 && marks->l->v[0].kind == V_STR && marks->l->v[1].kind == V_STR) {
        style.comma = marks->l->v[0].s;
        style.colon = marks->l->v[1].s;
    }
    struct buf b = {0};
    int rc = val_json(g->r, g->line, &b, v, &style, 0);
    if (rc == 0)
        rc = val_copy_str(g->r, &b, out);
    buf_release(&b);
    return rc;
}

/* ---- of numbers ---- */

/* A number, or a text that is one. */
static bool read_number(const struct val *v, double *x)
{
    char text[64], *end;
    struct str s = v->kind == V_STR ? utf8_strip(v->s) : STR("");
    if (v->kind != V_STR)
        return val_number(v, x);
    if (!s.n || s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    *x = strtod(text, &end);
    return !*end;
}

static int f_int(const struct given *g, const struct val *v, struct val *out)
{
    const struct val *otherwise = arg(g, 0, "default");
    double x = 0;
    *out = v->kind == V_INT ? *v : read_number(v, &x) && fabs(x) < 9e18 ? val_int((int64_t)x) : otherwise ? *otherwise : val_int(0);
    return 0;
}

static int f_float(const struct given *g, const struct val *v, struct val *out)
{
    const struct val *otherwise = arg(g, 0, "default");
    double x = 0;
    *out = read_number(v, &x) || !otherwise ? (struct val){.kind = V_FLOAT, .f = x} : *otherwise;
    return 0;
}

static int f_abs(const struct given *g, const struct val *v, struct val *out)
{
    double x;
    if (!val_number(v, &x) || (v->kind == V_INT && v->i == INT64_MIN))
        return refuse(g, v);
    *out = v->kind == V_FLOAT ? (struct val){.kind = V_FLOAT, .f = fabs(x)} : val_int(v->kind == V_INT && v->i < 0 ? -v->i : v->kind == V_INT ? v->i : v->b);
    return 0;
}

static int f_round(const struct given *g, const struct val *v, struct val *out)
{
    const struct val *digits = arg(g, 0, "precision"), *how = arg(g, 1, "method");
    double x, scale = pow(10, digits && digits->kind == V_INT ? (double)digits->i : 0);
    if (!val_number(v, &x))
        return refuse(g, v);
    bool up = how && how->kind == V_STR && str_is(how->s, "ceil"), down = how && how->kind == V_STR && str_is(how->s, "floor");
    *out = (struct val){.kind = V_FLOAT, .f = (up ? ceil(x * scale) : down ? floor(x * scale) : nearbyint(x * scale)) / scale};
    return 0;
}

/* ---- of sequences ---- */

static int f_length(const struct given *g, const struct val *v, struct val *out)
{
    if (v->kind != V_STR && v->kind != V_LIST && v->kind != V_DICT && v->kind != V_UNDEFINED)
        return refuse(g, v);
    *out = val_int(v->kind == V_STR ? (int64_t)text_length(v->s) : v->kind == V_LIST ? (int64_t)v->l->n : v->kind == V_DICT ? (int64_t)v->d->n : 0);
    return 0;
}

static int f_default(const struct given *g, const struct val *v, struct val *out)
{
    const struct val *otherwise = arg(g, 0, "default_value"), *falsy = arg(g, 1, "boolean");
    bool missing = v->kind == V_UNDEFINED || (falsy && val_true(falsy) && !val_true(v));
    *out = !missing ? *v : otherwise ? *otherwise : val_str(STR(""));
    return 0;
}

static int f_list(const struct given *g, const struct val *v, struct val *out)
{
    struct list *l;
    int rc = val_items(g->r, g->line, v, &l);
    if (rc == 0)
        rc = val_list(g->r, out);
    for (size_t i = 0; rc == 0 && i < l->n; i++)
        rc = list_push(g->r, out->l, l->v[i]);
    return rc;
}

static int f_end(const struct given *g, const struct val *v, struct val *out)
{
    struct list *l;
    int rc = val_items(g->r, g->line, v, &l);
    if (rc == 0)
        *out = l->n == 0 ? val_undefined(STR("the element of an empty sequence")) : str_is(g->name, "first") ? l->v[0] : l->v[l->n - 1];
    return rc;
}

static int f_reverse(const struct given *g, const struct val *v, struct val *out)
{
    struct list *l;
    struct buf b = {0};
    int rc = val_items(g->r, g->line, v, &l);
    if (rc == 0)
        rc = val_list(g->r, out);
    for (size_t i = rc == 0 ? l->n : 0; rc == 0 && i-- > 0;) {
        rc = list_push(g->r, out->l, l->v[i]);
        if (v->kind == V_STR)
            buf_str(&b, l->v[i].s);
    }
    if (rc == 0 && v->kind == V_STR)
        rc = val_copy_str(g->r, &b, out);
    buf_release(&b);
    return rc;
}

/* attribute="a.b": the value under it */
static int under(const struct given *g, const struct val *v, const struct val *attribute, struct val *out)
{
    *out = *v;
    if (!attribute)
        return 0;
    if (attribute->kind == V_INT && v->kind == V_LIST) {
        int64_t i = attribute->i;
        *out = i >= 0 && (size_t)i < v->l->n ? v->l->v[i] : val_undefined(STR("item"));
        return 0;
    }
    if (attribute->kind != V_STR)
        return run_fail(g->r, g->line, ERR_UNSUPPORTED, "an attribute that is %s", val_type(attribute));
    int rc = 0;
    struct str rest = attribute->s;
    while (rc == 0 && rest.n) {
        const char *dot = memchr(rest.p, '.', rest.n);
        struct str one = {rest.p, dot ? (size_t)(dot - rest.p) : rest.n};
        struct val at = *out;
        rc = eval_attribute(g->r, g->line, &at, one, out);
        rest.p += one.n + (dot != NULL);
        rest.n -= one.n + (dot != NULL);
    }
    return rc;
}

static int f_join(const struct given *g, const struct val *v, struct val *out)
{
    const struct val *between = arg(g, 0, "d"), *attribute = arg(g, 1, "attribute");
    struct list *l;
    struct buf b = {0};
    int rc = val_items(g->r, g->line, v, &l);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct val x;
        if (i && between)
            val_print(&b, between);
        rc = under(g, &l->v[i], attribute, &x);
        if (rc == 0)
            val_print(&b, &x);
    }
    if (rc == 0)
        rc = val_copy_str(g->r, &b, out);
    buf_release(&b);
    return rc;
}

static int f_map(const struct given *g, const struct val *v, struct val *out)
{
    const struct val *attribute = arg(g, SIZE_MAX, "attribute"), *otherwise = arg(g, SIZE_MAX, "default"), *name = arg(g, 0, NULL);
    struct call_args rest = {0};
    struct list *l;
    int rc = val_items(g->r, g->line, v, &l);
    if (rc == 0 && !attribute && (!name || name->kind != V_STR || !filter_known(name->s)))
        return run_fail(g->r, g->line, ERR_UNSUPPORTED, "map without attribute= or the name of a known filter");
    for (size_t k = 1; k < g->a->n && !attribute; k++) {
        rest.v[rest.n] = g->a->v[k];
        rest.name[rest.n++] = g->a->name[k];
    }
    if (rc == 0)
        rc = val_list(g->r, out);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct val x;
        rc = attribute ? under(g, &l->v[i], attribute, &x) : apply_filter(g->r, g->line, name->s, &l->v[i], &rest, &x);
        if (rc == 0 && x.kind == V_UNDEFINED && otherwise)
            x = *otherwise;
        if (rc == 0)
            rc = list_push(g->r, out->l, x);
    }
    return rc;
}

/* select, reject, selectattr, rejectattr */
static int f_select(const struct given *g, const struct val *v, struct val *out)
{
    bool by = str_ends(g->name, "attr"), keep = str_starts(g->name, "select");
    const struct val *attribute = by ? arg(g, 0, "attribute") : NULL, *test = arg(g, by, NULL);
    struct call_args rest = {0};
    struct list *l;
    int rc = val_items(g->r, g->line, v, &l);
    if (by && !attribute)
        return run_fail(g->r, g->line, ERR_INPUT, "%.*s needs the name of an attribute", (int)g->name.n, g->name.p);
    if (test && (test->kind != V_STR || !test_known(test->s)))
        return run_fail(g->r, g->line, ERR_UNSUPPORTED, "%.*s by a test that is not known", (int)g->name.n, g->name.p);
    for (size_t k = by + 1u; k < g->a->n; k++)
        rest.v[rest.n++] = g->a->v[k];
    if (rc == 0)
        rc = val_list(g->r, out);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct val x;
        bool yes = false;
        rc = under(g, &l->v[i], attribute, &x);
        if (rc == 0 && test)
            rc = apply_test(g->r, g->line, test->s, &x, &rest, &yes);
        else
            yes = rc == 0 && val_true(&x);
        if (rc == 0 && yes == keep)
            rc = list_push(g->r, out->l, l->v[i]);
    }
    return rc;
}

static int f_unique(const struct given *g, const struct val *v, struct val *out)
{
    struct list *l;
    int rc = val_items(g->r, g->line, v, &l);
    if (rc == 0)
        rc = val_list(g->r, out);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        bool seen = false;
        for (size_t k = 0; k < out->l->n && !seen; k++)
            seen = val_equal(&out->l->v[k], &l->v[i]);
        if (!seen)
            rc = list_push(g->r, out->l, l->v[i]);
    }
    return rc;
}

/* Insertion sort: stable, and lists in templates are short. Capital letters count as small unless case_sensitive. */
static int sorted(const struct given *g, struct list *l, const struct val *attribute, bool reverse)
{
    int rc = 0, c;
    for (size_t i = 1; rc == 0 && i < l->n; i++) {
        for (size_t k = i; rc == 0 && k; k--) {
            struct val a, b;
            struct call_args none = {0};
            rc = under(g, &l->v[k - 1], attribute, &a);
            if (rc == 0)
                rc = under(g, &l->v[k], attribute, &b);
            if (rc == 0 && a.kind == V_STR && b.kind == V_STR) {
                rc = call_method(g->r, g->line, &a, STR("lower"), &none, &a);
                if (rc == 0)
                    rc = call_method(g->r, g->line, &b, STR("lower"), &none, &b);
            }
            if (rc == 0)
                rc = val_order(g->r, g->line, &a, &b, &c);
            if (rc < 0 || (reverse ? c >= 0 : c <= 0))
                break;
            struct val t = l->v[k];
            l->v[k] = l->v[k - 1];
            l->v[k - 1] = t;
        }
        g->r->steps += i;
        if (l->n > 10000)
            return run_fail(g->r, g->line, ERR_INPUT, "sorting %zu elements in a template", l->n);
    }
    return rc;
}

static int f_sort(const struct given *g, const struct val *v, struct val *out)
{
    const struct val *reverse = arg(g, 0, "reverse"), *attribute = arg(g, 2, "attribute");
    int rc = f_list(g, v, out);
    return rc == 0 ? sorted(g, out->l, attribute, reverse && val_true(reverse)) : rc;
}

static int f_items(const struct given *g, const struct val *v, struct val *out)
{
    struct call_args none = {0};
    if (v->kind == V_UNDEFINED)
        return val_list(g->r, out);
    if (v->kind != V_DICT)
        return refuse(g, v);
    return call_method(g->r, g->line, v, STR("items"), &none, out);
}

static int f_dictsort(const struct given *g, const struct val *v, struct val *out)
{
    struct val first = val_int(0);
    int rc = f_items(g, v, out);
    return rc == 0 ? sorted(g, out->l, &first, false) : rc;
}

/* max, min, sum */
static int f_fold(const struct given *g, const struct val *v, struct val *out)
{
    const struct val *attribute = arg(g, str_is(g->name, "sum") ? 0 : 1, "attribute");
    struct list *l;
    bool sum = str_is(g->name, "sum"), real = false;
    double total = 0, x;
    int rc = val_items(g->r, g->line, v, &l), c = 0;
    *out = sum ? val_int(0) : val_undefined(STR("the largest of nothing"));
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct val y;
        rc = under(g, &l->v[i], attribute, &y);
        if (rc == 0 && sum) {
            if (!val_number(&y, &x))
                return refuse(g, &y);
            total += x;
            real |= y.kind == V_FLOAT;
        } else if (rc == 0 && i) {
            rc = val_order(g->r, g->line, &y, out, &c);
        }
        if (rc == 0 && !sum && (i == 0 || (str_is(g->name, "max") ? c > 0 : c < 0)))
            *out = y;
    }
    if (sum)
        *out = real || fabs(total) > 9e15 ? (struct val){.kind = V_FLOAT, .f = total} : val_int((int64_t)total);
    return rc;
}

static const struct {
    const char *name;
    int (*apply)(const struct given *g, const struct val *v, struct val *out);
} filters[] = {
    {"trim", f_trim},       {"upper", f_method},    {"lower", f_method},      {"title", f_method},      {"capitalize", f_method},
    {"replace", f_method},  {"string", f_string},   {"safe", f_same},         {"escape", f_escape},     {"e", f_escape},
    {"indent", f_indent},   {"tojson", f_tojson},   {"int", f_int},           {"float", f_float},       {"abs", f_abs},
    {"round", f_round},     {"length", f_length},   {"count", f_length},      {"default", f_default},   {"d", f_default},
    {"list", f_list},       {"first", f_end},       {"last", f_end},          {"reverse", f_reverse},   {"join", f_join},
    {"map", f_map},         {"select", f_select},   {"reject", f_select},     {"selectattr", f_select}, {"rejectattr", f_select},
    {"unique", f_unique},   {"sort", f_sort},       {"items", f_items},       {"dictsort", f_dictsort}, {"max", f_fold},
    {"min", f_fold},        {"sum", f_fold},
};

bool filter_known(struct str name)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (str_is(name, filters[i].name))
            return true;
    return false;
}

int apply_filter(struct run *r, int line, struct str name, const struct val *v, const struct call_args *a, struct val *out)
{
    struct given g = {r, line, name, a};
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (str_is(name, filters[i].name))
            return filters[i].apply(&g, v, out);
    return run_fail(r, line, ERR_UNSUPPORTED, "the filter \"%.*s\" is not supported", (int)name.n, name.p);
}

/* ---- tests ---- */

enum test_kind {
    T_DEFINED, T_UNDEFINED, T_NONE, T_BOOLEAN, T_TRUE, T_FALSE, T_INTEGER, T_FLOAT, T_NUMBER, T_STRING, T_MAPPING, T_SEQUENCE, T_ITERABLE, T_CALLABLE,
    T_ODD, T_EVEN, T_DIVISIBLE, T_EQ, T_NE, T_LT, T_LE, T_GT, T_GE, T_IN, T_LOWER, T_UPPER,
};

static const struct {
    const char *name;
    enum test_kind kind;
} tests[] = {
    {"defined", T_DEFINED}, {"undefined", T_UNDEFINED}, {"none", T_NONE}, {"boolean", T_BOOLEAN}, {"true", T_TRUE}, {"false", T_FALSE},
    {"integer", T_INTEGER}, {"float", T_FLOAT}, {"number", T_NUMBER}, {"string", T_STRING}, {"mapping", T_MAPPING}, {"sequence", T_SEQUENCE},
    {"iterable", T_ITERABLE}, {"callable", T_CALLABLE}, {"odd", T_ODD}, {"even", T_EVEN}, {"divisibleby", T_DIVISIBLE}, {"eq", T_EQ},
    {"equalto", T_EQ}, {"sameas", T_EQ}, {"ne", T_NE}, {"lt", T_LT}, {"lessthan", T_LT}, {"le", T_LE}, {"gt", T_GT}, {"greaterthan", T_GT},
    {"ge", T_GE}, {"in", T_IN}, {"lower", T_LOWER}, {"upper", T_UPPER},
};

bool test_known(struct str name)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (str_is(name, tests[i].name))
            return true;
    return false;
}

static bool is_kind(enum test_kind t, const struct val *v)
{
    double x;
    bool number = val_number(v, &x);
    switch (t) {
    case T_DEFINED: return v->kind != V_UNDEFINED;
    case T_UNDEFINED: return v->kind == V_UNDEFINED;
    case T_NONE: return v->kind == V_NONE;
    case T_BOOLEAN: return v->kind == V_BOOL;
    case T_TRUE: return v->kind == V_BOOL && v->b;
    case T_FALSE: return v->kind == V_BOOL && !v->b;
    case T_INTEGER: return v->kind == V_INT;
    case T_FLOAT: return v->kind == V_FLOAT;
    case T_NUMBER: return number;
    case T_STRING: return v->kind == V_STR;
    case T_MAPPING: return v->kind == V_DICT;
    case T_SEQUENCE:
    case T_ITERABLE: return v->kind == V_LIST || v->kind == V_DICT || v->kind == V_STR || v->kind == V_UNDEFINED;
    case T_CALLABLE: return v->kind == V_MACRO || v->kind == V_FUNCTION;
    default: return false;
    }
}

static int divisible(struct run *r, int line, enum test_kind t, const struct val *v, const struct val *other, bool *out)
{
    int64_t by = t == T_DIVISIBLE ? (other->kind == V_INT ? other->i : 0) : 2;
    if (v->kind != V_INT || by == 0)
        return run_fail(r, line, ERR_INPUT, "a test of divisibility of %s", val_type(v));
    *out = (by == -1 || v->i % by == 0) == (t != T_ODD);
    return 0;
}

int apply_test(struct run *r, int line, struct str name, const struct val *v, const struct call_args *a, bool *out)
{
    enum test_kind t = T_DEFINED;
    struct val none = {.kind = V_NONE};
    const struct val *other = a->n ? &a->v[0] : &none;
    int c = 0, rc = 0;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (str_is(name, tests[i].name))
            t = tests[i].kind;
    if (t <= T_CALLABLE) {
        *out = is_kind(t, v);
        return 0;
    }
    if (a->n == 0 && (t == T_DIVISIBLE || (t >= T_EQ && t <= T_IN)))
        return run_fail(r, line, ERR_INPUT, "the test %.*s needs a value", (int)name.n, name.p);
    if (t == T_ODD || t == T_EVEN || t == T_DIVISIBLE)
        return divisible(r, line, t, v, other, out);
    if (t == T_EQ || t == T_NE) {
        *out = val_equal(v, other) == (t == T_EQ);
        return 0;
    }
    if (t == T_IN) {
        struct list *l;
        *out = false;
        if (other->kind == V_STR && v->kind == V_STR) {
            *out = v->s.n == 0 || (other->s.n >= v->s.n && memmem(other->s.p, other->s.n, v->s.p, v->s.n));
            return 0;
        }
        rc = val_items(r, line, other, &l);
        for (size_t i = 0; rc == 0 && i < l->n && !*out; i++)
            *out = val_equal(v, &l->v[i]);
        return rc;
    }
    if (t == T_LOWER || t == T_UPPER) {
        struct call_args nothing = {0};
        struct val changed;
        *out = false;
        rc = v->kind == V_STR ? call_method(r, line, v, name, &nothing, &changed) : 0;
        *out = rc == 0 && v->kind == V_STR && str_eq(v->s, changed.s);
        return rc;
    }
    rc = val_order(r, line, v, other, &c);
    *out = t == T_LT ? c < 0 : t == T_LE ? c <= 0 : t == T_GT ? c > 0 : c >= 0;
    return rc;
}
