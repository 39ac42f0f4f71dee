/* SPDX-License-Identifier: MIT
 *
 * edition: the base graph and every variant, each with its own nodes, variables and defaults after its edits and those of
 * --set, and with the sweep keys on which each node's text depends. Precedence, weakest first: table, defaults:, node,
 * sweep, variant, --set.
 */
#ifndef PKG_ENGINE_EDITION_H
#define PKG_ENGINE_EDITION_H

#include "engine/own.h"
#include "engine/spec.h"

struct edition {
    const char *variant; /* NULL: the base graph */
    struct place at;
    const struct ynode *defaults;
    struct scope scope;
    struct names edit_pins, names; /* names: node -> index */
    size_t n;
    struct enode **v;              /* a node that a variant leaves alone is the base's */
    struct var *bound[SWEEP_KEYS]; /* variable that a sweep key sets here; NULL: none, or pinned */
    uint64_t mask;                 /* sweep keys that any node here uses */
    bool selected;                 /* by --variant */
    struct own_context c;
};

struct editions {
    const struct spec *spec; /* spec to e are given by the caller */
    const struct graph_options *o;
    struct opset *ops;
    struct arena *arena;
    struct diags *d;
    struct held *held;
    struct err *e;
    struct sweep sweep;
    uint32_t point[SWEEP_KEYS];  /* the point at hand: the contexts of all editions look here */
    struct names set_vars, set_pins; /* --set: variable or node.param -> index */
    const struct ynode **set_values;
    const struct ynode *set_map; /* its variables, as a vars: section */
    size_t n, serial, most;      /* most: nodes in the largest edition */
    struct edition *v;           /* v[0]: the base */
    struct buf key;              /* scratch */
};

/* Problems go to x->d. 0, ERR_NOMEM or ERR_INTERNAL (a table that contradicts itself), with x->e filled. */
int editions_make(struct editions *x);
void editions_release(struct editions *x);

#endif
