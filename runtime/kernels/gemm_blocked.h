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

#include "runtime/kernels/gemm_lib.h"

/* The whole product, where this way pays; returns 1 and does nothing where it does not. */
int blocked_gemm(const struct lib_shape *s, const void *a, const void *b, float *c, struct err *e);

#endif
