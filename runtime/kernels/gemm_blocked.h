/* SPDX-License-Identifier: MIT
 *
 * gemm_blocked: bf16 products for tile units (AMX), private to this room. The library's kernels that feed the tiles
 * directly want A row-major without gaps, B in its own blocked layout, C without gaps and k a multiple of 32; otherwise it
 * rearranges both operands inside of every call, at half the speed. Here they are arranged once: B by bands of BAND
 * columns, A transposed where the form asks for it, k filled up with zeros.
 */
#ifndef PKG_KERNELS_GEMM_BLOCKED_H
#define PKG_KERNELS_GEMM_BLOCKED_H

#include <stdint.h>

#include "runtime/kernels/gemm_lib.h"

enum { BAND = 256 };

/* B (k, n) in bands; kp = k rounded up to 32. */
struct blocked {
    size_t n, k, kp, bands, band_bytes;
    const struct lib_layout *full, *tail;
};

bool blocked_wanted(enum dtype t); /* bf16, and the processor has tile units */
int blocked_init(struct blocked *b, size_t n, size_t k, struct err *e);
/* Band i of B into out (band_bytes, 64-byte aligned), on the calling thread: B is (n, k) for GEMM_NT and then k % 32 == 0,
 * (k, n) for the other forms. Uses SCRATCH_CONVERT. */
int blocked_pack(const struct blocked *b, enum gemm_form f, const void *src, size_t ld, size_t i, void *out, struct err *e);
/* c (m, width of band i) without gaps = a (m, kp) without gaps times the packed band. */
int blocked_multiply(const struct blocked *b, size_t i, size_t m, const void *a, const void *band, float *c, struct err *e);
size_t blocked_width(const struct blocked *b, size_t i);

/* out (count, kp) = columns first .. first + count of a (k, *), row stride lda, transposed; zeros from k to kp. */
void blocked_transpose(uint16_t *out, size_t kp, const uint16_t *a, size_t lda, size_t k, size_t first, size_t count);

/* The whole product, when it is of that kind; returns 1 and does nothing when it is not. */
int blocked_gemm(const struct lib_shape *s, const void *a, const void *b, float *c, struct err *e);

#endif
