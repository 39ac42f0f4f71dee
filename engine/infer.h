/* SPDX-License-Identifier: MIT
 *
 * infer: runs the operators' `infer` over a graph in topological order: descriptors of the inputs in, descriptors of the
 * outputs out. What an operator refuses becomes a problem at the parameter or the connection that it blames. A node
 * downstream of a bad one is not asked.
 */
#ifndef PKG_ENGINE_INFER_H
#define PKG_ENGINE_INFER_H

#include "engine/expand.h"

/* insts[i] is the instance of g->nodes[i]. 0, also when problems were found (they are in d and in node->bad); ERR_NOMEM. */
int infer_graph(struct graph *g, const struct inst *const *insts, struct diags *d, struct err *e);

#endif
