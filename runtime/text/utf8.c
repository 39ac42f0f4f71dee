/* SPDX-License-Identifier: MIT */
#include "runtime/text/utf8.h"

#include <string.h>

size_t utf8_valid(struct str s)
{
    size_t i = 0;
    uint32_t cp = 0;
    while (i < s.n) {
        uint64_t eight;
        if (s.n - i >= 8 && (memcpy(&eight, s.p + i, 8), !(eight & 0x8080808080808080u))) {
            i += 8;
            continue;
        }
        size_t k = utf8_next(s.p + i, s.n - i, &cp);
        if (!k)
            break;
        i += k;
    }
    return i;
}

bool utf8_is_space(uint32_t cp)
{
    if (cp < 0x80)
        return cp == ' ' || (cp >= 9 && cp <= 13);
    return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

static bool strips(uint32_t cp)
{
    return utf8_is_space(cp) || (cp >= 0x1c && cp <= 0x1f);
}

struct str utf8_strip(struct str s)
{
    uint32_t cp = 0;
    size_t k;
    while (s.n && (k = utf8_next(s.p, s.n, &cp)) && strips(cp)) {
        s.p += k;
        s.n -= k;
    }
    while (s.n) {
        size_t i = s.n - 1;
        while (i && s.n - i < 4 && ((unsigned char)s.p[i] & 0xc0) == 0x80)
            i--;
        if (utf8_next(s.p + i, s.n - i, &cp) != s.n - i || !strips(cp))
            break;
        s.n = i;
    }
    return s;
}
