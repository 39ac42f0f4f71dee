/* SPDX-License-Identifier: MIT
 *
 * fold: S (+)= | W * G |, elementwise, for a row of scores; private to this room.
 */
#ifndef PKG_KERNELS_FOLD_H
#define PKG_KERNELS_FOLD_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/dtype.h"

enum { FOLD_WIDE = 32 };

/* n elements; W in type wt (F32, BF16 or F16). G lies in pieces of FOLD_WIDE, `next` elements from one to the next (FOLD_WIDE: without
 * gaps). fresh: S = instead of S +=. */
void fold_row(float *S, const void *W, enum dtype wt, const float *G, size_t next, size_t n, bool fresh);

#endif
