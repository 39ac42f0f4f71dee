/* SPDX-License-Identifier: MIT
 * quant: two blocks of every type against ggml's own Python package (weighted sums of gguf.quants.dequantize on the same bytes),
 * pieces of tensors, rows in llama's interleaved order, Q8_0 written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/formats/quant.h"

/* bytes (167 i + 41) / 2 mod 256; d (at) = 1 and 2, dmin (at min) = 0.5. sum: of (i + 1) y[i]; last: the last y. */
static const struct {
    const char *name;
    int at, min;
    double sum, last;
} cases[] = {
    {"Q4_0", 0, -1, 736, -2},         {"Q4_1", 0, 2, 30746, 24.5},      {"Q5_0", 0, -1, 1715, 2},
    {"Q5_1", 0, 2, 56381, 12.5},      {"Q8_0", 0, -1, 5144, -34},       {"Q2_K", 80, 82, 2443855, -2.5},
    {"Q3_K", 108, -1, 179561, -48},   {"Q4_K", 0, 2, 36793782, 350.5},  {"Q5_K", 0, 2, 105290758, 2447},
    {"Q6_K", 208, -1, 14944162, 768}, {"IQ4_NL", 0, -1, 18027, -20},
};

static void blocks(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const struct quant_type *q = quant_by_name(cases[k].name);
        uint8_t in[512];
        float y[512];
        assert_non_null(q);
        assert_ptr_equal(quant_by_id(q->id), q);
        for (size_t i = 0; i < 2 * q->bytes; i++)
            in[i] = (uint8_t)((i * 167 + 41) >> 1);
        for (size_t b = 0; b < 2; b++) {
            uint8_t *p = in + b * q->bytes;
            p[cases[k].at] = 0;
            p[cases[k].at + 1] = b ? 0x40 : 0x3c;
            if (cases[k].min >= 0) {
                p[cases[k].min] = 0;
                p[cases[k].min + 1] = 0x38;
            }
        }
        q->to_f32(y, in, 2);
        double sum = 0;
        for (size_t i = 0; i < 2 * q->block; i++)
            sum += (double)(i + 1) * (double)y[i];
        assert_true(sum == cases[k].sum);
        assert_true((double)y[2 * q->block - 1] == cases[k].last);
    }
    assert_null(quant_by_name("Q9"));
    assert_null(quant_by_id(4711));
    assert_null(quant_by_name("IQ2_XXS")->to_f32);
}

static void any_piece_of_a_tensor(void **state)
{
    (void)state;
    float x[96], whole[96], part[96];
    uint8_t stored[3 * 34];
    for (int i = 0; i < 96; i++)
        x[i] = (float)(i * 37 % 101) / 7 - 5;
    quant_q8_0(stored, x, 3);
    struct packing p = {quant_by_name("Q8_0"), stored, 0};
    struct tensor t = {.name = "t", .dtype = DT_BF16, .ndim = 2, .shape = {3, 32}, .n = 96, .bytes = 192, .packed = &p}, plain;
    assert_int_equal(tensor_to_f32(whole, &t, 0, 96), 0);
    for (int i = 0; i < 96; i++)
        assert_true(whole[i] - x[i] < 0.06f && x[i] - whole[i] < 0.06f);
    for (size_t first = 0; first < 96; first += 5)
        for (size_t n = 0; n <= 96 - first; n += 7) {
            assert_int_equal(tensor_to_f32(part, &t, first, n), 0);
            assert_memory_equal(part, whole + first, n * sizeof *part);
        }
    assert_int_equal(tensor_to_f32(part, &t, 90, 7), -1);
    struct err e;
    assert_int_equal(tensor_plain(&t, &plain, &e), 0);
    for (int i = 0; i < 96; i++)
        assert_int_equal(((const uint16_t *)plain.data)[i], bf16_from_f32(whole[i]));
    tensor_plain_release(&plain, &t);
}

/* One head of six rows: the file has them as pairs of the first and the second half. */
static void interleaved_rows(void **state)
{
    (void)state;
    const float stored[12] = {0, 1, 30, 31, 10, 11, 40, 41, 20, 21, 50, 51}, want[12] = {0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51};
    struct packing p = {quant_of(DT_F32), (const uint8_t *)stored, 1};
    struct tensor t = {.name = "q", .dtype = DT_F32, .ndim = 2, .shape = {6, 2}, .n = 12, .bytes = 48, .packed = &p};
    float y[12];
    assert_int_equal(tensor_to_f32(y, &t, 0, 12), 0);
    assert_memory_equal(y, want, sizeof y);
    assert_int_equal(tensor_to_f32(y, &t, 3, 6), 0);
    assert_memory_equal(y, want + 3, 6 * sizeof *y);
}

static void q8_0_of_odd_values(void **state)
{
    (void)state;
    float x[32] = {127, -127, 0.5f, -0.5f, 1.4f, 0};
    uint8_t out[34];
    quant_q8_0(out, x, 1);
    assert_int_equal(out[1] << 8 | out[0], 0x3c00);
    assert_int_equal((int8_t)out[2], 127);
    assert_int_equal((int8_t)out[3], -127);
    assert_int_equal((int8_t)out[4], 1); /* halves away from zero */
    assert_int_equal((int8_t)out[5], -1);
    memset(x, 0, sizeof x);
    quant_q8_0(out, x, 1);
    for (int i = 0; i < 34; i++)
        assert_int_equal(out[i], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks),
        cmocka_unit_test(any_piece_of_a_tensor),
        cmocka_unit_test(interleaved_rows),
        cmocka_unit_test(q8_0_of_odd_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
