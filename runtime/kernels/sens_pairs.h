/* SPDX-License-Identifier: MIT
 *
 * sens_pairs: sens_fold for bf16 dY and X by way of pairs.h; private to this room.
 */
#ifndef PKG_KERNELS_SENS_PAIRS_H
#define PKG_KERNELS_SENS_PAIRS_H

#include "runtime/kernels/sens.h"

/* The arguments of sens_fold. */
struct sens_call {
    const struct sens_out *out;
    const void *W;
    enum dtype wt;
    const uint16_t *dy, *x;
    size_t ldw, ldy, ldx, rows, in;
    int n_seqs;
    const int32_t *cu;
};

/* Where pairs_pay. X is laid out whole (SCRATCH_CALL), dY for some rows at a time. */
int sens_pairs(const struct sens_call *call, struct err *e);

#endif
