/* SPDX-License-Identifier: MIT
 *
 * thin: products of a few rows with row-major weights, y (m, n) (+)= x (m, k) W (n, k)^T + bias: decoding. W is read once,
 * front to back, as it lies in the file, so that the time is that of the memory; no packed copy is needed. Several
 * matrices with the same input (q, k and v; gate and up) go in one parallel loop.
 *
 * Every element of y is one sum in an order that depends on k alone, in f32: the same bytes whatever m, the parts and the
 * number of threads. In bf16 (f32 accumulation) more than one row goes to the tile units (AMX) where there are some, whose
 * order differs from that of a single row in the last bits; among m > 1 it is the same.
 */
#ifndef PKG_KERNELS_THIN_H
#define PKG_KERNELS_THIN_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/dtype.h"
#include "runtime/base/err.h"

enum { THIN_ROWS = 64, THIN_PARTS = 4 };

struct thin_part {
    const void *w;     /* (n, k) without gaps, in type t */
    size_t n;
    const float *bias; /* (n); NULL: none */
    bool accumulate;   /* y += */
    float *y;          /* (m, n), row stride n */
};

/* Whether this processor has the instructions: AVX-512 for F32, AVX-512 BF16 for BF16. Else use gemm. */
bool thin_has(enum dtype t);
/* x (m, k) without gaps; 1 <= m <= THIN_ROWS, 1 <= n_parts <= THIN_PARTS, thin_has(t). ERR_NOMEM. */
int thin_nt(size_t m, size_t k, enum dtype t, const void *x, const struct thin_part *parts, size_t n_parts, struct err *e);
void thin_nt_ref(size_t m, size_t k, enum dtype t, const void *x, const struct thin_part *parts, size_t n_parts);

#endif
