/* SPDX-License-Identifier: MIT
 *
 * distill: cross entropy over the vocabulary with soft targets (Hinton et al., arXiv 1503.02531). Of a teacher's distribution the k
 * most probable tokens are known; at temperature T it is taken over these alone,
 *   p_j = softmax_j(log P_j / T),   q = softmax(z / T) over the whole vocabulary,
 *   loss = (1 - w) * CE(z, target) + w * T^2 * sum_j p_j (log p_j - log q_j)
 *   d loss / d z = (1 - w) (softmax(z) - onehot(target)) + w T (q - p)
 * With k = V and T = 1 this is the divergence of the two distributions. exp is f32 (vmath.h), sums f64 over fixed groups;
 * parallel over rows; bytes do not depend on threads.
 */
#ifndef PKG_KERNELS_DISTILL_H
#define PKG_KERNELS_DISTILL_H

#include <stddef.h>
#include <stdint.h>

struct soft_targets {
    size_t k;           /* tokens a row, >= 1 */
    const int32_t *id;  /* (rows, k) all different within a row, in [0, V) */
    const float *logp;  /* (rows, k) the teacher's log-probabilities over its whole vocabulary */
    double temperature; /* T > 0 */
    double weight;      /* w in [0, 1] */
};

/* In place: logits (n, V), row stride ld, become the gradient times weight[i] (NULL: 1); loss (n). Row i has the soft targets row[i]. */
void distill_rows(float *logits, size_t n, size_t V, size_t ld, const struct soft_targets *s, const uint32_t *row, const int32_t *target,
                  const float *weight, double *loss);
void distill_rows_ref(float *logits, size_t n, size_t V, size_t ld, const struct soft_targets *s, const uint32_t *row, const int32_t *target,
                      const float *weight, double *loss);

/* The k largest among the first `ids` of each row of logits (n, V) as log-probabilities over all V, descending (equals: the lower id
 * first): id, logp (n, k). k <= ids <= V. */
void top_logprobs(const float *logits, size_t n, size_t V, size_t ids, size_t k, int32_t *id, float *logp);

#endif
