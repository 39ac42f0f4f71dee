/* SPDX-License-Identifier: MIT
 *
 * Blobs and the stat cache: what is stored is what was written, damage is seen, the user's files are followed.
 */
#include "store_helper.h"

#include <fcntl.h>
#include <time.h>

static void test_put(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    struct digest d = put_text(f, "hello"), again = put_text(f, "hello"), is;
    char *path = blob_path(f, &d), hex[DIGEST_HEX];
    digest_hex(&d, hex);
    assert_string_equal(hex, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_int_equal(digest_cmp(&d, &again), 0);
    assert_int_equal(sha_file(path, &is, NULL, &f->e), 0);
    assert_int_equal(digest_cmp(&d, &is), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
    assert_true(store_has_blob(f->s, &d, 5));
    assert_false(store_has_blob(f->s, &d, 6));
    free(path);
}

/* The same blob as through a file; content that is there makes none; damage is healed. */
static void test_put_bytes(void **state)
{
    struct fixture *f = *state;
    struct stat st, again;
    struct digest d, empty, file = put_text(f, "hello");
    char *path = blob_path(f, &file);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(store_put_bytes(f->s, "hello", 5, &d, &f->e), 0);
    assert_int_equal(digest_cmp(&d, &file), 0);
    assert_int_equal(stat(path, &again), 0);
    assert_int_equal(st.st_ino, again.st_ino);
    assert_int_equal(store_put_bytes(f->s, NULL, 0, &empty, &f->e), 0);
    assert_true(store_has_blob(f->s, &empty, 0));
    unlink(path);
    assert_int_equal(store_put_bytes(f->s, "hello", 5, &d, &f->e), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
    assert_int_equal(sha_file(path, &d, NULL, &f->e), 0);
    assert_int_equal(digest_cmp(&d, &file), 0);
    free(path);
}

static void test_known_digest(void **state)
{
    struct fixture *f = *state;
    struct digest d;
    uint64_t bytes;
    char *path = write_file(f, "known", "written");
    sha_bytes("written", 7, &d);
    assert_int_equal(store_put_digested(f->s, path, &d, &bytes, &f->e), 0);
    assert_int_equal(bytes, 7);
    assert_false(fs_exists(path));
    assert_true(store_verify_blob(f->s, &d));
    free(path);
    path = write_file(f, "again", "written");
    assert_int_equal(store_put_digested(f->s, path, &d, &bytes, &f->e), 0);
    assert_false(fs_exists(path));
    free(path);
}

static void test_only_files_of_its_own(void **state)
{
    struct fixture *f = *state;
    struct digest d;
    uint64_t bytes;
    struct stat st;
    char *user = write_file(f, "user", "mine"), *link_path = fs_join(f->dir, "link");
    assert_int_equal(symlink(user, link_path), 0);
    assert_int_equal(store_put_file(f->s, link_path, NULL, &d, &bytes, &f->e), ERR_INTERNAL);
    unlink(link_path);
    assert_int_equal(link(user, link_path), 0); /* another name of the user's file */
    assert_int_equal(store_put_file(f->s, link_path, NULL, &d, &bytes, &f->e), 0);
    assert_false(fs_exists(link_path));
    assert_int_equal(fs_write_atomic(user, "else", 4, &f->e), 0);
    char *blob = blob_path(f, &d);
    struct buf b = {0};
    assert_int_equal(fs_read(blob, 100, &b, &f->e), 0);
    assert_string_equal(b.p, "mine");
    assert_int_equal(stat(user, &st), 0);
    assert_true(st.st_mode & 0200);
    buf_release(&b);
    free(blob);
    free(user);
    free(link_path);
}

static void test_damage(void **state)
{
    struct fixture *f = *state;
    struct digest d = put_text(f, "hello");
    char *path = blob_path(f, &d);
    assert_int_equal(fs_write_atomic(path, "hellO", 5, &f->e), 0);
    assert_false(store_has_blob(f->s, &d, 5));
    put_text(f, "hello"); /* putting it again heals it */
    assert_true(store_has_blob(f->s, &d, 5));
    struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0); /* a copied store: other times, same bytes */
    assert_true(store_has_blob(f->s, &d, 5));
    unlink(path);
    assert_false(store_has_blob(f->s, &d, 5));
    free(path);
}

static void test_user_files(void **state)
{
    struct fixture *f = *state;
    struct digest d, want;
    char *path = write_file(f, "data", "one"), *found = NULL;
    assert_int_equal(store_file_digest(f->s, path, true, NULL, &d, &f->e), ERR_NOTFOUND);
    assert_int_equal(store_file_digest(f->s, path, false, NULL, &d, &f->e), 0);
    sha_bytes("one", 3, &want);
    assert_int_equal(digest_cmp(&d, &want), 0);
    assert_int_equal(store_file_digest(f->s, path, true, NULL, &d, &f->e), 0);
    assert_int_equal(store_resolve(f->s, &want, &found, &f->e), 0);
    assert_string_equal(found, path);
    free(found);
    /* many writes of the same length one after the other: never an old digest */
    for (int i = 0; i < 50; i++) {
        char text[8];
        int n = snprintf(text, sizeof text, "%03d", i);
        FILE *w = fopen(path, "r+");
        assert_non_null(w);
        fwrite(text, 1, (size_t)n, w);
        fclose(w);
        assert_int_equal(store_file_digest(f->s, path, false, NULL, &d, &f->e), 0);
        struct digest is;
        sha_bytes(text, (size_t)n, &is);
        assert_int_equal(digest_cmp(&d, &is), 0);
    }
    assert_int_equal(store_resolve(f->s, &want, &found, &f->e), ERR_NOTFOUND);
    put_text(f, "one");
    assert_int_equal(store_resolve(f->s, &want, &found, &f->e), 0);
    free(found);
    assert_int_equal(store_file_digest(f->s, f->dir, false, NULL, &d, &f->e), ERR_INPUT);
    unlink(path);
    assert_int_equal(store_file_digest(f->s, path, false, NULL, &d, &f->e), ERR_INPUT);
    free(path);
}

static void test_moved_file(void **state)
{
    struct fixture *f = *state;
    struct digest d;
    char *a = write_file(f, "a", "text"), *b = fs_join(f->dir, "b"), *found = NULL;
    assert_int_equal(store_file_digest(f->s, a, false, NULL, &d, &f->e), 0);
    assert_int_equal(rename(a, b), 0);
    assert_int_equal(store_resolve(f->s, &d, &found, &f->e), ERR_NOTFOUND);
    assert_non_null(strstr(f->e.msg, a));
    assert_int_equal(store_file_digest(f->s, b, false, NULL, &d, &f->e), 0);
    assert_int_equal(store_resolve(f->s, &d, &found, &f->e), 0);
    assert_string_equal(found, b);
    free(found);
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_put), TEST(test_put_bytes), TEST(test_known_digest), TEST(test_only_files_of_its_own), TEST(test_damage), TEST(test_user_files),
                                       TEST(test_moved_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
