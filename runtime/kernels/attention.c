/* SPDX-License-Identifier: MIT
 *
 * attention: blocks of BQ queries of one head against the keys up to the block's last query; the scores of a block exist
 * in the worker's scratch only. Forward: an item is (sequence, head, block). Backward: an item is (sequence, head); it
 * walks the blocks upwards, recomputes P = exp(score - lse), and adds its keys' gradients into a copy of its own, which
 * the heads of a group then share out in ascending order.
 *   D = rowsum(dO * O);  dV += P^T dO;  dP = dO V^T;  dS = P * (dP - D) * scale;  dQ = dS K;  dK += dS^T Q
 * In bf16 q, k, v, dout are converted once, P and dS a block at a time.
 */
#include "runtime/kernels/attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/scratch.h"
#include "runtime/kernels/vmath.h"

enum { BQ = 64 };

/* The shapes of a call, and one entry an item: sequence s has blocks block_cu[s] .. block_cu[s+1] of BQ queries. */
struct job {
    float *out, *lse, *dq, *dk, *dv;
    const float *fout, *fdout, *flse;
    const char *q, *k, *v, *dout; /* in type t */
    enum dtype t;
    size_t es, heads, kv_heads, group, hd, ldq, ldk, ldg; /* row strides of q, of k, of the gradients dk and dv */
    float scale;
    const int32_t *cu;
    int n_seqs;
    size_t longest;
    int32_t *block_seq, *block_first; /* of every query block */
    size_t blocks;
    struct first_err err;
};

VECTOR static float row_max(const float *s, size_t n)
{
    return vmax(s, n);
}

/* s = exp((s - max) * scale); returns the sum. */
VECTOR static float row_exp(float *s, float max, float scale, size_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        s[i] = vexp((s[i] - max) * scale);
        sum += s[i];
    }
    return sum;
}

VECTOR static void row_scale(float *s, float f, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        s[i] *= f;
}

/* The same, rounded to bf16 at p; the sum is of the numbers before rounding. In chunks that stay in registers' reach,
 * because a loop over two element sizes is vectorised badly. */
enum { CHUNK = 256 };

static float row_exp_bf16(uint16_t *p, float *s, float max, float scale, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t c = n - i < CHUNK ? n - i : CHUNK;
        sum += row_exp(s + i, max, scale, c);
        convert_to_bf16_row(p + i, s + i, c);
    }
    return sum;
}

/* s becomes P = exp(s * scale - lse), dp becomes dS = P (dp - D) scale. */
VECTOR static void row_back(float *restrict s, float *restrict dp, float lse, float D, float scale, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float x = vexp(s[i] * scale - lse);
        dp[i] = x * (dp[i] - D) * scale;
        s[i] = x;
    }
}

static void row_back_bf16(uint16_t *p, uint16_t *ds, float *s, float *dp, float lse, float D, float scale, size_t n)
{
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t c = n - i < CHUNK ? n - i : CHUNK;
        row_back(s + i, dp + i, lse, D, scale, c);
        convert_to_bf16_row(p + i, s + i, c);
        convert_to_bf16_row(ds + i, dp + i, c);
    }
}

VECTOR static float row_dot(const float *a, const float *b, size_t n)
{
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (size_t i = 0; i < n; i++)
        s += a[i] * b[i];
    return s;
}

VECTOR static void row_add(float *restrict y, const float *restrict x, float f, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += f * x[i];
}

