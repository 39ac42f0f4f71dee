/* SPDX-License-Identifier: MIT
 *
 * tokenizer_parts: the inside of struct tokenizer, for the files that read it (tokenizer_json.c), encode (tokenizer.c)
 * and decode (decode.c). Texts of tokens point into the JSON value, which lives as long as the tokenizer.
 */
#ifndef PKG_TEXT_TOKENIZER_PARTS_H
#define PKG_TEXT_TOKENIZER_PARTS_H

#include "runtime/base/arena.h"
#include "runtime/text/added.h"
#include "runtime/text/bpe.h"
#include "runtime/text/pretokenize.h"
#include "runtime/text/tokenizer.h"

enum decode_kind { DECODE_BYTES, DECODE_REPLACE, DECODE_BYTE_FALLBACK, DECODE_FUSE, DECODE_STRIP, DECODE_METASPACE };

struct decode_step {
    enum decode_kind kind;
    struct regex *regex; /* REPLACE */
    struct str text;     /* REPLACE: by what; STRIP, METASPACE: the character */
    size_t start, stop;  /* STRIP: at most so many of it at the ends of each token */
    bool keep_first;     /* METASPACE: the first token keeps its mark as a space */
};

struct tokenizer {
    struct js *json;
    struct arena mem;
    char *texts_owned;                      /* of tokens, where the JSON value does not have them */
    size_t size;                            /* largest id + 1 */
    struct str *texts;                      /* by id; .p == NULL: no such id */
    const struct added_token **added_by_id; /* NULL: not an added token */
    struct bpe bpe;
    struct added added;
    struct normalizers normalizers;
    struct cut_steps cuts;
    struct ids before, after; /* of the post-processor */
    struct decode_step *decoders;
    size_t n_decoders;
    bool plain_join; /* no decoder: tokens are joined by spaces */
};

/* decode.c */
int decoders_read(struct tokenizer *t, const struct js *j, const char *what, struct err *e);

#endif
