/* SPDX-License-Identifier: MIT */
#include "runtime/text/pieces.h"

#include <stdlib.h>
#include <string.h>

/* ---- vocabulary ---- */

int pieces_index(struct pieces *v, const char *what, struct err *e)
{
    v->vocab = js_object();
    int rc = v->vocab ? 0 : err_nomem(e, 64, "vocabulary");
    for (size_t i = 0; rc == 0 && i < js_len(v->tokens); i++) {
        const char *text = js_cstr(js_at(v->tokens, i));
        if (!text)
            rc = err_set(e, ERR_INPUT, "%s: token %zu is not text; the file is damaged", what, i);
        else if (*text && !js_get(v->vocab, text) && js_set(v->vocab, text, js_new_int((int64_t)i)) != 0)
            rc = err_nomem(e, 64, "vocabulary");
    }
    return rc;
}

void pieces_release(struct pieces *v)
{
    js_free(v->tokens);
    js_free(v->types);
    js_free(v->scores);
    js_free(v->vocab);
    *v = (struct pieces){0};
}

static int64_t type_of(const struct pieces *v, size_t id)
{
    return js_int(js_at(v->types, id), PIECE_NORMAL);
}

static struct js *added_tokens(const struct pieces *v)
{
    struct js *list = js_array();
    for (size_t i = 0; i < js_len(v->tokens); i++) {
        int64_t t = type_of(v, i);
        const char *text = js_cstr(js_at(v->tokens, i));
        if ((t != PIECE_CONTROL && t != PIECE_USER && t != PIECE_UNKNOWN) || !*text)
            continue;
        struct js *j = js_object();
        js_set(j, "id", js_new_int((int64_t)i));
        js_set(j, "content", js_new_cstr(text));
        js_set(j, "single_word", js_new_bool(false));
        js_set(j, "lstrip", js_new_bool(false));
        js_set(j, "rstrip", js_new_bool(false));
        js_set(j, "normalized", js_new_bool(false));
        js_set(j, "special", js_new_bool(t != PIECE_USER));
        js_push(list, j);
    }
    return list;
}

/* ---- merges from scores ---- */

struct merge {
    const char *text; /* the token */
    size_t cut;       /* bytes of its left part */
    double score;
    size_t left_chars, right_chars, id, left_id, right_id;
};

static int by_rank(const void *a, const void *b)
{
    const struct merge *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->left_chars != y->left_chars)
        return x->left_chars > y->left_chars ? -1 : 1;
    if (x->right_chars != y->right_chars)
        return x->right_chars > y->right_chars ? -1 : 1;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    if (x->left_id != y->left_id)
        return x->left_id < y->left_id ? -1 : 1;
    return x->right_id < y->right_id ? -1 : x->right_id > y->right_id;
}

struct merges {
    struct merge *v;
    size_t n, cap;
};

static bool starts_char(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

/* The id of a part that may be merged; -1: none. */
static int64_t part(const struct pieces *v, const char *text)
{
    int64_t id = js_int(js_get(v->vocab, text), -1), t = id >= 0 ? type_of(v, (size_t)id) : 0;
    return t == PIECE_NORMAL || t == PIECE_USER || t == PIECE_UNUSED ? id : -1;
}

static int merges_of(struct merges *m, const struct pieces *v, size_t id, struct err *e)
{
    enum { LONGEST = 512 };
    const char *text = js_cstr(js_at(v->tokens, id));
    char left[LONGEST];
    size_t n = strlen(text), chars = 0, before = 0;
    if (n >= LONGEST || type_of(v, id) != PIECE_NORMAL)
        return 0;
    for (size_t i = 0; i < n; i++)
        chars += starts_char(text[i]);
    for (size_t cut = 1; cut < n; cut++) {
        before += starts_char(text[cut - 1]);
        if (!starts_char(text[cut]))
            continue;
        memcpy(left, text, cut);
        left[cut] = 0;
        int64_t a = part(v, left), b = a < 0 ? -1 : part(v, text + cut);
        if (b < 0)
            continue;
        if (m->n == m->cap) {
            size_t cap = m->cap ? m->cap * 2 : 4096;
            struct merge *more = realloc(m->v, cap * sizeof *more);
            if (!more)
                return err_nomem(e, cap * sizeof *more, "merges");
            m->v = more;
            m->cap = cap;
        }
        m->v[m->n++] = (struct merge){text, cut, js_num(js_at(v->scores, id), 0), before, chars - before, id, (size_t)a, (size_t)b};
    }
    return 0;
}

static struct js *merges_from_scores(const struct pieces *v, struct err *e)
{
    struct merges m = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < js_len(v->tokens); i++)
        rc = merges_of(&m, v, i, e);
    struct js *list = rc == 0 ? js_array() : NULL;
    if (rc == 0 && m.n)
        qsort(m.v, m.n, sizeof *m.v, by_rank);
    for (size_t i = 0; rc == 0 && i < m.n; i++) {
        struct js *pair = js_array();
        js_push(pair, js_new_str((struct str){m.v[i].text, m.v[i].cut}));
        js_push(pair, js_new_cstr(m.v[i].text + m.v[i].cut));
        if (js_push(list, pair) != 0)
            rc = err_nomem(e, m.n * 64, "merges");
    }
    free(m.v);
    if (rc != 0) {
        js_free(list);
        list = NULL;
    }
    return list;
}

