/* SPDX-License-Identifier: MIT */
#include "runtime/text/token_lists.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/text/utf8.h"

void token_lists_release(struct token_lists *l)
{
    free(l->vocab);
    free(l->merges);
    free(l->texts);
    *l = (struct token_lists){0};
}

/* Room for one more; doubles. */
static void *grown(void *v, size_t n, size_t *cap, size_t each)
{
    if (n < *cap)
        return v;
    size_t want = *cap ? 2 * *cap : 1024;
    void *more = want > SIZE_MAX / each ? NULL : realloc(v, want * each);
    if (more)
        *cap = want;
    return more;
}

/* ---- scanning ---- */

struct scan {
    struct str in;
    size_t i;
    char *text; /* where the next decoded text goes */
};

static void blanks(struct scan *s)
{
    while (s->i < s->in.n && (s->in.p[s->i] == ' ' || s->in.p[s->i] == '\n' || s->in.p[s->i] == '\t' || s->in.p[s->i] == '\r'))
        s->i++;
}

static bool take(struct scan *s, char c)
{
    blanks(s);
    if (s->i >= s->in.n || s->in.p[s->i] != c)
        return false;
    s->i++;
    return true;
}

/* Behind a string that begins at i. */
static bool skip_string(struct scan *s)
{
    if (!take(s, '"'))
        return false;
    while (s->i < s->in.n) {
        const char *p = s->in.p + s->i, *end = memchr(p, '"', s->in.n - s->i);
        if (!end)
            return false;
        size_t back = 0;
        while (end - back > p && end[-1 - (ptrdiff_t)back] == '\\')
            back++;
        s->i = (size_t)(end - s->in.p) + 1;
        if (back % 2 == 0)
            return true;
        /* an escaped quote: the backslashes counted all lie behind p, because p is behind a quote */
    }
    return false;
}

/* Behind any value: brackets are matched, nothing else is looked at. */
static bool skip_value(struct scan *s)
{
    size_t depth = 0;
    do {
        blanks(s);
        char c = s->i < s->in.n ? s->in.p[s->i] : 0;
        if (c == '"') {
            if (!skip_string(s))
                return false;
        } else if (c == '{' || c == '[') {
            depth++;
            s->i++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return false;
            depth--;
            s->i++;
        } else if (c == 0) {
            return false;
        } else {
            s->i++;
            if (depth == 0)
                while (s->i < s->in.n && !strchr(",}] \t\r\n", s->in.p[s->i]))
                    s->i++;
        }
    } while (depth);
    return true;
}

static int hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int h = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (h < 0)
            return -1;
        v = v << 4 | h;
    }
    return v;
}

/* \uNNNN at in.p[*i] (the u), a pair of them beyond 16 bits; 0: not a character. */
static size_t unicode_escape(struct str in, size_t *i, char *out)
{
    int a = in.n - *i > 4 ? hex4(in.p + *i + 1) : -1, b;
    *i += 5;
    if (a <= 0 || (a >= 0xdc00 && a < 0xe000))
        return 0;
    if (a < 0xd800 || a >= 0xe000)
        return utf8_put((uint32_t)a, out);
    if (in.n - *i < 6 || in.p[*i] != '\\' || in.p[*i + 1] != 'u' || (b = hex4(in.p + *i + 2)) < 0xdc00 || b >= 0xe000)
        return 0;
    *i += 6;
    return utf8_put(0x10000 + (((uint32_t)a & 0x3ff) << 10) + ((uint32_t)b & 0x3ff), out);
}

/* A string, decoded; it has a NUL behind it. */
static bool string(struct scan *s, struct str *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (!take(s, '"'))
        return false;
    char *p = s->text;
    struct str in = s->in;
    size_t i = s->i;
    while (i < in.n && in.p[i] != '"') {
        unsigned char c = (unsigned char)in.p[i];
        if (c < 0x20)
            return false;
        if (c != '\\') {
            *p++ = in.p[i++];
            continue;
        }
        if (++i >= in.n)
            return false;
        const char *k = memchr(from, in.p[i], sizeof from - 1);
        size_t n = 0;
        if (k) {
            *p++ = to[k - from];
            i++;
        } else if (in.p[i] != 'u' || (n = unicode_escape(in, &i, p)) == 0) {
            return false;
        }
        p += n;
    }
    if (i >= in.n)
        return false;
    *out = (struct str){s->text, (size_t)(p - s->text)};
    *p++ = 0;
    s->text = p;
    s->i = i + 1;
    return true;
}

