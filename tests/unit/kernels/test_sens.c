/* SPDX-License-Identifier: MIT
 *
 * sens against its plain twin: types of weight and of activations, strides, empty sequences, a first row that is not 0.
 */
#include "helper.h"

#include "runtime/kernels/sens.h"

struct shape {
    size_t rows, in;
    int n_seqs;
    int32_t cu[6];
};

static const struct shape shapes[] = {
    {1, 1, 1, {0, 1}},
    {7, 5, 3, {0, 2, 2, 9}},
    {130, 70, 2, {0, 33, 64}},
    {257, 515, 4, {3, 20, 36, 101, 102}},
    {64, 1030, 5, {0, 160, 170, 170, 333, 340}},
    {33, 90, 0, {0}},
};

static void check(const struct shape *s, enum dtype wt, enum dtype t, size_t pad)
{
    struct err e = {0};
    size_t n = (size_t)s->cu[s->n_seqs], ldy = s->rows + pad, ldx = s->in + pad, ldw = s->in + pad, lds = s->in + pad;
    float *fw = random_floats(s->rows * ldw, 1), *fy = random_floats(n * ldy, 2), *fx = random_floats(n * ldx, 3);
    void *w = typed_copy(fw, s->rows * ldw, wt), *y = typed_copy(fy, n * ldy, t), *x = typed_copy(fx, n * ldx, t);
    float *want = random_floats(s->rows * lds, 4), *got[3];
    for (int i = 0; i < 3; i++) {
        got[i] = float_copy(want, s->rows * lds);
        par_set_threads(i + 1);
        if (sens_accumulate(got[i], lds, w, wt, ldw, y, ldy, x, ldx, t, s->rows, s->in, s->n_seqs, s->cu, &e))
            fail_msg("%s", e.msg);
    }
    par_set_threads(0);
    assert_int_equal(sens_accumulate_ref(want, lds, w, wt, ldw, y, ldy, x, ldx, t, s->rows, s->in, s->n_seqs, s->cu, &e), 0);
    assert_near(got[0], want, s->rows * lds, 1e-6);
    assert_same_bytes(got[0], got[1], s->rows * lds * 4);
    assert_same_bytes(got[0], got[2], s->rows * lds * 4);
    for (int i = 0; i < 3; i++)
        free(got[i]);
    free(fw), free(fy), free(fx), free(w), free(y), free(x), free(want);
}

static void all(void **state)
{
    (void)state;
    static const enum dtype weights[] = {DT_F32, DT_BF16, DT_F16};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int w = 0; w < 3; w++)
            for (int t = DT_F32; t <= DT_BF16; t++)
                for (size_t pad = 0; pad < 6; pad += 5)
                    check(&shapes[i], weights[w], (enum dtype)t, pad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
