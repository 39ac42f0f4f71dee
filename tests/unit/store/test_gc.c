/* SPDX-License-Identifier: MIT
 *
 * gc: what goes, what stays (pins, what is in use), what verify finds, what du and ls say.
 */
#include "store_helper.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <time.h>

#include "runtime/store/gc.h"

/* Lets the second pass in which everything so far was made, and comes back as a new process would. */
static void next_process(struct fixture *f)
{
    struct timespec t = {1, 100000000};
    store_close(f->s);
    f->s = NULL;
    nanosleep(&t, NULL);
    reopen(f);
}

static struct digest put(struct fixture *f, const char *salt)
{
    struct record *r = make_record(f, salt);
    if (store_put_record(f->s, r, &f->e) != 0)
        fail_msg("%s", f->e.msg);
    struct digest key = r->key;
    record_free(r);
    return key;
}

static struct gc_result gc(struct fixture *f, uint64_t max_size, bool dry_run)
{
    struct gc_result res;
    if (store_gc(f->s, &(struct gc_options){.max_size = max_size, .dry_run = dry_run}, NULL, &res, &f->e) != 0)
        fail_msg("%s", f->e.msg);
    return res;
}

/* Three records of two blobs of 3 bytes each; one is used by this process, one pinned. */
static void test_eviction(void **state)
{
    struct fixture *f = *state;
    struct digest a = put(f, "a"), b = put(f, "b"), c = put(f, "c");
    put_text(f, "unnamed");
    struct gc_result res = gc(f, 1, false);
    assert_int_equal(res.records + res.blobs, 0); /* all of it is this process's */
    assert_int_equal(res.protected_records, 3);
    next_process(f);
    assert_int_equal(store_use_record(f->s, &a, &f->e), 0);
    assert_int_equal(store_pin(f->s, "keep", &c, 1, &f->e), 0);
    res = gc(f, 1, true);
    assert_int_equal(res.records, 1);
    assert_int_equal(res.blobs, 3);
    assert_int_equal(res.bytes, 3 + 3 + 7);
    assert_true(recorded(f, &b));
    res = gc(f, 1, false);
    assert_int_equal(res.records, 1);
    assert_int_equal(res.blobs, 3);
    assert_int_equal(res.kept_blobs, 4);
    assert_int_equal(res.kept_bytes, 12);
    assert_int_equal(res.protected_records, 2);
    assert_true(recorded(f, &a));
    assert_false(recorded(f, &b));
    assert_true(recorded(f, &c));
    assert_int_equal(store_use_record(f->s, &b, &f->e), ERR_NOTFOUND);
    next_process(f);
    size_t removed;
    assert_int_equal(store_unpin(f->s, "keep", &removed, &f->e), 0);
    assert_int_equal(removed, 1);
    res = gc(f, 6, false); /* room for one: the one that was used last stays */
    assert_int_equal(res.records, 1);
    assert_true(recorded(f, &a));
    assert_false(recorded(f, &c));
}

static void run_of(struct fixture *f, const char *spec, const char *node, const struct digest *key)
{
    int64_t run;
    assert_int_equal(store_run_begin(f->s, spec, "run", &run, &f->e), 0);
    assert_int_equal(store_run_node(f->s, run, node, "cached", key, 0, 0, 0, &f->e), 0);
}

/* What the last runs of each specification used stays; without another limit all else goes. */
static void test_keep_runs(void **state)
{
    struct fixture *f = *state;
    struct digest a = put(f, "a"), b = put(f, "b"), c = put(f, "c"), d = put(f, "d");
    run_of(f, "/1.yaml", "x", &a);
    run_of(f, "/2.yaml", "x", &c);
    run_of(f, "/1.yaml", "x", &b);
    next_process(f);
    struct gc_result res;
    assert_int_equal(store_gc(f->s, &(struct gc_options){.keep_runs = 2, .dry_run = true}, NULL, &res, &f->e), 0);
    assert_int_equal(res.records, 1); /* d, which no run used */
    assert_int_equal(store_gc(f->s, &(struct gc_options){.keep_runs = 1, .max_size = 1 << 20}, NULL, &res, &f->e), 0);
    assert_int_equal(res.records, 0);
    assert_int_equal(store_gc(f->s, &(struct gc_options){.keep_runs = 1, .max_size = 1}, NULL, &res, &f->e), 0);
    assert_int_equal(res.records, 2);
    assert_int_equal(res.protected_records, 2);
    assert_false(recorded(f, &a));
    assert_true(recorded(f, &b) && recorded(f, &c));
    assert_false(recorded(f, &d));
}

