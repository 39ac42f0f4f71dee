/* SPDX-License-Identifier: MIT
 *
 * norm: RMSNorm (Zhang and Sennrich, arXiv 1910.07467; method.md 8). All f32, row-major, T tokens of width d:
 *   y[t][j] = w[j] * xhat[t][j],  xhat[t][j] = x[t][j] * rstd[t],  rstd[t] = 1 / sqrt(mean_j x[t][j]^2 + eps)
 * The gradient of w is sum_t dy[t][j] * xhat[t][j]: it is the caller's (per sequence, or summed), with rmsnorm_xhat.
 * Sums over a row are f32 partial sums, one a vector lane, in a fixed order on one machine class; parallel over rows.
 */
#ifndef PKG_KERNELS_NORM_H
#define PKG_KERNELS_NORM_H

#include <stddef.h>

/* y, x (T, d); w (d); rstd (T), may be NULL. y may be x. */
void rmsnorm_forward(float *y, float *rstd, const float *x, const float *w, double eps, size_t T, size_t d);
void rmsnorm_forward_ref(float *y, float *rstd, const float *x, const float *w, double eps, size_t T, size_t d);

/* dx (T, d) += rstd * (w*dy - xhat * mean_j(w*dy*xhat)); dy, x (T, d); rstd (T) from the forward pass. */
void rmsnorm_backward(float *dx, const float *dy, const float *x, const float *w, const float *rstd, size_t T, size_t d);
void rmsnorm_backward_ref(float *dx, const float *dy, const float *x, const float *w, const float *rstd, size_t T, size_t d);

/* xhat (T, d) = x * rstd; xhat may be x. */
void rmsnorm_xhat(float *xhat, const float *x, const float *rstd, size_t T, size_t d);

#endif
