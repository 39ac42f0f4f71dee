/* SPDX-License-Identifier: MIT
 *
 * progress: how long work reports, warns and is cancelled. Given by the caller of a long function; a NULL struct
 * progress * is allowed everywhere and means silence. Called from the thread that runs the work.
 */
#ifndef PKG_EXEC_PROGRESS_H
#define PKG_EXEC_PROGRESS_H

#include <stdbool.h>

#include "runtime/base/err.h"
#include "runtime/base/sha.h"

struct progress {
    void *u;
    void (*update)(void *u, double done, double total, const char *unit); /* may be NULL; unit: "tokens", "steps", "rows", "bytes" */
    void (*warn)(void *u, const char *text);                              /* may be NULL */
    bool (*cancelled)(void *u);                                           /* may be NULL */
};

void progress_update(const struct progress *p, double done, double total, const char *unit);
void progress_warn(const struct progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool progress_cancelled(const struct progress *p);
int progress_poll(const struct progress *p, struct err *e); /* 0, or ERR_CANCELLED with "cancelled" */
/* sha_file that p can cancel: a model of gigabytes takes seconds. p is told nothing. bytes may be NULL. */
int progress_sha_file(const struct progress *p, const char *path, struct digest *out, uint64_t *bytes, struct err *e);

#endif
