/* SPDX-License-Identifier: MIT */
#include "runtime/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int err_setv(struct err *e, int code, const char *fmt, va_list ap)
{
    e->code = code;
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    return code;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err_setv(e, code, fmt, ap);
    va_end(ap);
    return code;
}

int err_errno(struct err *e, const char *fmt, ...)
{
    int no = errno;
    va_list ap;
    va_start(ap, fmt);
    int code = no == ENOSPC || no == EDQUOT ? ERR_NOSPACE : no == ENOMEM ? ERR_NOMEM : ERR_IO;
    err_setv(e, code, fmt, ap);
    va_end(ap);
    size_t n = strlen(e->msg);
    snprintf(e->msg + n, sizeof e->msg - n, ": %s", strerror(no));
    return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    char old[sizeof e->msg];
    memcpy(old, e->msg, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    size_t n = strlen(e->msg);
    snprintf(e->msg + n, sizeof e->msg - n, ": %.*s", (int)(sizeof old - 1), old);
    return e->code;
}

int err_nomem(struct err *e, unsigned long long bytes, const char *what)
{
    return err_set(e, ERR_NOMEM, "out of memory: %llu bytes for %s", bytes, what);
}
