/* SPDX-License-Identifier: MIT
 *
 * memo: stands while nothing has changed, and falls with each thing it rests on: the specification, what it extends, a
 * source, an environment variable, a blob, a record, the index, its own bytes. A memo that stands when it should not would
 * hide a change for good, so every way is tried.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "engine/memo.h"
#include "engine/plan_private.h"
#include "runtime/store/gc.h"
#include "toy.h"

static const struct op *const ops[] = {&toy_text, &toy_join, &toy_file, NULL};

struct fixture {
    char *dir, *spec, *base, *data, *folder;
    struct store *s;
};

static void put(const char *path, const char *text)
{
    struct err e;
    assert_int_equal(fs_write_atomic(path, text, strlen(text), &e), 0);
    toy_sleep(0.03); /* older than a tick of the clock: times may be trusted */
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->dir = toy_dir();
    f->folder = fs_join(f->dir, "store");
    f->s = toy_store(f->dir);
    f->spec = fs_join(f->dir, "s.yaml");
    f->base = fs_join(f->dir, "base.yaml");
    f->data = fs_join(f->dir, "data.txt");
    setenv("MEMO_TEST", "word", 1);
    put(f->data, "data");
    put(f->base, "pkgraph: 1\nnodes:\n  t: {op: text, params: {text: one}}\n");
    put(f->spec, "pkgraph: 1\nextends: base.yaml\nnodes:\n  f: {op: file, params: {path: data.txt}}\n"
                 "  j: {op: join, inputs: {a: f, b: t}, params: {glue: \"${env:MEMO_TEST}\"}}\n");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->s);
    toy_rmdir(f->dir);
    free(f->spec);
    free(f->base);
    free(f->data);
    free(f->folder);
    free(f);
    return 0;
}

static int find(struct fixture *f, const struct graph_options *o)
{
    struct memo *m = NULL;
    int rc = memo_find(f->spec, o, f->folder, f->s, &m);
    memo_free(m);
    return rc;
}

/* What a command does: load, plan, run, remember. Returns what memo_save said. */
static int run_and_save(struct fixture *f, const struct graph_options *o)
{
    struct watch w;
    struct graph *g = NULL;
    struct plan *p = NULL;
    struct err e = {0};
    struct diags *d = diags_new();
    struct sched_options so = {.cpus = 1, .mem = 1 << 30};
    struct sched_result res;
    watch_begin(&w);
    int rc = graph_load(f->spec, o, d, &g, &e);
    watch_end();
    if (rc == 0)
        rc = plan_make(g, f->s, true, NULL, 0, NULL, &p, &e);
    if (rc == 0)
        rc = sched_run(p, &so, &res, &e);
    if (rc != 0)
        fail_msg("%s", e.msg);
    rc = memo_save(p, f->spec, o, &w, "the words", &e);
    plan_free(p);
    graph_free(g);
    diags_free(d);
    watch_release(&w);
    return rc;
}

static const struct graph_options plain = {.ops = ops};

static void save(struct fixture *f)
{
    assert_int_equal(run_and_save(f, &plain), 0);
    assert_int_equal(find(f, &plain), 0);
}

static void test_stands(void **state)
{
    struct fixture *f = *state;
    struct memo *m = NULL;
    assert_int_equal(find(f, &plain), ERR_NOTFOUND);
    save(f);
    assert_int_equal(memo_find(f->spec, &plain, f->folder, f->s, &m), 0);
    assert_int_equal(m->n, 3);
    assert_int_equal(m->n_all, 3);
    assert_int_equal(m->n_edges, 2);
    assert_string_equal(m->text, "the words");
    assert_string_equal(m->result, "j");
    assert_string_equal(m->nodes[2].id, "j");
    assert_string_equal(m->nodes[2].op, "join");
    char *real = fs_absolute(f->spec);
    assert_string_equal(m->file, real);
    free(real);
    memo_free(m);
    assert_int_equal(run_and_save(f, &plain), 0); /* nothing ran this time */
    assert_int_equal(find(f, &plain), 0);
    store_close(f->s);
    f->s = toy_store(f->dir);
    assert_int_equal(find(f, &plain), 0);
}

static void test_files(void **state)
{
    struct fixture *f = *state;
    struct memo *m = NULL;
    const char *const paths[] = {f->spec, f->base, f->data};
    for (size_t i = 0; i < 3; i++) {
        struct buf b = {0};
        struct err e;
        save(f);
        assert_int_equal(fs_read(paths[i], 4096, &b, &e), 0);
        put(paths[i], b.p); /* the same bytes, another file: the plan is made, and finds nothing to do */
        assert_int_equal(find(f, &plain), ERR_NOTFOUND);
        save(f);
        assert_int_equal(unlink(paths[i]), 0);
        assert_int_equal(find(f, &plain), ERR_NOTFOUND);
        assert_int_equal(memo_find(f->spec, &plain, f->folder, NULL, &m), ERR_NOTFOUND);
        put(paths[i], b.p);
        buf_release(&b);
    }
}

static void test_young_file(void **state)
{
    struct fixture *f = *state;
    struct err e;
    save(f);
    assert_int_equal(fs_write_atomic(f->data, "new", 3, &e), 0);
    assert_int_equal(find(f, &plain), ERR_NOTFOUND);
    struct timespec t[2] = {{.tv_sec = 1}, {.tv_sec = 1}}; /* its time says that it is old; its ctime does not */
    assert_int_equal(utimensat(AT_FDCWD, f->spec, t, 0), 0);
    assert_int_equal(run_and_save(f, &plain), ERR_NOTFOUND);
    toy_sleep(0.03);
    save(f);
}

