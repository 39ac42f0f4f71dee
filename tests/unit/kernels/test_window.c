/* SPDX-License-Identifier: MIT
 *
 * window: the fast search against every window tried by hand, over odd shapes, ties, one row, one column, the whole
 * matrix, F32 and BF16; the reference arithmetic against a plain transcription with full tables; margins and runs.
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
#include "runtime/exec/par.h"
#include "runtime/kernels/window.h"

/* kind 0: small integers, many ties; 1: heavy tails; 2: constant; 3: zero */
static float *scores(size_t rows, size_t ld, int kind, uint64_t seed)
{
    float *x = malloc(rows * ld * sizeof *x);
    for (size_t i = 0; i < rows * ld; i++) {
        double n = rng_normal(seed, 1, i);
        x[i] = kind == 0   ? (float)rng_below(seed, 2, i, 3)
               : kind == 1 ? (float)fabs(n * n * n)
               : kind == 2 ? 0.1f
                           : 0.0f;
    }
    return x;
}

static void compare(size_t rows, size_t cols, size_t h, size_t w, int kind)
{
    size_t ld = cols + rows % 3;
    float *x = scores(rows, ld, kind, rows * 7 + cols);
    uint16_t *b = malloc(rows * ld * sizeof *b);
    struct window_view s = {x, DT_F32, rows, cols, ld}, sb = {b, DT_BF16, rows, cols, ld};
    struct window fast, ref, half;
    struct err e = {0};
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(window_best(&s, h, w, &fast, &e), 0);
        assert_int_equal(window_best_ref(&s, h, w, &ref, &e), 0);
        if (fast.row != ref.row || fast.col != ref.col)
            fail_msg("%zu x %zu in %zu x %zu, kind %d: at %zu, %zu, not %zu, %zu", h, w, rows, cols, kind, fast.row,
                     fast.col, ref.row, ref.col);
        assert_true(fast.rows == h && fast.cols == w);
        assert_true(fabs(fast.sum - ref.sum) <= 1e-12 * ref.sum && fabs(fast.total - ref.total) <= 1e-12 * ref.total);
        assert_true(fabs(window_sum(&s, fast.row, fast.col, h, w) - ref.sum) <= 1e-12 * ref.sum);
        for (size_t i = 0; i < rows * ld; i++) {
            b[i] = bf16_from_f32(x[i]);
            x[i] = bf16_to_f32(b[i]);
        }
    }
    assert_int_equal(window_best(&sb, h, w, &half, &e), 0);
    assert_true(half.row == fast.row && half.col == fast.col && half.sum == fast.sum && half.total == fast.total);
    free(x);
    free(b);
}

static void shapes(void **state)
{
    (void)state;
    static const size_t v[][4] = {{1, 1, 1, 1},    {1, 9, 1, 4},      {9, 1, 4, 1},     {5, 7, 5, 7},
                                  {5, 7, 5, 3},    {5, 7, 2, 7},      {13, 11, 4, 5},   {40, 33, 17, 9},
                                  {150, 20, 3, 4}, {300, 13, 130, 5}, {300, 9, 200, 4}, {261, 6, 128, 3},
                                  {130, 5, 129, 2}};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        for (int kind = 0; kind < 4; kind++)
            compare(v[i][0], v[i][1], v[i][2], v[i][3], kind);
}

/* The published arithmetic, written out with whole tables (method.md 3). */
static void by_table(const float *x, size_t rows, size_t cols, size_t ld, bool turn, size_t h, size_t w, size_t *row,
                     size_t *col)
{
    size_t R = turn ? cols : rows, C = turn ? rows : cols, tc = C + 1;
    float *t = calloc((R + 1) * tc, sizeof *t), best = -INFINITY;
    for (size_t j = 0; j < C; j++) {
        double a = 0;
        for (size_t i = 0; i < R; i++)
            t[(i + 1) * tc + j + 1] = (float)(a += (double)(turn ? x[j * ld + i] : x[i * ld + j]));
    }
    for (size_t i = 1; i <= R; i++) {
        double a = 0;
        for (size_t j = 1; j <= C; j++)
            t[i * tc + j] = (float)(a += (double)t[i * tc + j]);
    }
    for (size_t i = h; i <= R; i++)
        for (size_t j = w; j <= C; j++) {
            float up = t[i * tc + j] - t[(i - h) * tc + j], left = up - t[i * tc + j - w],
                  v = left + t[(i - h) * tc + j - w];
            if (v > best) {
                best = v;
                *row = i - h;
                *col = j - w;
            }
        }
    free(t);
}

