/* SPDX-License-Identifier: MIT
 *
 * attention_ref: the formulas of attention.h, one query at a time, in f64.
 */
#include "runtime/kernels/attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* p[u] = softmax of q . k[u] * scale over n keys of row stride ld; returns the log of the sum. */
static double probabilities(double *p, const float *q, const float *k, size_t ld, size_t n, size_t hd)
{
    double max = -INFINITY, sum = 0, scale = 1 / sqrt((double)hd);
    for (size_t u = 0; u < n; u++) {
        p[u] = 0;
        for (size_t i = 0; i < hd; i++)
            p[u] += (double)q[i] * k[u * ld + i];
        p[u] *= scale;
        max = p[u] > max ? p[u] : max;
    }
    for (size_t u = 0; u < n; u++)
        sum += p[u] = exp(p[u] - max);
    for (size_t u = 0; u < n; u++)
        p[u] /= sum;
    return max + log(sum);
}

static void mix(float *out, const double *p, const float *v, size_t ld, size_t n, size_t hd)
{
    for (size_t i = 0; i < hd; i++) {
        double s = 0;
        for (size_t u = 0; u < n; u++)
            s += p[u] * v[u * ld + i];
        out[i] = (float)s;
    }
}

void attention_forward_ref(float *out, float *lse, const float *q, const float *k, const float *v, const int32_t *cu,
                           int n_seqs, int heads, int kv_heads, int head_dim)
{
    size_t H = (size_t)heads, K = (size_t)kv_heads, hd = (size_t)head_dim, ld = K * hd;
    double *p = malloc(((size_t)cu[n_seqs] + 1) * sizeof *p);
    for (int s = 0; p && s < n_seqs; s++)
        for (size_t t0 = (size_t)cu[s], t = t0; t < (size_t)cu[s + 1]; t++)
            for (size_t h = 0; h < H; h++) {
                size_t kv = t0 * ld + h / (H / K) * hd, at = (t * H + h) * hd;
                double l = probabilities(p, q + at, k + kv, ld, t - t0 + 1, hd);
                if (lse)
                    lse[t * H + h] = (float)l;
                mix(out + at, p, v + kv, ld, t - t0 + 1, hd);
            }
    free(p);
}

static void backward_query(double *dq, double *dk, double *dv, double *p, double *dp, const float *dout, const float *q,
                           const float *k, const float *v, size_t ld, size_t n, size_t hd)
{
    double D = 0, scale = 1 / sqrt((double)hd);
    probabilities(p, q, k, ld, n, hd);
    for (size_t u = 0; u < n; u++) {
        dp[u] = 0;
        for (size_t i = 0; i < hd; i++) {
            dp[u] += (double)dout[i] * v[u * ld + i];
            dv[u * ld + i] += p[u] * dout[i];
        }
        D += p[u] * dp[u];
    }
    for (size_t u = 0; u < n; u++)
        for (size_t i = 0; i < hd; i++) {
            double ds = p[u] * (dp[u] - D) * scale;
            dq[i] += ds * k[u * ld + i];
            dk[u * ld + i] += ds * q[i];
        }
}

void attention_backward_ref(float *dq, float *dk, float *dv, const float *dout, const float *q, const float *k,
                            const float *v, const int32_t *cu, int n_seqs, int heads, int kv_heads, int head_dim)
{
    size_t H = (size_t)heads, K = (size_t)kv_heads, hd = (size_t)head_dim, ld = K * hd, T = (size_t)cu[n_seqs];
    double *w = calloc(2 * T * ld + 2 * T + hd + 1, sizeof *w), *gk = w, *gv, *p, *gq;
    if (!w)
        return;
    gv = gk + T * ld, p = gv + T * ld, gq = p + 2 * T;
    for (int s = 0; s < n_seqs; s++)
        for (size_t t0 = (size_t)cu[s], t = t0; t < (size_t)cu[s + 1]; t++)
            for (size_t h = 0; h < H; h++) {
                size_t kv = t0 * ld + h / (H / K) * hd, at = (t * H + h) * hd;
                memset(gq, 0, hd * sizeof *gq);
                backward_query(gq, gk + kv, gv + kv, p, p + T, dout + at, q + at, k + kv, v + kv, ld, t - t0 + 1, hd);
                for (size_t i = 0; i < hd; i++)
                    dq[at + i] = (float)gq[i];
            }
    for (size_t i = 0; i < T * ld; i++) {
        dk[i] = (float)gk[i];
        dv[i] = (float)gv[i];
    }
    free(w);
}

void attention_decode_ref(float *out, const float *q, const float *const *kcache, const float *const *vcache,
                          const int32_t *len, int n_seqs, int heads, int kv_heads, int head_dim)
{
    size_t H = (size_t)heads, K = (size_t)kv_heads, hd = (size_t)head_dim, ld = K * hd;
    for (int s = 0; s < n_seqs; s++) {
        double *p = malloc(((size_t)len[s] + 1) * sizeof *p);
        for (size_t h = 0; p && h < H; h++) {
            size_t kv = h / (H / K) * hd, at = ((size_t)s * H + h) * hd;
            probabilities(p, q + at, kcache[s] + kv, ld, (size_t)len[s], hd);
            mix(out + at, p, vcache[s] + kv, ld, (size_t)len[s], hd);
        }
        free(p);
    }
}
