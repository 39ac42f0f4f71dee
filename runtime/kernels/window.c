/* SPDX-License-Identifier: MIT */
#include "runtime/kernels/window.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/vmath.h"
#include "runtime/kernels/window_scan.h"

enum { BLOCK = 128 }; /* rows whose column sums are added up first; also the slab of top rows in the search */

/* Row i from column col on as f32: in place, or converted into buf. */
static const float *row_at(const struct window_view *s, size_t i, size_t col, size_t n, float *buf)
{
    if (s->t == DT_F32)
        return (const float *)s->data + i * s->ld + col;
    const uint16_t *h = (const uint16_t *)s->data + i * s->ld + col;
    for (size_t j = 0; j < n; j++)
        buf[j] = bf16_to_f32(h[j]);
    return buf;
}

VECTOR static void add_row(double *restrict c, const float *restrict x, size_t n)
{
#pragma omp simd
    for (size_t j = 0; j < n; j++)
        c[j] += (double)x[j];
}

/* c += x[0], then x[1], ... */
VECTOR static void add_four(double *restrict c, const float *const *x, size_t n)
{
    const float *restrict x0 = x[0], *restrict x1 = x[1], *restrict x2 = x[2], *restrict x3 = x[3];
#pragma omp simd
    for (size_t j = 0; j < n; j++)
        c[j] = (((c[j] + (double)x0[j]) + (double)x1[j]) + (double)x2[j]) + (double)x3[j];
}

VECTOR static void slide_row(double *restrict c, const float *restrict in, const float *restrict out, size_t n)
{
#pragma omp simd
    for (size_t j = 0; j < n; j++)
        c[j] += (double)in[j] - (double)out[j];
}

static double sum_f64(const double *x, size_t n)
{
    double a = 0;
    for (size_t j = 0; j < n; j++)
        a += x[j];
    return a;
}

static int check_view(const struct window_view *s, size_t h, size_t w, struct err *e)
{
    if (s->t != DT_F32 && s->t != DT_BF16)
        return err_set(e, ERR_INPUT, "scores are of type %s; F32 or BF16 is needed", dtype_name(s->t));
    if (!h || !w || h > s->rows || w > s->cols)
        return err_set(e, ERR_INPUT, "a window of %zu x %zu does not fit a matrix of %zu x %zu", h, w, s->rows,
                       s->cols);
    return 0;
}

static int not_finite(struct err *e)
{
    return err_set(e, ERR_INPUT, "the scores hold a value that is not finite");
}

/* ---- column sums of blocks of rows ---- */

struct blocks {
    const struct window_view *s;
    size_t row, rows, col, cols; /* the rectangle */
    double *sums;                /* one row of `cols` for each block of BLOCK rows */
    double *by_row;              /* row sums as well, indexed from row 0 of the matrix; or NULL */
};

static void block_sums(void *u, size_t b)
{
    struct blocks *k = u;
    double *c = k->sums + b * k->cols;
    size_t first = b * BLOCK, n = k->rows - first < BLOCK ? k->rows - first : BLOCK;
    memset(c, 0, k->cols * sizeof *c); /* zeros as they are, but a fresh page that is read first faults twice */
    float *buf = k->s->t == DT_F32 ? NULL : malloc(4 * k->cols * sizeof *buf);
    if (k->s->t != DT_F32 && !buf) {
        c[0] = NAN; /* seen by the caller as a sum that is not finite */
        return;
    }
    for (size_t i = 0, m; i < n; i += m) {
        const float *x[4];
        m = n - i < 4 ? n - i : 4;
        for (size_t q = 0; q < m; q++) {
            x[q] = row_at(k->s, k->row + first + i + q, k->col, k->cols, buf + (buf ? q * k->cols : 0));
            if (k->by_row)
                k->by_row[k->row + first + i + q] += convert_sum_row(x[q], k->cols);
        }
        if (m == 4)
            add_four(c, x, k->cols);
        for (size_t q = 0; q < m && m < 4; q++)
            add_row(c, x[q], k->cols);
    }
    free(buf);
}

static size_t block_count(size_t rows)
{
    return (rows + BLOCK - 1) / BLOCK;
}

