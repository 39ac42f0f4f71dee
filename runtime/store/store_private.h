/* SPDX-License-Identifier: MIT
 *
 * store_private: what the files of the store share. Lock order: `mutex` guards the connection and
 * is never held while a file of the user or a blob is read.
 */
#ifndef PKG_STORE_STORE_PRIVATE_H
#define PKG_STORE_STORE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "runtime/store/db.h"
#include "runtime/store/store.h"

struct pending { /* a blob that is in its place, and maybe not yet on the disk */
    struct digest digest;
    int64_t size, mtime;
};

enum { STORE_KEY_FILES = 16 };

struct store {
    char *dir;        /* absolute */
    int blobs_fd;     /* DIR/blobs */
    pthread_mutex_t mutex;
    struct db *db;
    pthread_mutex_t scratch_mutex; /* of the next five */
    char *session;    /* DIR/tmp/s-XXXXXX, made on first use; flock'ed through session_fd */
    int session_fd;
    unsigned counter; /* names of scratch folders and files */
    char **idle_tmp;  /* empty scratch folders to use again */
    size_t n_idle_tmp, cap_idle_tmp;
    pthread_mutex_t locks_mutex;
    int keys_fd[STORE_KEY_FILES]; /* DIR/locks/nodes/N (locks.c), -1 until one of its keys is locked */
    struct store_lock *held[256]; /* by this process, by the first byte of the key */
    char *presence;   /* DIR/locks/p-XXXXXX, flock'ed through presence_fd */
    int presence_fd;
    pthread_mutex_t commit_mutex; /* one commit at a time; guards writer */
    struct db *writer;            /* the connection of commit.c; NULL until it is needed */
    _Atomic bool new_shelf;       /* a folder was made in blobs/ since the last commit */
    pthread_mutex_t pending_mutex;
    struct pending *pending;
    size_t n_pending, cap_pending;
    struct {          /* blobs that passed the cheap check since store_begin: a plan meets some of them thousands of times */
        bool open;    /* between store_begin without `write` and store_finish */
        size_t n, cap; /* a hash table; cap 0 or a power of two */
        struct digest *v;
    } fresh;
    char *warning;    /* what opening had to set aside; NULL */
};

/* blobs.c */
void blob_name(const struct digest *d, char out[66]); /* "ab/cdef..." */
/* The blob is there with the remembered size and time, or with the right digest (`full`: always digested). 1 good,
 * 0 missing or damaged (*why says which), negative an error. bytes UINT64_MAX: any size. */
int blob_check(struct store *s, const struct digest *d, uint64_t bytes, bool full, const char **why, struct err *e);
int blob_forget(struct store *s, const struct digest *d, struct err *e);

int put_blob_row(struct db *db, const struct digest *d, int64_t size, int64_t mtime, struct err *e);

/* commit.c */
int pending_add(struct store *s, const struct digest *d, const struct stat *st, struct err *e);
bool pending_has(struct store *s, const struct digest *d); /* moved in by this process, not yet committed */

/* records.c */
void fresh_close(struct store *s);

/* records.c, history.c: one row each, in the caller's transaction and under its mutex */
int put_record_row(struct db *db, const struct record *r, struct str body, struct err *e);
int put_expanded_row(struct db *db, const struct digest *key, const struct js *expanded, struct err *e);
struct node_run {
    const char *node, *status;
    const struct digest *key; /* NULL: none */
    double wall, cpu;
    uint64_t peak_memory, bytes_read, bytes_written;
};
int put_run_node_row(struct db *db, int64_t run, const struct node_run *n, struct err *e);

/* scratch.c */
int scratch_sweep(struct store *s, struct err *e); /* removes what dead processes left in tmp/ and locks/ */
void scratch_close(struct store *s);
int scratch_name(struct store *s, char **path, struct err *e); /* a name in the session folder that nobody has; malloc'ed */

/* locks.c */
void locks_close(struct store *s);

/* presence.c */
int presence_enter(struct store *s, struct err *e);
void presence_leave(struct store *s);
int64_t presence_oldest(struct store *s); /* unix seconds in which the oldest process began that has the store open */
int gate_enter(struct store *s, bool exclusive, int *fd, struct err *e);
void gate_leave(int fd);

static inline int64_t stat_mtime(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static inline int64_t stat_ctime(const struct stat *st)
{
    return (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

#endif
