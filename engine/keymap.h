/* SPDX-License-Identifier: MIT
 *
 * keymap: which node computes a key: digest to node index, a hash table of fixed size. One thread.
 */
#ifndef PKG_ENGINE_KEYMAP_H
#define PKG_ENGINE_KEYMAP_H

#include <stddef.h>

#include "runtime/base/sha.h"

struct keymap {
    size_t mask;
    struct keymap_slot { struct digest key; int node; } *slots; /* node -1: free */
};

int keymap_init(struct keymap *m, size_t most); /* room for `most` keys; 0 or ERR_NOMEM */
void keymap_release(struct keymap *m);
/* The node that claimed the key; when nobody did, `node` claims it and is returned. */
int keymap_claim(struct keymap *m, const struct digest *key, int node);

#endif
