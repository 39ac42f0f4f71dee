/* SPDX-License-Identifier: MIT
 *
 * Opening: newer formats, folders of others, places that cannot be written, damaged indexes, what dead processes left,
 * a full disk.
 */
#include "store_helper.h"

#include <fcntl.h>

#include "runtime/base/check.h"
#include "runtime/store/db.h"

#include <sys/mount.h>
#include <sys/wait.h>

static void put_in_store(struct fixture *f, const char *name, const void *p, size_t n)
{
    char *path = fs_join(f->store, name);
    assert_int_equal(fs_write_atomic(path, p, n, &f->e), 0);
    free(path);
}

static int try_open(const char *dir, struct err *e)
{
    struct store *s = NULL;
    int rc = store_open(dir, &s, e);
    store_close(s);
    return rc;
}

static void test_newer(void **state)
{
    struct fixture *f = *state;
    put_in_store(f, "format", "pkgraph store 2\n", 16);
    assert_int_equal(try_open(f->store, &f->e), ERR_UNSUPPORTED);
    assert_non_null(strstr(f->e.msg, "store format 2"));
    put_in_store(f, "format", "what?\n", 6);
    assert_int_equal(try_open(f->store, &f->e), ERR_DAMAGED);
}

static void test_foreign(void **state)
{
    struct fixture *f = *state;
    char *path = write_file(f, "thesis.tex", "x"), *in = fs_join(path, "store");
    assert_int_equal(try_open(f->dir, &f->e), ERR_INPUT);
    assert_non_null(strstr(f->e.msg, "not a pkgraph store"));
    assert_true(try_open(path, &f->e) < 0);
    assert_true(try_open(in, &f->e) < 0);
    assert_non_null(strstr(f->e.msg, "--store"));
    assert_true(try_open("/proc/pkgraph", &f->e) < 0);
    assert_non_null(strstr(f->e.msg, "--store"));
    free(path);
    free(in);
}

static void test_unwritable(void **state)
{
    struct fixture *f = *state;
    if (geteuid() == 0) {
        /* root writes everywhere: try as somebody else */
        chmod(f->dir, 0755);
        chmod(f->store, 0755);
        pid_t pid = fork();
        if (pid == 0) {
            struct err e;
            int rc = setuid(65534) == 0 ? try_open(f->store, &e) : 0;
            _exit(rc == ERR_IO && strstr(e.msg, "--store") ? 0 : 1);
        }
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        return;
    }
    chmod(f->store, 0555);
    assert_int_equal(try_open(f->store, &f->e), ERR_IO);
    assert_non_null(strstr(f->e.msg, "--store"));
    chmod(f->store, 0755);
}

static void test_damaged_index(void **state)
{
    struct fixture *f = *state;
    struct record *r = make_record(f, "one");
    assert_int_equal(store_put_record(f->s, r, &f->e), 0);
    char junk[8192];
    memset(junk, 'x', sizeof junk);
    for (int i = 0; i < 2; i++) {
        store_close(f->s);
        f->s = NULL;
        put_in_store(f, "index.sqlite", junk, i ? sizeof junk : 100);
        reopen(f);
        assert_non_null(store_warning(f->s));
        assert_non_null(strstr(store_warning(f->s), i ? "index.sqlite.damaged-2" : "index.sqlite.damaged-1"));
        assert_false(recorded(f, &r->key));
        assert_int_equal(store_put_record(f->s, r, &f->e), 0); /* the blobs are as good as before */
        assert_true(recorded(f, &r->key));
    }
    reopen(f);
    assert_null(store_warning(f->s));
    assert_true(recorded(f, &r->key));
    record_free(r);
}

static void test_damaged_row(void **state)
{
    struct fixture *f = *state;
    struct record *r = make_record(f, "one");
    assert_int_equal(store_put_record(f->s, r, &f->e), 0);
    store_close(f->s);
    f->s = NULL;
    char cmd[512];
    snprintf(cmd, sizeof cmd, "sqlite3 %s/index.sqlite \"UPDATE records SET body='[{'\" 2>/dev/null", f->store);
    bool have = system(cmd) == 0;
    reopen(f);
    assert_int_equal(recorded(f, &r->key), !have);
    record_free(r);
    if (!have) {
        print_message("no sqlite3 program: not tested\n");
        skip();
    }
}

/* A page in the middle that turned to rubbish: opening does not see it, the first to read it says so, and who opens the
 * index next begins a new one. */
