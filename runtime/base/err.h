/* SPDX-License-Identifier: MIT
 *
 * err: how a failure travels. A function that can fail returns 0 or a negative `enum err_code` and takes a last
 * parameter `struct err *e`, filled where the facts are known: what is wrong, where, and what to do about it.
 * Nothing below tools/ prints, exits or aborts. `e` is never NULL. Any thread; a struct err belongs to its caller.
 */
#ifndef PKG_BASE_ERR_H
#define PKG_BASE_ERR_H

#include <stdarg.h>

enum err_code {
    ERR_OK = 0,
    ERR_INPUT = -1,       /* the user's spec, file, data or parameter is wrong: the message says place and remedy */
    ERR_IO = -2,          /* the operating system refused: open, read, write, rename */
    ERR_NOSPACE = -3,     /* disk full */
    ERR_NOMEM = -4,       /* memory refused, or more than the budget */
    ERR_CANCELLED = -5,   /* Ctrl-C or another node's failure */
    ERR_UNSUPPORTED = -6, /* well formed, but not something this version does */
    ERR_DAMAGED = -7,     /* a file of ours (store, checkpoint) does not hold what it should */
    ERR_INTERNAL = -8,    /* a bug in pkgraph or a library's refusal that has no other cause */
    ERR_NOTFOUND = -9,    /* asked for something that is not there (a lookup; often not an error) */
};

struct err {
    int code;
    char msg[2048]; /* one or more lines, no trailing newline, UTF-8 */
};

/* Fills e and returns `code`, so that `return err_set(e, ERR_INPUT, "...")` reads well. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int err_setv(struct err *e, int code, const char *fmt, va_list ap);

/* Like err_set, with ": strerror(errno)" appended; ENOSPC, EDQUOT -> ERR_NOSPACE, ENOMEM -> ERR_NOMEM, else ERR_IO. */
int err_errno(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " in front of the message that e already holds; returns e->code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "out of memory (N bytes for what)"; returns ERR_NOMEM. */
int err_nomem(struct err *e, unsigned long long bytes, const char *what);

#endif
