/* SPDX-License-Identifier: MIT
 *
 * token_lists: the two large parts of a tokenizer.json, model.vocab and model.merges, without making a JSON value of each of
 * their several hundred thousand elements: they are read from the text, and the rest is left for the JSON parser, with {} and
 * [] in their place. Only the usual form is read so (strings and whole numbers); anything else, mistakes too, goes the way of
 * the JSON value, which words the messages.
 */
#ifndef PKG_TEXT_TOKEN_LISTS_H
#define PKG_TEXT_TOKEN_LISTS_H

#include "runtime/base/json.h"

struct token_lists {
    size_t n_vocab, n_merges;
    struct listed_token {
        struct str text;
        int64_t id;
    } * vocab;
    struct listed_merge {
        struct str a, b;
        uint32_t rank; /* place in the list */
    } * merges;
    char *texts; /* decoded; NULL: texts belong to the JSON value */
};
void token_lists_release(struct token_lists *l);

/* Tables are as long as the largest id: of so many tokens an id from here on is not believed. */
int64_t token_lists_ids(size_t n_tokens);

/* 1: the lists are read, and *rest is the text without them; 0: not the usual form; ERR_NOMEM. */
int token_lists_scan(struct str json, struct token_lists *out, struct buf *rest, struct err *e);
/* From the JSON value of "model". */
int token_lists_read(const struct js *model, const char *what, struct token_lists *out, struct err *e);

#endif
