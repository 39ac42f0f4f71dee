/* SPDX-License-Identifier: MIT */
#include "engine/keymap.h"

#include <stdlib.h>
#include <string.h>

int keymap_init(struct keymap *m, size_t most)
{
    size_t cap = 16;
    while (cap < most * 2)
        cap *= 2;
    m->slots = malloc(cap * sizeof *m->slots);
    if (!m->slots)
        return ERR_NOMEM;
    m->mask = cap - 1;
    for (size_t i = 0; i < cap; i++)
        m->slots[i].node = -1;
    return 0;
}

void keymap_release(struct keymap *m)
{
    free(m->slots);
    *m = (struct keymap){0};
}

int keymap_claim(struct keymap *m, const struct digest *key, int node)
{
    size_t i;
    memcpy(&i, key->b, sizeof i);
    for (i &= m->mask; m->slots[i].node >= 0; i = (i + 1) & m->mask)
        if (digest_cmp(&m->slots[i].key, key) == 0)
            return m->slots[i].node;
    m->slots[i] = (struct keymap_slot){*key, node};
    return node;
}
