/* SPDX-License-Identifier: MIT */
#include "runtime/base/json.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"

static _Atomic unsigned long refusals;
static _Thread_local jmp_buf *parsing; /* of js_parse, while it is in jansson */

/* jansson's parser, when memory is refused, can take a string for an empty one, call good text bad, or free a thing twice
 * (2.14): it is left at once. What it had built is lost to the process, which will keep nothing that it makes from here on. */
static void *js_malloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p)
        atomic_fetch_add(&refusals, 1);
    if (!p && parsing)
        longjmp(*parsing, 1);
    return p;
}

__attribute__((constructor)) static void count_refusals(void)
{
    json_set_alloc_funcs(js_malloc, free);
}

unsigned long js_refusals(void)
{
    return atomic_load(&refusals);
}

static json_t *unwrap(const struct js *j)
{
    return (json_t *)(uintptr_t)j;
}

static struct js *wrap(json_t *t)
{
    return (struct js *)t;
}

/* *refused: memory was. */
static json_t *load(struct str text, size_t flags, json_error_t *je, bool *refused)
{
    jmp_buf out;
    json_t *t = NULL;
    parsing = &out;
    if (setjmp(out) == 0)
        t = json_loadb(text.p ? text.p : "", text.n, flags, je);
    else
        *refused = true;
    parsing = NULL;
    return *refused ? NULL : t;
}

struct js *js_parse(struct str text, const char *what, struct err *e)
{
    json_error_t je = {0};
    bool refused = false;
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *t = load(text, flags, &je, &refused);
    if (!t && !refused && json_error_code(&je) == json_error_numeric_overflow) /* model_max_length of 1e30, written out */
        t = load(text, flags | JSON_DECODE_INT_AS_REAL, &je, &refused);
    if (!t && (refused || json_error_code(&je) == json_error_out_of_memory))
        err_nomem(e, text.n, what);
    else if (!t)
        err_set(e, ERR_INPUT, "%s:%d:%d: not valid JSON: %s", what, je.line, je.column, je.text);
    return wrap(t);
}

struct js *js_read(const char *path, struct err *e)
{
    struct buf b = {0};
    struct js *j = NULL;
    if (fs_read(path, (size_t)1 << 30, &b, e) == 0)
        j = js_parse(buf_view(&b), path, e);
    buf_release(&b);
    return j;
}

struct js *js_ref(const struct js *j)
{
    return wrap(json_incref(unwrap(j)));
}

void js_free(struct js *j)
{
    json_decref(unwrap(j));
}

struct js *js_copy(const struct js *j)
{
    return wrap(json_deep_copy(unwrap(j)));
}

enum js_kind js_kind(const struct js *j)
{
    if (!j)
        return JS_NONE;
    switch (json_typeof(unwrap(j))) {
    case JSON_OBJECT:
        return JS_OBJECT;
    case JSON_ARRAY:
        return JS_ARRAY;
    case JSON_STRING:
        return JS_STRING;
    case JSON_INTEGER:
        return JS_INT;
    case JSON_REAL:
        return JS_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JS_BOOL;
    default:
        return JS_NULL;
    }
}

bool js_equal(const struct js *a, const struct js *b)
{
    return a && b ? json_equal(unwrap(a), unwrap(b)) : a == b;
}

const struct js *js_get(const struct js *j, const char *key)
{
    return wrap(json_object_get(unwrap(j), key));
}

const struct js *js_at(const struct js *j, size_t i)
{
    return wrap(json_array_get(unwrap(j), i));
}

size_t js_len(const struct js *j)
{
    return json_is_object(unwrap(j)) ? json_object_size(unwrap(j)) : json_array_size(unwrap(j));
}

struct str js_str(const struct js *j)
{
    if (!json_is_string(unwrap(j)))
        return (struct str){NULL, 0};
    return (struct str){json_string_value(unwrap(j)), json_string_length(unwrap(j))};
}

const char *js_cstr(const struct js *j)
{
    return json_string_value(unwrap(j));
}

int64_t js_int(const struct js *j, int64_t otherwise)
{
    if (json_is_integer(unwrap(j)))
        return json_integer_value(unwrap(j));
    if (json_is_real(unwrap(j))) {
        double v = json_real_value(unwrap(j));
        if (v == floor(v) && fabs(v) < 9.0e15)
            return (int64_t)v;
    }
    return otherwise;
}

