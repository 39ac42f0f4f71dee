/* SPDX-License-Identifier: MIT
 * Tokenizers: small ones by hand, golden ids of trained ones, bad files, worst cases, threads. */
#include "tok_helper.h"

#include "runtime/exec/par.h"

static void sentencepiece(void **state)
{
    static const struct {
        const char *json, *text, *ids;
    } cases[] = {
#define FIRST SP(SP_MODEL("\"fuse_unk\":true,", "", ""), SP_ADDED(""), "null", METASPACE("first", "false"))
#define ALWAYS SP(SP_MODEL("\"fuse_unk\":true,", "", ""), SP_ADDED(""), "null", METASPACE("always", "true"))
#define NEVER SP(SP_MODEL("", "", ""), SP_ADDED(""), "null", METASPACE("never", "false"))
#define LEGACY                                                                                                         \
    SP(SP_MODEL("\"fuse_unk\":true,", "", ""), SP_ADDED(""),                                                           \
       "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},{\"type\":"        \
       "\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}]}",                                   \
       "null")
#define FALLBACK                                                                                                       \
    SP(SP_MODEL("\"fuse_unk\":true,\"byte_fallback\":true,", ",\"<0xC3>\":14,\"<0xA9>\":15", ""), SP_ADDED(""),        \
       "null", METASPACE("never", "false"))
        {FIRST, "abc", "9 6"}, /* lowest rank first: a b, then the mark and ab; abc never comes up */
        {FIRST, "abc ab", "9 6 9"},
        {FIRST, "", ""},
        {FIRST, " ab", "9"},
        {FIRST, "  ab", "3 9"},
        {FIRST, "ab</s>ab", "9 2 7"}, /* only the first piece of the text gets the mark */
        {ALWAYS, "ab</s>ab", "9 2 9"},
        {ALWAYS, "a b", "8 3 5"},
        {LEGACY, "ab</s>ab", "9 2 9"},
        {LEGACY, "", ""},
        {NEVER, "ab ab", "7 9"},
        {NEVER, "xy\xc3\xa9z", "0 0 0 0"},
        {FIRST, "xy\xc3\xa9z", "3 0"}, /* unknown characters are fused */
        {FIRST, "x y", "3 0 3 0"},
        {FALLBACK, "a\xc3\xa9x", "4 14 15 0"},
        {FALLBACK, "\xc3\xa8", "0"}, /* a byte without a token: the whole character is unknown */
        {FALLBACK, "aaaaaaa", "13 12 4"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tokenizer *t = parse_ok(cases[i].json);
        const char *ids = ids_text(t, cases[i].text, false);
        if (strcmp(ids, cases[i].ids) != 0)
            fail_msg("case %zu: \"%s\" gave %s, not %s", i, cases[i].text, ids, cases[i].ids);
        tokenizer_free(t);
    }
}

/* bytes_tokenizer() with parts replaced: pre_tokenizer, normalizer, more tokens from id 259 on, merges */
static char *byte_level(const char *pre, const char *normalizer, const char *vocab, const char *merges,
                        const char *added)
{
    struct err e = {0};
    struct js *j = bytes_tokenizer(), *model = js_copy(js_get(j, "model")), *words = js_copy(js_get(model, "vocab"));
    struct js *tokens = js_copy(js_get(j, "added_tokens")), *v = js_parse(str_of(vocab), "vocab", &e),
              *a = js_parse(str_of(added), "added", &e);
    assert_non_null(v);
    assert_non_null(a);
    js_set(words, "<s>", js_new_int(256)); /* the library counts ids of added tokens from the size of the vocabulary */
    js_set(words, "</s>", js_new_int(257));
    js_set(words, "<pad>", js_new_int(258));
    for (void *it = js_iter(v); it; it = js_next(v, it))
        js_set(words, js_iter_key(it), js_ref(js_iter_value(it)));
    for (size_t i = 0; i < js_len(a); i++)
        js_push(tokens, js_ref(js_at(a, i)));
    js_set(model, "vocab", words);
    js_set(model, "merges", js_parse(str_of(merges), "merges", &e));
    js_set(j, "model", model);
    js_set(j, "added_tokens", tokens);
    if (pre)
        js_set(j, "pre_tokenizer", js_parse(str_of(pre), "pre", &e));
    js_set(j, "normalizer", js_parse(str_of(normalizer), "normalizer", &e));
    struct buf out = {0};
    js_write(&out, j);
    js_free(j);
    js_free(v);
    js_free(a);
    return buf_steal(&out);
}

#define GPT2_PRE "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define SPLIT_PRE(regex)                                                                                               \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex                    \
    "\"},\"behavior\":\"Isolated\",\"invert\":false},"                                                                 \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}"

