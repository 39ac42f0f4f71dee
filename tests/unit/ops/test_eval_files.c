/* SPDX-License-Identifier: MIT
 *
 * Files of the benchmarks without a model: exemplars of MMLU that fit, against the oracle's; the layouts of
 * Super-NaturalInstructions; AlpacaEval's outputs and annotations; what is damaged.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/lib/alpaca.h"
#include "ops/lib/mmlu_set.h"
#include "ops/lib/super_ni.h"
#include "runtime/base/fs.h"
#include "runtime/base/sha.h"

#define OK(call, err)                             \
    do {                                          \
        if ((call) != 0)                          \
            fail_msg("%s: %s", #call, (err).msg); \
    } while (0)

static char dir[] = "/tmp/pkg-eval-XXXXXX";

static char *put(const char *name, const char *text)
{
    struct err e = {0};
    char *path = fs_join(dir, name), *parent = fs_dirname(path);
    OK(fs_mkdirs(parent, &e), e);
    OK(fs_write_atomic(path, text, strlen(text), &e), e);
    free(parent);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    struct err e = {0};
    (void)state;
    return fs_remove_tree(dir, &e);
}

/* ---- MMLU ---- */

static const char *shared(const char *rest, char out[600])
{
    const char *base = getenv("PKG_SHARED");
    snprintf(out, 600, "%s/%s", base ? base : TEST_SHARED, rest);
    if (!fs_exists(out)) {
        print_message("SKIPPED: no file %s; set PKG_SHARED\n", out);
        skip();
    }
    return out;
}

/* The oracle digests ids as little-endian 32-bit integers. */
static void same_ids(const struct ids *ids, const char *want)
{
    struct digest d;
    char hex[DIGEST_HEX];
    sha_bytes(ids->v, ids->n * sizeof *ids->v, &d);
    digest_hex(&d, hex);
    assert_string_equal(hex, want);
}

static void one_drop(const struct js *c, const struct tokenizer *t)
{
    char *subject = str_dup(js_str(js_get(c, "subject"))), rel[200], path[600];
    struct mmlu_file test, dev;
    struct err e = {0};
    snprintf(rel, sizeof rel, "data/mmlu/test/%s_test.csv", subject);
    OK(mmlu_read(shared(rel, path), 0, &test, &e), e);
    snprintf(rel, sizeof rel, "data/mmlu/dev/%s_dev.csv", subject);
    OK(mmlu_read(shared(rel, path), 0, &dev, &e), e);
    struct mmlu_set s = {.n_subjects = 1, .subjects = &subject, .test = &test, .dev = &dev};
    struct mmlu_item x = {0, (uint32_t)js_int(js_get(c, "row"), 0)};
    struct mmlu_wrap w = {.chat = true, .n_shot = (size_t)js_int(js_get(c, "asked"), 0), .max_tokens = 2048};
    struct buf text = {0};
    struct ids ids = {0};
    int shots;
    OK(mmlu_set_prompt(&s, &x, &w, t, &text, &ids, &shots, &e), e);
    assert_int_equal(shots, js_int(js_get(c, "kept"), -1));
    if (shots >= 0) {
        assert_int_equal(ids.n, js_int(js_get(c, "tokens"), -1));
        same_ids(&ids, js_cstr(js_get(c, "ids_sha256")));
    }
    ids_release(&ids);
    buf_release(&text);
    mmlu_release(&test);
    mmlu_release(&dev);
    free(subject);
}

static void shots_that_fit(void **state)
{
    static const char *const models[][2] = {{"bytelevel", "mha-student"}, {"sp-legacy", "gqa-student"}, {"llama3", "rope3-student"},
                                            {"qwen-tiny", "qwen-student"}, {"sp-metaspace", "linear"}};
    (void)state;
    char path[600];
    struct err e = {0};
    int checked = 0;
    struct js *g = js_read(shared("oracle/golden/text/mmlu_prompts.json", path), &e);
    const struct js *drops = js_get(g, "shots_dropped");
    for (size_t m = 0; m < 5; m++) {
        char rel[200];
        struct tokenizer *t;
        snprintf(rel, sizeof rel, "oracle/golden/models/%s/tokenizer.json", models[m][1]);
        OK(tokenizer_read(shared(rel, path), &t, &e), e);
        for (size_t i = 0; i < js_len(drops); i++)
            if (strcmp(js_cstr(js_get(js_at(drops, i), "tokenizer")), models[m][0]) == 0) {
                one_drop(js_at(drops, i), t);
                checked++;
            }
        tokenizer_free(t);
    }
    assert_int_equal(checked, 15);
    js_free(g);
}

