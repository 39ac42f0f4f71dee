/* SPDX-License-Identifier: MIT
 *
 * gemm_lib: one matrix product on one thread, by oneDNN or OpenBLAS; the private half of gemm. Primitives are made once a
 * shape, for one thread, and kept in a bounded cache that threads share. Scratchpads are the calling thread's.
 */
#ifndef PKG_KERNELS_GEMM_LIB_H
#define PKG_KERNELS_GEMM_LIB_H

#include "runtime/kernels/gemm.h"

struct lib_layout; /* how a library wants a packed (n, k) weight laid out */

/* Everything that a primitive depends on. With a layout: GEMM_NT, lda = k, ldc = n, ldb ignored. */
struct lib_shape {
    enum gemm_form form;
    size_t m, n, k, lda, ldb, ldc;
    enum dtype t;
    bool accumulate;
};

/* m, n, k > 0. b is a packed buffer when `l` is not NULL. */
int lib_gemm(const struct lib_shape *s, const struct lib_layout *l, const void *a, const void *b, float *c, struct err *e);

/* Layouts are made once a shape and live as long as the process. */
int lib_layout_get(size_t n, size_t k, enum dtype t, const struct lib_layout **out, struct err *e);
size_t lib_layout_bytes(const struct lib_layout *l);
/* src (k, n) with strides rs, cs in elements: a weight (n, k) without gaps has rs = 1, cs = k. */
int lib_pack(const struct lib_layout *l, const void *src, size_t rs, size_t cs, void *packed, struct err *e);
bool lib_has_bf16(void);  /* what the library says; gemm_has_bf16 need not load it */
bool lib_has_tiles(void); /* AMX */
bool lib_has_lanes(void); /* AVX-512 F, BW, VL and DQ */

#endif
