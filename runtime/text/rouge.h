/* SPDX-License-Identifier: MIT
 *
 * rouge: ROUGE-L (Lin 2004) as Super-NaturalInstructions is scored with: lower case, everything but a-z and 0-9 separates
 * words, words of more than three letters are stemmed (porter.h), F1 of the longest common subsequence of words. Texts are
 * UTF-8 by pointer and length. Pure; any thread.
 */
#ifndef PKG_TEXT_ROUGE_H
#define PKG_TEXT_ROUGE_H

#include "runtime/base/buf.h"
#include "runtime/base/err.h"

/* *f1 in 0..1; 0 when either text has no word. ERR_NOMEM alone. */
int rouge_l(struct str prediction, struct str reference, double *f1, struct err *e);

/* The stemmed words, each ended by a space; *n counts them. */
void rouge_words(struct str text, struct buf *out, size_t *n);

#endif
