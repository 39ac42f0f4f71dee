/* SPDX-License-Identifier: MIT
 *
 * Digests of the user's files (exec/sha_pieces) by (device, inode, size, mtime, ctime). A write moves ctime, which no program can set; but
 * two writes within one tick of the file system's clock leave the same ctime. So a file that changed just now is read
 * only after the clock has moved on, and what was read is believed only when the file is the same before and after.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/check.h"
#include "runtime/base/fs.h"
#include "runtime/exec/sha_pieces.h"
#include "runtime/store/store_private.h"

enum { TRIES = 3 };
static const int64_t tick_ns = 20000000;         /* the kernel's coarse clock moves every 1 to 10 ms */
static const int64_t whole_ns = 2000000000;      /* file systems that keep whole seconds (ext3), or two (FAT) */

/* How long two changes may leave the same ctime. A time without a fraction is that of a file system that keeps none. */
static int64_t granularity(const struct stat *st)
{
    return st->st_ctim.tv_nsec ? tick_ns : whole_ns;
}

static bool same_state(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && stat_mtime(a) == stat_mtime(b) &&
           stat_ctime(a) == stat_ctime(b);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Over all of a row but the path, so that a damaged row is a file not read yet. So is one whose digest was made in another way: the sum
 * begins with the size of a piece (0 in versions that took the SHA-256 of every file). */
static int64_t row_sum(const struct stat *st, const struct digest *d)
{
    uint64_t h = check_word(check_word(SHA_PIECE, (uint64_t)st->st_dev), (uint64_t)st->st_ino);
    h = check_word(check_word(check_word(h, (uint64_t)st->st_size), (uint64_t)stat_mtime(st)), (uint64_t)stat_ctime(st));
    return (int64_t)check_bytes(h, d->b, sizeof d->b);
}

static int cached(struct store *s, const char *path, const struct stat *st, struct digest *out, bool *moved, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, Q_FILE_GET);
    db_int(s->db, Q_FILE_GET, 1, (int64_t)st->st_dev);
    db_int(s->db, Q_FILE_GET, 2, (int64_t)st->st_ino);
    int rc = db_step(s->db, Q_FILE_GET, e);
    if (rc == 1) {
        rc = db_col_int(s->db, Q_FILE_GET, 0) == st->st_size && db_col_int(s->db, Q_FILE_GET, 1) == stat_mtime(st) &&
             db_col_int(s->db, Q_FILE_GET, 2) == stat_ctime(st) && db_col_digest(s->db, Q_FILE_GET, 3, out) && db_col_int(s->db, Q_FILE_GET, 5) == row_sum(st, out);
        *moved = rc == 1 && !str_is(db_col_text(s->db, Q_FILE_GET, 4), path);
    }
    db_end(s->db, Q_FILE_GET);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

static int remember(struct store *s, const char *path, const struct stat *st, const struct digest *d, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, Q_FILE_PUT);
    db_int(s->db, Q_FILE_PUT, 1, (int64_t)st->st_dev);
    db_int(s->db, Q_FILE_PUT, 2, (int64_t)st->st_ino);
    db_int(s->db, Q_FILE_PUT, 3, st->st_size);
    db_int(s->db, Q_FILE_PUT, 4, stat_mtime(st));
    db_int(s->db, Q_FILE_PUT, 5, stat_ctime(st));
    db_digest(s->db, Q_FILE_PUT, 6, d);
    db_text(s->db, Q_FILE_PUT, 7, str_of(path));
    db_int(s->db, Q_FILE_PUT, 8, row_sum(st, d));
    int rc = db_step(s->db, Q_FILE_PUT, e);
    db_end(s->db, Q_FILE_PUT);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

static int stat_file(const char *path, struct stat *st, struct err *e)
{
    if (stat(path, st) < 0)
        return errno == ENOENT || errno == ENOTDIR ? err_set(e, ERR_INPUT, "%s: no such file", path) : err_errno(e, "%s", path);
    return S_ISREG(st->st_mode) ? 0 : err_set(e, ERR_INPUT, "%s: not a regular file", path);
}

/* Sleeps until a later write would show in ctime. */
static void let_clock_pass(const struct stat *st)
{
    int64_t left = stat_ctime(st) + granularity(st) - now_ns();
    if (left > 0 && left <= granularity(st)) {
        struct timespec t = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
        nanosleep(&t, NULL);
    }
}

static int read_digest(const char *path, struct stat *st, const struct progress *p, struct digest *out, struct err *e)
{
    for (int i = 0; i < TRIES; i++) {
        struct stat after;
        let_clock_pass(st);
        int rc = sha_pieces_file(path, p, out, e);
        if (rc == 0)
            rc = stat_file(path, &after, e);
        if (rc != 0)
            return rc;
        if (same_state(st, &after))
            return 0;
        *st = after;
    }
    return err_set(e, ERR_INPUT, "%s: changes while it is read; run again when nobody writes to it", path);
}

int store_file_digest(struct store *s, const char *path, bool cached_only, const struct progress *p, struct digest *out, struct err *e)
{
    struct stat st;
    bool moved = false;
    int rc = stat_file(path, &st, e);
    if (rc == 0)
        rc = cached(s, path, &st, out, &moved, e);
    if (rc < 0)
        return rc;
    if (rc == 1) {
        struct err ignored;
        if (moved)
            remember(s, path, &st, out, &ignored);
        return 0;
    }
    if (cached_only)
        return err_set(e, ERR_NOTFOUND, "%s: not read yet", path);
    rc = read_digest(path, &st, p, out, e);
    if (rc == 0 && stat_ctime(&st) + granularity(&st) <= now_ns()) {
        struct err ignored; /* not being able to remember costs time only */
        remember(s, path, &st, out, &ignored);
    }
    return rc;
}

/* One row of the files with this digest whose file is as it was; else *gone is a path that had it (malloc'ed). */
static int find_file(struct store *s, const struct digest *d, char **path, char **gone, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    struct db *db = s->db;
    db_start(db, Q_FILE_BY_DIGEST);
    db_digest(db, Q_FILE_BY_DIGEST, 1, d);
    int rc;
    while (!*path && (rc = db_step(db, Q_FILE_BY_DIGEST, e)) == 1) {
        struct stat st;
        char *p = str_dup(db_col_text(db, Q_FILE_BY_DIGEST, 5));
        if (p && stat(p, &st) == 0 && (int64_t)st.st_dev == db_col_int(db, Q_FILE_BY_DIGEST, 0) &&
            (int64_t)st.st_ino == db_col_int(db, Q_FILE_BY_DIGEST, 1) && st.st_size == db_col_int(db, Q_FILE_BY_DIGEST, 2) &&
            stat_mtime(&st) == db_col_int(db, Q_FILE_BY_DIGEST, 3) && stat_ctime(&st) == db_col_int(db, Q_FILE_BY_DIGEST, 4) && row_sum(&st, d) == db_col_int(db, Q_FILE_BY_DIGEST, 6)) {
            *path = p;
            continue;
        }
        free(*gone);
        *gone = p;
    }
    db_end(db, Q_FILE_BY_DIGEST);
    pthread_mutex_unlock(&s->mutex);
    return *path ? 0 : rc;
}

int store_resolve(struct store *s, const struct digest *d, char **path, struct err *e)
{
    char hex[DIGEST_HEX], *gone = NULL;
    const char *why;
    *path = NULL;
    int rc = blob_check(s, d, UINT64_MAX, false, &why, e);
    if (rc == 1)
        return store_blob_path(s, d, path, e);
    if (rc == 0)
        rc = find_file(s, d, path, &gone, e);
    if (rc == 0 && !*path) {
        digest_hex(d, hex);
        if (gone)
            rc = err_set(e, ERR_NOTFOUND, "%s: moved, removed or changed since it was read (digest %.12s...); put it back or run from the start",
                         gone, hex);
        else
            rc = err_set(e, ERR_NOTFOUND, "no file with the digest %.12s... is known: neither in the store nor among the files read; run again, which makes what was lost", hex);
    }
    free(gone);
    return rc;
}
