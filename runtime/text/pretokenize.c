/* SPDX-License-Identifier: MIT */
#include "runtime/text/pretokenize.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/text/utf8.h"

/* the pattern of GPT-2, which ByteLevel uses */
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* ---- reading ---- */

static int append(struct cut_steps *l, struct cut_step x, struct err *e)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 4;
        struct cut_step *v = realloc(l->v, cap * sizeof *v);
        if (!v) {
            regex_free(x.regex);
            return err_nomem(e, cap * sizeof *v, "pre-tokenisers");
        }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = x;
    return 0;
}

static int append_pattern(struct cut_steps *l, struct str pattern, bool literal, enum split_behavior behavior,
                          const char *where, struct err *e)
{
    struct cut_step x = {.kind = CUT_SPLIT, .behavior = behavior};
    int rc = regex_new(pattern, literal, where, &x.regex, e);
    return rc < 0 ? rc : append(l, x, e);
}

static int read_byte_level(struct cut_steps *l, const struct js *j, const char *where, struct err *e)
{
    int rc = 0;
    if (js_bool(js_get(j, "add_prefix_space"), true))
        rc = append(l, (struct cut_step){.kind = CUT_PREFIX_SPACE}, e);
    if (rc == 0 && js_bool(js_get(j, "use_regex"), true))
        rc = append_pattern(l, STR(GPT2), false, SPLIT_ISOLATED, where, e);
    return rc < 0 ? rc : append(l, (struct cut_step){.kind = CUT_BYTES}, e);
}

static int read_behavior(const struct js *j, const char *where, enum split_behavior *out, struct err *e)
{
    static const char *const names[] = {"Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"};
    const char *name = js_cstr(js_get(j, "behavior"));
    for (int i = 0; name && i < 5; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum split_behavior)i;
            return 0;
        }
    }
    return err_set(e, ERR_INPUT,
                   "%s: \"behavior\" should be Isolated, Removed, Contiguous, MergedWithPrevious or MergedWithNext",
                   where);
}

static int read_split(struct cut_steps *l, const struct js *j, const char *where, struct err *e)
{
    struct cut_step x = {.kind = CUT_SPLIT, .invert = js_bool(js_get(j, "invert"), false)};
    int rc = read_behavior(j, where, &x.behavior, e);
    if (rc == 0)
        rc = pattern_read(j, where, &x.regex, e);
    return rc < 0 ? rc : append(l, x, e);
}

static int read_metaspace(struct cut_steps *l, const struct js *j, const char *where, struct err *e)
{
    struct cut_step x = {.kind = CUT_METASPACE, .mark = js_str(js_get(j, "replacement"))};
    const char *scheme = js_cstr(js_get(j, "prepend_scheme"));
    uint32_t cp;
    if (!x.mark.n || utf8_next(x.mark.p, x.mark.n, &cp) != x.mark.n)
        return err_set(e, ERR_INPUT, "%s: \"replacement\" should be one character", where);
    if (scheme && strcmp(scheme, "first") == 0)
        x.scheme = PREPEND_FIRST;
    else if (scheme && strcmp(scheme, "never") == 0)
        x.scheme = PREPEND_NEVER;
    else if (scheme && strcmp(scheme, "always") != 0)
        return err_set(e, ERR_INPUT, "%s: \"prepend_scheme\" should be always, first or never", where);
    if (!js_bool(js_get(j, "add_prefix_space"), true))
        x.scheme = PREPEND_NEVER;
    int rc = append(l, x, e);
    if (rc == 0 && js_bool(js_get(j, "split"), true))
        rc = append_pattern(l, x.mark, true, SPLIT_WITH_NEXT, where, e);
    return rc;
}

static int read_digits(struct cut_steps *l, const struct js *j, const char *where, struct err *e)
{
    enum split_behavior b = js_bool(js_get(j, "individual_digits"), false) ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
    return append_pattern(l, STR("\\p{N}"), false, b, where, e);
}

static int read_punctuation(struct cut_steps *l, const struct js *j, const char *where, struct err *e)
{
    enum split_behavior b = SPLIT_ISOLATED;
    int rc = js_get(j, "behavior") ? read_behavior(j, where, &b, e) : 0;
    return rc < 0 ? rc : append_pattern(l, STR("[!-\\/:-@\\[-`{-~\\p{P}]"), false, b, where, e);
}

static int read_space_split(struct cut_steps *l, const struct js *j, const char *where, struct err *e)
{
    (void)j;
    return append_pattern(l, STR("\\s"), false, SPLIT_REMOVED, where, e);
}

