/* SPDX-License-Identifier: MIT
 *
 * xent: one row of logits at a time: maximum, sum of exponentials (f32 within groups of GROUP, f64 across), gradient.
 */
#include "runtime/kernels/xent.h"

#include <math.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/vmath.h"

enum { GROUP = 1024 };

struct job {
    float *grad;
    const float *logits, *weight;
    size_t V, ld;
    const int32_t *target;
    double *loss;
};

VECTOR static float logits_max(const float *z, size_t n)
{
    return vmax(z, n);
}

VECTOR static float sum_exp(const float *z, float max, size_t n)
{
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (size_t i = 0; i < n; i++)
        s += vexp(z[i] - max);
    return s;
}

VECTOR static float store_exp(float *z, float max, size_t n)
{
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (size_t i = 0; i < n; i++) {
        z[i] = vexp(z[i] - max);
        s += z[i];
    }
    return s;
}

VECTOR static void scale_row(float *z, float f, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        z[i] *= f;
}

static void one_row(void *u, size_t i)
{
    const struct job *j = u;
    const float *z = j->logits + i * j->ld;
    float *g = j->grad ? j->grad + i * j->ld : NULL;
    float max = logits_max(z, j->V), at = z[j->target[i]];
    double sum = 0;
    for (size_t k = 0; k < j->V; k += GROUP) {
        size_t n = j->V - k < GROUP ? j->V - k : GROUP;
        sum += (double)(g ? store_exp(g + k, max, n) : sum_exp(z + k, max, n));
    }
    if (j->loss)
        j->loss[i] = log(sum) - ((double)at - (double)max);
    if (g) {
        float w = j->weight ? j->weight[i] : 1.0f;
        scale_row(g, (float)((double)w / sum), j->V);
        g[j->target[i]] = (float)((exp((double)at - (double)max) / sum - 1) * (double)w);
    }
}

void xent_rows(float *logits, size_t n, size_t V, size_t ld, const int32_t *target, const float *weight, double *loss)
{
    struct job j = {logits, logits, weight, V, ld, target, loss};
    par_for(n, one_row, &j);
}

void xent_loss(const float *logits, size_t n, size_t V, size_t ld, const int32_t *target, double *loss)
{
    struct job j = {NULL, logits, NULL, V, ld, target, loss};
    par_for(n, one_row, &j);
}

static double ref_sum(const float *z, size_t V, double *max)
{
    double m = z[0], s = 0;
    for (size_t i = 1; i < V; i++)
        m = z[i] > m ? z[i] : m;
    for (size_t i = 0; i < V; i++)
        s += exp(z[i] - m);
    *max = m;
    return s;
}

void xent_rows_ref(float *logits, size_t n, size_t V, size_t ld, const int32_t *target, const float *weight, double *loss)
{
    for (size_t i = 0; i < n; i++) {
        float *z = logits + i * ld;
        double max, sum = ref_sum(z, V, &max), w = weight ? weight[i] : 1;
        if (loss)
            loss[i] = log(sum) - (z[target[i]] - max);
        for (size_t k = 0; k < V; k++)
            z[k] = (float)((exp(z[k] - max) / sum - (k == (size_t)target[i])) * w);
    }
}

void xent_loss_ref(const float *logits, size_t n, size_t V, size_t ld, const int32_t *target, double *loss)
{
    for (size_t i = 0; i < n; i++) {
        double max, sum = ref_sum(logits + i * ld, V, &max);
        loss[i] = log(sum) - (logits[i * ld + (size_t)target[i]] - max);
    }
}
