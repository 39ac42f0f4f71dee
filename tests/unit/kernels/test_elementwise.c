/* SPDX-License-Identifier: MIT
 *
 * The elementwise and row kernels against their plain twins; backward passes against finite differences; bytes that do not
 * depend on the team.
 */
#include "helper.h"

#include "runtime/kernels/adamw.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/dropout.h"
#include "runtime/kernels/norm.h"
#include "runtime/kernels/rope.h"
#include "runtime/kernels/swiglu.h"
#include "runtime/kernels/vmath.h"
#include "runtime/kernels/xent.h"

static void exp_is_accurate(void **state)
{
    (void)state;
    double worst = 0;
    for (int i = -870000; i <= 883000; i += 7) {
        float x = (float)i * 1e-4f, y = vexp(x);
        double r = fabs((double)y / exp((double)x) - 1);
        worst = r > worst ? r : worst;
    }
    print_message("exp: largest relative error %.3g\n", worst);
    assert_true(worst < 1.2e-7);
    assert_true(vexp(-100.0f) == 0 && vexp(-INFINITY) == 0 && vexp(0.0f) == 1 && isnan(vexp(NAN)) && vexp(1000.0f) > 2e38f);
}

static void norm(void **state)
{
    (void)state;
    static const size_t Ts[] = {1, 3, 40}, ds[] = {1, 7, 64, 897};
    for (size_t a = 0; a < 3; a++)
        for (size_t b = 0; b < 4; b++) {
            size_t T = Ts[a], d = ds[b], n = T * d;
            float *x = random_floats(n, 1), *w = random_floats(d, 2), *dy = random_floats(n, 3), *y = random_floats(n, 4), *yr = random_floats(n, 5);
            float *r = random_floats(T, 6), *rr = random_floats(T, 7), *dx = random_floats(n, 8), *dxr = float_copy(dx, n), *dx3 = float_copy(dx, n);
            rmsnorm_forward(y, r, x, w, 1e-6, T, d);
            rmsnorm_forward_ref(yr, rr, x, w, 1e-6, T, d);
            assert_near(y, yr, n, 1e-6);
            assert_near(r, rr, T, 1e-6);
            par_set_threads(1);
            rmsnorm_backward(dx, dy, x, w, r, T, d);
            par_set_threads(3);
            rmsnorm_backward(dx3, dy, x, w, r, T, d);
            par_set_threads(0);
            assert_same_bytes(dx, dx3, n * 4);
            rmsnorm_backward_ref(dxr, dy, x, w, r, T, d);
            assert_near(dx, dxr, n, 1e-6);
            rmsnorm_xhat(y, x, r, T, d);
            for (size_t i = 0; i < n; i++)
                assert_true(y[i] == x[i] * r[i / d]);
            free(x), free(w), free(dy), free(y), free(yr), free(r), free(rr), free(dx), free(dxr), free(dx3);
        }
}

static double norm_loss(const float *x, const float *w, const float *dy, size_t d)
{
    float *y = random_floats(d, 1);
    double l = 0;
    rmsnorm_forward_ref(y, NULL, x, w, 1e-6, 1, d);
    for (size_t i = 0; i < d; i++)
        l += (double)y[i] * dy[i];
    free(y);
    return l;
}

static void norm_differences(void **state)
{
    (void)state;
    enum { D = 12 };
    float *x = random_floats(D, 1), *w = random_floats(D, 2), *dy = random_floats(D, 3), *y = random_floats(D, 4), dx[D] = {0}, r;
    rmsnorm_forward(y, &r, x, w, 1e-6, 1, D);
    rmsnorm_backward(dx, dy, x, w, &r, 1, D);
    for (int i = 0; i < D; i++) {
        float keep = x[i], up = keep + 1e-2f, down = keep - 1e-2f;
        x[i] = up;
        double a = norm_loss(x, w, dy, D);
        x[i] = down;
        double d = (a - norm_loss(x, w, dy, D)) / ((double)up - down);
        x[i] = keep;
        assert_true(fabs(d - dx[i]) < 2e-3);
    }
    free(x), free(w), free(dy), free(y);
}

