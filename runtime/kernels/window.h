/* SPDX-License-Identifier: MIT
 *
 * window: the search for the contiguous window of a score matrix with the largest sum (method.md 3), and the sums of
 * rows, columns and rectangles that the other structures of dim-align need.
 *
 * The default search adds in f64: sums of 128 rows at a time first, then column sums that slide down and row sums that
 * slide right, so that no summed-area table is kept. The reference search is the published arithmetic, tables rounded
 * to f32. Both take the first maximum in row-major order. Work is cut into slabs of fixed size: the same result
 * whatever the number of threads. Matrices are F32 or BF16; a value that is not finite is ERR_INPUT.
 */
#ifndef PKG_KERNELS_WINDOW_H
#define PKG_KERNELS_WINDOW_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/dtype.h"
#include "runtime/base/err.h"

/* A matrix of scores, row-major; ld in elements. */
struct window_view {
    const void *data;
    enum dtype t; /* DT_F32 or DT_BF16 */
    size_t rows, cols, ld;
};

struct window {
    size_t row, col, rows, cols;
    double sum;   /* of the scores inside, f64 */
    double total; /* of the whole matrix */
};

/* The best h x w window, 1 <= h <= rows, 1 <= w <= cols; else ERR_INPUT with both shapes. */
int window_best(const struct window_view *s, size_t h, size_t w, struct window *out, struct err *e);

/* The same by trying every window and adding all its elements; slow. */
int window_best_ref(const struct window_view *s, size_t h, size_t w, struct window *out, struct err *e);

/* The published arithmetic: cumulative sums down the rows, then along the columns, each pass accumulated in double and
 * rounded to f32 per element; ((T[i,j] - T[i-h,j]) - T[i,j-w]) + T[i-h,j-w] in f32. transposed: the matrix that is
 * searched is the transpose of s, and h, w and the window in *out are in the transposed view, row-major there; this
 * form asks for w == s->rows (embeddings, whose vocabulary is never cut). Keeps a table of the matrix's size unless the
 * window spans all rows or all columns. sum and total are the f64 sums, as in window_best. */
int window_reference(const struct window_view *s, bool transposed, size_t h, size_t w, struct window *out,
                     struct err *e);

/* f64 sum of a rectangle. */
double window_sum(const struct window_view *s, size_t row, size_t col, size_t h, size_t w);

/* Adds the row sums of columns col .. col + w to by_row (rows), and the column sums of rows row .. row + h to by_col
 * (cols); either may be NULL. ERR_NOMEM; ERR_INPUT when a sum is not finite. */
int window_margins(const struct window_view *s, size_t row, size_t h, size_t col, size_t w, double *by_row,
                   double *by_col, struct err *e);

/* Start of the run of k of n values with the largest sum, among multiples of step; the first of equals. k <= n. */
size_t window_run(const double *v, size_t n, size_t k, size_t step);

#endif
