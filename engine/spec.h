/* SPDX-License-Identifier: MIT
 *
 * spec: a specification file with everything it extends, as one merged tree, before variables, variants and sweep. Keys of
 * the first two levels are checked here; what they mean is the business of expand.
 */
#ifndef PKG_ENGINE_SPEC_H
#define PKG_ENGINE_SPEC_H

#include "engine/yaml.h"

enum { SPEC_VERSION = 1, SPEC_EXTENDS = 32 };

struct spec {
    const char *file; /* as the user named it */
    const char *path; /* absolute */
    const char *dir;  /* absolute folder of the file */
    const char *name; /* of the spec; the file's name without .yaml when it has none */
    const struct ynode *vars, *defaults, *nodes, *sweep, *variants; /* mappings, or NULL */
};

/* Memory from arena. Problems go to d; 0 when the files could be read and merged (d may hold errors nevertheless),
 * ERR_INPUT when there is nothing to go on with, ERR_NOMEM. */
int spec_load(const char *path, struct arena *arena, struct diags *d, struct spec *out, struct err *e);

/* `over` laid over `base`: mappings key by key, everything else replaced. A null of `over` stays as a null, which readers
 * take as absent. NULL stands for nothing; returns NULL when out of memory (never for two non-NULL trees else). */
const struct ynode *ynode_merge(struct arena *a, const struct ynode *base, const struct ynode *over);

/* A mapping that is absent, null or of another kind (an error with `what`) gives NULL. */
const struct ynode *ynode_map(struct diags *d, const struct ynode *y, const char *what);
/* Every key must be one of `known`; others are errors with the nearest. `what`: "node lora". */
void check_keys(struct diags *d, const struct ynode *map, const char *what, const char *const *known, size_t n);
/* Letters, digits, `_` and `-`, not starting with `-`: what nodes, variables and variants may be called. */
bool is_name(struct str s);
/* The absolute folder of a place's file; from arena, NULL when out of memory. */
const char *place_dir(struct arena *a, struct place at);

#endif
