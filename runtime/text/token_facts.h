/* SPDX-License-Identifier: MIT
 *
 * token_facts: which text every id of a tokenizer stands for, in short, so that two vocabularies can be compared before anything runs:
 *   {"ids": largest id + 1, "digest": SHA-256 over the texts in the order of their ids, "added": {text: id} of the added tokens}
 * or {} of a tokenizer.json that is not BPE. It does not matter which file the vocabulary came from (tokenizer.json, tokenizer.model, GGUF), nor how many rows an embedding has
 * beyond its ids: unused tokens and ones named [PADn] at the end are such rows. How texts are cut and merged is not in it.
 */
#ifndef PKG_TEXT_TOKEN_FACTS_H
#define PKG_TEXT_TOKEN_FACTS_H

#include "runtime/base/json.h"

/* New references; NULL on error. */
struct js *token_facts_text(struct str tokenizer_json, const char *what, struct err *e); /* a tokenizer.json as it stands */
struct js *token_facts_json(const struct js *tokenizer_json, const char *what, struct err *e);
/* A list of texts by id, and of types (enum piece_type; NULL: all normal). */
struct js *token_facts_list(const struct js *tokens, const struct js *types, struct err *e);

#endif
