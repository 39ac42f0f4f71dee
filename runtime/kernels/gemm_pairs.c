/* SPDX-License-Identifier: MIT
 *
 * gemm_pairs: C in bands of BAND_COLS columns and k in runs of DEPTH: that much of B is laid out and stays in the second-level cache
 * while all rows of A meet it, 12 of them at a time, which stay in the first-level cache: in place, or copied when they lie a multiple of
 * PAGE apart, where a cache has too few places for them.
 */
#include "runtime/kernels/gemm_pairs.h"

#include "runtime/kernels/pairs.h"
#include "runtime/kernels/scratch.h"

enum { DEPTH = 1024, BAND_COLS = 256, WORTH_ROWS = 64, PAGE = 4096, ROW_BYTES = DEPTH * 2 + 64, ROOM = BAND_COLS * DEPTH * 2 + PAIRS_NARROW * ROW_BYTES };

#ifdef __x86_64__

bool pairs_serves(const struct lib_shape *s)
{
    return s->t == DT_BF16 && s->form != GEMM_TN && s->k % 2 == 0 && s->m >= WORTH_ROWS && s->n >= PAIRS_WIDE && s->k >= PAIRS_WIDE && pairs_pay();
}

/* Rows of A times one panel, into C (row stride ldc) from the panel's first column on. */
struct tile {
    const uint32_t *panel;
    const char *a; /* rows `row` bytes apart */
    size_t row, pairs, cols, ldc;
    bool more;     /* C is the first term */
    float *c;
};

PAIRS_INLINE void tile_of(const struct tile *t, const int M)
{
    __m512 sum[PAIRS_NARROW][2];
    __mmask16 low = pairs_mask(0, t->cols), high = pairs_mask(16, t->cols);
#pragma GCC unroll 12
    for (int i = 0; i < M; i++) {
        const float *c = t->c + (size_t)i * t->ldc;
        sum[i][0] = t->more ? _mm512_maskz_loadu_ps(low, c) : _mm512_setzero_ps();
        sum[i][1] = t->more ? _mm512_maskz_loadu_ps(high, c + 16) : _mm512_setzero_ps();
    }
    pairs_add(sum, t->panel, t->a, t->row, 4, t->pairs, M);
#pragma GCC unroll 12
    for (int i = 0; i < M; i++) {
        float *c = t->c + (size_t)i * t->ldc;
        _mm512_mask_storeu_ps(c, low, sum[i][0]);
        _mm512_mask_storeu_ps(c + 16, high, sum[i][1]);
    }
}

#define TILE(M)                                                                                                              \
    PAIRS_CODE static void tile_##M(const struct tile *t)                                                                    \
    {                                                                                                                        \
        tile_of(t, M);                                                                                                       \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)

static void (*const tiles[])(const struct tile *t) = {
    tile_1, tile_2, tile_3, tile_4, tile_5, tile_6, tile_7, tile_8, tile_9, tile_10, tile_11, tile_12,
};

/* Columns [c0, c0 + cols) and depth [k0, k0 + k) of the product, all rows. */
static void run_of(const struct lib_shape *s, const uint16_t *a, const uint32_t *panels, char *copy, size_t k, size_t cols, bool more, float *c)
{
    size_t blocks = (s->m + PAIRS_NARROW - 1) / PAIRS_NARROW, each = (s->m + blocks - 1) / blocks, row = s->lda * sizeof *a;
    bool apart = row % PAGE != 0;
    for (size_t r = 0; r < s->m; r += each) {
        size_t n = s->m - r < each ? s->m - r : each;
        for (size_t i = 0; i < n && !apart; i++)
            memcpy(copy + i * ROW_BYTES, a + (r + i) * s->lda, k * sizeof *a);
        struct tile t = {.a = apart ? (const char *)(a + r * s->lda) : copy, .row = apart ? row : ROW_BYTES, .pairs = k / 2, .ldc = s->ldc, .more = more};
        for (size_t j = 0; j < cols; j += PAIRS_WIDE) {
            t.panel = panels + j * (k / 2);
            t.cols = cols - j;
            t.c = c + r * s->ldc + j;
            tiles[n - 1](&t);
        }
    }
}

int pairs_gemm(const struct lib_shape *s, const uint16_t *a, const uint16_t *b, float *c, struct err *e)
{
    uint32_t *panels = scratch_get(SCRATCH_TILE, ROOM, e);
    if (!panels)
        return e->code;
    char *copy = (char *)(panels + BAND_COLS * (DEPTH / 2));
    for (size_t c0 = 0; c0 < s->n; c0 += BAND_COLS) {
        size_t cols = s->n - c0 < BAND_COLS ? s->n - c0 : BAND_COLS;
        for (size_t k0 = 0; k0 < s->k; k0 += DEPTH) {
            size_t k = s->k - k0 < DEPTH ? s->k - k0 : DEPTH, stride = PAIRS_WIDE * (k / 2);
            if (s->form == GEMM_NT)
                pairs_lay_turned(panels, stride, b + c0 * s->ldb + k0, s->ldb, k, cols);
            else
                pairs_lay(panels, stride, PAIRS_WIDE, b + k0 * s->ldb + c0, s->ldb, k, cols);
            run_of(s, a + k0, panels, copy, k, cols, s->accumulate || k0, c + c0);
        }
    }
    return 0;
}

#else

bool pairs_serves(const struct lib_shape *s)
{
    (void)s;
    return false;
}

int pairs_gemm(const struct lib_shape *s, const uint16_t *a, const uint16_t *b, float *c, struct err *e)
{
    (void)a, (void)b, (void)c;
    return err_set(e, ERR_INTERNAL, "a product of %zu x %zu x %zu for another processor", s->m, s->n, s->k);
}

#endif