static void bytes(void **state)
{
    static const struct {
        const char *pre, *normalizer, *vocab, *merges, *text, *ids;
    } cases[] = {
        {NULL, "null", "{}", "[]", "a\xc3\xa9", "256 97 195 169"},
        {GPT2_PRE, "null",
         "{\"aa\":259,\"\xc4\xa0"
         "a\":260}",
         "[\"a a\",\"\xc4\xa0 a\"]", "aaa aa", "256 259 97 32 259"},
        {GPT2_PRE, "null",
         "{\"aa\":259,\"\xc4\xa0"
         "a\":260}",
         "[\"\xc4\xa0 a\",\"a a\"]", "aaa aa", "256 259 97 260 97"},
        {GPT2_PRE, "null", "{\"1a\":259,\"11\":260}", "[\"1 a\",\"1 1\"]", "11a",
         "256 260 97"}, /* digits and letters are apart */
        {SPLIT_PRE("\\\\p{N}"), "null", "{\"11\":259}", "[\"1 1\"]", "111", "256 49 49 49"},
        {NULL, "{\"type\":\"NFC\"}", "{}", "[]", "e\xcc\x81", "256 195 169"},
        {NULL, "{\"type\":\"NFD\"}", "{}", "[]", "\xc3\xa9", "256 101 204 129"},
        {NULL, "{\"type\":\"NFKC\"}", "{}", "[]", "\xef\xac\x81", "256 102 105"},
        {NULL, "{\"type\":\"Lowercase\"}", "{}", "[]", "A\xc4\xb0", "256 97 105 204 135"},
        {NULL, "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}", "{}", "[]",
         " \xc2\xa0"
         "a b ",
         "256 97 32 98"},
        {NULL, "null", "{}", "[]", "a</s>b<s", "256 97 257 98 60 115"},
        {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":false}", "null", "{}", "[]", "a",
         "256 32 97"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true}," GPT2_PRE "]}",
         "null", "{\"11\":259}", "[\"1 1\"]", "a11", "256 97 49 49"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *json = byte_level(cases[i].pre, cases[i].normalizer, cases[i].vocab, cases[i].merges, "[]");
        struct tokenizer *t = parse_ok(json);
        const char *ids = ids_text(t, cases[i].text, true);
        if (strcmp(ids, cases[i].ids) != 0)
            fail_msg("case %zu: \"%s\" gave %s, not %s", i, cases[i].text, ids, cases[i].ids);
        tokenizer_free(t);
        free(json);
    }
}

static void added_tokens(void **state)
{
    static const char added[] =
        "[{\"id\":259,\"content\":\"<l>\",\"lstrip\":true,\"normalized\":false},{\"id\":260,\"content\":\"<r>\","
        "\"rstrip\":true},"
        "{\"id\":261,\"content\":\"word\",\"single_word\":true},{\"id\":262,\"content\":\"<ll>\"},"
        "{\"id\":263,\"content\":\"Low\",\"normalized\":true}]";
    static const struct {
        const char *text, *ids;
    } cases[] = {
        {"a \xc2\xa0<l> b", "97 259 32 98"},
        {"a <r> \n b", "97 32 260 98"},
        {"word", "261"},
        {"(word)", "40 261 41"},
        {"words word", "119 111 114 100 115 32 261"},
        {"<ll>", "262"},
        {"<l", "60 108"},
        {"<l><l>", "259 259"},
        {"<r> <l>", "260 259"},
        {"low LOW", "263 32 263"}, /* matched after lower-casing */
        {"<L>", "60 108 62"},
        {"</s></s>", "257 257"},
    };
    (void)state;
    char *json = byte_level(NULL, "{\"type\":\"Lowercase\"}", "{}", "[]", added);
    struct tokenizer *t = parse_ok(json);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *ids = ids_text(t, cases[i].text, false);
        if (strcmp(ids, cases[i].ids) != 0)
            fail_msg("\"%s\" gave %s, not %s", cases[i].text, ids, cases[i].ids);
    }
    size_t len;
    assert_int_equal(tokenizer_id(t, STR("<ll>")), 262);
    assert_int_equal(tokenizer_id(t, STR("nothing")), -1);
    assert_int_equal(tokenizer_size(t), 264);
    assert_string_equal(tokenizer_token(t, 259, &len), "<l>");
    assert_int_equal(len, 3);
    assert_null(tokenizer_token(t, 264, &len));
    assert_null(tokenizer_token(t, -1, &len));
    tokenizer_free(t);
    free(json);
}

