/* SPDX-License-Identifier: MIT
 *
 * Writing GGUF, version 3, alignment 32. Metadata and declarations gather in memory; begin writes the header, then the data
 * follow. The file has a temporary name until it is whole.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/formats/gguf.h"

enum { ALIGN = 32, T_U32 = 4, T_I32 = 5, T_F32 = 6, T_BOOL = 7, T_STRING = 8, T_ARRAY = 9 };

struct declared {
    const struct quant_type *type;
    size_t bytes, offset;
};

struct gguf_writer {
    char *path, *tmp;
    FILE *f;
    struct buf keys, tensors;
    uint64_t n_keys, n_tensors;
    struct declared *v;
    size_t end;             /* of the data declared so far, aligned */
    size_t current, within; /* tensor and byte that come next */
    bool begun;
};

static void put(struct buf *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        buf_putc(b, (char)(v >> 8 * i));
}

static void put_text(struct buf *b, struct str s)
{
    put(b, s.n, 8);
    buf_str(b, s);
}

static void put_key(struct gguf_writer *w, const char *key, uint32_t type)
{
    put_text(&w->keys, str_of(key));
    put(&w->keys, type, 4);
    w->n_keys++;
}

static void put_array(struct gguf_writer *w, const char *key, uint32_t of, size_t n)
{
    put_key(w, key, T_ARRAY);
    put(&w->keys, of, 4);
    put(&w->keys, n, 8);
}

static uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

