/* SPDX-License-Identifier: MIT
 *
 * The protobuf wire format, as far as it is needed: a field is a key (number << 3 | type) and a varint, eight bytes, four
 * bytes, or a length and that many bytes. Unknown fields are passed over.
 */
#include <string.h>

#include "runtime/text/pieces.h"
#include "runtime/text/utf8.h"

struct wire {
    struct str in;
    size_t i;
    bool bad;
};

struct field {
    uint64_t number, value; /* value: of a varint, or the bits of 4 or 8 bytes */
    struct str bytes;
    int type;
};

static uint64_t varint(struct wire *w)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (w->i == w->in.n)
            break;
        uint8_t c = (uint8_t)w->in.p[w->i++];
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80)
            return v;
    }
    w->bad = true;
    return 0;
}

static uint64_t fixed(struct wire *w, size_t n)
{
    uint64_t v = 0;
    if (w->in.n - w->i < n) {
        w->bad = true;
        return 0;
    }
    for (size_t k = 0; k < n; k++)
        v |= (uint64_t)(uint8_t)w->in.p[w->i++] << 8 * k;
    return v;
}

/* The next field; false at the end, or when the message is damaged (w->bad). */
static bool next(struct wire *w, struct field *f)
{
    if (w->bad || w->i == w->in.n)
        return false;
    uint64_t key = varint(w);
    *f = (struct field){.number = key >> 3, .type = (int)(key & 7)};
    if (f->type == 0) {
        f->value = varint(w);
    } else if (f->type == 1 || f->type == 5) {
        f->value = fixed(w, f->type == 1 ? 8 : 4);
    } else if (f->type == 2) {
        uint64_t n = varint(w);
        if (w->bad || n > w->in.n - w->i) {
            w->bad = true;
        } else {
            f->bytes = (struct str){w->in.p + w->i, (size_t)n};
            w->i += (size_t)n;
        }
    } else {
        w->bad = true;
    }
    return !w->bad;
}

/* ---- the message ---- */

struct proto {
    struct pieces p;
    uint64_t kind; /* 1 unigram, 2 bpe, 3 word, 4 char */
    bool charsmap, squeeze;
    char normalizer[32];
};

static bool read_piece(struct proto *x, struct str bytes)
{
    struct wire w = {.in = bytes};
    struct field f;
    struct str text = {0};
    uint64_t type = PIECE_NORMAL;
    float score = 0;
    while (next(&w, &f)) {
        if (f.number == 1)
            text = f.bytes;
        else if (f.number == 2 && f.type == 5)
            memcpy(&score, &(uint32_t){(uint32_t)f.value}, sizeof score);
        else if (f.number == 3)
            type = f.value;
    }
    if (w.bad || !text.p || utf8_valid(text) != text.n || memchr(text.p, 0, text.n) || !(score == score))
        return false;
    int64_t id = (int64_t)js_len(x->p.tokens);
    if (type == PIECE_UNKNOWN && x->p.unk < 0)
        x->p.unk = id;
    return js_push(x->p.tokens, js_new_str(text)) == 0 && js_push(x->p.types, js_new_int((int64_t)type)) == 0 &&
           js_push(x->p.scores, js_new_num((double)score)) == 0;
}

static bool read_trainer(struct proto *x, struct str bytes)
{
    struct wire w = {.in = bytes};
    struct field f;
    while (next(&w, &f)) {
        int64_t id = (int32_t)f.value;
        if (f.number == 3)
            x->kind = f.value;
        else if (f.number == 41)
            x->p.bos = id;
        else if (f.number == 42)
            x->p.eos = id;
    }
    return !w.bad;
}

static bool read_normalizer(struct proto *x, struct str bytes)
{
    struct wire w = {.in = bytes};
    struct field f;
    while (next(&w, &f)) {
        if (f.number == 1 && f.bytes.n && f.bytes.n < sizeof x->normalizer)
            memcpy(x->normalizer, f.bytes.p, f.bytes.n);
        else if (f.number == 2)
            x->charsmap = f.bytes.n > 0;
        else if (f.number == 3)
            x->p.prefix = f.value != 0;
        else if (f.number == 4)
            x->squeeze = f.value != 0;
    }
    return !w.bad;
}

bool sentencepiece_is(struct str file)
{
    struct wire w = {.in = file};
    struct field f;
    return next(&w, &f) && f.number == 1 && f.type == 2 && f.bytes.n && f.bytes.p[0] == 0x0a;
}

static int read_proto(struct str file, const char *what, struct proto *x, struct err *e)
{
    struct wire w = {.in = file};
    struct field f;
    *x = (struct proto){.p = {.tokens = js_array(), .types = js_array(), .scores = js_array(), .unk = -1, .bos = 1, .eos = 2, .prefix = true},
                        .kind = 1, .squeeze = true};
    if (!x->p.tokens || !x->p.types || !x->p.scores)
        return err_nomem(e, 256, "a tokenizer");
    bool good = true;
    while (good && next(&w, &f)) {
        if (f.number == 1)
            good = read_piece(x, f.bytes);
        else if (f.number == 2)
            good = read_trainer(x, f.bytes);
        else if (f.number == 3)
            good = read_normalizer(x, f.bytes);
    }
    if (!good || w.bad || js_len(x->p.tokens) == 0)
        return err_set(e, ERR_INPUT, "%s: not a SentencePiece model, or a damaged one (near byte %zu)", what, w.i);
    int64_t n = (int64_t)js_len(x->p.tokens);
    x->p.bos = x->p.bos < n ? x->p.bos : -1;
    x->p.eos = x->p.eos < n ? x->p.eos : -1;
    return 0;
}

