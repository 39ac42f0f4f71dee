/* SPDX-License-Identifier: MIT
 *
 * schedule: the learning rate of each optimiser step (method.md 5): linear warm-up from 0 over ceil(ratio * steps) steps, so
 * that the first update has rate 0 when there is warm-up, then constant, linear or half-cosine decay to 0.
 */
#ifndef PKG_MODEL_SCHEDULE_H
#define PKG_MODEL_SCHEDULE_H

#include <stdint.h>

enum schedule { SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_CONSTANT };

int schedule_parse(const char *name, enum schedule *s); /* "linear", "cosine", "constant"; 0 or -1 */
int64_t schedule_warmup(double ratio, int64_t steps);   /* ceil(ratio * steps) */
/* Multiplier of the rate at step 0 .. steps - 1. */
double schedule_at(enum schedule s, int64_t step, int64_t steps, int64_t warmup);

#endif