static void test_environment(void **state)
{
    struct fixture *f = *state;
    save(f);
    setenv("MEMO_TEST", "other", 1);
    assert_int_equal(find(f, &plain), ERR_NOTFOUND);
    unsetenv("MEMO_TEST");
    assert_int_equal(find(f, &plain), ERR_NOTFOUND);
    setenv("MEMO_TEST", "word", 1);
    assert_int_equal(find(f, &plain), 0);
}

static void test_options(void **state)
{
    struct fixture *f = *state;
    static const char *const sets[] = {"t.text=two"}, *const only[] = {"t"};
    const struct graph_options set = {.ops = ops, .sets = sets, .n_sets = 1}, some = {.ops = ops, .only = only, .n_only = 1};
    save(f);
    assert_int_equal(find(f, &set), ERR_NOTFOUND);
    assert_int_equal(find(f, &some), ERR_NOTFOUND);
    assert_int_equal(run_and_save(f, &set), 0);
    assert_int_equal(find(f, &set), 0);
    assert_int_equal(find(f, &plain), 0);
}

static char *blob_of(struct fixture *f, const char *text)
{
    struct digest d;
    struct err e;
    char *path = NULL;
    sha_bytes(text, strlen(text), &d);
    assert_int_equal(store_blob_path(f->s, &d, &path, &e), 0);
    return path;
}

static void test_blobs(void **state)
{
    struct fixture *f = *state;
    struct memo *m = NULL;
    save(f);
    char *path = blob_of(f, "datawordone");
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(find(f, &plain), 0);
    put(path, "datawordtwo");
    assert_int_equal(find(f, &plain), ERR_NOTFOUND);
    assert_int_equal(memo_find(f->spec, &plain, f->folder, NULL, &m), 0); /* the graph is what it was */
    memo_free(m);
    save(f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(find(f, &plain), ERR_NOTFOUND);
    save(f);
    free(path);
}

static void test_index(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct epoch was, is;
    save(f);
    assert_int_equal(store_epoch(f->s, &was, &e), 0);
    static const char *const sets[] = {"t.text=two"};
    const struct graph_options set = {.ops = ops, .sets = sets, .n_sets = 1};
    assert_int_equal(run_and_save(f, &set), 0); /* more records: no loss */
    assert_int_equal(store_epoch(f->s, &is, &e), 0);
    assert_memory_equal(&was, &is, sizeof was);
    assert_int_equal(find(f, &plain), 0);

    toy_sleep(1.1); /* gc leaves alone what is as young as this process */
    store_close(f->s);
    f->s = toy_store(f->dir);
    assert_int_equal(find(f, &plain), 0);
    struct gc_options o = {.max_size = 1};
    struct gc_result r;
    toy_sleep(1.1);
    store_close(f->s);
    f->s = toy_store(f->dir);
    assert_int_equal(store_gc(f->s, &o, NULL, &r, &e), 0);
    assert_int_equal(find(f, &plain), ERR_NOTFOUND);
    save(f);

    store_close(f->s); /* an index made anew knows nothing */
    char *index = fs_join(f->folder, "index.sqlite");
    assert_int_equal(unlink(index), 0);
    free(index);
    f->s = toy_store(f->dir);
    assert_int_equal(find(f, &plain), ERR_NOTFOUND);
    save(f);
}

static void test_own_bytes(void **state)
{
    struct fixture *f = *state;
    char **names = NULL, *dir = fs_join(f->folder, "memo");
    size_t n = 0;
    struct err e;
    save(f);
    assert_int_equal(fs_list(dir, &names, &n, &e), 0);
    assert_int_equal(n, 1);
    char *path = fs_join(dir, names[0]);
    struct buf good = {0};
    assert_int_equal(fs_read(path, 1 << 20, &good, &e), 0);
    for (size_t i = 0; i < good.n; i += i < 64 ? 1 : 17) {
        good.p[i] ^= 4;
        assert_int_equal(fs_write_atomic(path, good.p, good.n, &e), 0);
        assert_int_equal(find(f, &plain), ERR_NOTFOUND);
        good.p[i] ^= 4;
    }
    for (size_t i = 0; i < good.n; i += 29) {
        assert_int_equal(fs_write_atomic(path, good.p, i, &e), 0);
        assert_int_equal(find(f, &plain), ERR_NOTFOUND);
    }
    assert_int_equal(fs_write_atomic(path, good.p, good.n, &e), 0);
    assert_int_equal(find(f, &plain), 0);
    buf_release(&good);
    free(path);
    free(dir);
    fs_list_free(names, n);
}

static void test_many(void **state)
{
    struct fixture *f = *state;
    char **names = NULL, *dir = fs_join(f->folder, "memo");
    size_t n = 0;
    struct err e;
    for (int i = 0; i < 70; i++) {
        char z[32];
        const char *const sets[] = {z};
        snprintf(z, sizeof z, "t.text=%d", i % 3);
        const struct graph_options o = {.ops = ops, .sets = sets, .n_sets = 1};
        struct digest d;
        char *path = NULL;
        sha_bytes(&i, sizeof i, &d);
        assert_int_equal(store_memo_path(f->folder, &d, true, &path, &e), 0);
        assert_int_equal(fs_write_atomic(path, "x", 1, &e), 0);
        free(path);
        if (i > 66)
            assert_int_equal(run_and_save(f, &o), 0);
    }
    assert_int_equal(fs_list(dir, &names, &n, &e), 0);
    assert_true(n <= 64);
    fs_list_free(names, n);
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_stands, setup, teardown),      cmocka_unit_test_setup_teardown(test_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_young_file, setup, teardown),  cmocka_unit_test_setup_teardown(test_environment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_options, setup, teardown),     cmocka_unit_test_setup_teardown(test_blobs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_index, setup, teardown),       cmocka_unit_test_setup_teardown(test_own_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
