/* SPDX-License-Identifier: MIT
 *
 * tokenizer_json: reading tokenizer.json: vocabulary, merges and the other parts, each checked. Errors name the file
 * and the part. Fields of truncation and padding are not read: lengths are the caller's business.
 */
#include <stdlib.h>

#include "runtime/text/tokenizer_parts.h"
#include "runtime/base/fs.h"
#include "runtime/text/pieces.h"
#include "runtime/text/token_lists.h"
#include "runtime/text/utf8.h"

static int read_vocab(struct tokenizer *t, const struct token_lists *l, const char *what, struct err *e)
{
    int64_t largest = -1;
    if (l->n_vocab == 0)
        return err_set(e, ERR_INPUT, "%s: model.vocab should be an object of tokens and ids", what);
    int64_t most = token_lists_ids(l->n_vocab);
    if ((int64_t)l->n_vocab > most || text_map_init(&t->bpe.vocab, l->n_vocab) < 0)
        return err_nomem(e, l->n_vocab * sizeof(struct text_slot), "a vocabulary");
    for (size_t i = 0; i < l->n_vocab; i++) {
        const struct listed_token *x = &l->vocab[i];
        int32_t old;
        if (x->id < 0 || x->id >= most)
            return err_set(e, ERR_INPUT, "%s: model.vocab: the token \"%.60s\" needs an id from 0 to %d (there are %zu tokens)", what, x->text.p, (int)most - 1,
                           l->n_vocab);
        if (text_map_add(&t->bpe.vocab, x->text, (int32_t)x->id, &old) <= 0)
            return err_set(e, ERR_INPUT, "%s: model.vocab: the token \"%.60s\" is there twice", what, x->text.p);
        if (x->id > largest)
            largest = x->id;
    }
    t->size = (size_t)largest + 1;
    return 0;
}

/* Room for the added tokens too; ids of two tokens must differ. */
static int index_texts(struct tokenizer *t, const char *what, struct err *e)
{
    for (size_t i = 0; i < t->added.n; i++) {
        if ((size_t)t->added.v[i].id >= t->size)
            t->size = (size_t)t->added.v[i].id + 1;
    }
    t->texts = calloc(t->size, sizeof *t->texts);
    t->added_by_id = calloc(t->size, sizeof *t->added_by_id);
    if (!t->texts || !t->added_by_id)
        return err_nomem(e, t->size * sizeof *t->texts, "a vocabulary");
    for (size_t i = 0; i <= t->bpe.vocab.mask; i++) {
        const struct text_slot *s = &t->bpe.vocab.slots[i];
        if (!s->text.p)
            continue;
        if (t->texts[s->id].p)
            return err_set(e, ERR_INPUT, "%s: model.vocab: \"%.60s\" and \"%.60s\" both have the id %d", what,
                           t->texts[s->id].p, s->text.p, s->id);
        t->texts[s->id] = s->text;
    }
    for (size_t i = 0; i < t->added.n; i++) {
        const struct added_token *x = &t->added.v[i];
        if (t->texts[x->id].p && !str_eq(t->texts[x->id], x->content))
            return err_set(e, ERR_INPUT,
                           "%s: \"%.60s\" of model.vocab and \"%.60s\" of added_tokens both have the id %d", what,
                           t->texts[x->id].p, x->content.p, x->id);
        t->texts[x->id] = x->content;
        t->added_by_id[x->id] = x;
    }
    return 0;
}

static int read_merges(struct tokenizer *t, const struct token_lists *l, const char *what, struct err *e)
{
    struct buf joined = {0};
    int rc = 0;
    if (merge_map_init(&t->bpe.merges, l->n_merges) < 0)
        return err_nomem(e, l->n_merges * sizeof(struct merge), "merges");
    for (size_t i = 0; rc == 0 && i < l->n_merges; i++) {
        struct str a = l->merges[i].a, b = l->merges[i].b;
        buf_clear(&joined);
        buf_str(&joined, a);
        buf_str(&joined, b);
        if (joined.failed) {
            rc = err_nomem(e, a.n + b.n, "merges");
            break;
        }
        const struct str texts[3] = {a, b, buf_view(&joined)};
        int32_t ids[3];
        for (int k = 0; rc == 0 && k < 3; k++) {
            ids[k] = texts[k].n ? text_map_find(&t->bpe.vocab, texts[k]) : -1;
            if (ids[k] < 0)
                rc = err_set(e, ERR_INPUT,
                             "%s: model.merges: element %u needs the token \"%.*s\", which is not in the vocabulary",
                             what, l->merges[i].rank, (int)(texts[k].n < 60 ? texts[k].n : 60), texts[k].p ? texts[k].p : "");
        }
        if (rc == 0)
            merge_map_set(&t->bpe.merges, (uint32_t)ids[0], (uint32_t)ids[1], l->merges[i].rank, (uint32_t)ids[2]);
    }
    buf_release(&joined);
    return rc;
}

