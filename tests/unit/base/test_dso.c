/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/dso.h"

int no_such_function(void);

#define GOOD(X) X(cos) X(sin)
#define BAD(X) X(cos) X(no_such_function)
static struct { GOOD(DSO_FIELD) } good;
static struct { BAD(DSO_FIELD) } bad;
static const char *const good_names[] = {GOOD(DSO_NAME)}, *const bad_names[] = {BAD(DSO_NAME)};

static void table_is_filled_once(void **state)
{
    struct err e;
    struct dso d = DSO("mathematics", "libm.so.6", "libc6", good_names, good);
    (void)state;
    assert_int_equal(dso_load(&d, &e), 0);
    assert_true(good.cos(0.0) == 1.0 && good.sin(0.0) == 0.0);
    good.sin = NULL;
    assert_int_equal(dso_load(&d, &e), 0);
    assert_null(good.sin);
}

static void folder_that_is_gone_is_passed_over(void **state)
{
    struct err e;
    struct dso d = DSO("mathematics", "/nowhere/libm.so.6", "libc6", good_names, good);
    (void)state;
    assert_int_equal(dso_load(&d, &e), 0);
    assert_true(good.sin(0.0) == 0.0);
}

static void missing_library_names_its_package(void **state)
{
    struct err e;
    struct dso d = DSO("oneDNN", "libnot-there.so.9", "libnot-there9", good_names, good);
    (void)state;
    assert_int_equal(dso_load(&d, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "oneDNN cannot be loaded: libnot-there.so.9"));
    assert_non_null(strstr(e.msg, "install the package libnot-there9"));
}

static void missing_function_is_named(void **state)
{
    struct err e;
    struct dso d = DSO("mathematics", "libm.so.6", "", bad_names, bad);
    (void)state;
    assert_int_equal(dso_load(&d, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "no_such_function"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_filled_once),
        cmocka_unit_test(folder_that_is_gone_is_passed_over),
        cmocka_unit_test(missing_library_names_its_package),
        cmocka_unit_test(missing_function_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
