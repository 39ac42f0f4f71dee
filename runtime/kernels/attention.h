/* SPDX-License-Identifier: MIT
 *
 * attention: causal self-attention over a packed batch, grouped-query (method.md 8). T = cu[n_seqs] tokens; sequence s
 * is tokens cu[s] .. cu[s+1]; a query sees the keys of its own sequence up to itself. hd = head_dim, G = heads / kv_heads
 * consecutive query heads share a key/value head. All f32, rows without gaps:
 *   out[t][h] = sum_u softmax_u(q[t][h] . k[u][h / G] / sqrt(hd)) v[u][h / G]
 *   lse[t][h] = log sum_u exp(q . k / sqrt(hd))   (kept instead of the scores: Dao et al., arXiv 2205.14135)
 * Scores exist for a block of queries at a time: memory beyond the tensors is O(block * longest sequence) a worker, and in
 * the backward pass one copy of dk and dv a query head. Softmax is f32. `compute` BF16 lets the products take bf16 inputs
 * where the hardware has it (softmax and sums stay f32). Every output element is written by one item, and sums run in one
 * order, so that bytes do not depend on threads. Empty sequences are fine.
 * Errors: ERR_NOMEM, ERR_INTERNAL (a library's refusal).
 */
#ifndef PKG_KERNELS_ATTENTION_H
#define PKG_KERNELS_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/dtype.h"
#include "runtime/base/err.h"

/* q, out (T, heads * hd); k, v (T, kv_heads * hd); lse (T, heads), may be NULL. */
int attention_forward(float *out, float *lse, const float *q, const float *k, const float *v, const int32_t *cu, int n_seqs,
                      int heads, int kv_heads, int head_dim, enum dtype compute, struct err *e);
void attention_forward_ref(float *out, float *lse, const float *q, const float *k, const float *v, const int32_t *cu,
                           int n_seqs, int heads, int kv_heads, int head_dim);

/* Overwrites dq (T, heads * hd), dk, dv (T, kv_heads * hd); out and lse are the forward pass's. */
int attention_backward(float *dq, float *dk, float *dv, const float *dout, const float *out, const float *q, const float *k,
                       const float *v, const float *lse, const int32_t *cu, int n_seqs, int heads, int kv_heads,
                       int head_dim, enum dtype compute, struct err *e);
void attention_backward_ref(float *dq, float *dk, float *dv, const float *dout, const float *q, const float *k,
                            const float *v, const int32_t *cu, int n_seqs, int heads, int kv_heads, int head_dim);

/* One query token a sequence: q, out (n_seqs, heads * hd); kcache[s], vcache[s] (len[s], kv_heads * hd), the query's own
 * key among them; len[s] >= 1. A sequence's result does not depend on its neighbours. */
int attention_decode(float *out, const float *q, const float *const *kcache, const float *const *vcache,
                     const int32_t *len, int n_seqs, int heads, int kv_heads, int head_dim, struct err *e);
void attention_decode_ref(float *out, const float *q, const float *const *kcache, const float *const *vcache,
                          const int32_t *len, int n_seqs, int heads, int kv_heads, int head_dim);

/* The last tokens of sequences against all that lies in their caches: queries cu[s] .. cu[s+1] of q (T, heads * hd) are the
 * last of the len[s] positions of kcache[s], vcache[s] (len[s], kv_heads * hd), which are of type t: F32, or BF16 where
 * attention_cached_has says so. One query each is decoding; more are a prompt behind a front that is known. */
bool attention_cached_has(enum dtype t, int head_dim);
int attention_cached(float *out, const float *q, const int32_t *cu, int n_seqs, const void *const *kcache, const void *const *vcache,
                     const int32_t *len, enum dtype t, int heads, int kv_heads, int head_dim, struct err *e);

#endif
