/* SPDX-License-Identifier: MIT
 *
 * Methods of texts, lists, dicts and loops by Python's names, and the global functions.
 */
#include <string.h>

#include "runtime/text/jinja_parts.h"
#include "runtime/text/normalize.h"
#include "runtime/text/utf8.h"

struct method {
    struct run *r;
    int line;
    struct str name;
    const struct call_args *a;
};

static struct str text_arg(const struct method *m, size_t i)
{
    return i < m->a->n && m->a->v[i].kind == V_STR ? m->a->v[i].s : (struct str){NULL, 0};
}

static int wrong(const struct method *m, const char *wanted)
{
    return run_fail(m->r, m->line, ERR_INPUT, "%.*s() needs %s", (int)m->name.n, m->name.p, wanted);
}

/* ---- texts ---- */

static bool one_of(struct str chars, struct str c)
{
    for (size_t i = 0, n; i < chars.n; i += n) {
        n = utf8_len(chars.p[i]);
        if (n <= chars.n - i && str_eq((struct str){chars.p + i, n}, c))
            return true;
    }
    return false;
}

static int m_strip(const struct method *m, struct str s, struct val *out)
{
    struct str chars = text_arg(m, 0), all = utf8_strip(s);
    bool left = !str_is(m->name, "rstrip"), right = !str_is(m->name, "lstrip");
    if (!chars.p) {
        const char *from = left ? all.p : s.p, *to = right ? all.p + all.n : s.p + s.n;
        if (all.n == 0) /* nothing but white space */
            from = to = s.p;
        *out = val_str((struct str){from, (size_t)(to - from)});
        return 0;
    }
    while (left && s.n && utf8_len(s.p[0]) <= s.n && one_of(chars, (struct str){s.p, utf8_len(s.p[0])})) {
        size_t n = utf8_len(s.p[0]);
        s.p += n;
        s.n -= n;
    }
    while (right && s.n) {
        size_t n = 1;
        while (n < s.n && ((unsigned char)s.p[s.n - n] & 0xc0) == 0x80)
            n++;
        if (!one_of(chars, (struct str){s.p + s.n - n, n}))
            break;
        s.n -= n;
    }
    *out = val_str(s);
    return 0;
}

static int m_case(const struct method *m, struct str s, struct val *out)
{
    struct buf b = {0};
    bool word = false, title = str_is(m->name, "title"), capital = str_is(m->name, "capitalize");
    for (size_t i = 0, n; i < s.n; i += n) {
        uint32_t cp = 0;
        n = utf8_next(s.p + i, s.n - i, &cp);
        if (n == 0)
            break;
        bool up = str_is(m->name, "upper") || (title && !word) || (capital && i == 0);
        put_case(&b, cp, up);
        word = is_letter(cp);
    }
    int rc = val_copy_str(m->r, &b, out);
    buf_release(&b);
    return rc;
}

/* startswith, endswith: with a text or a tuple of texts */
static int m_with(const struct method *m, struct str s, struct val *out)
{
    const struct val *x = m->a->n ? &m->a->v[0] : NULL;
    bool yes = false, starts = str_is(m->name, "startswith");
    if (!x || (x->kind != V_STR && x->kind != V_LIST))
        return wrong(m, "a text");
    for (size_t i = 0; i < (x->kind == V_LIST ? x->l->n : 1); i++) {
        const struct val *y = x->kind == V_LIST ? &x->l->v[i] : x;
        if (y->kind != V_STR)
            return wrong(m, "texts");
        yes |= s.n >= y->s.n && (y->s.n == 0 || memcmp(starts ? s.p : s.p + s.n - y->s.n, y->s.p, y->s.n) == 0);
    }
    *out = val_bool(yes);
    return 0;
}

static const char *find(struct str s, size_t from, struct str part)
{
    return part.n && part.n <= s.n - from ? memmem(s.p + from, s.n - from, part.p, part.n) : NULL;
}

