/* SPDX-License-Identifier: MIT */
#include "runtime/base/fs.h"
#include "runtime/base/guard.h"
#include "runtime/base/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int fs_read(const char *path, size_t max, struct buf *out, struct err *e)
{
    watch_file(path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_set(e, ERR_NOTFOUND, "%s: no such file", path) : err_errno(e, "%s", path);
    int rc = 0;
    struct stat st;
    if (fstat(fd, &st) < 0)
        rc = err_errno(e, "%s", path);
    else if (S_ISDIR(st.st_mode))
        rc = err_set(e, ERR_INPUT, "%s: is a directory, a file is needed", path);
    else if (st.st_size > 0 && (uint64_t)st.st_size > max)
        rc = err_set(e, ERR_INPUT, "%s: %lld bytes, at most %zu are read", path, (long long)st.st_size, max);
    else if (st.st_size > 0 && !buf_reserve(out, (size_t)st.st_size))
        rc = err_nomem(e, (unsigned long long)st.st_size, path);
    size_t total = 0;
    while (rc == 0) {
        if (!buf_reserve(out, 65536)) {
            rc = err_nomem(e, 65536, path);
            break;
        }
        ssize_t n = read(fd, out->p + out->n, out->cap - out->n - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = err_errno(e, "%s: read", path);
        if (n <= 0)
            break;
        out->n += (size_t)n;
        out->p[out->n] = 0;
        total += (size_t)n;
        if (total > max)
            rc = err_set(e, ERR_INPUT, "%s: more than %zu bytes", path, max);
    }
    close(fd);
    return rc;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t k = write(fd, p, n < (1u << 30) ? n : (1u << 30));
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return -1;
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

int fs_write(const char *path, const void *p, size_t n, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_errno(e, "%s: cannot create", path);
    int rc = write_all(fd, p, n) < 0 ? err_errno(e, "%s: write", path) : 0;
    if (close(fd) < 0 && rc == 0)
        rc = err_errno(e, "%s: close", path);
    return rc;
}

int fs_write_atomic(const char *path, const void *p, size_t n, struct err *e)
{
    char tmp[PATH_MAX];
    if (snprintf(tmp, sizeof tmp, "%s.XXXXXX", path) >= (int)sizeof tmp)
        return err_set(e, ERR_IO, "%s: path too long", path);
    int fd = mkostemp(tmp, O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "%s: cannot create a temporary file beside it", path);
    int rc = 0;
    if (write_all(fd, p, n) < 0 || fchmod(fd, 0644) < 0 || fsync(fd) < 0)
        rc = err_errno(e, "%s: write", path);
    if (close(fd) < 0 && rc == 0)
        rc = err_errno(e, "%s: close", path);
    if (rc == 0 && rename(tmp, path) < 0)
        rc = err_errno(e, "%s: rename", path);
    if (rc != 0)
        unlink(tmp);
    return rc;
}

void fs_remove_temps(const char *path)
{
    char *dir = fs_dirname(path), **names = NULL;
    const char *base = fs_basename(path);
    size_t n = 0, len = strlen(base);
    struct err ignored;
    if (!dir || fs_list(dir, &names, &n, &ignored) != 0)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        bool temp = strlen(names[i]) == len + 7 && strncmp(names[i], base, len) == 0 && names[i][len] == '.';
        char *full = temp ? fs_join(dir, names[i]) : NULL;
        if (full)
            unlink(full);
        free(full);
    }
    fs_list_free(names, n);
    free(dir);
}

int fs_map(const char *path, struct fs_map *m, struct err *e)
{
    *m = (struct fs_map){0};
    watch_file(path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_set(e, ERR_NOTFOUND, "%s: no such file", path) : err_errno(e, "%s", path);
    int rc = 0;
    struct stat st;
    if (fstat(fd, &st) < 0)
        rc = err_errno(e, "%s", path);
    else if (!S_ISREG(st.st_mode))
        rc = err_set(e, ERR_INPUT, "%s: not a regular file", path);
    else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            rc = err_errno(e, "%s: mmap", path);
        else
            *m = (struct fs_map){p, (size_t)st.st_size};
        if (m->p)
            guard_add(m->p, &st, path);
    }
    close(fd);
    return rc;
}

void fs_map_drop(const void *p, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)p + page - 1) & ~(page - 1), to = ((uintptr_t)p + n) & ~(page - 1);
    if (to > from)
        madvise((void *)from, to - from, MADV_DONTNEED);
}

void fs_unmap(struct fs_map *m)
{
    guard_remove(m->p);
    if (m->p)
        munmap((void *)(uintptr_t)m->p, m->n);
    *m = (struct fs_map){0};
}

int fs_mkdirs(const char *path, struct err *e)
{
    char z[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof z)
        return err_set(e, ERR_IO, "%s: path too long", path);
    memcpy(z, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (z[i] != '/' && z[i] != 0)
            continue;
        char c = z[i];
        z[i] = 0;
        if (mkdir(z, 0777) < 0 && errno != EEXIST)
            return err_errno(e, "%s: cannot create the directory", z);
        z[i] = c;
    }
    return fs_is_dir(path) ? 0 : err_set(e, ERR_IO, "%s: exists and is not a directory", path);
}

