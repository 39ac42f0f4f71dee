/* SPDX-License-Identifier: MIT
 *
 * panel: an item is one panel of W (several, of a wide matrix with few rows of x) times all rows of x, BLOCK of them at a time: 24
 * sums in registers, two vectors of W and a pair of x a step. W comes from the second-level cache for every block after the first.
 */
#include "runtime/kernels/panel.h"

#include <string.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/gemm_lib.h"
#include "runtime/kernels/vmath.h"

enum { BLOCK = 12, LANES = 16, FEW = 64 /* rows of x */, GROUP = 8 /* panels an item, of a wide matrix */, WIDE = 8192, PACK_ROWS = PANEL_ROWS };

static size_t panels(size_t n)
{
    return (n + PANEL_ROWS - 1) / PANEL_ROWS;
}

size_t panel_bytes(size_t n, size_t k)
{
    return panels(n) * PANEL_ROWS * k * sizeof(uint16_t);
}

struct pack {
    const uint16_t *w;
    uint32_t *out;
    size_t n, pairs;
};

#ifdef __x86_64__
#include <immintrin.h>

bool panel_pays(size_t k)
{
    return k % 2 == 0 && !lib_has_tiles() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw");
}

/* Sixteen rows of pairs, 16 x 16 by gathers: out[pair][row]. */
__attribute__((target("avx512f"))) static void pack_half(uint32_t *out, const uint32_t *w, size_t rows, size_t pairs)
{
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i at = _mm512_mullo_epi32(lane, _mm512_set1_epi32((int)pairs));
    __mmask16 have = rows >= LANES ? 0xffff : (__mmask16)((1u << rows) - 1);
    for (size_t i = 0; i < pairs; i++)
        _mm512_store_si512(out + i * PANEL_ROWS, _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), have, at, w + i, 4));
}

static void pack_panel(void *u, size_t i)
{
    const struct pack *p = u;
    size_t first = i * PANEL_ROWS, left = p->n - first, low = left < LANES ? left : LANES;
    uint32_t *out = p->out + first * p->pairs;
    const uint32_t *w = (const uint32_t *)(const void *)p->w + first * p->pairs;
    pack_half(out, w, low, p->pairs);
    pack_half(out + LANES, w + (left > LANES ? LANES * p->pairs : 0), left > LANES ? left - LANES : 0, p->pairs);
}

#define BF16 __attribute__((always_inline, target("avx512f,avx512bw,avx512bf16"))) static inline

/* sum (M, 32) = x (M rows) times one panel; pairs of k in ascending order. */
BF16 void sums_of(__m512 sum[BLOCK][2], const uint16_t *w, const uint16_t *x, size_t ldx, size_t pairs, const int M)
{
#pragma GCC unroll 12
    for (int i = 0; i < M; i++)
        sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    for (size_t p = 0; p < pairs; p++) {
        __m512bh a = (__m512bh)_mm512_load_si512(w + p * 2 * PANEL_ROWS), b = (__m512bh)_mm512_load_si512(w + p * 2 * PANEL_ROWS + PANEL_ROWS);
#pragma GCC unroll 12
        for (int i = 0; i < M; i++) {
            int32_t pair;
            memcpy(&pair, x + (size_t)i * ldx + 2 * p, sizeof pair);
            __m512bh v = (__m512bh)_mm512_set1_epi32(pair);
            sum[i][0] = _mm512_dpbf16_ps(sum[i][0], a, v);
            sum[i][1] = _mm512_dpbf16_ps(sum[i][1], b, v);
        }
    }
}

BF16 void put(float *y, const float *bias, __m512 v, bool accumulate, __mmask16 mask)
{
    if (bias)
        v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, bias));
    if (accumulate)
        v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, y));
    _mm512_mask_storeu_ps(y, mask, v);
}

BF16 void block_of(const struct panel_job *j, size_t row, const uint16_t *x, size_t ldx, size_t m0, size_t pairs, const int M)
{
    __m512 sum[BLOCK][2];
    size_t left = j->n - row;
    __mmask16 low = left >= LANES ? 0xffff : (__mmask16)((1u << left) - 1);
    __mmask16 high = left >= PANEL_ROWS ? 0xffff : left <= LANES ? 0 : (__mmask16)((1u << (left - LANES)) - 1);
    sums_of(sum, j->w + row * pairs * 2, x + m0 * ldx, ldx, pairs, M);
#pragma GCC unroll 12
    for (int i = 0; i < M; i++) {
        float *y = j->y + (m0 + (size_t)i) * j->ldy + row;
        put(y, j->bias ? j->bias + row : NULL, sum[i][0], j->accumulate, low);
        if (high)
            put(y + LANES, j->bias ? j->bias + row + LANES : NULL, sum[i][1], j->accumulate, high);
    }
}

