/* SPDX-License-Identifier: MIT
 *
 * buf: a growing byte buffer, always NUL-terminated (the NUL is not counted in n), capped at BUF_MAX.
 * A failed growth sets `failed` and later appends do nothing, so that a builder checks once, at the end.
 * str: text by pointer and length, never owned, never NUL-terminated by faith.
 */
#ifndef PKG_BASE_BUF_H
#define PKG_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#define BUF_MAX ((size_t)1 << 36)

struct str {
    const char *p;
    size_t n;
};

#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})

struct str str_of(const char *z);                       /* of a NUL-terminated string; NULL gives {"", 0} */
bool str_eq(struct str a, struct str b);
bool str_is(struct str a, const char *z);
bool str_starts(struct str s, const char *prefix);
bool str_ends(struct str s, const char *suffix);
struct str str_trim(struct str s);                      /* ASCII white space off both ends */
char *str_dup(struct str s);                            /* malloc'ed, NUL-terminated; NULL when out of memory */

struct buf {
    char *p; /* NULL or NUL-terminated */
    size_t n, cap;
    bool failed;
};

void buf_release(struct buf *b);                        /* frees and zeroes */
void buf_clear(struct buf *b);                          /* n = 0, keeps the memory */
bool buf_reserve(struct buf *b, size_t extra);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_puts(struct buf *b, const char *z);
void buf_putc(struct buf *b, char c);
void buf_str(struct buf *b, struct str s);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct str buf_view(const struct buf *b);
char *buf_steal(struct buf *b);                         /* the caller frees; never NULL unless failed */

#endif
