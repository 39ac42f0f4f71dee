/* SPDX-License-Identifier: MIT
 *
 * gemm against its plain twin over odd shapes, forms, types, strides; packed weights; one, two and three threads give the
 * same bytes; C outside of the (m, n) block is left alone.
 */
#include "helper.h"

#include "runtime/kernels/gemm.h"
#include "runtime/kernels/gemm_lib.h"

static const char *forms[] = {"NT", "NN", "TN"};

struct mats {
    size_t lda, ldb, ldc, na, nb, nc;
    float *fa, *fb, *c0;
    void *a, *b;
};

static struct mats make(enum gemm_form f, size_t m, size_t n, size_t k, enum dtype t, size_t pad)
{
    struct mats x = {.lda = (f == GEMM_TN ? m : k) + pad, .ldb = (f == GEMM_NT ? k : n) + pad, .ldc = n + pad};
    x.na = x.lda * (f == GEMM_TN ? k : m), x.nb = x.ldb * (f == GEMM_NT ? n : k), x.nc = x.ldc * m;
    x.fa = random_floats(x.na, 1), x.fb = random_floats(x.nb, 2), x.c0 = random_floats(x.nc, 3);
    x.a = typed_copy(x.fa, x.na, t), x.b = typed_copy(x.fb, x.nb, t);
    return x;
}

static void release(struct mats *x)
{
    free(x->fa), free(x->fb), free(x->c0), free(x->a), free(x->b);
}

static void check(enum gemm_form f, size_t m, size_t n, size_t k, enum dtype t, size_t pad, bool acc)
{
    struct err e = {0};
    struct mats x = make(f, m, n, k, t, pad);
    float *want = float_copy(x.c0, x.nc), *got[3];
    gemm_ref(f, m, n, k, t, x.a, x.lda, x.b, x.ldb, acc, want, x.ldc);
    for (int i = 0; i < 3; i++) {
        got[i] = float_copy(x.c0, x.nc);
        par_set_threads(i + 1);
        if (gemm(f, m, n, k, t, x.a, x.lda, x.b, x.ldb, acc, got[i], x.ldc, &e))
            fail_msg("%s %zu %zu %zu %s: %s", forms[f], m, n, k, dtype_name(t), e.msg);
        double d = distance(got[i], want, x.nc);
        if (!(d < 2e-6))
            fail_msg("%s %zu %zu %zu %s pad %zu acc %d: distance %g", forms[f], m, n, k, dtype_name(t), pad, acc, d);
        assert_same_bytes(got[i], got[0], x.nc * sizeof **got);
        for (size_t r = 0; r < m; r++)
            assert_memory_equal(got[i] + r * x.ldc + n, x.c0 + r * x.ldc + n, (x.ldc - n) * sizeof **got);
    }
    par_set_threads(0);
    float *s = float_copy(x.c0, x.nc);
    assert_int_equal(gemm_serial(f, m, n, k, t, x.a, x.lda, x.b, x.ldb, acc, s, x.ldc, &e), 0);
    assert_near(s, want, x.nc, 2e-6);
    free(s), free(want), free(got[0]), free(got[1]), free(got[2]);
    release(&x);
}

static const size_t shapes[][3] = {
    {1, 1, 1},    {1, 7, 3},     {3, 1, 17},    {5, 5, 1},     {2, 129, 33},  {17, 31, 64}, {1, 300, 130},
    {64, 64, 64}, {33, 257, 70}, {127, 129, 1}, {100, 40, 96}, {530, 30, 50}, {600, 1, 20}, {257, 260, 41}, {200, 70, 96}, {300, 520, 64}, {515, 300, 77}, {200, 140, 1100}, {193, 64, 2090},
};

static void all_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int f = 0; f < 3; f++)
            for (int t = DT_F32; t <= DT_BF16; t++)
                for (int v = 0; v < 4; v++)
                    check((enum gemm_form)f, shapes[i][0], shapes[i][1], shapes[i][2], (enum dtype)t, v & 1 ? 5 : 0, v & 2);
}

/* Large enough for what is only done to large products; odd strides, so that rows start anywhere. */
static void large(void **state)
{
    (void)state;
    check(GEMM_TN, 1030, 1100, 65, DT_BF16, 5, false);
    check(GEMM_NN, 1100, 1030, 64, DT_BF16, 3, true);
}

