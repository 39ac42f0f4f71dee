/* SPDX-License-Identifier: MIT
 *
 * guard: a file that shrinks while it is mapped is an error at the next check, for one thread and for several, and not
 * the end of the process, cut at a page or within one; a replaced file is none; unmapping forgets it but for the work that it
 * belonged to; a whole file of many pages takes one mapping, not one a page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/base/guard.h"

enum { MANY = 70000 }; /* pages: more than a process may have mappings (65530) */

static char path[] = "/tmp/pkgraph-guard-XXXXXX";

static void sized(long pages)
{
    assert_int_equal(truncate(path, pages * sysconf(_SC_PAGESIZE)), 0);
}

static uint64_t sum_of(const struct fs_map *m)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->n; i += 512)
        sum += ((const volatile uint8_t *)m->p)[i];
    return sum;
}

static void shrinks(void **state)
{
    (void)state;
    struct fs_map m, other;
    struct err e;
    sized(4);
    assert_int_equal(fs_map(path, &m, &e), 0);
    assert_int_equal(fs_map(path, &other, &e), 0);
    assert_int_equal(sum_of(&m), 0);
    assert_int_equal(guard_check(&e), 0);
    sized(1);
    assert_int_equal(sum_of(&m), 0);
    assert_int_equal(guard_check(&e), ERR_IO);
    assert_non_null(strstr(e.msg, path));
    assert_non_null(strstr(e.msg, "cut short"));
    fs_unmap(&m);
    assert_int_equal(guard_check(&e), ERR_IO); /* what was read of it may still be in use */
    sized(4);
    guard_begin();
    assert_int_equal(guard_check(&e), 0); /* the other mapping has met no end */
    fs_unmap(&other);
}

/* Less than a page: nothing faults, the rest of the page reads as zeros. */
static void within_a_page(void **state)
{
    (void)state;
    struct fs_map m;
    struct err e;
    guard_begin();
    sized(2);
    assert_int_equal(fs_map(path, &m, &e), 0);
    assert_int_equal(truncate(path, (off_t)m.n - 1), 0);
    assert_int_equal(sum_of(&m), 0);
    assert_int_equal(guard_check(&e), ERR_IO);
    fs_unmap(&m);
}

/* A file that was replaced is another file: the mapping keeps the old one. */
static void replaced(void **state)
{
    (void)state;
    struct fs_map m;
    struct err e;
    guard_begin();
    sized(2);
    assert_int_equal(fs_map(path, &m, &e), 0);
    assert_int_equal(fs_write_atomic(path, "x", 1, &e), 0);
    assert_int_equal(sum_of(&m), 0);
    assert_int_equal(guard_check(&e), 0);
    fs_unmap(&m);
}

static void *other_work(void *u)
{
    struct err e;
    (void)u;
    guard_begin();
    return guard_end(&e) ? u : NULL;
}

/* A piece of work fails by what it lost, also when that is unmapped; the next one and those of other threads do not. */
static void work(void **state)
{
    (void)state;
    struct fs_map m;
    struct err e;
    pthread_t t;
    void *failed;
    for (int unmapped = 0; unmapped < 2; unmapped++) {
        sized(4);
        guard_begin();
        assert_int_equal(guard_end(&e), 0);
        assert_int_equal(fs_map(path, &m, &e), 0);
        sized(1);
        sum_of(&m);
        if (unmapped)
            fs_unmap(&m);
        assert_int_equal(pthread_create(&t, NULL, other_work, &m), 0);
        pthread_join(t, &failed);
        assert_null(failed);
        assert_int_equal(guard_end(&e), ERR_IO);
        assert_non_null(strstr(e.msg, path));
        if (!unmapped)
            fs_unmap(&m);
        guard_begin();
        assert_int_equal(guard_end(&e), 0);
    }
}

static void *touch(void *m)
{
    sum_of(m);
    return NULL;
}

static void threads(void **state)
{
    (void)state;
    struct fs_map m;
    struct err e;
    pthread_t t[4];
    guard_begin();
    sized(MANY);
    assert_int_equal(fs_map(path, &m, &e), 0);
    sized(1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, touch, &m), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(guard_check(&e), ERR_IO);
    fs_unmap(&m);
    guard_begin();
    sized(3);
    assert_int_equal(fs_map(path, &m, &e), 0); /* back again: the same place, unblemished */
    assert_int_equal(guard_check(&e), 0);
    fs_unmap(&m);
}

/* Bytes from the end backwards: each page is a fault of its own. */
static void backwards(void **state)
{
    (void)state;
    struct fs_map m;
    struct err e;
    guard_begin();
    sized(200);
    assert_int_equal(fs_map(path, &m, &e), 0);
    sized(0);
    for (size_t i = m.n; i-- > 0;)
        assert_int_equal(((const volatile uint8_t *)m.p)[i], 0);
    assert_int_equal(guard_check(&e), ERR_IO);
    fs_unmap(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shrinks), cmocka_unit_test(within_a_page), cmocka_unit_test(replaced),
                                       cmocka_unit_test(work),    cmocka_unit_test(threads),       cmocka_unit_test(backwards)};
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
