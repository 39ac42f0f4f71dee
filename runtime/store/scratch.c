/* SPDX-License-Identifier: MIT
 *
 * Scratch folders and checkpoints. All scratch of a process lies in one session folder DIR/tmp/s-XXXXXX, which the
 * process holds with flock; a folder whose lock is free belongs to nobody and is removed when a store is opened.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/store/store_private.h"

static bool same_file(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* With s->scratch_mutex held. A sweeper may catch the folder between its making and its locking: then another is made. */
static int make_session(struct store *s, struct err *e)
{
    for (int tries = 0; tries < 100; tries++) {
        char *path = fs_join(s->dir, "tmp/s-XXXXXX");
        if (!path)
            return err_nomem(e, strlen(s->dir), "a path");
        if (!mkdtemp(path)) {
            int rc = err_errno(e, "%s: cannot create a scratch folder", path);
            free(path);
            return rc;
        }
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && same_file(fd, path)) {
            s->session = path;
            s->session_fd = fd;
            return 0;
        }
        if (fd >= 0)
            close(fd);
        free(path);
    }
    return err_set(e, ERR_IO, "%s/tmp: no scratch folder could be made and locked", s->dir);
}

int scratch_name(struct store *s, char **path, struct err *e)
{
    struct buf b = {0};
    pthread_mutex_lock(&s->scratch_mutex);
    int rc = s->session ? 0 : make_session(s, e);
    if (rc == 0)
        buf_printf(&b, "%s/%u", s->session, ++s->counter);
    pthread_mutex_unlock(&s->scratch_mutex);
    if (rc == 0 && b.failed)
        rc = err_nomem(e, 0, "a path");
    *path = rc == 0 ? buf_steal(&b) : NULL;
    buf_release(&b);
    return rc;
}

/* Folders are used again: file systems are slow to make and remove what thousands of small nodes need for a moment. */
int store_tmp_dir(struct store *s, char **path, struct err *e)
{
    pthread_mutex_lock(&s->scratch_mutex);
    *path = s->n_idle_tmp ? s->idle_tmp[--s->n_idle_tmp] : NULL;
    pthread_mutex_unlock(&s->scratch_mutex);
    int rc = *path ? 0 : scratch_name(s, path, e);
    if (rc == 0 && mkdir(*path, 0777) < 0 && errno != EEXIST) {
        rc = err_errno(e, "%s: cannot create a scratch folder", *path);
        free(*path);
        *path = NULL;
    }
    return rc;
}

static bool is_empty(const char *path)
{
    DIR *d = opendir(path);
    bool empty = d != NULL;
    for (struct dirent *ent; empty && (ent = readdir(d));)
        empty = strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0;
    if (d)
        closedir(d);
    return empty;
}

static bool keep_tmp(struct store *s, char *path)
{
    bool kept = true;
    pthread_mutex_lock(&s->scratch_mutex);
    if (s->n_idle_tmp == s->cap_idle_tmp) {
        size_t cap = s->cap_idle_tmp ? 2 * s->cap_idle_tmp : 16;
        char **p = realloc(s->idle_tmp, cap * sizeof *p);
        kept = p != NULL;
        if (p) {
            s->idle_tmp = p;
            s->cap_idle_tmp = cap;
        }
    }
    if (kept)
        s->idle_tmp[s->n_idle_tmp++] = path;
    pthread_mutex_unlock(&s->scratch_mutex);
    return kept;
}

void store_tmp_done(struct store *s, char *path)
{
    struct err ignored;
    if (!path || (is_empty(path) && keep_tmp(s, path)))
        return;
    fs_remove_tree(path, &ignored);
    free(path);
}

static void sweep_one(const char *path)
{
    struct err ignored;
    struct stat st;
    if (lstat(path, &st) < 0)
        return;
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
        unlink(path);
        return;
    }
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && same_file(fd, path))
        fs_remove_tree(path, &ignored);
    close(fd);
}

/* What cannot be removed is left for the next time: it costs room, not correctness. */
int scratch_sweep(struct store *s, struct err *e)
{
    static const char *const dirs[] = {"tmp", "locks"};
    for (int i = 0; i < 2; i++) {
        char **names = NULL, *dir = fs_join(s->dir, dirs[i]);
        size_t n = 0;
        int rc = dir ? fs_list(dir, &names, &n, e) : err_nomem(e, 0, "a path");
        for (size_t k = 0; rc == 0 && k < n; k++) {
            bool stays = strcmp(names[k], "open") == 0 || strcmp(names[k], "gc") == 0 || strcmp(names[k], "nodes") == 0;
            char *path = stays ? NULL : fs_join(dir, names[k]);
            if (path)
                sweep_one(path);
            free(path);
        }
        fs_list_free(names, n);
        free(dir);
        if (rc != 0)
            return rc;
    }
    return 0;
}

void scratch_close(struct store *s)
{
    struct err ignored;
    while (s->n_idle_tmp)
        free(s->idle_tmp[--s->n_idle_tmp]);
    free(s->idle_tmp);
    if (!s->session)
        return;
    fs_remove_tree(s->session, &ignored);
    close(s->session_fd);
    free(s->session);
    s->session = NULL;
}

static int checkpoint_path(struct store *s, const struct digest *key, struct buf *b, struct err *e)
{
    char hex[DIGEST_HEX];
    digest_hex(key, hex);
    buf_printf(b, "%s/checkpoints/%s", s->dir, hex);
    return b->failed ? err_nomem(e, 0, "a path") : 0;
}

int store_checkpoint_dir(struct store *s, const struct digest *key, char **path, struct err *e)
{
    struct buf b = {0};
    int rc = checkpoint_path(s, key, &b, e);
    if (rc == 0)
        rc = fs_mkdirs(b.p, e);
    if (rc == 0)
        *path = buf_steal(&b);
    buf_release(&b);
    return rc;
}

int store_drop_checkpoint(struct store *s, const struct digest *key, struct err *e)
{
    struct buf b = {0};
    int rc = checkpoint_path(s, key, &b, e);
    if (rc == 0)
        rc = fs_remove_tree(b.p, e);
    buf_release(&b);
    return rc;
}
