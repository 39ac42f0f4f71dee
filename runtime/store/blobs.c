/* SPDX-License-Identifier: MIT
 *
 * Blobs: DIR/blobs/ab/cdef..., read-only, named by their SHA-256. A blob counts as good when size and mtime are those the
 * index remembers from when its content was right (one stat); when they are not, it is digested once and remembered
 * again or treated as missing. So a store copied without its times heals itself, and an edited blob is a miss.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/exec/par.h"
#include "runtime/store/store_private.h"

void blob_name(const struct digest *d, char out[66])
{
    char hex[DIGEST_HEX];
    digest_hex(d, hex);
    memcpy(out, hex, 2);
    out[2] = '/';
    memcpy(out + 3, hex + 2, DIGEST_HEX - 2);
}

int put_blob_row(struct db *db, const struct digest *d, int64_t size, int64_t mtime, struct err *e)
{
    db_start(db, Q_BLOB_PUT);
    db_digest(db, Q_BLOB_PUT, 1, d);
    db_int(db, Q_BLOB_PUT, 2, size);
    db_int(db, Q_BLOB_PUT, 3, mtime);
    int rc = db_step(db, Q_BLOB_PUT, e);
    db_end(db, Q_BLOB_PUT);
    return rc;
}

static int remember(struct store *s, const struct digest *d, const struct stat *st, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    int rc = put_blob_row(s->db, d, st->st_size, stat_mtime(st), e);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

int blob_forget(struct store *s, const struct digest *d, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, Q_BLOB_DEL);
    db_digest(s->db, Q_BLOB_DEL, 1, d);
    int rc = db_step(s->db, Q_BLOB_DEL, e);
    db_end(s->db, Q_BLOB_DEL);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

/* 1: size and time are the remembered ones. */
static int remembered(struct store *s, const struct digest *d, const struct stat *st, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, Q_BLOB_GET);
    db_digest(s->db, Q_BLOB_GET, 1, d);
    int rc = db_step(s->db, Q_BLOB_GET, e);
    if (rc == 1)
        rc = db_col_int(s->db, Q_BLOB_GET, 0) == st->st_size && db_col_int(s->db, Q_BLOB_GET, 1) == stat_mtime(st);
    db_end(s->db, Q_BLOB_GET);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

static int blob_path(struct store *s, const struct digest *d, struct buf *b, struct err *e)
{
    char name[66];
    blob_name(d, name);
    buf_printf(b, "%s/blobs/%s", s->dir, name);
    return b->failed ? err_nomem(e, 0, "a path") : 0;
}

int blob_check(struct store *s, const struct digest *d, uint64_t bytes, bool full, const char **why, struct err *e)
{
    char name[66];
    struct stat st;
    blob_name(d, name);
    *why = "is missing";
    if (fstatat(s->blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return 0;
    *why = "has the wrong size";
    if (bytes != UINT64_MAX && (uint64_t)st.st_size != bytes)
        return 0;
    int rc = full ? 0 : remembered(s, d, &st, e);
    if (rc != 0)
        return rc;
    struct buf path = {0};
    struct digest is;
    rc = blob_path(s, d, &path, e);
    if (rc == 0)
        rc = sha_file(path.p, &is, NULL, e);
    buf_release(&path);
    if (rc != 0) {
        *why = "cannot be read";
        return rc == ERR_NOMEM ? rc : 0;
    }
    *why = "is damaged";
    if (digest_cmp(&is, d) != 0)
        return 0;
    struct err ignored; /* not being able to remember costs time only */
    int fd = openat(s->blobs_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fsync(fd) == 0) /* a row must not outlive the bytes that were read just now */
        remember(s, d, &st, &ignored);
    if (fd >= 0)
        close(fd);
    return 1;
}

int store_blob_state(struct store *s, const struct digest *d, struct blob_state *out, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, Q_BLOB_GET);
    db_digest(s->db, Q_BLOB_GET, 1, d);
    int rc = db_step(s->db, Q_BLOB_GET, e);
    if (rc == 1)
        *out = (struct blob_state){*d, db_col_int(s->db, Q_BLOB_GET, 0), db_col_int(s->db, Q_BLOB_GET, 1)};
    db_end(s->db, Q_BLOB_GET);
    pthread_mutex_unlock(&s->mutex);
    return rc == 1 ? 0 : rc == 0 ? err_set(e, ERR_NOTFOUND, "not among the blobs") : rc;
}

struct holding {
    struct store *s;
    const struct blob_state *v;
    _Atomic bool all;
};

static void check_slab(void *u, size_t first, size_t n)
{
    struct holding *h = u;
    for (size_t i = first; i < first + n; i++) {
        char name[66];
        struct stat st;
        blob_name(&h->v[i].digest, name);
        if (fstatat(h->s->blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) || st.st_size != h->v[i].size ||
            stat_mtime(&st) != h->v[i].mtime) {
            atomic_store(&h->all, false);
            return;
        }
    }
}

bool store_blobs_hold(struct store *s, const struct blob_state *v, size_t n)
{
    enum { SLAB = 2048 }; /* 2 ms: less is not worth a team */
    struct holding h = {.s = s, .v = v, .all = true};
    par_slabs(n, SLAB, check_slab, &h);
    return atomic_load(&h.all);
}

bool store_has_blob(struct store *s, const struct digest *d, uint64_t bytes)
{
    struct err ignored;
    const char *why;
    return blob_check(s, d, bytes, false, &why, &ignored) == 1;
}

bool store_verify_blob(struct store *s, const struct digest *d)
{
    struct err ignored;
    const char *why;
    char name[66];
    int rc = blob_check(s, d, UINT64_MAX, true, &why, &ignored);
    if (rc != 0) /* also when it could not be told */
        return true;
    blob_name(d, name);
    blob_forget(s, d, &ignored);
    unlinkat(s->blobs_fd, name, 0);
    return false;
}

int store_blob_path(struct store *s, const struct digest *d, char **path, struct err *e)
{
    struct buf b = {0};
    int rc = blob_path(s, d, &b, e);
    if (rc == 0)
        *path = buf_steal(&b);
    buf_release(&b);
    return rc;
}

/* Renames the finished file to its name among the blobs; the folder "ab" is made when needed. Not yet on the disk: until
 * its row is written (commit.c) a blob is believed only after it was digested. */
static int move_in(struct store *s, const char *from, const struct digest *d, struct err *e)
{
    char name[66], shelf[3];
    blob_name(d, name);
    memcpy(shelf, name, 2);
    shelf[2] = 0;
    int rc = renameat(AT_FDCWD, from, s->blobs_fd, name);
    if (rc < 0 && errno == ENOENT) {
        if (mkdirat(s->blobs_fd, shelf, 0777) < 0 && errno != EEXIST)
            return err_errno(e, "%s/blobs/%s: cannot create", s->dir, shelf);
        atomic_store(&s->new_shelf, true);
        rc = renameat(AT_FDCWD, from, s->blobs_fd, name);
    }
    return rc < 0 ? err_errno(e, "%s/blobs/%s: cannot move a file in", s->dir, name) : 0;
}

/* Read-only, as of now (gc takes it for new); what it then is goes to st. */
static int seal(const char *path, struct stat *st, struct err *e)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "%s", path);
    int rc = fchmod(fd, 0444) < 0 || futimens(fd, NULL) < 0 || fstat(fd, st) < 0 ? err_errno(e, "%s", path) : 0;
    close(fd);
    return rc;
}

