/* SPDX-License-Identifier: MIT
 *
 * answers against the golden text files of the oracle (number extraction, scoring, exact match, GSM8K prompts).
 */
#include "runtime/text/answers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/fs.h"
#include "runtime/base/json.h"

static const char *shared(const char *rest, char out[512])
{
    const char *dir = getenv("PKG_SHARED");
    snprintf(out, 512, "%s/%s", dir ? dir : TEST_SHARED, rest);
    return out;
}

static struct js *golden(const char *name)
{
    char rel[200], path[512];
    snprintf(rel, sizeof rel, "oracle/golden/text/%s", name);
    shared(rel, path);
    if (!fs_exists(path)) {
        printf("SKIPPED: no golden file %s (set PKG_SHARED)\n", path);
        skip();
    }
    struct err e = {0};
    struct js *j = js_read(path, &e);
    if (!j)
        fail_msg("%s", e.msg);
    return j;
}

static void extraction(void **state)
{
    (void)state;
    struct js *g = golden("gsm8k_extract.json");
    const struct js *cases = js_get(g, "cases");
    assert_true(js_len(cases) > 40);
    for (size_t i = 0; i < js_len(cases); i++) {
        const struct js *c = js_at(cases, i), *want = js_get(c, "prediction");
        struct buf b = {0};
        bool found = answer_last_number(js_str(js_get(c, "output")), &b);
        assert_int_equal(found, js_kind(want) == JS_STRING);
        if (found)
            assert_string_equal(b.p, js_cstr(want));
        buf_release(&b);
    }
    const struct js *scored = js_get(g, "scored");
    for (size_t i = 0; i < js_len(scored); i++) {
        const struct js *c = js_at(scored, i);
        struct str out = js_str(js_get(c, "output")), ref = js_str(js_get(c, "reference"));
        struct buf b = {0};
        bool found = answer_last_number(out, &b);
        struct str p = found ? buf_view(&b) : out;
        assert_int_equal(found && answer_same_number(p, ref), js_bool(js_get(c, "correct"), false));
        assert_int_equal(answer_same_reference(p, ref), js_bool(js_get(c, "correct_reference_mode"), false));
        buf_release(&b);
    }
    js_free(g);
}

static void exact(void **state)
{
    (void)state;
    struct js *g = golden("answers.json");
    const struct js *cases = js_get(g, "cases");
    for (size_t i = 0; i < js_len(cases); i++) {
        const struct js *c = js_at(cases, i), *refs = js_get(c, "references");
        bool hit = false;
        for (size_t k = 0; k < js_len(refs); k++)
            hit |= answer_exact(js_str(js_get(c, "prediction")), js_str(js_at(refs, k)));
        if (hit != (js_num(js_get(c, "exact_match"), -1) == 1.0))
            fail_msg("case %zu: %s", i, js_cstr(js_get(c, "prediction")));
    }
    js_free(g);
}

static void prompts(void **state)
{
    (void)state;
    struct js *g = golden("gsm8k_prompts.json");
    char rel_train[512], rel_test[512];
    shared("data/gsm8k/train_7473.jsonl", rel_train);
    shared("data/gsm8k/test.jsonl", rel_test);
    if (!fs_exists(rel_train) || !fs_exists(rel_test)) {
        js_free(g);
        printf("SKIPPED: no GSM8K files in the shared folder\n");
        skip();
    }
    FILE *f = fopen(rel_train, "r");
    assert_non_null(f);
    struct err e = {0};
    char *line = NULL;
    size_t cap = 0;
    struct buf shot[8] = {0};
    struct str shots[8];
    for (int i = 0; i < 8; i++) {
        ssize_t n = getline(&line, &cap, f);
        struct js *row = js_parse((struct str){line, (size_t)n}, "train", &e);
        gsm8k_exemplar(js_str(js_get(row, "question")), js_str(js_get(row, "answer")), &shot[i]);
        assert_string_equal(shot[i].p, js_cstr(js_at(js_get(g, "exemplars"), (size_t)i)));
        shots[i] = buf_view(&shot[i]);
        js_free(row);
    }
    fclose(f);
    f = fopen(rel_test, "r");
    assert_non_null(f);
    const struct js *cases = js_get(g, "cases");
    for (int i = 0; i < 6; i++) {
        ssize_t n = getline(&line, &cap, f);
        struct js *row = js_parse((struct str){line, (size_t)n}, "test", &e);
        for (size_t k = 0; k < js_len(cases); k++) {
            const struct js *c = js_at(cases, k);
            if (js_int(js_get(c, "row"), -1) != i)
                continue;
            struct buf b = {0};
            gsm8k_prompt((size_t)js_int(js_get(c, "shots"), 0), shots, js_str(js_get(row, "question")), &b);
            buf_puts(&b, "\nAnswer:");
            assert_string_equal(b.p, js_cstr(js_get(c, "plain")));
            assert_true(str_eq(gsm8k_reference(js_str(js_get(row, "answer"))), js_str(js_get(c, "reference"))));
            buf_release(&b);
        }
        js_free(row);
    }
    fclose(f);
    free(line);
    for (int i = 0; i < 8; i++)
        buf_release(&shot[i]);
    js_free(g);
}

static void edges(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_false(answer_last_number(STR(""), &b));
    assert_true(gsm8k_reference(STR("no mark")).n == 0);
    assert_false(answer_same_number(STR(""), STR("")));
    assert_false(answer_same_number(STR("1e"), STR("1")));
    assert_true(answer_same_number(STR(" 1,000 "), STR("1000.0")));
    gsm8k_exemplar(STR("q"), STR("a <<unclosed"), &b);
    assert_string_equal(b.p, "Question: q\nAnswer: a <<unclosed. So the answer is .");
    buf_release(&b);
    gsm8k_exemplar_direct(STR(" q "), STR("a <<1>>b\n#### 1,000 "), &b);
    assert_string_equal(b.p, "Question: q\nAnswer: 1,000");
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(extraction), cmocka_unit_test(exact), cmocka_unit_test(prompts), cmocka_unit_test(edges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