static int m_replace(const struct method *m, struct str s, struct val *out)
{
    struct str from = text_arg(m, 0), to = text_arg(m, 1);
    struct buf b = {0};
    int64_t left = m->a->n > 2 && m->a->v[2].kind == V_INT ? m->a->v[2].i : -1;
    if (!from.p || !to.p)
        return wrong(m, "two texts");
    size_t i = 0;
    if (from.n == 0) {
        for (; i < s.n && left; left -= left > 0) {
            size_t n = utf8_len(s.p[i]);
            buf_str(&b, to);
            buf_put(&b, s.p + i, n > s.n - i ? s.n - i : n);
            i += n;
        }
        if (left)
            buf_str(&b, to);
    }
    for (const char *p; left && (p = find(s, i < s.n ? i : s.n, from)); left -= left > 0) {
        buf_put(&b, s.p + i, (size_t)(p - s.p) - i);
        buf_str(&b, to);
        i = (size_t)(p - s.p) + from.n;
        if (b.n > (size_t)1 << 28)
            break;
    }
    if (i < s.n)
        buf_put(&b, s.p + i, s.n - i);
    int rc = val_copy_str(m->r, &b, out);
    buf_release(&b);
    return rc;
}

static int push_text(const struct method *m, struct list *l, const char *from, const char *to)
{
    return list_push(m->r, l, val_str((struct str){from, (size_t)(to - from)}));
}

static bool space_at(struct str s, size_t i, size_t *n)
{
    uint32_t cp = 0;
    *n = utf8_next(s.p + i, s.n - i, &cp);
    *n = *n ? *n : 1;
    return utf8_is_space(cp);
}

/* Words between white space. */
static int split_words(const struct method *m, struct str s, int64_t limit, struct list *l)
{
    int rc = 0;
    for (size_t i = 0, n; rc == 0 && i < s.n;) {
        if (space_at(s, i, &n)) {
            i += n;
            continue;
        }
        size_t from = i;
        if (limit >= 0 && (int64_t)l->n == limit)
            i = s.n;
        while (i < s.n && !space_at(s, i, &n))
            i += n;
        struct str word = {s.p + from, (i < s.n ? i : s.n) - from};
        if (i >= s.n)
            word = utf8_strip(word);
        rc = list_push(m->r, l, val_str(word));
    }
    return rc;
}

static int m_split(const struct method *m, struct str s, struct val *out)
{
    struct str by = text_arg(m, 0);
    int64_t limit = -1;
    for (size_t k = 0; k < m->a->n; k++)
        if (m->a->v[k].kind == V_INT)
            limit = m->a->v[k].i;
    int rc = val_list(m->r, out);
    if (rc < 0)
        return rc;
    if (!by.p)
        return split_words(m, s, limit, out->l);
    if (by.n == 0)
        return wrong(m, "a separator that is not empty");
    size_t i = 0;
    if (str_is(m->name, "rsplit") && limit >= 0) { /* all but the last pieces stay together */
        size_t count = 0;
        const char *p;
        for (size_t k = 0; (p = find(s, k, by)); k = (size_t)(p - s.p) + by.n)
            count++;
        size_t skip = count > (size_t)limit ? count - (size_t)limit : 0, k = 0;
        for (; skip && (p = find(s, k, by)); skip--)
            k = (size_t)(p - s.p) + by.n;
        if (k) {
            p = find(s, k, by);
            rc = push_text(m, out->l, s.p, p ? p : s.p + s.n);
            i = p ? (size_t)(p - s.p) + by.n : s.n;
            if (!p)
                return rc;
        }
        limit = -1;
    }
    for (const char *p; rc == 0 && limit && (p = find(s, i, by)); limit -= limit > 0) {
        rc = push_text(m, out->l, s.p + i, p);
        i = (size_t)(p - s.p) + by.n;
    }
    return rc == 0 ? push_text(m, out->l, s.p + i, s.p + s.n) : rc;
}

static int m_splitlines(const struct method *m, struct str s, struct val *out)
{
    int rc = val_list(m->r, out);
    for (size_t i = 0; rc == 0 && i < s.n;) {
        size_t k = i;
        while (k < s.n && s.p[k] != '\n' && s.p[k] != '\r')
            k++;
        rc = push_text(m, out->l, s.p + i, s.p + k);
        i = k + 1 + (k + 1 < s.n && s.p[k] == '\r' && s.p[k + 1] == '\n');
    }
    return rc;
}

/* find and rfind: in characters; count */
static int m_find(const struct method *m, struct str s, struct val *out)
{
    struct str part = text_arg(m, 0);
    if (!part.p)
        return wrong(m, "a text");
    int64_t n = 0, last = part.n ? -1 : 0;
    size_t i = 0;
    for (const char *p; (p = find(s, i, part)); n++) {
        last = (int64_t)text_length((struct str){s.p, (size_t)(p - s.p)});
        i = (size_t)(p - s.p) + (str_is(m->name, "rfind") ? 1 : part.n);
        if (str_is(m->name, "find") || str_is(m->name, "index"))
            break;
    }
    if (str_is(m->name, "index") && last < 0)
        return run_fail(m->r, m->line, ERR_INPUT, "index(): the text is not there");
    *out = val_int(str_is(m->name, "count") ? n : last);
    return 0;
}