/* The bytes of every token of a byte-level vocabulary, for ignore_merges. */
static int index_bytes(struct tokenizer *t, struct err *e)
{
    if (!t->bpe.bytes || !t->bpe.ignore_merges)
        return 0;
    if (text_map_init(&t->bpe.raw, t->bpe.vocab.n) < 0)
        return err_nomem(e, t->bpe.vocab.n * sizeof(struct text_slot), "a vocabulary");
    for (size_t i = 0; i <= t->bpe.vocab.mask; i++) {
        const struct text_slot *s = &t->bpe.vocab.slots[i];
        if (!s->text.p || !s->text.n)
            continue;
        char *raw = arena_alloc(&t->mem, s->text.n);
        size_t n = 0;
        uint32_t cp = 0;
        if (!raw)
            return err_nomem(e, s->text.n, "a vocabulary");
        int byte = 0;
        for (size_t k = 0, w; byte >= 0 && k < s->text.n && (w = utf8_next(s->text.p + k, s->text.n - k, &cp));
             k += w) {
            byte = char_to_byte(cp);
            raw[n++] = (char)byte;
        }
        int32_t old;
        if (byte >= 0)
            text_map_add(&t->bpe.raw, (struct str){raw, n}, s->id, &old);
    }
    return 0;
}

static int read_model(struct tokenizer *t, const struct js *model, struct token_lists *lists, const char *what, struct err *e)
{
    const char *type = js_cstr(js_get(model, "type"));
    if (js_kind(model) != JS_OBJECT)
        return err_set(e, ERR_INPUT, "%s: no \"model\"; is this a tokenizer.json of the `tokenizers` library?", what);
    if (type ? strcmp(type, "BPE") != 0 : !js_get(model, "merges"))
        return err_set(e, ERR_UNSUPPORTED, "%s: the model type %.60s is not supported; pkgraph reads BPE", what,
                       type ? type : "(none)");
    const struct js *prefix = js_get(model, "continuing_subword_prefix"), *suffix = js_get(model, "end_of_word_suffix");
    if (js_str(prefix).n || js_str(suffix).n)
        return err_set(e, ERR_UNSUPPORTED, "%s: model.%s is not supported", what,
                       js_str(prefix).n ? "continuing_subword_prefix" : "end_of_word_suffix");
    if (js_num(js_get(model, "dropout"), 0) != 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: model.dropout is not supported: ids would be random; set it to null",
                       what);
    t->bpe.ignore_merges = js_bool(js_get(model, "ignore_merges"), false);
    t->bpe.fuse_unk = js_bool(js_get(model, "fuse_unk"), false);
    t->bpe.byte_fallback = js_bool(js_get(model, "byte_fallback"), false);
    int rc = lists->n_vocab ? 0 : token_lists_read(model, what, lists, e);
    if (rc == 0)
        rc = read_vocab(t, lists, what, e);
    if (rc == 0)
        rc = read_merges(t, lists, what, e);
    t->texts_owned = lists->texts;
    lists->texts = NULL;
    if (rc < 0)
        return rc;
    struct str unk = js_str(js_get(model, "unk_token"));
    t->bpe.unk = unk.p ? text_map_find(&t->bpe.vocab, unk) : -1;
    if (unk.p && t->bpe.unk < 0)
        return err_set(e, ERR_INPUT, "%s: model.unk_token \"%.60s\" is not in the vocabulary", what, unk.p);
    return 0;
}

/* ---- post-processor ---- */

static int add_id(struct ids *ids, int64_t id, const struct tokenizer *t, const char *what, struct err *e)
{
    if (id < 0 || id >= (int64_t)t->size || !t->texts[id].p)
        return err_set(e, ERR_INPUT, "%s: post_processor: the id %lld has no token", what, (long long)id);
    return ids_push(ids, (int32_t)id) < 0 ? err_nomem(e, 0, "a post-processor") : 0;
}

