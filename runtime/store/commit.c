/* SPDX-License-Identifier: MIT
 *
 * Group commit. Files that move in are remembered here until a record is put; then all of them reach the disk together
 * (one syncfs, or fsync of each when they are few), and after that the rows of these blobs and the records of all nodes
 * that finished meanwhile are one transaction, whose log is fsync'ed. The order is that of docs/store.md, invariant 3:
 * what a row names is on the disk before the row can be. Commits go through a connection of their own, so that the wait
 * for the disk stops nobody who reads the index.
 *
 * Lock order: commit_mutex, then mutex, then pending_mutex.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/store/codec.h"
#include "runtime/store/store_private.h"

enum { FEW = 2 /* files below which each is fsync'ed: syncfs writes what others wrote to that file system, too */ };

int pending_add(struct store *s, const struct digest *d, const struct stat *st, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&s->pending_mutex);
    if (s->n_pending == s->cap_pending) {
        size_t cap = s->cap_pending ? 2 * s->cap_pending : 64;
        struct pending *p = realloc(s->pending, cap * sizeof *p);
        if (p) {
            s->pending = p;
            s->cap_pending = cap;
        } else
            rc = err_nomem(e, cap * sizeof *p, "stored files");
    }
    if (rc == 0)
        s->pending[s->n_pending++] = (struct pending){*d, st->st_size, stat_mtime(st)};
    pthread_mutex_unlock(&s->pending_mutex);
    return rc;
}

bool pending_has(struct store *s, const struct digest *d)
{
    struct pending p = {.size = -1};
    struct stat st;
    char name[66];
    pthread_mutex_lock(&s->pending_mutex);
    for (size_t i = s->n_pending; p.size < 0 && i-- > 0;)
        if (digest_cmp(&s->pending[i].digest, d) == 0)
            p = s->pending[i];
    pthread_mutex_unlock(&s->pending_mutex);
    blob_name(d, name);
    return p.size >= 0 && fstatat(s->blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_size == p.size &&
           stat_mtime(&st) == p.mtime;
}

static int sync_one(struct store *s, const struct digest *d, struct err *e)
{
    char name[66], shelf[3];
    blob_name(d, name);
    memcpy(shelf, name, 2);
    shelf[2] = 0;
    const char *const what[] = {name, shelf};
    for (int i = 0; i < 2; i++) {
        int fd = openat(s->blobs_fd, what[i], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT) /* removed by hand: its record will be a miss */
            return 0;
        int rc = fd < 0 || fsync(fd) < 0 ? err_errno(e, "%s/blobs/%s: fsync", s->dir, what[i]) : 0;
        if (fd >= 0)
            close(fd);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* All that the first n of the list name is on the disk. */
static int sync_pending(struct store *s, size_t n, struct err *e)
{
    bool whole = atomic_exchange(&s->new_shelf, false) || n > FEW;
    if (whole && syncfs(s->blobs_fd) < 0) {
        atomic_store(&s->new_shelf, true);
        return err_errno(e, "%s: sync", s->dir);
    }
    int rc = 0;
    for (size_t i = 0; !whole && rc == 0 && i < n; i++) {
        pthread_mutex_lock(&s->pending_mutex); /* others add meanwhile, and the list may move */
        struct digest d = s->pending[i].digest;
        pthread_mutex_unlock(&s->pending_mutex);
        rc = sync_one(s, &d, e);
    }
    return rc;
}

static int put_pending(struct store *s, struct db *db, size_t n, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        pthread_mutex_lock(&s->pending_mutex);
        struct pending p = s->pending[i];
        pthread_mutex_unlock(&s->pending_mutex);
        rc = put_blob_row(db, &p.digest, p.size, p.mtime, e);
    }
    return rc;
}

static void drop_pending(struct store *s, size_t n)
{
    pthread_mutex_lock(&s->pending_mutex);
    s->n_pending -= n;
    if (s->n_pending)
        memmove(s->pending, s->pending + n, s->n_pending * sizeof *s->pending);
    pthread_mutex_unlock(&s->pending_mutex);
}

static int put_rows(struct db *db, const struct store_put *p, size_t n, int64_t run, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct record *r = p[i].record;
        struct buf body = {0};
        rc = record_encode(r, &body, e);
        if (rc == 0)
            rc = put_record_row(db, r, buf_view(&body), e);
        if (rc == 0)
            rc = put_expanded_row(db, &r->key, r->expanded, e);
        if (rc == 0 && run && p[i].node)
            rc = put_run_node_row(db, run,
                                  &(struct node_run){.node = p[i].node, .status = p[i].status, .key = &r->key, .wall = r->wall, .cpu = r->cpu,
                                                     .peak_memory = r->peak_memory, .bytes_read = p[i].bytes_read,
                                                     .bytes_written = p[i].bytes_written},
                                  e);
        buf_release(&body);
    }
    return rc;
}

static int open_writer(struct store *s, struct err *e)
{
    char *index = fs_join(s->dir, "index.sqlite");
    int rc = index ? db_open(index, &s->writer, e) : err_nomem(e, 0, "a path");
    free(index);
    return rc;
}

static int commit_all(struct store *s, const struct store_put *p, size_t n, int64_t run, struct err *e)
{
    pthread_mutex_lock(&s->commit_mutex);
    pthread_mutex_lock(&s->pending_mutex);
    size_t n_pending = s->n_pending;
    pthread_mutex_unlock(&s->pending_mutex);
    int rc = s->writer ? 0 : open_writer(s, e);
    if (rc == 0)
        rc = sync_pending(s, n_pending, e);
    if (rc == 0)
        rc = db_begin(s->writer, true, true, e);
    if (rc == 0) {
        rc = put_pending(s, s->writer, n_pending, e);
        if (rc == 0)
            rc = put_rows(s->writer, p, n, run, e);
        if (rc == 0)
            rc = db_commit(s->writer, e);
        else
            db_rollback(s->writer);
    }
    if (rc == 0)
        drop_pending(s, n_pending);
    pthread_mutex_unlock(&s->commit_mutex);
    return rc;
}

int store_put_records(struct store *s, const struct store_put *p, size_t n, int64_t run, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    bool inside = db_in_transaction(s->db); /* store_begin: the caller's own, others wait for it */
    int rc = inside ? put_rows(s->db, p, n, run, e) : 0;
    pthread_mutex_unlock(&s->mutex);
    return inside ? rc : commit_all(s, p, n, run, e);
}

int store_put_record(struct store *s, const struct record *r, struct err *e)
{
    struct store_put p = {.record = r};
    return store_put_records(s, &p, 1, 0, e);
}
