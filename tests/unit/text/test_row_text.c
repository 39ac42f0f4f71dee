/* SPDX-License-Identifier: MIT
 * The text and the labels of rows: by hand, and golden conversations and cases. */
#include "tok_helper.h"

#include "runtime/text/rows.h"

/* Rows built in the test. */
static struct message m3[] = {{.role = ROLE_SYSTEM, .content = {"S", 1}}, {.role = ROLE_USER, .content = {" q ", 3}},
                              {.role = ROLE_ASSISTANT, .content = {"\n1\xc2\xa0", 4}}, {.role = ROLE_USER, .content = {"r", 1}},
                              {.role = ROLE_ASSISTANT, .content = {"2", 1}}, {.role = ROLE_USER, .content = {"t", 1}}};

static void texts(void **state)
{
    static const struct {
        size_t n;
        bool plain, prompt;
        enum text_form form;
        const char *text;
    } cases[] = {
        {3, false, false, FORM_SEED, "<|system|>\nS\n\n<|user|>\nq\n\n<|assistant|>\n1</s>"},
        {3, false, false, FORM_TRAIN, "<|system|>\nS\n\n<|user|>\nq\n\n<|assistant|>\n1\n\n"},
        {3, false, true, FORM_TRAIN, "<|system|>\nS\n\n<|user|>\nq\n\n<|assistant|>\n"},
        {5, false, true, FORM_SEED,
         "<|system|>\nS\n\n<|user|>\nq\n\n<|assistant|>\n1</s><|user|>\nr\n\n<|assistant|>\n"},
        {6, false, false, FORM_TRAIN,
         "<|system|>\nS\n\n<|user|>\nq\n\n<|assistant|>\n1\n\n<|user|>\nr\n\n<|assistant|>\n2\n\n"},
        {2, false, true, FORM_TRAIN, "<|system|>\nS\n\n<|user|>\nq\n\n<|assistant|>\n"},
        {2, true, false, FORM_SEED, "S q </s>"},
        {2, true, false, FORM_TRAIN, "S q "},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct row r = {.n = cases[i].n, .messages = m3, .plain = cases[i].plain};
        struct buf b = {0};
        struct err e = {0};
        assert_int_equal(row_text(&r, cases[i].form, "</s>", cases[i].prompt, &b, &e), 0);
        assert_string_equal(b.p, cases[i].text);
        buf_release(&b);
    }
    struct buf b = {0};
    eval_prompt(&b, STR(" x"));
    assert_string_equal(b.p, "<|user|>\n x\n<|assistant|>\n");
    buf_release(&b);
}

/* The trained bytes of the encoded row as a string: bytes as they are, BOS ^, EOS $. */
static const char *trained(const struct encoded *x)
{
    static char out[4096];
    size_t n = 0;
    for (size_t i = 0; i < x->n; i++) {
        if (x->trained[i])
            out[n++] = x->ids[i] < 256 ? (char)x->ids[i] : x->ids[i] == BYTES_BOS ? '^' : '$';
    }
    out[n] = 0;
    return out;
}

