/* SPDX-License-Identifier: MIT
 *
 * vocab: two maps of a tokenizer: token text -> id (the texts belong to the tokenizer) and pair of ids -> merge. Open
 * addressing with linear probing; built once, then read by any thread.
 */
#ifndef PKG_TEXT_VOCAB_H
#define PKG_TEXT_VOCAB_H

#include <stdint.h>
#include <string.h>

#include "runtime/base/buf.h"

static inline uint64_t hash_mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static inline uint64_t hash_bytes(const char *p, size_t n)
{
    uint64_t h = hash_mix(0x243f6a8885a308d3u, n), x;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&x, p, 8);
        h = hash_mix(h, x);
    }
    if (n) {
        x = 0;
        memcpy(&x, p, n);
        h = hash_mix(h, x);
    }
    return h ^ h >> 32;
}

struct text_map {
    struct text_slot {
        struct str text; /* .p == NULL: free */
        uint32_t hash;
        int32_t id;
    } * slots;
    size_t mask, n;
};

int text_map_init(struct text_map *m, size_t n); /* room for n texts; 0, or -1 when out of memory */
void text_map_release(struct text_map *m);
/* 1: added, 0: the text is there already (*old is its id), -1: full */
int text_map_add(struct text_map *m, struct str text, int32_t id, int32_t *old);
int32_t text_map_find(const struct text_map *m, struct str text); /* -1: not there */

struct merge {
    uint32_t left, right; /* left == UINT32_MAX: free */
    uint32_t rank, id;
};

struct merge_map {
    struct merge *slots;
    size_t mask;
};

int merge_map_init(struct merge_map *m, size_t n);
void merge_map_release(struct merge_map *m);
void merge_map_set(struct merge_map *m, uint32_t left, uint32_t right, uint32_t rank,
                   uint32_t id); /* the last one wins */

/* NULL: these two do not merge. */
static inline const struct merge *merge_map_find(const struct merge_map *m, uint32_t left, uint32_t right)
{
    size_t i = hash_mix(0, (uint64_t)left << 32 | right) & m->mask;
    for (;; i = (i + 1) & m->mask) {
        const struct merge *s = &m->slots[i];
        if (s->left == left && s->right == right)
            return s;
        if (s->left == UINT32_MAX)
            return NULL;
    }
}

#endif