int window_margins(const struct window_view *s, size_t row, size_t h, size_t col, size_t w, double *by_row,
                   double *by_col, struct err *e)
{
    if (check_view(s, h, w, e))
        return e->code;
    size_t n = block_count(h), bytes = n * w * sizeof(double);
    struct blocks k = {.s = s, .row = row, .rows = h, .col = col, .cols = w, .by_row = by_row};
    k.sums = big_alloc(bytes);
    if (!k.sums)
        return err_nomem(e, bytes, "column sums");
    par_for(n, block_sums, &k);
    for (size_t b = 1; b < n; b++)
        for (size_t j = 0; j < w; j++)
            k.sums[j] += k.sums[b * w + j];
    int rc = isfinite(sum_f64(k.sums, w)) ? 0 : not_finite(e);
    if (!rc && by_col)
        for (size_t j = 0; j < w; j++)
            by_col[col + j] += k.sums[j];
    big_free(k.sums, bytes);
    return rc;
}

struct rectangle {
    const struct window_view *s;
    size_t row, col, h, w;
    double *sums; /* of blocks of rows */
};

static void rectangle_block(void *u, size_t b)
{
    struct rectangle *r = u;
    size_t first = b * BLOCK, n = r->h - first < BLOCK ? r->h - first : BLOCK;
    float buf[512];
    double a = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < r->w; j += 512) {
            size_t m = r->w - j < 512 ? r->w - j : 512;
            a += convert_sum_row(row_at(r->s, r->row + first + i, r->col + j, m, buf), m);
        }
    r->sums[b] = a;
}

double window_sum(const struct window_view *s, size_t row, size_t col, size_t h, size_t w)
{
    double few[64];
    size_t n = block_count(h);
    struct rectangle r = {s, row, col, h, w, n <= 64 ? few : malloc(n * sizeof(double))};
    if (!r.sums) { /* no memory for the partial sums: one after the other, the same order of additions */
        double a = 0;
        for (size_t b = 0; b < n; b++) {
            size_t first = b * BLOCK, m = h - first < BLOCK ? h - first : BLOCK;
            double one;
            struct rectangle part = {s, row + first, col, m, w, &one};
            rectangle_block(&part, 0);
            a += one;
        }
        return a;
    }
    par_for(n, rectangle_block, &r);
    double a = sum_f64(r.sums, n);
    if (r.sums != few)
        free(r.sums);
    return a;
}

size_t window_run(const double *v, size_t n, size_t k, size_t step)
{
    double sum = sum_f64(v, k), best = sum;
    size_t at = 0;
    for (size_t i = 1; i + k <= n; i++) {
        sum += v[i + k - 1] - v[i - 1];
        if (i % step == 0 && sum > best) {
            best = sum;
            at = i;
        }
    }
    return at;
}

/* ---- the search ---- */

struct best {
    double sum;
    size_t row, col;
    int rc;
};

struct search {
    const struct window_view *s;
    size_t h, w;
    const double *sums; /* column sums of blocks of rows */
    struct best *best;  /* one a slab of BLOCK top rows */
};

/* Best window whose top row gave the column sums c. */
static void scan_columns(const double *c, size_t cols, size_t w, size_t row, struct best *b)
{
    double a[4] = {0};
    size_t j = 0;
    for (; j + 4 <= w; j += 4)
        for (int k = 0; k < 4; k++)
            a[k] += c[j + k];
    for (; j < w; j++)
        a[0] += c[j];
    double sum = (a[0] + a[1]) + (a[2] + a[3]);
    if (sum > b->sum)
        *b = (struct best){sum, row, 0, 0};
    for (j = 1; j + w <= cols; j++) {
        sum += c[j + w - 1] - c[j - 1];
        if (sum > b->sum)
            *b = (struct best){sum, row, j, 0};
    }
}

/* Column sums of the h rows from `first` on, a multiple of BLOCK. */
static void first_sums(const struct search *x, size_t first, double *c, float *buf)
{
    const struct window_view *s = x->s;
    size_t i = first;
    for (; i + BLOCK <= first + x->h; i += BLOCK)
        for (size_t j = 0; j < s->cols; j++)
            c[j] += x->sums[i / BLOCK * s->cols + j];
    for (; i < first + x->h; i++)
        add_row(c, row_at(s, i, 0, s->cols, buf), s->cols);
}

