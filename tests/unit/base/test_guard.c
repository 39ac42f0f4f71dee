/* SPDX-License-Identifier: MIT
 *
 * guard: a file that shrinks while it is mapped is an error at the next check, for one thread and for several, and not
 * the end of the process; unmapping forgets it; a whole file of many pages takes one mapping, not one a page.
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
    assert_int_equal(guard_check(&e), 0); /* nothing was touched yet */
    assert_int_equal(sum_of(&m), 0);
    assert_int_equal(guard_check(&e), ERR_IO);
    assert_non_null(strstr(e.msg, path));
    assert_non_null(strstr(e.msg, "cut short"));
    fs_unmap(&m);
    assert_int_equal(guard_check(&e), 0); /* the other mapping of the file is whole as far as it was read */
    fs_unmap(&other);
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
    sized(MANY);
    assert_int_equal(fs_map(path, &m, &e), 0);
    sized(1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, touch, &m), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(guard_check(&e), ERR_IO);
    fs_unmap(&m);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(shrinks), cmocka_unit_test(threads), cmocka_unit_test(backwards)};
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