static int read_one(struct cut_steps *l, const struct js *j, const char *where, int depth, struct err *e)
{
    static const struct {
        const char *type;
        int (*read)(struct cut_steps *l, const struct js *j, const char *where, struct err *e);
    } kinds[] = {{"ByteLevel", read_byte_level},    {"Split", read_split},
                 {"Metaspace", read_metaspace},     {"Digits", read_digits},
                 {"Punctuation", read_punctuation}, {"WhitespaceSplit", read_space_split}};
    const char *type = js_cstr(js_get(j, "type"));
    if (!type)
        return err_set(e, ERR_INPUT, "%s: a pre-tokeniser needs a \"type\"", where);
    if (strcmp(type, "Sequence") == 0) {
        const struct js *list = js_get(j, "pretokenizers");
        if (js_kind(list) != JS_ARRAY || depth > 16)
            return err_set(e, ERR_INPUT, "%s: a Sequence needs a list \"pretokenizers\", at most 16 deep", where);
        int rc = 0;
        for (size_t i = 0; rc == 0 && i < js_len(list); i++)
            rc = read_one(l, js_at(list, i), where, depth + 1, e);
        return rc;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(type, kinds[i].type) == 0)
            return kinds[i].read(l, j, where, e);
    }
    return err_set(
        e, ERR_UNSUPPORTED,
        "%s: the pre-tokeniser %.60s is not supported; known are ByteLevel, Split, Metaspace, Digits, Punctuation, "
        "WhitespaceSplit, Sequence",
        where, type);
}

int cut_steps_read(struct cut_steps *l, const struct js *j, const char *where, struct err *e)
{
    int rc = j == NULL || js_kind(j) == JS_NULL ? 0 : read_one(l, j, where, 0, e);
    if (rc == 0 && l->n && l->v[l->n - 1].kind == CUT_BYTES) {
        l->bytes = true;
        l->n--;
    }
    return rc;
}

void cut_steps_release(struct cut_steps *l)
{
    for (size_t i = 0; i < l->n; i++)
        regex_free(l->v[i].regex);
    free(l->v);
    *l = (struct cut_steps){0};
}

/* ---- running ---- */

void cutting_release(struct cutting *c)
{
    buf_release(&c->work[0]);
    buf_release(&c->work[1]);
    free(c->v);
    free(c->next);
    free(c->spans);
    *c = (struct cutting){0};
}

static int put_piece(struct cutting *c, size_t off, size_t n, bool first)
{
    if (n == 0)
        return 0;
    if (c->n_next == c->cap_next) {
        size_t cap = c->cap_next ? 2 * c->cap_next : 256;
        struct piece *v = realloc(c->next, cap * sizeof *v);
        if (!v)
            return -1;
        c->next = v;
        c->cap_next = cap;
    }
    c->next[c->n_next++] = (struct piece){off, n, first};
    return 0;
}

static int put_span(struct cutting *c, size_t from, size_t to, bool match)
{
    if (c->n_spans == c->cap_spans) {
        size_t cap = c->cap_spans ? 2 * c->cap_spans : 256;
        struct span *v = realloc(c->spans, cap * sizeof *v);
        if (!v)
            return -1;
        c->spans = v;
        c->cap_spans = cap;
    }
    c->spans[c->n_spans++] = (struct span){from, to, match};
    return 0;
}

/* What becomes of matches and the texts between them. */
static void join_spans(struct cutting *c, enum split_behavior behavior)
{
    struct span *v = c->spans;
    size_t n = c->n_spans, k = 0;
    if (behavior == SPLIT_REMOVED) {
        for (size_t i = 0; i < n; i++) {
            if (!v[i].match)
                v[k++] = v[i];
        }
    } else if (behavior == SPLIT_WITH_NEXT) { /* from the right, collecting at the right end */
        bool previous = false;
        for (size_t i = n; i-- > 0;) {
            bool match = v[i].match;
            if (match && !previous && k)
                v[n - k].from = v[i].from;
            else
                v[n - ++k] = v[i];
            previous = match;
        }
        memmove(v, v + n - k, k * sizeof *v);
    } else {
        bool previous = false;
        for (size_t i = 0; i < n; i++) {
            bool match = v[i].match;
            bool join = behavior == SPLIT_CONTIGUOUS ? match == previous : match && !previous;
            if (join && k)
                v[k - 1].to = v[i].to;
            else
                v[k++] = v[i];
            previous = match;
        }
    }
    c->n_spans = k;
}

