/* SPDX-License-Identifier: MIT */
#include "engine/key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/param.h"

static void field(struct buf *b, const void *p, size_t n)
{
    uint8_t len[8];
    for (int i = 0; i < 8; i++)
        len[i] = (uint8_t)((uint64_t)n >> (8 * i));
    buf_put(b, len, sizeof len);
    buf_put(b, p, n);
}

static void field_text(struct buf *b, const char *z)
{
    field(b, z, strlen(z));
}

static void field_int(struct buf *b, long long v)
{
    char z[24];
    int n = snprintf(z, sizeof z, "%lld", v);
    field(b, z, (size_t)n);
}

/* A kind, not the type of the table: an INT that becomes a SIZE is the same value. */
static const char kind_letter[] = {
    [PARAM_BOOL] = 'b', [PARAM_INT] = 'i', [PARAM_SIZE] = 'i', [PARAM_FLOAT] = 'f', [PARAM_DURATION] = 'f', [PARAM_STRING] = 's',
    [PARAM_ENUM] = 's', [PARAM_PATH] = 'p', [PARAM_INTS] = 'I', [PARAM_STRINGS] = 'S', [PARAM_MAP] = 'm',
};

/* A path whose value is a word of the table is that word; a file is known by its digest. */
static bool in_key(const struct param_def *d, const struct param_value *v)
{
    bool word = d->type == PARAM_PATH && d->choices && v->set && param_is_choice(d->choices, str_of(v->s));
    return v->set && (d->type != PARAM_PATH || word) && !(d->flags & PARAM_NOKEY);
}

struct order {
    const char *name;
    const struct digest *digest; /* sources only */
    size_t i;
};

static int by_name(const void *pa, const void *pb)
{
    const struct order *a = pa, *b = pb;
    int c = strcmp(a->name, b->name);
    if (c == 0 && a->digest && b->digest)
        c = digest_cmp(a->digest, b->digest);
    return c ? c : (a->i > b->i) - (a->i < b->i);
}

/* Takes over v. A name that is there already (a variadic port, two sources of one label) makes the value a list. */
static int put_json(struct js *obj, const char *name, struct js *v)
{
    const struct js *old = js_get(obj, name);
    if (!old)
        return js_set(obj, name, v);
    struct js *list = js_kind(old) == JS_ARRAY ? js_copy(old) : js_array();
    int bad = !list;
    if (list && js_kind(old) != JS_ARRAY)
        bad |= js_push(list, js_copy(old));
    if (list)
        bad |= js_push(list, v);
    else
        js_free(v);
    if (bad) {
        js_free(list);
        return -1;
    }
    return js_set(obj, name, list);
}

static int put_digest(struct js *obj, const char *name, const struct digest *d)
{
    char hex[DIGEST_HEX];
    digest_hex(d, hex);
    return put_json(obj, name, js_new_cstr(hex));
}

static int add_params(const struct node *n, struct order *o, struct buf *b, struct js *into)
{
    size_t count = 0;
    int bad = 0;
    struct buf text = {0};
    for (size_t i = 0; n->op->params && n->op->params[i].name; i++)
        if (in_key(&n->op->params[i], &n->values[i]))
            o[count++] = (struct order){n->op->params[i].name, NULL, i};
    qsort(o, count, sizeof *o, by_name);
    field_int(b, (long long)count);
    for (size_t k = 0; k < count; k++) {
        const struct param_def *d = &n->op->params[o[k].i];
        const struct param_value *v = &n->values[o[k].i];
        buf_clear(&text);
        param_canon(&text, d, v);
        field_text(b, d->name);
        field(b, &kind_letter[d->type == PARAM_PATH ? PARAM_STRING : d->type], 1);
        field(b, text.p ? text.p : "", text.n);
        if (into)
            bad |= js_set(into, d->name, param_json(d, v));
    }
    bad |= text.failed;
    buf_release(&text);
    return bad;
}

static int add_inputs(const struct node *n, const struct artifact *const *inputs, struct order *o, struct buf *b, struct js *into)
{
    int bad = 0;
    for (size_t i = 0; i < n->n_edges; i++)
        o[i] = (struct order){n->op->inputs[n->edges[i].port].name, NULL, i};
    qsort(o, n->n_edges, sizeof *o, by_name);
    field_int(b, (long long)n->n_edges);
    for (size_t k = 0; k < n->n_edges; k++) {
        const struct digest *d = &inputs[o[k].i]->digest;
        field_text(b, o[k].name);
        field(b, d->b, sizeof d->b);
        if (into)
            bad |= put_digest(into, o[k].name, d);
    }
    return bad;
}

static int add_sources(const struct plan_source *sources, size_t n, struct order *o, struct buf *b, struct js *into)
{
    int bad = 0;
    for (size_t i = 0; i < n; i++)
        o[i] = (struct order){sources[i].label, &sources[i].digest, i};
    qsort(o, n, sizeof *o, by_name);
    field_int(b, (long long)n);
    for (size_t k = 0; k < n; k++) {
        field_text(b, o[k].name);
        field(b, o[k].digest->b, sizeof o[k].digest->b);
        if (into)
            bad |= put_digest(into, o[k].name, o[k].digest);
    }
    return bad;
}

static int assemble(const struct node *n, const struct artifact *const *inputs, const struct plan_source *sources, size_t n_sources,
                    struct order *o, struct buf *b, struct js *all)
{
    struct js *params = all ? js_object() : NULL, *in = all ? js_object() : NULL, *src = all ? js_object() : NULL;
    field_text(b, "pkgraph key 1");
    field_text(b, n->op->name);
    field_int(b, n->op->version);
    int bad = add_params(n, o, b, params) | add_inputs(n, inputs, o, b, in) | add_sources(sources, n_sources, o, b, src);
    if (all)
        bad |= js_set(all, "op", js_new_cstr(n->op->name)) | js_set(all, "version", js_new_int(n->op->version)) |
               js_set(all, "params", params) | js_set(all, "inputs", in) | js_set(all, "sources", src);
    return bad;
}

