/* SPDX-License-Identifier: MIT
 *
 * porter: the suffix stripper of M. F. Porter (An algorithm for suffix stripping, 1980) with the changes that NLTK makes by
 * default, which ROUGE scores are computed with: a pool of irregular words (dying: die), `ies` and `ied` of four-letter words
 * (dies: die), y to i after a consonant only (enjoy stays), bli, alli first, fulli, logi, and words of two letters left alone.
 */
#ifndef PKG_TEXT_PORTER_H
#define PKG_TEXT_PORTER_H

#include <stddef.h>

/* Stems the n bytes at w, lower-case ASCII letters and digits, in place, and returns the new length, which is never more than
 * n + 1: w has room for n + 1 bytes. Any thread. */
size_t porter_stem(char *w, size_t n);

#endif
