/* SPDX-License-Identifier: MIT
 *
 * pack: integers (little-endian) and strings (their length in 4 bytes in front) into a buf and out of bytes that are not
 * trusted. A reader that runs out of bytes turns `bad`, gives zeros from then on, and is asked once, at the end.
 */
#ifndef PKG_BASE_PACK_H
#define PKG_BASE_PACK_H

#include <stdint.h>

#include "runtime/base/buf.h"
#include "runtime/base/sha.h"

void pack_int(struct buf *b, uint64_t v, int bytes); /* bytes: 1 to 8 */
void pack_str(struct buf *b, struct str s);
void pack_cstr(struct buf *b, const char *z);        /* with its NUL, so that unpack_cstr need not copy */

struct unpack {
    const unsigned char *p;
    size_t n; /* what is left */
    bool bad;
};

const unsigned char *unpack_bytes(struct unpack *r, size_t n); /* NULL when they are not there */
uint64_t unpack_int(struct unpack *r, int bytes);
struct str unpack_str(struct unpack *r);      /* points into the bytes */
const char *unpack_cstr(struct unpack *r);    /* the same; "" when bad */
char *unpack_dup(struct unpack *r);           /* malloc'ed; NULL: bad or out of memory, and bad then */
void unpack_digest(struct unpack *r, struct digest *d);
/* A count of things that take at least `each` bytes, so that no count can ask for more memory than the bytes justify. */
size_t unpack_count(struct unpack *r, size_t each);

#endif
