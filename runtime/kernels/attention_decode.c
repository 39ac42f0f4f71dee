/* SPDX-License-Identifier: MIT
 *
 * attention over caches. One query a sequence: an item is (sequence, key head), and each key is read once for the whole
 * group; sums are f32 whatever the type of the cache. More: an item is (sequence, head, block of BQ queries), by two products
 * as in attention.c; then q and the probabilities take the type of the cache.
 */
#include "runtime/kernels/attention.h"

#include <math.h>
#include <string.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/scratch.h"
#include "runtime/kernels/thin.h"
#include "runtime/kernels/vmath.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { BQ = 64, LANES = 16, ALONE = 1 << 17 /* products that are done before a team has woken up */ };

struct job {
    float *out;
    const float *q;
    const char *qt; /* q in type t */
    const void *const *k, *const *v;
    const int32_t *cu, *len;
    enum dtype t;
    size_t heads, kv_heads, group, hd, ldq, ldk, es, longest, blocks; /* blocks: of the sequence with most queries */
    float scale;
    bool wide; /* AVX-512, and hd a multiple of the lanes */
    struct first_err err;
};

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

VECTOR static float row_max(const float *s, size_t n)
{
    return vmax(s, n);
}

VECTOR static void row_scale(float *s, float f, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        s[i] *= f;
}

/* ---- one query ---- */

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

/* score (group, n) = q (group, hd) k (n, hd)^T */
static void scores_plain(const struct job *j, float *score, const float *q, const float *k, size_t n)
{
    for (size_t t = 0; t < n; t++)
        for (size_t g = 0; g < j->group; g++)
            score[g * n + t] = row_dot(q + g * j->hd, k + t * j->ldk, j->hd);
}

/* out (group, hd) = p (group, n) v (n, hd) */
static void mix_plain(const struct job *j, float *out, const float *p, const float *v, size_t n)
{
    memset(out, 0, j->group * j->hd * sizeof *out);
    for (size_t t = 0; t < n; t++)
        for (size_t g = 0; g < j->group; g++)
            row_add(out + g * j->hd, v + t * j->ldk, p[g * n + t], j->hd);
}

#ifdef __x86_64__
#define WIDE "avx512f"

__attribute__((always_inline, target(WIDE))) static inline __m512 load(const char *p, size_t i, const bool half)
{
    if (!half)
        return _mm512_loadu_ps((const float *)(const void *)p + i);
    __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)(p + 2 * i));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* nv: vectors a row, at most 16 */
__attribute__((always_inline, target(WIDE))) static inline void scores_of(const struct job *j, float *score, const float *q, const char *k,
                                                                          size_t n, const size_t nv, const bool half)
{
    for (size_t t = 0; t < n; t++) {
        __m512 row[16];
#pragma GCC unroll 8
        for (size_t i = 0; i < nv; i++)
            row[i] = load(k + t * j->ldk * j->es, i * LANES, half);
        for (size_t g = 0; g < j->group; g++) {
            __m512 acc = _mm512_setzero_ps();
#pragma GCC unroll 8
            for (size_t i = 0; i < nv; i++)
                acc = _mm512_fmadd_ps(row[i], _mm512_loadu_ps(q + g * j->hd + i * LANES), acc);
            score[g * n + t] = _mm512_reduce_add_ps(acc);
        }
    }
}

/* `ng` heads from g on */
__attribute__((always_inline, target(WIDE))) static inline void mix_of(const struct job *j, float *out, const float *p, const char *v, size_t n,
                                                                       size_t g, const size_t nv, const size_t ng, const bool half)
{
    __m512 acc[16];
#pragma GCC unroll 16
    for (size_t i = 0; i < ng * nv; i++)
        acc[i] = _mm512_setzero_ps();
    for (size_t t = 0; t < n; t++)
#pragma GCC unroll 8
        for (size_t i = 0; i < nv; i++) {
            __m512 row = load(v + t * j->ldk * j->es, i * LANES, half);
#pragma GCC unroll 4
            for (size_t h = 0; h < ng; h++)
                acc[h * nv + i] = _mm512_fmadd_ps(row, _mm512_set1_ps(p[(g + h) * n + t]), acc[h * nv + i]);
        }
#pragma GCC unroll 16
    for (size_t i = 0; i < ng * nv; i++)
        _mm512_storeu_ps(out + g * j->hd + i * LANES, acc[i]);
}

