/* SPDX-License-Identifier: MIT
 *
 * Values of tensors that are packed in their files (quant.h): a range of elements at a time, so that nothing larger than the
 * caller's piece is ever expanded, or one tensor whole.
 */
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/formats/quant.h"

/* Elements [first, first + n) of the stored order: whole blocks straight to out, cut ones through a small buffer. */
static void expand(float *out, const struct packing *p, size_t first, size_t n)
{
    const struct quant_type *q = p->type;
    float one[256];
    while (n) {
        size_t block = first / q->block, skip = first % q->block, take = q->block - skip;
        if (skip == 0 && n >= q->block) {
            take = n / q->block * q->block;
            q->to_f32(out, p->data + block * q->bytes, n / q->block);
        } else {
            take = take < n ? take : n;
            q->to_f32(one, p->data + block * q->bytes, 1);
            memcpy(out, one + skip, take * sizeof *out);
        }
        out += take;
        first += take;
        n -= take;
    }
}

/* Row i of the first half of a head lies at 2i in the file, of the second half at 2i + 1 (llama.cpp's LlamaModel.permute). */
static size_t stored_row(size_t row, size_t rows, size_t heads)
{
    size_t size = rows / heads, head = row / size, at = row % size;
    return head * size + at % (size / 2) * 2 + at / (size / 2);
}

static void expand_rows(float *out, const struct tensor *t, size_t first, size_t n)
{
    size_t cols = n && t->ndim > 1 ? t->n / t->shape[0] : 1;
    while (n) {
        size_t row = first / cols, at = first % cols, take = cols - at < n ? cols - at : n;
        expand(out, t->packed, stored_row(row, t->shape[0], t->packed->heads) * cols + at, take);
        out += take;
        first += take;
        n -= take;
    }
}

int tensor_to_f32(float *out, const struct tensor *t, size_t first, size_t n)
{
    if (first > t->n || n > t->n - first)
        return -1;
    if (t->packed && t->packed->heads)
        expand_rows(out, t, first, n);
    else if (t->packed)
        expand(out, t->packed, first, n);
    else
        return t->data ? dtype_to_f32(out, (const char *)t->data + first * dtype_size(t->dtype), t->dtype, n) : -1;
    return 0;
}

enum { PIECE = 4096 };

int tensor_to_plain(void *out, const struct tensor *t, size_t first, size_t n)
{
    size_t size = dtype_size(t->dtype);
    if (first > t->n || n > t->n - first || !tensor_readable(t))
        return -1;
    if (!t->packed) {
        memcpy(out, (const char *)t->data + first * size, n * size);
        return 0;
    }
    float f[PIECE];
    for (size_t i = 0; i < n; i += PIECE) {
        size_t m = n - i < PIECE ? n - i : PIECE;
        tensor_to_f32(f, t, first + i, m);
        dtype_from_f32((char *)out + i * size, t->dtype, f, m);
    }
    return 0;
}

bool tensor_readable(const struct tensor *t)
{
    return t->data || t->packed;
}

const void *tensor_stored(const struct tensor *t, size_t *bytes)
{
    *bytes = t->packed ? t->n / t->packed->type->block * t->packed->type->bytes : t->bytes;
    return t->packed ? t->packed->data : t->data;
}

int tensor_plain(const struct tensor *t, struct tensor *out, struct err *e)
{
    *out = *t;
    if (!t->packed)
        return 0;
    out->packed = NULL;
    out->data = NULL;
    char *p = t->bytes ? big_alloc(t->bytes) : NULL;
    if (t->bytes && !p)
        return err_nomem(e, t->bytes, t->name);
    if (p)
        tensor_to_plain(p, t, 0, t->n);
    out->data = p;
    return 0;
}

void tensor_plain_release(struct tensor *plain, const struct tensor *t)
{
    if (t && t->packed && plain->data)
        big_free((void *)(uintptr_t)plain->data, plain->bytes);
    plain->data = NULL;
}
