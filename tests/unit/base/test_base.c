/* SPDX-License-Identifier: MIT
 * base: number types, random numbers, digests, files, memory. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/arena.h"
#include "runtime/base/dtype.h"
#include "runtime/base/fs.h"
#include "runtime/base/rng.h"
#include "runtime/base/sha.h"

static void half_types_round_trip(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = f16_to_f32((uint16_t)h), b = bf16_to_f32((uint16_t)h);
        if (!isnan(f))
            assert_int_equal(f16_from_f32(f), h);
        if (!isnan(b))
            assert_int_equal(bf16_from_f32(b), h);
        else
            assert_true(isnan(bf16_to_f32(bf16_from_f32(b))));
    }
}

/* The nearest of both neighbours, ties to even, against arithmetic in double. */
static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 200000; i++) {
        float x = (float)((rng_uniform(1, 2, i) - 0.5) * pow(2, (double)rng_below(1, 3, i, 30) - 20));
        uint16_t h = f16_from_f32(x);
        if (fabsf(x) >= 65504 || (h & 0x7fff) == 0)
            continue;
        double mid = fabs((double)f16_to_f32(h) - x);
        double up = fabs((double)f16_to_f32((uint16_t)(h + 1)) - x), down = fabs((double)f16_to_f32((uint16_t)(h - 1)) - x);
        assert_true(mid <= up && mid <= down);
        assert_true((mid < up && mid < down) || (h & 1) == 0);
    }
    assert_int_equal(f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(f16_from_f32(65519.0f), 0x7bff);
    assert_int_equal(f16_from_f32(0x1p-25f), 0);
    assert_int_equal(f16_from_f32(0x1.8p-25f), 1);
    assert_int_equal(bf16_from_f32(1.00390625f), 0x3f80);  /* tie to even */
    assert_int_equal(bf16_from_f32(1.01171875f), 0x3f82);
}

static void random_numbers(void **state)
{
    (void)state;
    assert_true(rng_splitmix(0) == 0xe220a8397b1dcdafu);
    uint32_t o[4];
    rng_philox(0, 0, 0, o); /* known answer of Philox4x32-10 */
    assert_int_equal(o[0], 0x6627e8d5);
    assert_int_equal(o[3], 0x9b00dbd8);
    double sum = 0, sq = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        double x = rng_normal(7, 1, i);
        sum += x;
        sq += x * x;
    }
    assert_true(fabs(sum / 1e5) < 0.02 && fabs(sq / 1e5 - 1) < 0.02);
    assert_true(rng_stream(0, "a") != rng_stream(0, "b") && rng_stream(0, "a") != rng_stream(1, "a"));
    uint32_t p[5] = {0, 1, 2, 3, 4}, seen = 0;
    rng_shuffle(p, 5, 3, 0);
    for (int i = 0; i < 5; i++)
        seen |= 1u << p[i];
    assert_int_equal(seen, 31);
}

static void digests(void **state)
{
    (void)state;
    struct digest d, q;
    char hex[DIGEST_HEX];
    sha_bytes("abc", 3, &d);
    digest_hex(&d, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(digest_parse(hex, &q), 0);
    assert_int_equal(digest_cmp(&d, &q), 0);
    hex[10] = 'g';
    assert_int_equal(digest_parse(hex, &q), -1);
    assert_int_equal(digest_parse("ab", &q), -1);
}

static void files(void **state)
{
    (void)state;
    char dir[] = "/tmp/pkgraph-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct err e = {0};
    char *sub = fs_join(dir, "a/b/c"), *file = fs_join(sub, "x"), *copy = fs_join(dir, "copy");
    assert_int_equal(fs_mkdirs(sub, &e), 0);
    assert_int_equal(fs_write_atomic(file, "hello", 5, &e), 0);
    assert_int_equal(fs_copy(file, copy, &e), 0);
    struct buf b = {0};
    assert_int_equal(fs_read(copy, 100, &b, &e), 0);
    assert_string_equal(b.p, "hello");
    buf_release(&b);
    assert_int_equal(fs_read(copy, 4, &b, &e), ERR_INPUT);
    buf_release(&b);
    assert_int_equal(fs_read(sub, 100, &b, &e), ERR_INPUT);
    buf_release(&b);
    assert_int_equal(fs_read("/nowhere/at/all", 100, &b, &e), ERR_NOTFOUND);
    char **names;
    size_t n;
    assert_int_equal(fs_list(dir, &names, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_string_equal(names[0], "a");
    fs_list_free(names, n);
    assert_int_equal(fs_remove_tree(dir, &e), 0);
    assert_false(fs_exists(dir));
    assert_int_equal(fs_remove_tree(dir, &e), 0);
    assert_int_equal(fs_mkdirs("/dev/null/x", &e), ERR_IO);
    free(sub);
    free(file);
    free(copy);
}

static void memory(void **state)
{
    (void)state;
    struct arena a = {0};
    for (size_t i = 1; i < 2000; i++) {
        char *p = arena_alloc(&a, i * 7);
        assert_true(((uintptr_t)p & 15) == 0 && p[0] == 0 && p[i * 7 - 1] == 0);
        memset(p, 1, i * 7);
    }
    assert_null(arena_array(&a, SIZE_MAX / 2, 4));
    assert_string_equal(arena_printf(&a, "%d-%s", 3, "x"), "3-x");
    arena_release(&a);
    for (size_t n = 1; n < (size_t)8 << 20; n = n * 3 + 1) {
        char *p = big_alloc(n);
        assert_true(((uintptr_t)p & 63) == 0 && p[n - 1] == 0);
        p[n - 1] = 1;
        big_free(p, n);
    }
    struct buf b = {0};
    buf_printf(&b, "%s", "x");
    assert_false(buf_reserve(&b, BUF_MAX));
    assert_true(b.failed);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_types_round_trip), cmocka_unit_test(halves_round_to_nearest_even), cmocka_unit_test(random_numbers),
        cmocka_unit_test(digests),               cmocka_unit_test(files),                        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
