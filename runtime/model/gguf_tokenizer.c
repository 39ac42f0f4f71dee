/* SPDX-License-Identifier: MIT
 *
 * tokenizer.json from the metadata. The vocabulary is the list of tokens; which of them are added tokens says token_type.
 * Byte-level vocabularies bring their merges, and the name of the way they cut text (tokenizer.ggml.pre: llama.cpp's
 * llama-vocab.cpp has the patterns; here they stand as Hugging Face spells them). SentencePiece vocabularies bring scores:
 * every way to put a token together from two others is a merge, the better token first (as transformers does it).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/model/gguf_model.h"

enum token_type { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

/* ---- pre-tokenisers ---- */

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define WORDS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"

struct pre {
    const char *names; /* llama.cpp's, the first one is written; between spaces */
    const char *regex; /* NULL: ByteLevel's own (GPT-2's) */
    bool digits;       /* digits apart first */
    bool ignore_merges, nfc, bos;
};

static const struct pre pres[] = {
    {" gpt-2 gpt2 phi-2 mpt olmo jais roberta-bpe ", NULL, false, false, false, false},
    {" smollm starcoder refact command-r codeshell exaone ", NULL, true, false, false, false},
    {" llama-bpe llama3 llama-v3 falcon3 ", WORDS "\\p{N}{1,3}" REST, false, true, false, true},
    {" smaug-bpe dbrx ", WORDS "\\p{N}{1,3}" REST, false, false, false, false},
    {" qwen2 deepseek-r1-qwen stablelm2 hunyuan megrez ", WORDS "\\p{N}" REST, false, false, true, false},
    {" tekken ",
     "[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]*[" LOWER "]+|[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]+[" LOWER
     "]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     false, true, false, true},
};
const char gguf_pre_known[] = "gpt-2, smollm, starcoder, llama-bpe, smaug-bpe, qwen2, tekken";

static const struct pre *pre_find(struct str name)
{
    char key[64];
    if (name.n > 40)
        return NULL;
    snprintf(key, sizeof key, " %.*s ", (int)name.n, name.p);
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++)
        if (strstr(pres[i].names, key))
            return &pres[i];
    return NULL;
}

static struct js *byte_level(bool use_regex)
{
    struct js *j = js_object();
    js_set(j, "type", js_new_cstr("ByteLevel"));
    js_set(j, "add_prefix_space", js_new_bool(false));
    js_set(j, "trim_offsets", js_new_bool(true));
    js_set(j, "use_regex", js_new_bool(use_regex));
    return j;
}

/* pre_tokenizer; all of these constructors give NULL, or an object that lacks something, only without memory, and what lacks
 * something is refused by the tokenizer's reader. */
static struct js *pre_json(const struct pre *p)
{
    struct js *last = byte_level(p->regex == NULL), *first = NULL;
    if (p->digits) {
        first = js_object();
        js_set(first, "type", js_new_cstr("Digits"));
        js_set(first, "individual_digits", js_new_bool(true));
    } else if (p->regex) {
        struct js *pattern = js_object();
        js_set(pattern, "Regex", js_new_cstr(p->regex));
        first = js_object();
        js_set(first, "type", js_new_cstr("Split"));
        js_set(first, "pattern", pattern);
        js_set(first, "behavior", js_new_cstr("Isolated"));
        js_set(first, "invert", js_new_bool(false));
    } else {
        return last;
    }
    struct js *list = js_array(), *j = js_object();
    js_push(list, first);
    js_push(list, last);
    js_set(j, "type", js_new_cstr("Sequence"));
    js_set(j, "pretokenizers", list);
    return j;
}

/* The cuts of a pre-tokeniser one after the other, for comparing: patterns in lines, "digits", "bytes". */
static bool flatten(struct buf *b, const struct js *j, int depth)
{
    const char *type = js_cstr(js_get(j, "type")), *regex = js_cstr(js_get(js_get(j, "pattern"), "Regex"));
    const char *behavior = js_cstr(js_get(j, "behavior"));
    if (!type || depth > 4)
        return false;
    if (strcmp(type, "Sequence") == 0) {
        const struct js *list = js_get(j, "pretokenizers");
        for (size_t i = 0; i < js_len(list); i++)
            if (!flatten(b, js_at(list, i), depth + 1))
                return false;
        return true;
    }
    if (strcmp(type, "ByteLevel") == 0 && !js_bool(js_get(j, "add_prefix_space"), true)) {
        buf_puts(b, js_bool(js_get(j, "use_regex"), true) ? GPT2 "\nbytes\n" : "bytes\n");
        return true;
    }
    if (strcmp(type, "Digits") == 0 && js_bool(js_get(j, "individual_digits"), false)) {
        buf_puts(b, "digits\n");
        return true;
    }
    bool isolated = behavior && strcmp(behavior, "Isolated") == 0, removed = behavior && strcmp(behavior, "Removed") == 0;
    bool invert = js_bool(js_get(j, "invert"), false);
    if (strcmp(type, "Split") != 0 || !regex || !((isolated && !invert) || (removed && invert)))
        return false;
    /* the spelling of the contractions without (?i:) means the same */
    static const char spelled[] = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
    if (strncmp(regex, spelled, sizeof spelled - 1) == 0)
        buf_printf(b, "(?i:'s|'t|'re|'ve|'m|'ll|'d)%s\n", regex + sizeof spelled - 1);
    else
        buf_printf(b, "%s\n", regex);
    return true;
}

