/* SPDX-License-Identifier: MIT
 *
 * swiglu: the gated activation of llama's feed-forward (Shazeer, arXiv 2002.05202), elementwise, f32, n elements:
 *   y = silu(gate) * up,  silu(g) = g * s,  s = 1 / (1 + exp(-g))
 *   dgate = dy * up * s * (1 + g * (1 - s)),  dup = dy * g * s
 * exp is ours (vmath.h): relative error below 1e-7. Parallel; bytes do not depend on threads.
 */
#ifndef PKG_KERNELS_SWIGLU_H
#define PKG_KERNELS_SWIGLU_H

#include <stddef.h>

void swiglu_forward(float *y, const float *gate, const float *up, size_t n); /* y may be gate or up */
void swiglu_forward_ref(float *y, const float *gate, const float *up, size_t n);

/* Overwrites dgate and dup, each of which may be dy, gate or up (the same element is read before it is written). */
void swiglu_backward(float *dgate, float *dup, const float *dy, const float *gate, const float *up, size_t n);
void swiglu_backward_ref(float *dgate, float *dup, const float *dy, const float *gate, const float *up, size_t n);

#endif
