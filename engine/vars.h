/* SPDX-License-Identifier: MIT
 *
 * vars: variables and their substitution. A scalar that is nothing but `${name}` becomes the variable's value with its
 * type (a list stays a list); inside longer text the value's text is put in. `${env:NAME}` is the environment, `$${` a
 * literal `${`. A variable may use others; a circle is an error that names it. A variable that the sweep varies holds the
 * value of the current point; every variable knows on which sweep keys it depends (a bit each).
 */
#ifndef PKG_ENGINE_VARS_H
#define PKG_ENGINE_VARS_H

#include "engine/names.h"
#include "engine/yaml.h"

enum { VARS_DEPTH = 64, VARS_TEXT = 64 * 1024 };

struct var {
    const char *name;
    const struct ynode *raw;   /* as written; NULL or null: declared, without a value */
    uint64_t mask;             /* sweep keys it depends on, itself included */
    int sweep_key;             /* -1: none */
    const struct ynode *value; /* of the epoch */
    unsigned epoch;            /* 0: not yet */
    bool busy, masked;
};

struct scope {
    struct arena *arena;
    struct diags *d;
    struct names names;
    size_t n;
    struct var *v;
    unsigned epoch;
    int depth;
    bool nomem;
};

/* vars: the merged mapping, or NULL. Bad names are reported. ERR_NOMEM. */
int scope_init(struct scope *s, struct arena *arena, struct diags *d, const struct ynode *vars);
void scope_release(struct scope *s);
struct var *scope_find(const struct scope *s, struct str name); /* NULL: unknown */
/* Replaces what a variable was written as (--set). */
void scope_set(struct var *v, const struct ynode *raw);
/* After the sweep keys are tied: finds masks and circles. */
void scope_close(struct scope *s);
/* A new point: what depends on the sweep is computed again. */
void scope_next(struct scope *s);
/* Sweep keys on which a tree depends. */
uint64_t scope_mask(const struct scope *s, const struct ynode *y);
/* y with all variables put in; y itself when it has none. NULL when that failed; the problem is in d, or s->nomem is set. */
const struct ynode *scope_subst(struct scope *s, const struct ynode *y);
const char *scope_near(const struct scope *s, const char *word);

#endif
