/* SPDX-License-Identifier: MIT
 *
 * spill: arrays that do not fit memory, in a temporary file that is mapped (private to runtime/model). The file has no name
 * from the beginning, so that nothing stays behind a killed process. What is put aside leaves the process's memory, and the
 * kernel writes it to the disk when it needs the room; what is dropped is never written, nor read again.
 */
#ifndef PKG_MODEL_SPILL_H
#define PKG_MODEL_SPILL_H

#include <stddef.h>

#include "runtime/base/err.h"

struct spill {
    char *p;
    size_t n, each; /* arrays; bytes of one, whole pages */
};

/* n arrays of `bytes` bytes each, zeros, in a file in folder dir. ERR_IO: the disk has no room for them. */
int spill_open(struct spill *s, const char *dir, size_t n, size_t bytes, struct err *e);
void spill_close(struct spill *s); /* {0} is fine */
void *spill_at(const struct spill *s, size_t i);
void spill_aside(const struct spill *s, size_t i); /* not needed for a while */
void spill_drop(const struct spill *s, size_t i);  /* never needed again; its content becomes undefined */

#endif
