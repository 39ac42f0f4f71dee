/* SPDX-License-Identifier: MIT
 *
 * One lock a key: flock on DIR/locks/KEY. The kernel frees it when its holder dies. The file says who holds it and is
 * removed before it is let go; whoever then holds the lock of a removed file sees that and tries again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/store/store_private.h"

struct store_lock {
    char *path;
    int fd;
};

static void describe_self(int fd)
{
    char host[128] = "", z[256], when[32] = "";
    gethostname(host, sizeof host - 1);
    time_t now = time(NULL);
    struct tm tm;
    if (localtime_r(&now, &tm))
        strftime(when, sizeof when, "%H:%M:%S", &tm);
    int n = snprintf(z, sizeof z, "process %ld on %s since %s", (long)getpid(), host, when);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, z, (size_t)n, 0) < 0)
        return; /* a description only */
}

static void describe_holder(int fd, struct err *e)
{
    char z[256];
    ssize_t n = pread(fd, z, sizeof z - 1, 0);
    z[n > 0 ? n : 0] = 0;
    err_set(e, 0, "%s", n > 0 ? z : "another process");
}

/* 0 locked, 1 busy, 2 try again, negative an error. */
static int try_lock(struct store_lock *l, bool wait, struct err *e)
{
    l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (l->fd < 0)
        return err_errno(e, "%s: cannot create the lock", l->path);
    int rc = flock(l->fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB) == 0 ? 0 : errno == EINTR ? 2 : errno == EWOULDBLOCK ? 1 : -1;
    struct stat a, b;
    if (rc == 0 && (fstat(l->fd, &a) < 0 || stat(l->path, &b) < 0 || a.st_ino != b.st_ino || a.st_dev != b.st_dev))
        rc = 2;
    if (rc == -1)
        rc = err_errno(e, "%s: lock", l->path);
    if (rc == 1)
        describe_holder(l->fd, e);
    if (rc != 0)
        close(l->fd);
    return rc;
}

int store_lock_key(struct store *s, const struct digest *key, bool wait, struct store_lock **out, bool *busy, struct err *e)
{
    char hex[DIGEST_HEX];
    struct buf b = {0};
    digest_hex(key, hex);
    buf_printf(&b, "%s/locks/%s", s->dir, hex);
    struct store_lock *l = calloc(1, sizeof *l);
    *out = NULL;
    *busy = false;
    if (!l || !(l->path = buf_steal(&b))) {
        buf_release(&b);
        free(l);
        return err_nomem(e, sizeof *l, "a lock");
    }
    int rc;
    do
        rc = try_lock(l, wait, e);
    while (rc == 2);
    if (rc == 0) {
        describe_self(l->fd);
        *out = l;
        return 0;
    }
    *busy = rc == 1;
    free(l->path);
    free(l);
    return rc == 1 ? 0 : rc;
}

void store_unlock(struct store_lock *l)
{
    if (!l)
        return;
    unlink(l->path);
    close(l->fd);
    free(l->path);
    free(l);
}
