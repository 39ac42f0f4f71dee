/* SPDX-License-Identifier: MIT
 * json: equal values give equal bytes, numbers read back, bad text is refused with its place. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/json.h"
#include "runtime/base/rng.h"

static void check(const char *in, const char *compact)
{
    struct err e = {0};
    struct js *j = js_parse(str_of(in), "t", &e);
    assert_non_null(j);
    struct buf b = {0};
    js_write(&b, j);
    assert_string_equal(b.p, compact);
    js_free(j);
    buf_release(&b);
}

static void writes_canonical(void **state)
{
    (void)state;
    check("{\"b\": [1, 2.50, true, null], \"a\": \"x\\n\\u0001\\u00e9\"}", "{\"a\":\"x\\n\\u0001\xc3\xa9\",\"b\":[1,2.5,true,null]}");
    check("[]", "[]");
    check("{\"model_max_length\": 1000000000000000019884624838656}", "{\"model_max_length\":1e+30}");
    check("[1.0, 1e300, 0.1, -0.0]", "[1.0,1e+300,0.1,-0.0]");
    check("[1.2e2, 3e-4, 1e-5, 9.5e-6, 1e15, 1.5e15, 9007199254740993e0, 1e16, 1234567.125]",
          "[120.0,0.0003,0.00001,9.5e-06,1000000000000000.0,1500000000000000.0,9007199254740992.0,1e+16,1234567.125]");
}

static void numbers_read_back(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t u = rng_splitmix(i);
        double v, w;
        memcpy(&v, &u, 8);
        if (i % 2) /* near 1, where numbers are written without an exponent */
            v = ldexp((double)(u >> 11), (int)(i % 140) - 100);
        if (!isfinite(v))
            continue;
        struct buf b = {0};
        js_write_num(&b, v);
        w = strtod(b.p, NULL);
        assert_memory_equal(&v, &w, 8);
        buf_release(&b);
    }
}

static void refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "{", "{\"a\":1,\"a\":2}", "[1] 2", "{\"a\":}", "\"\xff\"", "nul"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        assert_null(js_parse(str_of(bad[i]), "file.json", &e));
        assert_int_equal(e.code, ERR_INPUT);
        assert_non_null(strstr(e.msg, "file.json:1:"));
    }
}

static void pretty_form(void **state)
{
    (void)state;
    struct err e = {0};
    struct js *j = js_parse(STR("{\"b\":{\"x\":1,\"y\":[1,2]},\"a\":[{\"k\":1},{\"k\":2}],\"c\":3}"), "t", &e);
    struct buf b = {0};
    js_write_pretty(&b, j);
    assert_string_equal(b.p, "{\n \"a\": [\n  {\"k\": 1},\n  {\"k\": 2}\n ],\n \"b\": {\n  \"x\": 1,\n  \"y\": [1, 2]\n },\n \"c\": 3\n}");
    js_free(j);
    buf_release(&b);
}

static void strings_that_are_not_utf8(void **state)
{
    (void)state;
    struct js *j = js_new_str((struct str){"a\xff\xc3\xa9\xed\xa0\x80", 7});
    assert_string_equal(js_cstr(j), "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    js_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_canonical), cmocka_unit_test(numbers_read_back),          cmocka_unit_test(refuses),
        cmocka_unit_test(pretty_form),      cmocka_unit_test(strings_that_are_not_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
