/* SPDX-License-Identifier: MIT
 *
 * batches: the order of rows in each epoch and their division into micro-batches and optimiser steps (method.md 5).
 * Shuffling is a pure function of (seed, epoch). Micro-batches that are left over at the end of an epoch (fewer than
 * `accumulate`) are dropped; a last micro-batch with fewer rows is not.
 */
#ifndef PKG_MODEL_BATCHES_H
#define PKG_MODEL_BATCHES_H

#include "runtime/model/samples.h"

struct batch_settings {
    size_t rows;       /* of a micro-batch */
    size_t tokens;     /* not 0: rows are added as long as they fit; a longer row stands alone */
    size_t accumulate; /* micro-batches a step */
    bool shuffle;
    uint64_t seed;
    bool by_length;    /* with shuffle: rows of a micro-batch have about the same length, see epoch_make */
};

enum { GROUP_MICRO_BATCHES = 50 };

struct epoch {
    uint32_t *order;   /* samples */
    size_t *cut;       /* micro-batch i: order[cut[i]] .. order[cut[i + 1]] */
    size_t n_micro, steps;
};

/* epoch from 0. by_length does what transformers' group_by_length does: of the shuffled rows, runs of GROUP_MICRO_BATCHES (fewer when
 * there are few rows) are sorted by length, the longest first, and the longest of all begins. No full step is ERR_INPUT. */
int epoch_make(const struct samples *s, const struct batch_settings *b, int64_t epoch, struct epoch *out, struct err *e);
void epoch_release(struct epoch *x);

/* Steps of the whole training: max_steps when it is not 0 (over as many epochs as it takes, as in transformers), else
 * `epochs` (the last one may be a part). tokens, largest_tokens, largest_targets (of a micro-batch): may be NULL. */
struct training_size {
    int64_t steps;
    double tokens;
    size_t micro_tokens, micro_targets;
};
int training_size(const struct samples *s, const struct batch_settings *b, double epochs, int64_t max_steps, struct training_size *out,
                  struct err *e);

#endif
