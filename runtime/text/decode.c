/* SPDX-License-Identifier: MIT
 *
 * decode: ids to text. The texts of the tokens go through the decoders of tokenizer.json, each of which maps a list of
 * texts to a list of texts, as in the `tokenizers` library; then they are joined. Ids without a token are passed over.
 */
#include <stdlib.h>

#include "runtime/text/tokenizer_parts.h"
#include "runtime/text/utf8.h"

/* a list of texts: the bytes of all, and where each ends */
struct texts {
    struct buf bytes;
    size_t n, cap;
    size_t *ends;
};

static void texts_release(struct texts *x)
{
    buf_release(&x->bytes);
    free(x->ends);
    *x = (struct texts){0};
}

static struct str text_at(const struct texts *x, size_t i)
{
    size_t from = i ? x->ends[i - 1] : 0;
    return (struct str){x->bytes.p ? x->bytes.p + from : "", x->ends[i] - from};
}

/* Ends the text that was appended to x->bytes. */
static int end_text(struct texts *x)
{
    if (x->n == x->cap) {
        size_t cap = x->cap ? 2 * x->cap : 256;
        size_t *ends = realloc(x->ends, cap * sizeof *ends);
        if (!ends)
            return -1;
        x->ends = ends;
        x->cap = cap;
    }
    x->ends[x->n++] = x->bytes.n;
    return x->bytes.failed ? -1 : 0;
}

/* ---- the decoders ---- */

#define REPLACEMENT "\xef\xbf\xbd"

/* Bytes as UTF-8; what is not becomes U+FFFD, one for each longest beginning of a sequence (as Unicode recommends). */
static void put_lossy(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n;) {
        size_t good = utf8_valid((struct str){s.p + i, s.n - i});
        buf_put(out, s.p + i, good);
        i += good;
        if (i == s.n)
            break;
        buf_puts(out, REPLACEMENT);
        const unsigned char *p = (const unsigned char *)s.p + i;
        size_t left = s.n - i, k = 1;
        size_t want = p[0] >= 0xc2 && p[0] < 0xe0   ? 2
                      : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
                      : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                                    : 1;
        unsigned char low = p[0] == 0xe0   ? 0xa0
                            : p[0] == 0xf0 ? 0x90
                                           : 0x80,
                      high = p[0] == 0xed   ? 0x9f
                             : p[0] == 0xf4 ? 0x8f
                                            : 0xbf;
        while (k < want && k < left && p[k] >= low && p[k] <= high) {
            k++;
            low = 0x80;
            high = 0xbf;
        }
        i += k;
    }
}

static int decode_bytes(const struct texts *in, struct texts *out)
{
    struct buf raw = {0};
    for (size_t i = 0; i < in->n; i++) {
        struct str s = text_at(in, i);
        size_t start = raw.n, k;
        uint32_t cp = 0;
        for (size_t at = 0; at < s.n && (k = utf8_next(s.p + at, s.n - at, &cp)); at += k) {
            int byte = char_to_byte(cp);
            if (byte < 0) { /* not of the alphabet: the token stands for itself */
                raw.n = start;
                buf_str(&raw, s);
                break;
            }
            buf_putc(&raw, (char)byte);
        }
    }
    put_lossy(&out->bytes, buf_view(&raw));
    int rc = raw.failed ? -1 : end_text(out);
    buf_release(&raw);
    return rc;
}

static int put_byte_tokens(struct texts *out, struct buf *bytes)
{
    int rc = 0;
    struct str s = buf_view(bytes);
    if (s.n && utf8_valid(s) == s.n) {
        buf_str(&out->bytes, s);
        rc = end_text(out);
    } else {
        for (size_t i = 0; rc == 0 && i < s.n; i++) {
            buf_puts(&out->bytes, REPLACEMENT);
            rc = end_text(out);
        }
    }
    buf_clear(bytes);
    return rc;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int decode_byte_fallback(const struct texts *in, struct texts *out)
{
    struct buf bytes = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < in->n; i++) {
        struct str s = text_at(in, i);
        if (s.n == 6 && str_starts(s, "<0x") && s.p[5] == '>' && hex(s.p[3]) >= 0 && hex(s.p[4]) >= 0) {
            buf_putc(&bytes, (char)(16 * hex(s.p[3]) + hex(s.p[4])));
            continue;
        }
        rc = put_byte_tokens(out, &bytes);
        buf_str(&out->bytes, s);
        if (rc == 0)
            rc = end_text(out);
    }
    if (rc == 0)
        rc = bytes.failed ? -1 : put_byte_tokens(out, &bytes);
    buf_release(&bytes);
    return rc;
}

