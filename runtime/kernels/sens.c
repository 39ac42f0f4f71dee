/* SPDX-License-Identifier: MIT
 *
 * sens: blocks of S, BLOCK x BLOCK, one work item each. For every sequence the block of its gradient is made by one product
 * in the worker's scratch and folded into S while both are in the second-level cache. On tile units (AMX) X is arranged
 * once for the whole call, dY^T for a group of rows at a time (gemm_blocked); with AVX-512 BF16 alone sens_pairs does all of it;
 * elsewhere the library reads both in place.
 */
#include "runtime/kernels/sens.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/gemm_blocked.h"
#include "runtime/kernels/pairs.h"
#include "runtime/kernels/scratch.h"
#include "runtime/kernels/sens_pairs.h"
#include "runtime/kernels/vmath.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { BLOCK = BAND, ROWS_SLAB = 64, GROUP_BYTES = 48 << 20, OWN_BYTES = 64 << 20 };

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
    struct arranged *seq;  /* of each sequence; NULL: in place */
    unsigned *finished;    /* of each block of rows of the round: how many of its columns' blocks are done */
    struct first_err err;
};

/* One sequence's operands: bands of X, and dY^T of the round's rows. */
struct arranged {
    struct blocked b; /* unset for an empty sequence */
    char *x, *dy;
};

VECTOR static void fold(float *restrict S, const float *restrict W, const float *restrict G, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        S[i] += __builtin_fabsf(W[i] * G[i]);
}

/* S = where fold has S +=. */
VECTOR static void fold_fresh(float *restrict S, const float *restrict W, const float *restrict G, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        S[i] = __builtin_fabsf(W[i] * G[i]);
}

#ifdef __x86_64__
/* The same with W in bf16, sixteen at a time. */
__attribute__((target("avx512f"))) static size_t fold_bf16(float *S, const uint16_t *W, const float *G, size_t n, bool fresh)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512i w = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(W + i))), 16);
        __m512 g = _mm512_abs_ps(_mm512_mul_ps(_mm512_castsi512_ps(w), _mm512_loadu_ps(G + i)));
        _mm512_storeu_ps(S + i, fresh ? g : _mm512_add_ps(_mm512_loadu_ps(S + i), g));
    }
    return i;
}
#endif

static void fold_row(float *S, const float *W, const float *G, size_t n, bool fresh)
{
    (fresh ? fold_fresh : fold)(S, W, G, n);
}

static void fold_bf16_row(float *S, const uint16_t *W, const float *G, float *row, size_t n, bool fresh)
{
    size_t i = 0;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        i = fold_bf16(S, W, G, n, fresh);
#endif
    convert_bf16_row(row, W + i, n - i);
    fold_row(S + i, row, G + i, n - i, fresh);
}

static void fold_block(const struct job *j, float *S, const char *W, const float *G, float *row, size_t rows, size_t cols, bool fresh)
{
    size_t ws = dtype_size(j->wt);
    for (size_t r = 0; r < rows; r++) {
        const void *w = W + r * j->ldw * ws;
        float *s = S + r * j->lds;
        if (j->wt == DT_BF16) {
            fold_bf16_row(s, w, G + r * cols, row, cols, fresh);
            continue;
        }
        if (j->wt == DT_F16)
            convert_f16_row(row, w, cols);
        fold_row(s, j->wt == DT_F32 ? w : row, G + r * cols, cols, fresh);
    }
}

/* G = dY_s^T X_s, rows r0 .. and columns c0 .. of the round; without gaps. */
static int gradient(const struct job *j, int s, size_t r0, size_t rows, size_t c0, size_t cols, float *G, struct err *e)
{
    size_t t0 = (size_t)j->cu[s], T = (size_t)j->cu[s + 1] - t0, es = dtype_size(j->t);
    if (j->seq) {
        const struct arranged *q = &j->seq[s];
        return blocked_multiply(&q->b, c0 / BAND, q->x + c0 / BAND * q->b.band_bytes, q->dy, j->group, r0, rows, G, e);
    }
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
    float *G = scratch_get(SCRATCH_ITEM, (size_t)(BLOCK + 1) * BLOCK * sizeof *G, &e), *S = j->S + (r - j->s_row) * j->lds + c0;
    int rc = G ? 0 : e.code;
    bool fresh = j->out->fresh || !j->out->S;
    for (int s = 0; s < j->n_seqs && !rc; s++) {
        if (j->cu[s] == j->cu[s + 1])
            continue;
        rc = gradient(j, s, r0, rows, c0, cols, G, &e);
        if (!rc)
            fold_block(j, S, j->W + (r * j->ldw + c0) * dtype_size(j->wt), G, G + (size_t)BLOCK * BLOCK, rows, cols, fresh);
        fresh = false;
    }
    for (size_t k = 0; k < rows && fresh; k++)
        memset(S + k * j->lds, 0, cols * sizeof *S);
    if (!rc)
        rc = give(j, r0, rows, &e);
    if (rc)
        first_err_put(&j->err, &e);
}

/* Item: (sequence, band of X). */
static void arrange_x(void *u, size_t i)
{
    struct job *j = u;
    size_t s = i / j->col_blocks, band = i % j->col_blocks;
    const struct arranged *q = &j->seq[s];
    struct err e = {0};
    if (j->cu[s] == j->cu[s + 1])
        return;
    if (blocked_pack(&q->b, GEMM_TN, j->x + (size_t)j->cu[s] * j->ldx * dtype_size(j->t), j->ldx, band, q->x + band * q->b.band_bytes, &e))
        first_err_put(&j->err, &e);
}

