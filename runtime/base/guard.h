/* SPDX-License-Identifier: MIT
 *
 * guard: files that shrink while they are mapped. Touching a page behind the new end raises SIGBUS, which would end the
 * process. The handler puts zeros there (to the end of the mapping) and marks the mapping as damaged, so that the work goes on to
 * its next safe point, where guard_check tells it to fail; whatever was computed from the zeros must not be kept. The
 * handler takes no lock, allocates nothing and jumps nowhere: every thread that faults simply goes on. A fault outside
 * the registered mappings (and beyond the first 512 of them) is what it was before: the end of the process.
 */
#ifndef PKG_BASE_GUARD_H
#define PKG_BASE_GUARD_H

#include <stddef.h>

#include "runtime/base/err.h"

/* For fs_map and fs_unmap. */
void guard_add(const void *p, size_t n, const char *path);
void guard_remove(const void *p);

/* 0, or ERR_IO that names the file, when a mapping that is still there was cut short under us. Any thread. */
int guard_check(struct err *e);

#endif
