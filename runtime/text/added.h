/* SPDX-License-Identifier: MIT
 *
 * added: added and special tokens, which are found in a text before anything else happens to it: leftmost, then
 * longest, by a trie whose edges lie in one hash table. Two sets: tokens that are matched in the text as given, and
 * those
 * ("normalized": true) that are matched after normalising.
 */
#ifndef PKG_TEXT_ADDED_H
#define PKG_TEXT_ADDED_H

#include "runtime/base/json.h"
#include "runtime/text/normalize.h"
#include "runtime/text/vocab.h"

struct added_token {
    struct str content; /* owned by the JSON value */
    char *pattern;      /* what is matched, when normalising changed it; owned */
    size_t pattern_n;
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
};

struct trie {
    struct edge {
        uint32_t from, to; /* from == UINT32_MAX: free */
        uint8_t byte;
    } * edges;
    size_t mask, n_nodes;
    int32_t *token;  /* of a node: index of the token that ends there, or -1 */
    bool start[256]; /* first bytes */
};

struct added {
    size_t n;
    struct added_token *v;
    struct trie raw, normalized;
    struct regex *word; /* \w, for single_word */
};

/* Reads the list `added_tokens`; ids are checked against the vocabulary: of n tokens, found in it. */
int added_read(struct added *a, const struct js *list, const struct text_map *vocab, size_t n,
               const struct normalizers *norm, const char *what, struct err *e);
void added_release(struct added *a);

/* The next added token in s from byte `from` on: 1 and *start, *end (with the white space that it takes along) and
 * *token, or 0. taken: bytes before it belong to the token before. */
int added_next(const struct added *a, const struct trie *t, struct str s, size_t from, size_t taken, struct matcher *m,
               size_t *start, size_t *end, size_t *resume, const struct added_token **token, struct err *e);

#endif
