/* SPDX-License-Identifier: MIT */
#include "engine/vars.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/spec.h"
#include "runtime/base/watch.h"

int scope_init(struct scope *s, struct arena *arena, struct diags *d, const struct ynode *vars)
{
    *s = (struct scope){.arena = arena, .d = d, .epoch = 1};
    size_t n = vars ? vars->n : 0;
    s->v = arena_array(arena, n + 1, sizeof *s->v);
    if (!s->v)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct ypair *p = &vars->pairs[i];
        if (!is_name(p->key)) {
            diag_add(d, DIAG_ERROR, p->at, "names are letters, digits, _ and -", "\"%.80s\" cannot be the name of a variable", p->key.p);
            continue;
        }
        s->v[s->n] = (struct var){.name = p->key.p, .raw = p->value, .sweep_key = -1};
        if (!names_put(&s->names, p->key, s->n++))
            return ERR_NOMEM;
    }
    return 0;
}

void scope_release(struct scope *s)
{
    names_release(&s->names);
}

struct var *scope_find(const struct scope *s, struct str name)
{
    size_t i = names_get(&s->names, name);
    return i == NAMES_NONE ? NULL : &s->v[i];
}

void scope_set(struct var *v, const struct ynode *raw)
{
    v->raw = raw;
    v->epoch = 0;
}

void scope_next(struct scope *s)
{
    s->epoch++;
}

const char *scope_near(const struct scope *s, const char *word)
{
    struct nearest near = {.word = word};
    for (size_t i = 0; i < s->n; i++)
        nearest_see(&near, s->v[i].name);
    return nearest_found(&near);
}

/* ---- scanning text ---- */

enum part { PART_END, PART_TEXT, PART_VAR, PART_ENV, PART_BAD };

/* The next part of text at *at: literal text, or the name inside ${}. Moves *at behind it. */
static enum part next_part(struct str text, size_t *at, struct str *what)
{
    if (*at >= text.n)
        return PART_END;
    const char *p = text.p + *at;
    size_t left = text.n - *at;
    if (left >= 3 && memcmp(p, "$${", 3) == 0) {
        *what = (struct str){p + 1, 2};
        *at += 3;
        return PART_TEXT;
    }
    if (left >= 2 && memcmp(p, "${", 2) == 0) {
        const char *end = memchr(p, '}', left);
        if (!end)
            return PART_BAD;
        *what = str_trim((struct str){p + 2, (size_t)(end - p) - 2});
        *at += (size_t)(end - p) + 1;
        if (str_starts(*what, "env:")) {
            *what = (struct str){what->p + 4, what->n - 4};
            return PART_ENV;
        }
        return PART_VAR;
    }
    size_t n = 1;
    while (n < left && p[n] != '$')
        n++;
    *what = (struct str){p, n};
    *at += n;
    return PART_TEXT;
}

/* ---- masks ---- */

uint64_t scope_mask(const struct scope *s, const struct ynode *y)
{
    uint64_t m = 0;
    if (!y || !y->dollar)
        return 0;
    if (y->kind == Y_SCALAR) {
        struct str what;
        size_t at = 0;
        for (enum part k; (k = next_part(y->text, &at, &what)) != PART_END && k != PART_BAD;) {
            const struct var *v = k == PART_VAR ? scope_find(s, what) : NULL;
            m |= v ? v->mask : 0;
        }
        return m;
    }
    for (size_t i = 0; i < y->n; i++)
        m |= scope_mask(s, y->kind == Y_LIST ? y->v[i] : y->pairs[i].value);
    return m;
}

struct walk {
    const struct var *chain[VARS_DEPTH + 1];
    int n;
};

static void report_circle(struct scope *s, const struct walk *w, const struct var *again)
{
    struct buf b = {0};
    int from = 0;
    while (from < w->n && w->chain[from] != again)
        from++;
    for (int i = from; i < w->n; i++)
        buf_printf(&b, "%s -> ", w->chain[i]->name);
    diag_value(s->d, DIAG_ERROR, again->raw, NULL, "variables in a circle: %s%s", b.p ? b.p : "", again->name);
    buf_release(&b);
}

static void close_var(struct scope *s, struct walk *w, struct var *v);

static uint64_t close_tree(struct scope *s, struct walk *w, const struct ynode *y)
{
    uint64_t m = 0;
    if (!y || !y->dollar)
        return 0;
    if (y->kind != Y_SCALAR) {
        for (size_t i = 0; i < y->n; i++)
            m |= close_tree(s, w, y->kind == Y_LIST ? y->v[i] : y->pairs[i].value);
        return m;
    }
    struct str what;
    size_t at = 0;
    for (enum part k; (k = next_part(y->text, &at, &what)) != PART_END && k != PART_BAD;) {
        struct var *v = k == PART_VAR ? scope_find(s, what) : NULL;
        if (!v)
            continue;
        close_var(s, w, v);
        m |= v->mask;
    }
    return m;
}

