/* SPDX-License-Identifier: MIT
 *
 * norm: RMSNorm, forward beside backward. Slabs of rows; a row's sum is one vector of partial sums.
 */
#include "runtime/kernels/norm.h"

#include <math.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/vmath.h"

enum { SLAB = 16 };

struct job {
    float *out, *rstd_out;
    const float *dy, *x, *w, *rstd;
    double eps;
    size_t d;
};

VECTOR static float sum_squares(const float *x, size_t n)
{
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (size_t i = 0; i < n; i++)
        s += x[i] * x[i];
    return s;
}

VECTOR static void scale_rows(float *y, const float *x, const float *w, float r, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = w[i] * (x[i] * r);
}

static void forward_slab(void *u, size_t first, size_t count)
{
    const struct job *j = u;
    for (size_t t = first; t < first + count; t++) {
        const float *x = j->x + t * j->d;
        float r = (float)(1 / sqrt((double)sum_squares(x, j->d) / (double)j->d + j->eps));
        scale_rows(j->out + t * j->d, x, j->w, r, j->d);
        if (j->rstd_out)
            j->rstd_out[t] = r;
    }
}

void rmsnorm_forward(float *y, float *rstd, const float *x, const float *w, double eps, size_t T, size_t d)
{
    struct job j = {.out = y, .rstd_out = rstd, .x = x, .w = w, .eps = eps, .d = d};
    par_slabs(T, SLAB, forward_slab, &j);
}

void rmsnorm_forward_ref(float *y, float *rstd, const float *x, const float *w, double eps, size_t T, size_t d)
{
    for (size_t t = 0; t < T; t++) {
        double s = 0;
        for (size_t i = 0; i < d; i++)
            s += (double)x[t * d + i] * x[t * d + i];
        double r = 1 / sqrt(s / (double)d + eps);
        for (size_t i = 0; i < d; i++)
            y[t * d + i] = (float)(w[i] * (x[t * d + i] * r));
        if (rstd)
            rstd[t] = (float)r;
    }
}

VECTOR static float dot3(const float *a, const float *b, const float *c, size_t n)
{
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (size_t i = 0; i < n; i++)
        s += a[i] * b[i] * c[i];
    return s;
}

VECTOR static void backward_row(float *dx, const float *dy, const float *w, const float *x, float r, float c, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        dx[i] += r * (w[i] * dy[i] - x[i] * c);
}

static void backward_slab(void *u, size_t first, size_t count)
{
    const struct job *j = u;
    for (size_t t = first; t < first + count; t++) {
        const float *x = j->x + t * j->d, *dy = j->dy + t * j->d;
        float r = j->rstd[t], c = dot3(j->w, dy, x, j->d) * r * r / (float)j->d; /* xhat * mean(w dy xhat) = x * c */
        backward_row(j->out + t * j->d, dy, j->w, x, r, c, j->d);
    }
}

void rmsnorm_backward(float *dx, const float *dy, const float *x, const float *w, const float *rstd, size_t T, size_t d)
{
    struct job j = {.out = dx, .dy = dy, .x = x, .w = w, .rstd = rstd, .d = d};
    par_slabs(T, SLAB, backward_slab, &j);
}

void rmsnorm_backward_ref(float *dx, const float *dy, const float *x, const float *w, const float *rstd, size_t T, size_t d)
{
    for (size_t t = 0; t < T; t++) {
        double r = rstd[t], s = 0;
        for (size_t i = 0; i < d; i++)
            s += (double)w[i] * dy[t * d + i] * (x[t * d + i] * r);
        for (size_t i = 0; i < d; i++)
            dx[t * d + i] = (float)(dx[t * d + i] + r * ((double)w[i] * dy[t * d + i] - x[t * d + i] * r * s / (double)d));
    }
}

VECTOR static void xhat_row(float *y, const float *x, float r, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * r;
}

static void xhat_slab(void *u, size_t first, size_t count)
{
    const struct job *j = u;
    for (size_t t = first; t < first + count; t++)
        xhat_row(j->out + t * j->d, j->x + t * j->d, j->rstd[t], j->d);
}

void rmsnorm_xhat(float *xhat, const float *x, const float *rstd, size_t T, size_t d)
{
    struct job j = {.out = xhat, .x = x, .rstd = rstd, .d = d};
    par_slabs(T, SLAB, xhat_slab, &j);
}
