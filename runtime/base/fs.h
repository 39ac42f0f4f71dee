/* SPDX-License-Identifier: MIT
 *
 * fs: files and paths. Paths are NUL-terminated UTF-8. Every function that fails fills `e` with the path in the message.
 */
#ifndef PKG_BASE_FS_H
#define PKG_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"

/* Appends the file's bytes to out; more than max bytes is ERR_INPUT. ERR_NOTFOUND when there is no such file. */
int fs_read(const char *path, size_t max, struct buf *out, struct err *e);

/* Makes the file or replaces its bytes; neither atomic nor synced: for scratch, whose files are moved or synced later. */
int fs_write(const char *path, const void *p, size_t n, struct err *e);

/* Temporary file beside path, write, fsync, rename. The old file stays whole on any failure. */
int fs_write_atomic(const char *path, const void *p, size_t n, struct err *e);
/* Removes the temporary files (path with six characters behind) of writers that were killed. For who alone writes path. */
void fs_remove_temps(const char *path);

/* A read-only view of a whole file. An empty file has p == NULL, n == 0. */
struct fs_map {
    const uint8_t *p;
    size_t n;
};
int fs_map(const char *path, struct fs_map *m, struct err *e);
void fs_unmap(struct fs_map *m);
void fs_map_drop(const void *p, size_t n); /* a part of a map is not needed for a while: its whole pages leave the process */

int fs_mkdirs(const char *path, struct err *e);                 /* like mkdir -p */
int fs_remove_tree(const char *path, struct err *e);            /* like rm -rf; a missing path is fine; follows no links */
int fs_copy(const char *from, const char *to, struct err *e);   /* contents, through reflink or copy_file_range where possible */
bool fs_exists(const char *path);
bool fs_dangles(const char *path); /* a symbolic link to nothing */
bool fs_is_dir(const char *path);
int fs_size(const char *path, uint64_t *bytes, struct err *e);
int fs_sync_dir(const char *path, struct err *e);
int fs_sync_file(const char *path, struct err *e);

/* The names in a directory, sorted, without . and ..; free with fs_list_free. */
int fs_list(const char *path, char ***names, size_t *n, struct err *e);
void fs_list_free(char **names, size_t n);

/* malloc'ed; NULL when out of memory. */
char *fs_join(const char *dir, const char *name);  /* name alone when it is absolute */
char *fs_dirname(const char *path);                /* "." when there is no slash */
const char *fs_basename(const char *path);         /* points into path */
char *fs_absolute(const char *path);               /* realpath, or cwd + path when it does not exist */

#endif