static void labels(void **state)
{
    static const struct {
        size_t n, max;
        bool plain;
        enum text_form form;
        enum train_on on;
        const char *trained;
        bool cut;
    } cases[] = {
        {5, 1000, false, FORM_TRAIN, TRAIN_LAST, "2\n\n$", false},
        {5, 1000, false, FORM_SEED, TRAIN_LAST, "2$", false},
        {5, 1000, false, FORM_TRAIN, TRAIN_ASSISTANT, "1\n\n2\n\n$", false},
        {5, 1000, false, FORM_SEED, TRAIN_ASSISTANT, "1$2$", false},
        {6, 1000, false, FORM_TRAIN, TRAIN_LAST, "2\n\n$", false}, /* what follows the last answer is left out */
        {3, 1000, false, FORM_TRAIN, TRAIN_ALL, "^<|system|>\nS\n\n<|user|>\nq\n\n<|assistant|>\n1\n\n$", false},
        {2, 1000, true, FORM_TRAIN, TRAIN_LAST, "^S q $", false},
        {2, 4, true, FORM_SEED, TRAIN_LAST, "^S q", true},
        {3, 20, false, FORM_TRAIN, TRAIN_LAST, "", true},
    };
    (void)state;
    struct tokenizer *t = byte_tokenizer();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct message m[6];
        memcpy(m, m3, sizeof m);
        m[1].role = cases[i].plain ? ROLE_ASSISTANT : ROLE_USER;
        struct row r = {.n = cases[i].n, .messages = m, .plain = cases[i].plain};
        struct encoded x;
        struct err e = {0};
        if (row_encode(t, &r, cases[i].form, cases[i].on, cases[i].max, "</s>", BYTES_EOS, &x, &e) < 0)
            fail_msg("%s", e.msg);
        if (strcmp(trained(&x), cases[i].trained) != 0)
            fail_msg("case %zu: trained \"%s\"", i, trained(&x));
        assert_int_equal(x.cut, cases[i].cut);
        assert_true(x.n <= cases[i].max);
        assert_int_equal(x.n_target, strlen(cases[i].trained) - (cases[i].trained[0] == '^'));
        encoded_release(&x);
    }
    struct row none = {.n = 2, .messages = m3, .id = (char[]){"r7"}},
               bos = {.n = 1, .plain = true, .messages = &(struct message){.role = ROLE_ASSISTANT, .content = {"<s>a", 4}}};
    struct encoded x;
    struct err e = {0};
    assert_int_equal(row_encode(t, &none, FORM_TRAIN, TRAIN_LAST, 99, "</s>", BYTES_EOS, &x, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "r7"));
    assert_int_equal(row_encode(t, &bos, FORM_TRAIN, TRAIN_LAST, 99, "</s>", BYTES_EOS, &x, &e), 0);
    assert_string_equal(trained(&x), "^a$"); /* one BOS only */
    encoded_release(&x);
    tokenizer_free(t);
}

static void same_row(const struct tokenizer *t, const struct row *r, enum text_form form, size_t max,
                     const struct js *golden, const char *eos, const char *what)
{
    struct encoded x;
    struct err e = {0};
    if (row_encode(t, r, form, TRAIN_LAST, max, eos, tokenizer_id(t, str_of(eos)), &x, &e) < 0)
        fail_msg("%s: %s", what, e.msg);
    same_ids(js_get(golden, "ids"), x.ids, x.n, what);
    assert_int_equal(x.n_prompt, js_int(js_get(golden, "n_prompt"), -1));
    if (js_get(golden, "n_target"))
        assert_int_equal(x.n_target,
                         js_int(js_get(golden, "n_target"), -1) > 0 ? js_int(js_get(golden, "n_target"), -1) : 0);
    encoded_release(&x);
}

static void need_golden(void)
{
    if (!fs_exists(TEST_SHARED "/oracle/golden/text/chat.json")) {
        print_message("SKIPPED: no golden vectors in " TEST_SHARED "\n");
        skip();
    }
}

static struct js *read_json(const char *path)
{
    struct err e = {0};
    struct js *j = js_read(path, &e);
    if (!j)
        fail_msg("%s", e.msg);
    return j;
}

static void chats_of(const char *name, const char *folder, const struct js *chat)
{
    char path[4096];
    struct err e = {0};
    struct tokenizer *t = NULL;
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    if (tokenizer_read(path, &t, &e) < 0)
        fail_msg("%s", e.msg);
    const struct js *rows = js_get(js_get(chat, name), "rows");
    const char *eos = js_cstr(js_get(js_get(chat, name), "eos"));
    for (size_t i = 0; i < js_len(rows); i++) {
        static const char *const forms[] = {"seed", "train"};
        const struct js *row = js_at(rows, i), *list = js_get(row, "messages");
        struct message m[16];
        struct row r = {.messages = m};
        for (; r.n < js_len(list); r.n++) {
            const char *role = js_cstr(js_get(js_at(list, r.n), "role"));
            m[r.n] = (struct message){.role = *role == 's'   ? ROLE_SYSTEM
                                              : *role == 'u' ? ROLE_USER
                                                             : ROLE_ASSISTANT,
                                      .content = js_str(js_get(js_at(list, r.n), "content"))};
        }
        for (int f = 0; f < 2; f++) {
            struct buf b = {0};
            assert_int_equal(row_text(&r, (enum text_form)f, eos, false, &b, &e), 0);
            assert_true(str_eq(buf_view(&b), js_str(js_get(js_get(row, forms[f]), "text"))));
            buf_release(&b);
            same_row(t, &r, (enum text_form)f, 2048, js_get(row, forms[f]), eos, name);
        }
        same_row(t, &r, FORM_TRAIN, 12, js_get(row, "train_cutoff_12"), eos, name);
        struct buf b = {0};
        struct ids ids = {0};
        eval_prompt(&b, js_str(js_get(js_get(row, "eval"), "prompt")));
        assert_int_equal(tokenizer_encode(t, buf_view(&b), true, &ids, &e), 0);
        same_ids(js_get(js_get(row, "eval"), "ids"), ids.v, ids.n, name);
        ids_release(&ids);
        buf_release(&b);
    }
    tokenizer_free(t);
}

