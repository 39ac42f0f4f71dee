/* SPDX-License-Identifier: MIT
 *
 * quant: the element types of GGUF files (ggml's blocks), as f32. A block holds `block` consecutive elements of a row in
 * `bytes` bytes: one or two scales (f16) and small integers. Layouts: ggml-common.h and ggml-quants.c of
 * https://github.com/ggml-org/ggml; results equal its reference code bit for bit (no fused multiply-adds).
 *
 * A tensor that does not lie in its file as plain rows of a plain type (quantised, or with the rows of llama's q and k in
 * GGUF's order) carries a `struct packing`: its data pointer is NULL, and its values come from tensor_to_f32, a piece at a
 * time. Such a tensor has no dtype of its own; its dtype says what it becomes where a plain tensor is wanted.
 */
#ifndef PKG_FORMATS_QUANT_H
#define PKG_FORMATS_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/formats/safetensors.h"

struct quant_type {
    const char *name; /* ggml's, upper case: "Q4_K" */
    uint32_t id;      /* ggml_type in files */
    size_t block, bytes;
    enum dtype plain; /* the dtype that is the same thing (block 1), or what it becomes as a plain tensor: BF16 */
    void (*to_f32)(float *out, const uint8_t *in, size_t blocks); /* NULL: known by name, not read */
};

const struct quant_type *quant_by_id(uint32_t id);          /* NULL: unknown */
const struct quant_type *quant_by_name(const char *name);   /* NULL: unknown */
const struct quant_type *quant_of(enum dtype t);            /* F32, F16, BF16; NULL else */
/* x (32 blocks elements) as Q8_0, rounded as ggml rounds (half away from zero). */
void quant_q8_0(uint8_t *out, const float *x, size_t blocks);

struct packing {
    const struct quant_type *type;
    const uint8_t *data;  /* in the map */
    size_t heads;         /* more than 0: rows of each head lie as pairs (GGUF's llama), the tensor's rows as two halves */
};

/* Elements [first, first + n) of t in row-major order, as f32; t plain (F32, BF16, F16, F64) or packed. Any thread. 0, or
 * -1 for another type or without data. */
int tensor_to_f32(float *out, const struct tensor *t, size_t first, size_t n);
/* The same elements in the tensor's own dtype: as they lie, or expanded and rounded. */
int tensor_to_plain(void *out, const struct tensor *t, size_t first, size_t n);
bool tensor_readable(const struct tensor *t);               /* data is there, plain or packed */
/* Where the stored bytes lie in the map and how many they are: for advice to the kernel. */
const void *tensor_stored(const struct tensor *t, size_t *bytes);

/* A plain tensor with the values of t: t itself, or a copy in t->dtype in memory of its own. */
int tensor_plain(const struct tensor *t, struct tensor *out, struct err *e);
void tensor_plain_release(struct tensor *plain, const struct tensor *t);

#endif