/* Top rows i .. i + SCAN_ROWS; c becomes that of the last. buf: 2 * SCAN_ROWS rows. */
static void scan_rows(const struct search *x, size_t i, double *c, double *lanes, float *buf, struct best *b)
{
    const struct window_view *s = x->s;
    const float *below[SCAN_ROWS - 1], *above[SCAN_ROWS - 1];
    double sum[SCAN_ROWS];
    size_t col[SCAN_ROWS];
    for (size_t k = 0; k + 1 < SCAN_ROWS; k++) {
        below[k] = row_at(s, i + k + x->h, 0, s->cols, buf + 2 * k * s->cols);
        above[k] = row_at(s, i + k, 0, s->cols, buf + (2 * k + 1) * s->cols);
    }
    window_scan(c, below, above, s->cols, x->w, lanes, sum, col);
    for (size_t k = 0; k < SCAN_ROWS; k++)
        if (sum[k] > b->sum)
            *b = (struct best){sum[k], i + k, col[k], 0};
}

static void search_slab(void *u, size_t k)
{
    const struct search *x = u;
    const struct window_view *s = x->s;
    size_t first = k * BLOCK, tops = s->rows - x->h + 1, end = tops - first < BLOCK ? tops : first + BLOCK;
    size_t room = s->cols * SCAN_ROWS * sizeof(double), step = window_scan_pays() ? SCAN_ROWS : 1;
    struct best *b = &x->best[k];
    *b = (struct best){-INFINITY, 0, 0, 0};
    double *c = calloc(s->cols, sizeof *c), *lanes = aligned_alloc(64, room);
    float *buf = malloc(2 * SCAN_ROWS * s->cols * sizeof *buf);
    if (!c || !lanes || !buf) {
        b->rc = ERR_NOMEM;
        goto out;
    }
    first_sums(x, first, c, buf);
    for (size_t i = first, n; i < end; i += n) {
        n = end - i < step ? 1 : step;
        if (n == SCAN_ROWS)
            scan_rows(x, i, c, lanes, buf, b);
        else
            scan_columns(c, s->cols, x->w, i, b);
        if (i + n < end)
            slide_row(c, row_at(s, i + n - 1 + x->h, 0, s->cols, buf), row_at(s, i + n - 1, 0, s->cols, buf + s->cols), s->cols);
    }
out:
    free(c);
    free(lanes);
    free(buf);
}

int window_best(const struct window_view *s, size_t h, size_t w, struct window *out, struct err *e)
{
    if (check_view(s, h, w, e))
        return e->code;
    size_t n = block_count(s->rows), slabs = block_count(s->rows - h + 1), bytes = n * s->cols * sizeof(double);
    int rc = 0;
    struct blocks k = {.s = s, .rows = s->rows, .cols = s->cols};
    struct search x = {s, h, w, NULL, calloc(slabs, sizeof *x.best)};
    k.sums = big_alloc(bytes);
    if (!k.sums || !x.best) {
        rc = err_nomem(e, bytes, "column sums");
        goto out;
    }
    par_for(n, block_sums, &k);
    x.sums = k.sums;
    double total = sum_f64(k.sums, n * s->cols);
    if (!isfinite(total)) {
        rc = not_finite(e);
        goto out;
    }
    par_for(slabs, search_slab, &x);
    struct best b = x.best[0];
    for (size_t i = 0; i < slabs; i++) {
        if (x.best[i].rc)
            rc = err_nomem(e, s->cols * 16, "a row of column sums");
        if (x.best[i].sum > b.sum)
            b = x.best[i];
    }
    *out = (struct window){b.row, b.col, h, w, window_sum(s, b.row, b.col, h, w), total};
out:
    big_free(k.sums, bytes);
    free(x.best);
    return rc;
}

int window_best_ref(const struct window_view *s, size_t h, size_t w, struct window *out, struct err *e)
{
    if (check_view(s, h, w, e))
        return e->code;
    *out = (struct window){.rows = h, .cols = w, .sum = -INFINITY};
    for (size_t i = 0; i < s->rows; i++)
        for (size_t j = 0; j < s->cols; j++) {
            float x;
            out->total += *row_at(s, i, j, 1, &x);
            if (i + h > s->rows || j + w > s->cols)
                continue;
            double sum = 0;
            for (size_t a = 0; a < h; a++)
                for (size_t b = 0; b < w; b++)
                    sum += *row_at(s, i + a, j + b, 1, &x);
            if (sum > out->sum) {
                out->sum = sum;
                out->row = i;
                out->col = j;
            }
        }
    return isfinite(out->total) ? 0 : not_finite(e);
}

/* ---- the published arithmetic ---- */

/* Both corners of a window that spans the whole other axis: t[i] is the table's last column (or row), t[0] = 0. */
static size_t reference_run(const float *t, size_t n, size_t k)
{
    float best = -INFINITY;
    size_t at = 0;
    for (size_t i = 0; i + k <= n; i++) {
        float v = t[i + k] - t[i];
        if (v > best) {
            best = v;
            at = i;
        }
    }
    return at;
}

