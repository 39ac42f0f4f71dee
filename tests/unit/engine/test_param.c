/* SPDX-License-Identifier: MIT
 * Parameters: text to number, tables to values, values to canonical text. */
#include "engine/param.h"

#include "engine/opset.h"
#include "engine/yaml.h"
#include "toys.h"

static void test_ints(void **state)
{
    (void)state;
    static const struct { const char *z; bool ok; int64_t v; } cases[] = {
        {"0", true, 0}, {"12", true, 12}, {"-7", true, -7}, {"+7", true, 7}, {"1_000", true, 1000}, {"1e3", true, 1000}, {"2.5e1", true, 25},
        {"3.0", true, 3}, {"9223372036854775807", true, INT64_MAX}, {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0}, {"1e300", false, 0}, {"1.5", false, 0}, {"", false, 0}, {"x", false, 0}, {"1_", false, 0},
        {"_1", false, 0}, {"1__0", false, 0}, {"0x10", false, 0}, {"1 ", false, 0}, {"-", false, 0}, {"1e", false, 0}, {"--1", false, 0},
        {"inf", false, 0}, {"nan", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t v = 0;
        bool ok = parse_int(str_of(cases[i].z), &v);
        if (ok != cases[i].ok || (ok && v != cases[i].v))
            fail_msg("%s", cases[i].z);
    }
}

static void test_floats(void **state)
{
    (void)state;
    double v;
    assert_true(parse_float(STR("3e-4"), &v) && v == 3e-4);
    assert_true(parse_float(STR(".5"), &v) && v == 0.5);
    assert_true(parse_float(STR("-.5"), &v) && v == -0.5);
    assert_true(parse_float(STR("1_000.25"), &v) && v == 1000.25);
    static const char *const bad[] = {"", ".", "-", "e5", "1e999", "inf", "nan", "0x1p3", "1,5", "1.2.3", "1-2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse_float(str_of(bad[i]), &v))
            fail_msg("%s", bad[i]);
}

static void test_units(void **state)
{
    (void)state;
    int64_t n;
    double t;
    assert_true(parse_size(STR("16GiB"), &n) && n == (int64_t)16 << 30);
    assert_true(parse_size(STR("16 GiB"), &n) && n == (int64_t)16 << 30);
    assert_true(parse_size(STR("512MB"), &n) && n == 512000000);
    assert_true(parse_size(STR("1.5KiB"), &n) && n == 1536);
    assert_true(parse_size(STR("1000"), &n) && n == 1000);
    assert_true(parse_size(STR("4G"), &n) && n == (int64_t)4 << 30);
    assert_true(parse_size(STR("7B"), &n) && n == 7);
    static const char *const bad[] = {"-1", "-1GiB", "1.3B", "GiB", "5XB", "99999999TiB", "1 0GiB", "", "1gib"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse_size(str_of(bad[i]), &n))
            fail_msg("%s", bad[i]);
    assert_true(parse_duration(STR("30min"), &t) && t == 1800);
    assert_true(parse_duration(STR("2h"), &t) && t == 7200);
    assert_true(parse_duration(STR("90s"), &t) && t == 90);
    assert_true(parse_duration(STR("45"), &t) && t == 45);
    assert_true(parse_duration(STR("250ms"), &t) && t == 0.25);
    assert_true(parse_duration(STR("1.5d"), &t) && t == 129600);
    assert_false(parse_duration(STR("5 fortnights"), &t));
    assert_false(parse_duration(STR("-5s"), &t));
}

struct value {
    struct arena a;
    struct diags *d;
    struct param_value v;
    struct param_fault f;
    int rc;
};

static struct value parse(const struct param_def *def, const char *text)
{
    struct value x = {.d = diags_new()};
    const struct ynode *y = NULL;
    assert_int_equal(yaml_parse(str_of(text), "t", &x.a, x.d, &y), 0);
    x.rc = param_parse(def, y, "/base", &x.a, &x.v, &x.f);
    return x;
}

static void done(const struct param_def *def, struct value *x)
{
    if (def->type == PARAM_MAP && x->v.set)
        js_free(x->v.map);
    diags_free(x->d);
    arena_release(&x->a);
}

static void canon(const struct param_def *def, const char *text, const char *expected)
{
    struct value x = parse(def, text);
    struct buf b = {0};
    if (x.rc)
        print_error("%s: %s\n", text, x.f.text);
    assert_int_equal(x.rc, 0);
    param_canon(&b, def, &x.v);
    assert_string_equal(b.p, expected);
    buf_release(&b);
    done(def, &x);
}

static void refused(const struct param_def *def, const char *text, const char *piece)
{
    struct value x = parse(def, text);
    assert_int_equal(x.rc, ERR_INPUT);
    if (!strstr(x.f.text, piece))
        fail_msg("missing: %s in: %s", piece, x.f.text);
    assert_non_null(x.f.at);
    x.v.set = false;
    done(def, &x);
}

static const char *shout(const char *v)
{
    return strcmp(v, "auto") == 0 ? "f32" : v;
}

static void test_canon(void **state)
{
    (void)state;
    struct param_def d = {.name = "p", .type = PARAM_FLOAT};
    canon(&d, "3e-4", "0.0003");
    canon(&d, "0.00030", "0.0003");
    canon(&d, "1", "1.0");
    d.type = PARAM_INT;
    canon(&d, "1e3", "1000");
    canon(&d, "1_000", "1000");
    d.type = PARAM_SIZE;
    canon(&d, "1GiB", "1073741824");
    d.type = PARAM_DURATION;
    canon(&d, "2min", "120.0"); /* the writer of json.h */
    canon(&d, "120s", "120.0");
    d.type = PARAM_BOOL;
    canon(&d, "True", "true");
    d.type = PARAM_STRING;
    canon(&d, "\"a b\"", "a b");
    canon(&d, "0.10", "0.10");
    d.type = PARAM_PATH;
    canon(&d, "x/y", "/base/x/y");
    canon(&d, "/abs", "/abs");
    canon(&d, "hf:org/name@main", "hf:org/name@main");
    d.type = PARAM_INTS;
    canon(&d, "[1, 1e1, 1_00]", "[1,10,100]");
    canon(&d, "7", "[7]");
    canon(&d, "[]", "[]");
    d.type = PARAM_STRINGS;
    canon(&d, "[a, b c]", "[\"a\",\"b c\"]");
    canon(&d, "one", "[\"one\"]");
    d.type = PARAM_MAP;
    canon(&d, "{b: 1, a: [x, 2.50]}", "{\"a\":[\"x\",2.5],\"b\":1}");
    d = (struct param_def){.name = "p", .type = PARAM_ENUM, .choices = "auto|f32|bf16", .resolve = shout};
    canon(&d, "auto", "f32");
    canon(&d, "bf16", "bf16");
    d = (struct param_def){.name = "p", .type = PARAM_INT, .unset = "all"};
    canon(&d, "all", "null");
}

static void test_refused(void **state)
{
    (void)state;
    struct param_def d = {.name = "p", .type = PARAM_INT, .min = 1, .max = 64};
    refused(&d, "0", "expected integer from 1 to 64, found number \"0\"");
    refused(&d, "65", "65");
    refused(&d, "[1]", "found a list");
    refused(&d, "{a: 1}", "found a mapping");
    d.max = 1e18;
    refused(&d, "0", "integer of at least 1");
    d.min = -1e18;
    d.max = 7;
    refused(&d, "8", "integer of at most 7");
    refused(&d, "null", "found null");
    d = (struct param_def){.name = "p", .type = PARAM_FLOAT, .min = 0, .max = 1};
    refused(&d, "1.5", "number from 0 to 1");
    refused(&d, "nan", "nan");
    d = (struct param_def){.name = "p", .type = PARAM_STRINGS, .choices = "ffn|attention"};
    refused(&d, "[ffn, atention]", "out of ffn, attention");
    struct value x = parse(&d, "[ffn, atention]");
    assert_string_equal(x.f.hint, "did you mean \"attention\"?");
    assert_int_equal(x.f.at->at.column, 7);
    x.v.set = false;
    done(&d, &x);
    d = (struct param_def){.name = "p", .type = PARAM_SIZE};
    refused(&d, "big", "size (16GiB, 512MB)");
    d = (struct param_def){.name = "p", .type = PARAM_MAP};
    refused(&d, "[1]", "expected mapping");
    d = (struct param_def){.name = "p", .type = PARAM_INTS};
    refused(&d, "[1, x]", "list of integers");
    d = (struct param_def){.name = "p", .type = PARAM_PATH};
    refused(&d, "\"\"", "path");
}

static void test_equal(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"{a: 1}", "{a: 2}"}, {"{a: 1}", "{a: \"1\"}"}};
    struct param_def d = {.name = "p", .type = PARAM_MAP};
    for (size_t i = 0; i < 2; i++) {
        struct value a = parse(&d, pairs[i][0]), b = parse(&d, pairs[i][1]), c = parse(&d, pairs[i][0]);
        assert_false(param_equal(&d, &a.v, &b.v));
        assert_true(param_equal(&d, &a.v, &c.v));
        done(&d, &a);
        done(&d, &b);
        done(&d, &c);
    }
    d.type = PARAM_INTS;
    struct value a = parse(&d, "[1, 2]"), b = parse(&d, "[1]"), c = parse(&d, "[1, 2]");
    assert_false(param_equal(&d, &a.v, &b.v));
    assert_true(param_equal(&d, &a.v, &c.v));
    done(&d, &a);
    done(&d, &b);
    done(&d, &c);
}

