/* SPDX-License-Identifier: MIT
 *
 * precise: what rounding to bf16 takes from a token that is the same in many sequences shifts the gradients of all of them one way, while
 * the errors of other tokens average out. Templates make such tokens (the beginning of a sequence, an instruction), and some of them
 * carry massive activations (arXiv 2402.17762), which magnify the error: the lowest layers of Qwen2.5-Coder-1.5B came out up to 5 % low
 * by the first and the fifth token of every row. So a token that another sequence has after the same tokens, and the first token of
 * every sequence, goes through a layer's products with 16 bits: what bf16 left of its input goes through the same product. Equal
 * inputs, which equal prefixes have, go once.
 *
 * Private to runtime/model; bf16 and the forward pass alone. Nothing here depends on the number of threads.
 */
#ifndef PKG_MODEL_PRECISE_H
#define PKG_MODEL_PRECISE_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/model/pass.h"

/* A sequence and how many of its leading tokens are precise. */
struct precise_row {
    const int32_t *ids;
    int32_t n, lead;
    int seq;
};

/* Fills rows (b->n_seqs), in ascending order of the tokens, so that equal prefixes are neighbours. */
void precise_rows(const struct batch *b, struct precise_row *rows);

/* y (T, out) += (xf - xc) W^T at the precise tokens of the part in hand; xc (T, in) is xf (T, in) rounded. */
struct run;
int precise_linear(struct run *r, enum module m, const uint16_t *xc, const float *xf, float *y, struct err *e);

#endif
