/* SPDX-License-Identifier: MIT
 * pieces: a tokenizer.model made here gives the ids that SentencePiece's rules give; kinds that are not read are named.
 * token_lists: the lists read from the text are those of the JSON value; what is unusual goes by the value. */
#include "tok_helper.h"

#include "runtime/text/pieces.h"
#include "runtime/text/token_lists.h"

static void varint(struct buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        buf_putc(b, (char)(v | 0x80));
    buf_putc(b, (char)v);
}

static void bytes_field(struct buf *b, int number, struct str s)
{
    varint(b, (uint64_t)number << 3 | 2);
    varint(b, s.n);
    buf_str(b, s);
}

static void number_field(struct buf *b, int number, uint64_t v)
{
    varint(b, (uint64_t)number << 3);
    varint(b, v);
}

static void piece(struct buf *b, const char *text, float score, int type)
{
    struct buf p = {0};
    bytes_field(&p, 1, str_of(text));
    varint(&p, 2 << 3 | 5);
    buf_put(&p, &score, 4);
    number_field(&p, 3, (uint64_t)type);
    bytes_field(b, 1, buf_view(&p));
    buf_release(&p);
}

/* kind 2: bpe */
static struct buf model(uint64_t kind, bool squeeze, const char *map)
{
    struct buf b = {0}, trainer = {0}, norm = {0};
    piece(&b, "<unk>", 0, PIECE_UNKNOWN);
    piece(&b, "<s>", 0, PIECE_CONTROL);
    piece(&b, "</s>", 0, PIECE_CONTROL);
    piece(&b, "<|x|>", 0, PIECE_USER);
    piece(&b, "ab", -1, PIECE_NORMAL);
    piece(&b, "\xe2\x96\x81" "ab", -2, PIECE_NORMAL);
    piece(&b, "bc", 0, PIECE_NORMAL);
    static const char *const chars[] = {"\xe2\x96\x81", "a", "b", "c"};
    for (int i = 0; i < 4; i++)
        piece(&b, chars[i], (float)(-3 - i), PIECE_NORMAL);
    number_field(&trainer, 3, kind);
    bytes_field(&b, 2, buf_view(&trainer));
    bytes_field(&norm, 1, STR("identity"));
    if (map)
        bytes_field(&norm, 2, str_of(map));
    number_field(&norm, 4, squeeze);
    bytes_field(&b, 3, buf_view(&norm));
    buf_release(&trainer);
    buf_release(&norm);
    return b;
}

static void ids_of_a_model(void **state)
{
    (void)state;
    struct buf b = model(2, false, NULL), text = {0};
    struct err e = {0};
    assert_true(sentencepiece_is(buf_view(&b)));
    assert_false(sentencepiece_is(STR("{}")));
    struct js *config = js_parse(STR("{\"legacy\":false,\"added_tokens_decoder\":{\"11\":{\"content\":\"<|new|>\",\"special\":true},\"1\":{\"content\":\"<s>\"}}}"), "c", &e);
    for (int k = 0; k < 2; k++) { /* k: legacy */
        struct js *j = sentencepiece_json(buf_view(&b), "m", k ? NULL : config, &e);
        if (!j)
            fail_msg("%s", e.msg);
        js_write(&text, j);
        struct tokenizer *t = parse_ok(text.p);
        assert_string_equal(ids_text(t, "ab", true), "1 5");
        assert_string_equal(ids_text(t, "abc", true), "1 7 8 6"); /* bc has the better score */
        assert_string_equal(ids_text(t, "a<|x|>ab", true), k ? "1 7 8 3 5" : "1 7 8 3 4");
        assert_string_equal(ids_text(t, "zz", false), "7 0");
        if (!k)
            assert_string_equal(ids_text(t, "<|new|>", false), "11");
        tokenizer_free(t);
        js_free(j);
        buf_clear(&text);
    }
    struct js *facts = sentencepiece_facts(buf_view(&b), "m", &e);
    assert_string_equal(js_cstr(js_get(facts, "bos_token")), "<s>");
    assert_string_equal(js_cstr(js_get(facts, "unk_token")), "<unk>");
    js_free(facts);
    js_free(config);
    buf_release(&b);
    buf_release(&text);
}

