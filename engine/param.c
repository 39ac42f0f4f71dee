/* SPDX-License-Identifier: MIT */
#include "engine/param.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/yaml.h"
#include "runtime/base/fs.h"
#include "runtime/base/watch.h"

enum { DIGITS = 128 };

/* ---- text to number ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Copies a number's characters without `_`, which may stand between digits only. False: not the shape of a number. */
static bool number_text(struct str s, char *z)
{
    size_t n = 0;
    if (s.n == 0 || s.n >= DIGITS)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '_') {
            if (i == 0 || i + 1 == s.n || !is_digit(s.p[i - 1]) || !is_digit(s.p[i + 1]))
                return false;
        } else if (is_digit(c) || c == '.' || c == '+' || c == '-' || c == 'e' || c == 'E') {
            z[n++] = c;
        } else {
            return false;
        }
    }
    z[n] = 0;
    char first = z[0] == '+' || z[0] == '-' ? z[1] : z[0];
    return is_digit(first) || (first == '.' && is_digit(z[z[0] == '.' ? 1 : 2]));
}

bool parse_float(struct str s, double *v)
{
    char z[DIGITS], *end;
    if (!number_text(s, z))
        return false;
    *v = strtod(z, &end);
    return *end == 0 && isfinite(*v);
}

bool parse_int(struct str s, int64_t *v)
{
    char z[DIGITS], *end;
    if (!number_text(s, z))
        return false;
    errno = 0;
    long long i = strtoll(z, &end, 10);
    if (*end == 0) {
        *v = i;
        return errno == 0;
    }
    double f;
    if (!parse_float(s, &f) || f != floor(f) || fabs(f) > 0x1p53)
        return false;
    *v = (int64_t)f;
    return true;
}

struct unit {
    const char *name;
    double factor;
};

/* Splits "16GiB" into number and factor; a bare number has factor 1. */
static bool number_unit(struct str s, const struct unit *units, double *v, double *factor, struct str *number)
{
    size_t n = s.n;
    while (n && ((s.p[n - 1] >= 'a' && s.p[n - 1] <= 'z') || (s.p[n - 1] >= 'A' && s.p[n - 1] <= 'Z')))
        n--;
    struct str u = {s.p + n, s.n - n};
    *number = str_trim((struct str){s.p, n});
    *factor = u.n ? 0 : 1;
    for (; u.n && units->name && *factor == 0; units++)
        if (str_is(u, units->name))
            *factor = units->factor;
    return *factor != 0 && parse_float(*number, v);
}

bool parse_size(struct str s, int64_t *v)
{
    static const struct unit units[] = {
        {"B", 1}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6},
        {"GB", 1e9}, {"TB", 1e12}, {"K", 0x1p10}, {"M", 0x1p20}, {"G", 0x1p30}, {"T", 0x1p40}, {NULL, 0},
    };
    double f, factor;
    struct str number;
    if (parse_int(s, v))
        return *v >= 0;
    if (!number_unit(s, units, &f, &factor, &number))
        return false;
    f *= factor;
    if (f < 0 || f > 0x1p62 || f != floor(f))
        return false;
    *v = (int64_t)f;
    return true;
}

bool parse_duration(struct str s, double *v)
{
    static const struct unit units[] = {
        {"ms", 1e-3}, {"s", 1}, {"sec", 1}, {"min", 60}, {"m", 60}, {"h", 3600}, {"d", 86400}, {NULL, 0},
    };
    double factor;
    struct str number;
    if (!number_unit(s, units, v, &factor, &number))
        return false;
    *v *= factor;
    return *v >= 0 && isfinite(*v);
}

/* ---- messages ---- */

const char *param_type_name(enum param_type t)
{
    switch (t) {
    case PARAM_BOOL: return "boolean";
    case PARAM_INT: return "integer";
    case PARAM_FLOAT: return "number";
    case PARAM_STRING: return "text";
    case PARAM_ENUM: return "choice";
    case PARAM_PATH: return "path";
    case PARAM_SIZE: return "size";
    case PARAM_DURATION: return "duration";
    case PARAM_INTS: return "list of integers";
    case PARAM_STRINGS: return "list of strings";
    case PARAM_MAP: return "mapping";
    }
    return "value";
}

static void put_choices(struct buf *out, const char *choices)
{
    for (const char *p = choices; *p; p++)
        if (*p == '|')
            buf_puts(out, ", ");
        else
            buf_putc(out, *p);
}

static void put_bound(struct buf *out, const struct param_def *d, double v)
{
    if (d->type == PARAM_FLOAT || d->type == PARAM_DURATION)
        buf_printf(out, "%.6g", v);
    else
        buf_printf(out, "%.0f", v);
}

