/* SPDX-License-Identifier: MIT
 *
 * Records, artifacts, locks, history: written, read again after reopening, dropped when their blobs are not there.
 */
#include "store_helper.h"

#include <pthread.h>

#include "runtime/store/codec.h"

static void test_round_trip(void **state)
{
    struct fixture *f = *state;
    struct record *r = make_record(f, "one"), *got = NULL;
    struct js *expanded = NULL;
    assert_int_equal(store_put_record(f->s, r, &f->e), 0);
    reopen(f);
    assert_int_equal(store_get_record(f->s, &r->key, &got, &f->e), 0);
    assert_int_equal(got->n_out, 1);
    assert_string_equal(got->ports[0], "out");
    assert_string_equal(got->out[0].type, "text");
    assert_true(js_equal(artifact_desc(&got->out[0]), r->out[0].desc));
    assert_int_equal(got->out[0].n, 2);
    assert_string_equal(got->out[0].files[0].name, "a.txt");
    assert_int_equal(digest_cmp(&got->out[0].files[0].digest, &r->out[0].files[0].digest), 0);
    assert_int_equal(digest_cmp(&got->out[0].digest, &r->out[0].digest), 0);
    assert_true(got->wall == 1.5 && got->cpu == 2.5 && got->peak_memory == 42 && got->made_at > 0);
    assert_int_equal(store_expanded(f->s, &r->key, &expanded, &f->e), 0);
    assert_true(js_equal(expanded, r->expanded));
    js_free(expanded);
    record_free(got);
    record_free(r);
}

/* Whatever bit of a row is turned, and under another key: not a record. */
static void test_damaged_bits(void **state)
{
    struct fixture *f = *state;
    struct record *r = make_record(f, "one"), *got;
    struct buf b = {0};
    assert_int_equal(record_encode(r, &b, &f->e), 0);
    got = record_decode(buf_view(&b), &r->key);
    assert_non_null(got);
    record_free(got);
    for (size_t i = 0; i < 8 * b.n; i++) {
        b.p[i / 8] = (char)(b.p[i / 8] ^ 1 << i % 8);
        assert_null(record_decode(buf_view(&b), &r->key));
        b.p[i / 8] = (char)(b.p[i / 8] ^ 1 << i % 8);
    }
    for (size_t n = 0; n < b.n; n++)
        assert_null(record_decode((struct str){b.p, n}, &r->key));
    r->key.b[31] ^= 1;
    assert_null(record_decode(buf_view(&b), &r->key));
    buf_release(&b);
    record_free(r);
}

static void test_artifact_digest(void **state)
{
    struct fixture *f = *state;
    struct record *a = make_record(f, "one"), *b = make_record(f, "one");
    assert_int_equal(digest_cmp(&a->out[0].digest, &b->out[0].digest), 0);
    js_set(b->out[0].desc, "more", js_new_int(1)); /* not part of it */
    artifact_seal(&b->out[0]);
    assert_int_equal(digest_cmp(&a->out[0].digest, &b->out[0].digest), 0);
    free(b->out[0].files[1].name);
    b->out[0].files[1].name = strdup("c.txt");
    artifact_seal(&b->out[0]);
    assert_int_not_equal(digest_cmp(&a->out[0].digest, &b->out[0].digest), 0);
    record_free(a);
    record_free(b);
}

static void test_missing_blob_is_a_miss(void **state)
{
    struct fixture *f = *state;
    struct record *r = make_record(f, "one");
    struct js *expanded = NULL;
    assert_int_equal(store_put_record(f->s, r, &f->e), 0);
    assert_true(recorded(f, &r->key));
    char *path = blob_path(f, &r->out[0].files[1].digest);
    unlink(path);
    assert_false(recorded(f, &r->key));
    assert_string_equal(f->e.msg, "its stored file b.txt is missing");
    assert_false(recorded(f, &r->key));
    assert_string_equal(f->e.msg, "not in the store"); /* dropped */
    assert_int_equal(store_expanded(f->s, &r->key, &expanded, &f->e), 0); /* kept, for explain */
    js_free(expanded);
    free(path);
    record_free(r);
}

static void test_locks(void **state)
{
    struct fixture *f = *state;
    struct digest key = {{1}}, other = {{2}};
    struct store_lock *a, *b, *c;
    bool busy;
    assert_int_equal(store_lock_key(f->s, &key, true, &a, &busy, &f->e), 0);
    assert_false(busy);
    assert_int_equal(store_lock_key(f->s, &key, false, &b, &busy, &f->e), 0);
    assert_true(busy && !b);
    assert_non_null(strstr(f->e.msg, "process "));
    assert_int_equal(store_lock_key(f->s, &other, false, &c, &busy, &f->e), 0);
    assert_false(busy);
    store_unlock(a);
    assert_int_equal(store_lock_key(f->s, &key, false, &b, &busy, &f->e), 0);
    assert_false(busy);
    store_unlock(b);
    store_unlock(c);
}