static void refused(void **state)
{
    static const struct {
        uint64_t kind;
        bool squeeze;
        const char *map, *message;
    } bad[] = {{1, false, NULL, "unigram"}, {2, true, NULL, "removes spaces"}, {2, false, "x", "a table of its own"}};
    (void)state;
    struct err e = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf b = model(bad[i].kind, bad[i].squeeze, bad[i].map);
        assert_null(sentencepiece_json(buf_view(&b), "m", NULL, &e));
        assert_int_equal(e.code, ERR_UNSUPPORTED);
        assert_non_null(strstr(e.msg, bad[i].message));
        buf_release(&b);
    }
    struct buf b = model(2, false, NULL);
    for (size_t n = 1; n < 40; n++) {
        assert_null(sentencepiece_json((struct str){b.p, n}, "m", NULL, &e));
        assert_true(e.code < 0);
    }
    buf_release(&b);
}

static void same_lists(void **state)
{
    static const char *const usual[] = {
        "{\"a\":[\"model\",{\"vocab\":1}],\"model\":{\"x\":\"\\\"}\\\\\",\"vocab\":{\"a\":0, \"\\u00e9\":1,\"\\ud83d\\ude00\" : 2,\"b\\\"\":3,\"\":4},\"merges\":[\"a b\", [\"x\\n\",\"\"]],"
        "\"y\":null},\"z\":[1.5]}",
        "{\"model\":{\"merges\":[],\"vocab\":{\"\xc3\xa9\":12}}}",
    };
    static const char *const others[] = {
        "{\"model\":{\"vocab\":{\"a\":1.0},\"merges\":[]}}", "{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "{\"model\":{\"vocab\":{\"a\":01},\"merges\":[]}}",
        "{\"model\":{\"vocab\":{\"\\u0000\":1},\"merges\":[]}}", "{\"model\":{\"vocab\":{\"\\ud800\":1},\"merges\":[]}}", "{\"model\":{\"vocab\":{\"a\":1},\"merges\":[\"ab\"]}}",
        "{\"model\":{\"vocab\":{\"a\":1}}}", "{\"model\":{\"vocab\":{\"a\":1},\"merges\":[\"a b c\"]}}", "{\"model\":{\"vocab\":{\"a\":1},\"vocab\":{},\"merges\":[]}}",
        "{\"model\":{\"vocab\":{\"a\":1},\"merges\":[\"a b\" \"c d\"]}}", "{\"model\":{\"vocab\":{\"a\":1", "{\"model\":{\"vocab\":{\"\xff\":1},\"merges\":[]}}", "[]", "",
    };
    (void)state;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        struct err e = {0};
        struct token_lists a, b;
        struct buf rest = {0};
        struct js *whole = js_parse(str_of(usual[i]), "j", &e);
        assert_int_equal(token_lists_scan(str_of(usual[i]), &a, &rest, &e), 1);
        assert_int_equal(token_lists_read(js_get(whole, "model"), "j", &b, &e), 0);
        assert_int_equal(a.n_vocab, b.n_vocab);
        assert_int_equal(a.n_merges, b.n_merges);
        for (size_t k = 0; k < a.n_vocab; k++)
            assert_true(str_eq(a.vocab[k].text, b.vocab[k].text) && a.vocab[k].id == b.vocab[k].id);
        for (size_t k = 0; k < a.n_merges; k++)
            assert_true(str_eq(a.merges[k].a, b.merges[k].a) && str_eq(a.merges[k].b, b.merges[k].b) && a.merges[k].rank == b.merges[k].rank);
        struct js *left = js_parse(buf_view(&rest), "rest", &e);
        assert_non_null(left);
        assert_int_equal(js_len(js_get(js_get(left, "model"), "vocab")), 0);
        assert_int_equal(js_len(left), js_len(whole));
        js_free(left);
        js_free(whole);
        buf_release(&rest);
        token_lists_release(&a);
        token_lists_release(&b);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct err e = {0};
        struct token_lists a;
        struct buf rest = {0};
        assert_int_equal(token_lists_scan(str_of(others[i]), &a, &rest, &e), 0);
        assert_null(a.vocab);
        buf_release(&rest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ids_of_a_model), cmocka_unit_test(refused), cmocka_unit_test(same_lists)};
    return cmocka_run_group_tests_name("pieces", tests, NULL, NULL);
}
