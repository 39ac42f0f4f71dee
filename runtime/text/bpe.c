/* SPDX-License-Identifier: MIT */
#include "runtime/text/bpe.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/text/utf8.h"

enum {
    SHORT = 40, /* symbols up to which scanning beats the heap */
    CACHE_SLOTS = 1 << 16,
    CACHE_PROBES = 4,
    CACHE_PIECE = 64, /* bytes of the longest piece that is remembered */
};

struct cache_entry {
    uint64_t hash;
    uint32_t length, n;
    int32_t ids[]; /* n ids, then the bytes of the piece */
};

struct symbol {
    uint32_t id;
    int32_t prev, next; /* -1: none */
    bool gone;
};

struct candidate {
    uint32_t rank, pos, id; /* merging the symbol at pos with its next gives id */
};

uint32_t byte_to_char(uint8_t byte)
{
    if ((byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae)
        return byte;
    return byte <= 0x20 ? 256u + byte : byte <= 0xa0 ? 256u + 33 + (byte - 0x7fu) : 256u + 33 + 34;
}

int char_to_byte(uint32_t cp)
{
    if ((cp >= 0x21 && cp <= 0x7e) || (cp >= 0xa1 && cp <= 0xac) || (cp >= 0xae && cp <= 0xff))
        return (int)cp;
    if (cp < 256 || cp > 256 + 67)
        return -1;
    cp -= 256;
    return (int)(cp <= 0x20 ? cp : cp <= 0x20 + 34 ? cp - 33 + 0x7f : 0xad);
}

/* ---- preparation ---- */

static const char mark[] = "\xe2\x96\x81"; /* the lower one eighth block that stands for a space */

/* May a piece be cut in front of each mark that follows another character? Yes if no merge joins the two, and if the
 * mark has a token of its own, so that no run of unknown characters goes across. */
static bool words_apart(const struct bpe *b, const struct str *texts)
{
    struct str m = {mark, 3};
    if (b->bytes || b->ignore_merges || text_map_find(&b->vocab, m) < 0)
        return false;
    for (size_t i = 0; i <= b->merges.mask; i++) {
        const struct merge *s = &b->merges.slots[i];
        if (s->left != UINT32_MAX && str_starts(texts[s->right], mark) && !str_ends(texts[s->left], mark))
            return false;
    }
    return true;
}

int bpe_prepare(struct bpe *b)
{
    size_t size = 1;
    for (size_t i = 0; i <= b->vocab.mask; i++) {
        if (b->vocab.slots[i].text.p && (size_t)b->vocab.slots[i].id >= size)
            size = (size_t)b->vocab.slots[i].id + 1;
    }
    struct str *texts = calloc(size, sizeof *texts);
    b->cache = calloc(CACHE_SLOTS, sizeof *b->cache);
    if (!texts || !b->cache) {
        free(texts);
        return -1;
    }
    for (size_t i = 0; i <= b->vocab.mask; i++) {
        if (b->vocab.slots[i].text.p)
            texts[b->vocab.slots[i].id] = b->vocab.slots[i].text;
    }
    for (int i = 0; i < 256; i++) {
        char text[8];
        size_t n = utf8_put(b->bytes ? byte_to_char((uint8_t)i) : (uint32_t)i, text);
        b->byte_id[i] = text_map_find(&b->vocab, (struct str){text, n});
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)i);
        b->fallback_id[i] = text_map_find(&b->vocab, (struct str){text, 6});
    }
    b->words = words_apart(b, texts);
    free(texts);
    return 0;
}

void bpe_release(struct bpe *b)
{
    text_map_release(&b->vocab);
    text_map_release(&b->raw);
    merge_map_release(&b->merges);
    for (size_t i = 0; b->cache && i < CACHE_SLOTS; i++)
        free(atomic_load_explicit(&b->cache[i], memory_order_relaxed));
    free((void *)b->cache);
    b->cache = NULL;
}

void bpe_work_release(struct bpe_work *w)
{
    free(w->symbols);
    free(w->heap);
    free(w->ids);
    *w = (struct bpe_work){0};
}

/* ---- merging ---- */

/* Makes room for n elements of `each` bytes; the old contents stay. */
static int grow(void **p, size_t *cap, size_t n, size_t each)
{
    if (n <= *cap)
        return 0;
    size_t want = *cap ? *cap : 64;
    while (want < n)
        want += want / 2;
    void *q = want > SIZE_MAX / 2 / each ? NULL : realloc(*p, want * each);
    if (!q)
        return -1;
    *p = q;
    *cap = want;
    return 0;
}