static void decoding(void **state)
{
    static const int32_t broken[] = {256, 97, 0xe2, 0x82, 98, 0xff, 257, 9999, -1};
    struct err e = {0};
    struct buf out = {0};
    (void)state;
    char *json = byte_level(NULL, "null", "{}", "[]", "[]");
    struct tokenizer *t = parse_ok(json);
    assert_int_equal(tokenizer_decode(t, broken, 9, true, &out, &e), 0);
    assert_string_equal(out.p, "a\xef\xbf\xbd"
                               "b\xef\xbf\xbd");
    buf_clear(&out);
    assert_int_equal(tokenizer_decode(t, broken, 2, false, &out, &e), 0);
    assert_string_equal(out.p, "<s>a");
    tokenizer_free(t);
    free(json);
    buf_clear(&out);
    t = parse_ok(SP(SP_MODEL("", "", ""), SP_ADDED(""), "null", METASPACE("first", "false")));
    assert_int_equal(tokenizer_decode(t, (const int32_t[]){1, 9, 3, 7, 2}, 5, true, &out, &e), 0);
    assert_string_equal(out.p, "ab ab");
    tokenizer_free(t);
    buf_release(&out);
}

static void bad_files(void **state)
{
#define VOCAB "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}"
    static const struct {
        const char *json;
        int code;
        const char *part; /* of the message */
    } cases[] = {
        {"", ERR_INPUT, "JSON"},
        {"[1]", ERR_INPUT, "object"},
        {"{}", ERR_INPUT, "model"},
        {"{\"version\":\"9\"}", ERR_UNSUPPORTED, "version"},
        {"{\"model\":{\"type\":\"WordPiece\"}}", ERR_UNSUPPORTED, "WordPiece"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", ERR_UNSUPPORTED, "Unigram"},
        {"{\"model\":{\"type\":\"BPE\",\"merges\":[]}}", ERR_INPUT, "vocab"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", ERR_INPUT, "\"a\" needs an id"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":9999999999},\"merges\":[]}}", ERR_INPUT, "\"a\" needs an id"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":\"x\"},\"merges\":[]}}", ERR_INPUT, "\"a\" needs an id"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1,\"b\":1},\"merges\":[]}}", ERR_INPUT, "both have the id 1"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1,\"a\":2},\"merges\":[]}}", ERR_INPUT, "twice"},
        {"{\"model\":{\"type\":\"BPE\"," VOCAB "}}", ERR_INPUT, "merges"},
        {"{\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[\"a c\"]}}", ERR_INPUT, "\"c\""},
        {"{\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[\"b a\"]}}", ERR_INPUT, "\"ba\""},
        {"{\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[\"ab\"]}}", ERR_INPUT, "element 0"},
        {"{\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[\"a  b\"]}}", ERR_INPUT, "element 0"},
        {"{\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[[\"a\"]]}}", ERR_INPUT, "element 0"},
        {"{\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[],\"unk_token\":\"u\"}}", ERR_INPUT, "unk_token"},
        {"{\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[],\"dropout\":0.1}}", ERR_UNSUPPORTED, "dropout"},
        {"{\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[],\"end_of_word_suffix\":\"</w>\"}}", ERR_UNSUPPORTED,
         "end_of_word_suffix"},
#define WITH(part) "{\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[\"a b\"]}," part "}"
        {WITH("\"normalizer\":{\"type\":\"Nmt\"}"), ERR_UNSUPPORTED, "Nmt"},
        {WITH("\"normalizer\":{}"), ERR_INPUT, "normalizer"},
        {WITH("\"normalizer\":{\"type\":\"Sequence\"}"), ERR_INPUT, "normalizers"},
        {WITH("\"normalizer\":{\"type\":\"Prepend\"}"), ERR_INPUT, "prepend"},
        {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(\"},\"content\":\"\"}"), ERR_INPUT,
         "not valid"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Bert\"}"), ERR_UNSUPPORTED, "Bert"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a{2\"},\"behavior\":\"Sideways\"}"),
         ERR_INPUT, "behavior"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"*\"},\"behavior\":\"Isolated\"}"),
         ERR_INPUT, "not valid"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"},\"behavior\":\"Isolated\"}"),
         ERR_UNSUPPORTED, "intersection"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{Klingon}\"},\"behavior\":"
              "\"Isolated\"}"),
         ERR_UNSUPPORTED, "\\p{"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}"), ERR_INPUT, "replacement"},
        {WITH("\"post_processor\":{\"type\":\"Magic\"}"), ERR_UNSUPPORTED, "Magic"},
        {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"q\"}}],"
              "\"special_tokens\":{}}"),
         ERR_INPUT, "ids"},
        {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[],\"special_tokens\":{}}"),
         ERR_UNSUPPORTED, "leaves the text out"},
        {WITH("\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"x\",77],\"sep\":[\"y\",1]}"), ERR_INPUT,
         "77"},
        {WITH("\"decoder\":{\"type\":\"WordPiece\"}"), ERR_UNSUPPORTED, "WordPiece"},
        {WITH("\"added_tokens\":{}"), ERR_INPUT, "added_tokens"},
        {WITH("\"added_tokens\":[{\"id\":5}]"), ERR_INPUT, "content"},
        {WITH("\"added_tokens\":[{\"id\":7,\"content\":\"x\"}]"), ERR_INPUT, "id 7"},
        {WITH("\"added_tokens\":[{\"id\":1,\"content\":\"a\"}]"), ERR_INPUT, "id 1"},
        {WITH("\"added_tokens\":[{\"id\":0,\"content\":\"a\"},{\"id\":0,\"content\":\"a\"}]"), ERR_INPUT, "twice"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err e = {0};
        struct tokenizer *t = NULL;
        int rc = tokenizer_parse(str_of(cases[i].json), "bad.json", &t, &e);
        if (rc != cases[i].code || t || !strstr(e.msg, cases[i].part) || strncmp(e.msg, "bad.json", 8) != 0)
            fail_msg("case %zu: code %d, message %s", i, rc, e.msg);
    }
    struct buf deep = {0};
    struct err e = {0};
    struct tokenizer *t = NULL;
    for (int i = 0; i < 40; i++)
        buf_puts(&deep, "{\"type\":\"Sequence\",\"normalizers\":[");
    for (int i = 0; i < 40; i++)
        buf_puts(&deep, "]}");
    struct buf all = {0};
    buf_printf(&all, "{\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[]},\"normalizer\":%s}", deep.p);
    assert_int_equal(tokenizer_parse(buf_view(&all), "deep.json", &t, &e), ERR_INPUT);
    buf_release(&all);
    buf_release(&deep);
    assert_int_equal(tokenizer_read("/nonexistent/tokenizer.json", &t, &e), ERR_NOTFOUND);
}

