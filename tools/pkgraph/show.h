/* SPDX-License-Identifier: MIT
 *
 * show: artifacts and checkpoints as a person reads them, one function a type. Everything goes to standard output.
 */
#ifndef PKG_TOOLS_SHOW_H
#define PKG_TOOLS_SHOW_H

#include <stddef.h>
#include <stdio.h>

#include "runtime/base/json.h"
#include "tools/pkgraph/session.h"

struct show_options {
    size_t rows; /* of datasets, predictions, logs */
    size_t max_list; /* tensors listed one by one; 0: one line for each kind */
};

/* model.json, or the tensors of one file. max_list as above. */
void show_model(const struct js *model, size_t max_list);
/* Any other artifact by its type. STATUS_FAILED, told, when a file of it cannot be read. */
int show_artifact(const struct session *s, const struct artifact *a, const struct show_options *o);
/* The same as JSON for a program: type, facts, files with their digests (none of a folder), content of the small JSON files. */
int show_descriptor(const struct session *s, const struct artifact *a);
/* The first rows of a dataset as the model's tokens, the trained ones marked. model: a model artifact. */
int show_tokens(const struct session *s, const struct artifact *data, const struct artifact *model, size_t rows);

/* Pictures for the terminal: a heat map, and a curve on one line (means of as many steps as share a column). */
struct score_map;
void show_heat(const struct score_map *m, FILE *f);
void show_spark(const double *v, size_t n, FILE *f);

#endif