/* What this version does not compute. */
static int check_proto(const struct proto *x, const char *what, struct err *e)
{
    static const char *const kinds[] = {"unigram", "bpe", "word", "char"};
    static const char remedy[] = "save it as tokenizer.json with transformers: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)";
    if (x->kind != 2)
        return err_set(e, ERR_UNSUPPORTED, "%s: a SentencePiece model of the kind %s; only bpe is supported", what,
                       x->kind >= 1 && x->kind <= 4 ? kinds[x->kind - 1] : "(unknown)");
    if (x->charsmap || x->squeeze)
        return err_set(e, ERR_UNSUPPORTED, "%s: a SentencePiece model that %s; %s", what,
                       x->charsmap ? "normalises texts by a table of its own" : "removes spaces beside spaces", remedy);
    return 0;
}

/* ---- as tokenizer.json ---- */

static int metaspace(struct js *j, const struct pieces *p, const struct js *config, struct err *e)
{
    bool prefix = p->prefix && js_bool(js_get(config, "add_prefix_space"), true);
    struct js *pre = js_object();
    int bad = js_set(pre, "type", js_new_cstr("Metaspace")) | js_set(pre, "replacement", js_new_cstr("\xe2\x96\x81"));
    bad |= js_set(pre, "prepend_scheme", js_new_cstr(!prefix ? "never" : js_bool(js_get(config, "legacy"), true) ? "always" : "first"));
    bad |= js_set(pre, "split", js_new_bool(false));
    bad |= js_set(j, "normalizer", js_new_null()) | js_set(j, "pre_tokenizer", pre);
    return bad ? err_nomem(e, 256, "a tokenizer") : 0;
}

static bool listed(const struct js *list, int64_t id)
{
    for (size_t i = 0; i < js_len(list); i++)
        if (js_int(js_get(js_at(list, i), "id"), -1) == id)
            return true;
    return false;
}

/* Tokens that were added to the vocabulary later: added_tokens_decoder of tokenizer_config.json, by ascending id. */
static int later_tokens(struct js *j, const struct js *config, const char *what, struct err *e)
{
    const struct js *more = js_get(config, "added_tokens_decoder");
    struct js *list = (struct js *)(uintptr_t)js_get(j, "added_tokens");
    int64_t last = -1;
    for (size_t k = 0; k < js_len(more); k++) {
        int64_t best = INT64_MAX;
        const struct js *token = NULL;
        for (void *it = js_iter(more); it; it = js_next(more, it)) {
            int64_t id = 0;
            for (const char *c = js_iter_key(it); *c && id < INT32_MAX; c++)
                id = *c >= '0' && *c <= '9' ? id * 10 + (*c - '0') : INT32_MAX;
            if (id > last && id < best) {
                best = id;
                token = js_iter_value(it);
            }
        }
        if (!token || best >= INT32_MAX || js_kind(js_get(token, "content")) != JS_STRING)
            return err_set(e, ERR_INPUT, "%s: added_tokens_decoder of tokenizer_config.json should be an object of ids and tokens", what);
        last = best;
        if (listed(list, best))
            continue;
        struct js *x = js_copy(token);
        if (!x || js_set(x, "id", js_new_int(best)) < 0 || js_push(list, x) < 0)
            return err_nomem(e, 128, "a tokenizer");
    }
    return 0;
}

struct js *sentencepiece_json(struct str file, const char *what, const struct js *config, struct err *e)
{
    struct proto x;
    struct js *j = js_object(), *model = js_object();
    int rc = read_proto(file, what, &x, e);
    x.p.add_bos = js_bool(js_get(config, "add_bos_token"), true);
    x.p.add_eos = js_bool(js_get(config, "add_eos_token"), false);
    if (rc == 0)
        rc = check_proto(&x, what, e);
    if (rc == 0 && (!j || !model))
        rc = err_nomem(e, 256, "a tokenizer");
    if (rc == 0)
        rc = pieces_index(&x.p, what, e);
    if (rc == 0)
        rc = pieces_sentencepiece(&x.p, j, model, e);
    if (rc == 0)
        rc = metaspace(j, &x.p, config, e);
    if (rc == 0)
        rc = pieces_assemble(&x.p, j, model, e);
    if (rc == 0)
        rc = later_tokens(j, config, what, e);
    pieces_release(&x.p);
    js_free(model);
    if (rc != 0) {
        js_free(j);
        j = NULL;
    }
    return j;
}

struct js *sentencepiece_facts(struct str file, const char *what, struct err *e)
{
    struct proto x;
    struct js *facts = js_object();
    int rc = read_proto(file, what, &x, e), bad = !facts;
    const struct {
        const char *name;
        int64_t id;
    } ids[] = {{"bos_token", x.p.bos}, {"eos_token", x.p.eos}, {"unk_token", x.p.unk}};
    for (size_t i = 0; rc == 0 && i < 3; i++)
        if (ids[i].id >= 0)
            bad |= js_set(facts, ids[i].name, js_ref(js_at(x.p.tokens, (size_t)ids[i].id)));
    pieces_release(&x.p);
    if (rc == 0 && bad)
        rc = err_nomem(e, 128, "a tokenizer");
    if (rc != 0) {
        js_free(facts);
        facts = NULL;
    }
    return facts;
}
