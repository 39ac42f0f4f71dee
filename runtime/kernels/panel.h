/* SPDX-License-Identifier: MIT
 *
 * panel: bf16 products with weights that were laid out once, on processors with AVX-512 BF16, from one row to thousands:
 * y (m, n) (+)= x (m, k) W (n, k)^T + bias. Private to this room but for panel_part; see gemm_pack.
 *
 * W lies in panels of PANEL_ROWS rows, in each pairs of k for all of its rows side by side: [n / 32][k / 2][32][2], zeros fill the last
 * panel. So a vector of W meets one pair of x at a time, sums of 16 elements of y grow in a register each, and nothing is summed
 * across lanes. Every element of y is the sum over k in ascending order, whatever m, the other rows and the number of threads:
 * a sequence gets the same bytes alone and in a batch.
 */
#ifndef PKG_KERNELS_PANEL_H
#define PKG_KERNELS_PANEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PANEL_ROWS = 32 };

/* The processor has the instructions, and no tile units (which are faster another way); k is even. */
bool panel_pays(size_t k);
size_t panel_bytes(size_t n, size_t k); /* of a laid out W */
/* w (n, k) with row stride k, to out (64-byte aligned), on all threads. */
void panel_pack(const uint16_t *w, size_t n, size_t k, uint16_t *out);

struct panel_job {
    const uint16_t *w; /* laid out */
    size_t n;
    const float *bias; /* (n); NULL: none */
    bool accumulate;   /* y += */
    float *y;          /* (m, n), row stride ldy */
    size_t ldy;
    const uint16_t *up; /* laid out like w; NULL: none. Then y is not written, but half = silu(x W^T) * (x up^T) */
    uint16_t *half;     /* (m, n) bf16, row stride n */
};
/* x (m, k) bf16, row stride ldx. Several W with the same x in one parallel loop. */
void panel_nt(size_t m, size_t k, const uint16_t *x, size_t ldx, const struct panel_job *jobs, size_t n_jobs);

#endif
