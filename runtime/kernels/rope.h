/* SPDX-License-Identifier: MIT
 *
 * rope: rotary position embedding, half-split (method.md 8; Su et al., arXiv 2104.09864; layout as in Hugging Face's
 * llama): with i < head_dim / 2 and angle a = position * freq[i],
 *   (x1, x2) = (x[i], x[i + head_dim/2]) -> (x1 cos a - x2 sin a, x2 cos a + x1 sin a)
 * freq[i] = theta^(-2i / head_dim) in f32; `linear` divides it by factor; `llama3` divides the long waves by factor, leaves
 * the short ones and blends between (wave lengths original_max / high .. original_max / low). The table holds cos and sin
 * of every position, f32; immutable, any thread. Backward is the inverse rotation.
 */
#ifndef PKG_KERNELS_ROPE_H
#define PKG_KERNELS_ROPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"

struct rope;

/* type: enum rope_type of runtime/model/config.h by value (0 default, 1 linear, 2 llama3). head_dim is even, positions is
 * one more than the largest position that will be asked for. ERR_INPUT for sizes that make no sense, ERR_NOMEM. */
int rope_new(int head_dim, double theta, int type, double factor, double low, double high, double original_max,
             size_t positions, struct rope **out, struct err *e);
void rope_free(struct rope *r); /* NULL is fine */
size_t rope_positions(const struct rope *r);

/* In place: x (T, heads * head_dim), row stride ld; pos (T), each below rope_positions. inverse: backward. */
void rope_apply(const struct rope *r, float *x, size_t ld, size_t T, size_t heads, const int32_t *pos, bool inverse);
void rope_apply_ref(const struct rope *r, float *x, size_t ld, size_t T, size_t heads, const int32_t *pos, bool inverse);

#endif
