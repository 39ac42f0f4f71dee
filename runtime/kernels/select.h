/* SPDX-License-Identifier: MIT
 *
 * select: the k largest of many, ties to the lower index (method.md 2 and 3). Small arrays are sorted; for the single
 * weights of a matrix a threshold is found from two histograms of the floats' bits, and the caller walks the matrix
 * once more in its own order. NaN is refused.
 */
#ifndef PKG_KERNELS_SELECT_H
#define PKG_KERNELS_SELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "runtime/base/dtype.h"
#include "runtime/base/err.h"

/* out (k) = indices of the k largest of v (n), ascending; among equals the lower index. k <= n. smallest: of the k
 * smallest. */
int select_top(const double *v, size_t n, size_t k, bool smallest, size_t *out, struct err *e);

/* Where the k largest of a matrix end: everything above `key`, and the first `ties` of those equal to it. */
struct select_cut {
    uint32_t key;
    size_t ties;
};
/* x: rows of `cols` elements (F32 or BF16), ld apart. 1 <= k <= rows * cols. */
int select_cut(const void *x, enum dtype t, size_t rows, size_t cols, size_t ld, size_t k, struct select_cut *out,
               struct err *e);

/* Order-preserving bits of a float; -0 counts as 0. */
static inline uint32_t select_key(float f)
{
    uint32_t u;
    f += 0.0f;
    memcpy(&u, &f, 4);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

/* Is the element with this key, next in the walk, one of the k? Counts ties down in *cut. */
static inline bool select_takes(struct select_cut *cut, float f)
{
    uint32_t k = select_key(f);
    if (k != cut->key)
        return k > cut->key;
    return cut->ties && cut->ties--;
}

#endif
