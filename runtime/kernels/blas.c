/* SPDX-License-Identifier: MIT */
#include "runtime/kernels/blas.h"

struct blas_calls blas;

static const char *const names[] = {BLAS_CALLS(DSO_NAME)};
static struct dso library = DSO("OpenBLAS", PKG_OPENBLAS_FILE, PKG_OPENBLAS_PACKAGE, names, blas);

int blas_load(struct err *e)
{
    return dso_load(&library, e);
}
