/* SPDX-License-Identifier: MIT */
#include "runtime/formats/zip.h"

#include <stdlib.h>
#include <string.h>

enum { END = 22, END64 = 56, LOCATOR64 = 20, CENTRAL = 46, LOCAL = 30 };

static uint64_t le(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static int damaged(struct err *e, const char *what, const char *why)
{
    return err_set(e, ERR_INPUT, "%s: %s; the file is truncated or damaged, fetch it again", what, why);
}

/* Where the list of entries lies, from the record at the end of the file. */
static int find_list(const struct zip *z, const char *what, uint64_t *at, uint64_t *bytes, uint64_t *count, struct err *e)
{
    const uint8_t *p = NULL;
    size_t from = z->n > END + 65535 ? z->n - END - 65535 : 0;
    for (size_t i = z->n < END ? 0 : z->n - END + 1; i-- > from && !p;)
        if (memcmp(z->p + i, "PK\5\6", 4) == 0)
            p = z->p + i;
    if (!p)
        return damaged(e, what, "a zip archive without its end record");
    *count = le(p + 10, 2);
    *bytes = le(p + 12, 4);
    *at = le(p + 16, 4);
    size_t end = (size_t)(p - z->p);
    if (end >= LOCATOR64 && memcmp(p - LOCATOR64, "PK\6\7", 4) == 0) {
        uint64_t far = le(p - LOCATOR64 + 8, 8);
        if (z->n < END64 || far > z->n - END64 || memcmp(z->p + far, "PK\6\6", 4) != 0)
            return damaged(e, what, "its 64-bit end record is not where it should be");
        *count = le(z->p + far + 32, 8);
        *bytes = le(z->p + far + 40, 8);
        *at = le(z->p + far + 48, 8);
    }
    if (*at > z->n || *bytes > z->n - *at || *count > *bytes / CENTRAL)
        return damaged(e, what, "its list of entries lies beyond the end");
    return 0;
}

/* Sizes and offsets of 2^32 - 1 stand in the 64-bit extra field, in this order. */
static void widen(struct zip_entry *x, const uint8_t *extra, size_t n)
{
    while (n >= 4) {
        uint64_t id = le(extra, 2), len = le(extra + 2, 2);
        extra += 4;
        n -= 4;
        if (len > n)
            return;
        uint64_t *const fields[] = {&x->size, &x->packed, &x->header};
        const uint8_t *p = extra;
        size_t left = (size_t)len;
        for (int i = 0; id == 1 && i < 3; i++)
            if (*fields[i] == UINT32_MAX && left >= 8) {
                *fields[i] = le(p, 8);
                p += 8;
                left -= 8;
            }
        extra += len;
        n -= (size_t)len;
    }
}

static int by_name(const void *a, const void *b)
{
    struct str x = ((const struct zip_entry *)a)->name, y = ((const struct zip_entry *)b)->name;
    size_t n = x.n < y.n ? x.n : y.n;
    int d = n ? memcmp(x.p, y.p, n) : 0;
    return d ? d : x.n < y.n ? -1 : x.n > y.n;
}

int zip_read(struct zip *z, const uint8_t *p, size_t n, const char *what, struct err *e)
{
    uint64_t at = 0, bytes = 0, count = 0;
    *z = (struct zip){.p = p, .n = n};
    int rc = find_list(z, what, &at, &bytes, &count, e);
    if (rc == 0 && !(z->v = calloc((size_t)count + 1, sizeof *z->v)))
        rc = err_nomem(e, count * sizeof *z->v, what);
    for (uint64_t i = 0; rc == 0 && i < count; i++) {
        const uint8_t *c = p + at;
        if (bytes < CENTRAL || memcmp(c, "PK\1\2", 4) != 0)
            return damaged(e, what, "its list of entries is broken");
        size_t name = (size_t)le(c + 28, 2), extra = (size_t)le(c + 30, 2), comment = (size_t)le(c + 32, 2);
        if (name + extra + comment > bytes - CENTRAL)
            return damaged(e, what, "its list of entries is broken");
        struct zip_entry *x = &z->v[z->n_entries++];
        *x = (struct zip_entry){{(const char *)c + CENTRAL, name}, le(c + 42, 4), le(c + 24, 4), le(c + 20, 4), (uint16_t)le(c + 10, 2),
                                (uint16_t)le(c + 8, 2)};
        widen(x, c + CENTRAL + name, extra);
        at += CENTRAL + name + extra + comment;
        bytes -= CENTRAL + name + extra + comment;
    }
    if (rc == 0)
        qsort(z->v, z->n_entries, sizeof *z->v, by_name);
    return rc;
}

void zip_release(struct zip *z)
{
    free(z->v);
    *z = (struct zip){0};
}

const struct zip_entry *zip_find(const struct zip *z, struct str name)
{
    struct zip_entry key = {.name = name};
    return z->n_entries ? bsearch(&key, z->v, z->n_entries, sizeof key, by_name) : NULL;
}

int zip_data(const struct zip *z, const struct zip_entry *x, const char *what, size_t *offset, size_t *size, struct err *e)
{
    if (x->method != 0 || x->flags & 1 || x->packed != x->size)
        return err_set(e, ERR_UNSUPPORTED, "%s: entry \"%.*s\" is %s; torch.save stores entries as they are", what,
                       (int)(x->name.n < 100 ? x->name.n : 100), x->name.p, x->flags & 1 ? "encrypted" : "compressed");
    if (z->n < LOCAL || x->header > z->n - LOCAL || memcmp(z->p + x->header, "PK\3\4", 4) != 0)
        return damaged(e, what, "an entry does not lie where the list says");
    uint64_t at = x->header + LOCAL + le(z->p + x->header + 26, 2) + le(z->p + x->header + 28, 2);
    if (at > z->n || x->size > z->n - at)
        return damaged(e, what, "an entry lies beyond the end");
    *offset = (size_t)at;
    *size = (size_t)x->size;
    return 0;
}
