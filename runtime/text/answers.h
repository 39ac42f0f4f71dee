/* SPDX-License-Identifier: MIT
 *
 * answers: what evaluation does with text (method.md 6): the number in a generated answer, equality of answers, and the
 * prompts of GSM8K and Super-NaturalInstructions. Pure functions; nothing is owned; any thread. Texts are UTF-8 by pointer and length.
 */
#ifndef PKG_TEXT_ANSWERS_H
#define PKG_TEXT_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/buf.h"

/* Commas between two digits are dropped (left to right, without overlap: 1,2,3 gives 12,3); the answer is the last match
 * of [-+]?[0-9]*\.[0-9]+|[0-9]+, appended to out. false, and nothing appended, without a match. */
bool answer_last_number(struct str text, struct buf *out);

/* Both are whole numbers texts (commas between digits allowed) of equal value: 10.00 = 10. */
bool answer_same_number(struct str a, struct str b);

/* The published comparison: as strings, lower case, ASCII punctuation dropped. */
bool answer_same_reference(struct str prediction, struct str reference);

/* Exact match of the published evaluation: ASCII punctuation dropped, white space collapsed. Letters are folded to lower
 * case in ASCII, Latin-1 and Latin Extended-A, Greek and Cyrillic. Appends to out. */
void answer_normalise(struct str text, struct buf *out);
bool answer_exact(struct str prediction, struct str reference);

/* GSM8K. The reference is the text after the last "####", trimmed; empty without that mark. */
struct str gsm8k_reference(struct str answer);
/* "Question: ..\nAnswer: .. So the answer is N.": calculator notes <<..>> removed, lines joined by a space. */
void gsm8k_exemplar(struct str question, struct str answer, struct buf *out);
/* Without the reasoning: "Question: ..\nAnswer: N". */
void gsm8k_exemplar_direct(struct str question, struct str answer, struct buf *out);
/* The head with n_shot exemplars (already rendered), then "Question: ..". What follows ("\nAnswer:" or the chat turn) is
 * the caller's. */
void gsm8k_prompt(size_t n_shot, const struct str *exemplars, struct str question, struct buf *out);

/* Super-NaturalInstructions: definition, "\n\nInput: " input, "\n\nOutput:", both trimmed; a full stop is added to an input that does
 * not end in ASCII punctuation, and with `reference`, as the published code does, to such a definition. An empty
 * definition leaves the input and nothing else. */
void super_ni_prompt(struct str definition, struct str input, bool reference, struct buf *out);

#endif