static void test_damaged_page(void **state)
{
    struct fixture *f = *state;
    struct record *r = make_record(f, "one"), *got = NULL;
    char *index = fs_join(f->store, "index.sqlite"), page[4096];
    assert_int_equal(store_put_record(f->s, r, &f->e), 0);
    store_close(f->s);
    f->s = NULL;
    int fd = open(index, O_RDWR), damaged = 0;
    off_t n = lseek(fd, 0, SEEK_END);
    memset(page, 0xff, sizeof page);
    for (off_t at = 4096; at < n; at += 4096)
        assert_int_equal(pwrite(fd, page, sizeof page, at), sizeof page);
    close(fd);
    reopen(f);
    assert_null(store_warning(f->s));
    damaged = store_get_record(f->s, &r->key, &got, &f->e);
    assert_int_equal(damaged, ERR_DAMAGED);
    reopen(f);
    assert_non_null(strstr(store_warning(f->s), "set aside as index.sqlite.damaged-1"));
    assert_false(recorded(f, &r->key));
    assert_int_equal(store_put_record(f->s, r, &f->e), 0);
    reopen(f);
    assert_null(store_warning(f->s));
    assert_true(recorded(f, &r->key));
    free(index);
    record_free(r);
}

/* Writes a row of the stat cache anew with another digest or, where `old`, with the sum of versions that took the SHA-256 of every file. */
static void rewrite_stat_row(const char *index, const char *path, const struct digest *is, const struct digest *other, bool old)
{
    struct db *db;
    struct err e;
    assert_int_equal(db_open(index, &db, &e), 0);
    db_start(db, Q_FILE_BY_DIGEST);
    db_digest(db, Q_FILE_BY_DIGEST, 1, is);
    assert_int_equal(db_step(db, Q_FILE_BY_DIGEST, &e), 1);
    int64_t v[5], sum = db_col_int(db, Q_FILE_BY_DIGEST, 6);
    uint64_t h = 0;
    for (int i = 0; i < 5; i++) {
        v[i] = db_col_int(db, Q_FILE_BY_DIGEST, i);
        h = check_word(h, (uint64_t)v[i]);
    }
    db_end(db, Q_FILE_BY_DIGEST);
    db_start(db, Q_FILE_PUT);
    for (int i = 0; i < 5; i++)
        db_int(db, Q_FILE_PUT, i + 1, v[i]);
    db_digest(db, Q_FILE_PUT, 6, other);
    db_text(db, Q_FILE_PUT, 7, str_of(path));
    db_int(db, Q_FILE_PUT, 8, old ? (int64_t)check_bytes(h, other->b, sizeof other->b) : sum);
    assert_int_equal(db_step(db, Q_FILE_PUT, &e), 0);
    db_close(db);
}

/* A remembered digest of a user's file that is not what was written, or is of another kind: the file is read again. */
static void test_damaged_stat_row(void **state)
{
    struct fixture *f = *state;
    struct digest d, wrong = {{7}};
    char *path = write_file(f, "user", "content"), *index = fs_join(f->store, "index.sqlite"), *found = NULL;
    assert_int_equal(store_file_digest(f->s, path, false, NULL, &d, &f->e), 0);
    assert_int_equal(store_file_digest(f->s, path, true, NULL, &d, &f->e), 0);
    store_close(f->s);
    f->s = NULL;
    rewrite_stat_row(index, path, &d, &wrong, false);
    reopen(f);
    assert_int_equal(store_file_digest(f->s, path, true, NULL, &d, &f->e), ERR_NOTFOUND);
    assert_int_equal(store_resolve(f->s, &wrong, &found, &f->e), ERR_NOTFOUND);
    assert_int_equal(store_file_digest(f->s, path, false, NULL, &d, &f->e), 0);
    sha_bytes("content", 7, &wrong);
    assert_int_equal(digest_cmp(&d, &wrong), 0);
    store_close(f->s);
    f->s = NULL;
    rewrite_stat_row(index, path, &d, &d, true);
    reopen(f);
    assert_int_equal(store_file_digest(f->s, path, true, NULL, &d, &f->e), ERR_NOTFOUND);
    free(path);
    free(index);
}

static size_t entries(struct fixture *f, const char *sub)
{
    char *path = fs_join(f->store, sub), **names;
    size_t n = 0;
    assert_int_equal(fs_list(path, &names, &n, &f->e), 0);
    fs_list_free(names, n);
    free(path);
    return n;
}

