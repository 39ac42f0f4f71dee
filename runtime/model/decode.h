/* SPDX-License-Identifier: MIT
 *
 * decode: one step of a few sequences, one token each (private to runtime/model). The same arithmetic as layer_forward over
 * the same buffers of a run, with products that read the weights as they lie (kernels/thin.h) and as few parallel loops as
 * possible: a step of one sequence is bound by the memory.
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

/* r->T rows (at most THIN_ROWS), r->b->ids, r->pos; r->kv attends. Leaves the last residual in r->x. Where the processor
 * lacks the instructions this is run_forward. copy: released ones are all NULL, and not used. */
int decode_forward(struct run *r, const struct decode_copy *copy, struct err *e);
/* logits (n, V) of the residuals x (n, d), n at most THIN_ROWS and the run's N. */
int decode_logits(struct run *r, const struct decode_copy *copy, const float *x, size_t n, float *logits, struct err *e);

#endif