static void golden_chats(void **state)
{
    static const char *const names[][2] = {{"bytelevel", "mha-student"},
                                           {"sp-legacy", "gqa-student"},
                                           {"llama3", "rope3-student"},
                                           {"qwen-tiny", "qwen-student"},
                                           {"sp-metaspace", "linear"}};
    static const char *const real[] = {"smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"};
    char folder[4096];
    (void)state;
    need_golden();
    struct js *chat = read_json(TEST_SHARED "/oracle/golden/text/chat.json");
    for (size_t i = 0; i < 5; i++) {
        snprintf(folder, sizeof folder, "%s/oracle/golden/models/%s", TEST_SHARED, names[i][1]);
        chats_of(names[i][0], folder, chat);
    }
    if (!getenv("PKG_REAL"))
        print_message("SKIPPED: set PKG_REAL to a folder with %s and others to test real tokenizers\n", real[0]);
    for (size_t i = 0; getenv("PKG_REAL") && i < 3; i++) {
        snprintf(folder, sizeof folder, "%s/%s", getenv("PKG_REAL"), real[i]);
        chats_of(real[i], folder, chat);
    }
    js_free(chat);
}

static void golden_case(const char *name)
{
    static const char *const files[][2] = {{"seeds", "seeds.jsonl"}, {"train", "rows.jsonl"}};
    char path[4096];
    struct err e = {0};
    struct tokenizer *t = NULL;
    snprintf(path, sizeof path, "%s/oracle/golden/%s/case.json", TEST_SHARED, name);
    struct js *c = read_json(path);
    const char *model = js_cstr(js_get(c, "student")) ? js_cstr(js_get(c, "student")) : js_cstr(js_get(c, "teacher"));
    snprintf(path, sizeof path, "%s/oracle/golden/models/%s/tokenizer.json", TEST_SHARED, model);
    if (tokenizer_read(path, &t, &e) < 0)
        fail_msg("%s", e.msg);
    snprintf(path, sizeof path, "%s/oracle/golden/models/%s/tokenizer_config.json", TEST_SHARED, model);
    struct js *config = read_json(path);
    snprintf(path, sizeof path, "%s/oracle/golden/%s/tokens.json", TEST_SHARED, name);
    struct js *tokens = read_json(path);
    for (int f = 0; f < 2; f++) {
        struct rows rows;
        const struct js *list = js_get(tokens, files[f][0]);
        snprintf(path, sizeof path, "%s/oracle/golden/%s/%s", TEST_SHARED, name, files[f][1]);
        if (!list)
            continue;
        if (rows_read(path, ROW_AUTO, 0, SIZE_MAX, &rows, &e) < 0)
            fail_msg("%s", e.msg);
        assert_int_equal(rows.n, js_len(list));
        for (size_t i = 0; i < rows.n; i++)
            same_row(t, &rows.v[i], (enum text_form)f, 2048, js_at(list, i), js_cstr(js_get(config, "eos_token")),
                     name);
        rows_release(&rows);
    }
    js_free(c);
    js_free(config);
    js_free(tokens);
    tokenizer_free(t);
}

static void golden_cases(void **state)
{
    static const char *const names[] = {"mha", "gqa", "rope3", "odd", "qwen", "linear"};
    (void)state;
    need_golden();
    for (size_t i = 0; i < 6; i++)
        golden_case(names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts), cmocka_unit_test(labels),
                                       cmocka_unit_test(golden_chats), cmocka_unit_test(golden_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
