/* SPDX-License-Identifier: MIT
 *
 * sens: the sensitivity score of one linear weight (method.md 1): S (rows, in) += sum_s | W * (dY_s^T X_s) |, elementwise,
 * the absolute value taken per sequence before the sum. dY (n, rows), X (n, in) in type t, row strides ldy, ldx; seq_cu
 * (n_seqs + 1) cuts the n rows into sequences, seq_cu[0] is the first row (usually 0). The gradient of a sequence exists
 * only as a block in cache or in registers: one small product, then |W * G| is added to S; S is read and written once. Sequences are added
 * in ascending order, so that bytes do not depend on threads.
 */
#ifndef PKG_KERNELS_SENS_H
#define PKG_KERNELS_SENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/dtype.h"
#include "runtime/base/err.h"

/* Where the scores go. fresh: S = instead of S +=, what it held is not read. done (may be NULL): S, row stride lds, holds rows
 * [row, row + n), which have got everything that this call gives; on any thread of the team, each range once, while others are under
 * way; an error it returns ends the call. S NULL: the rows exist only until done has seen them (fresh, no more than some MB at a time). */
struct sens_out {
    float *S;
    size_t lds;
    bool fresh;
    int (*done)(void *u, size_t row, size_t n, const float *S, size_t lds, struct err *e);
    void *u;
};

/* W (rows, in) in type wt (F32, BF16 or F16), row stride ldw; t is F32 or BF16. Empty sequences are fine.
 * ERR_NOMEM, ERR_INTERNAL. */
int sens_fold(const struct sens_out *out, const void *W, enum dtype wt, size_t ldw, const void *dy, size_t ldy, const void *x, size_t ldx,
              enum dtype t, size_t rows, size_t in, int n_seqs, const int32_t *seq_cu, struct err *e);
/* Bytes of scratch that sens_fold keeps on the calling thread and its team (n_threads) for so many tokens in at most n_seqs
 * sequences. */
uint64_t sens_memory(enum dtype t, size_t tokens, size_t n_seqs, size_t rows, size_t in, int n_threads);
/* sens_fold into S += alone. */
int sens_accumulate(float *S, size_t lds, const void *W, enum dtype wt, size_t ldw, const void *dy, size_t ldy, const void *x,
                    size_t ldx, enum dtype t, size_t rows, size_t in, int n_seqs, const int32_t *seq_cu, struct err *e);
int sens_accumulate_ref(float *S, size_t lds, const void *W, enum dtype wt, size_t ldw, const void *dy, size_t ldy,
                        const void *x, size_t ldx, enum dtype t, size_t rows, size_t in, int n_seqs, const int32_t *seq_cu,
                        struct err *e);

#endif
