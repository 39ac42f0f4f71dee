/* SPDX-License-Identifier: MIT
 *
 * Questions of MMLU: files that are damaged, the prompt by hand and against the oracle's, the table of categories.
 */
#include "runtime/text/mmlu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/fs.h"
#include "runtime/base/json.h"
#include "runtime/text/answers.h"

static int read_text(const char *text, size_t limit, struct mmlu_file *f, struct err *e)
{
    char path[] = "/tmp/pkg-mmlu-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    int rc = mmlu_read(path, limit, f, e);
    unlink(path);
    return rc;
}

static void by_hand(void **state)
{
    (void)state;
    struct mmlu_file f;
    struct err e = {0};
    struct buf b = {0};
    assert_int_equal(read_text("\"one, \"\"two\"\"\",a,b,c,d,B\r\nsix,1,2,\"3\n3\",4,D\n", 0, &f, &e), 0);
    assert_int_equal(f.n, 2);
    mmlu_prompt("x_y", false, &f, 1, &f.v[1], &b);
    assert_string_equal(b.p, "The following are multiple choice questions (with answers) about x y.\n\none, \"two\"\nA. a\nB. b\nC. c\nD. d\nAnswer: B\n\n"
                             "six\nA. 1\nB. 2\nC. 3\n3\nD. 4\nAnswer:");
    buf_clear(&b);
    mmlu_prompt("x", true, NULL, 0, &f.v[0], &b);
    assert_true(str_starts(buf_view(&b), "The following are multiple choice questions (with answers) about  x.\n\none"));
    buf_release(&b);
    mmlu_release(&f);
    assert_int_equal(read_text("q,a,b,c,d,A\nbroken\n", 1, &f, &e), 0);
    assert_int_equal(f.n, 1);
    mmlu_release(&f);
}

static void damaged(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "no rows"}, {"\n\n", "no rows"}, {"q,a,b,c,d\n", ":1: row 1 has 5 columns"}, {"q,a,b,c,d,A\n\nq,a,b,c,d,A,x\n", ":3: row 2 has 7 columns"},
        {"question,A,B,C,D,answer\n", "no header line"}, {"q,a,b,c,d,A\nq,a,b,c,d,1\n", ":2: row 2 has the answer \"1\""},
        {"q,a,b,c,d,A\n\"q,a,b,c,d,A\n", ":2: a quoted field"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mmlu_file f;
        struct err e = {0};
        assert_int_equal(read_text(cases[i][0], 0, &f, &e), ERR_INPUT);
        if (!strstr(e.msg, cases[i][1]))
            fail_msg("%s", e.msg);
        mmlu_release(&f);
    }
}

static void categories(void **state)
{
    (void)state;
    assert_string_equal(mmlu_category("anatomy"), "other");
    assert_string_equal(mmlu_category("high_school_biology"), "STEM");
    assert_string_equal(mmlu_category("professional_law"), "humanities");
    assert_string_equal(mmlu_category("sociology"), "social sciences");
    assert_null(mmlu_category("alchemy"));
}

static void shared(const char *rest, char out[512])
{
    const char *dir = getenv("PKG_SHARED");
    snprintf(out, 512, "%s/%s", dir ? dir : TEST_SHARED, rest);
    if (!fs_exists(out)) {
        printf("SKIPPED: no file %s (set PKG_SHARED)\n", out);
        skip();
    }
}

static void read_subject(const char *subject, const char *split, struct mmlu_file *f)
{
    char rel[200], path[512];
    struct err e = {0};
    snprintf(rel, sizeof rel, "data/mmlu/%s/%s_%s.csv", split, subject, split);
    shared(rel, path);
    if (mmlu_read(path, 0, f, &e))
        fail_msg("%s", e.msg);
}

static void check_case(const struct js *c, bool reference)
{
    const char *subject = js_cstr(js_get(c, "subject"));
    struct mmlu_file dev, test;
    struct buf b = {0};
    read_subject(subject, "dev", &dev);
    read_subject(subject, "test", &test);
    const struct mmlu_question *q = &test.v[js_int(js_get(c, "row"), 0)];
    mmlu_prompt(subject, reference, &dev, (size_t)js_int(js_get(c, "shots"), 0), q, &b);
    assert_string_equal(b.p, js_cstr(js_get(c, "plain")));
    if (js_cstr(js_get(c, "answer")))
        assert_int_equal(q->answer, js_cstr(js_get(c, "answer"))[0] - 'A');
    buf_release(&b);
    mmlu_release(&dev);
    mmlu_release(&test);
}

static void golden(void **state)
{
    (void)state;
    char path[512];
    struct err e = {0};
    shared("oracle/golden/text/mmlu_prompts.json", path);
    struct js *g = js_read(path, &e);
    const struct js *cases = js_get(g, "cases");
    assert_true(js_len(cases) == 18);
    for (size_t i = 0; i < js_len(cases); i++)
        check_case(js_at(cases, i), false);
    check_case(js_get(g, "reference_double_space"), true);
    js_free(g);
}

static void super_ni(void **state)
{
    (void)state;
    char path[512];
    struct err e = {0};
    struct buf b = {0};
    super_ni_prompt(STR("Do it"), STR(" x "), true, &b);
    assert_string_equal(b.p, "Do it.\n\nInput: x.\n\nOutput:");
    buf_clear(&b);
    super_ni_prompt(STR(""), STR(" x "), false, &b);
    assert_string_equal(b.p, " x ");
    shared("oracle/golden/text/super_ni_prompts.json", path);
    struct js *g = js_read(path, &e);
    assert_true(js_len(g) == 8);
    for (size_t i = 0; i < js_len(g); i++) {
        const struct js *c = js_at(g, i);
        buf_clear(&b);
        super_ni_prompt(js_str(js_get(c, "definition")), js_str(js_get(c, "input")), false, &b);
        assert_string_equal(b.p, js_cstr(js_get(c, "prompt")));
    }
    buf_release(&b);
    js_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand), cmocka_unit_test(damaged), cmocka_unit_test(categories), cmocka_unit_test(golden),
                                       cmocka_unit_test(super_ni)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
