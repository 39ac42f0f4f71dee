/* SPDX-License-Identifier: MIT
 *
 * plan: states and reasons without running anything, sources read or not, and the time of a plan in which nothing is to
 * be done.
 */
#include "toy.h"

struct fixture {
    char *dir;
    struct store *s;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->dir = toy_dir();
    f->s = toy_store(f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->s);
    toy_rmdir(f->dir);
    free(f);
    return 0;
}

/* file -> j (with text) -> k */
static void build(struct toy *t, const char *path, const char *text, const char *glue)
{
    toy_str(t, toy_add(t, "file", &toy_file), "path", path);
    toy_text_node(t, "text", text);
    toy_str(t, toy_add(t, "j", &toy_join), "glue", glue);
    toy_str(t, toy_add(t, "k", &toy_join), "glue", "+");
    toy_edge(t, "j", "a", "file");
    toy_edge(t, "j", "b", "text");
    toy_edge(t, "k", "a", "j");
}

static void check(struct fixture *f, struct toy *t, bool read, const char *const want[4])
{
    struct plan *p = NULL;
    struct err e;
    toy_finish(t);
    if (plan_make(&t->g, f->s, read, NULL, 0, NULL, &p, &e) != 0)
        fail_msg("%s", e.msg);
    for (size_t i = 0; i < 4; i++) {
        char got[512];
        const struct planned *n = &p->nodes[i];
        snprintf(got, sizeof got, "%s%s%s", node_state_name(n->state), n->reason ? ": " : "", n->reason ? n->reason : "");
        if (strcmp(got, want[i]) != 0)
            fail_msg("node %zu: \"%s\", wanted \"%s\"", i, got, want[i]);
    }
    plan_free(p);
}

static void test_states(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    struct err e;
    char *path = fs_join(f->dir, "data.txt"), blocked[512];
    build(&t, path, "T", "-");
    snprintf(blocked, sizeof blocked, "blocked: source data: %s: no such file", path);
    check(f, &t, true, (const char *[]){blocked, "to run: never run", "blocked: needs file, which is blocked", "blocked: needs j, which is blocked"});
    assert_int_equal(fs_write_atomic(path, "one", 3, &e), 0);
    check(f, &t, false, (const char *[]){"to run: source data not read yet", "to run: never run", "pending: input file runs first", "pending: input j runs first"});
    check(f, &t, true, (const char *[]){"to run: never run", "to run: never run", "pending: input file runs first", "pending: input j runs first"});
    assert_int_equal(toy_run(&t, f->s, NULL), 4);
    const char *const done[] = {"up to date", "up to date", "up to date", "up to date"};
    check(f, &t, true, done);
    check(f, &t, false, done);
    toy_free(&t);

    build(&t, path, "T", "=");
    check(f, &t, false, (const char *[]){"up to date", "up to date", "to run: glue - -> =", "pending: input j runs first"});
    toy_free(&t);
    build(&t, path, "U", "-");
    check(f, &t, false, (const char *[]){"up to date", "to run: text T -> U", "pending: input text runs first", "pending: input j runs first"});
    toy_free(&t);

    assert_int_equal(fs_write_atomic(path, "two", 3, &e), 0);
    build(&t, path, "T", "-");
    check(f, &t, false, (const char *[]){"to run: source data not read yet", "up to date", "pending: input file runs first", "pending: input j runs first"});
    check(f, &t, true, (const char *[]){"to run: source data changed", "up to date", "pending: input file runs first", "pending: input j runs first"});
    toy_free(&t);
    free(path);
}