static void rope(void **state)
{
    (void)state;
    struct err e = {0};
    static const int dims[] = {2, 10, 64, 128};
    for (int type = 0; type < 3; type++)
        for (int k = 0; k < 4; k++) {
            struct rope *r = NULL;
            enum { T = 37, H = 3 };
            size_t hd = (size_t)dims[k], ld = H * hd + 3, n = T * ld;
            int32_t pos[T];
            for (int t = 0; t < T; t++)
                pos[t] = (t * 13) % 50;
            assert_int_equal(rope_new(dims[k], 10000, type, 8, 1, 4, 32, 50, &r, &e), 0);
            assert_int_equal(rope_positions(r), 50);
            float *x = random_floats(n, 1), *a = float_copy(x, n), *b = float_copy(x, n);
            rope_apply(r, a, ld, T, H, pos, false);
            rope_apply_ref(r, b, ld, T, H, pos, false);
            assert_same_bytes(a, b, n * 4);
            rope_apply(r, a, ld, T, H, pos, true); /* and back */
            assert_near(a, x, n, 1e-6);
            rope_free(r);
            free(x), free(a), free(b);
        }
    struct rope *r = NULL;
    assert_int_equal(rope_new(3, 10000, 0, 1, 1, 1, 1, 4, &r, &e), ERR_INPUT);
    assert_int_equal(rope_new(4, 10000, 1, 0, 1, 1, 1, 4, &r, &e), ERR_INPUT);
    assert_int_equal(rope_new(4, -1, 0, 1, 1, 1, 1, 4, &r, &e), ERR_INPUT);
    assert_null(r);
    rope_free(NULL);
}

/* Position 1 turns the pair (1, 0) to (cos f, sin f): frequencies by hand. */
static void rope_frequencies(void **state)
{
    (void)state;
    struct err e = {0};
    struct rope *r = NULL;
    int32_t pos = 1;
    float x[8] = {1, 1, 1, 1, 0, 0, 0, 0};
    assert_int_equal(rope_new(8, 10000, 0, 1, 0, 0, 0, 2, &r, &e), 0);
    rope_apply(r, x, 8, 1, 1, &pos, false);
    for (int i = 0; i < 4; i++) {
        double f = pow(10000, -2.0 * i / 8);
        assert_true(fabs(x[i] - cos(f)) < 1e-6 && fabs(x[4 + i] - sin(f)) < 1e-6);
    }
    rope_free(r);
    /* linear: half the frequency; llama3 with original_max 8, low 1, high 4: 6.28 is between 2 and 8 and is blended, 62.8 is slow */
    float y[4] = {1, 1, 0, 0}, z[4] = {1, 1, 0, 0};
    assert_int_equal(rope_new(4, 100, 1, 2, 0, 0, 0, 2, &r, &e), 0);
    rope_apply(r, y, 4, 1, 1, &pos, false);
    assert_true(fabs(y[2] - sin(0.5)) < 1e-6 && fabs(y[3] - sin(0.05)) < 1e-6);
    rope_free(r);
    assert_int_equal(rope_new(4, 100, 2, 2, 1, 4, 8, 2, &r, &e), 0);
    rope_apply(r, z, 4, 1, 1, &pos, false);
    double smooth = (8 / (2 * acos(-1.0)) - 1) / 3, f = (1 - smooth) / 2 + smooth;
    assert_true(fabs(z[2] - sin(f)) < 1e-6 && fabs(z[3] - sin(0.05)) < 1e-6);
    rope_free(r);
}

static void swiglu(void **state)
{
    (void)state;
    static const size_t ns[] = {1, 15, 1000, 40001};
    for (int k = 0; k < 4; k++) {
        size_t n = ns[k];
        float *g = random_floats(n, 1), *u = random_floats(n, 2), *dy = random_floats(n, 3);
        float *y = random_floats(n, 4), *yr = random_floats(n, 5), *dg = random_floats(n, 6), *du = random_floats(n, 7), *dgr = random_floats(n, 8),
              *dur = random_floats(n, 9);
        for (size_t i = 0; i < n; i++)
            g[i] *= 30;
        swiglu_forward(y, g, u, n);
        swiglu_forward_ref(yr, g, u, n);
        assert_near(y, yr, n, 2e-7);
        swiglu_backward(dg, du, dy, g, u, n);
        swiglu_backward_ref(dgr, dur, dy, g, u, n);
        assert_near(dg, dgr, n, 1e-6);
        assert_near(du, dur, n, 2e-7);
        par_set_threads(1);
        swiglu_backward(g, u, dy, g, u, n); /* in place, another team */
        par_set_threads(0);
        assert_same_bytes(g, dg, n * 4);
        assert_same_bytes(u, du, n * 4);
        free(g), free(u), free(dy), free(y), free(yr), free(dg), free(du), free(dgr), free(dur);
    }
    float big[4] = {1000, -1000, 0, -87.4f}, one[4] = {1, 1, 1, 1}, y[4];
    swiglu_forward(y, big, one, 4);
    assert_true(y[0] == 1000 && fabsf(y[1]) < 1e-30f && y[2] == 0 && fabsf(y[3]) < 1e-30f);
}

