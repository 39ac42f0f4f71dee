/* SPDX-License-Identifier: MIT
 *
 * decode: one step of a few sequences, one token each (private to runtime/model). The same arithmetic as layer_forward over
 * the same buffers of a run, with products that read the weights as they lie (kernels/thin.h) and as few parallel loops as
 * possible: a step of one sequence is bound by the memory.
 */
#ifndef PKG_MODEL_DECODE_H
#define PKG_MODEL_DECODE_H

#include "runtime/model/run.h"

/* r->T rows (at most THIN_ROWS), r->b->ids, r->pos; r->kv attends. Leaves the last residual in r->x. Where the processor
 * lacks the instructions this is run_forward. */
int decode_forward(struct run *r, struct err *e);
/* logits (n, V) of the residuals x (n, d), n at most THIN_ROWS and the run's N. */
int decode_logits(struct run *r, const float *x, size_t n, float *logits, struct err *e);

#endif
