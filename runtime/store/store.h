/* SPDX-License-Identifier: MIT
 *
 * store: a content-addressed store on disk. Blobs lie under their SHA-256; records say which artifacts a key gave;
 * one SQLite database (WAL) holds records, the stat cache of the user's files, and the history of runs. Invariants
 * (docs/store.md): blob first, record second, both durable before a node counts as done; what is missing or damaged is a
 * miss, never a failure; locks are the kernel's (flock), so a killed process leaves none.
 *
 * Layout of DIR: format (version), blobs/ab/cdef..., tmp/, locks/, checkpoints/KEY/, index.sqlite
 * All functions are safe from any thread of a process (one connection under a mutex).
 */
#ifndef PKG_STORE_STORE_H
#define PKG_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/json.h"
#include "runtime/base/sha.h"
#include "runtime/exec/progress.h"

struct store;

int store_open(const char *dir, struct store **out, struct err *e); /* makes it if need be; a newer format is ERR_UNSUPPORTED */
void store_close(struct store *s);
const char *store_dir(const struct store *s);
/* What opening had to repair (a damaged index set aside), for the user; NULL: nothing. */
const char *store_warning(const struct store *s);
/* Many small calls as one transaction of the index (planning, the rows of a run). write: others wait until it is finished.
 * For one thread, while no other uses this store; a record put inside is
 * durable only some time after store_finish. */
int store_begin(struct store *s, bool write, struct err *e);
int store_finish(struct store *s, struct err *e);

/* ---- the user's files ---- */

/* Digest of a file (exec/sha_pieces) through the stat cache (device, inode, size, mtime_ns, ctime_ns; distrusted when the file changed
 * within the clock's granularity of the reading). `cached_only`: ERR_NOTFOUND instead of reading the file. Remembers
 * where the content lies, for store_resolve. p is told the bytes read of this file. */
int store_file_digest(struct store *s, const char *path, bool cached_only, const struct progress *p, struct digest *out, struct err *e);

/* ---- blobs ---- */

/* Moves the file in; it is on the disk when a record put later is. p can cancel it, and is told nothing. */
int store_put_file(struct store *s, const char *path, const struct progress *p, struct digest *out, uint64_t *bytes, struct err *e);
int store_put_bytes(struct store *s, const void *p, size_t n, struct digest *out, struct err *e); /* likewise; writes nothing when the content is there */
/* store_put_file of a file whose digest is known from writing it, which is not read again. */
int store_put_digested(struct store *s, const char *path, const struct digest *d, uint64_t *bytes, struct err *e);
bool store_has_blob(struct store *s, const struct digest *d, uint64_t bytes);          /* cheap check: there, right size */
/* Full check: reads the content. False: it is missing or was damaged and is now removed; its records are misses. */
bool store_verify_blob(struct store *s, const struct digest *d);
int store_blob_path(struct store *s, const struct digest *d, char **path, struct err *e); /* malloc'ed */
/* A readable path with this content: blob, else a user's file whose stat still matches. ERR_NOTFOUND. malloc'ed. */
int store_resolve(struct store *s, const struct digest *d, char **path, struct err *e);

/* What the index remembers of a good blob, to be compared later without the index. */
struct blob_state {
    struct digest digest;
    int64_t size, mtime; /* ns */
};
int store_blob_state(struct store *s, const struct digest *d, struct blob_state *out, struct err *e); /* ERR_NOTFOUND: it vouches for none */
bool store_blobs_hold(struct store *s, const struct blob_state *v, size_t n);                         /* all are there as they were */

/* What changes when a record or a blob of the store is no more, or a record says something else, or the index is another. */
struct epoch {
    uint8_t b[24];
};
int store_epoch(struct store *s, struct epoch *out, struct err *e);
/* A place in the store in this folder, open or not, for what is remembered about it under a name and may be lost; malloc'ed. `fresh`:
 * it will be written; then its folder is made, and the oldest of many such files are removed. */
int store_memo_path(const char *dir, const struct digest *name, bool fresh, char **path, struct err *e);

/* ---- artifacts and records ---- */

struct artifact_file {
    char *name;
    struct digest digest;
    uint64_t bytes;
};

struct artifact {
    char *type;
    struct js *desc;             /* descriptor; NULL: it has not been parsed, see artifact_desc */
    const char *desc_text;       /* of a record that was read: the descriptor as JSON, in the record's memory; NULL: none */
    size_t n;
    struct artifact_file *files; /* by name, ascending */
    struct digest digest;        /* over type, names, digests (not the descriptor): what enters the keys of consumers */
};

