/* SPDX-License-Identifier: MIT
 *
 * bpe: byte pair encoding of one piece of text: the characters (or bytes) of the piece become ids, then of all
 * neighbours that merge the pair of lowest rank, leftmost first, is merged until none does (Sennrich et al. 2016, as in
 * the `tokenizers` library). Short pieces by scanning an array, long ones with a heap over a linked list, so that a
 * piece of n symbols takes n log n steps. Ids of short pieces are remembered in a table that all threads share without
 * locks; it is filled once and never evicted, and has no influence on the ids.
 */
#ifndef PKG_TEXT_BPE_H
#define PKG_TEXT_BPE_H

#include "runtime/text/tokenizer.h"
#include "runtime/text/vocab.h"

struct cache_entry;

struct bpe {
    struct text_map vocab; /* text of a token as in the file -> id */
    struct text_map raw;   /* bytes and ignore_merges: the bytes of a token -> id */
    struct merge_map merges;
    bool bytes; /* pieces are raw bytes: the symbols are bytes (the byte-level alphabet) */
    bool ignore_merges, fuse_unk, byte_fallback;
    bool words;               /* no merge joins another character with a following `▁`: pieces may be cut there */
    int32_t unk;              /* -1: characters without a token vanish */
    int32_t byte_id[256];     /* bytes: id of the byte; else id of the ASCII character; -1: none */
    int32_t fallback_id[256]; /* id of <0xNN> or -1 */
    _Atomic(struct cache_entry *) *cache;
};

/* After the maps and flags are filled: the tables above and the cache. 0, or -1 when out of memory. */
int bpe_prepare(struct bpe *b);
void bpe_release(struct bpe *b);

/* scratch memory of one thread */
struct bpe_work {
    struct symbol *symbols;
    struct candidate *heap;
    size_t symbol_cap, heap_cap;
    uint32_t *ids;
    size_t id_cap, n;
};
void bpe_work_release(struct bpe_work *w);

/* Appends the ids of the piece (valid UTF-8 unless b->bytes). 0, or -1 when out of memory. */
int bpe_encode(const struct bpe *b, struct bpe_work *w, struct str piece, struct ids *out);

/* The alphabet of byte-level tokenizers (GPT-2): a character for each byte. */
uint32_t byte_to_char(uint8_t byte);
int char_to_byte(uint32_t cp); /* -1: not in the alphabet */

#endif
