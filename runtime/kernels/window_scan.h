/* SPDX-License-Identifier: MIT
 *
 * window_scan: the inner loops of the window search on a processor with AVX-512, eight top rows at a time; private to this room. Every
 * top row gets the sums of the plain loops, bit for bit: a lane each.
 */
#ifndef PKG_KERNELS_WINDOW_SCAN_H
#define PKG_KERNELS_WINDOW_SCAN_H

#include <stdbool.h>
#include <stddef.h>

enum { SCAN_ROWS = 8 };

bool window_scan_pays(void);

/* c (cols): the column sums of the first top row; of the last one afterwards. below, above (SCAN_ROWS - 1): the rows that the next
 * top row gains and loses. lanes (cols, SCAN_ROWS), 64-byte aligned: work. sum and col get the best window of w columns of each top row, the
 * first of equals. */
void window_scan(double *c, const float *const *below, const float *const *above, size_t cols, size_t w, double *lanes, double sum[SCAN_ROWS],
                 size_t col[SCAN_ROWS]);

#endif
