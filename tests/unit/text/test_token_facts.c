/* SPDX-License-Identifier: MIT
 *
 * Which tokens a tokenizer has: the same from every form of file, whatever the order of its lists; padding is left out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/text/token_facts.h"

static struct js *of_text(const char *text)
{
    struct err e;
    struct js *j = token_facts_text(str_of(text), "t", &e);
    assert_non_null(j);
    return j;
}

static struct js *parse(const char *text)
{
    struct err e;
    struct js *j = js_parse(str_of(text), "t", &e);
    assert_non_null(j);
    return j;
}

static const char *digest(const struct js *j)
{
    return js_cstr(js_get(j, "digest"));
}

static void forms(void **state)
{
    (void)state;
    static const char usual[] = "{\"added_tokens\":[{\"id\":3,\"content\":\"<s>\"}],\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}}";
    static const char other[] = "{\"model\":{\"type\":\"BPE\",\"merges\":[[\"a\",\"b\"]],\"vocab\":{\"ab\":2,\"b\":1,\"a\":0,\"<s>\":3}},\"added_tokens\":[{\"content\":\"<s>\",\"id\":3}]}";
    struct err e;
    struct js *a = of_text(usual), *b = of_text(other), *json = parse(usual), *c = token_facts_json(json, "t", &e);
    struct js *tokens = parse("[\"a\",\"b\",\"ab\",\"<s>\",\"[PAD4]\",\"[PAD5]\"]"), *types = parse("[1,1,1,3,5,5]");
    struct js *d = token_facts_list(tokens, types, &e), *all = token_facts_list(tokens, NULL, &e);
    assert_int_equal(js_int(js_get(a, "ids"), 0), 4);
    assert_int_equal(js_int(js_get(js_get(a, "added"), "<s>"), 0), 3);
    assert_string_equal(digest(a), digest(b));
    assert_string_equal(digest(a), digest(c));
    assert_string_equal(digest(a), digest(d));
    assert_int_equal(js_int(js_get(d, "ids"), 0), 4);
    assert_int_equal(js_int(js_get(js_get(d, "added"), "<s>"), 0), 3);
    assert_string_equal(digest(a), digest(all)); /* by their names */
    struct js *v[] = {a, b, c, d, all, json, tokens, types};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        js_free(v[i]);
}

static void others(void **state)
{
    (void)state;
    struct err e;
    struct js *a = of_text("{\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}}");
    struct js *b = of_text("{\"model\":{\"vocab\":{\"a\":1,\"b\":0},\"merges\":[]}}");
    struct js *gap = of_text("{\"model\":{\"vocab\":{\"a\":0,\"b\":2},\"merges\":[]}}");
    struct js *unigram = of_text("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1.5]]}}");
    assert_string_not_equal(digest(a), digest(b));
    assert_string_not_equal(digest(a), digest(gap));
    assert_int_equal(js_int(js_get(gap, "ids"), 0), 3);
    assert_int_equal(js_len(unigram), 0);
    assert_null(token_facts_text(str_of("{\"model\":{\"vocab\":{\"a\":5000},\"merges\":[]}}"), "t", &e));
    assert_null(token_facts_text(str_of("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[{\"id\":1}]}"), "t", &e));
    assert_null(token_facts_text(str_of("{"), "t", &e));
    struct js *v[] = {a, b, gap, unigram};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        js_free(v[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms), cmocka_unit_test(others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
