/* SPDX-License-Identifier: MIT
 *
 * thin: an item is SLAB rows of one W, or SLAB_FEW, so that two threads come out even. Without tile units a block of rows times up to four rows of x is kept in vector
 * registers, one accumulator an element. On tile units (bf16, m > 1) a tile of A is 16 rows of W as they lie in memory, so
 * W needs no arranging; x is, once a call: pairs of k for 16 rows side by side, the layout of tile B (Intel SDM, TDPBF16PS).
 * While a block is multiplied the next one is prefetched: rows follow each other, so this walks W in order.
 */
#include "runtime/kernels/thin.h"

#include <stdint.h>
#include <string.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/gemm_lib.h"
#include "runtime/kernels/scratch.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SLAB = 128, SLAB_FEW = 32, MANY_ROWS = 8192, UNIT = 16, KSTEP = 32 };

struct job {
    size_t m, k;
    const void *x;
    const uint16_t *tiles; /* x for the tile units: [m / 16][k / 32][16 pairs][16 rows][2] */
    const struct thin_part *parts;
    size_t n_parts;
    void (*rows)(const struct job *j, const struct thin_part *p, size_t first, size_t count);
};

static void put(const struct thin_part *p, size_t s, size_t row, float v)
{
    float *y = p->y + s * p->n + row;
    v = p->bias ? v + p->bias[row] : v;
    *y = p->accumulate ? *y + v : v;
}

/* ---- f32 ---- */

/* R rows of W from `row` on, M rows of x from s on; R * M accumulators. */
__attribute__((always_inline, target("avx512f"))) static inline void block_f32(const struct job *j, const struct thin_part *p,
                                                                               size_t row, size_t s, const int R, const int M)
{
    size_t k = j->k;
    const float *w = (const float *)p->w + row * k, *x = (const float *)j->x + s * k;
    __m512 acc[8][4], xv[4];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int i = 0; i < M; i++)
            acc[r][i] = _mm512_setzero_ps();
    for (size_t l = 0; l < k; l += 16) {
        __mmask16 mask = k - l < 16 ? (__mmask16)((1u << (k - l)) - 1) : 0xffff;
#pragma GCC unroll 4
        for (int i = 0; i < M; i++)
            xv[i] = _mm512_maskz_loadu_ps(mask, x + (size_t)i * k + l);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            __m512 wv = _mm512_maskz_loadu_ps(mask, w + (size_t)r * k + l);
            _mm_prefetch((const char *)(w + (size_t)(R + r) * k + l), _MM_HINT_T0);
#pragma GCC unroll 4
            for (int i = 0; i < M; i++)
                acc[r][i] = _mm512_fmadd_ps(wv, xv[i], acc[r][i]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int i = 0; i < M; i++)
            put(p, s + (size_t)i, row + (size_t)r, _mm512_reduce_add_ps(acc[r][i]));
}

__attribute__((target("avx512f"))) static void rows_f32(const struct job *j, const struct thin_part *p, size_t first, size_t count)
{
    size_t end = first + count, row = first;
    if (j->m == 1)
        for (; row + 8 <= end; row += 8)
            block_f32(j, p, row, 0, 8, 1);
    for (; row < end; row += row + 4 <= end ? 4 : 1)
        for (size_t s = 0; s < j->m; s += s + 4 <= j->m ? 4 : 1) {
            if (row + 4 <= end)
                s + 4 <= j->m ? block_f32(j, p, row, s, 4, 4) : block_f32(j, p, row, s, 4, 1);
            else
                s + 4 <= j->m ? block_f32(j, p, row, s, 1, 4) : block_f32(j, p, row, s, 1, 1);
        }
}

/* ---- bf16 ---- */

#define BF16_TARGET "avx512f,avx512bw,avx512bf16"

__attribute__((always_inline, target(BF16_TARGET))) static inline __m512bh load_bf16(const uint16_t *p, __mmask32 mask)
{
    return (__m512bh)_mm512_maskz_loadu_epi16(mask, p);
}

