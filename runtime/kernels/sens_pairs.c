/* SPDX-License-Identifier: MIT
 *
 * sens_pairs: an item is a block of at most BLOCK rows of S with all their columns, so that its scores can stay in the cache until they are
 * given away. For every 12 rows and 32 columns the gradient of a sequence grows in registers, and from there |W * G| is added to S: no
 * gradient is ever stored. Sequences are taken as many at a time as leave their rows of dY and a panel of X in the second-level cache.
 */
#include "runtime/kernels/sens_pairs.h"

#include <stdlib.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/pairs.h"
#include "runtime/kernels/scratch.h"

#ifdef __x86_64__

enum { BLOCK = 8 * PAIRS_NARROW, ITEMS = 16, LAY_COLS = 8 * PAIRS_WIDE, TOGETHER = 1024 /* pairs of tokens */, ROUND_BYTES = 48 << 20 };

struct job {
    const struct sens_call *c;
    const size_t *at;     /* (n_seqs + 1) pairs of k before each sequence */
    uint32_t *x, *dy;     /* laid out; dy: of this round's rows */
    size_t row0, rows;    /* of this round */
    size_t block;         /* rows of an item */
    int first;            /* sequence that writes S without reading; -1: none */
    struct first_err err;
};

/* 12 rows, 32 columns, some sequences. */
struct tile {
    const struct sens_call *c;
    const size_t *at;
    int s0, s1, first;
    const uint32_t *panel, *narrow;
    const char *W; /* at the tile's first element, as S */
    float *S;
    size_t lds, cols;
};

