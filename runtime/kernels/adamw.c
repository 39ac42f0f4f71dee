/* SPDX-License-Identifier: MIT
 *
 * adamw: one pass over the four arrays. Scalars of the step are made in f64 once and rounded; elements are f32, in the
 * order of operations that PyTorch's AdamW has.
 */
#include "runtime/kernels/adamw.h"

#include <math.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/vmath.h"

enum { SLAB = 16384 };

struct scalars {
    float decay, b1, b1c, b2, b2c, eps, step_size, root, scale;
};

struct job {
    float *p, *m, *v;
    const float *g;
    struct scalars s;
};

static struct scalars make_scalars(double lr, double b1, double b2, double eps, double wd, int64_t step, double scale)
{
    return (struct scalars){(float)(1 - lr * wd), (float)b1, (float)(1 - b1), (float)b2, (float)(1 - b2), (float)eps,
                            (float)(lr / (1 - pow(b1, (double)step))), (float)sqrt(1 - pow(b2, (double)step)), (float)scale};
}

VECTOR static void update(float *restrict p, const float *restrict g, float *restrict m, float *restrict v, size_t n, struct scalars s)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float x = g[i] * s.scale;
        m[i] = s.b1 * m[i] + s.b1c * x;
        v[i] = s.b2 * v[i] + s.b2c * (x * x);
        p[i] = p[i] * s.decay - s.step_size * (m[i] / (__builtin_sqrtf(v[i]) / s.root + s.eps));
    }
}

static void slab(void *u, size_t i, size_t n)
{
    const struct job *j = u;
    update(j->p + i, j->g + i, j->m + i, j->v + i, n, j->s);
}

void adamw_step(float *p, const float *g, float *m, float *v, size_t n, double lr, double beta1, double beta2, double eps,
                double weight_decay, int64_t step, double grad_scale)
{
    struct job j = {p, m, v, g, make_scalars(lr, beta1, beta2, eps, weight_decay, step, grad_scale)};
    par_slabs(n, SLAB, slab, &j);
}

void adamw_step_ref(float *p, const float *g, float *m, float *v, size_t n, double lr, double beta1, double beta2, double eps,
                    double weight_decay, int64_t step, double grad_scale)
{
    double c1 = 1 - pow(beta1, (double)step), c2 = sqrt(1 - pow(beta2, (double)step));
    for (size_t i = 0; i < n; i++) {
        double x = g[i] * grad_scale, a = beta1 * m[i] + (1 - beta1) * x, b = beta2 * v[i] + (1 - beta2) * x * x;
        p[i] = (float)(p[i] * (1 - lr * weight_decay) - lr / c1 * a / (sqrt(b) / c2 + eps));
        m[i] = (float)a;
        v[i] = (float)b;
    }
}

VECTOR static double sumsq(const float *g, size_t n)
{
    double s = 0;
#pragma omp simd reduction(+ : s)
    for (size_t i = 0; i < n; i++)
        s += (double)g[i] * (double)g[i];
    return s;
}

/* Blocks are summed in groups of BLOCKS, which a small array holds: no memory to be refused. */
enum { BLOCK = 16384, BLOCKS = 256 };

struct sum_job {
    const float *g;
    double part[BLOCKS];
};

static void sum_block(void *u, size_t i, size_t n)
{
    struct sum_job *j = u;
    j->part[i / BLOCK] = sumsq(j->g + i, n);
}

double grad_sumsq(const float *g, size_t n)
{
    struct sum_job j;
    double s = 0;
    for (size_t at = 0; at < n; at += (size_t)BLOCK * BLOCKS) {
        size_t left = n - at, here = left < (size_t)BLOCK * BLOCKS ? left : (size_t)BLOCK * BLOCKS;
        j.g = g + at;
        par_slabs(here, BLOCK, sum_block, &j);
        for (size_t i = 0; i * BLOCK < here; i++)
            s += j.part[i];
    }
    return s;
}

double grad_sumsq_ref(const float *g, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++)
        s += (double)g[i] * g[i];
    return s;
}
