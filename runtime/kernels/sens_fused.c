/* SPDX-License-Identifier: MIT
 *
 * sens_fused: an item is a block of rows of S with all their columns, so that its scores can stay in the cache until they are given away.
 * Of every tile the gradient of a sequence grows in registers, and from there |G| is added to the block's sums; |W| comes in when they are
 * complete. No gradient is ever stored whole.
 */
#include "runtime/kernels/sens_fused.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/fold.h"
#include "runtime/kernels/scratch.h"

enum { LAY_PANELS = 8, ROUND_BYTES = 48 << 20 };

struct job {
    const struct sens_kernel *k;
    const struct sens_call *c;
    const size_t *at;     /* (n_seqs + 1) words before each sequence */
    uint32_t *x, *dy;     /* laid out; dy: of this round's rows */
    size_t x_cols, dy_cols; /* with those that fill the last panel */
    size_t row0, rows;    /* of this round */
    size_t block;         /* rows of an item */
    struct first_err err;
};

static size_t up(size_t n, size_t to)
{
    return (n + to - 1) / to;
}

static size_t block_bytes(const struct sens_kernel *k)
{
    return k->tiles * k->narrow * k->columns * sizeof(float);
}

/* Where the sequences end that are taken with s. */
static int together(const struct job *j, int s)
{
    int end = s + 1;
    while (end < j->c->n_seqs && j->at[end + 1] - j->at[s] <= j->k->together)
        end++;
    return end;
}

/* S (+)= |W| times the sums of a block: rows `row` .. and columns `col` .. of the matrix. */
static void multiply(const struct job *j, const struct sens_block *b, size_t row, size_t col, float *S, size_t lds)
{
    const struct sens_call *c = j->c;
    const size_t narrow = j->k->narrow, next = up(b->rows, narrow) * narrow * SENS_WIDE;
    for (size_t i = 0; i < b->rows; i++)
        fold_row(S + i * lds + col, (const char *)c->W + ((row + i) * c->ldw + col) * dtype_size(c->wt), c->wt, b->sum + i * SENS_WIDE, next, b->cols,
                 c->out->fresh || !c->out->S);
}

/* Rows r0 .. of the round; S: their scores. sum: room for a block. */
static void fold_rows(const struct job *j, size_t r0, size_t rows, float *S, size_t lds, float *sum)
{
    const struct sens_call *c = j->c;
    struct sens_block b = {.at = j->at, .x = j->x, .dy = j->dy, .x_cols = j->x_cols, .dy_cols = j->dy_cols, .dy_col = r0, .sum = sum, .rows = rows};
    for (size_t col = 0; col < c->in; col += b.cols) {
        b.cols = c->in - col < j->k->columns ? c->in - col : j->k->columns;
        b.x_col = col;
        if (!j->at[c->n_seqs])
            memset(sum, 0, block_bytes(j->k));
        for (b.s0 = 0; b.s0 < c->n_seqs; b.s0 = b.s1) {
            b.s1 = together(j, b.s0);
            b.fresh = j->at[b.s0] == 0;
            if (j->at[b.s1] > j->at[b.s0])
                j->k->block(&b);
        }
        multiply(j, &b, j->row0 + r0, col, S, lds);
    }
}

static void one_block(void *u, size_t i)
{
    struct job *j = u;
    const struct sens_out *out = j->c->out;
    size_t r0 = i * j->block, rows = j->rows - r0 < j->block ? j->rows - r0 : j->block, lds = out->S ? out->lds : j->c->in;
    size_t own = out->S ? 0 : j->block * lds * sizeof(float);
    struct err e = {0};
    char *room = scratch_get(SCRATCH_ITEM, block_bytes(j->k) + own, &e);
    int rc = room ? 0 : e.code;
    if (!rc) {
        float *S = out->S ? out->S + (j->row0 + r0) * lds : (float *)(void *)(room + block_bytes(j->k));
        if (j->k->begin)
            j->k->begin();
        fold_rows(j, r0, rows, S, lds, (float *)(void *)room);
        if (j->k->end)
            j->k->end();
        rc = out->done ? out->done(out->u, j->row0 + r0, rows, S, lds, &e) : 0;
    }
    if (rc)
        first_err_put(&j->err, &e);
}

/* Some panels, of `columns` columns each from `col` on, of one sequence: of p (`width` wide) and of src, n columns from `from` on. */
static struct sens_lay lay(const struct job *j, size_t s, uint32_t *p, size_t width, size_t columns, const void *src, size_t ld, size_t from,
                           size_t col, size_t n)
{
    size_t t0 = (size_t)j->c->cu[s], left = n - col, most = LAY_PANELS * columns, words = j->at[s + 1] - j->at[s];
    return (struct sens_lay){.out = p + j->at[s] * width + col * words, .stride = words * columns,
                             .src = (const char *)src + (t0 * ld + from + col) * dtype_size(j->k->t), .ld = ld, .k = (size_t)j->c->cu[s + 1] - t0,
                             .n = left < most ? left : most, .words = words};
}

