/* SPDX-License-Identifier: MIT */
#include "runtime/base/pack.h"

#include <string.h>

void pack_int(struct buf *b, uint64_t v, int bytes)
{
    char z[8];
    for (int i = 0; i < bytes; i++)
        z[i] = (char)(v >> (8 * i));
    buf_put(b, z, (size_t)bytes);
}

void pack_str(struct buf *b, struct str s)
{
    pack_int(b, s.n, 4);
    buf_str(b, s);
}

void pack_cstr(struct buf *b, const char *z)
{
    pack_str(b, (struct str){z, strlen(z) + 1});
}

const unsigned char *unpack_bytes(struct unpack *r, size_t n)
{
    if (r->bad || n > r->n) {
        r->bad = true;
        return NULL;
    }
    const unsigned char *p = r->p;
    r->p += n;
    r->n -= n;
    return p;
}

uint64_t unpack_int(struct unpack *r, int bytes)
{
    const unsigned char *p = unpack_bytes(r, (size_t)bytes);
    uint64_t v = 0;
    for (int i = bytes; p && i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

struct str unpack_str(struct unpack *r)
{
    size_t n = (size_t)unpack_int(r, 4);
    const unsigned char *p = unpack_bytes(r, n);
    return p ? (struct str){(const char *)p, n} : (struct str){"", 0};
}

const char *unpack_cstr(struct unpack *r)
{
    struct str s = unpack_str(r);
    if (!s.n || s.p[s.n - 1] != 0)
        r->bad = true;
    return r->bad ? "" : s.p;
}

char *unpack_dup(struct unpack *r)
{
    struct str s = unpack_str(r);
    char *z = r->bad ? NULL : str_dup(s);
    r->bad = r->bad || !z;
    return z;
}

void unpack_digest(struct unpack *r, struct digest *d)
{
    const unsigned char *p = unpack_bytes(r, sizeof d->b);
    if (p)
        memcpy(d->b, p, sizeof d->b);
}

size_t unpack_count(struct unpack *r, size_t each)
{
    size_t n = (size_t)unpack_int(r, 4);
    if (n > r->n / each)
        r->bad = true;
    return r->bad ? 0 : n;
}