/* A file with other names (hard links) or on another file system is copied, so that nobody else can write to the blob. */
static int own_copy(struct store *s, const char *path, char **mine, struct err *e)
{
    int rc = scratch_name(s, mine, e);
    return rc ? rc : fs_copy(path, *mine, e);
}

/* The content is there already: its time is set, so that gc takes it for new until a record names it, unless gc does so
 * anyway for this process. 1: it is; 0: no good blob is there. */
static int renew(struct store *s, const struct digest *d, uint64_t bytes, struct err *e)
{
    char name[66];
    const char *why;
    struct stat st, here;
    if (pending_has(s, d))
        return 1;
    int fd = -1, rc = blob_check(s, d, bytes, false, &why, e);
    if (rc != 1)
        return rc;
    blob_name(d, name);
    if (fstatat(s->blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && fstat(s->presence_fd, &here) == 0 &&
        st.st_mtim.tv_sec >= here.st_mtim.tv_sec)
        return 1;
    rc = gate_enter(s, false, &fd, e);
    if (rc == 0 && utimensat(s->blobs_fd, name, NULL, AT_SYMLINK_NOFOLLOW) == 0 && fstatat(s->blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        rc = pending_add(s, d, &st, e) == 0 ? 1 : e->code;
    gate_leave(fd);
    return rc;
}

int store_put_bytes(struct store *s, const void *p, size_t n, struct digest *out, struct err *e)
{
    struct stat st;
    char *mine = NULL;
    sha_bytes(p, n, out);
    int rc = renew(s, out, n, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = scratch_name(s, &mine, e);
    if (rc == 0)
        rc = fs_write(mine, p, n, e);
    if (rc == 0)
        rc = seal(mine, &st, e);
    if (rc == 0)
        rc = move_in(s, mine, out, e);
    if (rc == 0)
        rc = pending_add(s, out, &st, e);
    else if (mine)
        unlink(mine);
    free(mine);
    return rc;
}

/* known: *out is the digest. */
static int put_file(struct store *s, const char *path, bool known, const struct progress *p, struct digest *out, uint64_t *bytes, struct err *e)
{
    struct stat st, base;
    char *mine = NULL;
    const char *from = path;
    if (lstat(path, &st) < 0)
        return err_errno(e, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INTERNAL, "%s: not a regular file; only files can be stored", path);
    if (fstat(s->blobs_fd, &base) < 0)
        return err_errno(e, "%s/blobs", s->dir);
    int rc = 0;
    if (st.st_nlink > 1 || st.st_dev != base.st_dev) {
        rc = own_copy(s, path, &mine, e);
        from = mine;
    }
    *bytes = (uint64_t)st.st_size;
    if (rc == 0 && !known)
        rc = progress_sha_file(p, from, out, bytes, e);
    if (rc == 0)
        rc = renew(s, out, (uint64_t)st.st_size, e);
    if (rc == 0) {
        rc = seal(from, &st, e);
        if (rc == 0)
            rc = move_in(s, from, out, e);
        if (rc == 0)
            rc = pending_add(s, out, &st, e);
    } else if (rc == 1) { /* there already */
        rc = 0;
        if (mine)
            unlink(mine);
    }
    if (rc == 0 && (mine || fs_exists(path)) && unlink(path) < 0 && errno != ENOENT)
        rc = err_errno(e, "%s: cannot remove", path);
    if (mine)
        unlink(mine);
    free(mine);
    return rc;
}

int store_put_file(struct store *s, const char *path, const struct progress *p, struct digest *out, uint64_t *bytes, struct err *e)
{
    return put_file(s, path, false, p, out, bytes, e);
}

int store_put_digested(struct store *s, const char *path, const struct digest *d, uint64_t *bytes, struct err *e)
{
    struct digest own = *d;
    return put_file(s, path, true, NULL, &own, bytes, e);
}
