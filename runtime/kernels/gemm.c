/* SPDX-License-Identifier: MIT
 *
 * gemm: cuts a product into tiles of C whose size depends on the shape alone, one library call each (gemm_lib). Tall
 * tiles, because a call packs its part of B once for all its rows; narrow ones when there are few rows, so that decoding
 * a token still occupies every core. Large bf16 products on tile units go another way (gemm_blocked).
 *
 * Without bf16 in hardware a tile's parts of A and B are converted to f32 in the worker's scratch and multiplied there:
 * the products of two bf16 numbers are exact in f32, so only the order of the sums differs from the hardware's.
 */
#include "runtime/kernels/gemm.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/gemm_blocked.h"
#include "runtime/kernels/gemm_lib.h"
#include "runtime/kernels/scratch.h"

enum { TILE_ROWS = 512, TILE_COLS = 256, TILE_COLS_FEW = 128, FEW_ROWS = 256, PACK_COLS = 128 };

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

/* bf16 by way of f32; l, when given, is an f32 layout. */
static int serial_as_f32(const struct lib_shape *s, const struct lib_layout *l, const void *a, const void *b, float *c, struct err *e)
{
    struct lib_shape f = *s;
    size_t ar = s->form == GEMM_TN ? s->k : s->m, ac = s->form == GEMM_TN ? s->m : s->k;
    size_t br = s->form == GEMM_NT ? s->n : s->k, bc = s->form == GEMM_NT ? s->k : s->n;
    size_t an = (ar * ac + 15) & ~(size_t)15, bn = l ? 0 : br * bc;
    float *p = scratch_get(SCRATCH_CONVERT, (an + bn) * sizeof *p, e);
    if (!p)
        return e->code;
    rows_to_f32(p, a, s->lda, ar, ac);
    if (!l)
        rows_to_f32(p + an, b, s->ldb, br, bc);
    f.t = DT_F32;
    f.lda = ac;
    f.ldb = bc;
    return lib_gemm(&f, l, p, l ? b : p + an, c, e);
}

static int serial(const struct lib_shape *s, const struct lib_layout *l, const void *a, const void *b, float *c, struct err *e)
{
    if (s->t == DT_BF16 && !gemm_has_bf16())
        return serial_as_f32(s, l, a, b, c, e);
    return lib_gemm(s, l, a, b, c, e);
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
    return serial(&s, NULL, a, b, c, e);
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
    const struct gemm_packed *w;
    struct first_err err;
};

struct gemm_packed {
    size_t n, k, blocks, full_bytes, bytes; /* block j at j * full_bytes */
    enum dtype x_type;                      /* of the products' left side */
    const struct lib_layout *full, *tail;         /* PACK_COLS columns; the rest (either may be NULL) */
    char *data;
};

/* Into scratch without gaps, the only form in which the library's kernels for packed weights write, then to C. */
static int packed_tile(const struct lib_shape *s, const struct lib_layout *l, const void *a, const void *b, float *c, struct err *e)
{
    struct lib_shape d = *s;
    d.ldc = s->n;
    d.accumulate = false;
    float *t = scratch_get(SCRATCH_TILE, s->m * s->n * sizeof *t, e);
    int rc = t ? serial(&d, l, a, b, t, e) : e->code;
    for (size_t r = 0; r < s->m && !rc; r++)
        if (s->accumulate)
            convert_add_row(c + r * s->ldc, t + r * s->n, s->n);
        else
            memcpy(c + r * s->ldc, t + r * s->n, s->n * sizeof *t);
    return rc;
}

