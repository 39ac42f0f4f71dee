/* SPDX-License-Identifier: MIT
 *
 * turns: parts of a file from several threads at once arrive whole, whoever writes them; an error reaches somebody.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/turns.h"

enum { THREADS = 4, PARTS = 40, LONGEST = 300000 };

static struct turns *turns;
static _Atomic int failures;

static unsigned char byte_at(size_t at)
{
    return (unsigned char)(at * 2654435761u >> 13);
}

/* Parts t, t + THREADS, ...: each of LONGEST bytes at most, some tiny. */
static void *write_parts(void *u)
{
    size_t t = (size_t)u;
    unsigned char *p = malloc(LONGEST);
    for (size_t i = t; i < THREADS * PARTS; i += THREADS) {
        struct err e;
        for (size_t k = 0; k < LONGEST; k++)
            p[k] = byte_at(i * LONGEST + k);
        size_t cut = i % 3 ? 17 : LONGEST / 2;
        failures += turns_write(turns, i * LONGEST, p, cut, &e) != 0;
        failures += turns_write(turns, i * LONGEST + cut, p + cut, LONGEST - cut, &e) != 0;
    }
    free(p);
    return NULL;
}

static void run_threads(int fd)
{
    struct err e;
    pthread_t id[THREADS];
    failures = 0;
    assert_int_equal(turns_new(fd, "the file", &turns, &e), 0);
    for (size_t t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&id[t], NULL, write_parts, (void *)t), 0);
    for (size_t t = 0; t < THREADS; t++)
        pthread_join(id[t], NULL);
    turns_free(turns);
}

static void whole(void **state)
{
    (void)state;
    char path[] = "turns.XXXXXX";
    int fd = mkstemp(path);
    size_t n = (size_t)THREADS * PARTS * LONGEST;
    unsigned char *p = malloc(n);
    run_threads(fd);
    assert_int_equal(failures, 0);
    assert_int_equal(pread(fd, p, n, 0), n);
    for (size_t i = 0; i < n; i++)
        if (p[i] != byte_at(i))
            fail_msg("byte %zu", i);
    free(p);
    close(fd);
    unlink(path);
}

static void refused(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_RDONLY);
    run_threads(fd);
    assert_true(failures > 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
