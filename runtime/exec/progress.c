/* SPDX-License-Identifier: MIT */
#include "runtime/exec/progress.h"

#include <stdarg.h>
#include <stdio.h>

void progress_update(const struct progress *p, double done, double total, const char *unit)
{
    if (p && p->update)
        p->update(p->u, done, total, unit);
}

void progress_warn(const struct progress *p, const char *fmt, ...)
{
    if (!p || !p->warn)
        return;
    char z[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(z, sizeof z, fmt, ap);
    va_end(ap);
    p->warn(p->u, z);
}

bool progress_cancelled(const struct progress *p)
{
    return p && p->cancelled && p->cancelled(p->u);
}

int progress_poll(const struct progress *p, struct err *e)
{
    return progress_cancelled(p) ? err_set(e, ERR_CANCELLED, "cancelled") : 0;
}

static bool go_on(void *u, uint64_t done)
{
    (void)done;
    return !progress_cancelled(u);
}

int progress_sha_file(const struct progress *p, const char *path, struct digest *out, uint64_t *bytes, struct err *e)
{
    return sha_file_told(path, out, bytes, go_on, (void *)(uintptr_t)p, e);
}