__attribute__((target("avx512f,avx512bw,avx512bf16"))) static void silu_times(uint16_t *half, size_t ldh, float *gate, const float *up, int M, size_t n)
{
#pragma omp simd
    for (int i = 0; i < M * PANEL_ROWS; i++)
        gate[i] = gate[i] / (1.0f + vexp(-gate[i])) * up[i];
    for (int i = 0; i < M; i++)
        convert_to_bf16_row(half + (size_t)i * ldh, gate + i * PANEL_ROWS, n);
}

BF16 void gated_of(const struct panel_job *j, size_t row, const uint16_t *x, size_t ldx, size_t m0, size_t pairs, const int M)
{
    _Alignas(64) float gate[BLOCK * PANEL_ROWS], up[BLOCK * PANEL_ROWS];
    __m512 sum[BLOCK][2];
    size_t left = j->n - row;
    for (int which = 0; which < 2; which++) {
        float *to = which ? up : gate;
        sums_of(sum, (which ? j->up : j->w) + row * pairs * 2, x + m0 * ldx, ldx, pairs, M);
#pragma GCC unroll 12
        for (int i = 0; i < M; i++) {
            _mm512_store_ps(to + i * PANEL_ROWS, sum[i][0]);
            _mm512_store_ps(to + i * PANEL_ROWS + LANES, sum[i][1]);
        }
    }
    silu_times(j->half + m0 * j->n + row, j->n, gate, up, M, left < PANEL_ROWS ? left : PANEL_ROWS);
}

#define ROWS(M)                                                                                                              \
    __attribute__((target("avx512f,avx512bw,avx512bf16"))) static void rows_##M(const struct panel_job *j, size_t row, const uint16_t *x, \
                                                                                size_t ldx, size_t m0, size_t pairs)        \
    {                                                                                                                        \
        if (j->up)                                                                                                           \
            gated_of(j, row, x, ldx, m0, pairs, M);                                                                          \
        else                                                                                                                 \
            block_of(j, row, x, ldx, m0, pairs, M);                                                                          \
    }
ROWS(1)
ROWS(2)
ROWS(3)
ROWS(4)
ROWS(5)
ROWS(6)
ROWS(7)
ROWS(8)
ROWS(9)
ROWS(10)
ROWS(11)
ROWS(12)

static void (*const rows_of[])(const struct panel_job *j, size_t row, const uint16_t *x, size_t ldx, size_t m0, size_t pairs) = {
    rows_1, rows_2, rows_3, rows_4, rows_5, rows_6, rows_7, rows_8, rows_9, rows_10, rows_11, rows_12,
};

struct work {
    size_t m, pairs, ldx, n_jobs;
    const uint16_t *x;
    const struct panel_job *jobs;
};

/* Panels an item. */
static size_t group(const struct work *w, const struct panel_job *j)
{
    return w->m <= FEW && j->n >= WIDE ? GROUP : 1;
}

static size_t items(const struct work *w, const struct panel_job *j)
{
    return (panels(j->n) + group(w, j) - 1) / group(w, j);
}

static void run_item(void *u, size_t i)
{
    const struct work *w = u;
    const struct panel_job *j = w->jobs;
    for (; i >= items(w, j); j++)
        i -= items(w, j);
    size_t g = group(w, j), first = i * g, end = first + g < panels(j->n) ? first + g : panels(j->n);
    size_t blocks = (w->m + BLOCK - 1) / BLOCK, each = (w->m + blocks - 1) / blocks;
    for (size_t p = first; p < end; p++)
        for (size_t m0 = 0; m0 < w->m; m0 += each)
            rows_of[(w->m - m0 < each ? w->m - m0 : each) - 1](j, p * PANEL_ROWS, w->x, w->ldx, m0, w->pairs);
}

void panel_pack(const uint16_t *w, size_t n, size_t k, uint16_t *out)
{
    struct pack p = {w, (uint32_t *)(void *)out, n, k / 2};
    par_for(panels(n), pack_panel, &p);
}

void panel_nt(size_t m, size_t k, const uint16_t *x, size_t ldx, const struct panel_job *jobs, size_t n_jobs)
{
    struct work w = {m, k / 2, ldx, n_jobs, x, jobs};
    size_t n = 0;
    for (size_t i = 0; i < n_jobs; i++)
        n += items(&w, &jobs[i]);
    par_for(n, run_item, &w);
}

#else

bool panel_pays(size_t k)
{
    (void)k;
    return false;
}

void panel_pack(const uint16_t *w, size_t n, size_t k, uint16_t *out)
{
    (void)w, (void)n, (void)k, (void)out;
}

void panel_nt(size_t m, size_t k, const uint16_t *x, size_t ldx, const struct panel_job *jobs, size_t n_jobs)
{
    (void)m, (void)k, (void)x, (void)ldx, (void)jobs, (void)n_jobs;
}

#endif