/* Last column of the transposed matrix's table (n = s->cols entries after t[0]): acc is a column of the first pass. */
static void last_column_transposed(const struct window_view *s, double *sums, float *buf, float *t)
{
    for (size_t v = 0; v < s->rows; v++) {
        const float *x = row_at(s, v, 0, s->cols, buf);
        double acc = 0;
        for (size_t i = 0; i < s->cols; i++) {
            acc += (double)x[i];
            sums[i] += (double)(float)acc;
        }
    }
    for (size_t i = 0; i < s->cols; i++)
        t[i + 1] = (float)sums[i];
}

static void last_row(const struct window_view *s, double *sums, float *buf, float *t)
{
    for (size_t i = 0; i < s->rows; i++)
        add_row(sums, row_at(s, i, 0, s->cols, buf), s->cols);
    double acc = 0;
    for (size_t j = 0; j < s->cols; j++)
        t[j + 1] = (float)(acc += (double)(float)sums[j]);
}

static void last_column(const struct window_view *s, double *sums, float *buf, float *t)
{
    for (size_t i = 0; i < s->rows; i++) {
        add_row(sums, row_at(s, i, 0, s->cols, buf), s->cols);
        double acc = 0;
        for (size_t j = 0; j < s->cols; j++)
            acc += (double)(float)sums[j];
        t[i + 1] = (float)acc;
    }
}

/* table: (rows + 1) x (cols + 1), zeroed. */
static void full_table(const struct window_view *s, double *sums, float *buf, float *table)
{
    for (size_t i = 0; i < s->rows; i++) {
        add_row(sums, row_at(s, i, 0, s->cols, buf), s->cols);
        float *t = table + (i + 1) * (s->cols + 1) + 1;
        double acc = 0;
        for (size_t j = 0; j < s->cols; j++)
            t[j] = (float)(acc += (double)(float)sums[j]);
    }
}

static void table_best(const float *table, size_t rows, size_t cols, size_t h, size_t w, struct window *out)
{
    float best = -INFINITY;
    size_t ld = cols + 1;
    for (size_t i = h; i <= rows; i++) {
        const float *t = table + i * ld, *up = table + (i - h) * ld;
        for (size_t j = w; j <= cols; j++) {
            float v = ((t[j] - up[j]) - t[j - w]) + up[j - w];
            if (v > best) {
                best = v;
                out->row = i - h;
                out->col = j - w;
            }
        }
    }
}

int window_reference(const struct window_view *s, bool transposed, size_t h, size_t w, struct window *out,
                     struct err *e)
{
    if (check_view(s, transposed ? w : h, transposed ? h : w, e))
        return e->code;
    if (transposed && w != s->rows)
        return err_set(e, ERR_INTERNAL, "a transposed search of %zu x %zu in %zu x %zu must span all rows", h, w,
                       s->cols, s->rows);
    bool full = !transposed && h != s->rows && w != s->cols;
    size_t n = s->rows > s->cols ? s->rows : s->cols, cells = full ? (s->rows + 1) * (s->cols + 1) : n + 1;
    double *sums = calloc(s->cols, sizeof *sums);
    float *buf = malloc(s->cols * sizeof *buf), *t = big_alloc(cells * sizeof *t);
    int rc = 0;
    *out = (struct window){.rows = h, .cols = w};
    if (!sums || !buf || !t) {
        rc = err_nomem(e, cells * sizeof *t, "the summed-area table");
        goto out;
    }
    if (transposed) {
        last_column_transposed(s, sums, buf, t);
        out->row = reference_run(t, s->cols, h);
    } else if (h == s->rows) {
        last_row(s, sums, buf, t);
        out->col = reference_run(t, s->cols, w);
    } else if (w == s->cols) {
        last_column(s, sums, buf, t);
        out->row = reference_run(t, s->rows, h);
    } else {
        full_table(s, sums, buf, t);
        table_best(t, s->rows, s->cols, h, w, out);
    }
    if (transposed)
        out->sum = window_sum(s, 0, out->row, w, h);
    else
        out->sum = window_sum(s, out->row, out->col, h, w);
    out->total = window_sum(s, 0, 0, s->rows, s->cols);
    if (!isfinite(out->total))
        rc = not_finite(e);
out:
    free(sums);
    free(buf);
    big_free(t, cells * sizeof *t);
    return rc;
}
