/* SPDX-License-Identifier: MIT
 *
 * sweep: the `sweep:` section as keys with values, and its points. Keys are variables or node.param; each stands alone
 * (every combination with the others) or in a zip group (their n-th values together). A point is one index a key.
 */
#ifndef PKG_ENGINE_SWEEP_H
#define PKG_ENGINE_SWEEP_H

#include "engine/vars.h"

enum { SWEEP_KEYS = 64, SWEEP_VALUES = 100000, SWEEP_POINTS = 100000 };

struct sweep_value {
    const struct ynode *y;
    const char *label; /* for ids: as written; distinct values have distinct labels */
    uint32_t same;     /* index of the first equal value of the key */
};

struct sweep_key {
    const char *name;       /* "r", "layers.strategy" */
    const char *node, *param; /* node.param; NULL for a variable */
    struct place at;
    struct var *var;
    size_t n;
    struct sweep_value *v;
    size_t group;           /* keys with the same group move together */
    bool distinct;          /* no value twice: in a group, such a key alone says which point it is */
};

struct sweep {
    size_t n_keys, n_groups, n_points;
    struct sweep_key keys[SWEEP_KEYS];
    size_t group_n[SWEEP_KEYS];
};

/* Reads the section (NULL: none, one point). Keys named in `pinned` (n of them, from --set) are left out. Variables are
 * found in s and tied to their key. Problems go to s->d. ERR_NOMEM. */
int sweep_read(struct sweep *w, const struct ynode *y, struct scope *s, const struct names *pinned);
/* The value index of every key at point i; the last group moves fastest. */
void sweep_point(const struct sweep *w, size_t i, uint32_t *index);
/* "r=4,layers.strategy=first": the keys in mask at a point; of keys in one zip only the first that is distinct, if one is.
 * NULL: no such key, or out of memory. */
const char *sweep_label(const struct sweep *w, const uint32_t *index, uint64_t mask, struct arena *a);

#endif
