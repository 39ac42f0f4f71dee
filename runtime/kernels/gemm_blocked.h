/* SPDX-License-Identifier: MIT
 *
 * gemm_blocked: operands arranged the way the library's fastest kernels read them, private to this room. Those want A
 * row-major without gaps, B in a layout of their own and C without gaps; on tile units (AMX) also k a multiple of 32 and
 * at most some KB, so that a panel of A and of B stay in the second-level cache; otherwise the library rearranges both
 * inside of every call, at half the speed.
 *   B (k, n): bands of BAND columns, each cut into panels of kc rows, the last one shorter; zeros fill up to 32.
 *   A (m, k): panel after panel, each (m, its width) without gaps; transposed where the form asks for it.
 * Packed weights (gemm_pack) are such a B, kept; large bf16 products on tile units arrange both on the way.
 */
#ifndef PKG_KERNELS_GEMM_BLOCKED_H
#define PKG_KERNELS_GEMM_BLOCKED_H

#include <stdint.h>

#include "runtime/kernels/gemm_lib.h"

enum { BAND = 256, TILE = 256 /* rows of a work item */ };

struct blocked {
    enum dtype t;
    size_t n, k, kc, panels, last; /* widths of a panel and of the last one */
    size_t bands, panel_bytes, band_bytes;
    const struct lib_layout *layout[2][2]; /* [last panel][last band, when narrower] */
};

bool blocked_pays(enum dtype t); /* bf16 on tile units: worth arranging operands for one call */
int blocked_init(struct blocked *b, size_t n, size_t k, enum dtype t, struct err *e); /* n, k > 0; t: F32, or BF16 in hardware */
size_t blocked_width(const struct blocked *b, size_t band);   /* columns */
size_t blocked_row(const struct blocked *b);                  /* elements of one row of A, all panels */

/* One band of B to out (band_bytes, 64-byte aligned): src is (n, k) for GEMM_NT, (k, n) otherwise. SCRATCH_CONVERT. */
int blocked_pack(const struct blocked *b, enum gemm_form f, const void *src, size_t ld, size_t band, void *out, struct err *e);
/* Rows first .. first + count of A, of m in all, to out (m * blocked_row elements): src is (k, m) for GEMM_TN (bf16 only),
 * (m, k) otherwise. */
void blocked_rows(const struct blocked *b, enum gemm_form f, void *out, size_t m, const void *src, size_t ld, size_t first, size_t count);
/* c (count, width of the band) without gaps = rows first .. of A times the band. */
int blocked_multiply(const struct blocked *b, size_t band, const void *packed, const void *a, size_t m, size_t first, size_t count,
                     float *c, struct err *e);

/* The whole product, where this way pays; returns 1 and does nothing where it does not. */
int blocked_gemm(const struct lib_shape *s, const void *a, const void *b, float *c, struct err *e);

#endif
