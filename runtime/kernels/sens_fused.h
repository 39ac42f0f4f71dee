/* SPDX-License-Identifier: MIT
 *
 * sens_fused: sens_fold where the processor lets the gradient grow in registers; private to this room. W is the same for all sequences, so
 * the sum of |W * G_s| is |W| times that of |G_s|. The driver lays the operands out, cuts S into blocks and multiplies; the sums of a
 * block are a kernel's: sens_pairs.c (AVX-512 BF16), sens_tiles.c (AMX), sens_lanes.c (f32, AVX-512).
 *
 * Operands lie in words of 32 bits along k: two neighbours in bf16, one element in f32. One sequence follows the other. Of X: panels of
 * WIDE columns, in each the words of k one after the other with the panel's columns side by side. Of dY: panels of `narrow` rows of S in
 * the kernel's own order. Zeros fill up a sequence's words and its last panel.
 */
#ifndef PKG_KERNELS_SENS_FUSED_H
#define PKG_KERNELS_SENS_FUSED_H

#include "runtime/kernels/fold.h"
#include "runtime/kernels/sens.h"

enum { SENS_WIDE = FOLD_WIDE };

/* The arguments of sens_fold; dy and x in the type of the kernel. */
struct sens_call {
    const struct sens_out *out;
    const void *W;
    enum dtype wt;
    const void *dy, *x;
    size_t ldw, ldy, ldx, rows, in;
    int n_seqs;
    const int32_t *cu;
};

/* Columns 0 .. n of src (k, n), row stride ld, as panels, `stride` words apart, each of so many words of k (the last ones zero). */
struct sens_lay {
    uint32_t *out;
    size_t stride;
    const void *src;
    size_t ld, k, n, words;
};

/* sum (+)= | dY_s^T X_s | of `rows` rows and `cols` columns of S, sequences s0 .. s1 in ascending order; `fresh` overwrites. sum: tiles of
 * narrow x WIDE, each without gaps, those of a panel of X side by side: what lies beyond rows and cols may hold anything finite.
 * at (n_seqs + 1): words before each sequence. x and dy are x_cols and dy_cols wide, and begin at the block's first column and row if
 * those of each sequence are moved by as many times its words (sens_x, sens_dy). */
struct sens_block {
    const size_t *at;
    int s0, s1;
    bool fresh;
    const uint32_t *x, *dy;
    size_t x_cols, dy_cols, x_col, dy_col;
    float *sum;
    size_t rows, cols;
};

struct sens_kernel {
    enum dtype t;
    size_t narrow, round;     /* a sequence's words are a multiple of round */
    size_t together;          /* words of k that a block takes at a time */
    size_t tiles, columns;    /* a block of S: tiles of rows, and columns */
    void (*lay_x)(const struct sens_lay *), (*lay_dy)(const struct sens_lay *);
    void (*block)(const struct sens_block *);
    void (*begin)(void), (*end)(void); /* around the blocks of one item; NULL: nothing */
};

/* NULL where the processor lacks what it takes, or another is better. */
const struct sens_kernel *sens_pairs_kernel(void);
const struct sens_kernel *sens_tiles_kernel(void);
const struct sens_kernel *sens_lanes_kernel(void);
/* The one for this type, or NULL. */
const struct sens_kernel *sens_kernel(enum dtype t);

/* X is laid out whole (SCRATCH_CALL), dY for some rows at a time. */
int sens_fused(const struct sens_kernel *kernel, const struct sens_call *call, struct err *e);
/* Scratch of the calling thread and its team. */
uint64_t sens_fused_memory(enum dtype t, size_t tokens, size_t n_seqs, size_t rows, size_t in, int n_threads);

#ifdef __x86_64__
#include <immintrin.h>

#define SENS_INLINE __attribute__((always_inline, target("avx512f,avx512bw,avx512vl"))) static inline

/* A tile of a block. */
struct sens_tile {
    const struct sens_block *b;
    size_t x_col, dy_col;
    float *sum;
};

