/* SPDX-License-Identifier: MIT
 *
 * sens: blocks of S, BLOCK_ROWS x BLOCK_COLS, one work item each. For every sequence the block of its gradient is made by
 * one product in the worker's scratch and folded into S while both are in the second-level cache.
 */
#include "runtime/kernels/sens.h"

#include <math.h>
#include <stdlib.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/scratch.h"
#include "runtime/kernels/vmath.h"

enum { BLOCK_ROWS = 128, BLOCK_COLS = 512 };

struct job {
    float *S;
    const char *W, *dy, *x;
    enum dtype wt, t;
    size_t lds, ldw, ldy, ldx, rows, in, col_blocks;
    int n_seqs;
    const int32_t *cu;
    struct first_err err;
};

VECTOR static void fold(float *restrict S, const float *restrict W, const float *restrict G, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        S[i] += __builtin_fabsf(W[i] * G[i]);
}

static void fold_block(const struct job *j, float *S, const char *W, const float *G, float *row, size_t rows, size_t cols)
{
    size_t ws = dtype_size(j->wt);
    for (size_t r = 0; r < rows; r++) {
        const void *w = W + r * j->ldw * ws;
        if (j->wt == DT_BF16)
            convert_bf16_row(row, w, cols);
        else if (j->wt == DT_F16)
            convert_f16_row(row, w, cols);
        fold(S + r * j->lds, j->wt == DT_F32 ? w : row, G + r * cols, cols);
    }
}

static void one_block(void *u, size_t i)
{
    struct job *j = u;
    size_t r0 = i / j->col_blocks * BLOCK_ROWS, c0 = i % j->col_blocks * BLOCK_COLS, es = dtype_size(j->t);
    size_t rows = j->rows - r0 < BLOCK_ROWS ? j->rows - r0 : BLOCK_ROWS, cols = j->in - c0 < BLOCK_COLS ? j->in - c0 : BLOCK_COLS;
    struct err e = {0};
    float *G = scratch_get(SCRATCH_ITEM, (size_t)(BLOCK_ROWS + 1) * BLOCK_COLS * sizeof *G, &e);
    int rc = G ? 0 : e.code;
    for (int s = 0; s < j->n_seqs && !rc; s++) {
        size_t t0 = (size_t)j->cu[s], T = (size_t)j->cu[s + 1] - t0;
        if (!T)
            continue;
        rc = gemm_serial(GEMM_TN, rows, cols, T, j->t, j->dy + (t0 * j->ldy + r0) * es, j->ldy, j->x + (t0 * j->ldx + c0) * es, j->ldx,
                         false, G, cols, &e);
        if (!rc)
            fold_block(j, j->S + r0 * j->lds + c0, j->W + (r0 * j->ldw + c0) * dtype_size(j->wt), G,
                       G + (size_t)BLOCK_ROWS * BLOCK_COLS, rows, cols);
    }
    if (rc)
        first_err_put(&j->err, &e);
}

int sens_accumulate(float *S, size_t lds, const void *W, enum dtype wt, size_t ldw, const void *dy, size_t ldy, const void *x,
                    size_t ldx, enum dtype t, size_t rows, size_t in, int n_seqs, const int32_t *seq_cu, struct err *e)
{
    struct job j = {.S = S, .W = W, .dy = dy, .x = x, .wt = wt, .t = t, .lds = lds, .ldw = ldw, .ldy = ldy, .ldx = ldx,
                    .rows = rows, .in = in, .n_seqs = n_seqs, .cu = seq_cu};
    j.col_blocks = (in + BLOCK_COLS - 1) / BLOCK_COLS;
    par_for((rows + BLOCK_ROWS - 1) / BLOCK_ROWS * j.col_blocks, one_block, &j);
    return first_err_get(&j.err, e);
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
