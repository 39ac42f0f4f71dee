/* SPDX-License-Identifier: MIT
 *
 * ahead: reads a file from its place on in a thread of its own, some pieces in front of whoever uses them, so that copying out
 * of the page cache (or waiting for the disk) goes on beside the work on what was read. Used by one thread.
 */
#ifndef PKG_BASE_AHEAD_H
#define PKG_BASE_AHEAD_H

#include <sys/types.h>

struct ahead;

struct ahead *ahead_new(int fd);                     /* fd stays the caller's; NULL: no memory or no thread to be had */
ssize_t ahead_next(struct ahead *a, const void **p); /* bytes at *p, good until the next call; 0: the end; -1 with errno */
void ahead_free(struct ahead *a);                    /* at any place; NULL is fine */

#endif