static int m_join(const struct method *m, struct str s, struct val *out)
{
    struct list *l;
    struct buf b = {0};
    if (m->a->n == 0)
        return wrong(m, "a list");
    int rc = val_items(m->r, m->line, &m->a->v[0], &l);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        if (l->v[i].kind != V_STR)
            rc = wrong(m, "a list of texts");
        if (i)
            buf_str(&b, s);
        if (rc == 0)
            buf_str(&b, l->v[i].s);
    }
    if (rc == 0)
        rc = val_copy_str(m->r, &b, out);
    buf_release(&b);
    return rc;
}

/* isdigit, isalpha, isspace, ...: ASCII and letters as Unicode has them */
static int m_is(const struct method *m, struct str s, struct val *out)
{
    bool all = s.n > 0;
    for (size_t i = 0, n; i < s.n && all; i += n) {
        uint32_t cp = 0;
        n = utf8_next(s.p + i, s.n - i, &cp);
        n = n ? n : 1;
        bool d = cp >= '0' && cp <= '9', a = is_letter(cp);
        all = str_is(m->name, "isspace") ? utf8_is_space(cp) : str_is(m->name, "isalpha") ? a : str_is(m->name, "isalnum") ? a || d : d;
    }
    *out = val_bool(all);
    return 0;
}

static int m_prefix(const struct method *m, struct str s, struct val *out)
{
    struct str part = text_arg(m, 0);
    bool front = str_is(m->name, "removeprefix");
    if (!part.p)
        return wrong(m, "a text");
    if (part.n && s.n >= part.n && memcmp(front ? s.p : s.p + s.n - part.n, part.p, part.n) == 0)
        s = (struct str){front ? s.p + part.n : s.p, s.n - part.n};
    *out = val_str(s);
    return 0;
}

static const struct {
    const char *name;
    int (*call)(const struct method *m, struct str s, struct val *out);
} text_methods[] = {
    {"strip", m_strip},      {"lstrip", m_strip},   {"rstrip", m_strip},     {"upper", m_case},    {"lower", m_case},     {"title", m_case},
    {"capitalize", m_case},  {"startswith", m_with}, {"endswith", m_with},   {"replace", m_replace}, {"split", m_split},  {"rsplit", m_split},
    {"splitlines", m_splitlines}, {"find", m_find}, {"rfind", m_find},       {"index", m_find},    {"count", m_find},     {"join", m_join},
    {"isdigit", m_is},       {"isnumeric", m_is},   {"isdecimal", m_is},     {"isalpha", m_is},    {"isalnum", m_is},     {"isspace", m_is},
    {"removeprefix", m_prefix}, {"removesuffix", m_prefix},
};

/* ---- dicts, lists, loops ---- */

static int dict_method(const struct method *m, const struct dict *d, struct val *out)
{
    bool items = str_is(m->name, "items"), keys = str_is(m->name, "keys"), values = str_is(m->name, "values");
    if (str_is(m->name, "get")) {
        const struct val *x = m->a->n && m->a->v[0].kind == V_STR ? dict_get(d, m->a->v[0].s) : NULL;
        if (m->a->n == 0)
            return wrong(m, "a key");
        *out = x ? *x : m->a->n > 1 ? m->a->v[1] : (struct val){.kind = V_NONE};
        return 0;
    }
    if (!items && !keys && !values)
        return ERR_NOTFOUND;
    int rc = val_list(m->r, out);
    for (size_t i = 0; rc == 0 && i < d->n; i++) {
        struct val key = val_str(d->v[i].key), pair;
        if (items) {
            rc = val_list(m->r, &pair);
            if (rc == 0) {
                pair.l->tuple = true;
                rc = list_push(m->r, pair.l, key);
            }
            if (rc == 0)
                rc = list_push(m->r, pair.l, d->v[i].v);
        }
        if (rc == 0)
            rc = list_push(m->r, out->l, items ? pair : keys ? key : d->v[i].v);
    }
    return rc;
}