SENS_INLINE struct sens_tile sens_tile(const struct sens_block *b, size_t row, size_t col, size_t narrow)
{
    const size_t high = (b->rows + narrow - 1) / narrow * narrow;
    return (struct sens_tile){.b = b, .x_col = b->x_col + col, .dy_col = b->dy_col + row, .sum = b->sum + col * high + row * SENS_WIDE};
}

SENS_INLINE const uint32_t *sens_x(const struct sens_tile *t, int s)
{
    const size_t at = t->b->at[s];
    return t->b->x + at * t->b->x_cols + t->x_col * (t->b->at[s + 1] - at);
}

SENS_INLINE const uint32_t *sens_dy(const struct sens_tile *t, int s)
{
    const size_t at = t->b->at[s];
    return t->b->dy + at * t->b->dy_cols + t->dy_col * (t->b->at[s + 1] - at);
}

/* Row i of a tile: its 32 gradients. */
SENS_INLINE void sens_row(float *sum, size_t i, __m512 low, __m512 high, bool fresh)
{
    float *to = sum + i * SENS_WIDE;
    low = _mm512_abs_ps(low);
    high = _mm512_abs_ps(high);
    _mm512_store_ps(to, fresh ? low : _mm512_add_ps(_mm512_load_ps(to), low));
    _mm512_store_ps(to + 16, fresh ? high : _mm512_add_ps(_mm512_load_ps(to + 16), high));
}

/* Sizes of tiles are constants to the compiler: NAME_1 .. NAME_12, of TILE_OF(tile, rows), and NAME(block), which goes over a block with them. */
#define SENS_TILES_12(NAME, TILE_OF, CODE)                                                                                   \
    SENS_TILE_M(NAME, TILE_OF, CODE, 1)                                                                                      \
    SENS_TILE_M(NAME, TILE_OF, CODE, 2)                                                                                      \
    SENS_TILE_M(NAME, TILE_OF, CODE, 3)                                                                                      \
    SENS_TILE_M(NAME, TILE_OF, CODE, 4)                                                                                      \
    SENS_TILE_M(NAME, TILE_OF, CODE, 5)                                                                                      \
    SENS_TILE_M(NAME, TILE_OF, CODE, 6)                                                                                      \
    SENS_TILE_M(NAME, TILE_OF, CODE, 7)                                                                                      \
    SENS_TILE_M(NAME, TILE_OF, CODE, 8)                                                                                      \
    SENS_TILE_M(NAME, TILE_OF, CODE, 9)                                                                                      \
    SENS_TILE_M(NAME, TILE_OF, CODE, 10)                                                                                     \
    SENS_TILE_M(NAME, TILE_OF, CODE, 11)                                                                                     \
    SENS_TILE_M(NAME, TILE_OF, CODE, 12)                                                                                     \
    CODE static void NAME(const struct sens_block *b)                                                                        \
    {                                                                                                                        \
        static void (*const of[])(const struct sens_tile *) = {NAME##_1, NAME##_2, NAME##_3, NAME##_4,  NAME##_5,  NAME##_6,  \
                                                               NAME##_7, NAME##_8, NAME##_9, NAME##_10, NAME##_11, NAME##_12}; \
        for (size_t col = 0; col < b->cols; col += SENS_WIDE)                                                                \
            for (size_t row = 0; row < b->rows; row += 12) {                                                                 \
                struct sens_tile t = sens_tile(b, row, col, 12);                                                             \
                of[(b->rows - row < 12 ? b->rows - row : 12) - 1](&t);                                                       \
            }                                                                                                                \
    }
#define SENS_TILE_M(NAME, TILE_OF, CODE, M)                                                                                  \
    CODE static void NAME##_##M(const struct sens_tile *t)                                                                   \
    {                                                                                                                        \
        TILE_OF(t, M);                                                                                                       \
    }
#endif

#endif