static void close_var(struct scope *s, struct walk *w, struct var *v)
{
    if (v->masked)
        return;
    if (v->busy) {
        report_circle(s, w, v);
        return;
    }
    if (v->sweep_key >= 0) {
        v->mask = (uint64_t)1 << v->sweep_key;
        v->masked = true;
        return;
    }
    if (w->n == VARS_DEPTH) {
        diag_value(s->d, DIAG_ERROR, v->raw, NULL, "more than %d variables use each other in a row", VARS_DEPTH);
        v->masked = true;
        return;
    }
    v->busy = true;
    w->chain[w->n++] = v;
    v->mask = close_tree(s, w, v->raw);
    w->n--;
    v->busy = false;
    v->masked = true;
}

void scope_close(struct scope *s)
{
    struct walk w = {.n = 0};
    for (size_t i = 0; i < s->n; i++)
        close_var(s, &w, &s->v[i]);
}

/* ---- substitution ---- */

/* The value of a variable at the current point, NULL after a problem. */
static const struct ynode *value_of(struct scope *s, struct var *v, const struct ynode *used)
{
    if (v->epoch == s->epoch || (v->epoch && !v->mask))
        return v->value;
    if (ynode_is_null(v->raw) && v->sweep_key < 0) {
        char hint[200];
        snprintf(hint, sizeof hint, "give it with --set %.100s=VALUE", v->name);
        diag_value(s->d, DIAG_ERROR, used, hint, "the variable \"%.100s\" has no value", v->name);
        return NULL;
    }
    if (v->busy || s->depth >= VARS_DEPTH + 1)
        return NULL; /* reported by scope_close */
    v->busy = true;
    s->depth++;
    v->value = scope_subst(s, v->raw);
    s->depth--;
    v->busy = false;
    v->epoch = s->epoch;
    return v->value;
}

static struct var *find_used(struct scope *s, const struct ynode *y, struct str name)
{
    struct var *v = scope_find(s, name);
    if (v)
        return v;
    char hint[200] = "declare it under vars:", word[130];
    snprintf(word, sizeof word, "%.*s", (int)(name.n < 128 ? name.n : 128), name.p);
    const char *near = scope_near(s, word);
    if (near)
        snprintf(hint, sizeof hint, "did you mean \"${%s}\"?", near);
    else if (name.n > 4 && memcmp(name.p, "env.", 4) == 0)
        snprintf(hint, sizeof hint, "the environment is \"${env:NAME}\"");
    diag_value(s->d, DIAG_ERROR, y, hint, "unknown variable \"%s\"", word);
    return NULL;
}

static const char *env_value(struct scope *s, const struct ynode *y, struct str name)
{
    char z[256];
    snprintf(z, sizeof z, "%.*s", (int)(name.n < 255 ? name.n : 255), name.p);
    const char *value = watch_env(z);
    if (!value)
        diag_value(s->d, DIAG_ERROR, y, "set it in the shell, or declare a variable under vars:", "the environment has no %s", z);
    return value;
}

/* A copy of `value` that remembers being used at y. */
static const struct ynode *with_via(struct scope *s, const struct ynode *value, const struct ynode *y)
{
    struct ynode *out = arena_alloc(s->arena, sizeof *out);
    if (!out)
        goto nomem;
    *out = *value;
    out->via = NULL;
    const struct via **tail = &out->via;
    for (const struct via *v = value->via; v; v = v->next) {
        struct via *c = arena_alloc(s->arena, sizeof *c);
        if (!c)
            goto nomem;
        *c = *v;
        c->next = NULL;
        *tail = c;
        tail = &c->next;
    }
    struct via *last = arena_alloc(s->arena, sizeof *last);
    if (!last)
        goto nomem;
    last->at = y->at;
    last->text = arena_printf(s->arena, "\"%.80s\" is used here", y->text.p);
    *tail = last;
    if (last->text)
        return out;
nomem:
    s->nomem = true;
    return NULL;
}

static const struct ynode *subst_whole(struct scope *s, const struct ynode *y, enum part kind, struct str name)
{
    if (kind == PART_ENV) {
        const char *value = env_value(s, y, name);
        struct ynode *out = value ? ynode_scalar(s->arena, str_of(value), true, y->at) : NULL;
        s->nomem |= value && !out;
        if (out)
            out->dollar = false;
        return out;
    }
    struct var *v = find_used(s, y, name);
    const struct ynode *value = v ? value_of(s, v, y) : NULL;
    return value ? with_via(s, value, y) : NULL;
}

/* The chain of a text: where the values of the variables inside it stand, then how it came itself. */
struct chain {
    const struct via *first;
    struct via *last;
};

