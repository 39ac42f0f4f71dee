/* SPDX-License-Identifier: MIT
 *
 * helper: what the kernels' tests share: reproducible numbers, the norm-wise distance, teams of 1, 2 and 3 threads.
 */
#ifndef PKG_TEST_KERNELS_HELPER_H
#define PKG_TEST_KERNELS_HELPER_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/dtype.h"
#include "runtime/base/err.h"
#include "runtime/exec/par.h"

/* Uniform in [-1, 1). */
static inline float *random_floats(size_t n, uint32_t seed)
{
    float *p = malloc((n + 1) * sizeof *p);
    assert_non_null(p);
    uint32_t s = seed * 2654435761u + 1;
    for (size_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        p[i] = (float)(s >> 8) * 0x1p-23f - 1.0f;
    }
    return p;
}

/* A copy in type t; the f32 values are rounded in place to what the copy holds. */
static inline void *typed_copy(float *f, size_t n, enum dtype t)
{
    void *p = malloc(n * dtype_size(t) + 8);
    assert_non_null(p);
    assert_int_equal(dtype_from_f32(p, t, f, n), 0);
    assert_int_equal(dtype_to_f32(f, p, t, n), 0);
    return p;
}

static inline float *float_copy(const float *x, size_t n)
{
    float *p = malloc((n + 1) * sizeof *p);
    assert_non_null(p);
    memcpy(p, x, n * sizeof *p);
    return p;
}

/* |a - b| / |b|, 2-norms; a NaN anywhere gives infinity. */
static inline double distance(const float *a, const float *b, size_t n)
{
    double d = 0, s = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(a[i]) || isnan(b[i]))
            return INFINITY;
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        s += (double)b[i] * b[i];
    }
    return s > 0 ? sqrt(d / s) : sqrt(d);
}

#define assert_near(a, b, n, tol)                                                                                                \
    do {                                                                                                                         \
        double d_ = distance(a, b, n);                                                                                           \
        if (!(d_ <= (tol)))                                                                                                      \
            fail_msg("distance %g > %g", d_, (double)(tol));                                                                     \
    } while (0)

#define assert_same_bytes(a, b, bytes) assert_memory_equal(a, b, bytes)

#endif