__attribute__((always_inline, target(BF16_TARGET))) static inline void block_bf16(const struct job *j, const struct thin_part *p,
                                                                                  size_t row, size_t s, const int R, const int M)
{
    size_t k = j->k;
    const uint16_t *w = (const uint16_t *)p->w + row * k, *x = (const uint16_t *)j->x + s * k;
    __m512 acc[8][4];
    __m512bh xv[4];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int i = 0; i < M; i++)
            acc[r][i] = _mm512_setzero_ps();
    for (size_t l = 0; l < k; l += KSTEP) {
        __mmask32 mask = k - l < KSTEP ? (1u << (k - l)) - 1 : 0xffffffffu;
#pragma GCC unroll 4
        for (int i = 0; i < M; i++)
            xv[i] = load_bf16(x + (size_t)i * k + l, mask);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            __m512bh wv = load_bf16(w + (size_t)r * k + l, mask);
            _mm_prefetch((const char *)(w + (size_t)(R + r) * k + l), _MM_HINT_T0);
#pragma GCC unroll 4
            for (int i = 0; i < M; i++)
                acc[r][i] = _mm512_dpbf16_ps(acc[r][i], wv, xv[i]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int i = 0; i < M; i++)
            put(p, s + (size_t)i, row + (size_t)r, _mm512_reduce_add_ps(acc[r][i]));
}

__attribute__((target(BF16_TARGET))) static void rows_bf16(const struct job *j, const struct thin_part *p, size_t first, size_t count)
{
    size_t end = first + count, row = first;
    if (j->m == 1)
        for (; row + 8 <= end; row += 8)
            block_bf16(j, p, row, 0, 8, 1);
    for (; row < end; row += row + 4 <= end ? 4 : 1)
        for (size_t s = 0; s < j->m; s += s + 4 <= j->m ? 4 : 1) {
            if (row + 4 <= end)
                s + 4 <= j->m ? block_bf16(j, p, row, s, 4, 4) : block_bf16(j, p, row, s, 4, 1);
            else
                s + 4 <= j->m ? block_bf16(j, p, row, s, 1, 4) : block_bf16(j, p, row, s, 1, 1);
        }
}

/* ---- bf16 on tile units ---- */

#define TILE_TARGET "avx512f,amx-tile,amx-bf16"

