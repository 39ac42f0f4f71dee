/* SPDX-License-Identifier: MIT
 *
 * unicode: the characters that Unicode 15 and 16 added to the general categories of Unicode 14, which PCRE2 10.42 has.
 * Patterns get them in addition (regex.c), so that new letters are letters whatever the version of PCRE2.
 */
#ifndef PKG_TEXT_UNICODE_H
#define PKG_TEXT_UNICODE_H

#include <stddef.h>
#include <stdint.h>

struct unicode_range {
    uint32_t first, last;
    char category[3];
};

extern const struct unicode_range unicode_newer[];
extern const size_t unicode_newer_count;

#endif
