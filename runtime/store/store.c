/* SPDX-License-Identifier: MIT
 *
 * Opening and closing a store. A folder becomes a store when the file `format` is in it; an index that SQLite cannot read
 * is renamed to index.sqlite.damaged-N and made anew, for it can be computed again, the blobs stay valid as they are.
 */
#include "runtime/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/store/store_private.h"

enum { STORE_FORMAT = 1 };
static const char format_text[] = "pkgraph store 1\n";

static bool ours(const char *name)
{
    static const char *const known[] = {"format", "blobs", "tmp", "locks", "checkpoints", "partial", "memo", "index.sqlite"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(name, known[i], strlen(known[i])) == 0)
            return true;
    return false;
}

/* A folder full of other things is not taken for a store. */
static int refuse_foreign(const char *dir, struct err *e)
{
    char **names = NULL;
    size_t n = 0;
    int rc = fs_list(dir, &names, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (!ours(names[i]))
            rc = err_set(e, ERR_INPUT, "%s: not a pkgraph store, and not empty (\"%s\"); name another folder with --store or $PKGRAPH_STORE",
                         dir, names[i]);
    fs_list_free(names, n);
    return rc;
}

static int check_format(const char *dir, struct err *e)
{
    char *path = fs_join(dir, "format");
    struct buf b = {0};
    if (!path)
        return err_nomem(e, strlen(dir), "a path");
    int rc = fs_read(path, 4096, &b, e), version = 0;
    if (rc == ERR_NOTFOUND) {
        rc = refuse_foreign(dir, e);
        if (rc == 0)
            rc = fs_write_atomic(path, format_text, sizeof format_text - 1, e);
        if (rc != 0 && rc != ERR_INPUT && rc != ERR_NOSPACE)
            err_prefix(e, "the store cannot be written; choose another with --store DIR or $PKGRAPH_STORE");
    } else if (rc == 0 && (!b.p || sscanf(b.p, "pkgraph store %d", &version) != 1))
        rc = err_set(e, ERR_DAMAGED, "%s: not a pkgraph store's format file; remove the folder or name another with --store", path);
    else if (rc == 0 && version > STORE_FORMAT)
        rc = err_set(e, ERR_UNSUPPORTED, "%s: store format %d, this pkgraph knows up to %d; use a newer pkgraph or another --store",
                     dir, version, STORE_FORMAT);
    buf_release(&b);
    free(path);
    return rc;
}

static int make_dirs(struct store *s, struct err *e)
{
    static const char *const dirs[] = {"blobs", "tmp", "locks", "checkpoints"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        char *path = fs_join(s->dir, dirs[i]);
        int rc = path ? fs_mkdirs(path, e) : err_nomem(e, strlen(s->dir), "a path");
        if (rc == 0 && access(path, R_OK | W_OK | X_OK) < 0)
            rc = err_errno(e, "%s: the store cannot be written; choose another with --store DIR or $PKGRAPH_STORE", path);
        if (rc == 0 && i == 0 && (s->blobs_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
            rc = err_errno(e, "%s", path);
        free(path);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* index.sqlite and its companions become index.sqlite.damaged-N. */
static int set_aside(struct store *s, const char *index, const struct err *why, struct err *e)
{
    static const char *const tails[] = {"", "-wal", "-shm"};
    struct buf from = {0}, to = {0}, text = {0};
    int n = 1, rc = 0;
    do {
        buf_clear(&to);
        buf_printf(&to, "%s.damaged-%d", index, n++);
    } while (!to.failed && fs_exists(to.p));
    buf_printf(&text, "%s; it was set aside as %s and a new one begun: results will be computed again, files already stored are used",
               why->msg, to.p ? fs_basename(to.p) : "");
    size_t base = to.n;
    for (int i = 0; rc == 0 && i < 3; i++) {
        buf_clear(&from);
        to.n = base;
        buf_printf(&from, "%s%s", index, tails[i]);
        buf_puts(&to, tails[i]);
        if (from.failed || to.failed)
            rc = err_nomem(e, 0, "a path");
        else if (rename(from.p, to.p) < 0 && errno != ENOENT)
            rc = err_errno(e, "%s: the damaged index cannot be set aside", from.p);
    }
    if (rc == 0) {
        free(s->warning);
        s->warning = buf_steal(&text);
    }
    buf_release(&from);
    buf_release(&to);
    buf_release(&text);
    return rc;
}

/* Opened, and looked through when somebody met damage in it. */
static int open_sound(struct store *s, const char *index, struct err *e)
{
    struct buf mark = {0};
    struct err ignored;
    buf_printf(&mark, "%s.broken", index);
    if (mark.failed) {
        buf_release(&mark);
        return err_nomem(e, 0, "a path");
    }
    bool doubt = fs_exists(mark.p);
    int rc = db_open(index, &s->db, e);
    if (rc == 0 && doubt && (rc = db_check(s->db, e)) != 0) {
        db_close(s->db);
        s->db = NULL;
    }
    if (rc == ERR_DAMAGED) {
        struct err why = *e;
        rc = set_aside(s, index, &why, e);
        if (rc == 0)
            rc = db_open(index, &s->db, e);
    }
    if (rc == 0)
        fs_remove_tree(mark.p, &ignored);
    buf_release(&mark);
    return rc;
}

/* One process at a time opens the index, so that two do not set it aside at once. */
static int open_index(struct store *s, struct err *e)
{
    char *index = fs_join(s->dir, "index.sqlite"), *lock = fs_join(s->dir, "locks/open");
    int fd = -1, rc = 0;
    if (!index || !lock)
        rc = err_nomem(e, strlen(s->dir), "a path");
    else if ((fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666)) < 0)
        rc = err_errno(e, "%s: the store cannot be written; choose another with --store DIR or $PKGRAPH_STORE", lock);
    while (rc == 0 && flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            rc = err_errno(e, "%s: cannot be locked; the store needs a file system with locks, such as a local disk: choose one with"
                              " --store DIR or $PKGRAPH_STORE", lock);
    if (rc == 0)
        rc = open_sound(s, index, e);
    if (fd >= 0)
        close(fd);
    free(index);
    free(lock);
    return rc;
}

int store_open(const char *dir, struct store **out, struct err *e)
{
    *out = NULL;
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return err_nomem(e, sizeof *s, "the store");
    s->blobs_fd = s->session_fd = s->presence_fd = -1;
    for (int i = 0; i < STORE_KEY_FILES; i++)
        s->keys_fd[i] = -1;
    pthread_mutex_init(&s->scratch_mutex, NULL);
    pthread_mutex_init(&s->locks_mutex, NULL);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_mutex_init(&s->commit_mutex, NULL);
    pthread_mutex_init(&s->pending_mutex, NULL);
    int rc = fs_mkdirs(dir, e);
    if (rc != 0)
        err_prefix(e, "the store cannot be made (choose another with --store DIR or $PKGRAPH_STORE)");
    else if (!(s->dir = fs_absolute(dir)))
        rc = err_nomem(e, strlen(dir), "a path");
    if (rc == 0)
        rc = check_format(s->dir, e);
    if (rc == 0)
        rc = make_dirs(s, e);
    if (rc == 0)
        rc = open_index(s, e);
    if (rc == 0)
        rc = presence_enter(s, e);
    if (rc == 0)
        rc = scratch_sweep(s, e);
    if (rc != 0)
        store_close(s);
    else
        *out = s;
    return rc;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    scratch_close(s);
    locks_close(s);
    presence_leave(s);
    db_close(s->writer);
    db_close(s->db);
    if (s->blobs_fd >= 0)
        close(s->blobs_fd);
    pthread_mutex_destroy(&s->scratch_mutex);
    pthread_mutex_destroy(&s->locks_mutex);
    pthread_mutex_destroy(&s->mutex);
    pthread_mutex_destroy(&s->commit_mutex);
    pthread_mutex_destroy(&s->pending_mutex);
    fresh_close(s);
    free(s->pending);
    free(s->warning);
    free(s->dir);
    free(s);
}

const char *store_dir(const struct store *s)
{
    return s->dir;
}

const char *store_warning(const struct store *s)
{
    return s->warning;
}

int store_begin(struct store *s, bool write, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    int rc = db_begin(s->db, write, false, e);
    s->fresh.open = rc == 0 && !write;
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

int store_finish(struct store *s, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    int rc = db_in_transaction(s->db) ? db_commit(s->db, e) : 0;
    fresh_close(s);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

int store_epoch(struct store *s, struct epoch *out, struct err *e)
{
    *out = (struct epoch){0};
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, Q_EPOCH);
    int rc = db_step(s->db, Q_EPOCH, e);
    if (rc == 1) {
        struct str nonce = db_col_blob(s->db, Q_EPOCH, 0);
        int64_t losses = db_col_int(s->db, Q_EPOCH, 1);
        memcpy(out->b, nonce.p, nonce.n < 16 ? nonce.n : 16);
        memcpy(out->b + 16, &losses, sizeof losses);
    }
    db_end(s->db, Q_EPOCH);
    pthread_mutex_unlock(&s->mutex);
    return rc == 1 ? 0 : rc == 0 ? err_set(e, ERR_DAMAGED, "%s: the index has no epoch", s->dir) : rc;
}

/* Leaves the newest MEMOS - 1 files; failing to is no harm. */
static void prune_memos(const char *dir)
{
    enum { MEMOS = 64 };
    char **names = NULL;
    size_t n = 0;
    struct err ignored;
    if (fs_list(dir, &names, &n, &ignored) != 0)
        return;
    for (size_t left = n; left >= MEMOS; left--) {
        char *oldest = NULL;
        int64_t when = INT64_MAX;
        for (size_t i = 0; i < n; i++) {
            struct stat st;
            char *path = fs_join(dir, names[i]);
            if (path && stat(path, &st) == 0 && stat_mtime(&st) < when) {
                when = stat_mtime(&st);
                free(oldest);
                oldest = path;
                path = NULL;
            }
            free(path);
        }
        if (oldest)
            unlink(oldest);
        free(oldest);
    }
    fs_list_free(names, n);
}

int store_memo_path(const char *dir, const struct digest *name, bool fresh, char **path, struct err *e)
{
    char hex[DIGEST_HEX];
    digest_hex(name, hex);
    char *memo = fs_join(dir, "memo");
    *path = memo ? fs_join(memo, hex) : NULL;
    int rc = *path ? 0 : err_nomem(e, strlen(dir), "a path");
    if (rc == 0 && fresh) {
        rc = fs_mkdirs(memo, e);
        prune_memos(memo);
    }
    if (rc != 0) {
        free(*path);
        *path = NULL;
    }
    free(memo);
    return rc;
}
