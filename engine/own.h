/* SPDX-License-Identifier: MIT
 *
 * own: one node of one edition, and what its own text says at one point of the sweep: operator, typed parameters, names of
 * inputs. Nothing here knows other nodes.
 */
#ifndef PKG_ENGINE_OWN_H
#define PKG_ENGINE_OWN_H

#include "engine/opset.h"
#include "engine/param.h"
#include "engine/sweep.h"

/* Counted JSON values that live as long as the graph. */
struct held {
    size_t n, cap;
    struct js **v;
};
int held_add(struct held *h, struct js *j); /* takes j over, also on failure; ERR_NOMEM */
void held_release(struct held *h);

/* One input as written: a node's name and perhaps a port. */
struct in_ref {
    int port;
    struct str node;
    const char *out_port; /* NULL: the main output */
    const struct ynode *y;
    size_t edition, target; /* the last look-up: node `target` of `edition`; edition NAMES_NONE: none yet */
};

struct own {
    struct op_entry *op;        /* NULL when unknown */
    struct param_value *values;
    const struct via **via;     /* of each value */
    size_t n_in;
    struct in_ref *in;          /* in port order */
    const char *doc;
    uint64_t hash;              /* of operator and parameters */
    bool bad;
};

/* A parameter fixed from outside the node's text: by --set, or by a variant against the sweep. */
struct pin {
    const struct ynode *y; /* NULL: only keeps the sweep away */
};

struct enode {
    struct str name;
    struct place at;
    const struct ynode *y;
    uint64_t mask;          /* sweep keys that its own text uses */
    const struct own *only; /* when mask == 0 */
    size_t serial;          /* distinct among all editions */
};

/* All that resolving a node needs. */
struct own_context {
    struct arena *arena;
    struct diags *d;
    struct opset *ops;
    struct scope *scope;
    const struct ynode *defaults;
    const struct sweep *sweep;
    const uint32_t *point;
    const struct names *set_pins; /* "node.param" -> index of set_values */
    const struct ynode *const *set_values;
    const struct names *edit_pins; /* "node.param" that a variant gives: the sweep leaves them alone */
    struct held *held;
    struct names dirs;            /* file -> index of dir */
    size_t n_dirs;
    const char *dir[64];
    const char *spec_dir;
};

/* Sweep keys on which the node's own text depends. */
uint64_t own_mask(const struct own_context *c, const struct enode *n);
/* Resolves the node at the context's point. Problems go to c->d, the result is then `bad`. ERR_NOMEM and ERR_INTERNAL. */
int own_resolve(struct own_context *c, const struct enode *n, struct own **out, struct err *e);
bool own_equal(const struct own *a, const struct own *b); /* operator and parameters */
/* Names and values of the defaults: section, used or not. */
int own_check_defaults(struct own_context *c, struct err *e);
/* Says that `word` is no parameter of op, with the right name. */
void own_unknown_param(struct diags *d, struct place at, const struct op *op, const char *word);

#endif