static void test_shared_blob_stays(void **state)
{
    struct fixture *f = *state;
    struct record *r = make_record(f, "a");
    struct digest other = {{9}};
    assert_int_equal(store_put_record(f->s, r, &f->e), 0);
    next_process(f);
    r->key = other; /* the same blobs under another key, made now */
    assert_int_equal(store_put_record(f->s, r, &f->e), 0);
    struct gc_result res = gc(f, 1, false);
    assert_int_equal(res.records, 1);
    assert_int_equal(res.blobs, 0);
    assert_true(recorded(f, &other));
    record_free(r);
}

/* A content that is put again is not taken away before its record is written. */
static void test_put_again(void **state)
{
    struct fixture *f = *state;
    put_text(f, "unnamed");
    next_process(f);
    struct digest d = put_text(f, "unnamed");
    struct gc_result res = gc(f, 1, false);
    assert_int_equal(res.blobs, 0);
    assert_true(store_has_blob(f->s, &d, 7));
}

/* What an older living process made is left alone. */
static void test_other_process(void **state)
{
    struct fixture *f = *state;
    int ready[2], go[2];
    char c;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    store_close(f->s);
    f->s = NULL;
    pid_t pid = fork();
    if (pid == 0) {
        reopen(f);
        put(f, "theirs");
        if (write(ready[1], "x", 1) != 1 || read(go[0], &c, 1) != 1)
            _exit(1);
        store_close(f->s);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    struct timespec t = {1, 100000000};
    nanosleep(&t, NULL);
    reopen(f);
    assert_int_equal(gc(f, 1, false).records, 0);
    assert_int_equal(write(go[1], "x", 1), 1);
    waitpid(pid, NULL, 0);
    assert_int_equal(gc(f, 1, false).records, 1);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(go[i]);
    }
}

static void count(void *u, const char *hex, const char *what)
{
    assert_int_equal(strlen(hex), 64);
    assert_true(*what);
    ++*(int *)u;
}

static void test_verify(void **state)
{
    struct fixture *f = *state;
    struct verify_result res;
    int told = 0;
    struct digest a = put(f, "a"), b = put(f, "b"), d;
    sha_bytes("a 0", 3, &d);
    char *path = blob_path(f, &d);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(fs_write_atomic(path, "A 0", 3, &f->e), 0);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0); /* damage that one stat cannot see */
    assert_true(recorded(f, &a));
    assert_int_equal(store_verify(f->s, true, count, &told, NULL, &res, &f->e), 0);
    assert_true(res.blobs == 4 && res.damaged == 1 && res.dropped == 1 && told == 1);
    assert_true(recorded(f, &a));
    assert_int_equal(store_verify(f->s, false, count, &told, NULL, &res, &f->e), 0);
    assert_true(res.damaged == 1 && res.dropped == 1 && told == 2);
    assert_false(recorded(f, &a));
    assert_true(recorded(f, &b));
    assert_int_equal(store_verify(f->s, false, count, &told, NULL, &res, &f->e), 0);
    assert_true(res.damaged == 0 && res.dropped == 0 && told == 2);
    free(path);
}

static void test_listing(void **state)
{
    struct fixture *f = *state;
    struct store_usage du;
    struct record_row *rows;
    struct pin_row *pins;
    size_t n;
    struct digest a = put(f, "a");
    put_text(f, "unnamed");
    assert_int_equal(store_pin(f->s, "p", &a, 1, &f->e), 0);
    assert_int_equal(store_du(f->s, &du, &f->e), 0);
    assert_true(du.records == 1 && du.blobs == 3 && du.blob_bytes == 13 && du.unnamed_bytes == 7 && du.index_bytes > 0);
    assert_int_equal(store_ls(f->s, &rows, &n, &f->e), 0);
    assert_int_equal(n, 1);
    assert_string_equal(rows[0].op, "a");
    assert_string_equal(rows[0].types, "text");
    assert_true(rows[0].bytes == 6 && rows[0].pinned);
    store_ls_free(rows, n);
    assert_int_equal(store_pins(f->s, &pins, &n, &f->e), 0);
    assert_int_equal(n, 1);
    assert_string_equal(pins[0].name, "p");
    store_pins_free(pins, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_eviction), TEST(test_keep_runs), TEST(test_shared_blob_stays), TEST(test_put_again),
                                       TEST(test_other_process), TEST(test_verify), TEST(test_listing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