int gguf_writer_new(const char *path, struct gguf_writer **out, struct err *e)
{
    *out = NULL;
    struct gguf_writer *w = calloc(1, sizeof *w);
    size_t n = strlen(path);
    if (!w || !(w->path = strdup(path)) || !(w->tmp = malloc(n + 32))) {
        gguf_writer_free(w);
        return err_nomem(e, n, path);
    }
    snprintf(w->tmp, n + 32, "%s.%ld.tmp", path, (long)getpid());
    w->f = fopen(w->tmp, "wbe");
    if (!w->f) {
        int rc = err_errno(e, "%s: create", w->tmp);
        gguf_writer_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

void gguf_writer_free(struct gguf_writer *w)
{
    if (!w)
        return;
    if (w->f) {
        fclose(w->f);
        unlink(w->tmp);
    }
    buf_release(&w->keys);
    buf_release(&w->tensors);
    free(w->v);
    free(w->path);
    free(w->tmp);
    free(w);
}

void gguf_put_str(struct gguf_writer *w, const char *key, struct str v)
{
    put_key(w, key, T_STRING);
    put_text(&w->keys, v);
}

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
    put_key(w, key, T_U32);
    put(&w->keys, v, 4);
}

void gguf_put_f32(struct gguf_writer *w, const char *key, float v)
{
    put_key(w, key, T_F32);
    put(&w->keys, bits(v), 4);
}

void gguf_put_bool(struct gguf_writer *w, const char *key, bool v)
{
    put_key(w, key, T_BOOL);
    put(&w->keys, v, 1);
}

void gguf_put_strs(struct gguf_writer *w, const char *key, const struct str *v, size_t n)
{
    put_array(w, key, T_STRING, n);
    for (size_t i = 0; i < n; i++)
        put_text(&w->keys, v[i]);
}

void gguf_put_i32s(struct gguf_writer *w, const char *key, const int32_t *v, size_t n)
{
    put_array(w, key, T_I32, n);
    for (size_t i = 0; i < n; i++)
        put(&w->keys, (uint32_t)v[i], 4);
}

void gguf_put_f32s(struct gguf_writer *w, const char *key, const float *v, size_t n)
{
    put_array(w, key, T_F32, n);
    for (size_t i = 0; i < n; i++)
        put(&w->keys, bits(v[i]), 4);
}

int gguf_declare(struct gguf_writer *w, const char *name, const struct quant_type *type, int ndim, const size_t *shape, struct err *e)
{
    size_t n = 1;
    for (int i = 0; i < ndim; i++)
        if (__builtin_mul_overflow(n, shape[i], &n))
            return err_set(e, ERR_INPUT, "%s: tensor %s is too large", w->path, name);
    if (ndim < 1 || ndim > 4 || shape[ndim - 1] % type->block)
        return err_set(e, ERR_INPUT, "%s: tensor %s cannot be stored as %s: its rows of %zu are not whole blocks of %zu", w->path, name,
                       type->name, ndim > 0 ? shape[ndim - 1] : 0, type->block);
    struct declared *v = realloc(w->v, (size_t)(w->n_tensors + 1) * sizeof *v);
    if (!v)
        return err_nomem(e, (w->n_tensors + 1) * sizeof *v, w->path);
    w->v = v;
    v[w->n_tensors] = (struct declared){type, n / type->block * type->bytes, w->end};
    put_text(&w->tensors, str_of(name));
    put(&w->tensors, (uint64_t)ndim, 4);
    for (int i = ndim - 1; i >= 0; i--)
        put(&w->tensors, shape[i], 8);
    put(&w->tensors, type->id, 4);
    put(&w->tensors, w->end, 8);
    w->end += (v[w->n_tensors++].bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    return 0;
}

static int out(struct gguf_writer *w, const void *p, size_t n, struct err *e)
{
    return n == 0 || fwrite(p, 1, n, w->f) == n ? 0 : err_errno(e, "%s: write", w->path);
}

static int pad(struct gguf_writer *w, size_t at, struct err *e)
{
    static const char zeros[ALIGN];
    return out(w, zeros, -at & (ALIGN - 1), e);
}

int gguf_write_begin(struct gguf_writer *w, struct err *e)
{
    struct buf head = {0};
    buf_puts(&head, "GGUF");
    put(&head, 3, 4);
    put(&head, w->n_tensors, 8);
    put(&head, w->n_keys, 8);
    int rc = head.failed || w->keys.failed || w->tensors.failed ? err_nomem(e, w->keys.n + w->tensors.n, w->path) : 0;
    if (rc == 0)
        rc = out(w, head.p, head.n, e);
    if (rc == 0)
        rc = out(w, w->keys.p, w->keys.n, e);
    if (rc == 0)
        rc = out(w, w->tensors.p, w->tensors.n, e);
    if (rc == 0)
        rc = pad(w, head.n + w->keys.n + w->tensors.n, e);
    buf_release(&head);
    w->begun = true;
    return rc;
}

int gguf_write(struct gguf_writer *w, const void *p, size_t bytes, struct err *e)
{
    while (bytes) {
        if (w->current == w->n_tensors)
            return err_set(e, ERR_INTERNAL, "%s: more data than declared", w->path);
        size_t left = w->v[w->current].bytes - w->within, n = bytes < left ? bytes : left;
        int rc = out(w, p, n, e);
        w->within += n;
        p = (const char *)p + n;
        bytes -= n;
        if (rc == 0 && w->within == w->v[w->current].bytes) {
            rc = pad(w, w->within, e);
            w->current++;
            w->within = 0;
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

int gguf_write_end(struct gguf_writer *w, struct err *e)
{
    while (w->current < w->n_tensors && w->v[w->current].bytes == 0)
        w->current++;
    if (!w->begun || w->current != w->n_tensors)
        return err_set(e, ERR_INTERNAL, "%s: less data than declared", w->path);
    int bad = fflush(w->f) != 0 || fsync(fileno(w->f)) != 0 ? err_errno(e, "%s: write", w->path) : 0;
    if (fclose(w->f) != 0 && !bad)
        bad = err_errno(e, "%s: write", w->path);
    w->f = NULL;
    if (!bad && rename(w->tmp, w->path) != 0)
        bad = err_errno(e, "%s: rename", w->path);
    if (bad)
        unlink(w->tmp);
    return bad;
}
