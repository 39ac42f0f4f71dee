/* SPDX-License-Identifier: MIT
 *
 * graph: a specification after parsing, expansion (extends, vars, defaults, variants, sweep) and checking: nodes with
 * typed parameters and edges, in topological order, each with the descriptors of its outputs from `infer`. The engine's
 * later stages (key, plan, sched) see only this. Made by one thread, read by many.
 */
#ifndef PKG_ENGINE_GRAPH_H
#define PKG_ENGINE_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/diag.h"
#include "engine/op.h"

/* A parameter after defaults. */
struct param_value {
    bool set;      /* has a value (not the unset word) */
    bool given;    /* written by the user (node, defaults: section, sweep, --set) */
    struct place at;
    union {
        bool b;
        int64_t i;       /* INT, SIZE */
        double f;        /* FLOAT, DURATION */
        const char *s;   /* STRING, ENUM (after resolve), PATH (absolute) */
        struct { size_t n; const int64_t *v; } ints;
        struct { size_t n; const char *const *v; } strs;
        struct js *map;
    };
};

struct edge {
    int port;        /* index into op->inputs */
    int from;        /* node index */
    int from_port;   /* index into the producer's op->outputs */
    struct place at;
};

struct op_args {
    const struct op *op;
    const struct param_value *values; /* one for each entry of op->params, same order */
    const char *spec_dir;
    size_t n_in;
    const struct op_in { int port; const struct js *desc; } *in; /* in port order; filled before infer */
};

/* What a key of the sweep is at a node. */
struct setting {
    const char *key, *value; /* "layers.strategy", "first" */
    struct place at;         /* where the value stands */
};

struct node {
    const char *id;        /* "lora", "lora@r=4", "lora@lora-only" */
    const char *base;      /* the name in the spec: "lora" */
    const char *variant;   /* NULL: the base graph */
    const char *point;     /* sweep point "r=4,layers.strategy=first" restricted to what the node depends on; NULL: none */
    size_t n_settings;     /* the same, in parts */
    const struct setting *settings;
    const char *doc;
    const struct op *op;
    struct place at;
    struct param_value *values;
    size_t n_edges;
    struct edge *edges;    /* in port order; variadic ports in the order of the spec */
    struct op_args args;
    size_t n_out;
    struct js **out;       /* descriptor of each output port; NULL: not produced. Has "type" */
    size_t uses;           /* points and variants in which it stands, at least 1 */
    bool bad;              /* has errors: outputs unknown */
};

struct graph {
    const char *name;      /* of the spec */
    const char *file;      /* absolute path of the spec */
    size_t n;
    size_t n_all;          /* nodes of all points and variants, written out; n of them are different */
    size_t n_variants;     /* that were asked for, in the order of the spec; NULL: the base graph */
    const char **variants;
    size_t n_variables;    /* of vars:, in their order: with node.param, what --set takes */
    const char **variables;
    struct node *nodes;    /* topological order; among equals, order of the spec */
    struct arena *arena;   /* owns everything but the js values */
    struct graph_index *index; /* of ids, for graph_find; NULL: none (a graph made by hand) */
    size_t n_held;
    struct js **held;      /* values of map parameters, freed with the graph */
};

struct graph_options {
    const struct op *const *ops;    /* NULL-terminated */
    const char *const *sets;        /* "K=V" from --set, n_sets of them */
    size_t n_sets;
    const char *const *variants;    /* only these variants ("base" is the base graph); none: all of them */
    size_t n_variants;
    const char *const *only;        /* only these nodes (ids or base names) and what they depend on; none: all */
    size_t n_only;
    bool no_infer;                  /* stop after types of ports: `viz` of a broken spec */
};

/* Reads, expands, checks. 0 and *out when there are no errors in d (warnings may be); else ERR_INPUT, *out NULL, and d
 * holds all errors; e gets a one-line summary ("spec.yaml: 3 errors"). */
int graph_load(const char *path, const struct graph_options *o, struct diags *d, struct graph **out, struct err *e);
void graph_free(struct graph *g);
int graph_find(const struct graph *g, const char *id); /* index, or -1 */
int graph_result(const struct graph *g); /* the first node whose outputs nobody takes; -1: none, or out of memory */
int node_port(const struct node *n, const char *port);  /* index of an output port by name; NULL: 0; -1: none */

#endif