static void test_sweep(void **state)
{
    struct fixture *f = *state;
    char *mine = NULL, *dead = fs_join(f->store, "tmp/s-dead/1"), *lock = fs_join(f->store, "locks/0123");
    assert_int_equal(store_tmp_dir(f->s, &mine, &f->e), 0);
    assert_int_equal(fs_mkdirs(dead, &f->e), 0);
    assert_int_equal(fs_write_atomic(lock, "x", 1, &f->e), 0);
    assert_int_equal(entries(f, "tmp"), 2);
    assert_int_equal(try_open(f->store, &f->e), 0);
    assert_true(fs_exists(mine)); /* of a living process */
    assert_false(fs_exists(dead));
    assert_false(fs_exists(lock));
    store_close(f->s);
    f->s = NULL;
    assert_int_equal(entries(f, "tmp"), 0);
    free(mine);
    free(dead);
    free(lock);
}

/* A scratch folder is used again, and never with anything in it. */
static void test_scratch(void **state)
{
    struct fixture *f = *state;
    char *a = NULL, *b = NULL, *c = NULL, *left, first[4096];
    assert_int_equal(store_tmp_dir(f->s, &a, &f->e), 0);
    assert_int_equal(store_tmp_dir(f->s, &b, &f->e), 0);
    assert_string_not_equal(a, b);
    snprintf(first, sizeof first, "%s", a);
    store_tmp_done(f->s, a);
    assert_int_equal(store_tmp_dir(f->s, &c, &f->e), 0);
    assert_string_equal(c, first);
    left = fs_join(c, "left");
    assert_int_equal(fs_write(left, "x", 1, &f->e), 0);
    store_tmp_done(f->s, c);
    assert_false(fs_exists(left));
    assert_int_equal(store_tmp_dir(f->s, &c, &f->e), 0);
    assert_true(fs_is_dir(c));
    assert_false(fs_exists(left));
    store_tmp_done(f->s, c);
    store_tmp_done(f->s, b);
    free(left);
}

static void test_checkpoints(void **state)
{
    struct fixture *f = *state;
    struct digest key = {{1}};
    char *a = NULL, *b = NULL;
    assert_int_equal(store_checkpoint_dir(f->s, &key, &a, &f->e), 0);
    assert_true(fs_is_dir(a));
    reopen(f);
    assert_int_equal(store_checkpoint_dir(f->s, &key, &b, &f->e), 0);
    assert_string_equal(a, b);
    assert_int_equal(store_drop_checkpoint(f->s, &key, &f->e), 0);
    assert_false(fs_exists(a));
    free(a);
    free(b);
}

/* Fills a small file system; everything stored before stays good. */
static void test_full_disk(void **state)
{
    struct fixture *f = *state;
    char *disk = fs_join(f->dir, "disk"), *dir = fs_join(f->dir, "disk/store");
    mkdir(disk, 0777);
    if (mount("none", disk, "tmpfs", 0, "size=1m") < 0) {
        print_message("no small file system can be mounted here: full disk not tested\n");
        free(disk);
        free(dir);
        skip();
    }
    char *keep = f->store;
    store_close(f->s);
    f->s = NULL;
    f->store = dir;
    reopen(f);
    struct record *r = make_record(f, "before");
    assert_int_equal(store_put_record(f->s, r, &f->e), 0);
    char *big = malloc(1 << 20);
    memset(big, 'x', 1 << 20);
    int rc = 0;
    for (int i = 0; rc == 0 && i < 100; i++) {
        char *tmp = NULL;
        struct digest d;
        uint64_t bytes;
        rc = store_tmp_dir(f->s, &tmp, &f->e);
        char *path = rc == 0 ? fs_join(tmp, "x") : NULL;
        big[0] = (char)i;
        if (rc == 0)
            rc = fs_write_atomic(path, big, 100000, &f->e);
        if (rc == 0)
            rc = store_put_file(f->s, path, NULL, &d, &bytes, &f->e);
        free(path);
        free(tmp);
    }
    assert_int_equal(rc, ERR_NOSPACE);
    for (int i = 0; rc == ERR_NOSPACE && i < 3; i++) {
        char salt[8] = {'a', (char)('a' + i), 0};
        struct record again = *r;
        sha_bytes(salt, 2, &again.key);
        rc = store_put_record(f->s, &again, &f->e);
    }
    assert_true(rc == 0 || rc == ERR_NOSPACE);
    assert_true(recorded(f, &r->key));
    store_close(f->s);
    f->s = NULL;
    reopen(f);
    assert_true(recorded(f, &r->key));
    store_close(f->s);
    f->s = NULL;
    free(big);
    record_free(r);
    umount(disk);
    free(disk);
    free(dir);
    f->store = keep;
    reopen(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_newer), TEST(test_foreign), TEST(test_unwritable), TEST(test_damaged_index),
                                       TEST(test_damaged_row), TEST(test_damaged_page), TEST(test_damaged_stat_row), TEST(test_sweep), TEST(test_scratch), TEST(test_checkpoints), TEST(test_full_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