static int decode_replace(const struct decode_step *d, const struct texts *in, struct texts *out, struct matcher *m,
                          struct err *e)
{
    for (size_t i = 0; i < in->n; i++) {
        struct str s = text_at(in, i);
        struct match_iter it;
        size_t from = 0;
        int rc;
        match_start(&it, d->regex, s);
        while ((rc = match_next(&it, m, e)) > 0) {
            buf_put(&out->bytes, s.p + from, it.start - from);
            buf_str(&out->bytes, d->text);
            from = it.end;
        }
        buf_put(&out->bytes, s.p + from, s.n - from);
        if (rc < 0)
            return rc;
        if (end_text(out) < 0)
            return err_nomem(e, s.n, "decoding");
    }
    return 0;
}

static int decode_strip(const struct decode_step *d, const struct texts *in, struct texts *out)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < in->n; i++) {
        struct str s = text_at(in, i);
        for (size_t k = 0; k < d->start && s.n >= d->text.n && memcmp(s.p, d->text.p, d->text.n) == 0; k++) {
            s.p += d->text.n;
            s.n -= d->text.n;
        }
        for (size_t k = 0; k < d->stop && s.n >= d->text.n && memcmp(s.p + s.n - d->text.n, d->text.p, d->text.n) == 0;
             k++)
            s.n -= d->text.n;
        buf_str(&out->bytes, s);
        rc = end_text(out);
    }
    return rc;
}

static int decode_metaspace(const struct decode_step *d, const struct texts *in, struct texts *out)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < in->n; i++) {
        struct str s = text_at(in, i);
        for (size_t k = 0; k < s.n;) {
            size_t w = utf8_len(s.p[k]);
            if (s.n - k >= d->text.n && memcmp(s.p + k, d->text.p, d->text.n) == 0) {
                if (i || d->keep_first)
                    buf_putc(&out->bytes, ' ');
            } else {
                buf_put(&out->bytes, s.p + k, w < s.n - k ? w : s.n - k);
            }
            k += w;
        }
        rc = end_text(out);
    }
    return rc;
}

static int step(const struct decode_step *d, const struct texts *in, struct texts *out, struct matcher *m,
                struct err *e)
{
    int rc = 0;
    switch (d->kind) {
    case DECODE_BYTES:
        rc = decode_bytes(in, out);
        break;
    case DECODE_REPLACE:
        return decode_replace(d, in, out, m, e);
    case DECODE_BYTE_FALLBACK:
        rc = decode_byte_fallback(in, out);
        break;
    case DECODE_FUSE:
        buf_str(&out->bytes, buf_view(&in->bytes));
        rc = end_text(out);
        break;
    case DECODE_STRIP:
        rc = decode_strip(d, in, out);
        break;
    case DECODE_METASPACE:
        rc = decode_metaspace(d, in, out);
        break;
    }
    return rc < 0 ? err_nomem(e, in->bytes.n, "decoding") : 0;
}

/* The text of an id for decoding: a token that was matched after normalising stands in its normalised form. */
static struct str text_of(const struct tokenizer *t, int32_t id)
{
    const struct added_token *a = t->added_by_id[id];
    return a && a->pattern ? (struct str){a->pattern, a->pattern_n} : t->texts[id];
}