/* Another holder of the store, as another process is one. */
static void test_locks_of_another(void **state)
{
    struct fixture *f = *state;
    struct digest key = {{1}}, other = {{1, 0, 0, 0, 0, 0, 0, 0, 1}};
    struct store *s2;
    struct store_lock *a, *b, *c;
    bool busy;
    assert_int_equal(store_open(f->store, &s2, &f->e), 0);
    assert_int_equal(store_lock_key(s2, &key, false, &a, &busy, &f->e), 0);
    assert_int_equal(store_lock_key(f->s, &key, false, &b, &busy, &f->e), 0);
    assert_true(busy && !b);
    assert_non_null(strstr(f->e.msg, "process "));
    assert_non_null(strstr(f->e.msg, " since "));
    assert_int_equal(store_lock_key(f->s, &other, false, &c, &busy, &f->e), 0);
    assert_true(busy && !c); /* shares the byte: waits, and is not told a wrong name */
    assert_string_equal(f->e.msg, "another process");
    store_close(s2); /* as its process would end */
    assert_int_equal(store_lock_key(f->s, &key, false, &b, &busy, &f->e), 0);
    assert_true(!busy && b);
    store_unlock(b);
    free(a);
}

static void test_history(void **state)
{
    struct fixture *f = *state;
    struct digest k1 = {{1}}, k2 = {{2}};
    struct history_row *rows;
    struct run_row *runs;
    int64_t run;
    size_t n;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_run_begin(f->s, "/s.yaml", "run", &run, &f->e), 0);
        assert_int_equal(store_run_node(f->s, run, "a", i ? "cached" : "ran", &k1, i, 0, 7, &f->e), 0);
        assert_int_equal(store_run_node(f->s, run, "b", "failed", i == 2 ? NULL : &k2, 0, 0, 0, &f->e), 0);
        if (i < 2)
            assert_int_equal(store_run_end(f->s, run, "done", &f->e), 0);
    }
    assert_int_equal(store_history(f->s, "/s.yaml", "a", 2, &rows, &n, &f->e), 0);
    assert_int_equal(n, 2);
    assert_string_equal(rows[0].status, "cached");
    assert_true(rows[0].run == run && rows[0].wall == 2 && rows[0].peak_memory == 7);
    assert_int_equal(digest_cmp(&rows[0].key, &k1), 0);
    store_history_free(rows, n);
    assert_int_equal(store_history(f->s, "/s.yaml", NULL, 0, &rows, &n, &f->e), 0);
    assert_int_equal(n, 6);
    store_history_free(rows, n);
    assert_int_equal(store_history(f->s, "/other.yaml", "a", 0, &rows, &n, &f->e), 0);
    assert_int_equal(n, 0);
    assert_int_equal(store_runs(f->s, "/s.yaml", 0, &runs, &n, &f->e), 0);
    assert_int_equal(n, 3);
    assert_string_equal(runs[0].status, "running");
    assert_string_equal(runs[2].status, "done");
    store_runs_free(runs, n);
}

/* Many threads on one store. */
struct hammer {
    struct fixture *f;
    int id;
};

static void *hammer(void *u)
{
    struct hammer *h = u;
    struct err e;
    for (int i = 0; i < 20; i++) {
        char *dir = NULL, *path, text[32];
        struct digest d;
        uint64_t bytes;
        int n = snprintf(text, sizeof text, "%d %d", i % 2 ? h->id : 0, i);
        if (store_tmp_dir(h->f->s, &dir, &e) != 0)
            return (void *)"tmp";
        path = fs_join(dir, "x");
        if (fs_write_atomic(path, text, (size_t)n, &e) != 0 || store_put_file(h->f->s, path, NULL, &d, &bytes, &e) != 0)
            return (void *)"put";
        if (!store_has_blob(h->f->s, &d, (uint64_t)n))
            return (void *)"has";
        free(path);
        free(dir);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct fixture *f = *state;
    pthread_t t[4];
    struct hammer h[4];
    for (int i = 0; i < 4; i++) {
        h[i] = (struct hammer){f, i};
        assert_int_equal(pthread_create(&t[i], NULL, hammer, &h[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *what;
        pthread_join(t[i], &what);
        assert_null(what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_round_trip), TEST(test_damaged_bits), TEST(test_artifact_digest), TEST(test_missing_blob_is_a_miss),
                                       TEST(test_locks), TEST(test_locks_of_another), TEST(test_history), TEST(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