static size_t round16(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

/* Keys after the query: zero in whichever of the two the product reads. */
static void zero_masked(const struct job *j, float *s, uint16_t *half, size_t at, size_t n)
{
    if (j->t == DT_BF16)
        memset(half + at, 0, n * sizeof *half);
    else
        memset(s + at, 0, n * sizeof *s);
}

static void forward_block(void *u, size_t i)
{
    struct job *j = u;
    size_t b = i / j->heads, h = i % j->heads, kh = h / j->group, hd = j->hd;
    size_t t0 = (size_t)j->cu[j->block_seq[b]], end = (size_t)j->cu[j->block_seq[b] + 1], q0 = (size_t)j->block_first[b];
    size_t rows = end - q0 < BQ ? end - q0 : BQ, keys = q0 + rows - t0;
    const char *q = j->q + (q0 * j->ldq + h * hd) * j->es, *k = j->k + (t0 * j->ldk + kh * hd) * j->es,
               *v = j->v + (t0 * j->ldk + kh * hd) * j->es;
    float *out = j->out + q0 * j->ldq + h * hd, sums[BQ];
    struct err e = {0};
    float *s = scratch_get(SCRATCH_ITEM, 2 * round16(BQ * j->longest) * sizeof *s, &e);
    uint16_t *half = (uint16_t *)(void *)(s + round16(BQ * j->longest));
    int rc = s ? gemm_serial(GEMM_NT, rows, keys, hd, j->t, q, j->ldq, k, j->ldk, false, s, keys, &e) : e.code;
    if (rc)
        goto out;
    for (size_t r = 0; r < rows; r++) {
        size_t n = q0 + r - t0 + 1, at = r * keys;
        float max = row_max(s + at, n);
        sums[r] = j->t == DT_BF16 ? row_exp_bf16(half + at, s + at, max, j->scale, n) : row_exp(s + at, max, j->scale, n);
        zero_masked(j, s, half, at + n, keys - n);
        if (j->lse)
            j->lse[(q0 + r) * j->heads + h] = max * j->scale + logf(sums[r]);
    }
    rc = gemm_serial(GEMM_NN, rows, hd, keys, j->t, j->t == DT_BF16 ? (void *)half : s, keys, v, j->ldk, false, out, j->ldq, &e);
    for (size_t r = 0; r < rows && !rc; r++)
        row_scale(out + r * j->ldq, 1.0f / sums[r], hd);
out:
    if (rc)
        first_err_put(&j->err, &e);
}

/* One query block of the backward pass; s and dp are (rows, keys), half is room for a bf16 copy of each. */
static int backward_block(struct job *j, size_t h, size_t t0, size_t q0, size_t rows, float *s, float *dp, uint16_t *half, struct err *e)
{
    size_t kh = h / j->group, hd = j->hd, keys = q0 + rows - t0, kv = t0 * j->ldk + kh * hd, qo = q0 * j->ldq + h * hd;
    const char *q = j->q + qo * j->es, *k = j->k + kv * j->es, *v = j->v + kv * j->es, *dout = j->dout + qo * j->es;
    float *dk = j->dk + t0 * j->ldg + h * hd, *dv = j->dv + t0 * j->ldg + h * hd;
    int rc = gemm_serial(GEMM_NT, rows, keys, hd, j->t, q, j->ldq, k, j->ldk, false, s, keys, e);
    if (!rc)
        rc = gemm_serial(GEMM_NT, rows, keys, hd, j->t, dout, j->ldq, v, j->ldk, false, dp, keys, e);
    if (rc)
        return rc;
    uint16_t *hs = half, *hdp = half + rows * keys;
    for (size_t r = 0; r < rows; r++) {
        size_t n = q0 + r - t0 + 1, at = r * keys;
        float D = row_dot(j->fdout + qo + r * j->ldq, j->fout + qo + r * j->ldq, hd), lse = j->flse[(q0 + r) * j->heads + h];
        if (j->t == DT_BF16)
            row_back_bf16(hs + at, hdp + at, s + at, dp + at, lse, D, j->scale, n);
        else
            row_back(s + at, dp + at, lse, D, j->scale, n);
        zero_masked(j, s, hs, at + n, keys - n);
        zero_masked(j, dp, hdp, at + n, keys - n);
    }
    const void *p = j->t == DT_BF16 ? (void *)hs : s, *ds = j->t == DT_BF16 ? (void *)hdp : dp;
    rc = gemm_serial(GEMM_TN, keys, hd, rows, j->t, p, keys, dout, j->ldq, true, dv, j->ldg, e);
    if (!rc)
        rc = gemm_serial(GEMM_NN, rows, hd, keys, j->t, ds, keys, k, j->ldk, false, j->dq + qo, j->ldq, e);
    if (!rc)
        rc = gemm_serial(GEMM_TN, keys, hd, rows, j->t, ds, keys, q, j->ldq, true, dk, j->ldg, e);
    return rc;
}

static void backward_head(void *u, size_t i)
{
    struct job *j = u;
    size_t seq = i / j->heads, h = i % j->heads, t0 = (size_t)j->cu[seq], end = (size_t)j->cu[seq + 1], room = round16(BQ * j->longest);
    struct err e = {0};
    float *s = scratch_get(SCRATCH_ITEM, 3 * room * sizeof *s, &e);
    int rc = s ? 0 : e.code;
    for (size_t t = t0; t < end; t++) {
        memset(j->dk + t * j->ldg + h * j->hd, 0, j->hd * sizeof *j->dk);
        memset(j->dv + t * j->ldg + h * j->hd, 0, j->hd * sizeof *j->dv);
    }
    for (size_t q0 = t0; q0 < end && !rc; q0 += BQ)
        rc = backward_block(j, h, t0, q0, end - q0 < BQ ? end - q0 : BQ, s, s + room, (uint16_t *)(void *)(s + 2 * room), &e);
    if (rc)
        first_err_put(&j->err, &e);
}

/* bf16 copies of up to four tensors, and `extra` floats after them; f32 uses the caller's tensors. */
static int operands(struct job *j, const float *q, const float *k, const float *v, const float *dout, size_t extra, float **more, struct err *e)
{
    size_t T = (size_t)j->cu[j->n_seqs], nq = T * j->ldq, nk = T * j->ldk, half = j->t == DT_BF16 ? ((dout ? 2 : 1) * nq + 2 * nk) : 0;
    half = (half + 31) & ~(size_t)31;
    uint16_t *h = scratch_get(SCRATCH_CALL, half * sizeof *h + extra * sizeof **more, e);
    if (!h)
        return e->code;
    j->es = dtype_size(j->t);
    *more = (float *)(void *)(h + half);
    j->q = (const char *)q, j->k = (const char *)k, j->v = (const char *)v, j->dout = (const char *)dout;
    if (j->t != DT_BF16)
        return 0;
    to_bf16(h, q, nq);
    to_bf16(h + nq, k, nk);
    to_bf16(h + nq + nk, v, nk);
    j->q = (const char *)h, j->k = (const char *)(h + nq), j->v = (const char *)(h + nq + nk);
    if (dout) {
        to_bf16(h + nq + 2 * nk, dout, nq);
        j->dout = (const char *)(h + nq + 2 * nk);
    }
    return 0;
}

static void shape(struct job *j, const int32_t *cu, int n_seqs, int heads, int kv_heads, int head_dim, enum dtype compute)
{
    j->heads = (size_t)heads, j->kv_heads = (size_t)kv_heads, j->group = j->heads / j->kv_heads, j->hd = (size_t)head_dim;
    j->ldq = j->heads * j->hd, j->ldk = j->kv_heads * j->hd;
    j->scale = (float)(1 / sqrt((double)head_dim));
    j->t = compute == DT_BF16 && gemm_has_bf16() ? DT_BF16 : DT_F32;
    j->cu = cu, j->n_seqs = n_seqs;
    for (int s = 0; s < n_seqs; s++) {
        size_t len = (size_t)(cu[s + 1] - cu[s]);
        j->longest = len > j->longest ? len : j->longest;
        j->blocks += (len + BQ - 1) / BQ;
    }
}

/* Longest work first: later blocks of a sequence see more keys. */
static int list_blocks(struct job *j, struct err *e)
{
    j->block_seq = malloc((2 * j->blocks + 1) * sizeof *j->block_seq);
    if (!j->block_seq)
        return err_nomem(e, 2 * j->blocks * sizeof *j->block_seq, "attention's list of blocks");
    j->block_first = j->block_seq + j->blocks;
    size_t n = j->blocks;
    for (int s = 0; s < j->n_seqs; s++)
        for (int32_t t = j->cu[s]; t < j->cu[s + 1]; t += BQ) {
            n--;
            j->block_seq[n] = s;
            j->block_first[n] = t;
        }
    return 0;
}

int attention_forward(float *out, float *lse, const float *q, const float *k, const float *v, const int32_t *cu, int n_seqs,
                      int heads, int kv_heads, int head_dim, enum dtype compute, struct err *e)
{
    struct job j = {.out = out, .lse = lse};
    float *none;
    shape(&j, cu, n_seqs, heads, kv_heads, head_dim, compute);
    int rc = operands(&j, q, k, v, NULL, 0, &none, e);
    if (!rc)
        rc = list_blocks(&j, e);
    if (!rc) {
        par_for(j.blocks * j.heads, forward_block, &j);
        rc = first_err_get(&j.err, e);
    }
    free(j.block_seq);
    return rc;
}

/* The gradients of a group's heads, added in ascending order. */
struct share {
    float *out;
    const float *per_head;
    size_t hd, kv_heads, group;
};

static void share_rows(void *u, size_t first, size_t count)
{
    const struct share *s = u;
    for (size_t t = first; t < first + count; t++)
        for (size_t k = 0; k < s->kv_heads; k++) {
            float *y = s->out + (t * s->kv_heads + k) * s->hd;
            const float *x = s->per_head + (t * s->kv_heads + k) * s->group * s->hd;
            memcpy(y, x, s->hd * sizeof *y);
            for (size_t g = 1; g < s->group; g++)
                row_add(y, x + g * s->hd, 1.0f, s->hd);
        }
}

int attention_backward(float *dq, float *dk, float *dv, const float *dout, const float *out, const float *q, const float *k,
                       const float *v, const float *lse, const int32_t *cu, int n_seqs, int heads, int kv_heads,
                       int head_dim, enum dtype compute, struct err *e)
{
    struct job j = {.dq = dq, .dk = dk, .dv = dv, .fout = out, .fdout = dout, .flse = lse};
    float *per_head;
    shape(&j, cu, n_seqs, heads, kv_heads, head_dim, compute);
    size_t T = (size_t)cu[n_seqs], n = T * j.ldq;
    j.ldg = j.ldq;
    int rc = operands(&j, q, k, v, dout, j.group > 1 ? 2 * n : 0, &per_head, e);
    if (rc)
        return rc;
    if (j.group > 1) {
        j.dk = per_head;
        j.dv = per_head + n;
    }
    par_for((size_t)n_seqs * j.heads, backward_head, &j);
    rc = first_err_get(&j.err, e);
    if (!rc && j.group > 1) {
        struct share a = {dk, j.dk, j.hd, j.kv_heads, j.group}, b = {dv, j.dv, j.hd, j.kv_heads, j.group};
        par_slabs(T, 32, share_rows, &a);
        par_slabs(T, 32, share_rows, &b);
    }
    return rc;
}
