/* SPDX-License-Identifier: MIT
 *
 * sched: what runs, what does not run again, and what happens when things go wrong, on toy operators. */
#include "toy.h"

/* x = "left", y = "right"; j = x-y; k = the first 3 bytes of j; z = k+"tail". */
static void diamond(struct toy *t, const char *left, const char *right)
{
    toy_text_node(t, "x", left);
    toy_text_node(t, "y", right);
    struct node *n = toy_add(t, "j", &toy_join);
    toy_str(t, n, "glue", "-");
    n = toy_add(t, "k", &toy_join);
    toy_str(t, n, "glue", "");
    toy_int(n, "keep", 3);
    n = toy_add(t, "z", &toy_join);
    toy_str(t, n, "glue", "+");
    toy_edge(t, "j", "a", "x");
    toy_edge(t, "j", "b", "y");
    toy_edge(t, "k", "a", "j");
    toy_edge(t, "z", "a", "k");
    toy_edge(t, "z", "b", "x");
}

static int run_diamond(struct store *s, const char *left, const char *right, struct buf *out)
{
    struct toy t = {0};
    diamond(&t, left, right);
    int n = toy_run(&t, s, out);
    toy_free(&t);
    return n;
}

static void test_twice(void **state)
{
    (void)state;
    char *dir = toy_dir();
    struct store *s = toy_store(dir);
    struct buf out = {0};
    assert_int_equal(run_diamond(s, "left", "right", &out), 5);
    assert_string_equal(out.p, "lef+left");
    assert_int_equal(run_diamond(s, "left", "right", &out), 0);
    assert_string_equal(out.p, "lef+left");
    /* y changes: j runs, k runs and gives the same bytes, z does not run */
    assert_int_equal(run_diamond(s, "left", "wrong", &out), 3);
    assert_int_equal(run_diamond(s, "left", "right", &out), 0);
    /* x changes: all but y */
    assert_int_equal(run_diamond(s, "loft", "right", &out), 4);
    assert_string_equal(out.p, "lof+loft");
    store_close(s);
    buf_release(&out);
    toy_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_twice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
