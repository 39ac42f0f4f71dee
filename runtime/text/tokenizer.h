/* SPDX-License-Identifier: MIT
 *
 * tokenizer: Hugging Face's tokenizer.json, model BPE: byte-level (pre-tokeniser patterns as written, through PCRE2) and
 * SentencePiece style (Metaspace pre-tokeniser or Prepend/Replace normaliser, byte fallback, fuse_unk), added and special
 * tokens, normalisers NFC/NFD/NFKC/NFKD/Lowercase/Prepend/Replace/Strip/Sequence, ignore_merges, post-processors
 * TemplateProcessing/ByteLevel/Sequence, decoders. Same ids as the `tokenizers` library, id for id. What is not known is
 * ERR_UNSUPPORTED and named. Immutable after reading; encode and decode from any thread.
 */
#ifndef PKG_TEXT_TOKENIZER_H
#define PKG_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"

struct tokenizer;

struct ids {
    int32_t *v;
    size_t n, cap;
};
void ids_release(struct ids *ids);
int ids_push(struct ids *ids, int32_t id); /* 0, or -1 when out of memory */

int tokenizer_read(const char *path, struct tokenizer **out, struct err *e);
int tokenizer_parse(struct str json, const char *what, struct tokenizer **out, struct err *e);
void tokenizer_free(struct tokenizer *t);

/* Appends the ids. special: the post-processor runs (BOS where the tokenizer adds it). Special tokens written inside the
 * text are recognised as such. */
int tokenizer_encode(const struct tokenizer *t, struct str text, bool special, struct ids *out, struct err *e);
int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool skip_special, struct buf *out, struct err *e);

int32_t tokenizer_id(const struct tokenizer *t, struct str token); /* -1: no such token (added tokens and vocabulary) */
const char *tokenizer_token(const struct tokenizer *t, int32_t id, size_t *len); /* as in the file; NULL: no such id */
size_t tokenizer_size(const struct tokenizer *t);                  /* largest id + 1 */

#endif
