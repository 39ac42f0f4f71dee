/* SPDX-License-Identifier: MIT
 *
 * Group commit: many records at once, all or none; blobs are believed without a row only after they were digested; what the
 * last run of a spec left is known for a while.
 */
#include "store_helper.h"

enum { MANY = 100 };

static void test_many(void **state)
{
    struct fixture *f = *state;
    struct record *r[MANY];
    struct store_put p[MANY];
    struct history_row *rows = NULL;
    size_t n = 0;
    int64_t run = 0;
    assert_int_equal(store_run_begin(f->s, "spec", "run", &run, &f->e), 0);
    for (int i = 0; i < MANY; i++) {
        char salt[16];
        snprintf(salt, sizeof salt, "salt %d", i);
        r[i] = make_record(f, salt);
        p[i] = (struct store_put){.record = r[i], .node = "n", .status = "ran", .bytes_read = 7, .bytes_written = 9};
    }
    assert_false(recorded(f, &r[0]->key));
    assert_int_equal(store_put_records(f->s, p, MANY, run, &f->e), 0);
    reopen(f);
    for (int i = 0; i < MANY; i++)
        assert_true(recorded(f, &r[i]->key));
    assert_int_equal(store_history(f->s, "spec", "n", 0, &rows, &n, &f->e), 0);
    assert_int_equal(n, 1);
    assert_int_equal(rows[0].bytes_read, 7);
    assert_int_equal(rows[0].bytes_written, 9);
    store_history_free(rows, n);
    for (int i = 0; i < MANY; i++)
        record_free(r[i]);
}

/* A power cut after the move and before the commit: the bytes under the name are not the content. */
static void test_torn(void **state)
{
    struct fixture *f = *state;
    struct digest d = put_text(f, "whole");
    char *path = blob_path(f, &d);
    reopen(f); /* the commit never came */
    assert_true(store_has_blob(f->s, &d, 5));
    assert_int_equal(fs_write_atomic(path, "who\0\0", 5, &f->e), 0);
    reopen(f);
    assert_false(store_has_blob(f->s, &d, 5));
    put_text(f, "whole");
    assert_true(store_has_blob(f->s, &d, 5));
    free(path);
}

static void test_seen(void **state)
{
    struct fixture *f = *state;
    struct digest a, b;
    int64_t run;
    sha_bytes("a", 1, &a);
    sha_bytes("b", 1, &b);
    assert_false(store_seen(f->s, "spec", &a));
    assert_int_equal(store_run_begin(f->s, "spec", "run", &run, &f->e), 0);
    assert_int_equal(store_see(f->s, "spec", &a, &f->e), 0);
    assert_true(store_seen(f->s, "spec", &a));
    assert_false(store_seen(f->s, "spec", &b));
    assert_false(store_seen(f->s, "other", &a));
    assert_int_equal(store_see(f->s, "spec", NULL, &f->e), 0);
    assert_false(store_seen(f->s, "spec", &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_many), TEST(test_torn), TEST(test_seen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
