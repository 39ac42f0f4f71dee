/* SPDX-License-Identifier: MIT
 *
 * sample: the choice of the next id from a row of logits (private to runtime/model; generate.h says what the numbers mean).
 */
#ifndef PKG_MODEL_SAMPLE_H
#define PKG_MODEL_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"

/* The largest of z (n), the first of equals; NaN is never the largest. */
int32_t sample_best(const float *z, size_t n);
/* u in [0, 1). temperature > 0. ERR_NOMEM. */
int sample_draw(const float *z, size_t n, double temperature, double top_p, size_t top_k, double u, int32_t *id, struct err *e);

#endif
