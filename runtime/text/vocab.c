/* SPDX-License-Identifier: MIT */
#include "runtime/text/vocab.h"

#include <stdlib.h>

/* a power of two with at least half of it free */
static size_t table_size(size_t n)
{
    size_t size = 16;
    while (size < 2 * n)
        size *= 2;
    return size;
}

int text_map_init(struct text_map *m, size_t n)
{
    size_t size = table_size(n);
    *m = (struct text_map){.slots = calloc(size, sizeof *m->slots), .mask = size - 1};
    return m->slots ? 0 : -1;
}

void text_map_release(struct text_map *m)
{
    free(m->slots);
    *m = (struct text_map){0};
}

int text_map_add(struct text_map *m, struct str text, int32_t id, int32_t *old)
{
    uint64_t h = hash_bytes(text.p, text.n);
    if (m->n >= m->mask)
        return -1;
    for (size_t i = h & m->mask;; i = (i + 1) & m->mask) {
        struct text_slot *s = &m->slots[i];
        if (!s->text.p) {
            *s = (struct text_slot){text, (uint32_t)(h >> 32), id};
            m->n++;
            return 1;
        }
        if (s->hash == (uint32_t)(h >> 32) && str_eq(s->text, text)) {
            *old = s->id;
            return 0;
        }
    }
}

int32_t text_map_find(const struct text_map *m, struct str text)
{
    uint64_t h = hash_bytes(text.p, text.n);
    for (size_t i = h & m->mask;; i = (i + 1) & m->mask) {
        const struct text_slot *s = &m->slots[i];
        if (!s->text.p)
            return -1;
        if (s->hash == (uint32_t)(h >> 32) && str_eq(s->text, text))
            return s->id;
    }
}

int merge_map_init(struct merge_map *m, size_t n)
{
    size_t size = table_size(n);
    *m = (struct merge_map){.slots = malloc(size * sizeof *m->slots), .mask = size - 1};
    if (!m->slots)
        return -1;
    for (size_t i = 0; i < size; i++)
        m->slots[i].left = UINT32_MAX;
    return 0;
}

void merge_map_release(struct merge_map *m)
{
    free(m->slots);
    *m = (struct merge_map){0};
}

void merge_map_set(struct merge_map *m, uint32_t left, uint32_t right, uint32_t rank, uint32_t id)
{
    size_t i = hash_mix(0, (uint64_t)left << 32 | right) & m->mask;
    while (m->slots[i].left != UINT32_MAX && !(m->slots[i].left == left && m->slots[i].right == right))
        i = (i + 1) & m->mask;
    m->slots[i] = (struct merge){left, right, rank, id};
}