static int remove_at(int at, const char *name)
{
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return -1;
    }
    int rc = 0;
    for (struct dirent *ent; rc == 0 && (ent = readdir(d));)
        if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0)
            rc = remove_at(fd, ent->d_name);
    closedir(d);
    return rc == 0 ? unlinkat(at, name, AT_REMOVEDIR) : rc;
}

int fs_remove_tree(const char *path, struct err *e)
{
    return remove_at(AT_FDCWD, path) == 0 ? 0 : err_errno(e, "%s: cannot remove", path);
}

static int copy_bytes(int in, int out)
{
    if (ioctl(out, FICLONE, in) == 0)
        return 0;
    for (;;) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, (size_t)1 << 30, 0);
        if (n == 0)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
    }
    if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
        return -1;
    static const size_t chunk = 1 << 20;
    char *p = malloc(chunk);
    int rc = p ? 0 : -1;
    while (rc == 0) {
        ssize_t n = read(in, p, chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            rc = n < 0 ? -1 : 0;
            break;
        }
        rc = write_all(out, p, (size_t)n);
    }
    free(p);
    return rc;
}

int fs_copy(const char *from, const char *to, struct err *e)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return err_errno(e, "%s", from);
    struct stat whole, copy;
    int rc = fstat(in, &whole) < 0 ? err_errno(e, "%s", from) : 0, out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out < 0)
        rc = err_errno(e, "%s: cannot create", to);
    else if (rc == 0 && (copy_bytes(in, out) < 0 || fstat(out, &copy) < 0))
        rc = err_errno(e, "%s: copy from %s", to, from);
    else if (rc == 0 && copy.st_size < whole.st_size)
        rc = err_set(e, ERR_IO, "%s: was cut short while it was copied to %s; bring the file back and run again", from, to);
    if (out >= 0 && close(out) < 0 && rc == 0)
        rc = err_errno(e, "%s: close", to);
    close(in);
    if (rc != 0 && out >= 0)
        unlink(to);
    return rc;
}

bool fs_exists(const char *path)
{
    watch_file(path);
    return access(path, F_OK) == 0;
}

bool fs_dangles(const char *path)
{
    struct stat st;
    return !fs_exists(path) && lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

bool fs_is_dir(const char *path)
{
    struct stat st;
    watch_file(path);
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int fs_size(const char *path, uint64_t *bytes, struct err *e)
{
    struct stat st;
    watch_file(path);
    if (stat(path, &st) < 0)
        return err_errno(e, "%s", path);
    *bytes = (uint64_t)st.st_size;
    return 0;
}

int fs_sync_dir(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "%s", path);
    int rc = fsync(fd) < 0 && errno != EINVAL ? err_errno(e, "%s: fsync", path) : 0;
    close(fd);
    return rc;
}

int fs_sync_file(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) < 0 ? err_errno(e, "%s: fsync", path) : 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int fs_list(const char *path, char ***names, size_t *n, struct err *e)
{
    *names = NULL;
    *n = 0;
    watch_file(path);
    DIR *d = opendir(path);
    if (!d)
        return errno == ENOENT ? err_set(e, ERR_NOTFOUND, "%s: no such directory", path) : err_errno(e, "%s", path);
    size_t cap = 0;
    int rc = 0;
    for (struct dirent *ent; rc == 0 && (ent = readdir(d));) {
        if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
            continue;
        if (*n == cap) {
            cap = cap ? cap * 2 : 32;
            char **more = realloc(*names, cap * sizeof *more);
            if (!more) {
                rc = err_nomem(e, cap * sizeof *more, path);
                break;
            }
            *names = more;
        }
        if (!((*names)[*n] = strdup(ent->d_name)))
            rc = err_nomem(e, strlen(ent->d_name), path);
        else
            ++*n;
    }
    closedir(d);
    if (rc != 0) {
        fs_list_free(*names, *n);
        *names = NULL;
        *n = 0;
    } else if (*n)
        qsort(*names, *n, sizeof **names, by_name);
    return rc;
}

void fs_list_free(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

char *fs_join(const char *dir, const char *name)
{
    struct buf b = {0};
    if (name[0] != '/' && dir[0]) {
        buf_puts(&b, dir);
        if (dir[strlen(dir) - 1] != '/')
            buf_putc(&b, '/');
    }
    buf_puts(&b, name);
    return buf_steal(&b);
}

char *fs_dirname(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : str_dup((struct str){path, (size_t)(slash - path)});
}

const char *fs_basename(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *fs_absolute(const char *path)
{
    watch_file(path);
    char *real = realpath(path, NULL);
    if (real)
        return real;
    char *cwd = getcwd(NULL, 0);
    char *z = cwd ? fs_join(cwd, path) : NULL;
    free(cwd);
    return z;
}