static void xent(void **state)
{
    (void)state;
    static const size_t Vs[] = {1, 2, 17, 1024, 5001};
    for (int k = 0; k < 5; k++) {
        enum { N = 5 };
        size_t V = Vs[k], ld = V + 3;
        int32_t target[N];
        float *z = random_floats(N * ld, 1), *a = NULL, *b = NULL, *c = NULL, *w = random_floats(N, 2);
        double la[N], lb[N], lc[N];
        for (size_t i = 0; i < N; i++)
            target[i] = (int32_t)(i * 31 % V);
        for (size_t i = 0; i < N * ld; i++)
            z[i] *= 40;
        a = float_copy(z, N * ld), b = float_copy(z, N * ld), c = float_copy(z, N * ld);
        xent_loss(z, N, V, ld, target, lc);
        par_set_threads(1);
        xent_rows(a, N, V, ld, target, w, la);
        par_set_threads(3);
        xent_rows(c, N, V, ld, target, w, lc);
        par_set_threads(0);
        assert_same_bytes(a, c, N * ld * 4);
        assert_same_bytes(la, lc, sizeof la);
        xent_loss(z, N, V, ld, target, lc);
        assert_same_bytes(la, lc, sizeof la);
        xent_rows_ref(b, N, V, ld, target, w, lb);
        for (size_t i = 0; i < N; i++) {
            assert_near(a + i * ld, b + i * ld, V, 5e-6); /* exponents to 80 */
            assert_memory_equal(a + i * ld + V, z + i * ld + V, 12);
            assert_true(fabs(la[i] - lb[i]) <= 1e-6 * (1 + fabs(lb[i])));
        }
        xent_loss_ref(z, N, V, ld, target, lc);
        assert_same_bytes(lb, lc, sizeof lb);
        free(z), free(a), free(b), free(c), free(w);
    }
}

static void adamw(void **state)
{
    (void)state;
    enum { N = 50003 };
    float *p = random_floats(N, 1), *g = random_floats(N, 2), *m = calloc(N, 4), *v = calloc(N, 4);
    float *pr = float_copy(p, N), *mr = calloc(N, 4), *vr = calloc(N, 4);
    for (int step = 1; step <= 5; step++) {
        par_set_threads(step % 3 + 1);
        adamw_step(p, g, m, v, N, 1e-2, 0.9, 0.999, 1e-8, 0.1, step, 0.5);
        adamw_step_ref(pr, g, mr, vr, N, 1e-2, 0.9, 0.999, 1e-8, 0.1, step, 0.5);
    }
    par_set_threads(0);
    assert_near(p, pr, N, 1e-6);
    assert_near(m, mr, N, 1e-6);
    assert_near(v, vr, N, 1e-6);
    double a = grad_sumsq(g, N), b = grad_sumsq_ref(g, N);
    assert_true(fabs(a / b - 1) < 1e-12);
    par_set_threads(1);
    assert_true(a == grad_sumsq(g, N));
    par_set_threads(0);
    assert_true(grad_sumsq(g, 0) == 0);
    free(p), free(g), free(m), free(v), free(pr), free(mr), free(vr);
}

/* The first step moves every parameter by lr against the gradient's sign (method.md 5, eps small). */
static void adamw_first_step(void **state)
{
    (void)state;
    float p[3] = {1, 1, 1}, g[3] = {0.5f, -2, 1e-3f}, m[3] = {0}, v[3] = {0};
    adamw_step(p, g, m, v, 3, 0.1, 0.9, 0.999, 1e-8, 0, 1, 1);
    assert_true(fabsf(p[0] - 0.9f) < 1e-5f && fabsf(p[1] - 1.1f) < 1e-5f && fabsf(p[2] - 0.9f) < 1e-4f);
}

static void convert(void **state)
{
    (void)state;
    enum { N = 70001 };
    float *x = random_floats(N, 1), *y = random_floats(N, 2), *z = random_floats(N, 3);
    uint16_t *a = malloc(N * 2), *b = malloc(N * 2);
    double *d = malloc(N * sizeof *d);
    for (size_t i = 0; i < N; i++) {
        x[i] = ldexpf(x[i], (int)(i % 250) - 140);
        d[i] = x[i];
    }
    x[0] = NAN, x[1] = INFINITY, x[2] = -INFINITY, x[3] = 0.0f, x[4] = -0.0f, x[5] = 3.4e38f, x[6] = 1e-44f;
    uint32_t odd = 0x7f800001u; /* a signalling NaN whose payload would round away */
    memcpy(&x[7], &odd, 4);
    to_bf16(a, x, N);
    to_bf16_ref(b, x, N);
    assert_same_bytes(a, b, N * 2);
    convert_bf16_rest_row(b + 8, x + 8, a + 8, N - 8);
    for (size_t i = 8; i < N; i++) /* both together know 16 bits */
        assert_true(fabsf(x[i] - bf16_to_f32(a[i]) - bf16_to_f32(b[i])) <= ldexpf(fabsf(x[i]), -16) + 1e-40f);
    to_f32(y, a, DT_BF16, N);
    to_f32_ref(z, a, DT_BF16, N);
    assert_same_bytes(y, z, N * 4);
    for (size_t i = 0; i < N; i++)
        a[i] = (uint16_t)i;
    to_f32(y, a, DT_F16, N);
    to_f32_ref(z, a, DT_F16, N);
    for (size_t i = 0; i < N; i++)
        assert_true((isnan(y[i]) && isnan(z[i])) || memcmp(y + i, z + i, 4) == 0);
    to_f32(y, d, DT_F64, N);
    to_f32(z, x, DT_F32, N);
    assert_same_bytes(y + 8, z + 8, (N - 8) * 4);
    free(x), free(y), free(z), free(a), free(b), free(d);
}

