/* SPDX-License-Identifier: MIT
 *
 * inventory: all records and all blobs of a store in memory, each record with the blobs that it names: what du, ls, gc
 * and verify work on.
 */
#ifndef PKG_STORE_INVENTORY_H
#define PKG_STORE_INVENTORY_H

#include "runtime/store/store_private.h"

struct held_blob {
    struct digest digest;
    uint64_t bytes;
    int64_t mtime;  /* unix seconds */
    size_t uses;    /* records that name it */
    bool present;   /* a file; false: only named */
};

struct held_record {
    struct digest key;
    int64_t used, made;
    double wall;
    char *types;    /* "adapter,log" */
    uint64_t bytes; /* as the record says */
    size_t n_blobs, *blobs; /* indexes, each once */
    bool pinned, gone;
    bool reached;   /* by one of the last runs that were asked for */
    bool damaged;   /* its row cannot be understood */
};

struct inventory {
    size_t n_blobs, n_records;
    struct held_blob *blobs;     /* by digest */
    struct held_record *records; /* longest unused first */
};

int inventory_load(struct store *s, struct inventory *v, struct err *e);
/* Sets `reached` of what the last n runs of each specification used. */
int inventory_reach(struct store *s, struct inventory *v, int n, struct err *e);
void inventory_release(struct inventory *v);

#endif