static int special_ids(const struct js *ids, struct ids *out, const struct tokenizer *t, const char *what,
                       struct err *e)
{
    int rc = js_kind(ids) == JS_ARRAY
                 ? 0
                 : err_set(e, ERR_INPUT, "%s: post_processor: a special token without \"ids\"", what);
    for (size_t i = 0; rc == 0 && i < js_len(ids); i++)
        rc = add_id(out, js_int(js_at(ids, i), -1), t, what, e);
    return rc;
}

/* Puts the new ids around those of earlier processors. */
static int wrap(struct tokenizer *t, struct ids *before, struct ids *after, struct err *e)
{
    for (size_t i = 0; i < t->before.n; i++) {
        if (ids_push(before, t->before.v[i]) < 0)
            return err_nomem(e, 0, "a post-processor");
    }
    for (size_t i = 0; i < after->n; i++) {
        if (ids_push(&t->after, after->v[i]) < 0)
            return err_nomem(e, 0, "a post-processor");
    }
    struct ids old = t->before;
    t->before = *before;
    *before = old;
    return 0;
}

static int read_template(struct tokenizer *t, const struct js *j, const char *what, struct err *e)
{
    const struct js *single = js_get(j, "single");
    struct ids side[2] = {{0}, {0}};
    int rc = 0, k = 0;
    if (js_kind(single) != JS_ARRAY)
        rc = err_set(e, ERR_INPUT, "%s: post_processor: \"single\" should be a list", what);
    for (size_t i = 0; rc == 0 && i < js_len(single); i++) {
        const struct js *piece = js_at(single, i), *sequence = js_get(piece, "Sequence");
        const char *name = js_cstr(js_get(js_get(piece, "SpecialToken"), "id"));
        if (name) {
            rc = special_ids(js_get(js_get(js_get(j, "special_tokens"), name), "ids"), &side[k], t, what, e);
        } else if (!sequence || !js_cstr(js_get(sequence, "id")) || strcmp(js_cstr(js_get(sequence, "id")), "A") != 0 ||
                   k++) {
            rc = err_set(e, ERR_UNSUPPORTED,
                         "%s: post_processor: \"single\" should have the sequence A once, and special tokens", what);
        }
    }
    if (rc == 0 && k != 1)
        rc = err_set(e, ERR_UNSUPPORTED, "%s: post_processor: \"single\" leaves the text out", what);
    if (rc == 0)
        rc = wrap(t, &side[0], &side[1], e);
    ids_release(&side[0]);
    ids_release(&side[1]);
    return rc;
}

/* RobertaProcessing and BertProcessing: "cls" and "sep" as [text, id] */
static int read_cls_sep(struct tokenizer *t, const struct js *j, const char *what, struct err *e)
{
    struct ids side[2] = {{0}, {0}};
    int rc = add_id(&side[0], js_int(js_at(js_get(j, "cls"), 1), -1), t, what, e);
    if (rc == 0)
        rc = add_id(&side[1], js_int(js_at(js_get(j, "sep"), 1), -1), t, what, e);
    if (rc == 0)
        rc = wrap(t, &side[0], &side[1], e);
    ids_release(&side[0]);
    ids_release(&side[1]);
    return rc;
}

static int read_processor(struct tokenizer *t, const struct js *j, int depth, const char *what, struct err *e)
{
    if (j == NULL || js_kind(j) == JS_NULL)
        return 0;
    const char *type = js_cstr(js_get(j, "type"));
    if (type && strcmp(type, "ByteLevel") == 0) /* offsets only */
        return 0;
    if (type && strcmp(type, "TemplateProcessing") == 0)
        return read_template(t, j, what, e);
    if (type && (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0))
        return read_cls_sep(t, j, what, e);
    const struct js *list = js_get(j, "processors");
    if (!type || strcmp(type, "Sequence") != 0 || js_kind(list) != JS_ARRAY || depth > 16)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: the post-processor %.60s is not supported; known are TemplateProcessing, ByteLevel, "
                       "RobertaProcessing, "
                       "BertProcessing, Sequence",
                       what, type ? type : "(no type)");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < js_len(list); i++)
        rc = read_processor(t, js_at(list, i), depth + 1, what, e);
    return rc;
}

