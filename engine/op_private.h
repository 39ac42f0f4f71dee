/* SPDX-License-Identifier: MIT
 *
 * op_private: what stands behind the opaque types of engine/op.h, for the engine's own files only. struct op_args is in
 * graph.h; struct op_run belongs to runner.c.
 */
#ifndef PKG_ENGINE_OP_PRIVATE_H
#define PKG_ENGINE_OP_PRIVATE_H

#include "engine/graph.h"

/* The files that a node reads, in the order in which `sources` named them. Zero-initialise. */
struct op_sources {
    size_t n, cap;
    struct op_source_entry {
        char *label, *path; /* malloc'ed */
    } *v;
};

void op_sources_release(struct op_sources *s);

/* One call of `infer`. */
struct op_infer {
    const struct op_args *args;
    struct js **out;         /* one an output port of args->op; NULL: not produced */
    const char **out_type;   /* likewise: what op_set_output_type said, or NULL. Points into the port table */
    const char *blame_param; /* NULL: none; the last call wins over both */
    const char *blame_input;
};

/* Index of a parameter in op->params, -1: none. */
int op_param_index(const struct op *op, const char *name);
/* Index of a port in a port table (NULL-safe), -1: none; and the number of its entries. */
int port_index(const struct port_def *ports, const char *name);
size_t port_count(const struct port_def *ports);
size_t op_param_count(const struct op *op);

/* Whether two port types ("a", "a|b") have a type in common. */
bool port_types_meet(const char *out, const char *in);

#endif