static size_t merge_short(const struct merge_map *m, uint32_t *id, size_t n)
{
    uint32_t rank[SHORT], into[SHORT];
    for (size_t i = 0; i + 1 < n; i++) {
        const struct merge *s = merge_map_find(m, id[i], id[i + 1]);
        rank[i] = s ? s->rank : UINT32_MAX;
        into[i] = s ? s->id : 0;
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            if (rank[i] < rank[best])
                best = i;
        }
        if (rank[best] == UINT32_MAX)
            break;
        id[best] = into[best];
        n--;
        memmove(id + best + 1, id + best + 2, (n - best - 1) * sizeof *id);
        memmove(rank + best, rank + best + 1, (n - best - 1) * sizeof *rank);
        memmove(into + best, into + best + 1, (n - best - 1) * sizeof *into);
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const struct merge *s = merge_map_find(m, id[i], id[i + 1]);
            rank[i] = s ? s->rank : UINT32_MAX;
            into[i] = s ? s->id : 0;
        }
    }
    return n;
}

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->pos < b->pos;
}

/* Puts x at i or below, where it belongs (heap of n). */
static void sift_down(struct candidate *h, size_t n, size_t i, struct candidate x)
{
    for (size_t k; (k = 2 * i + 1) < n; i = k) {
        if (k + 1 < n && before(&h[k + 1], &h[k]))
            k++;
        if (!before(&h[k], &x))
            break;
        h[i] = h[k];
    }
    h[i] = x;
}

