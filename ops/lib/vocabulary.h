/* SPDX-License-Identifier: MIT
 *
 * vocabulary: at plan time, whether two models speak of the same tokens by the same ids, and whether a tokenizer fits its embedding.
 * What a model's descriptor knows: config.vocab_size, the rows of the embedding; tokenizer.vocabulary (text/token_facts), absent where no
 * tokenizer is or only the run will know. Rows beyond the tokenizer's ids are padding: their number may differ.
 */
#ifndef PKG_OPS_LIB_VOCABULARY_H
#define PKG_OPS_LIB_VOCABULARY_H

#include "engine/op.h"

/* {"vocab_size", "vocabulary", "bos_token", "eos_token"} of a model's descriptor. NULL: no memory. */
struct js *vocabulary_facts(const struct js *model);
/* The facts of the teacher against those of the student. ERR_INPUT names what differs, and ends in `remedy`. texts: both also read the same
 * texts, so that their EOS must be one token. */
int vocabulary_same(const struct js *teacher, const struct js *student, bool texts, const char *remedy, struct err *e);
/* A model's descriptor: every id of its tokenizer needs a row of the embedding. ERR_INPUT names the first that has none. */
int vocabulary_fits(const struct js *model, struct err *e);

#endif
