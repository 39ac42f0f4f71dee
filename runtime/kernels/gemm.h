/* SPDX-License-Identifier: MIT
 *
 * gemm: matrix products. The only shim over oneDNN (2.6 and 3.x) and OpenBLAS; nothing else includes their headers.
 * All matrices row-major, leading dimensions in elements. A and B share one type (F32 or BF16); C is f32.
 *   GEMM_NT  C (m, n) = A (m, k) B (n, k)^T     y = x W^T
 *   GEMM_NN  C (m, n) = A (m, k) B (k, n)       dx = dy W
 *   GEMM_TN  C (m, n) = A (k, m)^T B (k, n)     dW = dy^T x
 * accumulate: C += instead of C =. Work is cut into slabs of fixed size, each one single-threaded library call under one
 * par_for, so that the bytes of C do not depend on the number of threads. Any thread; zero sizes are fine.
 */
#ifndef PKG_KERNELS_GEMM_H
#define PKG_KERNELS_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/dtype.h"
#include "runtime/base/err.h"

enum gemm_form { GEMM_NT, GEMM_NN, GEMM_TN };

int gemm(enum gemm_form f, size_t m, size_t n, size_t k, enum dtype t, const void *a, size_t lda, const void *b, size_t ldb,
         bool accumulate, float *c, size_t ldc, struct err *e);
void gemm_ref(enum gemm_form f, size_t m, size_t n, size_t k, enum dtype t, const void *a, size_t lda, const void *b,
              size_t ldb, bool accumulate, float *c, size_t ldc);

/* The same on the calling thread alone, for use inside a par_for item. */
int gemm_serial(enum gemm_form f, size_t m, size_t n, size_t k, enum dtype t, const void *a, size_t lda, const void *b,
                size_t ldb, bool accumulate, float *c, size_t ldc, struct err *e);

/* Weights laid out once for repeated products (resident models, frozen bases): w (n, k) row-major, copied in the library's
 * own blocked layout; the caller may free w. Immutable afterwards, any thread. t: F32 or BF16 (without hardware bf16 the
 * copy is f32). gemm_nt_packed: y (m, n) = x (m, k) w^T, x in the type given to gemm_pack. Errors: ERR_NOMEM, ERR_INTERNAL. */
struct gemm_packed;
int gemm_pack(const void *w, size_t n, size_t k, enum dtype t, struct gemm_packed **out, struct err *e);
void gemm_packed_free(struct gemm_packed *w); /* NULL is fine */
int gemm_nt_packed(size_t m, const void *x, size_t ldx, const struct gemm_packed *w, bool accumulate, float *y, size_t ldy,
                   struct err *e);
size_t gemm_packed_bytes(const struct gemm_packed *w); /* memory that the copy takes */

/* Several packed weights with one input in one parallel loop, biases added: y (m, n) (+)= x (m, k) w^T + bias; or, with `up`, the gated
 * half = silu(x w^T) * (x up^T), in bf16. For weights of which gemm_packed_joins says so (bf16, the layout of panel.h): there every
 * element is one sum in an order that depends on k alone, the same bytes for any m. At most GEMM_PARTS. */
enum { GEMM_PARTS = 4 };
struct gemm_part {
    const struct gemm_packed *w;
    const float *bias; /* (n); NULL: none */
    bool accumulate;
    float *y;          /* (m, n) without gaps */
    const struct gemm_packed *up;
    void *half;        /* (m, n) bf16 without gaps, instead of y */
};
bool gemm_packed_joins(const struct gemm_packed *w);
bool gemm_pack_joins(enum dtype t, size_t k); /* whether gemm_pack on this machine would make such a one */
void gemm_nt_parts(size_t m, const void *x, size_t ldx, const struct gemm_part *parts, size_t n);

bool gemm_has_bf16(void);          /* the processor multiplies bf16 in hardware (AVX-512 BF16 or AMX) */
const char *gemm_version(void);    /* "oneDNN 2.6.3 (avx512_core_bf16), OpenBLAS 0.3.21 (Cooperlake)", each with the kernels it takes here */

#endif
