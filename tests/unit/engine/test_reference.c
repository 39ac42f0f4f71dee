/* SPDX-License-Identifier: MIT
 * What is made from the operators' tables: reference texts, JSON, the JSON Schema. */
#include "engine/opdoc.h"

#include "engine/schema.h"
#include "toys.h"

static void holds(const struct buf *b, const char *piece)
{
    assert_false(b->failed);
    if (!b->p || !strstr(b->p, piece))
        fail_msg("missing: %s\nin:\n%s", piece, b->p ? b->p : "");
}

static void test_text(void **state)
{
    (void)state;
    struct buf b = {0};
    opdoc_text(&b, &op_join);
    holds(&b, "join (version 1): joins\n");
    holds(&b, "  first          number or text\n      the first\n");
    holds(&b, "number, optional, any number");
    holds(&b, "  r: default 16\n      integer from 1 to 512. rank\n");
    buf_clear(&b);
    opdoc_text(&b, &op_number);
    holds(&b, "one of plain, fancy, odd");
    holds(&b, "or \"all\"");
    holds(&b, "does not change the result");
    buf_clear(&b);
    opdoc_text(&b, &op_sink);
    buf_clear(&b);
    opdoc_list(&b, toys);
    holds(&b, "first, rest?..., note? -> out");
    holds(&b, "in -> nothing");
    buf_release(&b);
}

static void test_markdown(void **state)
{
    (void)state;
    struct buf b = {0};
    for (size_t i = 0; toys[i]; i++)
        opdoc_markdown(&b, toys[i]);
    holds(&b, "## join\n");
    holds(&b, "| `first` | number or text | the first |\n");
    holds(&b, "| `value` | `1` | integer from -1000 to 100000 | the number |\n");
    holds(&b, "| `text` | required | text | what to say |\n");
    buf_release(&b);
}

static void test_json(void **state)
{
    (void)state;
    struct js *j = opdoc_list_json(toys);
    assert_int_equal(js_len(j), 5);
    const struct js *number = js_at(j, 0), *params = js_get(number, "params");
    assert_string_equal(js_cstr(js_get(number, "name")), "number");
    assert_int_equal(js_len(params), 12);
    assert_int_equal(js_int(js_get(js_at(params, 0), "default"), 0), 1);
    assert_int_equal(js_int(js_get(js_at(params, 6), "default"), 0), (int64_t)1 << 30);
    assert_false(js_bool(js_get(js_at(params, 6), "key"), true));
    assert_int_equal(js_len(js_get(js_at(params, 2), "choices")), 3);
    js_free(j);
}

static void test_schema(void **state)
{
    (void)state;
    struct js *j = schema_make(toys);
    assert_non_null(j);
    const struct js *defs = js_get(j, "$defs");
    assert_non_null(js_get(js_get(js_get(defs, "params_number"), "properties"), "num_train_epochs"));
    assert_non_null(js_get(js_get(js_get(defs, "inputs_join"), "properties"), "rest"));
    assert_int_equal(js_len(js_get(js_get(defs, "node"), "allOf")), 6);
    struct buf b = {0};
    js_write(&b, j);
    struct err e;
    struct js *again = js_parse(buf_view(&b), "schema", &e);
    assert_true(js_equal(j, again));
    /* every reference has a definition */
    for (const char *p = b.p; (p = strstr(p, "#/$defs/"));) {
        char name[128];
        p += 8;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(p, "\""), p);
        if (!js_get(defs, name))
            fail_msg("no definition of %s", name);
    }
    buf_release(&b);
    js_free(again);
    js_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text), cmocka_unit_test(test_markdown), cmocka_unit_test(test_json), cmocka_unit_test(test_schema),
    };
    return cmocka_run_group_tests(tests, NULL, toy_cleanup);
}
