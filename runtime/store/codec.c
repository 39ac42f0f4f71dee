/* SPDX-License-Identifier: MIT */
#include "runtime/store/codec.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/check.h"
#include "runtime/base/pack.h"

static uint64_t sum_of(const struct digest *key, const void *p, size_t n)
{
    return check_bytes(check_bytes(0, key->b, sizeof key->b), p, n);
}

int record_encode(const struct record *r, struct buf *out, struct err *e)
{
    struct buf desc = {0};
    size_t from = out->n;
    buf_puts(out, "R2");
    pack_int(out, r->n_out, 4);
    for (size_t i = 0; i < r->n_out; i++) {
        const struct artifact *a = &r->out[i];
        buf_clear(&desc);
        if (a->desc)
            js_write(&desc, a->desc);
        else
            buf_puts(&desc, "{}");
        pack_str(out, str_of(r->ports[i]));
        pack_str(out, str_of(a->type));
        buf_put(out, a->digest.b, sizeof a->digest.b);
        pack_str(out, buf_view(&desc));
        pack_int(out, a->n, 4);
        for (size_t k = 0; k < a->n; k++) {
            pack_str(out, str_of(a->files[k].name));
            buf_put(out, a->files[k].digest.b, sizeof a->files[k].digest.b);
            pack_int(out, a->files[k].bytes, 8);
        }
    }
    bool failed = out->failed || desc.failed;
    if (!failed)
        pack_int(out, sum_of(&r->key, out->p + from, out->n - from), 8);
    failed = failed || out->failed;
    buf_release(&desc);
    return failed ? err_nomem(e, out->n, "a record") : 0;
}

static void take_artifact(struct unpack *r, char **port, struct artifact *a, bool desc)
{
    struct err ignored;
    *port = unpack_dup(r);
    a->type = unpack_dup(r);
    unpack_digest(r, &a->digest);
    struct str json = unpack_str(r);
    if (desc && !r->bad && !(a->desc = js_parse(json, "descriptor", &ignored)))
        r->bad = true;
    size_t n = unpack_count(r, 4 + sizeof(struct digest) + 8);
    a->files = calloc(n + 1, sizeof *a->files);
    r->bad = r->bad || !a->files;
    for (; !r->bad && a->n < n; a->n++) {
        struct artifact_file *f = &a->files[a->n];
        f->name = unpack_dup(r);
        unpack_digest(r, &f->digest);
        f->bytes = unpack_int(r, 8);
    }
}

/* What stands between the mark at the beginning and the sum at the end; bad unless the sum is right. */
static struct unpack open_body(struct str body, const struct digest *key)
{
    struct unpack r = {(const unsigned char *)body.p, body.n, false};
    const unsigned char *mark = unpack_bytes(&r, 2);
    if (!mark || (memcmp(mark, "R1", 2) != 0 && memcmp(mark, "R2", 2) != 0) || (mark[1] == '2' && r.n < 8))
        r.bad = true;
    else if (mark[1] == '2') {
        struct unpack end = {r.p + (r.n -= 8), 8, false};
        r.bad = unpack_int(&end, 8) != sum_of(key, body.p, body.n - 8);
    }
    return r;
}

struct record *record_decode(struct str body, const struct digest *key, bool desc)
{
    struct unpack r = open_body(body, key);
    struct record *rec = r.bad ? NULL : calloc(1, sizeof *rec);
    if (!rec)
        return NULL;
    rec->key = *key;
    size_t n = unpack_count(&r, 4 * 4 + sizeof(struct digest));
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
