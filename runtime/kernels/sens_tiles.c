/* SPDX-License-Identifier: MIT
 *
 * sens_tiles: tiles of 32 x 32 by AMX: four tile registers of sums, two of dY^T (16 rows of S, 32 of k) and two of X. What a sequence gave
 * leaves the registers by way of 4 KB and is added to the sums while the products of the next one are under way.
 *
 * A panel of dY: [k / 32][32 rows of S][16 words]; rows of k are transposed on the way.
 */
#include "runtime/kernels/sens_fused.h"

#include <string.h>

#include "runtime/kernels/gemm_lib.h"
#include "runtime/kernels/pairs.h"

#ifdef __x86_64__

enum {
    NARROW = 32,
    STEP = 16,       /* words of k in a tile register */
    ROW_BYTES = 64,  /* of dY in it */
    X_BYTES = SENS_WIDE * 4,
    SOME = 8,        /* rows of sums that go with a step */
    BLOCK_TILES = 8, /* of rows */
    AHEAD = 2 * STEP / BLOCK_TILES, /* lines of the cache */
};

#define TILES_CODE __attribute__((target("avx512f,avx512bw,avx512vl,amx-tile,amx-bf16")))

/* 16 rows of 64 bytes in each of the eight registers (palette 1). Constant, because gcc 12 believes that loading it reads a pointer's bytes. */
static const struct {
    uint8_t palette, start, zero[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} config = {.palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

TILES_CODE static void begin(void)
{
    _tile_loadconfig(&config);
}

TILES_CODE static void end(void)
{
    _tile_release();
}

#define TILES_INLINE __attribute__((always_inline, target("avx512f,avx512bw,avx512vl,amx-tile,amx-bf16"))) static inline

/* 32 of k. */
TILES_INLINE void add_step(const uint32_t *x, const uint32_t *dy)
{
    _tile_loadd(6, x, X_BYTES);
    _tile_loadd(4, dy, ROW_BYTES);
    _tile_loadd(7, x + STEP, X_BYTES);
    _tile_loadd(5, dy + STEP * 16, ROW_BYTES);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* What waits to be added to the sums: a sequence's gradients of a tile, from a row on. */
struct waiting {
    float *sum;
    const float *G;
    size_t row;
    bool fresh;
};

/* As many rows each time, so that the processor guesses right. */
TILES_INLINE void add_some(struct waiting *w)
{
    if (w->row == NARROW)
        return;
#pragma GCC unroll 8
    for (size_t i = w->row; i < w->row + SOME; i++) {
        const float *g = w->G + i * SENS_WIDE;
        sens_row(w->sum, i, _mm512_load_ps(g), _mm512_load_ps(g + 16), w->fresh);
    }
    w->row += SOME;
}

TILES_INLINE void add_rest(struct waiting *w)
{
    while (w->row < NARROW)
        add_some(w);
}

/* The gradients of sequence s of a tile to G, while those before it are added. Some words of X are asked of the third-level cache, `ahead`
 * of those that are read. */
TILES_INLINE void gradients(const struct sens_tile *t, int s, float *G, struct waiting *w, size_t ahead)
{
    const size_t steps = (t->b->at[s + 1] - t->b->at[s]) / STEP;
    const uint32_t *x = sens_x(t, s), *dy = sens_dy(t, s);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t p = 0; p < steps; p++, x += STEP * SENS_WIDE, dy += STEP * NARROW) {
        add_step(x, dy);
        for (size_t i = 0; i < AHEAD; i++)
            _mm_prefetch((const char *)(x + ahead + i * 16), _MM_HINT_T1);
        add_some(w);
    }
    add_rest(w);
    _tile_stored(0, G, X_BYTES);
    _tile_stored(1, G + 16, X_BYTES);
    _tile_stored(2, G + 16 * SENS_WIDE, X_BYTES);
    _tile_stored(3, G + 16 * SENS_WIDE + 16, X_BYTES);
}

TILES_CODE static void block(const struct sens_block *b)
{
    _Alignas(64) float G[2][NARROW * SENS_WIDE];
    struct waiting w = {.row = NARROW};
    int now = 0;
    for (size_t col = 0; col < b->cols; col += SENS_WIDE)
        for (size_t row = 0; row < b->rows; row += NARROW) {
            struct sens_tile t = sens_tile(b, row, col, NARROW);
            bool fresh = b->fresh;
            for (int s = b->s0; s < b->s1; s++) {
                if (b->at[s] == b->at[s + 1])
                    continue;
                /* each of a block's tiles of rows asks for its share of the next panel */
                gradients(&t, s, G[now], &w, (b->at[s + 1] - b->at[s]) * SENS_WIDE + row / NARROW * AHEAD * 16);
                w = (struct waiting){t.sum, G[now], 0, fresh};
                now = !now;
                fresh = false;
            }
        }
    add_rest(&w);
}

static void lay_x(const struct sens_lay *l)
{
    const size_t full = (l->k + 1) / 2;
    pairs_lay(l->out, l->stride, SENS_WIDE, l->src, l->ld, l->k, l->n);
    for (size_t c = 0; c < l->n; c += SENS_WIDE)
        memset(l->out + c / SENS_WIDE * l->stride + full * SENS_WIDE, 0, (l->words - full) * SENS_WIDE * sizeof *l->out);
}

/* 32 of k (fewer at the end) and 16 columns (fewer at the end) of src. */
TILES_CODE static void lay_tile(uint32_t *out, const uint16_t *src, size_t ld, size_t k, __mmask16 mask)
{
    __m512i a[16];
#pragma GCC unroll 16
    for (size_t p = 0; p < 16; p++) {
        __m256i even = _mm256_maskz_loadu_epi16(2 * p < k ? mask : 0, src + (2 * p < k ? 2 * p * ld : 0)),
                odd = _mm256_maskz_loadu_epi16(2 * p + 1 < k ? mask : 0, src + (2 * p + 1 < k ? (2 * p + 1) * ld : 0));
        a[p] = _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
    }
    pairs_transpose(a);
#pragma GCC unroll 16
    for (size_t p = 0; p < 16; p++)
        _mm512_store_si512(out + p * 16, a[p]);
}

TILES_CODE static void lay_dy(const struct sens_lay *l)
{
    const uint16_t *src = l->src;
    for (size_t p = 0; p < l->k; p += 2 * STEP)
        for (size_t c = 0; c < l->n; c += NARROW)
            for (size_t i = 0; i < NARROW; i += 16) {
                __mmask16 mask = pairs_mask(c + i, l->n);
                lay_tile(l->out + c / NARROW * l->stride + p / 2 * NARROW + i * 16, src + p * l->ld + (mask ? c + i : 0), l->ld, l->k - p, mask);
            }
}

const struct sens_kernel *sens_tiles_kernel(void)
{
    static const struct sens_kernel kernel = {
        .t = DT_BF16, .narrow = NARROW, .round = STEP, .together = 96, .tiles = BLOCK_TILES, .columns = 896, .lay_x = lay_x, .lay_dy = lay_dy, .block = block, .begin = begin, .end = end,
    };
    return lib_has_tiles() ? &kernel : NULL;
}

#else

const struct sens_kernel *sens_tiles_kernel(void)
{
    return NULL;
}

#endif
