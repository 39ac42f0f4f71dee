/* SPDX-License-Identifier: MIT */
#include "runtime/text/tokenizer.h"

#include <stdlib.h>

#include "runtime/text/tokenizer_parts.h"
#include "runtime/text/utf8.h"

void ids_release(struct ids *ids)
{
    free(ids->v);
    *ids = (struct ids){0};
}

int ids_push(struct ids *ids, int32_t id)
{
    if (ids->n == ids->cap) {
        size_t cap = ids->cap ? ids->cap + ids->cap / 2 : 64;
        int32_t *v = realloc(ids->v, cap * sizeof *v);
        if (!v)
            return -1;
        ids->v = v;
        ids->cap = cap;
    }
    ids->v[ids->n++] = id;
    return 0;
}

/* ---- encoding ---- */

/* what one call works with */
struct encoding {
    const struct tokenizer *t;
    struct ids *out;
    struct matcher matcher;
    struct bpe_work bpe;
    struct cutting cutting;
    struct buf normal[2];
};

/* Text without added tokens, normalised. */
static int encode_plain(struct encoding *x, struct str text, bool first, struct err *e)
{
    int rc = cut_text(&x->t->cuts, text, first, &x->cutting, &x->matcher, e);
    for (size_t i = 0; rc == 0 && i < x->cutting.n; i++) {
        const struct piece *p = &x->cutting.v[i];
        if (bpe_encode(&x->t->bpe, &x->bpe, (struct str){x->cutting.text.p + p->off, p->n}, x->out) < 0)
            rc = err_nomem(e, p->n, "encoding a text");
    }
    return rc;
}

/* Calls fn for the texts between the added tokens and appends the tokens. */
static int around_added(struct encoding *x, const struct trie *trie, struct str s, bool first,
                        int (*fn)(struct encoding *x, struct str text, bool first, struct err *e), struct err *e)
{
    size_t done = 0, from = 0, start = 0, end = 0;
    const struct added_token *token = NULL;
    int rc;
    while ((rc = added_next(&x->t->added, trie, s, from, done, &x->matcher, &start, &end, &from, &token, e)) > 0) {
        if (start > done && (rc = fn(x, (struct str){s.p + done, start - done}, first && done == 0, e)) < 0)
            return rc;
        if (ids_push(x->out, token->id) < 0)
            return err_nomem(e, 0, "encoding a text");
        done = end;
    }
    if (rc == 0 && done < s.n)
        rc = fn(x, (struct str){s.p + done, s.n - done}, first && done == 0, e);
    return rc;
}

static int encode_given(struct encoding *x, struct str text, bool first, struct err *e)
{
    int rc = normalize(&x->t->normalizers, &text, x->normal, &x->matcher, e);
    if (rc < 0 || text.n == 0)
        return rc;
    return around_added(x, &x->t->added.normalized, text, first, encode_plain, e);
}

static int put_ids(struct ids *out, const struct ids *ids, struct err *e)
{
    for (size_t i = 0; i < ids->n; i++) {
        if (ids_push(out, ids->v[i]) < 0)
            return err_nomem(e, 0, "encoding a text");
    }
    return 0;
}

int tokenizer_encode(const struct tokenizer *t, struct str text, bool special, struct ids *out, struct err *e)
{
    struct encoding x = {.t = t, .out = out};
    size_t valid = utf8_valid(text);
    if (valid < text.n)
        return err_set(e, ERR_INPUT, "a text is not UTF-8 at byte %zu", valid);
    int rc = special ? put_ids(out, &t->before, e) : 0;
    if (rc == 0 && text.n)
        rc = around_added(&x, &t->added.raw, text, true, encode_given, e);
    if (rc == 0 && special)
        rc = put_ids(out, &t->after, e);
    matcher_release(&x.matcher);
    bpe_work_release(&x.bpe);
    cutting_release(&x.cutting);
    buf_release(&x.normal[0]);
    buf_release(&x.normal[1]);
    return rc;
}

/* ---- tokens ---- */

int32_t tokenizer_id(const struct tokenizer *t, struct str token)
{
    for (size_t i = 0; i < t->added.n; i++) {
        if (str_eq(t->added.v[i].content, token))
            return t->added.v[i].id;
    }
    return token.p ? text_map_find(&t->bpe.vocab, token) : -1;
}

const char *tokenizer_token(const struct tokenizer *t, int32_t id, size_t *len)
{
    if (id < 0 || (size_t)id >= t->size)
        return NULL;
    if (len)
        *len = t->texts[id].n;
    return t->texts[id].p;
}

size_t tokenizer_size(const struct tokenizer *t)
{
    return t->size;
}
