/* SPDX-License-Identifier: MIT
 *
 * gemm_pairs: bf16 products x W^T and dy W on one thread by way of pairs.h; private to this room. Each element of C is one sum in ascending
 * order of k, to which C itself is the first term when it accumulates.
 */
#ifndef PKG_KERNELS_GEMM_PAIRS_H
#define PKG_KERNELS_GEMM_PAIRS_H

#include "runtime/kernels/gemm_lib.h"

bool pairs_serves(const struct lib_shape *s); /* it pays here, for this product */
int pairs_gemm(const struct lib_shape *s, const uint16_t *a, const uint16_t *b, float *c, struct err *e); /* SCRATCH_TILE */

#endif