static int split_piece(const struct cut_step *x, const struct piece *p, struct cutting *c, struct matcher *m,
                       struct err *e)
{
    struct match_iter it;
    size_t last = 0;
    int rc;
    bool simple = x->behavior == SPLIT_ISOLATED;
    match_start(&it, x->regex, (struct str){c->text.p + p->off, p->n});
    c->n_spans = 0;
    while ((rc = match_next(&it, m, e)) > 0) {
        if (simple) {
            if (put_piece(c, p->off + last, it.start - last, p->first && last == 0) < 0 ||
                put_piece(c, p->off + it.start, it.end - it.start, p->first && it.start == 0) < 0)
                return err_nomem(e, c->n_next, "pieces of a text");
        } else if ((last != it.start && put_span(c, last, it.start, x->invert) < 0) ||
                   put_span(c, it.start, it.end, !x->invert) < 0) {
            return err_nomem(e, c->n_spans, "pieces of a text");
        }
        last = it.end;
    }
    if (rc < 0)
        return rc;
    if (simple)
        return put_piece(c, p->off + last, p->n - last, p->first && last == 0) < 0
                   ? err_nomem(e, c->n_next, "pieces of a text")
                   : 0;
    if (last != p->n && put_span(c, last, p->n, x->invert) < 0)
        return err_nomem(e, c->n_spans, "pieces of a text");
    join_spans(c, x->behavior);
    for (size_t i = 0; i < c->n_spans; i++) {
        const struct span *s = &c->spans[i];
        if (put_piece(c, p->off + s->from, s->to - s->from, p->first && s->from == 0) < 0)
            return err_nomem(e, c->n_next, "pieces of a text");
    }
    return 0;
}

/* The new text of a piece for the steps that change texts. */
static void rewrite(const struct cut_step *x, struct str s, bool first, struct buf *out)
{
    if (x->kind == CUT_BYTES) {
        put_byte_chars(out, s);
        return;
    }
    if (x->kind == CUT_PREFIX_SPACE) {
        if (s.p[0] != ' ')
            buf_putc(out, ' ');
        buf_str(out, s);
        return;
    }
    bool marked = s.p[0] == ' ' || (s.n >= x->mark.n && memcmp(s.p, x->mark.p, x->mark.n) == 0);
    if (!marked && (x->scheme == PREPEND_ALWAYS || (x->scheme == PREPEND_FIRST && first)))
        buf_str(out, x->mark);
    for (size_t i = 0; i < s.n;) {
        const char *space = memchr(s.p + i, ' ', s.n - i);
        size_t k = space ? (size_t)(space - s.p) - i : s.n - i;
        buf_put(out, s.p + i, k);
        if (space)
            buf_str(out, x->mark);
        i += k + (space != NULL);
    }
}

static int rewrite_pieces(const struct cut_step *x, struct cutting *c, struct err *e)
{
    struct buf *out = c->text.p == c->work[0].p ? &c->work[1] : &c->work[0];
    buf_clear(out);
    for (size_t i = 0; i < c->n; i++) {
        size_t off = out->n;
        rewrite(x, (struct str){c->text.p + c->v[i].off, c->v[i].n}, c->v[i].first, out);
        if (out->failed || put_piece(c, off, out->n - off, c->v[i].first) < 0)
            return err_nomem(e, out->n, "pieces of a text");
    }
    c->text = buf_view(out);
    return 0;
}

static void swap(struct cutting *c)
{
    struct piece *v = c->v;
    size_t cap = c->cap;
    c->v = c->next;
    c->n = c->n_next;
    c->cap = c->cap_next;
    c->next = v;
    c->cap_next = cap;
    c->n_next = 0;
}

int cut_text(const struct cut_steps *l, struct str text, bool first, struct cutting *c, struct matcher *m,
             struct err *e)
{
    c->text = text;
    c->n_next = 0;
    if (put_piece(c, 0, text.n, first) < 0)
        return err_nomem(e, sizeof *c->next, "pieces of a text");
    swap(c);
    for (size_t k = 0; k < l->n; k++) {
        const struct cut_step *x = &l->v[k];
        int rc = 0;
        if (x->kind == CUT_SPLIT) {
            for (size_t i = 0; rc == 0 && i < c->n; i++)
                rc = split_piece(x, &c->v[i], c, m, e);
        } else {
            rc = rewrite_pieces(x, c, e);
        }
        if (rc < 0)
            return rc;
        swap(c);
    }
    return 0;
}
