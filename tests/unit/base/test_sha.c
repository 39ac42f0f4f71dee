/* SPDX-License-Identifier: MIT
 *
 * SHA-256 against the vectors of FIPS 180-4 and NIST's byte tests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/sha.h"

static void expect(const void *p, size_t n, const char *hex)
{
    struct digest d;
    char is[DIGEST_HEX];
    sha_bytes(p, n, &d);
    digest_hex(&d, is);
    assert_string_equal(is, hex);
}

static void vectors(void **state)
{
    (void)state;
    expect("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *a = malloc(1000000);
    memset(a, 'a', 1000000);
    expect(a, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(a);
}

/* Every length around the edges of the padding, in pieces of every size. */
static void pieces(void **state)
{
    (void)state;
    uint8_t x[400];
    for (size_t i = 0; i < sizeof x; i++)
        x[i] = (uint8_t)(i * 167 + 13);
    for (size_t n = 0; n <= 200; n++)
        for (size_t step = 1; step <= 130; step += step < 5 ? 1 : 31) {
            struct digest whole, parts;
            struct sha *s = sha_new();
            for (size_t at = 0; at < n; at += step)
                sha_add(s, x + at, step < n - at ? step : n - at);
            sha_end(s, &parts);
            sha_bytes(x, n, &whole);
            assert_int_equal(digest_cmp(&whole, &parts), 0);
        }
}

/* A file that is read ahead, to its end, up to a cancellation, and one that is none. */
static bool some(void *u, uint64_t done)
{
    *(uint64_t *)u = done;
    return done < (uint64_t)20 << 20;
}

static void files(void **state)
{
    (void)state;
    enum { MIB = 1 << 20, N = 40 * MIB + 12345 };
    char path[] = "/tmp/pkgtest-XXXXXX";
    struct digest whole, d;
    struct err e;
    uint64_t n = 0;
    uint8_t *x = malloc(N);
    for (size_t i = 0; i < N; i++)
        x[i] = (uint8_t)(i * 2654435761u >> 17);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t size = 0; size <= N; size = size < 3 ? size + 1 : size < MIB ? MIB : size < N ? N : N + 1) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, x, size, 0), (ssize_t)size);
        sha_bytes(x, size, &whole);
        assert_int_equal(sha_file(path, &d, &n, &e), 0);
        assert_int_equal(n, size);
        assert_int_equal(digest_cmp(&whole, &d), 0);
    }
    assert_int_equal(sha_file_told(path, &d, &n, some, &n, &e), ERR_CANCELLED);
    assert_true(n >= (uint64_t)20 << 20 && n < N);
    assert_int_equal(sha_file("/", &d, &n, &e), ERR_IO);
    unlink(path);
    assert_int_equal(sha_file(path, &d, &n, &e), ERR_NOTFOUND);
    close(fd);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors), cmocka_unit_test(pieces), cmocka_unit_test(files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
