/* SPDX-License-Identifier: MIT */
#include "runtime/model/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/fs.h"

static int no_name(const char *dir, int *fd, struct err *e)
{
    char *name = fs_join(dir, ".spill-XXXXXX");
    if (!name)
        return err_nomem(e, 4096, "a path");
    *fd = mkostemp(name, O_CLOEXEC);
    int rc = *fd < 0 ? err_errno(e, "%s", name) : 0;
    if (!rc)
        unlink(name);
    free(name);
    return rc;
}

int spill_open(struct spill *s, const char *dir, size_t n, size_t bytes, struct err *e)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), all = 0;
    int fd = -1, rc = no_name(dir, &fd, e);
    *s = (struct spill){.n = n, .each = (bytes + page - 1) & ~(page - 1)};
    if (!rc && (s->each < bytes || __builtin_mul_overflow(s->each, n, &all) || all > SIZE_MAX / 2))
        rc = err_nomem(e, bytes, "a temporary file");
    if (!rc && (errno = ftruncate(fd, (off_t)all) ? errno : posix_fallocate(fd, 0, (off_t)all)))
        rc = err_errno(e, "%zu bytes of temporary data in %s", all, dir);
    if (!rc) {
        void *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            rc = err_errno(e, "mapping %zu bytes of temporary data", all);
        else
            s->p = p;
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

void spill_close(struct spill *s)
{
    if (s->p)
        munmap(s->p, s->n * s->each);
    *s = (struct spill){0};
}

void *spill_at(const struct spill *s, size_t i)
{
    return s->p + i * s->each;
}

void spill_aside(const struct spill *s, size_t i)
{
    madvise(s->p + i * s->each, s->each, MADV_DONTNEED); /* shared: the file keeps it */
}

void spill_drop(const struct spill *s, size_t i)
{
    if (madvise(s->p + i * s->each, s->each, MADV_REMOVE)) /* not every file system can free a part of a file */
        spill_aside(s, i);
}