double js_num(const struct js *j, double otherwise)
{
    return json_is_number(unwrap(j)) ? json_number_value(unwrap(j)) : otherwise;
}

bool js_bool(const struct js *j, bool otherwise)
{
    return json_is_boolean(unwrap(j)) ? json_is_true(unwrap(j)) : otherwise;
}

void *js_iter(const struct js *j)
{
    return json_object_iter(unwrap(j));
}

void *js_next(const struct js *j, void *it)
{
    return json_object_iter_next(unwrap(j), it);
}

const char *js_iter_key(void *it)
{
    return json_object_iter_key(it);
}

const struct js *js_iter_value(void *it)
{
    return wrap(json_object_iter_value(it));
}

struct js *js_object(void)
{
    return wrap(json_object());
}

struct js *js_array(void)
{
    return wrap(json_array());
}

/* Length of the valid UTF-8 sequence at s (1..4), or 0. */
static size_t utf8_len(const unsigned char *s, size_t n)
{
    if (s[0] < 0x80)
        return 1;
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] >= 0x90))
        return 0;
    return len;
}

struct js *js_new_str(struct str s)
{
    json_t *t = json_stringn(s.p ? s.p : "", s.n);
    if (t)
        return wrap(t);
    struct buf b = {0};
    for (size_t i = 0; i < s.n;) {
        size_t len = utf8_len((const unsigned char *)s.p + i, s.n - i);
        if (len)
            buf_put(&b, s.p + i, len);
        else
            buf_puts(&b, "\xef\xbf\xbd");
        i += len ? len : 1;
    }
    t = b.failed ? NULL : json_stringn(b.p ? b.p : "", b.n);
    buf_release(&b);
    return wrap(t);
}

struct js *js_new_cstr(const char *z)
{
    return js_new_str(str_of(z));
}

struct js *js_new_int(int64_t v)
{
    return wrap(json_integer(v));
}

struct js *js_new_num(double v)
{
    return wrap(isfinite(v) ? json_real(v) : json_null());
}

struct js *js_new_bool(bool v)
{
    return wrap(json_boolean(v));
}

struct js *js_new_null(void)
{
    return wrap(json_null());
}

int js_set(struct js *obj, const char *key, struct js *v)
{
    return json_object_set_new(unwrap(obj), key, unwrap(v));
}

int js_push(struct js *arr, struct js *v)
{
    return json_array_append_new(unwrap(arr), unwrap(v));
}

int js_del(struct js *obj, const char *key)
{
    return json_object_del(unwrap(obj), key);
}

void js_write_str(struct buf *out, struct str s)
{
    buf_putc(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_put(out, s.p + from, i - from);
        from = i + 1;
        switch (c) {
        case '"':
            buf_puts(out, "\\\"");
            break;
        case '\\':
            buf_puts(out, "\\\\");
            break;
        case '\n':
            buf_puts(out, "\\n");
            break;
        case '\r':
            buf_puts(out, "\\r");
            break;
        case '\t':
            buf_puts(out, "\\t");
            break;
        default:
            buf_printf(out, "\\u%04x", c);
        }
    }
    buf_put(out, s.p + from, s.n - from);
    buf_putc(out, '"');
}

/* Digits of v, shortest that read back: a decimal of at most 15 digits survives the way through a double, so 15 digits
 * without their trailing zeros are the shortest whenever they read back at all. */
static int shortest_digits(double v, int *exponent)
{
    char z[40];
    int digits = 15;
    do
        snprintf(z, sizeof z, "%.*e", digits - 1, v);
    while (strtod(z, NULL) != v && ++digits <= 17);
    const char *e = strchr(z, 'e');
    *exponent = atoi(e + 1);
    while (digits > 1 && e[-1] == '0' && digits--)
        e--;
    return digits > 17 ? 17 : digits;
}

void js_write_num(struct buf *out, double v)
{
    int exponent = 0;
    if (!isfinite(v)) {
        buf_printf(out, "%g", v);
        return;
    }
    int digits = shortest_digits(v, &exponent);
    if (exponent < -5 || exponent > 15)
        buf_printf(out, "%.*e", digits - 1, v);
    else
        buf_printf(out, "%.*f", digits - 1 > exponent ? digits - 1 - exponent : 1, v);
}

