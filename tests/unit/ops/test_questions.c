/* SPDX-License-Identifier: MIT
 *
 * Evaluation by generation without a model: the prompts of GSM8K against the oracle's, how answers are judged, what the files
 * of predictions and metrics hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ops/lib/metrics.h"
#include "ops/lib/questions.h"
#include "runtime/base/fs.h"

#define OK(call, err)                             \
    do {                                          \
        if ((call) != 0)                          \
            fail_msg("%s: %s", #call, (err).msg); \
    } while (0)

static void shared(const char *rest, char out[512])
{
    const char *dir = getenv("PKG_SHARED");
    snprintf(out, 512, "%s/%s", dir ? dir : TEST_SHARED, rest);
    if (!fs_exists(out)) {
        print_message("SKIPPED: no file %s; set PKG_SHARED\n", out);
        skip();
    }
}

static void gsm8k_prompts(void **state)
{
    (void)state;
    char golden[512], test[512], train[512];
    struct err e = {0};
    shared("oracle/golden/text/gsm8k_prompts.json", golden);
    shared("data/gsm8k/test.jsonl", test);
    shared("data/gsm8k/train_7473.jsonl", train);
    struct js *g = js_read(golden, &e);
    const struct js *cases = js_get(g, "cases");
    assert_true(js_len(cases) == 12);
    for (size_t i = 0; i < js_len(cases); i++)
        for (int chat = 0; chat < 2; chat++) {
            const struct js *c = js_at(cases, i);
            struct gsm8k_options o = {test, train, (size_t)js_int(js_get(c, "shots"), 0), 6, chat, false, false};
            struct questions q;
            OK(questions_gsm8k(&o, &q, &e), e);
            const struct question *v = &q.v[js_int(js_get(c, "row"), 0)];
            assert_string_equal(v->prompt.p, js_cstr(js_get(c, chat ? "chat" : "plain")));
            assert_string_equal(v->reference, js_cstr(js_get(c, "reference")));
            assert_int_equal(q.line_stop, !chat);
            questions_release(&q);
        }
    js_free(g);
}

static bool judged(const char *output, const char *reference, enum compare_as how, bool plain, const char *prediction)
{
    struct question q = {.reference = (char *)(uintptr_t)reference};
    buf_puts(&q.output, output);
    question_judge(&q, how, plain);
    if (prediction)
        assert_string_equal(q.prediction.p, prediction);
    else
        assert_false(q.has_prediction);
    bool correct = q.correct;
    buf_release(&q.output);
    buf_release(&q.prediction);
    return correct;
}

static void judging(void **state)
{
    (void)state;
    assert_true(judged("so 10.00", "10", COMPARE_NUMBER, true, "10.00"));
    assert_false(judged("so 10.00", "10", COMPARE_REFERENCE, true, "10.00"));
    assert_true(judged(" 1,234 eggs", "1,234", COMPARE_REFERENCE, true, "1234"));
    assert_true(judged("-5.0", "-5", COMPARE_NUMBER, true, "-5.0"));
    assert_true(judged("9+1=10 #### 170\n\n", "x=1 #### 170", COMPARE_NUMBER, false, "170"));
    assert_false(judged("#### 171", "#### 170", COMPARE_NUMBER, false, "171"));
    assert_false(judged("none", "#### 170", COMPARE_NUMBER, false, NULL));
    assert_true(judged(" yes \n", "yes", COMPARE_NUMBER, false, "yes"));
    assert_false(judged("yes 3", "yes", COMPARE_NUMBER, false, "yes 3"));
}

static void refusals(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{\"question\": \"a\"}\n", "{\"question\": \"a\", \"answer\": \"b\"}\n", "not json\n",
                                        "{\"question\": \"a\", \"answer\": \"b #### 1\"}\n"};
    char path[] = "/tmp/pkg-gsm-XXXXXX";
    int fd = mkstemp(path);
    close(fd);
    for (int i = 0; i < 5; i++) {
        struct err e = {0};
        struct questions q;
        struct gsm8k_options o = {path, path, i == 4 ? 2 : 0, 0, true, false, false};
        OK(fs_write_atomic(path, texts[i], strlen(texts[i]), &e), e);
        assert_int_equal(questions_gsm8k(&o, &q, &e), ERR_INPUT);
        assert_non_null(strstr(e.msg, path));
        if (i && i < 4)
            assert_non_null(strstr(e.msg, ":1: "));
        questions_release(&q);
    }
    unlink(path);
}

static void files(void **state)
{
    (void)state;
    char path[] = "/tmp/pkg-pred-XXXXXX";
    int fd = mkstemp(path);
    close(fd);
    struct err e = {0};
    struct question v[2] = {{.id = "a", .reference = "3", .has_prediction = true, .correct = true}, {.row = 1, .reference = "4"}};
    struct questions q = {.n = 2, .v = v};
    buf_puts(&v[0].prompt, "abc");
    buf_puts(&v[0].output, "it is 3");
    buf_puts(&v[0].prediction, "3");
    ids_push(&v[0].ids, 7);
    OK(questions_write(&q, path, &e), e);
    struct buf b = {0};
    OK(fs_read(path, 1 << 20, &b, &e), e);
    assert_string_equal(b.p, "{\"correct\":true,\"id\":\"a\",\"output\":\"it is 3\",\"output_ids\":[7],\"prediction\":\"3\",\"prompt_sha256\":"
                             "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\"reference\":\"3\"}\n"
                             "{\"correct\":false,\"id\":1,\"output\":\"\",\"output_ids\":[],\"prediction\":null,\"prompt_sha256\":"
                             "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"reference\":\"4\"}\n");
    buf_release(&b);
    struct metrics m = metrics_new("exact", "training-form", 4, 0);
    metrics_accuracy(&m, "exact_match", 1, 4);
    metrics_by(&m, "task", "x", 1);
    metrics_by(&m, "task", "y", 2);
    OK(metrics_save(&m, path, &e), e);
    struct js *j = js_read(path, &e);
    assert_true(js_num(js_get(js_get(j, "metrics"), "exact_match"), 0) == 25);
    assert_true(js_num(js_get(js_get(j, "stderr"), "exact_match"), 0) == 25);
    assert_true(js_int(js_get(js_get(js_get(j, "by"), "task"), "y"), 0) == 2);
    js_free(j);
    buf_release(&v[0].prompt);
    buf_release(&v[0].output);
    buf_release(&v[0].prediction);
    ids_release(&v[0].ids);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gsm8k_prompts), cmocka_unit_test(judging), cmocka_unit_test(refusals), cmocka_unit_test(files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
