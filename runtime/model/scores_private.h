/* SPDX-License-Identifier: MIT
 *
 * scores from inside, for scores.c and scores_state.c: see scores.h.
 */
#ifndef PKG_MODEL_SCORES_PRIVATE_H
#define PKG_MODEL_SCORES_PRIVATE_H

#include "runtime/model/scores.h"
#include "runtime/model/scores_tokens.h"

/* One parameter. */
struct scores_slot {
    const struct tensor *w; /* NULL: not wanted, or the model has none */
    size_t at;              /* among the matrices of its layer, in elements */
    float *S;               /* a vector's scores so far; NULL before the first and after the last part */
    bool done;
    double sum;
};

struct scores {
    struct scores_options o;
    const struct model_config *c;
    size_t n_slots;
    struct scores_slot *slots; /* ((layer + 1) * MOD_COUNT + mod) * 2 + bias */
    struct st_writer *writer;
    float *layer;       /* scores of all matrices of one layer, when the batch comes in parts; else NULL */
    size_t layer_bytes, together; /* elements of the largest layer */
    float *head;        /* (V, d) while lm_head passes in several chunks */
    size_t head_bytes;
    int head_first;     /* first sequence of its first chunk */
    double *head_sums;  /* (V) sums of its rows; tied: until the embedding is finished */
    struct scores_tokens tokens; /* the rows of the embedding that the batch touches */
    float *dres;        /* of the point to go on from */
    const struct batch *b;
};

#endif