static void bad_text(void **state)
{
    struct err e = {0};
    struct ids ids = {0};
    (void)state;
    struct tokenizer *t = parse_ok(SP(SP_MODEL("", "", ""), SP_ADDED(""), "null", METASPACE("never", "false")));
    static const char *const texts[] = {"ab\xff", "ab\xc3", "ab\xed\xa0\x80", "ab\xc0\x80", "ab\xf5\x80\x80\x80"};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(tokenizer_encode(t, str_of(texts[i]), false, &ids, &e), ERR_INPUT);
        assert_non_null(strstr(e.msg, "byte 2"));
    }
    tokenizer_free(t);
    ids_release(&ids);
}

/* Pieces of a megabyte: time would explode if a step were quadratic; the ids are known. */
static void long_pieces(void **state)
{
    enum { N = 1 << 20 };
    struct err e = {0};
    struct ids ids = {0};
    (void)state;
    char *text = malloc(N + 1);
    assert_non_null(text);
    memset(text, 'a', N);
    struct tokenizer *t = parse_ok(SP(SP_MODEL("", "", ""), SP_ADDED(""), "null", METASPACE("never", "false")));
    assert_int_equal(tokenizer_encode(t, (struct str){text, N - 1}, false, &ids, &e), 0);
    assert_int_equal(ids.n, N / 4 - 1 + 2);
    assert_int_equal(ids.v[0], 13);
    assert_int_equal(ids.v[ids.n - 2], 12);
    assert_int_equal(ids.v[ids.n - 1], 4);
    tokenizer_free(t);
    char *json = byte_level(GPT2_PRE, "{\"type\":\"NFC\"}", "{\"aa\":259}", "[\"a a\"]", "[]");
    t = parse_ok(json);
    for (size_t i = 0; i < N; i++)
        text[i] = " a.\n"[i * 7 / 5 % 4];
    ids.n = 0;
    assert_int_equal(tokenizer_encode(t, (struct str){text, N}, false, &ids, &e), 0);
    memset(text, ' ', N);
    ids.n = 0;
    assert_int_equal(tokenizer_encode(t, (struct str){text, N}, false, &ids, &e), 0);
    assert_int_equal(ids.n, N);
    tokenizer_free(t);
    free(json);
    free(text);
    ids_release(&ids);
}

struct job {
    const struct tokenizer *t;
    struct ids out[256];
    int rc[256];
};

