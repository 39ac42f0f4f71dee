/* SPDX-License-Identifier: MIT
 *
 * scores: the gradient sink of sensitivity (method.md 1): S = sum over sequences of |W * dL_s/dW|, elementwise, the
 * absolute value taken per sequence. Gradients are folded the moment they come and exist only as blocks in cache; of
 * the scores themselves one matrix is in memory at a time, because a layer is complete when its backward pass is: it is
 * written to its place in the file and dropped (lm_head and the embedding stay until the end).
 *
 * Tied embeddings: one parameter with two gradients, dense from lm_head and sparse from the input, that must be added
 * before the absolute value. Both meet only in the rows of tokens that a sequence contains; for these few (sequence,
 * token) pairs the head's gradient is kept (d floats each) until the embedding's arrives, for all others the dense part
 * is final at once.
 *
 * More than one batch (scores_batch again): scores are added up in a temporary file beside the output, so that memory
 * stays bounded. One thread calls; the work inside is parallel, its bytes do not depend on the number of threads.
 */
#ifndef PKG_MODEL_SCORES_H
#define PKG_MODEL_SCORES_H

#include <stdbool.h>

#include "runtime/base/err.h"
#include "runtime/model/model.h"
#include "runtime/model/pass.h"

struct scores_options {
    const struct model *model;
    bool wanted[MOD_COUNT]; /* of a tied model MOD_EMBED stands for both uses, MOD_HEAD for nothing */
    enum dtype dtype;       /* of the file: DT_F32 or DT_BF16 */
    const char *path;       /* of scores.safetensors */
    int batches;            /* how many calls of scores_batch will come, at least 1 */
};

struct scores;

/* Declares every wanted parameter and opens the file. ERR_INPUT when nothing is wanted. */
int scores_new(const struct scores_options *o, struct scores **out, struct err *e);
void scores_free(struct scores *s); /* also after an error: the unfinished file goes */

/* Before each pass_backward, with the batch that it will get; b must live until that returns. */
int scores_batch(struct scores *s, const struct batch *b, struct err *e);
struct grad_sink scores_sink(struct scores *s);

/* Writes what is left and finishes the file. layers (num_hidden_layers) and modules (MOD_COUNT) get the f64 sums of S,
 * biases counted with their module. ERR_INPUT names a parameter whose scores are not finite. */
int scores_end(struct scores *s, double *layers, double *modules, struct err *e);

/* After losses or scores that are not finite: ERR_INPUT names the first tensor (by name) that holds a NaN or an infinity
 * itself; 0 and e untouched when none does. Reads all weights. */
int scores_check_weights(const struct model *m, struct err *e);

/* Bytes beside weights and pass, for one batch of `tokens` tokens. */
uint64_t scores_memory(const struct model_config *c, size_t tokens);

#endif
