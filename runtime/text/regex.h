/* SPDX-License-Identifier: MIT
 *
 * regex: patterns of tokenizer.json, written for Oniguruma (Ruby syntax, UTF-8), run by PCRE2 with UTF, UCP and JIT;
 * the only pair of files that includes PCRE2. A pattern is translated so that both match alike: \s is White_Space, \w
 * the Unicode definition, general categories know the characters of Unicode 16, scripts are not script extensions. What
 * cannot be translated is ERR_UNSUPPORTED. A struct regex is immutable and may be used by any thread; a struct matcher
 * belongs to one thread.
 */
#ifndef PKG_TEXT_REGEX_H
#define PKG_TEXT_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"

struct regex;

/* literal: the pattern stands for itself. where names the place in messages. */
int regex_new(struct str pattern, bool literal, const char *where, struct regex **out, struct err *e);
void regex_free(struct regex *r);

/* Oniguruma's pattern in PCRE2's syntax (for tests; regex_new calls it). */
int regex_translate(struct str pattern, const char *where, struct buf *out, struct err *e);

/* scratch memory of one thread */
struct matcher {
    void *data, *context, *stack; /* PCRE2's */
};
void matcher_release(struct matcher *m);

/* The iteration of the matches of r in text (valid UTF-8), as Oniguruma's: an empty match directly behind the last
 * match does not count. */
struct match_iter {
    const struct regex *regex;
    struct str text;
    size_t pos, last;  /* where to search; end of the last match, SIZE_MAX: none */
    size_t start, end; /* of the match found */
};
void match_start(struct match_iter *it, const struct regex *r, struct str text);
/* 1: a match, 0: no more; ERR_INPUT when the pattern needs more steps or memory than PCRE2's limits allow. */
int match_next(struct match_iter *it, struct matcher *m, struct err *e);

const char *regex_library_version(void); /* of PCRE2 */

#endif
