/* SPDX-License-Identifier: MIT
 *
 * thin: against the plain reference over odd shapes, parts with bias and accumulation; the bytes of an f32 row are the same
 * alone and among others, on one thread and on three.
 */
#include "helper.h"

#include "runtime/kernels/thin.h"

static const size_t shapes[][4] = {/* m, k, n of two parts */
    {1, 1, 1, 3},     {1, 64, 8, 200},    {2, 20, 7, 37},   {3, 96, 129, 5},   {5, 33, 300, 4},     {8, 64, 256, 31},
    {15, 576, 33, 9}, {16, 32, 32, 64}, {17, 128, 65, 130}, {33, 160, 40, 1}, {THIN_ROWS, 64, 100, 257},
};

static void check(const size_t *s, enum dtype t, double tolerance)
{
    size_t m = s[0], k = s[1], n[2] = {s[2], s[3]};
    struct err e;
    float *xf = random_floats(m * k, 1), *bias = random_floats(n[0], 2);
    void *x = typed_copy(xf, m * k, t);
    struct thin_part parts[2] = {{0}}, want[2];
    for (int i = 0; i < 2; i++) {
        float *w = random_floats(n[i] * k, 3 + (uint32_t)i);
        parts[i] = (struct thin_part){.w = typed_copy(w, n[i] * k, t), .n = n[i], .bias = i ? NULL : bias, .accumulate = i == 1,
                                      .y = random_floats(m * n[i], 5)};
        want[i] = parts[i];
        want[i].y = float_copy(parts[i].y, m * n[i]);
        free(w);
    }
    float *again[2] = {float_copy(parts[0].y, m * n[0]), float_copy(parts[1].y, m * n[1])};
    thin_nt_ref(m, k, t, x, want, 2);
    par_set_threads(1);
    assert_int_equal(thin_nt(m, k, t, x, parts, 2, &e), 0);
    for (int i = 0; i < 2; i++)
        assert_near(parts[i].y, want[i].y, m * n[i], tolerance);
    par_set_threads(3);
    struct thin_part more[2] = {parts[0], parts[1]};
    more[0].y = again[0];
    more[1].y = again[1];
    assert_int_equal(thin_nt(m, k, t, x, more, 2, &e), 0);
    for (int i = 0; i < 2; i++)
        assert_same_bytes(again[i], parts[i].y, m * n[i] * sizeof(float));
    for (size_t row = 0; t == DT_F32 && row < m; row++) { /* alone */
        struct thin_part one = parts[0];
        one.y = again[0];
        assert_int_equal(thin_nt(1, k, t, (const float *)x + row * k, &one, 1, &e), 0);
        assert_same_bytes(again[0], parts[0].y + row * n[0], n[0] * sizeof(float));
    }
    par_set_threads(0);
    for (int i = 0; i < 2; i++) {
        free((void *)(uintptr_t)parts[i].w);
        free(parts[i].y);
        free(want[i].y);
        free(again[i]);
    }
    free(x);
    free(xf);
    free(bias);
}

static void f32(void **state)
{
    (void)state;
    if (!thin_has(DT_F32)) {
        print_message("no AVX-512: thin products are gemm's here\n");
        skip();
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check(shapes[i], DT_F32, 1e-6);
}

static void bf16(void **state)
{
    (void)state;
    if (!thin_has(DT_BF16)) {
        print_message("no AVX-512 BF16: thin products are gemm's here\n");
        skip();
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check(shapes[i], DT_BF16, 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(f32), cmocka_unit_test(bf16)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
