/* SPDX-License-Identifier: MIT
 *
 * Digests of the user's files: the definition, whatever the team; what is told; cancellation and errors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/buf.h"
#include "runtime/exec/par.h"
#include "runtime/exec/sha_pieces.h"

enum { LARGEST = 2 * SHA_PIECE + 12345 };

/* As the header says it. */
static void by_definition(const uint8_t *x, size_t n, struct digest *out)
{
    struct buf text = {0};
    struct digest d;
    char hex[DIGEST_HEX];
    if (n <= SHA_PIECE) {
        sha_bytes(x, n, out);
        return;
    }
    buf_puts(&text, "pkgraph pieces 67108864\n");
    for (size_t at = 0; at < n; at += SHA_PIECE) {
        sha_bytes(x + at, n - at < SHA_PIECE ? n - at : SHA_PIECE, &d);
        digest_hex(&d, hex);
        buf_printf(&text, "%s\n", hex);
    }
    sha_bytes(text.p, text.n, out);
    buf_release(&text);
}

struct telling {
    double last, most;
    bool falls;
};

static void update(void *u, double done, double total, const char *unit)
{
    struct telling *t = u;
    t->falls |= done < t->last || total != LARGEST || strcmp(unit, "bytes") != 0;
    t->last = done;
}

static bool cancelled(void *u)
{
    const struct telling *t = u;
    return t->most > 0 && t->last >= t->most;
}

static void pieces(void **state)
{
    static const size_t sizes[] = {LARGEST, 2 * SHA_PIECE, SHA_PIECE + 1, SHA_PIECE, 3, 0}; /* descending: the file is cut */
    char path[] = "/tmp/pkgtest-XXXXXX";
    struct digest want, d;
    struct err e;
    uint8_t *x = calloc(LARGEST, 1);
    int fd = mkstemp(path);
    (void)state;
    assert_non_null(x);
    assert_true(fd >= 0);
    for (size_t i = 0; i < LARGEST; i += 4093)
        x[i] = (uint8_t)(i * 2654435761u >> 17);
    for (size_t at = 0; at < LARGEST;) {
        ssize_t n = pwrite(fd, x + at, LARGEST - at, (off_t)at);
        assert_true(n > 0);
        at += (size_t)n;
    }
    struct telling t = {.most = 0};
    struct progress p = {.u = &t, .update = update, .cancelled = cancelled};
    assert_int_equal(sha_pieces_file(path, &p, &d, &e), 0);
    assert_false(t.falls);
    assert_int_equal(t.last, LARGEST);
    t = (struct telling){.most = SHA_PIECE / 2};
    assert_int_equal(sha_pieces_file(path, &p, &d, &e), ERR_CANCELLED);
    assert_true(t.last < SHA_PIECE);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(ftruncate(fd, (off_t)sizes[i]), 0);
        by_definition(x, sizes[i], &want);
        for (int team = 1; team <= (i == 0 ? 3 : 1); team += 2) {
            par_set_threads(team);
            assert_int_equal(sha_pieces_file(path, NULL, &d, &e), 0);
            assert_int_equal(digest_cmp(&d, &want), 0);
        }
    }
    assert_int_equal(sha_pieces_file("/", NULL, &d, &e), ERR_IO);
    unlink(path);
    assert_int_equal(sha_pieces_file(path, NULL, &d, &e), ERR_NOTFOUND);
    close(fd);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
