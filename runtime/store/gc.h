/* SPDX-License-Identifier: MIT
 *
 * gc: keeping the store small and sound: what is in it, pins, eviction, full verification.
 *
 * Eviction takes the records that were used longest ago, then the blobs that no record names. Never taken: what a pin
 * names, what one of the last keep_runs runs used, and what was made or used since the oldest process began that has the store open (processes mark themselves with
 * a flock'ed file in DIR/locks). Others may work on the store meanwhile. docs/store.md, invariant 15.
 */
#ifndef PKG_STORE_GC_H
#define PKG_STORE_GC_H

#include "runtime/exec/progress.h"
#include "runtime/store/store.h"

struct record_row {
    struct digest key;
    char *op, *types;    /* "train", "adapter,log" */
    uint64_t bytes;      /* of all its blobs, shared ones included */
    int64_t made, used;  /* unix seconds */
    double wall;
    bool pinned;
};

struct gc_options {
    uint64_t max_size; /* bytes of blobs to end with; 0: no limit */
    int64_t max_age;   /* seconds since the last use; 0: no limit */
    int keep_runs;     /* what the last so many runs of each specification used stays; alone, all else goes. 0: does not matter */
    bool dry_run;      /* only say what would go */
    void (*gone)(void *u, const struct record_row *r); /* told of each record that goes; may be NULL */
    void *u;
};

struct gc_result {
    size_t records, blobs, checkpoints; /* removed */
    uint64_t bytes;                     /* freed, of blobs and checkpoints */
    size_t kept_records, kept_blobs;
    uint64_t kept_bytes;
    size_t protected_records;           /* kept though the limits asked for them: pinned, in use, or of one of the last runs */
};
/* Without limits it only removes blobs that no record names and checkpoints older than 30 days. */
int store_gc(struct store *s, const struct gc_options *o, const struct progress *p, struct gc_result *out, struct err *e);

struct verify_result {
    size_t blobs, damaged, dropped; /* dropped: records that named a damaged or missing blob, or are damaged themselves */
    bool index_damaged;
    uint64_t bytes;
};
/* Digests every blob and reads every page of the index. Damaged blobs are removed and the records that name them dropped,
 * unless dry_run; `found` (may be NULL) is told of each: its digest (or "index") and what is wrong. A damaged index is set
 * aside when the store is opened the next time. */
int store_verify(struct store *s, bool dry_run, void (*found)(void *u, const char *name, const char *what), void *u,
                 const struct progress *p, struct verify_result *out, struct err *e);

struct store_usage {
    size_t records, blobs, checkpoints;
    uint64_t blob_bytes, unnamed_bytes, checkpoint_bytes, index_bytes; /* unnamed: blobs that no record names */
};
int store_du(struct store *s, struct store_usage *out, struct err *e);

int store_ls(struct store *s, struct record_row **rows, size_t *n, struct err *e); /* used last first */
void store_ls_free(struct record_row *rows, size_t n);

/* Pins: a name holds any number of keys until it is taken away. */
int store_pin(struct store *s, const char *name, const struct digest *keys, size_t n, struct err *e);
int store_unpin(struct store *s, const char *name, size_t *removed, struct err *e);
struct pin_row {
    char *name;
    struct digest key;
    int64_t at;
};
int store_pins(struct store *s, struct pin_row **rows, size_t *n, struct err *e); /* by name, then key */
void store_pins_free(struct pin_row *rows, size_t n);

#endif