static int push(struct bpe_work *w, size_t *n, const struct merge_map *m, uint32_t pos)
{
    const struct symbol *s = &w->symbols[pos];
    const struct merge *merge = s->next < 0 ? NULL : merge_map_find(m, s->id, w->symbols[s->next].id);
    if (!merge)
        return 0;
    if (grow((void **)&w->heap, &w->heap_cap, *n + 1, sizeof *w->heap) < 0)
        return -1;
    struct candidate x = {merge->rank, pos, merge->id};
    size_t i = (*n)++;
    for (; i && before(&x, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = x;
    return 0;
}

static int merge_long(const struct merge_map *m, struct bpe_work *w)
{
    size_t n = w->n, heap = 0;
    if (n > INT32_MAX || grow((void **)&w->symbols, &w->symbol_cap, n, sizeof *w->symbols) < 0)
        return -1;
    struct symbol *s = w->symbols;
    for (size_t i = 0; i < n; i++)
        s[i] = (struct symbol){w->ids[i], (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : -1, false};
    for (size_t i = 0; i + 1 < n; i++) {
        if (push(w, &heap, m, (uint32_t)i) < 0)
            return -1;
    }
    while (heap) {
        struct candidate top = w->heap[0];
        if (--heap)
            sift_down(w->heap, heap, 0, w->heap[heap]);
        struct symbol *a = &s[top.pos];
        if (a->gone || a->next < 0)
            continue;
        struct symbol *b = &s[a->next];
        const struct merge *now = merge_map_find(m, a->id, b->id);
        if (!now || now->id != top.id) /* one of the two has been merged since */
            continue;
        a->id = top.id;
        a->next = b->next;
        b->gone = true;
        if (a->next >= 0)
            s[a->next].prev = (int32_t)top.pos;
        if ((a->prev >= 0 && push(w, &heap, m, (uint32_t)a->prev) < 0) || push(w, &heap, m, top.pos) < 0)
            return -1;
    }
    w->n = 0;
    for (size_t i = 0; i < n; i++) {
        if (!s[i].gone)
            w->ids[w->n++] = s[i].id;
    }
    return 0;
}

/* ---- symbols ---- */

/* the state of reading symbols: an unknown token that is not yet written, because more may be fused into it */
struct reading {
    const struct bpe *b;
    struct bpe_work *w;
    bool unk;
};

static void flush(struct reading *r)
{
    if (r->unk)
        r->w->ids[r->w->n++] = (uint32_t)r->b->unk;
    r->unk = false;
}

/* A character without a token: its bytes if all have one, else the unknown token. */
static void unknown(struct reading *r, const char *text, size_t n)
{
    const struct bpe *b = r->b;
    bool all = b->byte_fallback;
    for (size_t i = 0; i < n && all; i++)
        all = b->fallback_id[(unsigned char)text[i]] >= 0;
    if (all) {
        for (size_t i = 0; i < n; i++)
            r->w->ids[r->w->n++] = (uint32_t)b->fallback_id[(unsigned char)text[i]];
        return;
    }
    if (b->unk < 0)
        return;
    if (!b->fuse_unk)
        flush(r);
    r->unk = true;
}

static void read_symbols(struct reading *r, struct str piece)
{
    const struct bpe *b = r->b;
    for (size_t i = 0, k; i < piece.n; i += k) {
        unsigned char c = (unsigned char)piece.p[i];
        k = b->bytes ? 1 : utf8_len(piece.p[i]);
        int32_t id = b->bytes || c < 0x80 ? b->byte_id[c] : text_map_find(&b->vocab, (struct str){piece.p + i, k});
        if (id >= 0) {
            flush(r);
            r->w->ids[r->w->n++] = (uint32_t)id;
        } else if (b->bytes) {
            char text[4];
            unknown(r, text, utf8_put(byte_to_char(c), text));
        } else {
            unknown(r, piece.p + i, k);
        }
    }
    flush(r);
}

static int merge_piece(const struct bpe *b, struct bpe_work *w, struct str piece)
{
    /* a byte of the piece gives at most two ids: a byte-level character that falls back to its two bytes */
    if (grow((void **)&w->ids, &w->id_cap, 2 * piece.n + 1, sizeof *w->ids) < 0)
        return -1;
    w->n = 0;
    struct reading r = {b, w, false};
    read_symbols(&r, piece);
    if (w->n > SHORT)
        return merge_long(&b->merges, w);
    w->n = merge_short(&b->merges, w->ids, w->n);
    return 0;
}

/* ---- pieces ---- */

static int append(struct ids *out, const void *ids, size_t n)
{
    if (out->n + n > out->cap && grow((void **)&out->v, &out->cap, out->n + n, sizeof *out->v) < 0)
        return -1;
    if (n)
        memcpy(out->v + out->n, ids, n * sizeof *out->v);
    out->n += n;
    return 0;
}

static void remember(_Atomic(struct cache_entry *) *slot, uint64_t hash, struct str piece, const struct bpe_work *w)
{
    struct cache_entry *x = malloc(sizeof *x + w->n * sizeof x->ids[0] + piece.n), *none = NULL;
    if (!x)
        return;
    x->hash = hash;
    x->length = (uint32_t)piece.n;
    x->n = (uint32_t)w->n;
    memcpy(x->ids, w->ids, w->n * sizeof x->ids[0]);
    memcpy(x->ids + w->n, piece.p, piece.n);
    if (!atomic_compare_exchange_strong_explicit(slot, &none, x, memory_order_release, memory_order_relaxed))
        free(x);
}

static int encode_word(const struct bpe *b, struct bpe_work *w, struct str piece, struct ids *out)
{
    if (b->ignore_merges) {
        int32_t id = text_map_find(b->bytes ? &b->raw : &b->vocab, piece);
        if (id >= 0)
            return append(out, &id, 1);
    }
    if (piece.n > CACHE_PIECE)
        return merge_piece(b, w, piece) < 0 ? -1 : append(out, w->ids, w->n);
    uint64_t hash = hash_bytes(piece.p, piece.n);
    _Atomic(struct cache_entry *) *empty = NULL;
    for (size_t i = 0; i < CACHE_PROBES && !empty; i++) {
        _Atomic(struct cache_entry *) *slot = &b->cache[(hash + i) & (CACHE_SLOTS - 1)];
        const struct cache_entry *x = atomic_load_explicit(slot, memory_order_acquire);
        if (!x)
            empty = slot;
        else if (x->hash == hash && x->length == piece.n && memcmp(x->ids + x->n, piece.p, piece.n) == 0)
            return append(out, x->ids, x->n);
    }
    if (merge_piece(b, w, piece) < 0 || append(out, w->ids, w->n) < 0)
        return -1;
    if (empty)
        remember(empty, hash, piece, w);
    return 0;
}

int bpe_encode(const struct bpe *b, struct bpe_work *w, struct str piece, struct ids *out)
{
    if (piece.n == 0)
        return 0;
    if (!b->words)
        return encode_word(b, w, piece, out);
    size_t from = 0;
    for (size_t i = 1; i + 3 <= piece.n; i++) {
        if (piece.p[i] != mark[0] || memcmp(piece.p + i, mark, 3) != 0)
            continue;
        if (i - from >= 3 && memcmp(piece.p + i - 3, mark, 3) == 0)
            continue;
        if (encode_word(b, w, (struct str){piece.p + from, i - from}, out) < 0)
            return -1;
        from = i;
    }
    return encode_word(b, w, (struct str){piece.p + from, piece.n - from}, out);
}
