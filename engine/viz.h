/* SPDX-License-Identifier: MIT
 *
 * viz: a graph as text for Graphviz (DOT) or Mermaid: nodes coloured by their state in a plan, artifact types on the
 * edges, a cluster for each variant. Folded, all points of the sweep at which a node stands are one box, with their number.
 * Same graph, same bytes.
 */
#ifndef PKG_ENGINE_VIZ_H
#define PKG_ENGINE_VIZ_H

#include "engine/graph.h"
#include "engine/plan.h"

struct viz_options {
    const struct plan *plan; /* of the same graph; NULL: no states */
    bool top_down;           /* rank direction; else left to right */
    bool fold;               /* the points of a node are one box: "lora (x12)" */
};

void viz_dot(struct buf *out, const struct graph *g, const struct viz_options *o);
void viz_mermaid(struct buf *out, const struct graph *g, const struct viz_options *o);

#endif