/* ---- Super-NaturalInstructions ---- */

static void checkout(void **state)
{
    (void)state;
    struct questions q;
    struct err e = {0};
    free(put("ni/splits/default/test_tasks.txt", "task2_b\r\n\n task1_a \n"));
    free(put("ni/tasks/task1_a.json", "{\"Definition\": [\"Do.\"], \"Instances\": [{\"id\": \"i0\", \"input\": \"x\", \"output\": [\"1\", \"2\"]}, {\"input\": \"y\", \"output\": [\"3\"]}]}"));
    free(put("ni/tasks/task2_b.json", "{\"Definition\": \"Do\", \"Instances\": [{\"input\": \"z!\", \"output\": \"4\"}]}"));
    char *path = fs_join(dir, "ni");
    struct super_ni_options o = {.path = path, .split = "default", .per_task = 1};
    OK(super_ni_questions(&o, &q, &e), e);
    assert_int_equal(q.n, 2);
    assert_string_equal(q.v[0].task, "task2_b");
    assert_string_equal(q.v[0].prompt.p, "Do\n\nInput: z!\n\nOutput:");
    assert_string_equal(q.v[1].id, "i0");
    assert_string_equal(q.v[1].reference, "1");
    assert_int_equal(js_len(q.v[1].references), 2);
    questions_release(&q);
    o.per_task = 0;
    o.reference = true;
    OK(super_ni_questions(&o, &q, &e), e);
    assert_int_equal(q.n, 3);
    assert_string_equal(q.v[0].prompt.p, "Do.\n\nInput: z!\n\nOutput:");
    questions_release(&q);
    static const char *const damaged[][2] = {
        {"{", "task2_b.json:1"}, {"[]", "a task has a \"Definition\""}, {"{\"Definition\": \"D\", \"Instances\": []}", "a task has"},
        {"{\"Definition\": \"D\", \"Instances\": [{\"input\": 3, \"output\": \"x\"}]}", "instance 0"},
        {"{\"Definition\": \"D\", \"Instances\": [{\"input\": \"\", \"output\": [\"x\", 3]}]}", "instance 0"},
    };
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        free(put("ni/tasks/task2_b.json", damaged[i][0]));
        assert_int_equal(super_ni_questions(&o, &q, &e), ERR_INPUT);
        if (!strstr(e.msg, damaged[i][1]))
            fail_msg("%s", e.msg);
        questions_release(&q);
    }
    free(put("ni/splits/default/test_tasks.txt", "task9_none\n"));
    assert_int_equal(super_ni_questions(&o, &q, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "test_tasks.txt:1: there is no file"));
    questions_release(&q);
    free(path);
}

