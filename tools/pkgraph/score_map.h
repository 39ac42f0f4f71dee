/* SPDX-License-Identifier: MIT
 *
 * score_map: the sensitivity of a teacher summed for every layer and every kind of parameter in it, read from
 * scores.safetensors. Kinds are the last names of parameters (q_proj, input_layernorm); weight and bias count together.
 * What stands outside the layers (embedding, last norm, head) is a list of its own.
 */
#ifndef PKG_TOOLS_SCORE_MAP_H
#define PKG_TOOLS_SCORE_MAP_H

#include <stddef.h>

#include "runtime/base/err.h"

enum { SCORE_KINDS = 32, SCORE_NAME = 48 };

struct score_map {
    size_t n_layers, n_kinds, n_rest;
    char kinds[SCORE_KINDS][SCORE_NAME]; /* in the order of a forward pass */
    char rest[SCORE_KINDS][SCORE_NAME];
    double rest_sum[SCORE_KINDS];
    double *sum;                         /* n_layers x SCORE_KINDS */
};

/* Sums are f64, over fixed slabs: the same bytes with any number of threads. ERR_DAMAGED for files of another shape. */
int score_map_read(const char *path, struct score_map *m, struct err *e);
void score_map_release(struct score_map *m);
double score_at(const struct score_map *m, size_t layer, size_t kind);

#endif