PAIRS_INLINE __m512 weights(const char *w, enum dtype t, size_t i, __mmask16 mask)
{
    if (t == DT_F32)
        return _mm512_maskz_loadu_ps(mask, w + i * sizeof(float));
    __m256i h = _mm256_maskz_loadu_epi16(mask, w + i * sizeof(uint16_t));
    return t == DT_F16 ? _mm512_cvtph_ps(h) : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

PAIRS_INLINE void fold(float *S, __m512 w, __m512 g, bool fresh, __mmask16 mask)
{
    g = _mm512_abs_ps(_mm512_mul_ps(w, g));
    _mm512_mask_storeu_ps(S, mask, fresh ? g : _mm512_add_ps(_mm512_maskz_loadu_ps(mask, S), g));
}

PAIRS_INLINE void tile_of(const struct tile *t, const int M)
{
    const size_t ldw = t->c->ldw * dtype_size(t->c->wt);
    const __mmask16 low = pairs_mask(0, t->cols), high = pairs_mask(16, t->cols);
    for (int i = 0; i < M; i++)
        _mm_prefetch(t->W + (size_t)i * ldw, _MM_HINT_T0);
    for (int s = t->s0; s < t->s1; s++) {
        size_t at = t->at[s], pairs = t->at[s + 1] - at;
        if (!pairs)
            continue;
        __m512 sum[PAIRS_NARROW][2];
#pragma GCC unroll 12
        for (int i = 0; i < M; i++)
            sum[i][0] = sum[i][1] = _mm512_setzero_ps();
        pairs_add(sum, t->panel + at * PAIRS_WIDE, t->narrow + at * PAIRS_NARROW, pairs, M);
#pragma GCC unroll 12
        for (int i = 0; i < M; i++) {
            const char *w = t->W + (size_t)i * ldw;
            float *S = t->S + (size_t)i * t->lds;
            fold(S, weights(w, t->c->wt, 0, low), sum[i][0], s == t->first, low);
            fold(S + 16, weights(w, t->c->wt, 16, high), sum[i][1], s == t->first, high);
        }
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

/* Where the sequences end that are taken with s. */
static int together(const struct job *j, int s)
{
    int end = s + 1;
    while (end < j->c->n_seqs && j->at[end + 1] - j->at[s] <= TOGETHER)
        end++;
    return end;
}

/* Rows r0 .. of the round; S: their scores. */
static void fold_rows(const struct job *j, size_t r0, size_t rows, float *S, size_t lds)
{
    const struct sens_call *c = j->c;
    const size_t pairs = j->at[c->n_seqs], ws = dtype_size(c->wt);
    struct tile t = {.c = c, .at = j->at, .first = j->first, .lds = lds};
    for (t.s0 = 0; t.s0 < c->n_seqs; t.s0 = t.s1) {
        t.s1 = together(j, t.s0);
        for (size_t col = 0; col < c->in; col += PAIRS_WIDE)
            for (size_t r = 0; r < rows; r += PAIRS_NARROW) {
                size_t m = rows - r < PAIRS_NARROW ? rows - r : PAIRS_NARROW;
                t.panel = j->x + col * pairs;
                t.narrow = j->dy + (r0 + r) * pairs;
                t.W = (const char *)c->W + ((j->row0 + r0 + r) * c->ldw + col) * ws;
                t.S = S + r * lds + col;
                t.cols = c->in - col;
                tiles[m - 1](&t);
            }
    }
}

static void one_block(void *u, size_t i)
{
    struct job *j = u;
    const struct sens_out *out = j->c->out;
    size_t r0 = i * j->block, rows = j->rows - r0 < j->block ? j->rows - r0 : j->block, lds = out->S ? out->lds : j->c->in;
    struct err e = {0};
    float *S = out->S ? out->S + (j->row0 + r0) * lds : scratch_get(SCRATCH_ITEM, j->block * lds * sizeof *S, &e);
    int rc = S ? 0 : e.code;
    if (!rc) {
        for (size_t k = 0; k < rows && j->first < 0 && (out->fresh || !out->S); k++)
            memset(S + k * lds, 0, j->c->in * sizeof *S);
        fold_rows(j, r0, rows, S, lds);
        rc = out->done ? out->done(out->u, j->row0 + r0, rows, S, lds, &e) : 0;
    }
    if (rc)
        first_err_put(&j->err, &e);
}

/* Item: (sequence, LAY_COLS columns of X). */
static void lay_x(void *u, size_t i)
{
    struct job *j = u;
    const struct sens_call *c = j->c;
    size_t s = i % (size_t)c->n_seqs, col = i / (size_t)c->n_seqs * LAY_COLS, pairs = j->at[c->n_seqs], t0 = (size_t)c->cu[s];
    pairs_lay(j->x + col * pairs + j->at[s] * PAIRS_WIDE, pairs * PAIRS_WIDE, PAIRS_WIDE, c->x + t0 * c->ldx + col, c->ldx,
              (size_t)c->cu[s + 1] - t0, c->in - col < LAY_COLS ? c->in - col : LAY_COLS);
}

/* Item: (sequence, BLOCK rows of the round). */
static void lay_dy(void *u, size_t i)
{
    struct job *j = u;
    const struct sens_call *c = j->c;
    size_t s = i % (size_t)c->n_seqs, r = i / (size_t)c->n_seqs * BLOCK, pairs = j->at[c->n_seqs], t0 = (size_t)c->cu[s];
    pairs_lay(j->dy + r * pairs + j->at[s] * PAIRS_NARROW, pairs * PAIRS_NARROW, PAIRS_NARROW, c->dy + t0 * c->ldy + j->row0 + r, c->ldy,
              (size_t)c->cu[s + 1] - t0, j->rows - r < BLOCK ? j->rows - r : BLOCK);
}

static size_t up(size_t n, size_t to)
{
    return (n + to - 1) / to;
}

static int run(struct job *j, struct err *e)
{
    const struct sens_call *c = j->c;
    const size_t pairs = j->at[c->n_seqs], seqs = (size_t)c->n_seqs, row = pairs * sizeof(uint32_t);
    size_t round = row ? ROUND_BYTES / row / BLOCK * BLOCK : c->rows, x_bytes = up(c->in, PAIRS_WIDE) * PAIRS_WIDE * row;
    round = round < BLOCK ? BLOCK : round > c->rows ? c->rows : round;
    j->block = BLOCK;
    while (j->block > PAIRS_NARROW && c->rows < ITEMS * j->block)
        j->block /= 2;
    j->x = scratch_get(SCRATCH_CALL, x_bytes + up(round, PAIRS_NARROW) * PAIRS_NARROW * row, e);
    if (!j->x)
        return e->code;
    j->dy = (uint32_t *)(void *)((char *)j->x + x_bytes);
    par_for(up(c->in, LAY_COLS) * seqs, lay_x, j);
    for (j->row0 = 0; j->row0 < c->rows && !j->err.code; j->row0 += round) {
        j->rows = c->rows - j->row0 < round ? c->rows - j->row0 : round;
        par_for(up(j->rows, BLOCK) * seqs, lay_dy, j);
        par_for(up(j->rows, j->block), one_block, j);
    }
    return first_err_get(&j->err, e);
}

int sens_pairs(const struct sens_call *c, struct err *e)
{
    size_t *at = malloc(((size_t)c->n_seqs + 1) * sizeof *at);
    struct job j = {.c = c, .at = at, .first = -1};
    if (!at)
        return err_nomem(e, (size_t)c->n_seqs * sizeof *at, "the sequences' operands");
    at[0] = 0;
    for (int s = 0; s < c->n_seqs; s++) {
        at[s + 1] = at[s] + up((size_t)(c->cu[s + 1] - c->cu[s]), 2);
        if (j.first < 0 && at[s + 1] > at[s] && (c->out->fresh || !c->out->S))
            j.first = s;
    }
    int rc = c->in ? run(&j, e) : 0;
    free(at);
    return rc;
}

#else

int sens_pairs(const struct sens_call *c, struct err *e)
{
    (void)c;
    return err_set(e, ERR_INTERNAL, "scores for another processor");
}

#endif
