/* SPDX-License-Identifier: MIT
 *
 * yaml: a YAML 1.1 document (a thin face of libyaml, the only file that includes it) as a read-only tree in which every
 * value has its place. Aliases point to the anchored node itself and merge keys (`<<`) are already carried out, so that
 * readers see plain mappings. Refused: more than one document, duplicate keys, keys that are not text, recursive
 * aliases, tags other than the standard ones, more than YAML_DEPTH levels, and documents that are more than YAML_NODES
 * values when written out (an alias bomb).
 */
#ifndef PKG_ENGINE_YAML_H
#define PKG_ENGINE_YAML_H

#include "engine/diag.h"
#include "runtime/base/arena.h"
#include "runtime/base/err.h"
#include "runtime/base/json.h"

enum { YAML_DEPTH = 64, YAML_NODES = 4000000, YAML_BYTES = 32 << 20 };

enum ynode_kind { Y_SCALAR, Y_LIST, Y_MAP };

/* How a value came to stand where it is used: "for parameter r of lora" at another place; outermost last. */
struct via {
    struct place at;
    const char *text;
    const struct via *next;
};

struct ynode {
    enum ynode_kind kind;
    bool plain;      /* scalar without quotes: may mean a number, a boolean or null */
    bool dollar;     /* "${" stands in it or below it */
    bool removes;    /* a null that took the place of something in a merge: names that nobody knows are no error there */
    struct place at;
    struct str text; /* scalar; NUL-terminated too */
    size_t n;
    const struct ynode **v; /* list */
    struct ypair *pairs;    /* map, in the order of the file */
    size_t weight;          /* values in it, itself included, aliases written out */
    const struct via *via;
    const char *base;       /* file from whose folder a relative path starts; NULL: at.file; "": the current folder */
};

struct ypair {
    struct str key; /* NUL-terminated too */
    struct place at;
    const struct ynode *value;
};

/* Parses text. `file` must outlive the tree (it is the file of every place). All memory is from `arena`. *out is NULL for
 * an empty document. Errors go to d; returns 0, ERR_INPUT or ERR_NOMEM. */
int yaml_parse(struct str text, const char *file, struct arena *arena, struct diags *d, const struct ynode **out);

const struct ynode *ynode_get(const struct ynode *map, const char *key); /* NULL: absent, or not a map */
const struct ypair *ynode_pair(const struct ynode *map, struct str key);
bool ynode_is_null(const struct ynode *y); /* NULL, or a plain scalar `null`, `~` or nothing */
const char *ynode_kind_name(const struct ynode *y); /* "text", "number", "boolean", "null", "list", "mapping" */
struct ynode *ynode_scalar(struct arena *a, struct str text, bool plain, struct place at); /* copies text */

/* As JSON by YAML's core schema: plain true, 3, 0.5, null are typed, quoted text is text. NULL when out of memory. */
struct js *ynode_json(const struct ynode *y);
bool ynode_equal(const struct ynode *a, const struct ynode *b); /* places do not count */

/* Adds a problem at a value's place, with the chain through which it came. */
void diag_value(struct diags *d, enum diag_level level, const struct ynode *y, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

const char *yaml_library_version(void); /* of libyaml */

#endif
