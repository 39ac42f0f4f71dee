/* SPDX-License-Identifier: MIT
 *
 * pieces: a list of tokens with types and scores, as SentencePiece (tokenizer.model) and GGUF files have it, becomes a
 * tokenizer.json. SentencePiece vocabularies of the kind BPE bring scores: every way to put a token together from two others
 * is a merge, the better token first, as transformers does it.
 *
 * tokenizer.model: a protobuf message (sentencepiece_model.proto of https://github.com/google/sentencepiece): pieces, how
 * they were trained, how texts are normalised. Kinds other than BPE, and normalisers of their own, are ERR_UNSUPPORTED.
 */
#ifndef PKG_TEXT_PIECES_H
#define PKG_TEXT_PIECES_H

#include "runtime/base/json.h"

enum piece_type { PIECE_NORMAL = 1, PIECE_UNKNOWN, PIECE_CONTROL, PIECE_USER, PIECE_UNUSED, PIECE_BYTE };

struct pieces {
    struct js *tokens, *types, *scores; /* lists; types (all normal) and scores may be NULL */
    struct js *vocab;                   /* token -> id, made by pieces_index */
    int64_t unk, bos, eos;              /* ids; -1: none */
    bool add_bos, add_eos;              /* around every text */
    bool prefix;                        /* a space in front of every text */
};
void pieces_release(struct pieces *p);

/* Texts and their ids. what: the file, for messages. */
int pieces_index(struct pieces *p, const char *what, struct err *e);

/* The parts of a tokenizer.json that do not depend on the kind: added tokens, post-processor (null: nothing is added), and
 * all of it around model (which gets the vocabulary) and the other parts that are in json already. */
struct js *pieces_post_processor(const struct pieces *p);
int pieces_assemble(const struct pieces *p, struct js *json, struct js *model, struct err *e);
/* Merges from scores, normaliser and decoder of a SentencePiece tokenizer, into json and model. */
int pieces_sentencepiece(const struct pieces *p, struct js *json, struct js *model, struct err *e);

bool sentencepiece_is(struct str file); /* begins like a tokenizer.model */
/* tokenizer.json of a tokenizer.model. config: tokenizer_config.json or NULL (add_bos_token, add_eos_token, legacy,
 * add_prefix_space, added_tokens_decoder). NULL on error. */
struct js *sentencepiece_json(struct str file, const char *what, const struct js *config, struct err *e);
/* The names and ids that the file gives to its special tokens, as tokenizer_config.json would (bos_token, ...). */
struct js *sentencepiece_facts(struct str file, const char *what, struct err *e);

#endif
