/* SPDX-License-Identifier: MIT
 *
 * blas: the functions of OpenBLAS (CBLAS and LAPACK) that the kernels call, loaded on first use. For gemm_lib.c and svd.c.
 */
#ifndef PKG_KERNELS_BLAS_H
#define PKG_KERNELS_BLAS_H

#include <cblas.h>

#include "runtime/base/dso.h"

/* LAPACK, Fortran convention: column-major, everything by address; hidden string lengths are passed as OpenBLAS's own
 * headers do not need them. */
void dsyevr_(const char *jobz, const char *range, const char *uplo, const int *n, double *a, const int *lda,
             const double *vl, const double *vu, const int *il, const int *iu, const double *abstol, int *m, double *w,
             double *z, const int *ldz, int *isuppz, double *work, const int *lwork, int *iwork, const int *liwork,
             int *info);
void dgeqrf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work, const int *lwork,
             int *info);
void dorgqr_(const int *m, const int *n, const int *k, double *a, const int *lda, const double *tau, double *work,
             const int *lwork, int *info);
void dgesvd_(const char *jobu, const char *jobvt, const int *m, const int *n, double *a, const int *lda, double *s,
             double *u, const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork, int *info);

#define BLAS_CALLS(X)                                                                                                             \
    X(cblas_sgemm) X(cblas_dgemm) X(cblas_dger) X(cblas_dsyrk) X(openblas_get_config) X(openblas_get_corename) X(openblas_set_num_threads) X(dsyevr_) X(dgeqrf_) \
    X(dorgqr_) X(dgesvd_)

struct blas_calls {
    BLAS_CALLS(DSO_FIELD)
};

/* May be called through once blas_load has returned 0. */
extern struct blas_calls blas;

/* Any thread. ERR_UNSUPPORTED when the library is not there. */
int blas_load(struct err *e);

#endif
