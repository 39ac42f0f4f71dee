/* SPDX-License-Identifier: MIT */
#include "runtime/store/codec.h"

#include <stdlib.h>
#include <string.h>

static void put_int(struct buf *b, uint64_t v, int bytes)
{
    char z[8];
    for (int i = 0; i < bytes; i++)
        z[i] = (char)(v >> (8 * i));
    buf_put(b, z, (size_t)bytes);
}

static void put_str(struct buf *b, struct str s)
{
    put_int(b, s.n, 4);
    buf_str(b, s);
}

int record_encode(const struct record *r, struct buf *out, struct err *e)
{
    struct buf desc = {0};
    buf_puts(out, "R1");
    put_int(out, r->n_out, 4);
    for (size_t i = 0; i < r->n_out; i++) {
        const struct artifact *a = &r->out[i];
        buf_clear(&desc);
        if (a->desc)
            js_write(&desc, a->desc);
        else
            buf_puts(&desc, "{}");
        put_str(out, str_of(r->ports[i]));
        put_str(out, str_of(a->type));
        buf_put(out, a->digest.b, sizeof a->digest.b);
        put_str(out, buf_view(&desc));
        put_int(out, a->n, 4);
        for (size_t k = 0; k < a->n; k++) {
            put_str(out, str_of(a->files[k].name));
            buf_put(out, a->files[k].digest.b, sizeof a->files[k].digest.b);
            put_int(out, a->files[k].bytes, 8);
        }
    }
    bool failed = out->failed || desc.failed;
    buf_release(&desc);
    return failed ? err_nomem(e, out->n, "a record") : 0;
}

/* What is left to read; `bad` once anything did not fit. */
struct reader {
    const unsigned char *p;
    size_t n;
    bool bad;
};

static const unsigned char *take(struct reader *r, size_t n)
{
    if (r->bad || n > r->n) {
        r->bad = true;
        return NULL;
    }
    const unsigned char *p = r->p;
    r->p += n;
    r->n -= n;
    return p;
}

static uint64_t take_int(struct reader *r, int bytes)
{
    const unsigned char *p = take(r, (size_t)bytes);
    uint64_t v = 0;
    for (int i = bytes; p && i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static struct str take_str(struct reader *r)
{
    size_t n = (size_t)take_int(r, 4);
    const unsigned char *p = take(r, n);
    return p ? (struct str){(const char *)p, n} : (struct str){"", 0};
}

static char *take_dup(struct reader *r)
{
    struct str s = take_str(r);
    char *z = r->bad ? NULL : str_dup(s);
    r->bad = r->bad || !z;
    return z;
}

static void take_digest(struct reader *r, struct digest *d)
{
    const unsigned char *p = take(r, sizeof d->b);
    if (p)
        memcpy(d->b, p, sizeof d->b);
}

/* A count of things that take at least `each` bytes, so that no count can ask for more memory than the body justifies. */
static size_t take_count(struct reader *r, size_t each)
{
    size_t n = (size_t)take_int(r, 4);
    if (n > r->n / each)
        r->bad = true;
    return r->bad ? 0 : n;
}

static void take_artifact(struct reader *r, char **port, struct artifact *a, bool desc)
{
    struct err ignored;
    *port = take_dup(r);
    a->type = take_dup(r);
    take_digest(r, &a->digest);
    struct str json = take_str(r);
    if (desc && !r->bad && !(a->desc = js_parse(json, "descriptor", &ignored)))
        r->bad = true;
    size_t n = take_count(r, 4 + sizeof(struct digest) + 8);
    a->files = calloc(n + 1, sizeof *a->files);
    r->bad = r->bad || !a->files;
    for (; !r->bad && a->n < n; a->n++) {
        struct artifact_file *f = &a->files[a->n];
        f->name = take_dup(r);
        take_digest(r, &f->digest);
        f->bytes = take_int(r, 8);
    }
}

struct record *record_decode(struct str body, bool desc)
{
    struct reader r = {(const unsigned char *)body.p, body.n, false};
    const unsigned char *magic = take(&r, 2);
    struct record *rec = magic && memcmp(magic, "R1", 2) == 0 ? calloc(1, sizeof *rec) : NULL;
    if (!rec)
        return NULL;
    size_t n = take_count(&r, 4 * 4 + sizeof(struct digest));
    rec->ports = calloc(n + 1, sizeof *rec->ports);
    rec->out = calloc(n + 1, sizeof *rec->out);
    r.bad = r.bad || !rec->ports || !rec->out;
    for (size_t i = 0; !r.bad && i < n; i++) {
        rec->n_out = i + 1;
        take_artifact(&r, &rec->ports[i], &rec->out[i], desc);
    }
    if (r.bad || r.n) {
        record_free(rec);
        return NULL;
    }
    return rec;
}
