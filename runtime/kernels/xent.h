/* SPDX-License-Identifier: MIT
 *
 * xent: softmax cross entropy over the vocabulary (method.md 8). logits (n, V) f32 with row stride ld; target[i] in
 * [0, V), checked by the caller; loss[i] = log sum_j exp(z_j - max) - (z_target - max), in nats, unweighted.
 * exp is f32 (vmath.h), sums are f64 over fixed groups; parallel over rows; bytes do not depend on threads.
 */
#ifndef PKG_KERNELS_XENT_H
#define PKG_KERNELS_XENT_H

#include <stddef.h>
#include <stdint.h>

/* In place: logits[i] becomes (softmax(z_i) - onehot(target[i])) * weight[i]; weight NULL: 1. loss (n), may be NULL. */
void xent_rows(float *logits, size_t n, size_t V, size_t ld, const int32_t *target, const float *weight, double *loss);
void xent_rows_ref(float *logits, size_t n, size_t V, size_t ld, const int32_t *target, const float *weight, double *loss);

/* The loss alone; logits stay. */
void xent_loss(const float *logits, size_t n, size_t V, size_t ld, const int32_t *target, double *loss);
void xent_loss_ref(const float *logits, size_t n, size_t V, size_t ld, const int32_t *target, double *loss);

#endif