static bool nested(const json_t *t)
{
    return json_is_object(t) || json_is_array(t);
}

static bool holds_nested(json_t *t)
{
    if (json_is_object(t)) {
        const char *k;
        json_t *v;
        json_object_foreach (t, k, v)
            if (nested(v))
                return true;
        return false;
    }
    for (size_t i = 0; i < json_array_size(t); i++)
        if (nested(json_array_get(t, i)))
            return true;
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_value(struct buf *out, json_t *t, int depth);

static void separate(struct buf *out, bool first, int depth)
{
    if (!first)
        buf_putc(out, ',');
    if (depth >= 0) {
        buf_putc(out, '\n');
        for (int i = 0; i < depth; i++)
            buf_putc(out, ' ');
    } else if (!first && depth == -1)
        buf_putc(out, ' ');
}

/* depth: >= 0 pretty (the indent), -1 a leaf line of the pretty form, -2 compact, -3 compact in the order of the keys. */
static void write_object(struct buf *out, json_t *t, int depth)
{
    size_t n = json_object_size(t), i = 0;
    const char **keys = malloc((n ? n : 1) * sizeof *keys);
    if (!keys) {
        out->failed = true;
        return;
    }
    const char *k;
    json_t *v;
    json_object_foreach (t, k, v)
        keys[i++] = k;
    if (depth != -3)
        qsort(keys, n, sizeof *keys, by_name);
    int inner = depth >= 0 && holds_nested(t) ? depth + 1 : depth >= 0 ? -1 : depth;
    buf_putc(out, '{');
    for (i = 0; i < n; i++) {
        separate(out, i == 0, inner);
        js_write_str(out, str_of(keys[i]));
        buf_puts(out, depth <= -2 ? ":" : ": ");
        write_value(out, json_object_get(t, keys[i]), inner);
    }
    if (inner >= 0)
        separate(out, true, depth);
    buf_putc(out, '}');
    free(keys);
}

static void write_array(struct buf *out, json_t *t, int depth)
{
    int inner = depth >= 0 && holds_nested(t) ? depth + 1 : depth >= 0 ? -1 : depth;
    buf_putc(out, '[');
    for (size_t i = 0; i < json_array_size(t); i++) {
        separate(out, i == 0, inner);
        write_value(out, json_array_get(t, i), inner);
    }
    if (inner >= 0)
        separate(out, true, depth);
    buf_putc(out, ']');
}

static void write_value(struct buf *out, json_t *t, int depth)
{
    switch (json_typeof(t)) {
    case JSON_OBJECT:
        write_object(out, t, depth);
        break;
    case JSON_ARRAY:
        write_array(out, t, depth);
        break;
    case JSON_STRING:
        js_write_str(out, (struct str){json_string_value(t), json_string_length(t)});
        break;
    case JSON_INTEGER:
        buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(t));
        break;
    case JSON_REAL:
        js_write_num(out, json_real_value(t));
        break;
    case JSON_TRUE:
        buf_puts(out, "true");
        break;
    case JSON_FALSE:
        buf_puts(out, "false");
        break;
    case JSON_NULL:
        buf_puts(out, "null");
        break;
    }
}

void js_write(struct buf *out, const struct js *j)
{
    if (j)
        write_value(out, unwrap(j), -2);
    else
        out->failed = true;
}

void js_write_ordered(struct buf *out, const struct js *j)
{
    if (j)
        write_value(out, unwrap(j), -3);
    else
        out->failed = true;
}

void js_write_pretty(struct buf *out, const struct js *j)
{
    if (j)
        write_value(out, unwrap(j), 0);
    else
        out->failed = true;
}

int js_save(const char *path, const struct js *j, struct err *e)
{
    struct buf b = {0};
    js_write_pretty(&b, j);
    buf_putc(&b, '\n');
    int rc = b.failed ? err_nomem(e, b.n, path) : fs_write(path, b.p, b.n, e);
    buf_release(&b);
    return rc;
}

const char *js_library_version(void)
{
    return jansson_version_str();
}
