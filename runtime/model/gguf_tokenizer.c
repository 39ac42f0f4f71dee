/* SPDX-License-Identifier: MIT
 *
 * tokenizer.json from the metadata. The vocabulary is the list of tokens; which of them are added tokens says token_type.
 * Byte-level vocabularies bring their merges, and the name of the way they cut text (tokenizer.ggml.pre: llama.cpp's
 * llama-vocab.cpp has the patterns; here they stand as Hugging Face spells them). SentencePiece vocabularies bring scores
 * (text/pieces.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/model/gguf_model.h"
#include "runtime/text/pieces.h"
#include "runtime/text/token_facts.h"

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

static int take_list(const struct gguf *g, const char *key, size_t n, struct js **out, struct err *e)
{
    *out = gguf_value(g, key, e);
    if (!*out && e->code != ERR_NOTFOUND)
        return e->code;
    if (*out && js_len(*out) != n)
        return err_set(e, ERR_INPUT, "%s: %s has %zu elements for %zu tokens; the file is damaged", gguf_path(g), key, js_len(*out), n);
    return 0;
}

static int vocabulary_read(struct pieces *v, const struct gguf *g, bool bos, struct err *e)
{
    *v = (struct pieces){.unk = gguf_int(g, "tokenizer.ggml.unknown_token_id", -1), .bos = gguf_int(g, "tokenizer.ggml.bos_token_id", -1),
                         .eos = gguf_int(g, "tokenizer.ggml.eos_token_id", -1), .add_bos = gguf_bool(g, "tokenizer.ggml.add_bos_token", bos),
                         .add_eos = gguf_bool(g, "tokenizer.ggml.add_eos_token", false), .prefix = gguf_bool(g, "tokenizer.ggml.add_space_prefix", true)};
    v->tokens = gguf_value(g, "tokenizer.ggml.tokens", e);
    if (!v->tokens)
        return e->code;
    int rc = take_list(g, "tokenizer.ggml.token_type", js_len(v->tokens), &v->types, e);
    if (rc == 0)
        rc = take_list(g, "tokenizer.ggml.scores", js_len(v->tokens), &v->scores, e);
    return rc == 0 ? pieces_index(v, gguf_path(g), e) : rc;
}

/* From the metadata's merges: "a b" each. */
static int byte_level_parts(struct js *j, struct js *model, const struct gguf *g, struct err *e)
{
    const struct pre *p = pre_find(gguf_str(g, "tokenizer.ggml.pre"));
    struct js *merges = gguf_value(g, "tokenizer.ggml.merges", e);
    if (!merges && e->code == ERR_NOTFOUND)
        merges = js_array();
    if (!merges)
        return e->code;
    int bad = js_set(model, "merges", merges) | js_set(model, "ignore_merges", js_new_bool(p->ignore_merges));
    bad |= js_set(model, "unk_token", js_new_null()) | js_set(model, "fuse_unk", js_new_bool(false));
    bad |= js_set(model, "byte_fallback", js_new_bool(false));
    bad |= js_set(j, "normalizer", p->nfc ? js_parse(STR("{\"type\":\"NFC\"}"), "tokenizer", e) : js_new_null());
    bad |= js_set(j, "pre_tokenizer", pre_json(p)) | js_set(j, "decoder", byte_level(true));
    return bad ? err_nomem(e, 1024, "tokenizer") : 0;
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
    struct pieces v = {0};
    if (gguf_tokenizer_check(g, e) != 0)
        return NULL;
    bool bytes = str_is(gguf_str(g, "tokenizer.ggml.model"), "gpt2");
    struct js *j = js_object(), *model = js_object();
    int rc = j && model ? vocabulary_read(&v, g, !bytes || pre_find(gguf_str(g, "tokenizer.ggml.pre"))->bos, e) : err_nomem(e, 128, "tokenizer");
    if (rc == 0)
        rc = bytes ? byte_level_parts(j, model, g, e) : pieces_sentencepiece(&v, j, model, e);
    if (rc == 0)
        rc = pieces_assemble(&v, j, model, e);
    pieces_release(&v);
    js_free(model);
    if (rc != 0) {
        js_free(j);
        j = NULL;
    }
    return j;
}

/* ---- facts ---- */

struct js *gguf_vocabulary(const struct gguf *g, struct err *e)
{
    struct js *tokens = gguf_value(g, "tokenizer.ggml.tokens", e), *types = NULL, *out = NULL;
    if (tokens && take_list(g, "tokenizer.ggml.token_type", js_len(tokens), &types, e) == 0)
        out = token_facts_list(tokens, types, e);
    js_free(types);
    js_free(tokens);
    return out;
}

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