/* ---- the parts ---- */

static void push_special(struct js *list, struct js *table, const char *token, int64_t id)
{
    struct js *x = js_object(), *s = js_object(), *ids = js_array(), *tokens = js_array();
    js_set(x, "id", js_new_cstr(token));
    js_set(x, "type_id", js_new_int(0));
    struct js *wrap = js_object();
    js_set(wrap, "SpecialToken", x);
    js_push(list, wrap);
    js_push(ids, js_new_int(id));
    js_push(tokens, js_new_cstr(token));
    js_set(s, "id", js_new_cstr(token));
    js_set(s, "ids", ids);
    js_set(s, "tokens", tokens);
    js_set(table, token, s);
}

static void push_sequence(struct js *list, const char *id, int type)
{
    struct js *x = js_object(), *wrap = js_object();
    js_set(x, "id", js_new_cstr(id));
    js_set(x, "type_id", js_new_int(type));
    js_set(wrap, "Sequence", x);
    js_push(list, wrap);
}

/* Its text; NULL: none. */
static const char *token_at(const struct pieces *v, int64_t id)
{
    return id >= 0 ? js_cstr(js_at(v->tokens, (size_t)id)) : NULL;
}

struct js *pieces_post_processor(const struct pieces *v)
{
    const char *bos = v->add_bos ? token_at(v, v->bos) : NULL, *eos = v->add_eos ? token_at(v, v->eos) : NULL;
    if (!bos && !eos)
        return js_new_null();
    struct js *j = js_object(), *single = js_array(), *pair = js_array(), *table = js_object();
    for (int k = 0; k < 3; k++) {
        struct js *list = k == 0 ? single : pair;
        if (bos)
            push_special(list, table, bos, v->bos);
        push_sequence(list, k < 2 ? "A" : "B", k == 2);
        if (eos)
            push_special(list, table, eos, v->eos);
    }
    js_set(j, "type", js_new_cstr("TemplateProcessing"));
    js_set(j, "single", single);
    js_set(j, "pair", pair);
    js_set(j, "special_tokens", table);
    return j;
}

static struct js *parse_text(const char *text, struct err *e)
{
    return js_parse(str_of(text), "tokenizer", e);
}

#define MARK "\xe2\x96\x81" /* what stands for a space */

int pieces_sentencepiece(const struct pieces *v, struct js *j, struct js *model, struct err *e)
{
    static const char replace[] = "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK "\"}";
    static const char both[] = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" MARK
                               "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK "\"}]}";
    static const char back[] = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" MARK
                               "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}";
    static const char back_strip[] = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" MARK
                                     "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
                                     "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}";
    const char *unk = token_at(v, v->unk);
    struct js *merges = merges_from_scores(v, e);
    if (!merges)
        return e->code;
    bool bytes = js_get(v->vocab, "<0x00>") && js_get(v->vocab, "<0xFF>");
    int bad = js_set(model, "merges", merges) | js_set(model, "ignore_merges", js_new_bool(false));
    bad |= js_set(model, "unk_token", unk ? js_new_cstr(unk) : js_new_null()) | js_set(model, "fuse_unk", js_new_bool(true));
    bad |= js_set(model, "byte_fallback", js_new_bool(bytes));
    bad |= js_set(j, "normalizer", parse_text(v->prefix ? both : replace, e)) | js_set(j, "pre_tokenizer", js_new_null());
    bad |= js_set(j, "decoder", parse_text(v->prefix ? back_strip : back, e));
    return bad ? err_nomem(e, 1024, "tokenizer") : 0;
}

int pieces_assemble(const struct pieces *v, struct js *j, struct js *model, struct err *e)
{
    int bad = js_set(model, "type", js_new_cstr("BPE")) | js_set(model, "dropout", js_new_null());
    bad |= js_set(model, "continuing_subword_prefix", js_new_null()) | js_set(model, "end_of_word_suffix", js_new_null());
    bad |= js_set(model, "vocab", js_ref(v->vocab));
    bad |= js_set(j, "version", js_new_cstr("1.0")) | js_set(j, "truncation", js_new_null()) | js_set(j, "padding", js_new_null());
    bad |= js_set(j, "added_tokens", added_tokens(v)) | js_set(j, "post_processor", pieces_post_processor(v)) | js_set(j, "model", js_ref(model));
    return bad ? err_nomem(e, 1024, "tokenizer") : 0;
}
