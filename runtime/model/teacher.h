/* SPDX-License-Identifier: MIT
 *
 * teacher: what a teacher says at every target of some samples: its k most probable tokens with their log-probabilities (natural,
 * over its whole vocabulary), as a safetensors file:
 *   ids (tokens) I32       the token ids of all samples end to end, by which a reader knows them again
 *   cu (samples + 1) I32   where each begins
 *   rows (samples) I32     which row of the dataset it is
 *   top_ids, top_logprobs (targets, k) I32, F32, descending
 */
#ifndef PKG_MODEL_TEACHER_H
#define PKG_MODEL_TEACHER_H

#include "runtime/kernels/distill.h"
#include "runtime/model/samples.h"

struct teacher {
    struct soft_targets soft; /* weight 1, temperature 1 until somebody sets them */
    size_t targets;
    void *memory;             /* made by teacher_ask */
    struct st_file *file;     /* or opened by teacher_read */
};

/* Passes over the samples with these weights, evaluation mode; budget in tokens a pass. ids: what the tokenizer has; rows of the vocabulary
 * beyond them are padding and among no top_ids. 1 <= k <= ids <= vocabulary. */
int teacher_ask(const struct samples *s, const struct loss_options *o, size_t ids, size_t k, struct teacher *out, struct err *e);
int teacher_write(const struct teacher *t, const struct samples *s, const char *path, struct err *e);
/* Reads and checks; every id below vocab_size. ERR_DAMAGED. */
int teacher_read(const char *path, int vocab_size, struct teacher *out, struct err *e);
/* Gives every sample its soft targets (samples->soft borrows t). A file of t's that holds other token ids for a row, or no such row, is
 * ERR_INPUT and names it; t from teacher_ask on the same samples fits as it is. */
int teacher_join(const struct teacher *t, struct samples *s, struct err *e);
void teacher_release(struct teacher *t);

uint64_t teacher_memory(size_t targets, size_t k); /* bytes */

#endif
