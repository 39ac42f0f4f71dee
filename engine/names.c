/* SPDX-License-Identifier: MIT */
#include "engine/names.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a with a final mix: keys come from the user's own spec, so that flooding is no concern. */
uint64_t hash_bytes(uint64_t seed, const void *p, size_t n)
{
    const unsigned char *c = p;
    uint64_t h = seed ^ 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ c[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

void names_release(struct names *t)
{
    free(t->slots);
    arena_release(&t->arena);
    *t = (struct names){0};
}

static struct names_slot *find(const struct names *t, struct str key, uint64_t h)
{
    for (size_t i = h & (t->cap - 1);; i = (i + 1) & (t->cap - 1)) {
        struct names_slot *s = &t->slots[i];
        if (!s->key || (s->hash == h && s->len == key.n && memcmp(s->key, key.p, key.n) == 0))
            return s;
    }
}

size_t names_get(const struct names *t, struct str key)
{
    if (!t->cap)
        return NAMES_NONE;
    const struct names_slot *s = find(t, key, hash_bytes(0, key.p, key.n));
    return s->key ? s->value : NAMES_NONE;
}

static bool grow(struct names *t)
{
    struct names bigger = {.cap = t->cap ? t->cap * 2 : 16};
    bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < t->cap; i++) {
        const struct names_slot *s = &t->slots[i];
        if (s->key)
            *find(&bigger, (struct str){s->key, s->len}, s->hash) = *s;
    }
    free(t->slots);
    t->slots = bigger.slots;
    t->cap = bigger.cap;
    return true;
}

const char *names_put(struct names *t, struct str key, size_t value)
{
    if (t->n * 4 >= t->cap * 3 && !grow(t))
        return NULL;
    uint64_t h = hash_bytes(0, key.p, key.n);
    struct names_slot *s = find(t, key, h);
    if (!s->key) {
        const char *copy = arena_str(&t->arena, key);
        if (!copy)
            return NULL;
        *s = (struct names_slot){.key = copy, .len = key.n, .hash = h};
        t->n++;
    }
    s->value = value;
    return s->key;
}
