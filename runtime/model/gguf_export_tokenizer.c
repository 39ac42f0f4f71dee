/* SPDX-License-Identifier: MIT
 *
 * tokenizer.json as GGUF metadata: tokens by id with their types, merges (byte-level) or scores (SentencePiece style: the
 * earlier a token is first merged, the higher its score, which is all that llama.cpp's merging asks of them), special ids,
 * whether BOS and EOS are added, the chat template. Ids of the model that no token has are filled with unused tokens.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/model/gguf_export.h"
#include "runtime/model/gguf_model.h"
#include "runtime/text/tokenizer.h"

enum token_type { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

struct table {
    size_t n;
    struct str *text;
    int32_t *type;
    float *score;
    struct arena mem;
};

static void table_release(struct table *t)
{
    free(t->text);
    free(t->type);
    free(t->score);
    arena_release(&t->mem);
}

static bool is_byte(struct str s)
{
    return s.n == 6 && memcmp(s.p, "<0x", 3) == 0 && s.p[5] == '>';
}

static int fill_vocab(struct table *t, const struct js *model, bool bytes, struct err *e)
{
    const struct js *vocab = js_get(model, "vocab");
    for (void *it = js_iter(vocab); it; it = js_next(vocab, it)) {
        int64_t id = js_int(js_iter_value(it), -1);
        if (id < 0 || (size_t)id >= t->n)
            return err_set(e, ERR_INPUT, "the token \"%.60s\" has the id %lld, the model a vocabulary of %zu", js_iter_key(it), (long long)id, t->n);
        t->text[id] = str_of(js_iter_key(it));
        t->type[id] = bytes && is_byte(t->text[id]) ? BYTE : NORMAL;
    }
    return 0;
}

static int fill_added(struct table *t, const struct js *json, struct err *e)
{
    const struct js *list = js_get(json, "added_tokens");
    for (size_t i = 0; i < js_len(list); i++) {
        int64_t id = js_int(js_get(js_at(list, i), "id"), -1);
        struct str text = js_str(js_get(js_at(list, i), "content"));
        if (id < 0 || (size_t)id >= t->n || !text.p)
            return err_set(e, ERR_INPUT, "added token %zu has the id %lld, the model a vocabulary of %zu", i, (long long)id, t->n);
        t->text[id] = text;
        t->type[id] = js_bool(js_get(js_at(list, i), "special"), false) ? CONTROL : USER_DEFINED;
    }
    struct str unk = js_str(js_get(js_get(json, "model"), "unk_token"));
    for (size_t i = 0; unk.p && i < t->n; i++)
        if (str_eq(t->text[i], unk))
            t->type[i] = UNKNOWN;
    return 0;
}

static int fill(struct table *t, const struct js *json, size_t n, bool bytes, struct err *e)
{
    *t = (struct table){.n = n, .text = calloc(n, sizeof *t->text), .type = calloc(n, sizeof *t->type), .score = calloc(n, sizeof *t->score)};
    int rc = t->text && t->type && t->score ? 0 : err_nomem(e, n * 24, "vocabulary");
    if (rc == 0)
        rc = fill_vocab(t, js_get(json, "model"), bytes, e);
    if (rc == 0)
        rc = fill_added(t, json, e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (!t->text[i].p) {
            t->text[i] = str_of(arena_printf(&t->mem, "[PAD%zu]", i));
            t->type[i] = UNUSED;
            if (!t->text[i].n)
                rc = err_nomem(e, 16, "vocabulary");
        }
    return rc;
}

/* Merge i as "a b"; the two parts in *a and *b. */
static int merge_parts(const struct js *m, struct str *a, struct str *b)
{
    if (js_kind(m) == JS_ARRAY) {
        *a = js_str(js_at(m, 0));
        *b = js_str(js_at(m, 1));
        return a->p && b->p ? 0 : -1;
    }
    struct str s = js_str(m);
    const char *space = s.p ? memchr(s.p, ' ', s.n) : NULL;
    if (!space)
        return -1;
    *a = (struct str){s.p, (size_t)(space - s.p)};
    *b = (struct str){space + 1, s.n - a->n - 1};
    return 0;
}

static int put_merges(struct gguf_writer *w, struct table *t, const struct js *merges, struct err *e)
{
    size_t n = 0;
    struct str *v = calloc(js_len(merges) + 1, sizeof *v), a, b;
    int rc = v ? 0 : err_nomem(e, js_len(merges) * sizeof *v, "merges");
    for (size_t i = 0; rc == 0 && i < js_len(merges); i++) {
        if (merge_parts(js_at(merges, i), &a, &b) != 0)
            continue; /* a "#version" line */
        if (memchr(a.p, ' ', a.n) || memchr(b.p, ' ', b.n))
            rc = err_set(e, ERR_UNSUPPORTED, "a merge of tokens with spaces in them; GGUF's list of merges cannot hold it");
        v[n++] = str_of(arena_printf(&t->mem, "%.*s %.*s", (int)a.n, a.p, (int)b.n, b.p));
        if (rc == 0 && !v[n - 1].n)
            rc = err_nomem(e, a.n + b.n, "merges");
    }
    if (rc == 0)
        gguf_put_strs(w, "tokenizer.ggml.merges", v, n);
    free(v);
    return rc;
}

