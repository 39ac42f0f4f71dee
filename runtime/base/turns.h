/* SPDX-License-Identifier: MIT
 *
 * turns: several threads write parts of one file. A file system lets one of them write at a time and the others spin; here one writes, and
 * what the others bring meanwhile is copied and left to it.
 */
#ifndef PKG_BASE_TURNS_H
#define PKG_BASE_TURNS_H

#include <stddef.h>

#include "runtime/base/err.h"

struct turns;
/* fd and path (for messages) belong to the caller and outlive it. */
int turns_new(int fd, const char *path, struct turns **out, struct err *e);
void turns_free(struct turns *t); /* NULL is fine; no call is under way */

/* n bytes at offset `at`. Any thread. When all calls that overlap have returned, all is written, unless one of them returned an error: of
 * its own bytes or of others'. A call may wait for others' writes when much is waiting. ERR_IO and what pwrite says. */
int turns_write(struct turns *t, size_t at, const void *p, size_t n, struct err *e);

#endif
