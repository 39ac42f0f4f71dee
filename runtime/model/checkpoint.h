/* SPDX-License-Identifier: MIT
 *
 * checkpoint: everything that a training needs to go on as if nothing had happened, in one safetensors file that appears
 * under its name whole or not at all: parameters, both moments, the best parameters so far (if asked for), the log,
 * and a JSON state. No state of random numbers: those are functions of seed and step.
 */
#ifndef PKG_MODEL_CHECKPOINT_H
#define PKG_MODEL_CHECKPOINT_H

#include "runtime/base/json.h"
#include "runtime/model/optim.h"

/* best: NULL, or o->total floats in the order of the parameters. log is not empty. */
int checkpoint_write(const char *path, const struct optim *o, const float *best, const struct js *state, struct str log, struct err *e);

/* Fills parameters, moments, best (if not NULL and the file has it) and log, and gives the state (the caller frees).
 * ERR_NOTFOUND: no such file. ERR_DAMAGED: the file is not a checkpoint of these parameters, or was damaged; nothing was changed. Removes
 * what writers that were killed have left beside it. */
int checkpoint_read(const char *path, struct optim *o, float *best, struct js **state, struct buf *log, struct err *e);

#endif