static void encode_one(void *u, size_t i)
{
    struct job *j = u;
    struct buf b = {0};
    struct err e;
    for (size_t k = 0; k < 40; k++)
        buf_printf(&b, "ab%zu abc %.*s", i % 7, (int)(k % 9), "aaaaaaaaaa");
    j->rc[i] = tokenizer_encode(j->t, buf_view(&b), true, &j->out[i], &e);
    buf_release(&b);
}

static void threads(void **state)
{
    static struct job one, many;
    (void)state;
    struct tokenizer *t =
        parse_ok(SP(SP_MODEL("\"fuse_unk\":true,", "", ""), SP_ADDED(""), "null", METASPACE("first", "false")));
    one.t = many.t = t;
    par_set_threads(4);
    par_for(256, encode_one, &many);
    par_set_threads(1);
    par_for(256, encode_one, &one);
    for (size_t i = 0; i < 256; i++) {
        assert_int_equal(many.rc[i], 0);
        assert_int_equal(one.out[i].n, many.out[i].n);
        assert_memory_equal(one.out[i].v, many.out[i].v, one.out[i].n * sizeof *one.out[i].v);
        ids_release(&one.out[i]);
        ids_release(&many.out[i]);
    }
    tokenizer_free(t);
}

static void golden(const char *name, const char *folder)
{
    char path[4096];
    struct err e = {0};
    struct tokenizer *t = NULL;
    snprintf(path, sizeof path, "%s/oracle/golden/text/strings.json", TEST_SHARED);
    struct js *strings = js_read(path, &e);
    snprintf(path, sizeof path, "%s/oracle/golden/text/tokenizer-%s.json", TEST_SHARED, name);
    struct js *expected = js_read(path, &e);
    if (!strings || !expected)
        fail_msg("%s", e.msg);
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    if (tokenizer_read(path, &t, &e) < 0)
        fail_msg("%s", e.msg);
    for (size_t i = 0; i < js_len(strings); i++) {
        struct ids ids = {0};
        struct buf text = {0};
        char index[24];
        snprintf(index, sizeof index, "%zu", i);
        assert_int_equal(tokenizer_encode(t, js_str(js_at(strings, i)), true, &ids, &e), 0);
        same_ids(js_at(js_get(expected, "ids"), i), ids.v, ids.n, js_cstr(js_at(strings, i)));
        assert_int_equal(tokenizer_decode(t, ids.v, ids.n, true, &text, &e), 0);
        const struct js *other = js_get(js_get(expected, "decoded"), index);
        if (!str_eq(buf_view(&text), js_str(other ? other : js_at(strings, i))))
            fail_msg("%s: string %zu decodes to \"%s\"", name, i, text.p ? text.p : "");
        ids_release(&ids);
        buf_release(&text);
    }
    tokenizer_free(t);
    js_free(strings);
    js_free(expected);
}

static void golden_tiny(void **state)
{
    static const char *const names[][2] = {{"bytelevel", "mha-student"},
                                           {"sp-legacy", "gqa-student"},
                                           {"llama3", "rope3-student"},
                                           {"qwen-tiny", "qwen-student"},
                                           {"sp-metaspace", "linear"}};
    (void)state;
    if (!fs_exists(TEST_SHARED "/oracle/golden/text/strings.json")) {
        print_message("SKIPPED: no golden vectors in " TEST_SHARED "\n");
        skip();
    }
    for (size_t i = 0; i < 5; i++) {
        char folder[4096];
        snprintf(folder, sizeof folder, "%s/oracle/golden/models/%s", TEST_SHARED, names[i][1]);
        golden(names[i][0], folder);
    }
}

static void golden_real(void **state)
{
    static const char *const names[] = {"smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"};
    const char *real = getenv("PKG_REAL");
    (void)state;
    if (!real || !fs_exists(TEST_SHARED "/oracle/golden/text/strings.json")) {
        print_message("SKIPPED: set PKG_REAL to a folder with %s and others to test real tokenizers\n", names[0]);
        skip();
    }
    for (size_t i = 0; i < 3; i++) {
        char folder[4096];
        snprintf(folder, sizeof folder, "%s/%s", real, names[i]);
        golden(names[i], folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentencepiece), cmocka_unit_test(bytes),     cmocka_unit_test(added_tokens),
        cmocka_unit_test(decoding),      cmocka_unit_test(bad_files), cmocka_unit_test(bad_text),
        cmocka_unit_test(long_pieces),   cmocka_unit_test(threads),   cmocka_unit_test(golden_tiny),
        cmocka_unit_test(golden_real),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