static void put_range(struct buf *out, const struct param_def *d)
{
    if (!(d->min < d->max))
        return;
    bool low = d->min > -1e15, high = d->max < 1e15;
    if (low) {
        buf_puts(out, high ? " from " : " of at least ");
        put_bound(out, d, d->min);
    }
    if (high) {
        buf_puts(out, low ? " to " : " of at most ");
        put_bound(out, d, d->max);
    }
}

void param_describe(struct buf *out, const struct param_def *d)
{
    if (d->type == PARAM_ENUM) {
        buf_puts(out, "one of ");
        put_choices(out, d->choices ? d->choices : "");
    } else {
        buf_puts(out, param_type_name(d->type));
        if (d->type == PARAM_SIZE)
            buf_puts(out, " (16GiB, 512MB)");
        else if (d->type == PARAM_DURATION)
            buf_puts(out, " (30min, 2h)");
        else if (d->type == PARAM_BOOL)
            buf_puts(out, " (true or false)");
        put_range(out, d);
        if (d->type == PARAM_STRINGS && d->choices) {
            buf_puts(out, " out of ");
            put_choices(out, d->choices);
        }
    }
    if (d->unset)
        buf_printf(out, ", or \"%s\"", d->unset);
}

/* "expected integer from 1 to 64, found text "many"" */
static int refuse(struct param_fault *f, const struct param_def *d, const struct ynode *y, const char *hint)
{
    struct buf b = {0};
    param_describe(&b, d);
    f->at = y;
    if (ynode_is_null(y))
        snprintf(f->text, sizeof f->text, "expected %.300s, found null", b.p ? b.p : "another value");
    else if (y->kind == Y_SCALAR)
        snprintf(f->text, sizeof f->text, "expected %.300s, found %s \"%.80s\"", b.p ? b.p : "another value", ynode_kind_name(y), y->text.p);
    else
        snprintf(f->text, sizeof f->text, "expected %.300s, found a %s", b.p ? b.p : "another value", ynode_kind_name(y));
    snprintf(f->hint, sizeof f->hint, "%s", hint ? hint : "");
    buf_release(&b);
    return ERR_INPUT;
}

bool param_is_choice(const char *choices, struct str s)
{
    for (const char *p = choices; p; p = strchr(p, '|')) {
        p += *p == '|';
        if (str_eq((struct str){p, strcspn(p, "|")}, s))
            return true;
    }
    return false;
}

/* "did you mean "svd"?" into hint */
static void near_choice(const struct param_def *d, const char *word, char *hint, size_t cap)
{
    char *copy = str_dup(str_of(d->choices)), *save = NULL;
    const char *names[64];
    size_t n = 0;
    for (char *t = copy ? strtok_r(copy, "|", &save) : NULL; t && n < 64; t = strtok_r(NULL, "|", &save))
        names[n++] = t;
    const char *near = nearest_name(word, names, n);
    if (near)
        snprintf(hint, cap, "did you mean \"%s\"?", near);
    free(copy);
}

static int refuse_choice(struct param_fault *f, const struct param_def *d, const struct ynode *y)
{
    char hint[200] = "";
    near_choice(d, y->text.p, hint, sizeof hint);
    return refuse(f, d, y, hint);
}

/* ---- YAML to value ---- */

static bool in_range(const struct param_def *d, double v)
{
    return !(d->min < d->max) || (v >= d->min && v <= d->max);
}

