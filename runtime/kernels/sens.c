/* SPDX-License-Identifier: MIT
 *
 * sens: with AVX-512, and for bf16 with its bf16 instructions or tile units (AMX), sens_fused does all of it. Elsewhere: blocks of S,
 * BLOCK x BLOCK, one work item each; for every sequence the block of its gradient is made by one product of the library in the worker's
 * scratch and folded into S while both are in the second-level cache.
 */
#include "runtime/kernels/sens.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/fold.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/scratch.h"
#include "runtime/kernels/sens_fused.h"

enum { BLOCK = 256, OWN_BYTES = 64 << 20 };

struct job {
    const struct sens_out *out;
    const char *W, *dy, *x;
    enum dtype wt, t;
    size_t ldw, ldy, ldx, rows, in, col_blocks;
    int n_seqs;
    const int32_t *cu;
    size_t row0, group; /* rows of this round */
    float *S;           /* of row s_row; the caller's, or of this round */
    size_t lds, s_row;
    unsigned *finished;    /* of each block of rows of the round: how many of its columns' blocks are done */
    struct first_err err;
};

static void fold_block(const struct job *j, float *S, const char *W, const float *G, size_t rows, size_t cols, bool fresh)
{
    for (size_t r = 0; r < rows; r++)
        fold_row(S + r * j->lds, W + r * j->ldw * dtype_size(j->wt), j->wt, G + r * cols, FOLD_WIDE, cols, fresh);
}

/* G = dY_s^T X_s, rows r0 .. and columns c0 .. of the round; without gaps. */
static int gradient(const struct job *j, int s, size_t r0, size_t rows, size_t c0, size_t cols, float *G, struct err *e)
{
    size_t t0 = (size_t)j->cu[s], T = (size_t)j->cu[s + 1] - t0, es = dtype_size(j->t);
    const char *dy = j->dy + (t0 * j->ldy + j->row0 + r0) * es, *x = j->x + (t0 * j->ldx + c0) * es;
    return gemm_serial(GEMM_TN, rows, cols, T, j->t, dy, j->ldy, x, j->ldx, false, G, cols, e);
}

/* The last block of a run of rows to finish gives it away. */
static int give(struct job *j, size_t r0, size_t rows, struct err *e)
{
    if (!j->out->done || __atomic_add_fetch(&j->finished[r0 / BLOCK], 1, __ATOMIC_ACQ_REL) < j->col_blocks)
        return 0;
    size_t row = j->row0 + r0;
    return j->out->done(j->out->u, row, rows, j->S + (row - j->s_row) * j->lds, j->lds, e);
}

static void one_block(void *u, size_t i)
{
    struct job *j = u;
    size_t r0 = i / j->col_blocks * BLOCK, c0 = i % j->col_blocks * BLOCK, r = j->row0 + r0;
    size_t rows = j->group - r0 < BLOCK ? j->group - r0 : BLOCK, cols = j->in - c0 < BLOCK ? j->in - c0 : BLOCK;
    struct err e = {0};
    float *G = scratch_get(SCRATCH_ITEM, (size_t)BLOCK * BLOCK * sizeof *G, &e), *S = j->S + (r - j->s_row) * j->lds + c0;
    int rc = G ? 0 : e.code;
    bool fresh = j->out->fresh || !j->out->S;
    for (int s = 0; s < j->n_seqs && !rc; s++) {
        if (j->cu[s] == j->cu[s + 1])
            continue;
        rc = gradient(j, s, r0, rows, c0, cols, G, &e);
        if (!rc)
            fold_block(j, S, j->W + (r * j->ldw + c0) * dtype_size(j->wt), G, rows, cols, fresh);
        fresh = false;
    }
    for (size_t k = 0; k < rows && fresh; k++)
        memset(S + k * j->lds, 0, cols * sizeof *S);
    if (!rc)
        rc = give(j, r0, rows, &e);
    if (rc)
        first_err_put(&j->err, &e);
}

/* Rows of a round whose scores nobody else keeps. */
static size_t own_rows(size_t rows, size_t in)
{
    size_t most = OWN_BYTES / sizeof(float) / in / BLOCK * BLOCK;
    most = most < BLOCK ? BLOCK : most;
    return most < rows ? most : rows;
}

