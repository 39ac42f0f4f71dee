/* SPDX-License-Identifier: MIT
 *
 * metrics: building metrics.json (artifacts.md): task, protocol, n, n_shot, metrics, stderr, higher_is_better, by.
 */
#ifndef PKG_OPS_LIB_METRICS_H
#define PKG_OPS_LIB_METRICS_H

#include <stdbool.h>

#include "engine/op.h"

struct metrics {
    struct js *root, *values, *errors, *higher, *by;
    bool bad; /* out of memory on the way */
};

struct metrics metrics_new(const char *task, const char *protocol, int64_t n, int64_t n_shot);
/* stderr: NaN when there is none. */
void metrics_add(struct metrics *m, const char *name, double value, double std_error, bool higher_is_better);
void metrics_by(struct metrics *m, const char *what, const char *key, double value); /* by[what][key] */
/* Writes metrics.json at `path` and frees m; on failure too. */
int metrics_save(struct metrics *m, const char *path, struct err *e);
/* An accuracy of `hits` of n in per cent, with the standard error of a mean of 0 and 1. */
void metrics_accuracy(struct metrics *m, const char *name, size_t hits, size_t n);

#endif