static int parse_bool(const struct param_def *d, const struct ynode *y, struct param_value *v, struct param_fault *f)
{
    static const char *const words[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
    for (int i = 0; i < 6; i++)
        if (str_is(y->text, words[i])) {
            v->b = i < 3;
            return 0;
        }
    return refuse(f, d, y, "booleans are written true and false");
}

static int parse_number(const struct param_def *d, const struct ynode *y, struct param_value *v, struct param_fault *f)
{
    bool ok = false;
    double x = 0;
    struct str s = str_trim(y->text);
    switch (d->type) {
    case PARAM_INT: ok = parse_int(s, &v->i); x = (double)v->i; break;
    case PARAM_SIZE: ok = parse_size(s, &v->i); x = (double)v->i; break;
    case PARAM_FLOAT: ok = parse_float(s, &v->f); x = v->f; break;
    default: ok = parse_duration(s, &v->f); x = v->f; break;
    }
    return ok && in_range(d, x) ? 0 : refuse(f, d, y, NULL);
}

static int parse_path(const struct ynode *y, const char *dir, struct arena *a, struct param_value *v)
{
    /* a word before a colon is a scheme that the operator knows ("hf:org/name"), not a place on this disk */
    size_t scheme = strspn(y->text.p, "abcdefghijklmnopqrstuvwxyz");
    if (scheme > 1 && y->text.p[scheme] == ':') {
        v->s = arena_str(a, y->text);
        return v->s ? 0 : ERR_NOMEM;
    }
    const char *home = y->text.p[0] == '~' ? watch_env("HOME") : NULL;
    char *p = y->text.p[0] == '~' && y->text.p[1] == '/' && home ? fs_join(home, y->text.p + 2) : fs_join(dir, y->text.p);
    v->s = p ? arena_str(a, str_of(p)) : NULL;
    free(p);
    return v->s ? 0 : ERR_NOMEM;
}

/* Text values. */
static int parse_text(const struct param_def *d, const struct ynode *y, const char *dir, struct arena *a, struct param_value *v,
                      struct param_fault *f)
{
    if (d->type == PARAM_ENUM && !param_is_choice(d->choices, y->text))
        return refuse_choice(f, d, y);
    if (d->type == PARAM_PATH && d->choices && param_is_choice(d->choices, y->text)) {
        v->s = arena_str(a, y->text); /* a word of the table ("open-instruct"), not a file */
        return v->s ? 0 : ERR_NOMEM;
    }
    if (d->type == PARAM_PATH)
        return y->text.n ? parse_path(y, dir, a, v) : refuse(f, d, y, "a path must not be empty");
    v->s = arena_str(a, y->text);
    if (v->s && d->type == PARAM_ENUM && d->resolve)
        v->s = d->resolve(v->s);
    return v->s ? 0 : ERR_NOMEM;
}

static int parse_ints(const struct param_def *d, const struct ynode *y, struct arena *a, struct param_value *v,
                      struct param_fault *f)
{
    size_t n = y->kind == Y_SCALAR ? 1 : y->n;
    int64_t *list = arena_array(a, n + 1, sizeof *list);
    if (!list)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct ynode *x = y->kind == Y_SCALAR ? y : y->v[i];
        if (x->kind != Y_SCALAR || !parse_int(str_trim(x->text), &list[i]) || !in_range(d, (double)list[i]))
            return refuse(f, d, x, "write a list: [1, 2, 3]");
    }
    v->ints.n = n;
    v->ints.v = list;
    return 0;
}

static int parse_strs(const struct param_def *d, const struct ynode *y, struct arena *a, struct param_value *v,
                      struct param_fault *f)
{
    size_t n = y->kind == Y_SCALAR ? 1 : y->n;
    const char **list = arena_array(a, n + 1, sizeof *list);
    if (!list)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct ynode *x = y->kind == Y_SCALAR ? y : y->v[i];
        if (x->kind != Y_SCALAR || ynode_is_null(x))
            return refuse(f, d, x, "write a list: [one, two]");
        if (d->choices && !param_is_choice(d->choices, x->text))
            return refuse_choice(f, d, x);
        if (!(list[i] = arena_str(a, x->text)))
            return ERR_NOMEM;
    }
    v->strs.n = n;
    v->strs.v = list;
    return 0;
}

static bool fits_kind(const struct param_def *d, const struct ynode *y)
{
    if (d->type == PARAM_MAP)
        return y->kind == Y_MAP;
    return y->kind == Y_SCALAR || (y->kind == Y_LIST && (d->type == PARAM_INTS || d->type == PARAM_STRINGS));
}

int param_parse(const struct param_def *d, const struct ynode *y, const char *dir, struct arena *arena,
                struct param_value *v, struct param_fault *fault)
{
    v->at = y->at;
    v->set = false;
    if (d->unset && y->kind == Y_SCALAR && str_is(y->text, d->unset))
        return 0;
    if (!fits_kind(d, y))
        return refuse(fault, d, y, NULL);
    v->set = true;
    switch (d->type) {
    case PARAM_BOOL: return parse_bool(d, y, v, fault);
    case PARAM_INT:
    case PARAM_FLOAT:
    case PARAM_SIZE:
    case PARAM_DURATION: return parse_number(d, y, v, fault);
    case PARAM_STRING:
    case PARAM_ENUM:
    case PARAM_PATH: return parse_text(d, y, dir, arena, v, fault);
    case PARAM_INTS: return parse_ints(d, y, arena, v, fault);
    case PARAM_STRINGS: return parse_strs(d, y, arena, v, fault);
    case PARAM_MAP: v->map = ynode_json(y); return v->map ? 0 : ERR_NOMEM;
    }
    return refuse(fault, d, y, NULL);
}

