/* SPDX-License-Identifier: MIT
 *
 * dropout: counter-based. Element i is kept exactly when u(seed, stream, base + i) >= p, where u in [0, 1) has 32 bits and
 * comes from a hash of the three numbers alone (two rounds of a 32-bit multiply-xorshift mix, keyed); kept elements are
 * scaled by 1 / (1 - p). The backward pass calls it again with the same numbers instead of storing a mask. The mask does
 * not depend on threads, slabs or machine. Not for cryptography.
 */
#ifndef PKG_KERNELS_DROPOUT_H
#define PKG_KERNELS_DROPOUT_H

#include <stddef.h>
#include <stdint.h>

/* y (n) = mask * x / (1 - p); y may be x. p in [0, 1); p = 0 copies. stream tells layers and modules apart, base is the
 * index of x[0] in the stream. */
void dropout_apply(float *y, const float *x, size_t n, double p, uint64_t seed, uint64_t stream, uint64_t base);
void dropout_apply_ref(float *y, const float *x, size_t n, double p, uint64_t seed, uint64_t stream, uint64_t base);

#endif
