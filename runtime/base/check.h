/* SPDX-License-Identifier: MIT
 *
 * check: a 64-bit sum that finds damage in small things kept on a disk (rows of the index). Not for contents: those have
 * SHA-256. Every step is a bijection of the state, so a change within one word of 8 bytes is always found, any other
 * with probability 1 - 2^-64.
 */
#ifndef PKG_BASE_CHECK_H
#define PKG_BASE_CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t check_word(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

/* Goes on from h, 0 at first. Little-endian, so that a store can move between machines. */
static inline uint64_t check_bytes(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    h = check_word(h, n);
    for (; n; ) {
        size_t k = n < 8 ? n : 8;
        uint64_t x = 0;
        for (size_t i = k; i-- > 0;)
            x = x << 8 | p[i];
        h = check_word(h, x);
        p += k;
        n -= k;
    }
    return h;
}

#endif