int key_compute(const struct node *n, const struct artifact *const *inputs, const struct plan_source *sources, size_t n_sources,
                struct digest *out, struct js **expanded, struct err *e)
{
    size_t most = n->n_edges > n_sources ? n->n_edges : n_sources, params = 0;
    while (n->op->params && n->op->params[params].name)
        params++;
    if (params > most)
        most = params;
    struct order *o = malloc((most + 1) * sizeof *o);
    struct js *all = expanded ? js_object() : NULL;
    struct buf b = {0};
    int bad = !o || (expanded && !all);
    if (!bad)
        bad = assemble(n, inputs, sources, n_sources, o, &b, all) || b.failed;
    if (!bad) {
        sha_bytes(b.p, b.n, out);
        if (expanded)
            *expanded = js_ref(all);
    }
    js_free(all);
    buf_release(&b);
    free(o);
    return bad ? err_nomem(e, b.n, "a key") : 0;
}

/* ---- differences ---- */

static char *text_of(const struct js *v)
{
    struct buf b = {0};
    if (!v)
        return NULL;
    if (js_kind(v) == JS_STRING)
        buf_str(&b, js_str(v));
    else
        js_write(&b, v);
    if (!b.p && !b.failed)
        buf_puts(&b, "");
    return buf_steal(&b);
}

struct changes {
    struct key_change *v;
    size_t n, cap;
    bool failed;
};

static void change(struct changes *c, enum key_part part, const char *name, const struct js *was, const struct js *now)
{
    if (c->failed || (was && now && js_equal(was, now)) || (!was && !now))
        return;
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 8;
        struct key_change *v = realloc(c->v, cap * sizeof *v);
        if (!v) {
            c->failed = true;
            return;
        }
        c->v = v;
        c->cap = cap;
    }
    struct key_change *k = &c->v[c->n++];
    *k = (struct key_change){part, strdup(name), text_of(was), text_of(now)};
    if (!k->name || (was && !k->was) || (now && !k->now))
        c->failed = true;
}

static int change_cmp(const void *pa, const void *pb)
{
    const struct key_change *a = pa, *b = pb;
    if (a->part != b->part)
        return a->part < b->part ? -1 : 1;
    return a->name && b->name ? strcmp(a->name, b->name) : 0;
}

static void compare(struct changes *c, enum key_part part, const struct js *was, const struct js *now)
{
    for (void *it = js_iter(was); it; it = js_next(was, it))
        change(c, part, js_iter_key(it), js_iter_value(it), js_get(now, js_iter_key(it)));
    for (void *it = js_iter(now); it; it = js_next(now, it))
        if (!js_get(was, js_iter_key(it)))
            change(c, part, js_iter_key(it), NULL, js_iter_value(it));
}

int key_changes(const struct js *was, const struct js *now, struct key_change **out, size_t *n, struct err *e)
{
    struct changes c = {0};
    change(&c, KEY_OP, "", js_get(was, "op"), js_get(now, "op"));
    change(&c, KEY_VERSION, "", js_get(was, "version"), js_get(now, "version"));
    compare(&c, KEY_PARAM, js_get(was, "params"), js_get(now, "params"));
    compare(&c, KEY_INPUT, js_get(was, "inputs"), js_get(now, "inputs"));
    compare(&c, KEY_SOURCE, js_get(was, "sources"), js_get(now, "sources"));
    *out = NULL;
    *n = 0;
    if (c.failed) {
        key_changes_free(c.v, c.n);
        return err_nomem(e, c.n, "a comparison of keys");
    }
    if (c.n > 1)
        qsort(c.v, c.n, sizeof *c.v, change_cmp);
    *out = c.v;
    *n = c.n;
    return 0;
}

void key_changes_free(struct key_change *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(c[i].name);
        free(c[i].was);
        free(c[i].now);
    }
    free(c);
}

/* At most 60 bytes of z, cut between characters. */
static struct str shorten(const char *z)
{
    struct str s = str_of(z);
    if (s.n <= 60)
        return s;
    for (s.n = 60; s.n && ((unsigned char)z[s.n] & 0xc0) == 0x80; s.n--)
        ;
    return s;
}

static void change_text(struct buf *out, const struct key_change *c)
{
    static const char *const what[] = {[KEY_INPUT] = "input", [KEY_SOURCE] = "source"};
    switch (c->part) {
    case KEY_OP:
        buf_printf(out, "operator %s -> %s", c->was ? c->was : "none", c->now ? c->now : "none");
        break;
    case KEY_VERSION:
        buf_printf(out, "operator version %s -> %s", c->was ? c->was : "none", c->now ? c->now : "none");
        break;
    case KEY_PARAM:
        buf_printf(out, "%s ", c->name);
        buf_str(out, shorten(c->was ? c->was : "unset"));
        buf_puts(out, " -> ");
        buf_str(out, shorten(c->now ? c->now : "unset"));
        break;
    case KEY_INPUT:
    case KEY_SOURCE:
        buf_printf(out, "%s %s %s", what[c->part], c->name, !c->was ? "added" : !c->now ? "removed" : "changed");
        break;
    }
}

void key_changes_text(struct buf *out, const struct key_change *c, size_t n, size_t most)
{
    for (size_t i = 0; i < n && i < most; i++) {
        if (i)
            buf_puts(out, ", ");
        change_text(out, &c[i]);
    }
    if (n > most)
        buf_printf(out, " and %zu more", n - most);
}
