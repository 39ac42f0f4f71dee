/* SPDX-License-Identifier: MIT
 *
 * Porter stems (rule by rule, and NLTK's changes), words and ROUGE-L by hand, and the oracle's scores.
 */
#include "runtime/text/rouge.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/fs.h"
#include "runtime/base/json.h"
#include "runtime/text/porter.h"

static void stems(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"caresses", "caress"}, {"ponies", "poni"}, {"ties", "tie"}, {"dies", "die"}, {"flies", "fli"}, {"cats", "cat"}, {"feed", "feed"},
        {"agreed", "agre"}, {"plastered", "plaster"}, {"bled", "bled"}, {"sing", "sing"}, {"conflated", "conflat"}, {"troubled", "troubl"},
        {"sized", "size"}, {"hopping", "hop"}, {"falling", "fall"}, {"fizzed", "fizz"}, {"filing", "file"}, {"died", "die"},
        {"spied", "spi"}, {"happy", "happi"}, {"enjoy", "enjoy"}, {"spy", "spi"}, {"by", "by"}, {"dying", "die"}, {"skies", "sky"},
        {"news", "news"}, {"innings", "inning"}, {"relational", "relat"}, {"rational", "ration"}, {"radically", "radic"},
        {"annually", "annual"}, {"possibly", "possibl"}, {"hopefully", "hope"}, {"geology", "geolog"}, {"theology", "theolog"},
        {"generalizations", "gener"}, {"oscillators", "oscil"}, {"adoption", "adopt"}, {"replacement", "replac"}, {"rate", "rate"},
        {"cease", "ceas"}, {"controlling", "control"}, {"roll", "roll"}, {"owed", "owe"}, {"syzygy", "syzygi"}, {"3rds", "3rd"}, {"as", "as"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char w[40];
        snprintf(w, sizeof w, "%s", pairs[i][0]);
        w[porter_stem(w, strlen(w))] = '\0';
        assert_string_equal(w, pairs[i][1]);
    }
}

static double score(const char *a, const char *b)
{
    struct err e = {0};
    double f = -1;
    assert_int_equal(rouge_l(str_of(a), str_of(b), &f, &e), 0);
    return f;
}

static void by_hand(void **state)
{
    (void)state;
    struct buf b = {0};
    size_t n;
    rouge_words(STR("It's  the DOGS' caf\xc3\xa9 \xe2\x84\xaa""eeper, is it?"), &b, &n);
    assert_string_equal(b.p, "it s the dog caf keeper is it ");
    assert_int_equal(n, 8);
    buf_release(&b);
    rouge_words(STR(" .,- \n"), &b, &n);
    assert_int_equal(n, 0);
    buf_release(&b);
    assert_true(score("", "") == 0 && score("a", "") == 0 && score("...", "a") == 0);
    assert_true(score("the dog runs", "The dogs running!") == 1);
    assert_true(fabs(score("a b c d", "b d e") - 2 * 0.5 * (2.0 / 3) / (0.5 + 2.0 / 3)) < 1e-15);
    assert_true(fabs(score("a b c d", "b d e") - score("b d e", "a b c d")) < 1e-15);
}

static void golden(void **state)
{
    (void)state;
    const char *dir = getenv("PKG_SHARED");
    char path[512];
    snprintf(path, sizeof path, "%s/oracle/golden/text/answers.json", dir ? dir : TEST_SHARED);
    if (!fs_exists(path)) {
        printf("SKIPPED: no golden file %s (set PKG_SHARED)\n", path);
        skip();
    }
    struct err e = {0};
    struct js *g = js_read(path, &e);
    const struct js *cases = js_get(g, "cases"), *words = js_get(g, "tokens");
    assert_true(js_len(cases) > 40);
    for (size_t i = 0; i < js_len(cases); i++) {
        const struct js *c = js_at(cases, i), *refs = js_get(c, "references");
        double best = 0, f;
        for (size_t k = 0; k < js_len(refs); k++) {
            assert_int_equal(rouge_l(js_str(js_get(c, "prediction")), js_str(js_at(refs, k)), &f, &e), 0);
            best = f > best ? f : best;
        }
        assert_true(fabs(best - js_num(js_get(c, "rouge_l"), -1)) < 1e-9);
    }
    for (void *it = js_iter(words); it; it = js_next(words, it)) {
        struct buf got = {0}, want = {0};
        size_t n;
        rouge_words(str_of(js_iter_key(it)), &got, &n);
        for (size_t k = 0; k < js_len(js_iter_value(it)); k++)
            buf_printf(&want, "%s ", js_cstr(js_at(js_iter_value(it), k)));
        assert_true(str_eq(buf_view(&got), buf_view(&want)));
        buf_release(&got);
        buf_release(&want);
    }
    js_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(stems), cmocka_unit_test(by_hand), cmocka_unit_test(golden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