/* Item: (sequence, LAY_PANELS panels of X). */
static void lay_x(void *u, size_t i)
{
    struct job *j = u;
    size_t each = LAY_PANELS * SENS_WIDE, items = (j->c->in + each - 1) / each;
    struct sens_lay l = lay(j, i / items, j->x, j->x_cols, SENS_WIDE, j->c->x, j->c->ldx, 0, i % items * each, j->c->in);
    j->k->lay_x(&l);
}

/* Item: (sequence, LAY_PANELS panels of the round's rows). */
static void lay_dy(void *u, size_t i)
{
    struct job *j = u;
    size_t each = LAY_PANELS * j->k->narrow, items = (j->rows + each - 1) / each;
    struct sens_lay l = lay(j, i / items, j->dy, j->dy_cols, j->k->narrow, j->c->dy, j->c->ldy, j->row0, i % items * each, j->rows);
    j->k->lay_dy(&l);
}

/* Rows of an item: at most `most`, and as many items for each thread. */
static size_t block_rows(size_t rows, size_t most, size_t narrow)
{
    const size_t threads = (size_t)par_cpus();
    return up(up(rows, up(rows, most * threads) * threads), narrow) * narrow;
}

static int run(struct job *j, struct err *e)
{
    const struct sens_call *c = j->c;
    const size_t narrow = j->k->narrow, most = j->k->tiles * narrow, seqs = (size_t)c->n_seqs, row = j->at[seqs] * sizeof(uint32_t);
    size_t round = row ? ROUND_BYTES / row / most * most : c->rows;
    round = round < most ? most : round > c->rows ? c->rows : round;
    j->x_cols = up(c->in, SENS_WIDE) * SENS_WIDE;
    j->block = block_rows(round, most, narrow);
    j->x = scratch_get(SCRATCH_CALL, (j->x_cols + up(round, narrow) * narrow) * row, e);
    if (!j->x)
        return e->code;
    j->dy = j->x + j->x_cols * j->at[seqs];
    par_for(up(c->in, LAY_PANELS * SENS_WIDE) * seqs, lay_x, j);
    for (j->row0 = 0; j->row0 < c->rows && !j->err.code; j->row0 += round) {
        j->rows = c->rows - j->row0 < round ? c->rows - j->row0 : round;
        j->dy_cols = up(j->rows, narrow) * narrow;
        par_for(up(j->rows, LAY_PANELS * narrow) * seqs, lay_dy, j);
        par_for(up(j->rows, j->block), one_block, j);
    }
    return first_err_get(&j->err, e);
}

int sens_fused(const struct sens_kernel *k, const struct sens_call *c, struct err *e)
{
    size_t *at = malloc(((size_t)c->n_seqs + 1) * sizeof *at), per = sizeof(uint32_t) / dtype_size(k->t);
    struct job j = {.k = k, .c = c, .at = at};
    if (!at)
        return err_nomem(e, (size_t)c->n_seqs * sizeof *at, "the sequences' operands");
    at[0] = 0;
    for (int s = 0; s < c->n_seqs; s++)
        at[s + 1] = at[s] + up(up((size_t)(c->cu[s + 1] - c->cu[s]), per), k->round) * k->round;
    int rc = c->in ? run(&j, e) : 0;
    free(at);
    return rc;
}

const struct sens_kernel *sens_kernel(enum dtype t)
{
    if (t == DT_F32)
        return sens_lanes_kernel();
    const struct sens_kernel *tiles = sens_tiles_kernel();
    return tiles ? tiles : sens_pairs_kernel();
}

uint64_t sens_fused_memory(enum dtype t, size_t tokens, size_t n_seqs, size_t rows, size_t in, int n_threads)
{
    const struct sens_kernel *k = sens_kernel(t);
    const uint64_t element = dtype_size(t), step = k->round * sizeof(uint32_t) / element, seqs = n_seqs < tokens ? n_seqs : tokens,
                   filled = tokens + seqs * (step - 1), most = k->tiles * k->narrow, dy = filled * rows * element,
                   block = (uint64_t)n_threads * most < rows ? (uint64_t)n_threads * most : rows;
    return filled * in * element + (dy < ROUND_BYTES ? dy : ROUND_BYTES) + block * in * sizeof(float) + (uint64_t)n_threads * block_bytes(k);
}