int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool skip_special, struct buf *out,
                     struct err *e)
{
    struct texts a = {0}, b = {0};
    struct matcher m = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= t->size || !t->texts[ids[i]].p)
            continue;
        if (skip_special && t->added_by_id[ids[i]] && t->added_by_id[ids[i]]->special)
            continue;
        if (t->plain_join && a.n)
            buf_putc(&a.bytes, ' ');
        buf_str(&a.bytes, text_of(t, ids[i]));
        if (end_text(&a) < 0)
            rc = err_nomem(e, a.bytes.n, "decoding");
    }
    for (size_t i = 0; rc == 0 && i < t->n_decoders; i++) {
        rc = step(&t->decoders[i], &a, &b, &m, e);
        struct texts old = a;
        a = b;
        b = old;
        buf_clear(&b.bytes);
        b.n = 0;
    }
    if (rc == 0)
        buf_str(out, buf_view(&a.bytes));
    if (rc == 0 && out->failed)
        rc = err_nomem(e, a.bytes.n, "decoding");
    texts_release(&a);
    texts_release(&b);
    matcher_release(&m);
    return rc;
}

/* ---- reading ---- */

static int read_strip(struct decode_step *d, const struct js *j, const char *what, struct err *e)
{
    int64_t start = js_int(js_get(j, "start"), 0), stop = js_int(js_get(j, "stop"), 0);
    d->text = js_str(js_get(j, "content"));
    if (!d->text.n || start < 0 || stop < 0)
        return err_set(e, ERR_INPUT,
                       "%s: decoder: Strip needs a character \"content\" and counts \"start\" and \"stop\"", what);
    d->start = (size_t)start;
    d->stop = (size_t)stop;
    return 0;
}

static int read_replace(struct decode_step *d, const struct js *j, const char *what, struct err *e)
{
    d->text = js_str(js_get(j, "content"));
    if (!d->text.p)
        return err_set(e, ERR_INPUT, "%s: decoder: Replace needs a string \"content\"", what);
    return pattern_read(j, what, &d->regex, e);
}

static int read_metaspace(struct decode_step *d, const struct js *j, const char *what, struct err *e)
{
    const char *scheme = js_cstr(js_get(j, "prepend_scheme"));
    d->text = js_str(js_get(j, "replacement"));
    if (!d->text.n)
        return err_set(e, ERR_INPUT, "%s: decoder: Metaspace needs a character \"replacement\"", what);
    d->keep_first = (scheme && strcmp(scheme, "never") == 0) || !js_bool(js_get(j, "add_prefix_space"), true);
    return 0;
}

static int read_one(struct tokenizer *t, const struct js *j, int depth, const char *what, struct err *e)
{
    static const struct {
        const char *type;
        enum decode_kind kind;
        int (*read)(struct decode_step *d, const struct js *j, const char *what, struct err *e);
    } kinds[] = {{"ByteLevel", DECODE_BYTES, NULL},
                 {"Replace", DECODE_REPLACE, read_replace},
                 {"ByteFallback", DECODE_BYTE_FALLBACK, NULL},
                 {"Fuse", DECODE_FUSE, NULL},
                 {"Strip", DECODE_STRIP, read_strip},
                 {"Metaspace", DECODE_METASPACE, read_metaspace}};
    const char *type = js_cstr(js_get(j, "type"));
    int rc = 0;
    if (type && strcmp(type, "Sequence") == 0 && depth < 16) {
        const struct js *list = js_get(j, "decoders");
        for (size_t i = 0; rc == 0 && i < js_len(list); i++)
            rc = read_one(t, js_at(list, i), depth + 1, what, e);
        return rc;
    }
    for (size_t i = 0; type && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(type, kinds[i].type) != 0)
            continue;
        struct decode_step *v = realloc(t->decoders, (t->n_decoders + 1) * sizeof *v);
        if (!v)
            return err_nomem(e, sizeof *v, "decoders");
        t->decoders = v;
        v[t->n_decoders] = (struct decode_step){.kind = kinds[i].kind};
        if (kinds[i].read)
            rc = kinds[i].read(&v[t->n_decoders], j, what, e);
        t->n_decoders++;
        return rc;
    }
    return err_set(e, ERR_UNSUPPORTED,
                   "%s: the decoder %.60s is not supported; known are ByteLevel, Metaspace, Replace, ByteFallback, "
                   "Fuse, Strip, Sequence",
                   what, type ? type : "(no type)");
}

int decoders_read(struct tokenizer *t, const struct js *j, const char *what, struct err *e)
{
    t->plain_join = j == NULL || js_kind(j) == JS_NULL;
    return t->plain_join ? 0 : read_one(t, j, 0, what, e);
}