int param_fallback(const struct param_def *d, const char *dir, struct arena *arena, struct param_value *v, struct err *e)
{
    *v = (struct param_value){0};
    if (!d->fallback)
        return 0;
    struct diags *ds = diags_new();
    const struct ynode *y = NULL;
    struct param_fault fault = {0};
    int rc = ds ? 0 : ERR_NOMEM;
    bool whole = d->type == PARAM_INTS || d->type == PARAM_STRINGS || d->type == PARAM_MAP;
    if (rc == 0 && whole && d->fallback[0])
        rc = yaml_parse(str_of(d->fallback), "default", arena, ds, &y);
    else if (rc == 0)
        y = ynode_scalar(arena, str_of(d->fallback), true, (struct place){0});
    if (rc == 0)
        rc = y ? param_parse(d, y, dir, arena, v, &fault) : ERR_NOMEM;
    v->at = (struct place){0};
    diags_free(ds);
    if (rc == ERR_INPUT)
        return err_set(e, ERR_INTERNAL, "the default \"%s\" of parameter %s does not fit its own table: %s", d->fallback, d->name, fault.text);
    return rc ? err_nomem(e, 0, "a default") : 0;
}

/* ---- value to text ---- */

struct js *param_json(const struct param_def *d, const struct param_value *v)
{
    if (!v->set)
        return js_new_null();
    struct js *list;
    switch (d->type) {
    case PARAM_BOOL: return js_new_bool(v->b);
    case PARAM_INT:
    case PARAM_SIZE: return js_new_int(v->i);
    case PARAM_FLOAT:
    case PARAM_DURATION: return js_new_num(v->f);
    case PARAM_STRING:
    case PARAM_ENUM:
    case PARAM_PATH: return js_new_cstr(v->s);
    case PARAM_MAP: return js_ref(v->map);
    case PARAM_INTS:
    case PARAM_STRINGS: break;
    }
    list = js_array();
    size_t n = d->type == PARAM_INTS ? v->ints.n : v->strs.n;
    for (size_t i = 0; list && i < n; i++)
        if (js_push(list, d->type == PARAM_INTS ? js_new_int(v->ints.v[i]) : js_new_cstr(v->strs.v[i]))) {
            js_free(list);
            return NULL;
        }
    return list;
}

static void put_list(struct buf *out, const struct param_def *d, const struct param_value *v)
{
    size_t n = d->type == PARAM_INTS ? v->ints.n : v->strs.n;
    buf_putc(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(out, ',');
        if (d->type == PARAM_INTS)
            buf_printf(out, "%lld", (long long)v->ints.v[i]);
        else
            js_write_str(out, str_of(v->strs.v[i]));
    }
    buf_putc(out, ']');
}

/* The bytes of param_json, without making it: this runs for every parameter of every node. */
void param_canon(struct buf *out, const struct param_def *d, const struct param_value *v)
{
    struct js *j;
    if (!v->set) {
        buf_puts(out, "null");
        return;
    }
    switch (d->type) {
    case PARAM_BOOL: buf_puts(out, v->b ? "true" : "false"); break;
    case PARAM_INT:
    case PARAM_SIZE: buf_printf(out, "%lld", (long long)v->i); break;
    case PARAM_FLOAT:
    case PARAM_DURATION:
        if (isfinite(v->f))
            js_write_num(out, v->f);
        else
            buf_puts(out, "null");
        break;
    case PARAM_STRING:
    case PARAM_ENUM:
    case PARAM_PATH: buf_puts(out, v->s); break;
    case PARAM_INTS:
    case PARAM_STRINGS: put_list(out, d, v); break;
    case PARAM_MAP:
        j = param_json(d, v);
        if (j)
            js_write(out, j);
        else
            out->failed = true;
        js_free(j);
        break;
    }
}

static bool equal_lists(const struct param_def *d, const struct param_value *a, const struct param_value *b)
{
    if (d->type == PARAM_INTS)
        return a->ints.n == b->ints.n && (a->ints.n == 0 || memcmp(a->ints.v, b->ints.v, a->ints.n * sizeof *a->ints.v) == 0);
    if (a->strs.n != b->strs.n)
        return false;
    for (size_t i = 0; i < a->strs.n; i++)
        if (strcmp(a->strs.v[i], b->strs.v[i]) != 0)
            return false;
    return true;
}

bool param_equal(const struct param_def *d, const struct param_value *a, const struct param_value *b)
{
    if (a->set != b->set || !a->set)
        return a->set == b->set;
    switch (d->type) {
    case PARAM_BOOL: return a->b == b->b;
    case PARAM_INT:
    case PARAM_SIZE: return a->i == b->i;
    case PARAM_FLOAT:
    case PARAM_DURATION: return a->f == b->f && signbit(a->f) == signbit(b->f);
    case PARAM_STRING:
    case PARAM_ENUM:
    case PARAM_PATH: return strcmp(a->s, b->s) == 0;
    case PARAM_INTS:
    case PARAM_STRINGS: return equal_lists(d, a, b);
    case PARAM_MAP: return js_equal(a->map, b->map);
    }
    return false;
}