static bool tell_part(struct scope *s, const struct var *v, const struct ynode *value, struct chain *c)
{
    struct via *one = arena_alloc(s->arena, sizeof *one);
    char *text = arena_printf(s->arena, "\"${%.80s}\" is given here", v->name);
    s->nomem |= !one || !text;
    if (!one || !text)
        return false;
    *one = (struct via){.at = value->at, .text = text, .next = c->last ? c->last->next : c->first};
    if (c->last)
        c->last->next = one;
    else
        c->first = one;
    c->last = one;
    return true;
}

/* Appends one part; false after a problem. */
static bool put_part(struct scope *s, const struct ynode *y, enum part kind, struct str what, struct buf *out, struct place *at, struct chain *chain)
{
    if (kind == PART_TEXT) {
        buf_str(out, what);
        return true;
    }
    if (kind == PART_ENV) {
        const char *value = env_value(s, y, what);
        if (value)
            buf_puts(out, value);
        return value != NULL;
    }
    struct var *v = find_used(s, y, what);
    const struct ynode *value = v ? value_of(s, v, y) : NULL;
    if (!value)
        return false;
    if (value->kind != Y_SCALAR) {
        diag_value(s->d, DIAG_ERROR, y, "a list or mapping can only be the whole value", "the variable \"%.80s\" is a %s; it cannot stand inside text",
                   v->name, ynode_kind_name(value));
        return false;
    }
    if (out->n == 0 && value->text.n) /* a relative path starts where its first word stands */
        *at = value->at;
    buf_str(out, value->text);
    return tell_part(s, v, value, chain);
}

static const struct ynode *subst_text(struct scope *s, const struct ynode *y)
{
    struct buf b = {0};
    struct str what;
    struct place start = y->at;
    struct chain chain = {.first = y->via};
    size_t at = 0;
    bool ok = true;
    const struct ynode *out = NULL;
    for (enum part k; ok && (k = next_part(y->text, &at, &what)) != PART_END;) {
        if (k == PART_BAD) {
            diag_value(s->d, DIAG_ERROR, y, "a literal ${ is written $${", "\"${\" without \"}\"");
            ok = false;
            break;
        }
        ok = put_part(s, y, k, what, &b, &start, &chain);
        if (ok && b.n > VARS_TEXT) {
            diag_value(s->d, DIAG_ERROR, y, NULL, "the text is longer than %d bytes after substitution", VARS_TEXT);
            ok = false;
        }
    }
    if (ok && !b.failed) {
        struct ynode *t = ynode_scalar(s->arena, buf_view(&b), y->plain, y->at);
        if (t) {
            t->dollar = false;
            t->via = chain.first;
            t->base = start.file != y->at.file || start.line <= 0 ? start.line > 0 ? start.file : "" : NULL;
        }
        out = t;
        s->nomem |= !t;
    }
    s->nomem |= b.failed;
    buf_release(&b);
    return out;
}

static const struct ynode *subst_scalar(struct scope *s, const struct ynode *y)
{
    struct str what;
    size_t at = 0;
    enum part k = next_part(y->text, &at, &what);
    if ((k == PART_VAR || k == PART_ENV) && at == y->text.n)
        return subst_whole(s, y, k, what);
    return subst_text(s, y);
}

/* Containers are rebuilt; all elements are tried, so that every problem is reported. */
static const struct ynode *subst_all(struct scope *s, const struct ynode *y)
{
    struct ynode *out = arena_alloc(s->arena, sizeof *out);
    bool ok = true;
    if (out) {
        *out = *y;
        out->weight = 1;
        out->dollar = false;
        if (y->kind == Y_LIST)
            out->v = arena_array(s->arena, y->n, sizeof *out->v);
        else
            out->pairs = arena_array(s->arena, y->n, sizeof *out->pairs);
    }
    if (!out || (y->n && !out->v && !out->pairs)) {
        s->nomem = true;
        return NULL;
    }
    for (size_t i = 0; i < y->n; i++) {
        const struct ynode *x = scope_subst(s, y->kind == Y_LIST ? y->v[i] : y->pairs[i].value);
        ok &= x != NULL;
        if (!x)
            continue;
        out->weight += x->weight;
        if (y->kind == Y_LIST) {
            out->v[i] = x;
        } else {
            out->pairs[i] = y->pairs[i];
            out->pairs[i].value = x;
        }
    }
    if (ok && out->weight > YAML_NODES) {
        diag_value(s->d, DIAG_ERROR, y, NULL, "more than %d values after substitution", YAML_NODES);
        return NULL;
    }
    return ok ? out : NULL;
}

const struct ynode *scope_subst(struct scope *s, const struct ynode *y)
{
    if (!y || !y->dollar)
        return y;
    return y->kind == Y_SCALAR ? subst_scalar(s, y) : subst_all(s, y);
}
