/* SPDX-License-Identifier: MIT
 *
 * names: a hash table from text to a number, for names of nodes, variables, operators. Keys are copied into the table's
 * arena; nothing is removed. Zero-initialise; names_release frees. One thread at a time while it grows.
 */
#ifndef PKG_ENGINE_NAMES_H
#define PKG_ENGINE_NAMES_H

#include <stdint.h>

#include "runtime/base/arena.h"
#include "runtime/base/buf.h"

struct names {
    struct arena arena;
    size_t n, cap; /* cap: a power of two */
    struct names_slot {
        const char *key; /* NULL: free */
        size_t len, value;
        uint64_t hash;
    } *slots;
};

#define NAMES_NONE SIZE_MAX

void names_release(struct names *t);
size_t names_get(const struct names *t, struct str key); /* NAMES_NONE: absent */
/* Adds or replaces. Returns the table's own copy of the key, or NULL when out of memory. */
const char *names_put(struct names *t, struct str key, size_t value);
uint64_t hash_bytes(uint64_t seed, const void *p, size_t n);

#endif
