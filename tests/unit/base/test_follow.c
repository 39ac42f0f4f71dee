/* SPDX-License-Identifier: MIT
 *
 * The digest of a file that grows is that of the file; what cannot be read gives none; a follow that is given up ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/follow.h"

enum { SIZE = (5 << 20) + 77 };

static int temporary(void)
{
    char path[] = "/tmp/pkgraph-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && unlink(path) == 0);
    return fd;
}

static void follows(void **state)
{
    (void)state;
    char *p = malloc(SIZE);
    struct digest want, got;
    for (size_t i = 0; i < SIZE; i++)
        p[i] = (char)(i * 2654435761u >> 13);
    sha_bytes(p, SIZE, &want);
    const size_t steps[] = {1, 4096, 1 << 20, 3000000, SIZE};
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
        int fd = temporary();
        struct follow *f = follow_new(fd);
        assert_non_null(f);
        assert_int_equal(ftruncate(fd, SIZE), 0);
        for (size_t at = 0, n; at < SIZE && (k > 0 || at < 100); at += n) {
            n = SIZE - at < steps[k] ? SIZE - at : steps[k];
            assert_int_equal(pwrite(fd, p + at, n, (off_t)at), n);
            follow_to(f, at + n);
            follow_to(f, at / 2);
        }
        if (k == 0)
            assert_int_equal(pwrite(fd, p, SIZE, 0), SIZE);
        assert_true(follow_end(f, SIZE, &got));
        assert_int_equal(digest_cmp(&got, &want), 0);
        follow_free(f);
        close(fd);
    }
    free(p);
}

static void empty_file(void **state)
{
    (void)state;
    struct digest want, got;
    int fd = temporary();
    struct follow *f = follow_new(fd);
    sha_bytes("", 0, &want);
    assert_true(follow_end(f, 0, &got));
    assert_int_equal(digest_cmp(&got, &want), 0);
    follow_free(f);
    close(fd);
}

static void shorter_than_said(void **state)
{
    (void)state;
    struct digest got;
    int fd = temporary();
    struct follow *f = follow_new(fd);
    assert_int_equal(pwrite(fd, "abc", 3, 0), 3);
    assert_false(follow_end(f, 4, &got));
    follow_free(f);
    f = follow_new(fd);
    follow_to(f, 1 << 30); /* nor more than there turns out to be */
    assert_false(follow_end(f, 3, &got));
    follow_free(f);
    close(fd);
}

static void given_up(void **state)
{
    (void)state;
    int fd = temporary();
    assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
    struct follow *f = follow_new(fd);
    follow_to(f, (uint64_t)1 << 40);
    follow_free(f);
    f = follow_new(fd);
    follow_free(f);
    follow_free(NULL);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows),
        cmocka_unit_test(empty_file),
        cmocka_unit_test(shorter_than_said),
        cmocka_unit_test(given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
