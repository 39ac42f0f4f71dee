/* SPDX-License-Identifier: MIT
 *
 * pretokenize: the pre-tokenisers of tokenizer.json as a list of steps that cut a text into pieces (and may change it).
 * ByteLevel and Metaspace become two or three simple steps. Steps are immutable after reading.
 */
#ifndef PKG_TEXT_PRETOKENIZE_H
#define PKG_TEXT_PRETOKENIZE_H

#include "runtime/text/normalize.h"

enum split_behavior { SPLIT_ISOLATED, SPLIT_REMOVED, SPLIT_CONTIGUOUS, SPLIT_WITH_PREVIOUS, SPLIT_WITH_NEXT };
enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct cut_step {
    enum { CUT_SPLIT, CUT_PREFIX_SPACE, CUT_METASPACE, CUT_BYTES } kind;
    struct regex *regex; /* CUT_SPLIT */
    enum split_behavior behavior;
    bool invert;
    enum prepend_scheme scheme; /* CUT_METASPACE */
    struct str mark;            /* CUT_METASPACE: what stands for a space; owned by the JSON value */
};

struct cut_steps {
    size_t n, cap;
    struct cut_step *v;
    bool bytes; /* the last step was a CUT_BYTES, which is left to the model */
};

struct piece {
    size_t off, n;
    bool first; /* begins where the whole text begins */
};

/* Texts and pieces between the steps; the result is in text and v[0..n). One thread's. */
struct cutting {
    struct str text;
    struct buf work[2];
    struct piece *v, *next;
    size_t n, cap, n_next, cap_next;
    struct span {
        size_t from, to;
        bool match;
    } * spans;
    size_t n_spans, cap_spans;
};

int cut_steps_read(struct cut_steps *l, const struct js *j, const char *where, struct err *e);
void cut_steps_release(struct cut_steps *l);

int cut_text(const struct cut_steps *l, struct str text, bool first, struct cutting *c, struct matcher *m,
             struct err *e);
void cutting_release(struct cutting *c);

#endif