static int list_method(const struct method *m, struct list *l, struct val *out)
{
    if (str_is(m->name, "append") && m->a->n == 1)
        return run_fail(m->r, m->line, ERR_INPUT, "append() changes a list, which transformers does not allow in a template either");
    if (!str_is(m->name, "index") && !str_is(m->name, "count"))
        return ERR_NOTFOUND;
    int64_t n = 0, at = -1;
    for (size_t i = 0; m->a->n && i < l->n; i++)
        if (val_equal(&l->v[i], &m->a->v[0])) {
            n++;
            at = at < 0 ? (int64_t)i : at;
        }
    if (str_is(m->name, "index") && at < 0)
        return run_fail(m->r, m->line, ERR_INPUT, "index(): the value is not in the list");
    *out = val_int(str_is(m->name, "count") ? n : at);
    return 0;
}

static int loop_method(const struct method *m, const struct dict *d, struct val *out)
{
    const struct val *i = dict_get(d, STR("index0"));
    if (!str_is(m->name, "cycle"))
        return ERR_NOTFOUND;
    if (m->a->n == 0 || !i)
        return wrong(m, "values");
    *out = m->a->v[(size_t)i->i % m->a->n];
    return 0;
}

int call_method(struct run *r, int line, const struct val *self, struct str name, const struct call_args *a, struct val *out)
{
    struct method m = {r, line, name, a};
    if (self->kind == V_UNDEFINED)
        return run_fail(r, line, ERR_INPUT, "\"%.*s\" is undefined, and the template calls a method of it", (int)(self->s.n < 60 ? self->s.n : 60),
                        self->s.p ? self->s.p : "");
    if (self->kind == V_DICT)
        return dict_method(&m, self->d, out);
    if (self->kind == V_LIST)
        return list_method(&m, self->l, out);
    if (self->kind == V_LOOP)
        return loop_method(&m, self->d, out);
    for (size_t i = 0; self->kind == V_STR && i < sizeof text_methods / sizeof *text_methods; i++)
        if (str_is(name, text_methods[i].name))
            return text_methods[i].call(&m, self->s, out);
    return ERR_NOTFOUND;
}

/* ---- functions ---- */

static int f_range(const struct method *m, struct val *out)
{
    int64_t v[3] = {0, 0, 1};
    if (m->a->n < 1 || m->a->n > 3)
        return wrong(m, "one to three numbers");
    for (size_t i = 0; i < m->a->n; i++) {
        if (m->a->v[i].kind != V_INT)
            return wrong(m, "whole numbers");
        v[m->a->n == 1 ? 1 : i] = m->a->v[i].i;
    }
    if (v[2] == 0)
        return wrong(m, "a step that is not 0");
    int rc = val_list(m->r, out);
    for (int64_t i = v[0]; rc == 0 && (v[2] > 0 ? i < v[1] : i > v[1]);) {
        if (out->l->n >= 100000)
            return run_fail(m->r, m->line, ERR_INPUT, "range() of more than 100000 numbers");
        rc = list_push(m->r, out->l, val_int(i));
        if (__builtin_add_overflow(i, v[2], &i))
            break;
    }
    return rc;
}

/* namespace(a=1) and dict(a=1) */
static int f_dict(const struct method *m, struct val *out)
{
    int rc = val_dict(m->r, out);
    for (size_t i = 0; rc == 0 && i < m->a->n; i++) {
        const struct val *x = &m->a->v[i];
        if (m->a->name[i].n)
            rc = dict_set(m->r, out->d, m->a->name[i], *x);
        else if (x->kind == V_DICT)
            for (size_t k = 0; rc == 0 && k < x->d->n; k++)
                rc = dict_set(m->r, out->d, x->d->v[k].key, x->d->v[k].v);
        else
            return wrong(m, "name=value");
    }
    if (str_is(m->name, "namespace"))
        out->kind = V_NAMESPACE;
    return rc;
}

static int f_raise(const struct method *m, struct val *out)
{
    struct buf b = {0};
    (void)out;
    if (m->a->n)
        val_print(&b, &m->a->v[0]);
    int rc = run_fail(m->r, m->line, ERR_INPUT, "the template refuses this conversation: %.500s", b.p ? b.p : "");
    buf_release(&b);
    return rc;
}

static const struct {
    const char *name;
    int (*call)(const struct method *m, struct val *out);
} functions[] = {{"range", f_range}, {"namespace", f_dict}, {"dict", f_dict}, {"raise_exception", f_raise}};

bool function_known(struct str name)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (str_is(name, functions[i].name))
            return true;
    return false;
}

int call_function(struct run *r, int line, struct str name, const struct call_args *a, struct val *out)
{
    struct method m = {r, line, name, a};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (str_is(name, functions[i].name))
            return functions[i].call(&m, out);
    return run_fail(r, line, ERR_INTERNAL, "a function without its code");
}
