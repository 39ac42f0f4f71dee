/* SPDX-License-Identifier: MIT */
#include "runtime/kernels/distill.h"

#include <math.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/vmath.h"

enum { GROUP = 1024 };

VECTOR static float largest(const float *z, size_t n)
{
    return vmax(z, n);
}

VECTOR static float sum_exp(const float *z, float max, float f, size_t n)
{
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (size_t i = 0; i < n; i++)
        s += vexp((z[i] - max) * f);
    return s;
}

/* z = a exp(z - max) + b exp((z - max) f) */
VECTOR static void mix(float *z, float max, float f, float a, float b, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float x = z[i] - max;
        z[i] = a * vexp(x) + b * vexp(x * f);
    }
}

static double row_sum(const float *z, float max, float f, size_t V)
{
    double sum = 0;
    for (size_t k = 0; k < V; k += GROUP)
        sum += (double)sum_exp(z + k, max, f, V - k < GROUP ? V - k : GROUP);
    return sum;
}

struct job {
    float *logits;
    size_t V, ld;
    const struct soft_targets *s;
    const uint32_t *row;
    const int32_t *target;
    const float *weight;
    double *loss;
};

/* log sum_j exp(logp_j / T) over the row's tokens */
static double soft_lse(const struct soft_targets *s, const float *logp)
{
    double max = (double)logp[0], sum = 0;
    for (size_t k = 1; k < s->k; k++)
        max = (double)logp[k] > max ? (double)logp[k] : max;
    for (size_t k = 0; k < s->k; k++)
        sum += exp(((double)logp[k] - max) / s->temperature);
    return max / s->temperature + log(sum);
}

static void one_row(void *u, size_t i)
{
    const struct job *j = u;
    const struct soft_targets *s = j->s;
    float *z = j->logits + i * j->ld;
    const int32_t *id = s->id + (size_t)j->row[i] * s->k;
    const float *logp = s->logp + (size_t)j->row[i] * s->k;
    double T = s->temperature, w = s->weight, each = j->weight ? (double)j->weight[i] : 1, from = soft_lse(s, logp), kl = 0;
    float max = largest(z, j->V), f = (float)(1 / T);
    double at = (double)z[j->target[i]] - (double)max, hard = row_sum(z, max, 1, j->V), soft = T == 1 ? hard : row_sum(z, max, f, j->V);
    for (size_t k = 0; k < s->k; k++) {
        double lp = (double)logp[k] / T - from, lq = ((double)z[id[k]] - (double)max) / T - log(soft);
        kl += exp(lp) * (lp - lq);
    }
    j->loss[i] = (1 - w) * (log(hard) - at) + w * T * T * kl;
    mix(z, max, f, (float)(each * (1 - w) / hard), (float)(each * w * T / soft), j->V);
    for (size_t k = 0; k < s->k; k++)
        z[id[k]] = (float)((double)z[id[k]] - each * w * T * exp((double)logp[k] / T - from));
    z[j->target[i]] = (float)((double)z[j->target[i]] - each * (1 - w));
}

void distill_rows(float *logits, size_t n, size_t V, size_t ld, const struct soft_targets *s, const uint32_t *row, const int32_t *target,
                  const float *weight, double *loss)
{
    struct job j = {logits, V, ld, s, row, target, weight, loss};
    par_for(n, one_row, &j);
}

static double ref_sum(const float *z, size_t V, double T, double *max)
{
    double sum = 0;
    *max = (double)z[0];
    for (size_t i = 1; i < V; i++)
        *max = (double)z[i] > *max ? (double)z[i] : *max;
    for (size_t i = 0; i < V; i++)
        sum += exp(((double)z[i] - *max) / T);
    return sum;
}

void distill_rows_ref(float *logits, size_t n, size_t V, size_t ld, const struct soft_targets *s, const uint32_t *row, const int32_t *target,
                      const float *weight, double *loss)
{
    for (size_t i = 0; i < n; i++) {
        float *z = logits + i * ld;
        const int32_t *id = s->id + row[i] * s->k;
        const float *logp = s->logp + row[i] * s->k;
        double max, T = s->temperature, w = s->weight, each = weight ? (double)weight[i] : 1, sum = 0;
        double hard = ref_sum(z, V, 1, &max), soft = ref_sum(z, V, T, &max);
        for (size_t k = 0; k < s->k; k++)
            sum += exp((double)logp[k] / T);
        loss[i] = (1 - w) * (log(hard) - ((double)z[target[i]] - max));
        for (size_t k = 0; k < s->k; k++) {
            double p = exp((double)logp[k] / T) / sum;
            loss[i] += w * T * T * p * (log(p) - (((double)z[id[k]] - max) / T - log(soft)));
        }
        for (size_t v = 0; v < V; v++) {
            double x = (double)z[v] - max, p = 0;
            for (size_t k = 0; k < s->k; k++)
                if ((size_t)id[k] == v)
                    p = exp((double)logp[k] / T) / sum;
            z[v] = (float)(each * ((1 - w) * (exp(x) / hard - ((size_t)target[i] == v)) + w * T * (exp(x / T) / soft - p)));
        }
    }
}

/* ---- the k largest ---- */

struct top {
    const float *logits;
    size_t V, ids, k;
    int32_t *id;
    float *logp;
};

/* a before b: the larger, then the lower id. */
static int before(float a, int32_t ia, float b, int32_t ib)
{
    return a > b || (a == b && ia < ib);
}

/* Heap of n entries with the last in order at the root. */
static void sift(float *v, int32_t *id, size_t n, size_t i)
{
    for (size_t c = 2 * i + 1; c < n; i = c, c = 2 * i + 1) {
        if (c + 1 < n && before(v[c], id[c], v[c + 1], id[c + 1]))
            c++;
        if (!before(v[i], id[i], v[c], id[c]))
            return;
        float f = v[i];
        int32_t x = id[i];
        v[i] = v[c], id[i] = id[c];
        v[c] = f, id[c] = x;
    }
}

static void top_row(void *u, size_t i)
{
    const struct top *t = u;
    const float *z = t->logits + i * t->V;
    float *v = t->logp + i * t->k, max = largest(z, t->V);
    int32_t *id = t->id + i * t->k;
    double lse = (double)max + log(row_sum(z, max, 1, t->V));
    for (size_t j = 0; j < t->k; j++)
        v[j] = z[j], id[j] = (int32_t)j;
    for (size_t j = t->k / 2; j-- > 0;)
        sift(v, id, t->k, j);
    for (size_t j = t->k; j < t->ids; j++)
        if (z[j] > v[0]) {
            v[0] = z[j], id[0] = (int32_t)j;
            sift(v, id, t->k, 0);
        }
    for (size_t n = t->k; n-- > 1;) { /* the last in order goes to the end */
        float f = v[0];
        int32_t x = id[0];
        v[0] = v[n], id[0] = id[n];
        v[n] = f, id[n] = x;
        sift(v, id, n, 0);
    }
    for (size_t j = 0; j < t->k; j++)
        v[j] = (float)((double)v[j] - lse);
}

void top_logprobs(const float *logits, size_t n, size_t V, size_t ids, size_t k, int32_t *id, float *logp)
{
    struct top t = {logits, V, ids, k, id, logp};
    par_for(n, top_row, &t);
}