static int score_merges(struct table *t, const struct js *merges, const struct tokenizer *tok, struct err *e)
{
    struct buf joined = {0};
    struct str a, b;
    float next = 0;
    bool *seen = calloc(t->n, sizeof *seen);
    for (size_t i = 0; i < t->n; i++)
        t->score[i] = t->type[i] == NORMAL ? -1e6f : 0;
    for (size_t i = 0; seen && i < js_len(merges) && !joined.failed; i++) {
        if (merge_parts(js_at(merges, i), &a, &b) != 0)
            continue;
        buf_clear(&joined);
        buf_str(&joined, a);
        buf_str(&joined, b);
        int32_t id = joined.failed ? -1 : tokenizer_id(tok, buf_view(&joined));
        if (id < 0 || (size_t)id >= t->n || seen[id])
            continue;
        seen[id] = true;
        t->score[id] = next--;
    }
    bool bad = joined.failed || !seen;
    buf_release(&joined);
    free(seen);
    return bad ? err_nomem(e, t->n, "scores") : 0;
}

static int32_t fact_id(const struct js *facts, const char *key, const struct tokenizer *t, int otherwise)
{
    struct str text = js_str(js_get(facts, key));
    int32_t id = text.p ? tokenizer_id(t, text) : -1;
    return id >= 0 ? id : otherwise;
}

static void put_id(struct gguf_writer *w, const char *key, int32_t id)
{
    if (id >= 0)
        gguf_put_u32(w, key, (uint32_t)id);
}

/* Ids, and what the tokenizer puts around a text: seen by encoding nothing. */
static int put_special(struct gguf_writer *w, const struct js *json, const struct js *facts, const struct model_config *c,
                       const struct tokenizer *t, struct err *e)
{
    struct ids around = {0};
    int rc = tokenizer_encode(t, (struct str){"", 0}, true, &around, e);
    if (rc != 0) {
        ids_release(&around);
        return rc;
    }
    int32_t bos = fact_id(facts, "bos_token", t, c->bos_token_id), eos = fact_id(facts, "eos_token", t, c->n_eos ? c->eos_token_id[0] : -1);
    bool adds_bos = around.n && (bos < 0 || around.v[0] == bos), adds_eos = around.n && eos >= 0 && around.v[around.n - 1] == eos && eos != bos;
    put_id(w, "tokenizer.ggml.bos_token_id", adds_bos && bos < 0 ? around.v[0] : bos);
    put_id(w, "tokenizer.ggml.eos_token_id", eos);
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos_token_id[i] != eos) {
            put_id(w, "tokenizer.ggml.eot_token_id", c->eos_token_id[i]);
            break;
        }
    put_id(w, "tokenizer.ggml.padding_token_id", fact_id(facts, "pad_token", t, -1));
    struct str unk = js_str(js_get(js_get(json, "model"), "unk_token"));
    put_id(w, "tokenizer.ggml.unknown_token_id", unk.p ? tokenizer_id(t, unk) : -1);
    gguf_put_bool(w, "tokenizer.ggml.add_bos_token", adds_bos);
    gguf_put_bool(w, "tokenizer.ggml.add_eos_token", adds_eos);
    struct str chat = js_str(js_get(facts, "chat_template"));
    if (chat.p)
        gguf_put_str(w, "tokenizer.chat_template", chat);
    ids_release(&around);
    return 0;
}

static bool mentions(const struct js *j, const char *word)
{
    struct buf b = {0};
    js_write(&b, j);
    bool is = b.p && strstr(b.p, word) != NULL;
    buf_release(&b);
    return is;
}

int gguf_put_tokenizer(struct gguf_writer *w, const struct js *json, const struct js *facts, const struct model_config *c,
                       const struct tokenizer *t, struct err *e)
{
    const struct js *model = js_get(json, "model"), *normalizer = js_get(json, "normalizer"), *cut = js_get(json, "pre_tokenizer");
    bool pieces = mentions(normalizer, "\xe2\x96\x81") || mentions(cut, "Metaspace");
    const char *pre = pieces ? NULL : gguf_pre_name(json);
    struct table table = {0};
    if (!pieces && !pre)
        return err_set(e, ERR_UNSUPPORTED,
                       "llama.cpp has no name for how this tokenizer cuts text (known here: %s); without one it would make other ids. Export "
                       "--as hf and use llama.cpp's own converter",
                       gguf_pre_known);
    int rc = fill(&table, json, (size_t)c->vocab_size, pieces, e);
    gguf_put_str(w, "tokenizer.ggml.model", pieces ? STR("llama") : STR("gpt2"));
    gguf_put_str(w, "tokenizer.ggml.pre", pieces ? STR("default") : str_of(pre));
    if (rc == 0 && pieces)
        rc = score_merges(&table, js_get(model, "merges"), t, e);
    if (rc == 0) {
        gguf_put_strs(w, "tokenizer.ggml.tokens", table.text, table.n);
        gguf_put_i32s(w, "tokenizer.ggml.token_type", table.type, table.n);
    }
    if (rc == 0 && pieces) {
        gguf_put_f32s(w, "tokenizer.ggml.scores", table.score, table.n);
        gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", mentions(normalizer, "Prepend") || (mentions(cut, "Metaspace") && !mentions(cut, "never")));
    } else if (rc == 0) {
        rc = put_merges(w, &table, js_get(model, "merges"), e);
    }
    if (rc == 0)
        rc = put_special(w, json, facts, c, t, e);
    table_release(&table);
    return rc;
}