static void reference(void **state)
{
    (void)state;
    static const size_t v[][4] = {{1, 1, 1, 1},     {6, 9, 3, 4},     {40, 33, 17, 9},   {40, 33, 40, 9},
                                  {40, 33, 17, 33}, {40, 33, 40, 33}, {200, 90, 100, 31}};
    struct err e = {0};
    for (size_t k = 0; k < sizeof v / sizeof *v; k++)
        for (int kind = 0; kind < 3; kind++) {
            size_t rows = v[k][0], cols = v[k][1], h = v[k][2], w = v[k][3], row = 0, col = 0;
            float *x = scores(rows, cols + 1, kind, k);
            struct window_view s = {x, DT_F32, rows, cols, cols + 1};
            struct window out;
            assert_int_equal(window_reference(&s, false, h, w, &out, &e), 0);
            by_table(x, rows, cols, cols + 1, false, h, w, &row, &col);
            assert_true(out.row == row && out.col == col);
            assert_int_equal(window_reference(&s, true, w, rows, &out, &e), 0);
            by_table(x, rows, cols, cols + 1, true, w, rows, &row, &col);
            assert_true(out.row == row && out.col == col);
            assert_true(fabs(out.sum - window_sum(&s, 0, row, rows, w)) <= 1e-12 * out.sum);
            free(x);
        }
}

static void margins(void **state)
{
    (void)state;
    enum { ROWS = 300, COLS = 17 };
    float *x = scores(ROWS, COLS, 0, 1);
    struct window_view s = {x, DT_F32, ROWS, COLS, COLS};
    double by_row[ROWS] = {0}, by_col[COLS] = {0};
    struct err e = {0};
    assert_int_equal(window_margins(&s, 5, 280, 2, 13, by_row, by_col, &e), 0);
    for (int i = 0; i < ROWS; i++) {
        double d = 0;
        for (int j = 2; j < 15 && i >= 5 && i < 285; j++)
            d += (double)x[i * COLS + j];
        assert_true(by_row[i] == d);
    }
    for (int j = 0; j < COLS; j++) {
        double d = 0;
        for (int i = 5; i < 285 && j >= 2 && j < 15; i++)
            d += (double)x[i * COLS + j];
        assert_true(by_col[j] == d);
    }
    static const double run[] = {1, 5, 1, 5, 1, 2, 9, 0};
    assert_int_equal(window_run(run, 8, 1, 1), 6);
    assert_int_equal(window_run(run, 8, 2, 1), 5);
    assert_int_equal(window_run(run, 7, 3, 1), 4);
    assert_int_equal(window_run(run, 6, 3, 1), 1);
    assert_int_equal(window_run(run, 8, 2, 2), 6);
    assert_int_equal(window_run(run, 8, 8, 1), 0);
    free(x);
}

static void errors(void **state)
{
    (void)state;
    float x[6] = {1, 2, 3, 4, 5, 6};
    struct window_view s = {x, DT_F32, 2, 3, 3};
    struct window out;
    struct err e = {0};
    assert_int_equal(window_best(&s, 3, 1, &out, &e), ERR_INPUT);
    assert_int_equal(window_best(&s, 1, 0, &out, &e), ERR_INPUT);
    x[3] = INFINITY;
    assert_int_equal(window_best(&s, 1, 1, &out, &e), ERR_INPUT);
    assert_int_equal(window_reference(&s, false, 1, 1, &out, &e), ERR_INPUT);
    x[3] = NAN;
    assert_int_equal(window_best(&s, 1, 1, &out, &e), ERR_INPUT);
    s.t = DT_F16;
    assert_int_equal(window_best(&s, 1, 1, &out, &e), ERR_INPUT);
}

static void team(void **state)
{
    (void)state;
    float *x = scores(700, 300, 1, 3);
    struct window_view s = {x, DT_F32, 700, 300, 300};
    struct window a, b;
    struct err e = {0};
    par_set_threads(1);
    assert_int_equal(window_best(&s, 333, 111, &a, &e), 0);
    par_set_threads(4);
    assert_int_equal(window_best(&s, 333, 111, &b, &e), 0);
    par_set_threads(0);
    assert_true(a.row == b.row && a.col == b.col && a.sum == b.sum && a.total == b.total);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes), cmocka_unit_test(reference), cmocka_unit_test(margins),
        cmocka_unit_test(errors), cmocka_unit_test(team),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
