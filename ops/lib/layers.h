/* SPDX-License-Identifier: MIT
 *
 * layers: choice of teacher layers (method.md 2), from scores alone. Used by ops/layer-select.c; knows no engine.
 */
#ifndef PKG_OPS_LIB_LAYERS_H
#define PKG_OPS_LIB_LAYERS_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/json.h"

enum layer_strategy {
    LAYERS_SENSITIVITY,
    LAYERS_RANDOM,
    LAYERS_FIRST,
    LAYERS_LAST,
    LAYERS_UNIFORM,
    LAYERS_LEAST,
    LAYERS_EXPLICIT
};

int layers_strategy(const char *name, enum layer_strategy *s); /* 0, or -1 for an unknown name */

/* map (k), ascending, from the scores of n layers, 1 <= k <= n. Not for LAYERS_EXPLICIT. */
int layers_choose(enum layer_strategy s, const double *scores, size_t n, size_t k, uint64_t seed, int *map,
                  struct err *e);

struct js *layers_json(const char *strategy, const double *scores, size_t n, const int *map,
                       size_t k); /* NULL: no memory */

/* Reads layers.json of a map onto k student layers, each from a teacher of n. map (k). */
int layers_read(const char *path, size_t n, size_t k, int *map, struct err *e);

#endif