/* Rounding and summing in one go give what each gives alone, whatever the length. */
static void convert_with_sum(void **state)
{
    (void)state;
    enum { N = 300 };
    float *x = random_floats(N, 7);
    x[5] = NAN, x[40] = INFINITY;
    for (size_t first = 0; first < 64; first += 3)
        for (size_t n = 0; n + first <= N; n += n < 40 ? 1 : 37) {
            uint16_t a[N] = {0}, b[N] = {0};
            double sum = convert_sum_to_bf16_row(a, x + first, n), alone = convert_sum_row(x + first, n);
            convert_to_bf16_row(b, x + first, n);
            assert_same_bytes(a, b, sizeof a);
            assert_same_bytes(&sum, &alone, sizeof sum);
        }
    free(x);
}

static void sums(void **state)
{
    (void)state;
    enum { N = 70001, T = 7 };
    float *x = random_floats(N, 1), *y = random_floats(N, 2), *z = float_copy(y, N);
    add_into(y, x, N), add_into_ref(z, x, N);
    assert_same_bytes(y, z, N * 4);
    scale_into(y, x, 0.3f, N), scale_into_ref(z, x, 0.3f, N);
    assert_same_bytes(y, z, N * 4);
    add_bias(y, x, T, N / T), add_bias_ref(z, x, T, N / T);
    add_bias(y, x, N, 1), add_bias_ref(z, x, N, 1);
    assert_same_bytes(y, z, N * 4);
    free(x), free(y), free(z);
}

static void dropout(void **state)
{
    (void)state;
    enum { N = 100001 };
    float *x = random_floats(N, 1), *a = random_floats(N, 2), *b = random_floats(N, 3);
    for (size_t i = 0; i < N; i++)
        x[i] += 2;
    static const uint64_t bases[] = {0, 12345, 0xffffff00u, (uint64_t)7 << 32};
    for (int k = 0; k < 4; k++) {
        dropout_apply(a, x, N, 0.05, 42, 7, bases[k]);
        dropout_apply_ref(b, x, N, 0.05, 42, 7, bases[k]);
        assert_same_bytes(a, b, N * 4);
        size_t dropped = 0, pairs = 0;
        for (size_t i = 0; i < N; i++) {
            dropped += a[i] == 0;
            pairs += i && a[i] == 0 && a[i - 1] == 0;
        }
        assert_true(fabs((double)dropped / N - 0.05) < 0.004);
        assert_true(fabs((double)pairs / N - 0.0025) < 0.001);
    }
    /* a part of the range has the same mask; another stream, seed or high half of the index has another */
    dropout_apply(a, x, N, 0.05, 42, 7, 1000);
    dropout_apply(b, x + 500, N - 500, 0.05, 42, 7, 1500);
    assert_same_bytes(a + 500, b, (N - 500) * 4);
    static const uint64_t other[][3] = {{42, 8, 1000}, {43, 7, 1000}, {42, 7, ((uint64_t)1 << 32) + 1000}};
    for (int k = 0; k < 3; k++) {
        size_t both = 0;
        dropout_apply(b, x, N, 0.05, other[k][0], other[k][1], other[k][2]);
        for (size_t i = 0; i < N; i++)
            both += a[i] == 0 && b[i] == 0;
        assert_true(fabs((double)both / N - 0.0025) < 0.001);
    }
    dropout_apply(a, x, N, 0, 1, 1, 0);
    assert_same_bytes(a, x, N * 4);
    dropout_apply(a, a, N, 0.999, 1, 1, 0);
    free(x), free(a), free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_accurate), cmocka_unit_test(norm),  cmocka_unit_test(norm_differences), cmocka_unit_test(rope),
        cmocka_unit_test(rope_frequencies), cmocka_unit_test(swiglu), cmocka_unit_test(xent),           cmocka_unit_test(adamw),
        cmocka_unit_test(adamw_first_step), cmocka_unit_test(convert), cmocka_unit_test(sums),          cmocka_unit_test(dropout),
        cmocka_unit_test(convert_with_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