/* Item: (sequence, slab of rows). */
static void arrange_dy(void *u, size_t i)
{
    struct job *j = u;
    size_t slabs = (j->group + ROWS_SLAB - 1) / ROWS_SLAB, s = i / slabs, r = i % slabs * ROWS_SLAB;
    const struct arranged *q = &j->seq[s];
    if (j->cu[s] == j->cu[s + 1])
        return;
    blocked_rows(&q->b, GEMM_TN, q->dy, j->group, j->dy + ((size_t)j->cu[s] * j->ldy + j->row0) * dtype_size(j->t), j->ldy, r,
                 j->group - r < ROWS_SLAB ? j->group - r : ROWS_SLAB);
}

/* Layouts, room and the arranged X of every sequence; *rows becomes the rows that a round takes. */
static int arrange(struct job *j, size_t *rows, struct err *e)
{
    size_t x_bytes = 0, row_bytes = 1;
    for (int s = 0; s < j->n_seqs; s++) {
        struct blocked *b = &j->seq[s].b;
        size_t T = (size_t)(j->cu[s + 1] - j->cu[s]);
        int rc = T ? blocked_init(b, j->in, T, j->t, e) : 0;
        if (rc)
            return rc;
        x_bytes += T ? b->bands * b->band_bytes : 0;
        row_bytes += T ? blocked_row(b) * sizeof(uint16_t) : 0;
    }
    size_t most = GROUP_BYTES / row_bytes / BLOCK * BLOCK;
    *rows = most < BLOCK ? BLOCK : most;
    if (*rows > j->rows)
        *rows = j->rows;
    char *p = scratch_get(SCRATCH_CALL, x_bytes + *rows * row_bytes, e);
    if (!p)
        return e->code;
    char *dy = p + x_bytes;
    for (int s = 0; s < j->n_seqs; s++)
        if (j->cu[s] != j->cu[s + 1]) {
            struct arranged *q = &j->seq[s];
            q->x = p;
            q->dy = dy;
            p += q->b.bands * q->b.band_bytes;
            dy += *rows * blocked_row(&q->b) * sizeof(uint16_t);
        }
    par_for((size_t)j->n_seqs * j->col_blocks, arrange_x, j);
    return first_err_get(&j->err, e);
}

/* Rows of a round whose scores nobody else keeps. */
static size_t own_rows(size_t rows, size_t in)
{
    size_t most = OWN_BYTES / sizeof(float) / in / BLOCK * BLOCK;
    most = most < BLOCK ? BLOCK : most;
    return most < rows ? most : rows;
}

static int run_rounds(struct job *j, size_t round, struct err *e)
{
    if (!j->out->S) {
        size_t own = own_rows(j->rows, j->in);
        round = own < round ? own : round;
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
        if (j->seq)
            par_for((size_t)j->n_seqs * ((j->group + ROWS_SLAB - 1) / ROWS_SLAB), arrange_dy, j);
        par_for((j->group + BLOCK - 1) / BLOCK * j->col_blocks, one_block, j);
        rc = first_err_get(&j->err, e);
    }
    return rc;
}

static bool by_pairs(enum dtype t)
{
    return t == DT_BF16 && !blocked_pays(t) && pairs_pay();
}

int sens_fold(const struct sens_out *out, const void *W, enum dtype wt, size_t ldw, const void *dy, size_t ldy, const void *x, size_t ldx,
              enum dtype t, size_t rows, size_t in, int n_seqs, const int32_t *seq_cu, struct err *e)
{
    if (by_pairs(t) && n_seqs > 0)
        return sens_pairs(&(struct sens_call){out, W, wt, dy, x, ldw, ldy, ldx, rows, in, n_seqs, seq_cu}, e);
    struct job j = {.out = out, .W = W, .dy = dy, .x = x, .wt = wt, .t = t, .ldw = ldw, .ldy = ldy, .ldx = ldx, .rows = rows,
                    .in = in, .n_seqs = n_seqs, .cu = seq_cu, .S = out->S, .lds = out->S ? out->lds : in};
    j.col_blocks = (in + BLOCK - 1) / BLOCK;
    size_t round = rows, blocks = (rows + BLOCK - 1) / BLOCK;
    int rc = 0;
    if (out->done && !(j.finished = malloc((blocks + 1) * sizeof *j.finished)))
        return err_nomem(e, blocks * sizeof *j.finished, "blocks of scores");
    if (blocked_pays(t) && rows && in && n_seqs > 0) {
        j.seq = calloc((size_t)n_seqs, sizeof *j.seq);
        rc = j.seq ? arrange(&j, &round, e) : err_nomem(e, (size_t)n_seqs * sizeof *j.seq, "the sequences' operands");
    }
    if (!rc && rows && in)
        rc = run_rounds(&j, round, e);
    free(j.seq);
    free(j.finished);
    return rc;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t sens_memory(enum dtype t, size_t tokens, size_t rows, size_t in, int n_threads)
{
    uint64_t row = (uint64_t)in * sizeof(float), own = least(OWN_BYTES, rows * row), blocks = least((uint64_t)n_threads * BLOCK, rows) * row;
    uint64_t x = (uint64_t)tokens * in * sizeof(uint16_t), dy = least(GROUP_BYTES, (uint64_t)tokens * rows * sizeof(uint16_t));
    return t == DT_BF16 && gemm_has_bf16() ? x + dy + (own > blocks ? own : blocks) : own;
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
