/* SPDX-License-Identifier: MIT
 *
 * adamw: AdamW (Loshchilov and Hutter, arXiv 1711.05101) as method.md 5 has it, f32 state:
 *   p <- p (1 - lr*wd);  m <- b1 m + (1-b1) g;  v <- b2 v + (1-b2) g^2;
 *   p <- p - lr / (1-b1^step) * m / (sqrt(v) / sqrt(1-b2^step) + eps),   with g = grad_scale * gradient.
 * step counts from 1. Parallel; bytes do not depend on threads.
 */
#ifndef PKG_KERNELS_ADAMW_H
#define PKG_KERNELS_ADAMW_H

#include <stddef.h>
#include <stdint.h>

/* p, m, v (n) updated in place; g (n) is read only; grad_scale is the clip factor (1: none). */
void adamw_step(float *p, const float *g, float *m, float *v, size_t n, double lr, double beta1, double beta2, double eps,
                double weight_decay, int64_t step, double grad_scale);
void adamw_step_ref(float *p, const float *g, float *m, float *v, size_t n, double lr, double beta1, double beta2, double eps,
                    double weight_decay, int64_t step, double grad_scale);

/* sum of g[i]^2 in f64, blocks of fixed size added in ascending order. */
double grad_sumsq(const float *g, size_t n);
double grad_sumsq_ref(const float *g, size_t n);

#endif
