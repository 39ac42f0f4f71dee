/* SPDX-License-Identifier: MIT
 *
 * key: what enters it and what does not, and that no two different nodes can give the same bytes to the digest.
 */
#include "toy.h"

static const struct param_def params[] = {
    {.name = "r", .type = PARAM_INT}, {.name = "rate", .type = PARAM_FLOAT}, {.name = "name", .type = PARAM_STRING},
    {.name = "limit", .type = PARAM_INT, .unset = "all"}, {.name = "path", .type = PARAM_PATH},
    {.name = "verbose", .type = PARAM_INT, .flags = PARAM_NOKEY}, {0},
};
static const struct param_def reordered[] = {
    {.name = "verbose", .type = PARAM_INT, .flags = PARAM_NOKEY}, {.name = "name", .type = PARAM_STRING},
    {.name = "added", .type = PARAM_INT}, {.name = "rate", .type = PARAM_FLOAT}, {.name = "path", .type = PARAM_PATH},
    {.name = "limit", .type = PARAM_SIZE}, {.name = "r", .type = PARAM_INT}, {0},
};
static const struct op v1 = {.name = "o", .version = 1, .inputs = join_in, .outputs = toy_out, .params = params};
static const struct op v1_reordered = {.name = "o", .version = 1, .inputs = join_in, .outputs = toy_out, .params = reordered};
static const struct op v2 = {.name = "o", .version = 2, .inputs = join_in, .outputs = toy_out, .params = params};
static const struct op other = {.name = "oo", .version = 1, .inputs = join_in, .outputs = toy_out, .params = params};

static const struct artifact one = {.digest = {{1}}}, two = {.digest = {{2}}};

struct made {
    struct digest d;
    struct js *expanded;
};

static struct made key(const struct op *op, int r, double rate, const char *name, int verbose, const char *path, const char *inputs)
{
    struct toy t = {0};
    struct made m;
    struct err e;
    struct node *n = toy_add(&t, "n", op);
    const struct artifact *in[8];
    toy_int(n, "r", r);
    toy_num(n, "rate", rate);
    toy_str(&t, n, "name", name);
    toy_int(n, "verbose", verbose);
    toy_str(&t, n, "path", path);
    for (; *inputs; inputs += 2) { /* "a1b2": port, artifact */
        const char port[] = {inputs[0], 0};
        n->edges[n->n_edges].port = port_index(join_in, strcmp(port, "m") == 0 ? "more" : port);
        in[n->n_edges++] = inputs[1] == '1' ? &one : &two;
    }
    struct plan_source s[] = {{.label = "data", .digest = {{7}}}};
    assert_int_equal(key_compute(n, in, s, 1, &m.d, &m.expanded, &e), 0);
    toy_free(&t);
    return m;
}

static bool same(struct made a, struct made b)
{
    bool eq = digest_cmp(&a.d, &b.d) == 0;
    assert_int_equal(eq, js_equal(a.expanded, b.expanded));
    js_free(a.expanded);
    js_free(b.expanded);
    return eq;
}

#define BASE key(&v1, 4, 3e-4, "x", 0, "/a", "a1b2")

static void test_what_counts(void **state)
{
    (void)state;
    assert_true(same(BASE, BASE));
    assert_true(same(BASE, key(&v1, 4, 0.0003, "x", 9, "/elsewhere", "a1b2")));
    assert_true(same(BASE, key(&v1, 4, 3e-4, "x", 0, "/a", "b2a1")));
    assert_true(same(BASE, key(&v1_reordered, 4, 3e-4, "x", 0, "/a", "a1b2")));
    assert_false(same(BASE, key(&v2, 4, 3e-4, "x", 0, "/a", "a1b2")));
    assert_false(same(BASE, key(&other, 4, 3e-4, "x", 0, "/a", "a1b2")));
    assert_false(same(BASE, key(&v1, 5, 3e-4, "x", 0, "/a", "a1b2")));
    assert_false(same(BASE, key(&v1, 4, 3.0000000000000003e-4, "x", 0, "/a", "a1b2")));
    assert_false(same(BASE, key(&v1, 4, 3e-4, "y", 0, "/a", "a1b2")));
    assert_false(same(BASE, key(&v1, 4, 3e-4, "x", 0, "/a", "a2b1")));
    assert_false(same(BASE, key(&v1, 4, 3e-4, "x", 0, "/a", "a1")));
    assert_false(same(BASE, key(&v1, 4, 3e-4, "x", 0, "/a", "a1b2m1")));
    assert_false(same(key(&v1, 4, 3e-4, "x", 0, "/a", "m1m2"), key(&v1, 4, 3e-4, "x", 0, "/a", "m2m1")));
}

/* The encoding is a contract with every store on disk: it may change only with a new format number. */
static void test_pinned(void **state)
{
    (void)state;
    struct made m = BASE;
    char hex[DIGEST_HEX];
    struct buf b = {0};
    js_write(&b, m.expanded);
    assert_string_equal(b.p, "{\"inputs\":{\"a\":\"0100000000000000000000000000000000000000000000000000000000000000\","
                             "\"b\":\"0200000000000000000000000000000000000000000000000000000000000000\"},\"op\":\"o\","
                             "\"params\":{\"name\":\"x\",\"r\":4,\"rate\":0.0003},"
                             "\"sources\":{\"data\":\"0700000000000000000000000000000000000000000000000000000000000000\"},\"version\":1}");
    digest_hex(&m.d, hex);
    assert_string_equal(hex, "2ff510d52cdd58a00b33d2b37404e27ea1e7050917242f063815f27ef2a11fef");
    buf_release(&b);
    js_free(m.expanded);
}

static char *diff(struct made a, struct made b)
{
    struct key_change *c;
    size_t n;
    struct err e;
    struct buf out = {0};
    assert_int_equal(key_changes(a.expanded, b.expanded, &c, &n, &e), 0);
    key_changes_text(&out, c, n, 3);
    key_changes_free(c, n);
    js_free(a.expanded);
    js_free(b.expanded);
    return out.p ? buf_steal(&out) : strdup("");
}

static void test_changes(void **state)
{
    (void)state;
    static const char *const want[] = {"", "rate 0.0003 -> 0.001", "operator version 1 -> 2, r 4 -> 5, input b changed",
                                       "name x -> y, input a changed, input b removed and 1 more"};
    char *got[] = {diff(BASE, BASE), diff(BASE, key(&v1, 4, 1e-3, "x", 0, "/a", "a1b2")),
                   diff(BASE, key(&v2, 5, 3e-4, "x", 0, "/a", "a1b1")), diff(BASE, key(&v1, 4, 3e-4, "y", 0, "/a", "a2m1"))};
    for (int i = 0; i < 4; i++) {
        assert_string_equal(got[i], want[i]);
        free(got[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_counts), cmocka_unit_test(test_pinned), cmocka_unit_test(test_changes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
