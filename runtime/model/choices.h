/* SPDX-License-Identifier: MIT
 *
 * choices: the next-token logits of a few given ids after each of many prompts, for multiple-choice questions. Prompts of a
 * group that begin alike (the exemplars of a subject) have their common ids computed once; the rest of each prompt attends over
 * those keys and values. Equal to a pass over every prompt alone up to rounding.
 */
#ifndef PKG_MODEL_CHOICES_H
#define PKG_MODEL_CHOICES_H

#include "runtime/exec/progress.h"
#include "runtime/model/lora.h"
#include "runtime/model/weights.h"
#include "runtime/text/tokenizer.h"

struct choices_options {
    const struct weights *weights;
    const struct lora *lora;         /* NULL: none */
    size_t n_choices;
    const int32_t *choice;           /* ids */
    const uint32_t *group;           /* (n) prompts of a group stand together; NULL: no sharing */
    size_t tokens;                   /* of a pass; 0: chosen from the prompts */
    const struct progress *progress; /* in ids that are computed ("tokens") */
    /* logits of prompts [0, upto) stand; an error ends the work. May be NULL */
    int (*answered)(void *u, size_t upto, struct err *e);
    void *answered_u;
    size_t first;                    /* go on from here, an `upto` of an earlier call: logits of the prompts before are left alone */
};

/* logits (n, n_choices) f32. An empty prompt, one longer than max_position_embeddings, and ids outside the vocabulary are
 * ERR_INPUT. */
int choices_logits(const struct choices_options *o, size_t n, const struct ids *prompts, float *logits, struct err *e);
/* Bytes beyond the weights, for prompts of at most `longest` tokens. */
uint64_t choices_memory(const struct model_config *c, enum dtype t, size_t longest);

#endif
