/* SPDX-License-Identifier: MIT
 *
 * scores: the gradient sink of sensitivity (method.md 1): S = sum over sequences of |W * dL_s/dW|, elementwise, the
 * absolute value taken per sequence. Gradients are folded the moment they come and exist only as blocks in cache; of
 * the scores some rows are in memory at a time (one layer when the pass cuts the batch into parts; lm_head's while lm_head
 * passes in several chunks): rows that are finished are added up and written to their place in the file while others are computed.
 *
 * Tied embeddings: one parameter with two gradients, dense from lm_head and sparse from the input, that must be added
 * before the absolute value. Both meet only in the rows of tokens that a sequence contains; for these few (sequence,
 * token) pairs the head's gradient is kept (d floats each) until the embedding's arrives, for all others the dense part
 * is final at once.
 *
 * One thread calls; the work inside is parallel, its bytes do not depend on the number of threads or on stops.
 */
#ifndef PKG_MODEL_SCORES_H
#define PKG_MODEL_SCORES_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/sha.h"
#include "runtime/model/model.h"
#include "runtime/model/pass.h"

struct scores_options {
    const struct model *model;
    bool wanted[MOD_COUNT]; /* of a tied model MOD_EMBED stands for both uses, MOD_HEAD for nothing */
    enum dtype dtype;       /* of the file: DT_F32 or DT_BF16 */
    const char *path;       /* of scores.safetensors */
    const char *partial;    /* unfinished file, kept when the work stops (safetensors.h); NULL: a temporary one */
};

struct scores;

/* Declares every wanted parameter and opens the file. ERR_INPUT when nothing is wanted. */
int scores_new(const struct scores_options *o, struct scores **out, struct err *e);
void scores_free(struct scores *s); /* also after an error: an unfinished file that is not `partial` goes */

/* Before pass_backward, with the batch that it will get; b must live until that returns. */
int scores_batch(struct scores *s, const struct batch *b, struct err *e);
struct grad_sink scores_sink(struct scores *s);

/* At a point of the pass: what is needed to go on there, beside the partial file; loss: one number a sequence. The file
 * at `path` is whole or not there, and after a power cut tells the truth. */
int scores_save(struct scores *s, const char *path, const struct pass_point *p, const double *loss, struct err *e);
/* After scores_batch: point and losses from such a file; p->dres belongs to s. ERR_NOTFOUND: there is none; ERR_DAMAGED: it
 * is not one of this work. In both cases s is as before. */
int scores_go_on(struct scores *s, const char *path, struct pass_point *p, double *loss, struct err *e);

/* Finishes the file. layers (num_hidden_layers) and modules (MOD_COUNT) get the f64 sums of S,
 * biases counted with their module. ERR_INPUT names a parameter whose scores are not finite. */
int scores_end(struct scores *s, double *layers, double *modules, struct err *e);
bool scores_digest(const struct scores *s, struct digest *out); /* of the finished file; false: it is not known */

/* After losses or scores that are not finite: ERR_INPUT names the first tensor (by name) that holds a NaN or an infinity
 * itself; 0 and e untouched when none does. Reads all weights. */
int scores_check_weights(const struct model *m, struct err *e);

/* Bytes beside weights and pass, for a batch of `tokens` tokens in parts of `part`, of n_seqs sequences with so many targets. */
uint64_t scores_memory(const struct model_config *c, enum dtype compute, size_t tokens, size_t part, size_t n_seqs, size_t targets);

#endif
