/* SPDX-License-Identifier: MIT
 *
 * guard: files that shrink while they are mapped. Touching a page behind the new end raises SIGBUS, which would end the
 * process. The handler puts zeros there (to the end of the mapping) and marks the mapping as damaged, so that the work goes on to
 * its next safe point, where guard_check tells it to fail; whatever was computed from the zeros must not be kept. The
 * handler takes no lock, allocates nothing and jumps nowhere: every thread that faults simply goes on. A fault outside
 * the registered mappings (and beyond the first 512 of them) is what it was before: the end of the process.
 * A file cut within a page raises nothing: the rest of that page reads as zeros. So the checks also ask for the file's size.
 *
 * A mapping belongs to the thread that made it. A piece of work (a node, a command) is bracketed by guard_begin and
 * guard_end on its thread; guard_check in between keeps damage out of checkpoints.
 */
#ifndef PKG_BASE_GUARD_H
#define PKG_BASE_GUARD_H

#include <stddef.h>
#include <sys/stat.h>

#include "runtime/base/err.h"

/* For fs_map and fs_unmap. st: of the open file, whose st_size bytes are mapped. */
void guard_add(const void *p, const struct stat *st, const char *path);
void guard_remove(const void *p);

/* 0, or ERR_IO that names the file, when a mapping that is still there was cut short under us, whichever thread made it, or one that
 * this thread made and unmapped since guard_begin. Any thread. */
int guard_check(struct err *e);

/* Forgets what this thread has lost so far. */
void guard_begin(void);
/* 0, or ERR_IO that names the file, when a mapping that this thread made was cut short since guard_begin, whether it is still
 * there or not. */
int guard_end(struct err *e);

#endif