const struct js *artifact_desc(const struct artifact *a); /* parsed when first asked for, by one thread; NULL: damaged, or none */
void artifact_seal(struct artifact *a); /* sorts the files, computes the digest */
void artifact_release(struct artifact *a);

struct record {
    struct digest key;
    struct js *expanded;     /* the expanded key: every field that entered it */
    size_t n_out;
    char **ports;
    struct artifact *out;    /* n_out */
    double wall, cpu;        /* seconds of the run that made it */
    uint64_t peak_memory;    /* bytes */
    int64_t made_at;         /* unix seconds */
    bool one_block;          /* it was read: ports, artifacts and files lie in the record's own memory */
};

/* 0 and *out (free with record_free) when the record is there and all its blobs pass the cheap check; ERR_NOTFOUND
 * otherwise (a damaged or missing blob drops the record; `why`, if not NULL, gets a sentence). */
int store_get_record(struct store *s, const struct digest *key, struct record **out, struct err *why);
/* Marks a record as used now: whoever has found it and will read its blobs says so, and gc then leaves it alone as long as
 * this process has the store open. ERR_NOTFOUND when gc was faster: a miss. */
int store_use_record(struct store *s, const struct digest *key, struct err *e);
/* Durable when it returns, and with it every file put before. Inside store_begin: when store_finish has, some time after. */
int store_put_record(struct store *s, const struct record *r, struct err *e);
/* Many at once, for the price of one: all or none. run: their rows in the history, too (0: none). */
struct store_put {
    const struct record *record;
    const char *node, *status;          /* for the history; node NULL: not in it */
    uint64_t bytes_read, bytes_written;
};
int store_put_records(struct store *s, const struct store_put *p, size_t n, int64_t run, struct err *e);
void record_free(struct record *r);

/* ---- one computation a key ---- */

/* Takes the lock of a key. *busy: another process holds it (its description in e->msg) and !wait. */
struct store_lock;
int store_lock_key(struct store *s, const struct digest *key, bool wait, struct store_lock **out, bool *busy, struct err *e);
void store_unlock(struct store_lock *l);

/* ---- scratch ---- */

int store_tmp_dir(struct store *s, char **path, struct err *e);  /* an empty folder under DIR/tmp, on the same file system; malloc'ed */
void store_tmp_done(struct store *s, char *path); /* removes what is in it, takes path over; the next store_tmp_dir may give it again */
int store_checkpoint_dir(struct store *s, const struct digest *key, char **path, struct err *e);
int store_drop_checkpoint(struct store *s, const struct digest *key, struct err *e);

/* ---- history ---- */

/* What the node was the last times it ran or was found up to date, newest first. */
struct history_row {
    int64_t run, at;
    char *spec, *node, *status; /* "ran", "cached", "failed", ... */
    struct digest key;
    double wall, cpu;
    uint64_t peak_memory, bytes_read, bytes_written; /* of inputs and sources; of outputs */
};
int store_run_begin(struct store *s, const char *spec, const char *command, int64_t *run, struct err *e);
int store_run_node(struct store *s, int64_t run, const char *node, const char *status, const struct digest *key, double wall,
                   double cpu, uint64_t peak_memory, struct err *e);
/* Whether the last run of the spec left all its nodes done, under keys with this digest, within the last hour: then their
 * rows in the history and their marks of use are as good as new. store_see sets that (NULL: it did not). */
bool store_seen(struct store *s, const char *spec, const struct digest *keys);
int store_see(struct store *s, const char *spec, const struct digest *keys, struct err *e);
int store_run_end(struct store *s, int64_t run, const char *status, struct err *e);
int store_history(struct store *s, const char *spec, const char *node, size_t limit, struct history_row **rows, size_t *n, struct err *e);
void store_history_free(struct history_row *rows, size_t n);
/* node NULL: all nodes of the spec, newest run first. limit 0: all. */

struct run_row {
    int64_t run, began, ended; /* unix seconds; ended 0: did not come to its end */
    int64_t nodes; /* the run whose rows tell of the nodes: itself, or the one whose work it found as it was (store_seen) */
    char *status, *command, *spec; /* status: "running", "done", "failed", "cancelled" */
};
int store_runs(struct store *s, const char *spec, size_t limit, struct run_row **rows, size_t *n, struct err *e); /* newest first; spec NULL: all */
void store_runs_free(struct run_row *rows, size_t n);
/* The expanded key of any key this store has recorded, stored or not (NULL, ERR_NOTFOUND). */
int store_put_expanded(struct store *s, const struct digest *key, const struct js *expanded, struct err *e); /* of a run that failed */
int store_expanded(struct store *s, const struct digest *key, struct js **out, struct err *e);

#endif