static void test_fallbacks(void **state)
{
    (void)state;
    struct opset s;
    struct err e;
    struct arena a = {0};
    assert_int_equal(opset_init(&s, toys, &e), 0);
    struct op_entry *x = opset_find(&s, STR("number"));
    assert_non_null(x);
    assert_int_equal(opset_fallback(x, "/", &a, &e), 0);
    assert_int_equal(x->fallback[0].i, 1);
    assert_true(x->fallback[1].f == 1);
    assert_false(x->fallback[3].set);
    assert_int_equal(x->fallback[5].ints.n, 2);
    assert_null(opset_find(&s, STR("numbe")));
    assert_string_equal(opset_near(&s, "numbe"), "number");
    opset_release(&s);
    arena_release(&a);
    struct param_def bad = {.name = "p", .type = PARAM_INT, .fallback = "x"};
    struct param_value v;
    assert_int_equal(param_fallback(&bad, "/", &a, &v, &e), ERR_INTERNAL);
    bad = (struct param_def){.name = "p", .type = PARAM_INTS, .fallback = "[1, "};
    assert_int_equal(param_fallback(&bad, "/", &a, &v, &e), ERR_INTERNAL);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ints), cmocka_unit_test(test_floats), cmocka_unit_test(test_units), cmocka_unit_test(test_canon),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_equal), cmocka_unit_test(test_fallbacks),
    };
    return cmocka_run_group_tests(tests, NULL, toy_cleanup);
}
