/* SPDX-License-Identifier: MIT
 *
 * scratch: buffers of the calling thread, private to this room. A slot grows to the largest size asked for and is freed
 * when the thread ends; its content is undefined at every call. Each slot has one user at a time on a thread: a kernel
 * that runs the loop holds SCRATCH_CALL and SCRATCH_ROWS, its item SCRATCH_ITEM, the products that it calls use the others.
 * first_err: the first failure among the items of a parallel loop.
 */
#ifndef PKG_KERNELS_SCRATCH_H
#define PKG_KERNELS_SCRATCH_H

#include <stddef.h>

#include "runtime/base/err.h"

enum scratch_slot { SCRATCH_CALL, SCRATCH_ROWS, SCRATCH_ITEM, SCRATCH_TILE, SCRATCH_LIB, SCRATCH_CONVERT, SCRATCH_SLOTS };

/* 64-byte aligned, at least `bytes` (never NULL for 0); NULL only when memory is refused, with e filled. */
void *scratch_get(enum scratch_slot slot, size_t bytes, struct err *e);

struct first_err {
    int taken, code;
    struct err e;
};
void first_err_put(struct first_err *f, const struct err *e); /* any thread */
int first_err_get(const struct first_err *f, struct err *e);  /* after the loop: 0, or the code with e filled */

#endif