static int run_rounds(struct job *j, struct err *e)
{
    size_t round = j->rows;
    if (!j->out->S) {
        round = own_rows(j->rows, j->in);
        j->S = scratch_get(SCRATCH_ROWS, round * j->lds * sizeof *j->S, e);
        if (!j->S)
            return e->code;
    }
    int rc = 0;
    for (; j->row0 < j->rows && !rc; j->row0 += round) {
        j->group = j->rows - j->row0 < round ? j->rows - j->row0 : round;
        j->s_row = j->out->S ? 0 : j->row0;
        if (j->finished)
            memset(j->finished, 0, (j->group + BLOCK - 1) / BLOCK * sizeof *j->finished);
        par_for((j->group + BLOCK - 1) / BLOCK * j->col_blocks, one_block, j);
        rc = first_err_get(&j->err, e);
    }
    return rc;
}

int sens_fold(const struct sens_out *out, const void *W, enum dtype wt, size_t ldw, const void *dy, size_t ldy, const void *x, size_t ldx,
              enum dtype t, size_t rows, size_t in, int n_seqs, const int32_t *seq_cu, struct err *e)
{
    const struct sens_kernel *fused = sens_kernel(t);
    if (fused && n_seqs > 0)
        return sens_fused(fused, &(struct sens_call){out, W, wt, dy, x, ldw, ldy, ldx, rows, in, n_seqs, seq_cu}, e);
    struct job j = {.out = out, .W = W, .dy = dy, .x = x, .wt = wt, .t = t, .ldw = ldw, .ldy = ldy, .ldx = ldx, .rows = rows,
                    .in = in, .n_seqs = n_seqs, .cu = seq_cu, .S = out->S, .lds = out->S ? out->lds : in};
    j.col_blocks = (in + BLOCK - 1) / BLOCK;
    size_t blocks = (rows + BLOCK - 1) / BLOCK;
    int rc = 0;
    if (out->done && !(j.finished = malloc((blocks + 1) * sizeof *j.finished)))
        return err_nomem(e, blocks * sizeof *j.finished, "blocks of scores");
    if (rows && in)
        rc = run_rounds(&j, e);
    free(j.finished);
    return rc;
}

uint64_t sens_memory(enum dtype t, size_t tokens, size_t n_seqs, size_t rows, size_t in, int n_threads)
{
    uint64_t all = (uint64_t)rows * in * sizeof(float);
    return sens_kernel(t) ? sens_fused_memory(t, tokens, n_seqs, rows, in, n_threads) : all < OWN_BYTES ? all : OWN_BYTES;
}

int sens_accumulate(float *S, size_t lds, const void *W, enum dtype wt, size_t ldw, const void *dy, size_t ldy, const void *x,
                    size_t ldx, enum dtype t, size_t rows, size_t in, int n_seqs, const int32_t *seq_cu, struct err *e)
{
    struct sens_out out = {.S = S, .lds = lds};
    return sens_fold(&out, W, wt, ldw, dy, ldy, x, ldx, t, rows, in, n_seqs, seq_cu, e);
}

int sens_accumulate_ref(float *S, size_t lds, const void *W, enum dtype wt, size_t ldw, const void *dy, size_t ldy,
                        const void *x, size_t ldx, enum dtype t, size_t rows, size_t in, int n_seqs, const int32_t *seq_cu,
                        struct err *e)
{
    float *G = malloc(rows * in * sizeof *G + 1), *w = malloc(in * sizeof *w + 1);
    int rc = G && w ? 0 : err_nomem(e, rows * in * sizeof *G, "a reference gradient");
    size_t es = dtype_size(t);
    for (int s = 0; s < n_seqs && !rc; s++) {
        size_t t0 = (size_t)seq_cu[s], T = (size_t)seq_cu[s + 1] - t0;
        gemm_ref(GEMM_TN, rows, in, T, t, (const char *)dy + t0 * ldy * es, ldy, (const char *)x + t0 * ldx * es, ldx, false, G, in);
        for (size_t r = 0; r < rows; r++) {
            dtype_to_f32(w, (const char *)W + r * ldw * dtype_size(wt), wt, in);
            for (size_t i = 0; i < in; i++)
                S[r * lds + i] += fabsf(w[i] * G[r * in + i]);
        }
    }
    free(G);
    free(w);
    return rc;
}