__attribute__((target(WIDE))) static void scores_wide(const struct job *j, float *score, const float *q, const char *k, size_t n)
{
    size_t nv = j->hd / LANES;
    bool half = j->t == DT_BF16;
    if (nv == 4)
        half ? scores_of(j, score, q, k, n, 4, true) : scores_of(j, score, q, k, n, 4, false);
    else if (nv == 8)
        half ? scores_of(j, score, q, k, n, 8, true) : scores_of(j, score, q, k, n, 8, false);
    else
        half ? scores_of(j, score, q, k, n, nv, true) : scores_of(j, score, q, k, n, nv, false);
}

__attribute__((target(WIDE))) static void mix_wide(const struct job *j, float *out, const float *p, const char *v, size_t n)
{
    size_t nv = j->hd / LANES, g = 0;
    bool half = j->t == DT_BF16;
    for (; nv == 4 && g + 4 <= j->group; g += 4)
        half ? mix_of(j, out, p, v, n, g, 4, 4, true) : mix_of(j, out, p, v, n, g, 4, 4, false);
    for (; nv == 4 && g + 3 <= j->group; g += 3)
        half ? mix_of(j, out, p, v, n, g, 4, 3, true) : mix_of(j, out, p, v, n, g, 4, 3, false);
    for (; nv == 8 && g + 2 <= j->group; g += 2)
        half ? mix_of(j, out, p, v, n, g, 8, 2, true) : mix_of(j, out, p, v, n, g, 8, 2, false);
    for (; nv == 4 && g < j->group; g++)
        half ? mix_of(j, out, p, v, n, g, 4, 1, true) : mix_of(j, out, p, v, n, g, 4, 1, false);
    for (; g < j->group; g++)
        half ? mix_of(j, out, p, v, n, g, nv, 1, true) : mix_of(j, out, p, v, n, g, nv, 1, false);
}

static bool wide(size_t hd)
{
    return hd % LANES == 0 && hd <= 16 * LANES && __builtin_cpu_supports("avx512f");
}
#else
static bool wide(size_t hd)
{
    (void)hd;
    return false;
}

static void scores_wide(const struct job *j, float *score, const float *q, const char *k, size_t n)
{
    scores_plain(j, score, q, (const float *)(const void *)k, n);
}

static void mix_wide(const struct job *j, float *out, const float *p, const char *v, size_t n)
{
    mix_plain(j, out, p, (const float *)(const void *)v, n);
}
#endif

static void decode_head(void *u, size_t i)
{
    struct job *j = u;
    size_t s = i / j->kv_heads, kh = i % j->kv_heads, n = (size_t)j->len[s];
    const float *q = j->q + (s * j->kv_heads + kh) * j->group * j->hd;
    const char *k = (const char *)j->k[s] + kh * j->hd * j->es, *v = (const char *)j->v[s] + kh * j->hd * j->es;
    float *out = j->out + (s * j->kv_heads + kh) * j->group * j->hd;
    struct err e = {0};
    float *score = scratch_get(SCRATCH_ITEM, j->group * n * sizeof *score, &e);
    if (!score) {
        first_err_put(&j->err, &e);
        return;
    }
    if (j->wide)
        scores_wide(j, score, q, k, n);
    else
        scores_plain(j, score, q, (const float *)(const void *)k, n);
    for (size_t g = 0; g < j->group; g++) {
        float sum = row_exp(score + g * n, row_max(score + g * n, n), j->scale, n);
        row_scale(score + g * n, 1.0f / sum, n);
    }
    if (j->wide)
        mix_wide(j, out, score, v, n);
    else
        mix_plain(j, out, score, (const float *)(const void *)v, n);
}

/* ---- many queries ---- */

