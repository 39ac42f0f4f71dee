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
            buf_puts(&desc, a->desc_text ? a->desc_text : "{}");
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

/* ---- reading: one block of memory, for a plan reads thousands ---- */

struct sizes {
    size_t outputs, files, text;
};

/* Where the pieces go. */
struct room {
    struct artifact_file *files;
    char *text;
};

/* Reads past an artifact and adds up what it takes. */
static void measure_artifact(struct unpack *r, struct sizes *z)
{
    z->text += unpack_str(r).n + 1; /* port */
    z->text += unpack_str(r).n + 1; /* type */
    unpack_bytes(r, sizeof(struct digest));
    z->text += unpack_str(r).n + 1; /* descriptor */
    size_t n = unpack_count(r, 4 + sizeof(struct digest) + 8);
    for (size_t i = 0; i < n && !r->bad; i++) {
        z->text += unpack_str(r).n + 1;
        unpack_bytes(r, sizeof(struct digest) + 8);
    }
    z->files += n;
}

static char *take_text(struct unpack *r, struct room *room)
{
    struct str s = unpack_str(r);
    char *z = room->text;
    memcpy(z, s.p, s.n);
    z[s.n] = 0;
    room->text += s.n + 1;
    return z;
}

static void take_artifact(struct unpack *r, struct room *room, char **port, struct artifact *a)
{
    *port = take_text(r, room);
    a->type = take_text(r, room);
    unpack_digest(r, &a->digest);
    a->desc_text = take_text(r, room);
    a->n = unpack_count(r, 4 + sizeof(struct digest) + 8);
    a->files = room->files;
    room->files += a->n;
    for (size_t k = 0; k < a->n; k++) {
        a->files[k].name = take_text(r, room);
        unpack_digest(r, &a->files[k].digest);
        a->files[k].bytes = unpack_int(r, 8);
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

struct record *record_decode(struct str body, const struct digest *key)
{
    const struct unpack whole = open_body(body, key);
    struct unpack r = whole;
    struct sizes z = {.outputs = unpack_count(&r, 4 * 4 + sizeof(struct digest))};
    for (size_t i = 0; i < z.outputs && !r.bad; i++)
        measure_artifact(&r, &z);
    if (r.bad || r.n)
        return NULL;
    /* nothing overflows: each was counted in a body that is in memory */
    size_t head = sizeof(struct record) + z.outputs * (sizeof(struct artifact) + sizeof(char *)) + z.files * sizeof(struct artifact_file);
    struct record *rec = malloc(head + z.text);
    if (!rec)
        return NULL;
    memset(rec, 0, head);
    rec->one_block = true;
    rec->key = *key;
    rec->n_out = z.outputs;
    rec->out = (struct artifact *)(rec + 1);
    struct room room = {(struct artifact_file *)(rec->out + z.outputs), (char *)rec + head};
    rec->ports = (char **)(room.files + z.files);
    r = whole;
    unpack_int(&r, 4);
    for (size_t i = 0; i < z.outputs; i++)
        take_artifact(&r, &room, &rec->ports[i], &rec->out[i]);
    return rec;
}