const char *gguf_pre_name(const struct js *tokenizer)
{
    static const char *const first[] = {"gpt-2", "smollm", "llama-bpe", "smaug-bpe", "qwen2", "tekken"};
    const struct js *model = js_get(tokenizer, "model");
    struct buf ours = {0}, theirs = {0};
    const char *name = NULL;
    bool readable = flatten(&ours, js_get(tokenizer, "pre_tokenizer"), 0) && !ours.failed;
    if (readable && js_len(js_get(model, "merges")) == 0 && str_ends(buf_view(&ours), "bytes\n"))
        name = first[0]; /* single bytes are cut alike by all */
    for (size_t i = 0; readable && !name && i < sizeof pres / sizeof *pres; i++) {
        struct js *j = pre_json(&pres[i]);
        buf_clear(&theirs);
        if (j && flatten(&theirs, j, 0) && !theirs.failed && str_eq(buf_view(&ours), buf_view(&theirs)) &&
            js_bool(js_get(model, "ignore_merges"), false) == pres[i].ignore_merges)
            name = first[i];
        js_free(j);
    }
    buf_release(&ours);
    buf_release(&theirs);
    return name;
}

/* ---- vocabulary ---- */

struct vocabulary {
    const struct gguf *g;
    struct js *tokens, *types, *scores; /* lists of the metadata; types and scores may be NULL */
    struct js *vocab;                   /* token -> id */
};

static int64_t type_of(const struct vocabulary *v, size_t id)
{
    return js_int(js_at(v->types, id), NORMAL);
}

static void vocabulary_release(struct vocabulary *v)
{
    js_free(v->tokens);
    js_free(v->types);
    js_free(v->scores);
    js_free(v->vocab);
}

static int take_list(const struct gguf *g, const char *key, size_t n, struct js **out, struct err *e)
{
    *out = gguf_value(g, key, e);
    if (!*out && e->code != ERR_NOTFOUND)
        return e->code;
    if (*out && js_len(*out) != n)
        return err_set(e, ERR_INPUT, "%s: %s has %zu elements for %zu tokens; the file is damaged", gguf_path(g), key, js_len(*out), n);
    return 0;
}

static int vocabulary_read(struct vocabulary *v, const struct gguf *g, struct err *e)
{
    *v = (struct vocabulary){.g = g};
    v->tokens = gguf_value(g, "tokenizer.ggml.tokens", e);
    if (!v->tokens)
        return e->code;
    int rc = take_list(g, "tokenizer.ggml.token_type", js_len(v->tokens), &v->types, e);
    if (rc == 0)
        rc = take_list(g, "tokenizer.ggml.scores", js_len(v->tokens), &v->scores, e);
    if (rc == 0 && !(v->vocab = js_object()))
        rc = err_nomem(e, 64, "vocabulary");
    for (size_t i = 0; rc == 0 && i < js_len(v->tokens); i++) {
        const char *text = js_cstr(js_at(v->tokens, i));
        if (!text)
            rc = err_set(e, ERR_INPUT, "%s: token %zu is not text; the file is damaged", gguf_path(g), i);
        else if (*text && !js_get(v->vocab, text) && js_set(v->vocab, text, js_new_int((int64_t)i)) != 0)
            rc = err_nomem(e, 64, "vocabulary");
    }
    return rc;
}

