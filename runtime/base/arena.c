/* SPDX-License-Identifier: MIT */
#include "runtime/base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct arena_block {
    struct arena_block *next;
    size_t used, cap;
    _Alignas(16) char data[];
};

enum { BLOCK = 64 * 1024 };

void arena_release(struct arena *a)
{
    for (struct arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    a->head = NULL;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    struct arena_block *b = a->head;
    if (!b || b->cap - b->used < bytes) {
        size_t cap = bytes > BLOCK / 4 ? bytes : BLOCK;
        b = malloc(sizeof *b + cap);
        if (!b)
            return NULL;
        b->used = 0;
        b->cap = cap;
        if (a->head && cap != BLOCK) { /* a block of its own: keep filling the current one */
            b->next = a->head->next;
            a->head->next = b;
        } else {
            b->next = a->head;
            a->head = b;
        }
    }
    void *p = b->data + b->used;
    b->used += bytes;
    return memset(p, 0, bytes);
}

void *arena_array(struct arena *a, size_t n, size_t each)
{
    size_t bytes;
    return __builtin_mul_overflow(n, each, &bytes) ? NULL : arena_alloc(a, bytes);
}

char *arena_str(struct arena *a, struct str s)
{
    char *z = arena_alloc(a, s.n + 1);
    if (z && s.n)
        memcpy(z, s.p, s.n);
    return z;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, ap2;
    va_start(ap, fmt);
    va_copy(ap2, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *z = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (z)
        vsnprintf(z, (size_t)n + 1, fmt, ap2);
    va_end(ap2);
    return z;
}

enum { HUGE_PAGE = 2 << 20 };

static size_t round_big(size_t bytes)
{
    return bytes >= HUGE_PAGE ? (bytes + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1) : (bytes + 4095) & ~(size_t)4095;
}

void *big_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t n = round_big(bytes ? bytes : 1);
    if (n < HUGE_PAGE) {
        void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return p == MAP_FAILED ? NULL : p;
    }
    /* ask for one huge page more and cut both ends, so that the start lies on a huge page */
    char *p = mmap(NULL, n + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t head = (size_t)(-(uintptr_t)p & (HUGE_PAGE - 1));
    if (head)
        munmap(p, head);
    munmap(p + head + n, HUGE_PAGE - head);
    madvise(p + head, n, MADV_HUGEPAGE);
    return p + head;
}

void big_free(void *p, size_t bytes)
{
    if (p)
        munmap(p, round_big(bytes ? bytes : 1));
}
