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
    {110, 45, 3, {0, 2100, 2101, 2300}},
    {1700, 40, 2, {1, 6, 17}},
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

/* fresh overwrites; every row is given away once, finished. */
struct taken {
    const float *want;
    size_t in;
    int *times;
};

static int take_rows(void *u, size_t row, size_t n, const float *S, size_t lds, struct err *e)
{
    struct taken *k = u;
    (void)e;
    for (size_t r = row; r < row + n; r++) {
        __atomic_add_fetch(&k->times[r], 1, __ATOMIC_RELAXED);
        if (memcmp(S + (r - row) * lds, k->want + r * k->in, k->in * sizeof(float)) != 0)
            __atomic_add_fetch(&k->times[r], 100, __ATOMIC_RELAXED);
    }
    return 0;
}

static int refuse_rows(void *u, size_t row, size_t n, const float *S, size_t lds, struct err *e)
{
    (void)u, (void)n, (void)S, (void)lds;
    return row ? 0 : err_set(e, ERR_IO, "row 0 is refused");
}

/* One shape in types wt and t: into the caller's rows, and into rows that nobody keeps. */
static void check_fresh(const struct shape *s, enum dtype wt, enum dtype t)
{
    struct err e = {0};
    size_t n = (size_t)s->cu[s->n_seqs], elements = s->rows * s->in;
    float *fw = random_floats(elements, 1), *fy = random_floats(n * s->rows, 2), *fx = random_floats(n * s->in, 3);
    void *w = typed_copy(fw, elements, wt), *y = typed_copy(fy, n * s->rows, t), *x = typed_copy(fx, n * s->in, t);
    float *want = calloc(elements, sizeof *want), *got = random_floats(elements, 9);
    int *times = calloc(s->rows, sizeof *times);
    assert_int_equal(sens_accumulate(want, s->in, w, wt, s->in, y, s->rows, x, s->in, t, s->rows, s->in, s->n_seqs, s->cu, &e), 0);
    struct taken k = {want, s->in, times};
    struct sens_out out = {.S = got, .lds = s->in, .fresh = true, .done = take_rows, .u = &k};
    par_set_threads(2);
    assert_int_equal(sens_fold(&out, w, wt, s->in, y, s->rows, x, s->in, t, s->rows, s->in, s->n_seqs, s->cu, &e), 0);
    assert_same_bytes(got, want, elements * sizeof *got);
    out.S = NULL;
    assert_int_equal(sens_fold(&out, w, wt, s->in, y, s->rows, x, s->in, t, s->rows, s->in, s->n_seqs, s->cu, &e), 0);
    for (size_t r = 0; r < s->rows; r++)
        assert_int_equal(times[r], 2);
    out.done = refuse_rows;
    assert_int_equal(sens_fold(&out, w, wt, s->in, y, s->rows, x, s->in, t, s->rows, s->in, s->n_seqs, s->cu, &e), ERR_IO);
    par_set_threads(0);
    free(fw), free(fy), free(fx), free(y), free(x), free(w), free(want), free(got), free(times);
}

static void fresh(void **state)
{
    (void)state;
    static const enum dtype weights[] = {DT_F32, DT_BF16, DT_F16};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int w = 0; w < 3; w++)
            for (int t = DT_F32; t <= DT_BF16; t++)
                check_fresh(&shapes[i], weights[w], (enum dtype)t);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(all), cmocka_unit_test(fresh)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
