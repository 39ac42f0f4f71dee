/* SPDX-License-Identifier: MIT
 *
 * normalize: the normalisers of tokenizer.json as a list of steps; the only pair of files that includes utf8proc.
 * Steps are immutable after reading.
 */
#ifndef PKG_TEXT_NORMALIZE_H
#define PKG_TEXT_NORMALIZE_H

#include "runtime/base/json.h"
#include "runtime/text/regex.h"

enum norm_kind {
    NORM_NFC,
    NORM_NFD,
    NORM_NFKC,
    NORM_NFKD,
    NORM_LOWERCASE,
    NORM_PREPEND,
    NORM_REPLACE,
    NORM_STRIP,
    NORM_BYTES
};

struct normalizer {
    enum norm_kind kind;
    struct str text;     /* PREPEND: what; REPLACE: by what; owned by the JSON value */
    struct regex *regex; /* REPLACE */
    bool left, right;    /* STRIP */
};

struct normalizers {
    size_t n, cap;
    struct normalizer *v;
};

/* Reads a normaliser (a Sequence becomes its elements) and appends it. j outlives the list. */
int normalizers_read(struct normalizers *l, const struct js *j, const char *where, struct err *e);
void normalizers_release(struct normalizers *l);

/* *text through all steps. The result is *text itself or lies in one of the two buffers. */
int normalize(const struct normalizers *l, struct str *text, struct buf work[2], struct matcher *m, struct err *e);

/* The byte-level alphabet: a character for each byte. */
void put_byte_chars(struct buf *out, struct str bytes);

/* Appends the character in upper case (title case for digraphs) or lower case; and whether it is a letter (category L). */
void put_case(struct buf *out, uint32_t cp, bool upper);
bool is_letter(uint32_t cp);

/* {"pattern": {"String": s} or {"Regex": r}} of a Replace or Split. */
int pattern_read(const struct js *j, const char *where, struct regex **out, struct err *e);

const char *normalize_library_version(void); /* of utf8proc */

#endif
