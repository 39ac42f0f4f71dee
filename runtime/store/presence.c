/* SPDX-License-Identifier: MIT
 *
 * Who is here: every process that has the store open holds a flock'ed file locks/p-XXXXXX whose mtime is when it began.
 * And the gate between storing a blob that is there already and removing blobs that nobody names (see gc.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/store/store_private.h"

int presence_enter(struct store *s, struct err *e)
{
    for (int tries = 0; tries < 100; tries++) {
        struct stat st;
        char *path = fs_join(s->dir, "locks/p-XXXXXX");
        if (!path)
            return err_nomem(e, strlen(s->dir), "a path");
        int fd = mkostemp(path, O_CLOEXEC);
        if (fd < 0) {
            int rc = err_errno(e, "%s: the store cannot be written; choose another with --store DIR or $PKGRAPH_STORE", path);
            free(path);
            return rc;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fchmod(fd, 0644) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0) {
            s->presence = path;
            s->presence_fd = fd;
            return 0;
        }
        close(fd); /* a sweeper was faster */
        free(path);
    }
    return err_set(e, ERR_IO, "%s/locks: no file could be made and locked", s->dir);
}

void presence_leave(struct store *s)
{
    if (!s->presence)
        return;
    unlink(s->presence);
    close(s->presence_fd);
    free(s->presence);
    s->presence = NULL;
}

int64_t presence_oldest(struct store *s)
{
    struct stat st;
    struct err ignored;
    char **names = NULL, *dir = fs_join(s->dir, "locks");
    size_t n = 0;
    int64_t oldest = fstat(s->presence_fd, &st) == 0 ? st.st_mtim.tv_sec : 0;
    if (!dir || fs_list(dir, &names, &n, &ignored) != 0)
        oldest = 0; /* nothing is old enough to go */
    for (size_t i = 0; i < n; i++) {
        char *path = strncmp(names[i], "p-", 2) == 0 ? fs_join(dir, names[i]) : NULL;
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && fstat(fd, &st) == 0 && st.st_mtim.tv_sec < oldest)
            oldest = st.st_mtim.tv_sec;
        if (fd >= 0)
            close(fd);
        free(path);
    }
    fs_list_free(names, n);
    free(dir);
    return oldest;
}

int gate_enter(struct store *s, bool exclusive, int *fd, struct err *e)
{
    char *path = fs_join(s->dir, "locks/gc");
    *fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    int rc = !path ? err_nomem(e, 0, "a path") : *fd < 0 ? err_errno(e, "%s", path) : 0;
    while (rc == 0 && flock(*fd, exclusive ? LOCK_EX : LOCK_SH) < 0)
        if (errno != EINTR)
            rc = err_errno(e, "%s: lock", path);
    free(path);
    return rc;
}

void gate_leave(int fd)
{
    if (fd >= 0)
        close(fd);
}