static bool number(struct scan *s, int64_t *out)
{
    blanks(s);
    size_t from = s->i;
    int64_t v = 0;
    while (s->i < s->in.n && s->in.p[s->i] >= '0' && s->in.p[s->i] <= '9' && s->i - from < 15)
        v = v * 10 + (s->in.p[s->i++] - '0');
    *out = v;
    return s->i > from && !(s->in.p[from] == '0' && s->i > from + 1) && s->i < s->in.n && !memchr(".eE0123456789", s->in.p[s->i], 13);
}

/* "a b" into its two tokens */
static bool split(struct str s, struct listed_merge *out)
{
    const char *space = s.n ? memchr(s.p, ' ', s.n) : NULL;
    if (!space)
        return false;
    out->a = (struct str){s.p, (size_t)(space - s.p)};
    out->b = (struct str){space + 1, s.n - out->a.n - 1};
    return !out->b.n || !memchr(out->b.p, ' ', out->b.n);
}

static int scan_vocab(struct scan *s, struct token_lists *l)
{
    size_t cap = 0;
    if (!take(s, '{'))
        return 0;
    while (!take(s, '}')) {
        struct listed_token x;
        if ((l->n_vocab && !take(s, ',')) || !string(s, &x.text) || !take(s, ':') || !number(s, &x.id))
            return 0;
        void *v = grown(l->vocab, l->n_vocab, &cap, sizeof *l->vocab);
        if (!v)
            return -1;
        l->vocab = v;
        l->vocab[l->n_vocab++] = x;
    }
    return 1;
}

static int scan_merges(struct scan *s, struct token_lists *l)
{
    size_t cap = 0;
    if (!take(s, '['))
        return 0;
    while (!take(s, ']')) {
        struct listed_merge x = {.rank = (uint32_t)l->n_merges};
        struct str one;
        if (l->n_merges && !take(s, ','))
            return 0;
        bool good = take(s, '[') ? string(s, &x.a) && take(s, ',') && string(s, &x.b) && take(s, ']') : string(s, &one) && split(one, &x);
        if (!good || l->n_merges > INT32_MAX / 2)
            return 0;
        void *v = grown(l->merges, l->n_merges, &cap, sizeof *l->merges);
        if (!v)
            return -1;
        l->merges = v;
        l->merges[l->n_merges++] = x;
    }
    return 1;
}

/* The places of vocab and merges inside the top-level "model"; false: not both once. */
static bool find(struct str json, struct scan at[2])
{
    struct scan s = {.in = json}, key;
    bool seen[2] = {false, false};
    if (!take(&s, '{'))
        return false;
    for (bool first = true; !take(&s, '}'); first = false) {
        if (!first && !take(&s, ','))
            return false;
        blanks(&s);
        key = s;
        if (!skip_string(&s) || !take(&s, ':'))
            return false;
        bool model = key.in.n - key.i > 7 && memcmp(key.in.p + key.i, "\"model\"", 7) == 0;
        if (!model) {
            if (!skip_value(&s))
                return false;
            continue;
        }
        if (!take(&s, '{'))
            return false;
        for (bool inner = true; !take(&s, '}'); inner = false) {
            if (!inner && !take(&s, ','))
                return false;
            blanks(&s);
            key = s;
            if (!skip_string(&s) || !take(&s, ':'))
                return false;
            size_t left = key.in.n - key.i;
            int which = left > 7 && memcmp(key.in.p + key.i, "\"vocab\"", 7) == 0 ? 0 : left > 8 && memcmp(key.in.p + key.i, "\"merges\"", 8) == 0 ? 1 : -1;
            blanks(&s);
            if (which >= 0) {
                if (seen[which])
                    return false;
                seen[which] = true;
                at[which] = s;
            }
            if (!skip_value(&s))
                return false;
        }
    }
    return seen[0] && seen[1];
}

