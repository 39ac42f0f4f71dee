/* SPDX-License-Identifier: MIT
 *
 * opset: the operators of a run, found by name, with their parameters found by name and their defaults parsed once.
 */
#ifndef PKG_ENGINE_OPSET_H
#define PKG_ENGINE_OPSET_H

#include "engine/graph.h"
#include "engine/names.h"

struct op_entry {
    const struct op *op;
    size_t n_params, n_inputs, n_outputs;
    struct names params;                /* name -> index */
    const struct param_value *fallback; /* one a parameter; NULL until opset_fallback */
};

struct opset {
    struct names names; /* operator -> index */
    size_t n;
    struct op_entry *v;
    const char **list;  /* n names, for nearest_name */
};

/* table: ends with NULL. ERR_NOMEM. */
int opset_init(struct opset *s, const struct op *const *table, struct err *e);
void opset_release(struct opset *s); /* frees map defaults too */
struct op_entry *opset_find(struct opset *s, struct str name); /* NULL: unknown */
/* The defaults of all parameters, parsed on first use. Paths are relative to dir. */
int opset_fallback(struct op_entry *x, const char *dir, struct arena *a, struct err *e);

const char *opset_near(const struct opset *s, const char *word);
const char *op_near_param(const struct op *op, const char *word);
const char *op_near_port(const struct port_def *ports, const char *word);

/* A parameter's name in another trainer: the name here, and whose the other is ("axolotl's name"); NULL when `op` has no
 * such parameter. */
const char *foreign_param(const struct op *op, const char *word, const char **whose);

#endif
