/* SPDX-License-Identifier: MIT
 *
 * swiglu: slabs of elements, forward beside backward.
 */
#include "runtime/kernels/swiglu.h"

#include <math.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/vmath.h"

enum { SLAB = 16384 };

struct job {
    float *y, *dgate, *dup;
    const float *dy, *gate, *up;
};

VECTOR static void forward(float *y, const float *gate, const float *up, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] / (1.0f + vexp(-gate[i])) * up[i];
}

VECTOR static void backward(float *dgate, float *dup, const float *dy, const float *gate, const float *up, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float g = gate[i], d = dy[i], a = up[i], s = 1.0f / (1.0f + vexp(-g));
        dgate[i] = d * a * s * (1.0f + g * (1.0f - s));
        dup[i] = d * g * s;
    }
}

static void forward_slab(void *u, size_t i, size_t n)
{
    const struct job *j = u;
    forward(j->y + i, j->gate + i, j->up + i, n);
}

static void backward_slab(void *u, size_t i, size_t n)
{
    const struct job *j = u;
    backward(j->dgate + i, j->dup + i, j->dy + i, j->gate + i, j->up + i, n);
}

void swiglu_forward(float *y, const float *gate, const float *up, size_t n)
{
    struct job j = {.y = y, .gate = gate, .up = up};
    par_slabs(n, SLAB, forward_slab, &j);
}

void swiglu_backward(float *dgate, float *dup, const float *dy, const float *gate, const float *up, size_t n)
{
    struct job j = {.dgate = dgate, .dup = dup, .dy = dy, .gate = gate, .up = up};
    par_slabs(n, SLAB, backward_slab, &j);
}

void swiglu_forward_ref(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (float)((double)gate[i] / (1 + exp(-(double)gate[i])) * (double)up[i]);
}

void swiglu_backward_ref(float *dgate, float *dup, const float *dy, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double g = gate[i], d = dy[i], a = up[i], s = 1 / (1 + exp(-g));
        dgate[i] = (float)(d * a * s * (1 + g * (1 - s)));
        dup[i] = (float)(d * g * s);
    }
}