int token_lists_scan(struct str json, struct token_lists *out, struct buf *rest, struct err *e)
{
    struct scan at[2];
    *out = (struct token_lists){0};
    if (!find(json, at) || utf8_valid(json) < json.n)
        return 0;
    out->texts = malloc(json.n + 1); /* decoded texts are shorter, their NULs come from the quotes */
    if (!out->texts)
        return err_nomem(e, json.n, "a vocabulary");
    size_t from[2] = {at[0].i, at[1].i};
    at[0].text = out->texts;
    int rc = scan_vocab(&at[0], out);
    at[1].text = at[0].text;
    if (rc > 0)
        rc = scan_merges(&at[1], out);
    if (rc <= 0) {
        token_lists_release(out);
        return rc < 0 ? err_nomem(e, json.n, "a vocabulary") : 0;
    }
    int first = from[0] < from[1] ? 0 : 1;
    buf_put(rest, json.p, from[first]);
    buf_puts(rest, first == 0 ? "{}" : "[]");
    buf_put(rest, json.p + at[first].i, from[!first] - at[first].i);
    buf_puts(rest, first == 0 ? "[]" : "{}");
    buf_put(rest, json.p + at[!first].i, json.n - at[!first].i);
    if (rest->failed) {
        token_lists_release(out);
        return err_nomem(e, json.n, "a tokenizer");
    }
    return 1;
}

/* ---- from a value ---- */

static int read_merge(const struct js *j, struct listed_merge *out)
{
    if (js_kind(j) == JS_ARRAY && js_len(j) == 2) {
        out->a = js_str(js_at(j, 0));
        out->b = js_str(js_at(j, 1));
        return out->a.p && out->b.p ? 0 : -1;
    }
    return js_kind(j) == JS_STRING && split(js_str(j), out) ? 0 : -1;
}

int token_lists_read(const struct js *model, const char *what, struct token_lists *out, struct err *e)
{
    const struct js *vocab = js_get(model, "vocab"), *merges = js_get(model, "merges");
    *out = (struct token_lists){0};
    if (js_kind(vocab) != JS_OBJECT || js_len(vocab) == 0)
        return err_set(e, ERR_INPUT, "%s: model.vocab should be an object of tokens and ids", what);
    if (js_kind(merges) != JS_ARRAY)
        return err_set(e, ERR_INPUT, "%s: model.merges should be a list", what);
    out->vocab = calloc(js_len(vocab), sizeof *out->vocab);
    out->merges = calloc(js_len(merges) + 1, sizeof *out->merges);
    if (!out->vocab || !out->merges || js_len(merges) > INT32_MAX / 2)
        return err_nomem(e, js_len(merges) * sizeof *out->merges, "a vocabulary");
    for (void *it = js_iter(vocab); it; it = js_next(vocab, it))
        out->vocab[out->n_vocab++] = (struct listed_token){str_of(js_iter_key(it)), js_int(js_iter_value(it), -1)};
    for (size_t i = 0; i < js_len(merges); i++) {
        const struct js *j = js_at(merges, i);
        struct listed_merge x = {.rank = (uint32_t)i};
        if (js_kind(j) == JS_STRING && str_starts(js_str(j), "#version"))
            continue;
        if (read_merge(j, &x) < 0)
            return err_set(e, ERR_INPUT, "%s: model.merges: element %zu should be two tokens (\"a b\" or [\"a\", \"b\"])", what, i);
        out->merges[out->n_merges++] = x;
    }
    return 0;
}

int64_t token_lists_ids(size_t n_tokens)
{
    static const size_t most = (size_t)1 << 24;
    return n_tokens < most / 4 - 1024 ? (int64_t)(4 * n_tokens + 4096) : (int64_t)most;
}
