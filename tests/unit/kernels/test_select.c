/* SPDX-License-Identifier: MIT
 *
 * select: the k largest with ties to the lower index, by sorting and by histogram, against a plain double loop.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "runtime/kernels/select.h"

/* Is element i among the k largest, ties to the lower index? */
static bool wanted(const double *v, size_t n, size_t i, size_t k)
{
    size_t before = 0;
    for (size_t j = 0; j < n; j++)
        before += v[j] > v[i] || (v[j] == v[i] && j < i);
    return before < k;
}

static void top(void **state)
{
    (void)state;
    struct err e = {0};
    for (size_t n = 1; n < 40; n += 3)
        for (size_t k = 0; k <= n; k += 1 + n / 5) {
            double v[40];
            size_t out[40], at = 0;
            for (size_t i = 0; i < n; i++)
                v[i] = (double)rng_below(n, 1, i, 6); /* many ties */
            assert_int_equal(select_top(v, n, k, false, out, &e), 0);
            for (size_t i = 0; i < n; i++)
                if (wanted(v, n, i, k))
                    assert_int_equal(out[at++], i);
            assert_int_equal(at, k);
            for (size_t i = 0; i < n; i++)
                v[i] = -v[i];
            size_t low[40];
            assert_int_equal(select_top(v, n, k, true, low, &e), 0);
            assert_memory_equal(low, out, k * sizeof *out);
        }
    double bad[2] = {1, NAN};
    size_t out[2];
    assert_int_equal(select_top(bad, 2, 1, false, out, &e), ERR_INPUT);
    assert_int_equal(select_top(bad, 1, 2, false, out, &e), ERR_INPUT);
}

static void cut(void **state)
{
    (void)state;
    enum { ROWS = 7, COLS = 11, LD = 13, N = ROWS * COLS };
    for (int kind = 0; kind < 3; kind++)
        for (size_t k = 1; k <= N; k++) {
            float x[ROWS * LD];
            uint16_t h[ROWS * LD];
            double v[N];
            for (size_t i = 0; i < ROWS * LD; i++) {
                x[i] = kind == 0 ? (float)rng_below(3, 1, i, 5) : kind == 1 ? (float)rng_normal(4, 1, i) : 0.0f;
                h[i] = bf16_from_f32(x[i]);
                x[i] = bf16_to_f32(h[i]);
            }
            for (size_t i = 0; i < N; i++)
                v[i] = x[i / COLS * LD + i % COLS];
            struct err e = {0};
            struct select_cut c, d;
            assert_int_equal(select_cut(x, DT_F32, ROWS, COLS, LD, k, &c, &e), 0);
            assert_int_equal(select_cut(h, DT_BF16, ROWS, COLS, LD, k, &d, &e), 0);
            assert_true(c.key == d.key && c.ties == d.ties);
            for (size_t i = 0; i < N; i++)
                assert_int_equal(select_takes(&c, (float)v[i]), wanted(v, N, i, k));
        }
    float x[2] = {NAN, 1};
    struct err e = {0};
    struct select_cut c;
    assert_int_equal(select_cut(x, DT_F32, 1, 2, 2, 1, &c, &e), ERR_INPUT);
    assert_int_equal(select_cut(x, DT_F32, 1, 2, 2, 3, &c, &e), ERR_INPUT);
    assert_int_equal(select_cut(x, DT_F16, 1, 2, 2, 1, &c, &e), ERR_INPUT);
    assert_true(select_key(-0.0f) == select_key(0.0f) && select_key(-1.0f) < select_key(-0.5f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(top), cmocka_unit_test(cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