static void rows(void **state)
{
    (void)state;
    struct questions q;
    struct err e = {0};
    char *path = put("rows.jsonl", "{\"task\": \"t\", \"definition\": \"D.\", \"input\": \"i\", \"output\": \"o\"}\n\n"
                                   "{\"Task\": \"u\", \"Definition\": [\"E.\"], \"Instance\": {\"id\": \"n\", \"input\": \"i\", \"output\": [\"p\"]}}\n"
                                   "{\"id\": \"super_ni_task7-0a\", \"messages\": [{\"role\": \"user\", \"content\": \"q \\n\"}, {\"role\": \"assistant\", \"content\": \"2\"}]}\n");
    struct super_ni_options o = {.path = path, .split = "default"};
    OK(super_ni_questions(&o, &q, &e), e);
    assert_int_equal(q.n, 3);
    assert_string_equal(q.v[0].prompt.p, "D.\n\nInput: i.\n\nOutput:");
    assert_string_equal(q.v[1].id, "n");
    assert_string_equal(q.v[1].task, "u");
    assert_string_equal(q.v[2].prompt.p, "q");
    assert_string_equal(q.v[2].task, "task7");
    question_wrap(&q.v[2], true, false);
    assert_string_equal(q.v[2].prompt.p, "<|user|>\nq\n<|assistant|>\n");
    const uint32_t keep[] = {0, 2};
    questions_keep(&q, keep, 2);
    assert_int_equal(q.n, 2);
    assert_int_equal(q.v[1].row, 2);
    questions_release(&q);
    free(path);
    static const char *const damaged[][2] = {{"", "no rows"}, {"{\"input\": \"i\", \"output\": \"o\"}\n", ":1: the row has no \"definition\""},
                                             {"\n3\n", ":2: not a JSON object"}, {"{\"messages\": []}", ":1: the row does not end"},
                                             {"[{}]", "element 0: the row has no"}, {"[1]", "element 0: not a JSON object"}};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        path = put("rows.jsonl", damaged[i][0]);
        o.path = path;
        assert_int_equal(super_ni_questions(&o, &q, &e), ERR_INPUT);
        if (!strstr(e.msg, damaged[i][1]))
            fail_msg("%s", e.msg);
        questions_release(&q);
        free(path);
    }
}

/* ---- AlpacaEval ---- */

static void alpaca(void **state)
{
    (void)state;
    struct questions q;
    struct alpaca_judged j;
    struct err e = {0};
    char *path = put("a.json", "[{\"dataset\": \"d\", \"instruction\": \"b\"}, {\"instruction\": \"a\", \"input\": \"in\"}, {\"instruction\": \"c\"}, {\"instruction\": \"e\"}]");
    OK(alpaca_questions(path, &q, &e), e);
    assert_int_equal(q.n, 4);
    assert_string_equal(q.v[1].prompt.p, "a\nin");
    char *outputs = put("o.json", "[{\"instruction\": \"a\", \"input\": \"in\", \"output\": \"A\"}, {\"instruction\": \"b\", \"output\": \"B\"}, "
                                  "{\"instruction\": \"c\", \"output\": \"\"}, {\"instruction\": \"zz\", \"output\": \"\"}]");
    assert_int_equal(alpaca_outputs(&q, outputs, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "no output for the instruction of row 3"));
    buf_puts(&q.v[3].output, "E");
    char *written = fs_join(dir, "out.json");
    OK(alpaca_write(&q, "me", written, &e), e);
    OK(alpaca_outputs(&q, written, &e), e);
    struct js *list = js_read(written, &e);
    assert_int_equal(js_len(list), 4);
    assert_string_equal(js_cstr(js_get(js_at(list, 0), "dataset")), "d");
    assert_string_equal(js_cstr(js_get(js_at(list, 0), "output")), "B");
    assert_string_equal(js_cstr(js_get(js_at(list, 1), "input")), "in");
    assert_string_equal(js_cstr(js_get(js_at(list, 3), "generator")), "me");
    js_free(list);
    char *notes = put("n.json", "[{\"instruction\": \"a\", \"input\": \"in\", \"preference\": 2.0, \"output_2\": \"A\"}, {\"instruction\": \"b\", \"preference\": 1.25, \"output_2\": \"x\"}, "
                                "{\"instruction\": \"c\", \"preference\": 0}, {\"instruction\": \"e\", \"preference\": null}]");
    OK(alpaca_judge(&q, notes, &j, &e), e);
    assert_true(j.n == 3 && j.wins == 1 && j.losses == 1 && j.ties == 1 && j.failed == 1 && j.missing == 0 && j.other == 1);
    assert_true(fabs(j.win_rate - 100 * 1.75 / 3) < 1e-12);
    assert_true(fabs(j.std_error - 22.0479275922 ) < 1e-9);
    questions_release(&q);
    free(path);
    free(outputs);
    free(written);
    free(notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shots_that_fit), cmocka_unit_test(checkout), cmocka_unit_test(rows), cmocka_unit_test(alpaca)};
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
