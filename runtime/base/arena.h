/* SPDX-License-Identifier: MIT
 *
 * arena: memory by lifetime. Allocations are freed together; nothing is freed alone. Not thread-safe: an arena belongs
 * to one thread at a time. Returned memory is zeroed and aligned to 16 bytes. NULL only when the system refuses.
 *
 * big_alloc: large tensors, 64-byte aligned, anonymous mmap with huge pages asked for (madvise), zeroed. Size in bytes.
 */
#ifndef PKG_BASE_ARENA_H
#define PKG_BASE_ARENA_H

#include <stddef.h>

#include "runtime/base/buf.h"

struct arena {
    struct arena_block *head;
};

void arena_release(struct arena *a);
void *arena_alloc(struct arena *a, size_t bytes);
void *arena_array(struct arena *a, size_t n, size_t each); /* NULL as well when n * each overflows */
char *arena_str(struct arena *a, struct str s);            /* copy, NUL-terminated */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void *big_alloc(size_t bytes);
void big_free(void *p, size_t bytes); /* the same size as allocated; NULL is fine */

#endif
