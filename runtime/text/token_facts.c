/* SPDX-License-Identifier: MIT */
#include "runtime/text/token_facts.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/sha.h"
#include "runtime/text/pieces.h"
#include "runtime/text/token_lists.h"

/* A length, or all ones where there is no such id, and the text. */
static void add_text(struct sha *s, struct str text)
{
    uint8_t n[4];
    uint32_t len = text.p ? (uint32_t)text.n : UINT32_MAX;
    for (int i = 0; i < 4; i++)
        n[i] = (uint8_t)(len >> 8 * i);
    sha_add(s, n, 4);
    sha_add(s, text.p, text.p ? text.n : 0);
}

/* llama.cpp's converter gives a row of padding the name [PAD and its id]; who turns such a file back keeps the names. */
static bool is_padding(struct str text, size_t id)
{
    char name[32];
    snprintf(name, sizeof name, "[PAD%zu]", id);
    return text.p && str_is(text, name);
}

/* Takes over added. */
static struct js *facts(const struct str *texts, size_t n, struct js *added, struct err *e)
{
    struct js *j = js_object();
    struct sha *s = sha_new();
    struct digest d;
    char hex[DIGEST_HEX];
    int bad = !j || !s || !added;
    while (n && is_padding(texts[n - 1], n - 1))
        n--;
    for (size_t i = 0; !bad && i < n; i++)
        add_text(s, texts[i]);
    if (s)
        sha_end(s, &d);
    if (!bad)
        digest_hex(&d, hex);
    bad = bad || js_set(j, "ids", js_new_int((int64_t)n)) || js_set(j, "digest", js_new_cstr(hex)) || js_set(j, "added", js_ref(added));
    js_free(added);
    if (!bad)
        return j;
    err_nomem(e, n, "a vocabulary");
    js_free(j);
    return NULL;
}

/* What facts says of them when rc is 0. Takes over both. */
static struct js *finish(int rc, struct str *texts, size_t n, struct js *added, struct err *e)
{
    struct js *out = rc == 0 ? facts(texts, n, js_ref(added), e) : NULL;
    js_free(added);
    free(texts);
    return out;
}

/* texts: of `ids` tokens. */
static int put(struct str *texts, int64_t ids, int64_t id, struct str text, size_t *n, const char *what, struct err *e)
{
    if (id < 0 || id >= ids)
        return err_set(e, ERR_INPUT, "%s: the token \"%.60s\" has the id %lld", what, text.p ? text.p : "", (long long)id);
    texts[id] = text;
    *n = (size_t)id + 1 > *n ? (size_t)id + 1 : *n;
    return 0;
}

static struct js *from_lists(const struct token_lists *l, const struct js *added_tokens, const char *what, struct err *e)
{
    int64_t most = 0;
    size_t n = 0, n_added = js_len(added_tokens);
    for (size_t i = 0; i < l->n_vocab; i++)
        most = l->vocab[i].id > most ? l->vocab[i].id : most;
    for (size_t i = 0; i < n_added; i++) {
        int64_t id = js_int(js_get(js_at(added_tokens, i), "id"), -1);
        most = id > most ? id : most;
    }
    int64_t ids = token_lists_ids(l->n_vocab + n_added);
    ids = most < ids ? most + 1 : ids;
    struct str *texts = calloc((size_t)ids, sizeof *texts);
    struct js *added = js_object();
    int rc = texts && added ? 0 : err_nomem(e, (unsigned long long)ids * sizeof *texts, "a vocabulary");
    for (size_t i = 0; rc == 0 && i < l->n_vocab; i++)
        rc = put(texts, ids, l->vocab[i].id, l->vocab[i].text, &n, what, e);
    for (size_t i = 0; rc == 0 && i < n_added; i++) {
        const struct js *t = js_at(added_tokens, i), *content = js_get(t, "content");
        if (js_kind(content) != JS_STRING)
            rc = err_set(e, ERR_INPUT, "%s: added_tokens: element %zu has no \"content\"", what, i);
        if (rc == 0)
            rc = put(texts, ids, js_int(js_get(t, "id"), -1), js_str(content), &n, what, e);
        if (rc == 0 && js_set(added, js_cstr(content), js_ref(js_get(t, "id"))) != 0)
            rc = err_nomem(e, 64, "added tokens");
    }
    return finish(rc, texts, n, added, e);
}

/* Other kinds than BPE are refused by who encodes texts; here nothing is known of them. */
static bool is_bpe(const struct js *json)
{
    struct str type = js_str(js_get(js_get(json, "model"), "type"));
    return !type.p || str_is(type, "BPE");
}

struct js *token_facts_json(const struct js *json, const char *what, struct err *e)
{
    if (!is_bpe(json)) {
        struct js *none = js_object();
        if (!none)
            err_nomem(e, 64, "a vocabulary");
        return none;
    }
    struct token_lists l = {0};
    struct js *out = NULL;
    if (token_lists_read(js_get(json, "model"), what, &l, e) == 0)
        out = from_lists(&l, js_get(json, "added_tokens"), what, e);
    token_lists_release(&l);
    return out;
}

struct js *token_facts_text(struct str text, const char *what, struct err *e)
{
    struct token_lists l = {0};
    struct buf rest = {0};
    struct js *json = NULL, *out = NULL;
    int usual = token_lists_scan(text, &l, &rest, e);
    if (usual >= 0 && (json = js_parse(usual ? buf_view(&rest) : text, what, e)))
        out = usual && is_bpe(json) ? from_lists(&l, js_get(json, "added_tokens"), what, e) : token_facts_json(json, what, e);
    js_free(json);
    buf_release(&rest);
    token_lists_release(&l);
    return out;
}

struct js *token_facts_list(const struct js *tokens, const struct js *types, struct err *e)
{
    size_t n = js_len(tokens);
    while (n && js_int(js_at(types, n - 1), PIECE_NORMAL) == PIECE_UNUSED)
        n--;
    struct str *texts = calloc(n + 1, sizeof *texts);
    struct js *added = js_object();
    int rc = texts && added ? 0 : err_nomem(e, n * sizeof *texts, "a vocabulary");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        int64_t type = js_int(js_at(types, i), PIECE_NORMAL);
        const char *text = js_cstr(js_at(tokens, i));
        texts[i] = js_str(js_at(tokens, i));
        if (text && (type == PIECE_CONTROL || type == PIECE_USER || type == PIECE_UNKNOWN) && js_set(added, text, js_new_int((int64_t)i)) != 0)
            rc = err_nomem(e, 64, "added tokens");
    }
    return finish(rc, texts, n, added, e);
}
