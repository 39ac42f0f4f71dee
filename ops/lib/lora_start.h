/* SPDX-License-Identifier: MIT
 *
 * lora_start: the first value of one adapter pair (method.md 4). From a block (svd, noise: its control), from the
 * student's own weight (pissa, olora), or from random numbers (default, gaussian). Random draws are keyed by seed and
 * module path, so that another module more or another thread changes nothing. Used by ops/lora-init.c; knows no engine.
 */
#ifndef PKG_OPS_LIB_LORA_START_H
#define PKG_OPS_LIB_LORA_START_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/json.h"
#include "runtime/formats/safetensors.h"
#include "runtime/model/lora.h"

enum lora_init { LORA_SVD, LORA_DEFAULT, LORA_GAUSSIAN, LORA_PISSA, LORA_OLORA, LORA_NOISE };

int lora_init_parse(const char *name, enum lora_init *out); /* 0 or -1 */
bool lora_init_factors(enum lora_init how); /* factors a matrix: B starts nonzero, the base is compensated */
bool lora_init_needs_block(enum lora_init how);

/* Fills p->B, p->A (allocated; r, scale and shapes set) and, when p->B0 is there, the same as compensation. from: the
 * block or the student's weight, as stored, for those that factor; else NULL. half: factors rounded through f16
 * (compat: reference). facts (may be NULL), an object, gets "singular_values" and "energy_kept". ERR_INPUT: rank too
 * large, values that are not finite; the message does not name the module. */
int lora_start(struct lora_pair *p, enum lora_init how, const struct tensor *from, uint64_t seed, bool half,
               struct js *facts, struct err *e);

/* Bytes that lora_start uses beside the pair. */
uint64_t lora_start_memory(enum lora_init how, size_t out, size_t in, size_t r);

#endif
