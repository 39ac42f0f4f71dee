/* SPDX-License-Identifier: MIT
 * Diagnostics: order, excerpts, chains, limits, nearest names. */
#include "engine/diag.h"

#include "toys.h"

static const char *printed(struct diags *d, bool colour)
{
    static char z[8192];
    struct buf b = {0};
    diags_print(d, colour, &b);
    snprintf(z, sizeof z, "%s", b.p ? b.p : "");
    buf_release(&b);
    return z;
}

static struct place at(const char *file, int line, int column, int length)
{
    return (struct place){file, line, column, length};
}

static void test_print(void **state)
{
    (void)state;
    struct diags *d = diags_new();
    assert_int_equal(diags_add_source(d, "a.yaml", STR("one: 1\n\ttwo: [x, y]\nthr\xc3\xa9""e: z")), 0);
    diag_add(d, DIAG_ERROR, at("a.yaml", 3, 8, 1), NULL, "third %d", 3);
    diag_add(d, DIAG_WARNING, at("a.yaml", 2, 7, 6), "better", "second");
    diag_via(d, at("a.yaml", 1, 1, 3), "from here");
    assert_string_equal(printed(d, false),
                        "a.yaml:2:7: warning: second\n"
                        "    2 |  two: [x, y]\n"
                        "      |       ^~~~~~\n"
                        "      = hint: better\n"
                        "      = a.yaml:1:1: from here\n"
                        "a.yaml:3:8: error: third 3\n"
                        "    3 | thr\xc3\xa9""e: z\n"
                        "      |        ^\n");
    assert_int_equal(diags_errors(d), 1);
    assert_int_equal(diags_count(d), 2);
    assert_true(diags_at(d, 0)->level == DIAG_WARNING);
    assert_null(diags_at(d, 2));
    assert_non_null(strstr(printed(d, true), "\033[1;31merror:"));
    diags_free(d);
    diags_free(NULL);
}

static void test_same_once(void **state)
{
    (void)state;
    struct diags *d = diags_new();
    for (int i = 0; i < 10; i++) {
        diag_add(d, DIAG_ERROR, at("a", 1, 1, 0), NULL, "same");
        diag_via(d, at("a", 2, 1, 0), "via");
    }
    diag_add(d, DIAG_ERROR, at("a", 1, 1, 0), NULL, "other");
    diag_add(d, DIAG_ERROR, at("b", 1, 1, 0), NULL, "same");
    assert_int_equal(diags_errors(d), 3);
    assert_int_equal(diags_reports(d), 12);
    assert_int_equal(diags_at(d, 0)->n_via, 1);
    diags_free(d);
}

static void test_no_place(void **state)
{
    (void)state;
    struct diags *d = diags_new();
    diag_add(d, DIAG_ERROR, at("--set r=x", 0, 0, 0), NULL, "no");
    diag_add(d, DIAG_ERROR, (struct place){0}, NULL, "nowhere");
    assert_non_null(strstr(printed(d, false), "--set r=x: error: no\n"));
    diags_free(d);
}

static void test_many(void **state)
{
    (void)state;
    struct diags *d = diags_new();
    for (int i = 0; i < 3000; i++)
        diag_add(d, DIAG_ERROR, at("a", i + 1, 1, 0), NULL, "number %d", i);
    assert_int_equal(diags_errors(d), 3000);
    assert_int_equal(diags_count(d), 1000);
    assert_non_null(strstr(printed(d, false), "... and 2950 more\n"));
    diags_free(d);
}

static void test_errors_first(void **state)
{
    (void)state; /* warnings do not push an error out of the list */
    struct diags *d = diags_new();
    for (int i = 0; i < 200; i++)
        diag_add(d, DIAG_WARNING, at("a", i + 1, 1, 0), NULL, "warning %d", i);
    diag_add(d, DIAG_ERROR, at("a", 900, 1, 0), NULL, "the error");
    assert_non_null(strstr(printed(d, false), "the error"));
    assert_non_null(strstr(printed(d, false), "... and 151 more\n"));
    diags_free(d);
}