static void zero_sizes(void **state)
{
    (void)state;
    struct err e = {0};
    float c[6] = {1, 2, 3, 4, 5, 6}, x[6] = {0};
    assert_int_equal(gemm(GEMM_NT, 0, 3, 2, DT_F32, x, 2, x, 2, false, c, 3, &e), 0);
    assert_int_equal(gemm(GEMM_NT, 2, 0, 2, DT_F32, x, 2, x, 2, false, c, 3, &e), 0);
    assert_int_equal(gemm(GEMM_NT, 2, 2, 0, DT_F32, x, 1, x, 1, true, c, 3, &e), 0);
    assert_true(c[0] == 1 && c[5] == 6);
    assert_int_equal(gemm(GEMM_NT, 2, 2, 0, DT_F32, x, 1, x, 1, false, c, 3, &e), 0);
    assert_true(c[0] == 0 && c[1] == 0 && c[2] == 3 && c[3] == 0 && c[4] == 0 && c[5] == 6);
}

static void check_packed(size_t m, size_t n, size_t k, enum dtype t, size_t pad, bool acc)
{
    struct err e = {0};
    struct mats x = make(GEMM_NT, m, n, k, t, 0), wide = make(GEMM_NT, m, n, k, t, pad); /* wide: x and y with gaps */
    struct gemm_packed *w = NULL;
    if (gemm_pack(x.b, n, k, t, &w, &e))
        fail_msg("%s", e.msg);
    assert_true(gemm_packed_bytes(w) >= n * k * dtype_size(t));
    float *want = float_copy(wide.c0, wide.nc), *first = NULL;
    gemm_ref(GEMM_NT, m, n, k, t, wide.a, wide.lda, x.b, x.ldb, acc, want, wide.ldc);
    for (int i = 1; i <= 3; i++) {
        float *got = float_copy(wide.c0, wide.nc);
        par_set_threads(i);
        if (gemm_nt_packed(m, wide.a, wide.lda, w, acc, got, wide.ldc, &e))
            fail_msg("%zu %zu %zu: %s", m, n, k, e.msg);
        assert_near(got, want, wide.nc, 2e-6);
        if (first)
            assert_same_bytes(got, first, wide.nc * sizeof *got);
        free(first);
        first = got;
    }
    par_set_threads(0);
    free(first), free(want);
    gemm_packed_free(w);
    release(&x), release(&wide);
}

static void packed(void **state)
{
    (void)state;
    static const size_t ms[] = {1, 2, 8, 16, 33, 200, 700}, nk[][2] = {{128, 64}, {300, 96}, {50, 33}, {257, 130}, {1, 5}, {130, 1}, {130, 2060}};
    for (size_t i = 0; i < sizeof ms / sizeof *ms; i++)
        for (size_t j = 0; j < sizeof nk / sizeof *nk; j++)
            for (int t = DT_F32; t <= DT_BF16; t++)
                check_packed(ms[i], nk[j][0], nk[j][1], (enum dtype)t, j == 1 ? 3 : 0, i & 1);
    struct err e = {0};
    struct gemm_packed *w = NULL;
    float y[4] = {1, 2, 3, 4};
    assert_int_equal(gemm_pack(y, 2, 0, DT_F32, &w, &e), 0);
    assert_int_equal(gemm_nt_packed(2, y, 0, w, false, y, 2, &e), 0);
    assert_true(y[0] == 0 && y[3] == 0);
    gemm_packed_free(w);
    gemm_packed_free(NULL);
}

/* Many threads, few primitives: the shared cache under contention, inside items. */
static void item(void *u, size_t i)
{
    float *sums = u, a[64 * 40], c[64 * 40];
    struct err e = {0};
    size_t m = 30 + i % 34, n = 40, k = 40;
    for (size_t x = 0; x < 64 * 40; x++)
        a[x] = (float)((x * 7 + i) % 5);
    sums[i] = gemm_serial(GEMM_NT, m, n, k, DT_F32, a, k, a, k, false, c, n, &e) ? -1 : c[n * m - 1];
}

static void cache_is_shared(void **state)
{
    (void)state;
    float one[200], three[200];
    par_set_threads(1);
    par_for(200, item, one);
    par_set_threads(3);
    par_for(200, item, three);
    par_set_threads(0);
    assert_same_bytes(one, three, sizeof one);
    assert_true(one[0] >= 0);
}

static void version(void **state)
{
    (void)state;
    assert_non_null(strstr(gemm_version(), "oneDNN"));
    assert_int_equal(gemm_has_bf16(), lib_has_bf16());
    print_message("%s; bf16 in hardware: %s\n", gemm_version(), gemm_has_bf16() ? "yes" : "no");
}

/* An argument is a limit on the instruction set (oneDNN's names), so that other processors' paths can be tried here. */
int main(int argc, char **argv)
{
    if (argc > 1)
        setenv("ONEDNN_MAX_CPU_ISA", argv[1], 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version), cmocka_unit_test(zero_sizes),      cmocka_unit_test(all_shapes), cmocka_unit_test(large),
        cmocka_unit_test(packed),  cmocka_unit_test(cache_is_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