/* Tiles of one column band follow each other, so that its part of B is still in cache. */
static void run_tile(void *u, size_t i)
{
    struct job *j = u;
    size_t r0 = i % j->row_tiles * j->rows, c0 = i / j->row_tiles * j->cols;
    struct lib_shape s = j->s;
    s.m = j->s.m - r0 < j->rows ? j->s.m - r0 : j->rows;
    s.n = j->s.n - c0 < j->cols ? j->s.n - c0 : j->cols;
    const struct lib_layout *l = NULL;
    const char *a = j->a + (s.form == GEMM_TN ? r0 : r0 * s.lda) * j->es, *b = NULL;
    if (j->w) {
        l = s.n == PACK_COLS ? j->w->full : j->w->tail;
        b = j->w->data + c0 / PACK_COLS * j->w->full_bytes;
    } else {
        b = j->b + (s.form == GEMM_NT ? c0 * s.ldb : c0) * j->es;
    }
    struct err e = {0};
    float *c = j->c + r0 * s.ldc + c0;
    if (l ? packed_tile(&s, l, a, b, c, &e) : serial(&s, NULL, a, b, c, &e))
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
    j.cols = m <= FEW_ROWS ? TILE_COLS_FEW : TILE_COLS;
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

struct packing {
    const struct gemm_packed *w;
    const char *src;
    enum dtype t;
    struct first_err err;
};

static void pack_block(void *u, size_t i)
{
    struct packing *p = u;
    const struct gemm_packed *w = p->w;
    size_t n0 = i * PACK_COLS, n = w->n - n0 < PACK_COLS ? w->n - n0 : PACK_COLS;
    const void *src = p->src + n0 * w->k * dtype_size(p->t);
    struct err e = {0};
    if (p->t == DT_BF16 && !gemm_has_bf16()) {
        float *f = scratch_get(SCRATCH_CONVERT, n * w->k * sizeof *f, &e);
        if (f)
            rows_to_f32(f, src, w->k, n, w->k);
        src = f;
    }
    if (!src || lib_pack(n == PACK_COLS ? w->full : w->tail, src, 1, w->k, w->data + i * w->full_bytes, &e))
        first_err_put(&p->err, &e);
}

int gemm_pack(const void *w, size_t n, size_t k, enum dtype t, struct gemm_packed **out, struct err *e)
{
    *out = NULL;
    enum dtype stored = t == DT_BF16 && !gemm_has_bf16() ? DT_F32 : t;
    struct packing job = {.src = w, .t = t};
    struct gemm_packed *p = calloc(1, sizeof *p);
    int rc = p ? 0 : err_nomem(e, sizeof *p, "a packed weight");
    if (!p)
        return rc;
    p->n = n, p->k = k, p->x_type = t;
    size_t full = k ? n / PACK_COLS : 0, tail = k ? n % PACK_COLS : 0;
    p->blocks = full + (tail > 0);
    if (full && (rc = lib_layout_get(PACK_COLS, k, stored, &p->full, e)))
        goto out;
    if (tail && (rc = lib_layout_get(tail, k, stored, &p->tail, e)))
        goto out;
    p->full_bytes = full ? (lib_layout_bytes(p->full) + 63) & ~(size_t)63 : 0;
    p->bytes = full * p->full_bytes + (tail ? lib_layout_bytes(p->tail) : 0);
    if (p->bytes && !(p->data = big_alloc(p->bytes))) {
        rc = err_nomem(e, p->bytes, "a packed weight");
        goto out;
    }
    job.w = p;
    par_for(p->blocks, pack_block, &job);
    rc = first_err_get(&job.err, e);
out:
    if (rc)
        gemm_packed_free(p);
    else
        *out = p;
    return rc;
}

void gemm_packed_free(struct gemm_packed *w)
{
    if (!w)
        return;
    if (w->data)
        big_free(w->data, w->bytes);
    free(w);
}

size_t gemm_packed_bytes(const struct gemm_packed *w)
{
    return sizeof *w + w->bytes;
}

int gemm_nt_packed(size_t m, const void *x, size_t ldx, const struct gemm_packed *w, bool accumulate, float *y, size_t ldy,
                   struct err *e)
{
    if (!m || !w->n || !w->k)
        return gemm_serial(GEMM_NT, m, w->n, w->k, w->x_type, x, ldx, NULL, 0, accumulate, y, ldy, e);
    struct job j = {.s = {GEMM_NT, m, w->n, w->k, w->k, 0, ldy, w->x_type, accumulate}, .a = x, .c = y, .w = w};
    size_t row = w->k * dtype_size(w->x_type);
    char *dense = NULL;
    if (m > 1 && ldx != w->k) { /* rare: those kernels want x without gaps as well */
        if (!(dense = malloc(m * row)))
            return err_nomem(e, m * row, "a copy of the activations");
        for (size_t r = 0; r < m; r++)
            memcpy(dense + r * row, (const char *)x + r * ldx * dtype_size(w->x_type), row);
        j.a = dense;
    }
    j.cols = PACK_COLS;
    int rc = run_job(&j, e);
    free(dense);
    return rc;
}
