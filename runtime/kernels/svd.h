/* SPDX-License-Identifier: MIT
 *
 * svd: the leading singular triplets of a matrix, and its leading QR columns, in f64 (method.md 4). The one file that
 * knows LAPACK (OpenBLAS).
 *
 * The Gram matrix of the shorter side is added up in f64 over pieces of 1024 lines, its leading eigenvectors come from
 * LAPACK (small ones) or from block Lanczos with full reorthogonalisation, checked by residual against the gap (LAPACK
 * again when it does not converge), and the triplets from QR and SVD of the projected matrix, so that small singular
 * values do not suffer from the squaring: |M - U_r S_r V_r^T| is at most 1.0001 times the least possible, plus 1e-8 |M| (Frobenius). All library calls are single-threaded; the bytes do not depend on the number
 * of threads. Signs are fixed: the component of largest magnitude of every right vector is positive.
 */
#ifndef PKG_KERNELS_SVD_H
#define PKG_KERNELS_SVD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/dtype.h"
#include "runtime/base/err.h"

/* A matrix (m, n): element (i, j) is data[i * ld + j], or data[j * ld + i] when transposed. F32 BF16 F16 F64. */
struct svd_matrix {
    const void *data;
    enum dtype t;
    size_t m, n, ld;
    bool transposed;
};

/* s (r), descending; us (m, r) = U diag(s), row-major; vt (r, n); *energy (may be NULL) = sum of squares of the whole
 * matrix. r > min(m, n), a zero size or a value that is not finite: ERR_INPUT. */
int svd_truncated(const struct svd_matrix *a, size_t r, double *s, double *us, double *vt, double *energy,
                  struct err *e);

/* The same by one-sided Jacobi rotations in plain C (svd_ref.c); slow, for tests. */
int svd_truncated_ref(const struct svd_matrix *a, size_t r, double *s, double *us, double *vt, double *energy,
                      struct err *e);

/* Leading columns of the QR factorisation: q (m, r) orthonormal, u (r, n) = q^T A. r <= min(m, n). */
int svd_qr(const struct svd_matrix *a, size_t r, double *q, double *u, struct err *e);

/* Bytes that svd_truncated uses beside its arguments. */
uint64_t svd_memory(size_t m, size_t n, size_t r);
double svd_flops(size_t m, size_t n, size_t r);

#endif