static void test_gone_and_failed(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    struct err e;
    struct digest d;
    char *path = fs_join(f->dir, "data.txt"), *blob;
    assert_int_equal(fs_write_atomic(path, "one", 3, &e), 0);
    build(&t, path, "T", "-");
    assert_int_equal(toy_run(&t, f->s, NULL), 4);
    sha_bytes("T", 1, &d);
    assert_int_equal(store_blob_path(f->s, &d, &blob, &e), 0);
    assert_int_equal(unlink(blob), 0);
    check(f, &t, true, (const char *[]){"up to date", "to run: its stored file text is missing", "pending: input text runs first", "pending: input j runs first"});
    toy_str(&t, &t.g.nodes[1], "fail", "no");
    struct sched_options o = {.cpus = 1, .mem = 1 << 30};
    struct sched_result res;
    assert_int_equal(toy_run_with(&t, f->s, &o, &res, NULL, &e), ERR_INPUT);
    check(f, &t, true, (const char *[]){"up to date", "to run: failed last time", "pending: input text runs first", "pending: input j runs first"});
    toy_free(&t);
    free(blob);
    free(path);
}

static void test_shared(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    toy_text_node(&t, "a", "T");
    toy_text_node(&t, "b", "T");
    struct plan *p = toy_plan(&t, f->s);
    assert_int_equal(p->n_run, 1);
    assert_int_equal(p->n_shared, 1);
    assert_int_equal(p->nodes[1].same_as, 0);
    assert_string_equal(p->nodes[1].reason, "same work as a");
    plan_free(p);
    toy_free(&t);
}

/* Records of 10,000 nodes in layers, put in by hand in one transaction. */
static void test_null_plan(void **state)
{
    struct fixture *f = *state;
    enum { N = 10000, WIDTH = 100 };
    struct toy t = {0};
    struct err e = {0};
    struct artifact_file file = {.name = (char *)"text", .bytes = 1};
    char *tmp = NULL, *path;
    assert_int_equal(store_tmp_dir(f->s, &tmp, &e), 0);
    path = fs_join(tmp, "x");
    assert_int_equal(fs_write_atomic(path, "x", 1, &e), 0);
    assert_int_equal(store_put_file(f->s, path, NULL, &file.digest, &file.bytes, &e), 0);
    struct artifact a = {.type = (char *)"text", .desc = js_object(), .n = 1, .files = &file};
    artifact_seal(&a);
    for (int i = 0; i < N; i++) {
        char id[16], from[16];
        snprintf(id, sizeof id, "n%d", i);
        struct node *n = i < WIDTH ? toy_text_node(&t, id, id) : toy_add(&t, id, &toy_join);
        if (i >= WIDTH) {
            snprintf(from, sizeof from, "+%d", i);
            toy_str(&t, n, "glue", from);
            n->edges[n->n_edges++] = (struct edge){.port = 0, .from = i - WIDTH};
        }
    }
    toy_finish(&t);
    assert_int_equal(store_begin(f->s, true, &e), 0);
    for (int i = 0; i < N; i++) {
        char *port = (char *)"out";
        struct record r = {.n_out = 1, .ports = &port, .out = &a};
        const struct artifact *in = &a;
        assert_int_equal(key_compute(&t.g.nodes[i], &in, NULL, 0, &r.key, &r.expanded, &e), 0);
        assert_int_equal(store_put_record(f->s, &r, &e), 0);
        js_free(r.expanded);
    }
    assert_int_equal(store_finish(f->s, &e), 0);
    for (int read = 0; read < 2; read++) {
        struct timespec b, c; /* of this process alone: the machine may be busy with other tests */
        struct plan *p = NULL;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
        assert_int_equal(plan_make(&t.g, f->s, read, NULL, 0, NULL, &p, &e), 0);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &c);
        assert_int_equal(p->n_uptodate, N);
        print_message("plan of %d nodes, nothing to do, %s: %.1f ms of processor time\n", N, read ? "for a run" : "only to look",
                      (double)(c.tv_sec - b.tv_sec) * 1e3 + (double)(c.tv_nsec - b.tv_nsec) / 1e6);
        plan_free(p);
    }
    js_free(a.desc);
    free(path);
    free(tmp);
    toy_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_states, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gone_and_failed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(test_null_plan, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
