/* SPDX-License-Identifier: MIT
 *
 * expand: from a merged spec to instances of nodes. An edition is the base graph or one variant; a configuration is an
 * edition at one point of the sweep. For each configuration the nodes are walked from their inputs up; a node is made anew
 * only when something it depends on differs, so that shared work exists once:
 *  - its own text is resolved once for each combination of the sweep keys that the text uses (struct own);
 *  - it is instantiated once for each combination of the keys that it or anything upstream uses (struct inst);
 *  - in a variant, an instance equal to one of the base graph (same parameters, same inputs) is that one.
 * Instances come out in topological order: inputs before their users, else by configuration and order of the spec.
 */
#ifndef PKG_ENGINE_EXPAND_H
#define PKG_ENGINE_EXPAND_H

#include "engine/graph.h"
#include "engine/edition.h"

enum { EXPAND_NODES = 200000, EXPAND_STEPS = 5000000 };

struct inst_edge {
    int port, from_port;
    size_t from; /* instance */
    const struct in_ref *ref;
};

struct inst {
    const struct enode *node;
    const struct own *own;
    const char *variant, *point, *id;
    size_t n_settings;
    const struct setting *settings;
    struct place variant_at;
    uint64_t mask;
    size_t n_edges;
    struct inst_edge *edges; /* in port order */
    bool bad;                /* it or something upstream has errors */
    size_t uses;             /* points and selected editions in which it stands */
    bool wanted;             /* belongs to a selected edition */
};

struct expansion {
    size_t n, cap;
    struct inst *v; /* malloc'ed */
    struct names ids; /* id -> index */
    size_t n_variants; /* selected editions */
    const char **variants;
};

int expand(const struct spec *spec, const struct graph_options *o, struct opset *ops, struct arena *arena, struct diags *d,
           struct held *held, struct expansion *out, struct err *e);
void expansion_release(struct expansion *x);

#endif