struct tile_config { /* Intel SDM, LDTILECFG: palette 1 */
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

/* Tiles 0..3: C of row block b and row group g of x at 2 b + g; 4, 5: A; 6, 7: B. */
static const struct tile_config tile_config = {
    .palette = 1,
    .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

/* y rows s0 .. of 16 columns from row on += the tile c (16 rows of W, 16 rows of x), by columns. */
__attribute__((target("avx512f"))) static void put_tile(const struct job *j, const struct thin_part *p, size_t row, size_t s0, const float *c)
{
    const __m512i step = _mm512_mullo_epi32(_mm512_set1_epi32(UNIT), _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    __m512 bias = p->bias ? _mm512_loadu_ps(p->bias + row) : _mm512_setzero_ps();
    for (size_t s = s0; s < s0 + UNIT && s < j->m; s++) {
        float *y = p->y + s * p->n + row;
        __m512 v = _mm512_i32gather_ps(step, c + (s - s0), 4);
        v = p->bias ? _mm512_add_ps(v, bias) : v;
        _mm512_storeu_ps(y, p->accumulate ? _mm512_add_ps(_mm512_loadu_ps(y), v) : v);
    }
}

/* 32 rows of W times two groups of x; the groups of one are not computed when there is no second. */
__attribute__((target(TILE_TARGET))) static void tile_block(const struct job *j, const struct thin_part *p, size_t row, size_t g)
{
    size_t k = j->k, step = UNIT * KSTEP, stride = k * sizeof(uint16_t);
    const uint16_t *w = (const uint16_t *)p->w + row * k, *low = w + UNIT * k, *x = j->tiles + g * UNIT * k;
    bool two = (g + 1) * UNIT < j->m;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t l = 0; l < k; l += KSTEP) {
        for (size_t r = 0; r < 2 * UNIT && g == 0; r++)
            _mm_prefetch((const char *)(w + (2 * UNIT + r) * k + l), _MM_HINT_T1);
        _tile_loadd(4, w + l, stride);
        _tile_loadd(5, low + l, stride);
        _tile_loadd(6, x + l / KSTEP * step, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(2, 5, 6);
        if (!two)
            continue;
        _tile_loadd(7, x + UNIT * k + l / KSTEP * step, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
    }
    _Alignas(64) float c[UNIT * UNIT];
    _tile_stored(0, c, 64);
    put_tile(j, p, row, g * UNIT, c);
    _tile_stored(2, c, 64);
    put_tile(j, p, row + UNIT, g * UNIT, c);
    if (!two)
        return;
    _tile_stored(1, c, 64);
    put_tile(j, p, row, (g + 1) * UNIT, c);
    _tile_stored(3, c, 64);
    put_tile(j, p, row + UNIT, (g + 1) * UNIT, c);
}

__attribute__((target(TILE_TARGET))) static void rows_tiles(const struct job *j, const struct thin_part *p, size_t first, size_t count)
{
    size_t whole = count - count % (2 * UNIT);
    _tile_loadconfig(&tile_config);
    for (size_t row = first; row < first + whole; row += 2 * UNIT)
        for (size_t g = 0; g * UNIT < j->m; g += 2)
            tile_block(j, p, row, g);
    _tile_release();
    if (whole < count)
        rows_bf16(j, p, first + whole, count - whole);
}

/* x as tiles B: rows beyond m are zeros. */
__attribute__((target("avx512f"))) static const uint16_t *arrange(size_t m, size_t k, const uint16_t *x, struct err *e)
{
    size_t groups = (m + UNIT - 1) / UNIT, pairs = k / 2;
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i at = _mm512_mullo_epi32(lane, _mm512_set1_epi32((int)pairs));
    char *t = scratch_get(SCRATCH_CALL, groups * UNIT * k * sizeof(uint16_t), e);
    for (size_t g = 0; t && g < groups; g++) {
        size_t left = m - g * UNIT;
        __mmask16 rows = left < UNIT ? (__mmask16)((1u << left) - 1) : 0xffff;
        const char *from = (const char *)(x + g * UNIT * k);
        for (size_t i = 0; i < pairs; i++)
            _mm512_storeu_si512(t + (g * pairs + i) * 64, _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), rows, at, from + 4 * i, 4));
    }
    return (const uint16_t *)(void *)t;
}

/* Linux gives a process the tile registers when it asks (Documentation/arch/x86/xstate.rst). */
static bool has_tiles(void)
{
    static int known; /* 0: not asked, 1: no, 2: yes */
    int v = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (!v) {
        v = lib_has_tiles() && syscall(SYS_arch_prctl, 0x1023, 18) == 0 ? 2 : 1;
        __atomic_store_n(&known, v, __ATOMIC_RELAXED);
    }
    return v == 2;
}

bool thin_has(enum dtype t)
{
    if (t == DT_F32)
        return __builtin_cpu_supports("avx512f");
    return t == DT_BF16 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw");
}

static size_t slab(size_t n)
{
    return n < MANY_ROWS ? SLAB_FEW : SLAB;
}

static size_t slabs(size_t n)
{
    return (n + slab(n) - 1) / slab(n);
}

static void run_item(void *u, size_t i)
{
    const struct job *j = u;
    const struct thin_part *p = j->parts;
    for (; i >= slabs(p->n); p++)
        i -= slabs(p->n);
    size_t rows = slab(p->n), left = p->n - i * rows;
    j->rows(j, p, i * rows, left < rows ? left : rows);
}

int thin_nt(size_t m, size_t k, enum dtype t, const void *x, const struct thin_part *parts, size_t n_parts, struct err *e)
{
    struct job j = {.m = m, .k = k, .x = x, .parts = parts, .n_parts = n_parts, .rows = t == DT_F32 ? rows_f32 : rows_bf16};
    size_t items = 0;
    if (t == DT_BF16 && m > 1 && k % KSTEP == 0 && has_tiles()) {
        j.tiles = arrange(m, k, x, e);
        j.rows = rows_tiles;
        if (!j.tiles)
            return e->code;
    }
    for (size_t i = 0; i < n_parts; i++)
        items += slabs(parts[i].n);
    par_for(items, run_item, &j);
    return 0;
}

#else

bool thin_has(enum dtype t)
{
    (void)t;
    return false;
}

int thin_nt(size_t m, size_t k, enum dtype t, const void *x, const struct thin_part *parts, size_t n_parts, struct err *e)
{
    (void)e;
    thin_nt_ref(m, k, t, x, parts, n_parts);
    return 0;
}

#endif

void thin_nt_ref(size_t m, size_t k, enum dtype t, const void *x, const struct thin_part *parts, size_t n_parts)
{
    for (const struct thin_part *p = parts; p < parts + n_parts; p++)
        for (size_t s = 0; s < m; s++)
            for (size_t row = 0; row < p->n; row++) {
                double sum = p->bias ? p->bias[row] : 0;
                for (size_t l = 0; l < k; l++)
                    if (t == DT_BF16)
                        sum += (double)bf16_to_f32(((const uint16_t *)x)[s * k + l]) * (double)bf16_to_f32(((const uint16_t *)p->w)[row * k + l]);
                    else
                        sum += (double)((const float *)x)[s * k + l] * (double)((const float *)p->w)[row * k + l];
                float *y = p->y + s * p->n + row;
                *y = (float)(p->accumulate ? (double)*y + sum : sum);
            }
}