/* ---- all of it ---- */

static int read_parts(struct tokenizer *t, struct token_lists *lists, const char *what, struct err *e)
{
    struct buf where = {0};
    const char *version = js_cstr(js_get(t->json, "version"));
    if (js_kind(t->json) != JS_OBJECT)
        return err_set(e, ERR_INPUT, "%s: a tokenizer.json is an object", what);
    if (version && strcmp(version, "1.0") != 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: version %.20s of tokenizer.json is not known, only 1.0", what, version);
    int rc = read_model(t, js_get(t->json, "model"), lists, what, e);
    buf_printf(&where, "%s: normalizer", what);
    if (rc == 0 && where.failed)
        rc = err_nomem(e, where.n, "a message");
    if (rc == 0)
        rc = normalizers_read(&t->normalizers, js_get(t->json, "normalizer"), where.p, e);
    buf_clear(&where);
    buf_printf(&where, "%s: pre_tokenizer", what);
    if (rc == 0)
        rc = cut_steps_read(&t->cuts, js_get(t->json, "pre_tokenizer"), where.p, e);
    buf_release(&where);
    if (rc == 0)
        rc = added_read(&t->added, js_get(t->json, "added_tokens"), &t->bpe.vocab, t->bpe.vocab.n, &t->normalizers,
                        what, e);
    if (rc == 0)
        rc = index_texts(t, what, e);
    if (rc == 0)
        rc = read_processor(t, js_get(t->json, "post_processor"), 0, what, e);
    if (rc == 0)
        rc = decoders_read(t, js_get(t->json, "decoder"), what, e);
    t->bpe.bytes = t->cuts.bytes;
    if (rc == 0)
        rc = index_bytes(t, e);
    if (rc == 0 && bpe_prepare(&t->bpe) < 0)
        rc = err_nomem(e, 0, "a tokenizer");
    return rc;
}

/* Takes over json and lists. */
static int from_json(struct js *json, struct token_lists *lists, const char *what, struct tokenizer **out, struct err *e)
{
    struct tokenizer *t = json ? calloc(1, sizeof *t) : NULL;
    int rc = !json ? e->code : !t ? err_nomem(e, sizeof *t, "a tokenizer") : 0;
    *out = NULL;
    if (rc == 0) {
        t->json = json;
        json = NULL;
        rc = read_parts(t, lists, what, e);
    }
    token_lists_release(lists);
    js_free(json);
    if (rc < 0)
        tokenizer_free(t);
    else
        *out = t;
    return rc;
}

int tokenizer_parse(struct str json, const char *what, struct tokenizer **out, struct err *e)
{
    struct token_lists lists = {0};
    struct buf rest = {0};
    *out = NULL;
    int rc = token_lists_scan(json, &lists, &rest, e);
    /* the value of the whole is made when the lists are not as usual, and for the message when the rest is not JSON */
    struct js *j = rc > 0 ? js_parse(buf_view(&rest), what, e) : NULL;
    buf_release(&rest);
    if (rc >= 0 && !j) {
        token_lists_release(&lists);
        j = js_parse(json, what, e);
        rc = j ? 0 : e->code;
    }
    return rc < 0 ? rc : from_json(j, &lists, what, out, e);
}

/* A tokenizer.json, or a SentencePiece tokenizer.model. */
int tokenizer_read(const char *path, struct tokenizer **out, struct err *e)
{
    struct fs_map map;
    struct token_lists none = {0};
    *out = NULL;
    int rc = fs_map(path, &map, e);
    if (rc < 0)
        return rc;
    struct str text = {(const char *)map.p, map.n};
    rc = sentencepiece_is(text) ? from_json(sentencepiece_json(text, path, NULL, e), &none, path, out, e) : tokenizer_parse(text, path, out, e);
    fs_unmap(&map);
    return rc;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    bpe_release(&t->bpe);
    added_release(&t->added);
    normalizers_release(&t->normalizers);
    cut_steps_release(&t->cuts);
    ids_release(&t->before);
    ids_release(&t->after);
    for (size_t i = 0; i < t->n_decoders; i++)
        regex_free(t->decoders[i].regex);
    free(t->decoders);
    free(t->texts);
    free(t->texts_owned);
    free((void *)t->added_by_id);
    arena_release(&t->mem);
    js_free(t->json);
    free(t);
}