static void test_hostile_text(void **state)
{
    (void)state; /* what a file holds must not reach the terminal as control characters */
    struct diags *d = diags_new();
    diags_add_source(d, "a", STR("x\033[31m\x7f\xff\xc2\x9b y\r\nlast"));
    diag_add(d, DIAG_ERROR, at("a", 1, 2, 3), NULL, "bad %s", "\033[2J\a");
    const char *z = printed(d, false);
    assert_null(strchr(z, '\033'));
    assert_null(strchr(z, '\a'));
    assert_null(strstr(z, "\xff"));
    assert_null(strstr(z, "\xc2\x9b"));
    diags_free(d);
    d = diags_new();
    struct buf b = {0};
    for (int i = 0; i < 1000; i++)
        buf_puts(&b, "0123456789");
    diags_add_source(d, "a", buf_view(&b));
    diag_add(d, DIAG_ERROR, at("a", 1, 5000, 2000), NULL, "far");
    diag_add(d, DIAG_ERROR, at("a", 1, 20000, 1), NULL, "beyond the line");
    diag_add(d, DIAG_ERROR, at("a", 7, 1, 1), NULL, "beyond the file");
    assert_true(strlen(printed(d, false)) < 2000);
    buf_release(&b);
    diags_free(d);
}

static void test_caret(void **state)
{
    (void)state; /* wherever the window begins, the caret is under its character */
    struct buf b = {0};
    for (int i = 0; i < 300; i++)
        buf_putc(&b, (char)('!' + i * 7 % 90));
    for (int column = 1; column <= 300; column++) {
        struct diags *d = diags_new();
        diags_add_source(d, "a", buf_view(&b));
        diag_add(d, DIAG_ERROR, at("a", 1, column, 1), NULL, "here");
        const char *line = strchr(printed(d, false), '\n') + 1, *under = strchr(line, '\n') + 1;
        assert_int_equal(line[strcspn(under, "^")], b.p[column - 1]);
        diags_free(d);
    }
    buf_release(&b);
}

static void test_parents(void **state)
{
    (void)state;
    struct diags *d = diags_new();
    diags_add_source(d, "top", STR("extends: mid"));
    diags_set_parent(d, "mid", at("top", 1, 10, 3));
    diags_set_parent(d, "low", at("mid", 2, 1, 3));
    diag_add(d, DIAG_ERROR, at("low", 5, 5, 1), NULL, "wrong");
    assert_string_equal(printed(d, false), "low:5:5: error: wrong\n      = mid:2:1: extended here\n      = top:1:10: extended here\n");
    diags_free(d);
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"learning_rate", "lora_alpha", "r", "num_train_epochs", "lora-init", "layer-select", "load"};
    static const char *const cases[][2] = {
        {"learning_rat", "learning_rate"}, {"laerning_rate", "learning_rate"}, {"Learning-Rate", "learning_rate"}, {"lora_init", "lora-init"},
        {"layer_selct", "layer-select"}, {"laod", "load"}, {"epochs", "num_train_epochs"}, {"x", NULL}, {"zebra", NULL}, {"", NULL}, {"rank", NULL},
        {"alpha", "lora_alpha"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = nearest_name(cases[i][0], names, 7);
        if ((got == NULL) != (cases[i][1] == NULL) || (got && strcmp(got, cases[i][1]) != 0))
            fail_msg("%s: %s", cases[i][0], got ? got : "(none)");
    }
    assert_null(nearest_name("a", NULL, 0));
    struct nearest one = {.word = "node_777"};
    char name[32], keep[1000][16];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "node-%03d", i);
        strcpy(keep[i], name);
        nearest_see(&one, keep[i]);
    }
    assert_string_equal(nearest_found(&one), "node-777");
    char longer[500];
    memset(longer, 'x', sizeof longer);
    longer[499] = 0;
    assert_null(nearest_name(longer, names, 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print), cmocka_unit_test(test_same_once), cmocka_unit_test(test_no_place), cmocka_unit_test(test_many),
        cmocka_unit_test(test_hostile_text), cmocka_unit_test(test_errors_first), cmocka_unit_test(test_parents), cmocka_unit_test(test_caret), cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, toy_cleanup);
}
