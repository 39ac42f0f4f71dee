/* SPDX-License-Identifier: MIT
 *
 * decode: the forward pass of generation (private to runtime/model): one step of a few sequences, one token each, and prompts. The
 * same arithmetic as layer_forward over the same buffers of a run, in fewer parallel loops. Weights that lie in panels
 * (gemm_packed_joins) serve any number of rows; else a few rows go to products that read the weights as they lie (kernels/thin.h),
 * and many take the ordinary pass. A step of one sequence is bound by the memory.
 */
#ifndef PKG_MODEL_DECODE_H
#define PKG_MODEL_DECODE_H

#include "runtime/model/run.h"

/* Matrices copied to memory of large pages: a mapped file has small ones, which cost a fifth of the time of one sequence. */
struct decode_copy {
    char *p;
    size_t bytes;
    const void **w;    /* (L * MOD_LINEARS) */
    const void *head;
};
int decode_copy_new(const struct weights *w, struct decode_copy *out, struct err *e);
void decode_copy_release(struct decode_copy *c);

/* r->T rows, r->b, r->pos; r->kv as in a pass. Leaves the last residual in r->x. copy: NULL, and released ones, are not used. */
int decode_forward(struct run *r, const struct decode_copy *copy, struct err *e);
/* logits (n, V) of the residuals x (n, d), n at most the run's N. */
int decode_logits(struct run *r, const struct decode_copy *copy, const float *x, size_t n, float *logits, struct err *e);

#endif