static size_t round16(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

static void block(void *u, size_t i)
{
    struct job *j = u;
    size_t h = i % j->heads, s = i / j->heads / j->blocks, first = (j->blocks - 1 - i / j->heads % j->blocks) * BQ; /* longest work first */
    size_t from = (size_t)j->cu[s], queries = (size_t)j->cu[s + 1] - from, before = (size_t)j->len[s] - queries;
    if (first >= queries)
        return;
    size_t rows = queries - first < BQ ? queries - first : BQ, keys = before + first + rows, at = (h / j->group) * j->hd * j->es;
    const char *q = j->qt + ((from + first) * j->ldq + h * j->hd) * j->es;
    float *out = j->out + (from + first) * j->ldq + h * j->hd, sums[BQ];
    struct err e = {0};
    float *p = scratch_get(SCRATCH_ITEM, 2 * round16(BQ * j->longest) * sizeof *p, &e);
    uint16_t *half = (uint16_t *)(void *)(p + round16(BQ * j->longest));
    int rc = p ? gemm_serial(GEMM_NT, rows, keys, j->hd, j->t, q, j->ldq, (const char *)j->k[s] + at, j->ldk, false, p, keys, &e) : e.code;
    for (size_t r = 0; r < rows && !rc; r++) {
        size_t n = before + first + r + 1;
        float *x = p + r * keys;
        sums[r] = row_exp(x, row_max(x, n), j->scale, n);
        memset(x + n, 0, (keys - n) * sizeof *x);
        if (j->t == DT_BF16)
            convert_to_bf16_row(half + r * keys, x, keys);
    }
    if (!rc)
        rc = gemm_serial(GEMM_NN, rows, j->hd, keys, j->t, j->t == DT_BF16 ? (void *)half : p, keys, (const char *)j->v[s] + at, j->ldk, false,
                         out, j->ldq, &e);
    for (size_t r = 0; r < rows && !rc; r++)
        row_scale(out + r * j->ldq, 1.0f / sums[r], j->hd);
    if (rc)
        first_err_put(&j->err, &e);
}

bool attention_cached_has(enum dtype t, int head_dim)
{
    return t == DT_F32 || (t == DT_BF16 && gemm_has_bf16() && wide((size_t)head_dim));
}

int attention_cached(float *out, const float *q, const int32_t *cu, int n_seqs, const void *const *kcache, const void *const *vcache,
                     const int32_t *len, enum dtype t, int heads, int kv_heads, int head_dim, struct err *e)
{
    size_t most = 0, H = (size_t)heads, K = (size_t)kv_heads, hd = (size_t)head_dim;
    struct job j = {.out = out, .q = q, .k = kcache, .v = vcache, .cu = cu, .len = len, .t = t, .heads = H, .kv_heads = K, .group = H / K, .hd = hd,
                    .ldq = H * hd, .ldk = K * hd, .es = dtype_size(t), .scale = (float)(1 / sqrt((double)head_dim)), .wide = wide(hd)};
    for (int s = 0; s < n_seqs; s++) {
        size_t queries = cu ? (size_t)(cu[s + 1] - cu[s]) : 1;
        most = queries > most ? queries : most;
        j.longest = (size_t)len[s] > j.longest ? (size_t)len[s] : j.longest;
    }
    if (most <= 1) {
        if ((size_t)n_seqs * j.longest * H * hd <= ALONE)
            for (size_t i = 0; i < (size_t)n_seqs * K; i++)
                decode_head(&j, i);
        else
            par_for((size_t)n_seqs * K, decode_head, &j);
        return first_err_get(&j.err, e);
    }
    j.blocks = (most + BQ - 1) / BQ;
    j.qt = (const char *)q;
    if (t == DT_BF16) {
        size_t n = (size_t)cu[n_seqs] * j.ldq;
        uint16_t *half = scratch_get(SCRATCH_CALL, n * sizeof *half, e);
        if (!half)
            return e->code;
        to_bf16(half, q, n);
        j.qt = (const char *)half;
    }
    par_for((size_t)n_seqs * j.blocks * H, block, &j);
    return first_err_get(&j.err, e);
}

int attention_decode(float *out, const float *q, const float *const *kcache, const float *const *vcache,
                     const int32_t *len, int n_seqs, int heads, int kv_heads, int head_dim, struct err *e)
{
    return attention_cached(out, q, NULL, n_seqs, (const void *const *)kcache, (const void *const *)vcache, len, DT_F32, heads, kv_heads, head_dim, e);
}
