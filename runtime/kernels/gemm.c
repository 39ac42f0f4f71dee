/* SPDX-License-Identifier: MIT
 *
 * gemm: cuts a product into tiles of C whose size depends on the shape alone, one library call each (gemm_lib). Tall
 * tiles, because a call packs its part of B once for all its rows; narrow ones when there are few rows, so that decoding
 * a token still occupies every core. Large bf16 products on tile units, and packed
 * weights, go another way (gemm_blocked).
 *
 * Without bf16 in hardware a tile's parts of A and B are converted to f32 in the worker's scratch and multiplied there:
 * the products of two bf16 numbers are exact in f32, so only the order of the sums differs from the hardware's.
 */
#include "runtime/kernels/gemm.h"

#include <stdint.h>
#include <string.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/gemm_blocked.h"
#include "runtime/kernels/gemm_lib.h"
#include "runtime/kernels/scratch.h"

enum { TILE_ROWS = 512, TILE_COLS = 256, TILE_COLS_FEW = 128, TILE_COLS_MANY = 512, FEW_ROWS = 256, MANY_ROWS = 2048 };

static void zero_rows(float *c, size_t ldc, size_t m, size_t n)
{
    for (size_t i = 0; i < m; i++)
        memset(c + i * ldc, 0, n * sizeof *c);
}

static void rows_to_f32(float *out, const uint16_t *in, size_t ld, size_t rows, size_t cols)
{
    for (size_t i = 0; i < rows; i++)
        convert_bf16_row(out + i * cols, in + i * ld, cols);
}

static int serial_as_f32(const struct lib_shape *s, const void *a, const void *b, float *c, struct err *e)
{
    struct lib_shape f = *s;
    size_t ar = s->form == GEMM_TN ? s->k : s->m, ac = s->form == GEMM_TN ? s->m : s->k;
    size_t br = s->form == GEMM_NT ? s->n : s->k, bc = s->form == GEMM_NT ? s->k : s->n;
    size_t an = (ar * ac + 15) & ~(size_t)15;
    float *p = scratch_get(SCRATCH_CONVERT, (an + br * bc) * sizeof *p, e);
    if (!p)
        return e->code;
    rows_to_f32(p, a, s->lda, ar, ac);
    rows_to_f32(p + an, b, s->ldb, br, bc);
    f.t = DT_F32;
    f.lda = ac;
    f.ldb = bc;
    return lib_gemm(&f, NULL, p, p + an, c, e);
}

static int serial(const struct lib_shape *s, const void *a, const void *b, float *c, struct err *e)
{
    if (s->t == DT_BF16 && !gemm_has_bf16())
        return serial_as_f32(s, a, b, c, e);
    return lib_gemm(s, NULL, a, b, c, e);
}

int gemm_serial(enum gemm_form f, size_t m, size_t n, size_t k, enum dtype t, const void *a, size_t lda, const void *b,
                size_t ldb, bool accumulate, float *c, size_t ldc, struct err *e)
{
    if (!m || !n)
        return 0;
    if (!k) {
        if (!accumulate)
            zero_rows(c, ldc, m, n);
        return 0;
    }
    struct lib_shape s = {f, m, n, k, lda, ldb, ldc, t, accumulate};
    return serial(&s, a, b, c, e);
}

/* Rows a tile: equal shares of m, at most TILE_ROWS, rounded up to 16 (an AMX tile). */
static size_t tile_rows(size_t m)
{
    size_t parts = (m + TILE_ROWS - 1) / TILE_ROWS, rows = (m + parts - 1) / parts;
    return (rows + 15) & ~(size_t)15;
}

struct job {
    struct lib_shape s;
    const char *a, *b;
    float *c;
    size_t es, rows, cols, row_tiles;
    struct first_err err;
};

/* Tiles of one column band follow each other, so that its part of B is still in cache. */
static void run_tile(void *u, size_t i)
{
    struct job *j = u;
    size_t r0 = i % j->row_tiles * j->rows, c0 = i / j->row_tiles * j->cols;
    struct lib_shape s = j->s;
    s.m = j->s.m - r0 < j->rows ? j->s.m - r0 : j->rows;
    s.n = j->s.n - c0 < j->cols ? j->s.n - c0 : j->cols;
    const char *a = j->a + (s.form == GEMM_TN ? r0 : r0 * s.lda) * j->es, *b = j->b + (s.form == GEMM_NT ? c0 * s.ldb : c0) * j->es;
    struct err e = {0};
    if (serial(&s, a, b, j->c + r0 * s.ldc + c0, &e))
        first_err_put(&j->err, &e);
}

static int run_job(struct job *j, struct err *e)
{
    size_t cols = (j->s.n + j->cols - 1) / j->cols;
    j->es = dtype_size(j->s.t);
    j->rows = tile_rows(j->s.m);
    j->row_tiles = (j->s.m + j->rows - 1) / j->rows;
    par_for(j->row_tiles * cols, run_tile, j);
    return first_err_get(&j->err, e);
}

int gemm(enum gemm_form f, size_t m, size_t n, size_t k, enum dtype t, const void *a, size_t lda, const void *b, size_t ldb,
         bool accumulate, float *c, size_t ldc, struct err *e)
{
    if (!m || !n || !k)
        return gemm_serial(f, m, n, k, t, a, lda, b, ldb, accumulate, c, ldc, e);
    struct job j = {.s = {f, m, n, k, lda, ldb, ldc, t, accumulate}, .a = a, .b = b, .c = c};
    int rc = blocked_gemm(&j.s, a, b, c, e);
    if (rc <= 0)
        return rc;
    j.cols = m <= FEW_ROWS ? TILE_COLS_FEW : m < MANY_ROWS ? TILE_COLS : TILE_COLS_MANY;
    return run_job(&j, e);
}

static float at(const void *p, enum dtype t, size_t i)
{
    return t == DT_BF16 ? bf16_to_f32(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}

void gemm_ref(enum gemm_form f, size_t m, size_t n, size_t k, enum dtype t, const void *a, size_t lda, const void *b,
              size_t ldb, bool accumulate, float *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t l = 0; l < k; l++)
                sum += (double)at(a, t, f == GEMM_TN ? l * lda + i : i * lda + l) *
                       (double)at(b, t, f == GEMM_NT ? j * ldb + l : l * ldb + j);
            c[i * ldc + j] = (float)(accumulate ? (double)c[i * ldc + j] + sum : sum);
        }
}