static struct js *added_tokens(const struct vocabulary *v)
{
    struct js *list = js_array();
    for (size_t i = 0; i < js_len(v->tokens); i++) {
        int64_t t = type_of(v, i);
        const char *text = js_cstr(js_at(v->tokens, i));
        if ((t != CONTROL && t != USER_DEFINED && t != UNKNOWN) || !*text)
            continue;
        struct js *j = js_object();
        js_set(j, "id", js_new_int((int64_t)i));
        js_set(j, "content", js_new_cstr(text));
        js_set(j, "single_word", js_new_bool(false));
        js_set(j, "lstrip", js_new_bool(false));
        js_set(j, "rstrip", js_new_bool(false));
        js_set(j, "normalized", js_new_bool(false));
        js_set(j, "special", js_new_bool(t != USER_DEFINED));
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
static int64_t part(const struct vocabulary *v, const char *text)
{
    int64_t id = js_int(js_get(v->vocab, text), -1), t = id >= 0 ? type_of(v, (size_t)id) : 0;
    return t == NORMAL || t == USER_DEFINED || t == UNUSED ? id : -1;
}

static int merges_of(struct merges *m, const struct vocabulary *v, size_t id, struct err *e)
{
    enum { LONGEST = 512 };
    const char *text = js_cstr(js_at(v->tokens, id));
    char left[LONGEST];
    size_t n = strlen(text), chars = 0, before = 0;
    if (n >= LONGEST || type_of(v, id) != NORMAL)
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

static struct js *merges_from_scores(const struct vocabulary *v, struct err *e)
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

static const char *token_at(const struct vocabulary *v, const char *key)
{
    int64_t id = gguf_int(v->g, key, -1);
    return id >= 0 ? js_cstr(js_at(v->tokens, (size_t)id)) : NULL;
}

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

/* BOS in front and EOS behind, where the file says so; null where neither. */
static struct js *post_processor(const struct vocabulary *v, bool bos_default)
{
    const char *bos = gguf_bool(v->g, "tokenizer.ggml.add_bos_token", bos_default) ? token_at(v, "tokenizer.ggml.bos_token_id") : NULL;
    const char *eos = gguf_bool(v->g, "tokenizer.ggml.add_eos_token", false) ? token_at(v, "tokenizer.ggml.eos_token_id") : NULL;
    if (!bos && !eos)
        return js_new_null();
    struct js *j = js_object(), *single = js_array(), *pair = js_array(), *table = js_object();
    for (int k = 0; k < 3; k++) {
        struct js *list = k == 0 ? single : pair;
        if (bos)
            push_special(list, table, bos, gguf_int(v->g, "tokenizer.ggml.bos_token_id", -1));
        push_sequence(list, k < 2 ? "A" : "B", k == 2);
        if (eos)
            push_special(list, table, eos, gguf_int(v->g, "tokenizer.ggml.eos_token_id", -1));
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

/* From the metadata's merges: "a b" each. */
static int byte_level_parts(struct js *j, struct js *model, const struct vocabulary *v, struct err *e)
{
    const struct pre *p = pre_find(gguf_str(v->g, "tokenizer.ggml.pre"));
    struct js *merges = gguf_value(v->g, "tokenizer.ggml.merges", e);
    if (!merges && e->code == ERR_NOTFOUND)
        merges = js_array();
    if (!merges)
        return e->code;
    int bad = js_set(model, "merges", merges) | js_set(model, "ignore_merges", js_new_bool(p->ignore_merges));
    bad |= js_set(model, "unk_token", js_new_null()) | js_set(model, "fuse_unk", js_new_bool(false));
    bad |= js_set(model, "byte_fallback", js_new_bool(false));
    bad |= js_set(j, "normalizer", p->nfc ? parse_text("{\"type\":\"NFC\"}", e) : js_new_null());
    bad |= js_set(j, "pre_tokenizer", pre_json(p)) | js_set(j, "decoder", byte_level(true));
    bad |= js_set(j, "post_processor", post_processor(v, p->bos));
    return bad ? err_nomem(e, 1024, "tokenizer") : 0;
}

#define MARK "\xe2\x96\x81" /* what stands for a space */

static int sentencepiece_parts(struct js *j, struct js *model, const struct vocabulary *v, struct err *e)
{
    static const char replace[] = "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK "\"}";
    static const char both[] = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" MARK
                               "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK "\"}]}";
    static const char back[] = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" MARK
                               "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}";
    static const char back_strip[] = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" MARK
                                     "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
                                     "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}";
    bool prefix = gguf_bool(v->g, "tokenizer.ggml.add_space_prefix", true);
    const char *unk = token_at(v, "tokenizer.ggml.unknown_token_id");
    struct js *merges = merges_from_scores(v, e);
    if (!merges)
        return e->code;
    bool bytes = js_get(v->vocab, "<0x00>") && js_get(v->vocab, "<0xFF>");
    int bad = js_set(model, "merges", merges) | js_set(model, "ignore_merges", js_new_bool(false));
    bad |= js_set(model, "unk_token", unk ? js_new_cstr(unk) : js_new_null()) | js_set(model, "fuse_unk", js_new_bool(true));
    bad |= js_set(model, "byte_fallback", js_new_bool(bytes));
    bad |= js_set(j, "normalizer", parse_text(prefix ? both : replace, e)) | js_set(j, "pre_tokenizer", js_new_null());
    bad |= js_set(j, "decoder", parse_text(prefix ? back_strip : back, e)) | js_set(j, "post_processor", post_processor(v, true));
    return bad ? err_nomem(e, 1024, "tokenizer") : 0;
}

static struct js *assemble(const struct vocabulary *v, struct str kind, struct err *e)
{
    struct js *j = js_object(), *model = js_object();
    int bad = js_set(model, "type", js_new_cstr("BPE")) | js_set(model, "dropout", js_new_null());
    bad |= js_set(model, "continuing_subword_prefix", js_new_null()) | js_set(model, "end_of_word_suffix", js_new_null());
    bad |= js_set(model, "vocab", js_ref(v->vocab));
    bad |= js_set(j, "version", js_new_cstr("1.0")) | js_set(j, "truncation", js_new_null()) | js_set(j, "padding", js_new_null());
    bad |= js_set(j, "added_tokens", added_tokens(v));
    int rc = bad ? err_nomem(e, 1024, "tokenizer") : 0;
    if (rc == 0)
        rc = str_is(kind, "gpt2") ? byte_level_parts(j, model, v, e) : sentencepiece_parts(j, model, v, e);
    if (rc == 0 && js_set(j, "model", js_ref(model)) != 0)
        rc = err_nomem(e, 1024, "tokenizer");
    js_free(model);
    if (rc != 0) {
        js_free(j);
        j = NULL;
    }
    return j;
}

int gguf_tokenizer_check(const struct gguf *g, struct err *e)
{
    struct str kind = gguf_str(g, "tokenizer.ggml.model"), name = gguf_str(g, "tokenizer.ggml.pre");
    if (!kind.p)
        return err_set(e, ERR_NOTFOUND, "%s: the file has no tokenizer", gguf_path(g));
    if (!str_is(kind, "gpt2") && !str_is(kind, "llama"))
        return err_set(e, ERR_UNSUPPORTED, "%s: tokenizer.ggml.model \"%.*s\" is not supported; gpt2 and llama are", gguf_path(g),
                       (int)(kind.n < 40 ? kind.n : 40), kind.p);
    if (str_is(kind, "gpt2") && !(name.p && pre_find(name)))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: tokenizer.ggml.pre %s%.*s%s: how this tokenizer cuts text is not known (known: %s); give tokenizer: with the "
                       "model's tokenizer.json",
                       gguf_path(g), name.p ? "\"" : "is missing", (int)(name.n < 40 ? name.n : 40), name.p ? name.p : "",
                       name.p ? "\"" : "", gguf_pre_known);
    if (str_is(kind, "llama") && !gguf_len(g, "tokenizer.ggml.scores"))
        return err_set(e, ERR_INPUT, "%s: a SentencePiece tokenizer without tokenizer.ggml.scores", gguf_path(g));
    return 0;
}

struct js *gguf_tokenizer(const struct gguf *g, struct err *e)
{
    struct vocabulary v;
    if (gguf_tokenizer_check(g, e) != 0)
        return NULL;
    struct js *j = vocabulary_read(&v, g, e) == 0 ? assemble(&v, gguf_str(g, "tokenizer.ggml.model"), e) : NULL;
    vocabulary_release(&v);
    return j;
}

/* ---- facts ---- */

static int set_token(struct js *facts, const struct gguf *g, const struct js *tokens, const char *ours, const char *theirs)
{
    const struct js *t = js_at(tokens, (size_t)gguf_int(g, theirs, -1));
    return gguf_int(g, theirs, -1) >= 0 && js_cstr(t) ? js_set(facts, ours, js_ref(t)) : 0;
}

struct js *gguf_tokenizer_facts(const struct gguf *g, struct err *e)
{
    struct js *facts = js_object(), *tokens = gguf_value(g, "tokenizer.ggml.tokens", e);
    struct str chat = gguf_str(g, "tokenizer.chat_template");
    int bad = facts ? 0 : -1;
    if (tokens) {
        bad |= set_token(facts, g, tokens, "bos_token", "tokenizer.ggml.bos_token_id");
        bad |= set_token(facts, g, tokens, "eos_token", "tokenizer.ggml.eos_token_id");
        bad |= set_token(facts, g, tokens, "pad_token", "tokenizer.ggml.padding_token_id");
        bad |= set_token(facts, g, tokens, "unk_token", "tokenizer.ggml.unknown_token_id");
    }
    if (chat.p)
        bad |= js_set(facts, "chat_template", js_new_str(chat));
    js_free(tokens);
    if (bad) {
        err_nomem(e, 256, "tokenizer facts");
        js_free(facts);
        facts = NULL;
    }
    return facts;
}
