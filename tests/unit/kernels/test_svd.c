/* SPDX-License-Identifier: MIT
 *
 * svd: leading triplets against one-sided Jacobi and against matrices made with a known spectrum: odd shapes, both
 * orientations, dense spectra, equal singular values, low rank, zero, lines, from 1e-30 to 1e30: the product within 1e-5 of the
 * exact one where the spectrum has a gap, the error never above 1.0001 times the least possible
 * (and 1e-8 of the matrix: the Gram matrix does not know less); ranks out of range; same bytes
 * every time and for any team size.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/svd.h"

struct result {
    size_t m, n, r;
    double *s, *us, *vt, energy;
};

static struct result solve(int f(const struct svd_matrix *, size_t, double *, double *, double *, double *,
                                 struct err *),
                           const struct svd_matrix *a, size_t r)
{
    struct result x = {a->m, a->n, r, calloc(r, 8), calloc(a->m * r, 8), calloc(r * a->n, 8), 0};
    struct err e = {0};
    if (f(a, r, x.s, x.us, x.vt, &x.energy, &e))
        fail_msg("%s", e.msg);
    return x;
}

static void drop(struct result *x)
{
    free(x->s);
    free(x->us);
    free(x->vt);
}

/* |B A - C D| / |C D|, Frobenius */
static double distance(const struct result *x, const struct result *y)
{
    double d = 0, n = 0;
    for (size_t i = 0; i < x->m; i++)
        for (size_t j = 0; j < x->n; j++) {
            double p = 0, q = 0;
            for (size_t k = 0; k < x->r; k++) {
                p += x->us[i * x->r + k] * x->vt[k * x->n + j];
                q += y->us[i * x->r + k] * y->vt[k * x->n + j];
            }
            d += (p - q) * (p - q);
            n += q * q;
        }
    return n > 0 ? sqrt(d / n) : sqrt(d);
}

static double not_orthonormal(const struct result *x)
{
    double worst = 0;
    for (size_t a = 0; a < x->r; a++)
        for (size_t b = 0; b <= a; b++) {
            double d = 0;
            for (size_t j = 0; j < x->n; j++)
                d += x->vt[a * x->n + j] * x->vt[b * x->n + j];
            worst = fmax(worst, fabs(d - (a == b)));
        }
    return worst;
}

/* m x n f32 normal matrix whose column j is multiplied by scale^j */
static float *normal(size_t m, size_t n, double scale, uint64_t seed)
{
    float *x = malloc(m * n * sizeof *x);
    rng_fill_normal(x, m * n, 1, seed, 1);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            x[i * n + j] *= (float)pow(scale, (double)j);
    return x;
}

static void compare(size_t m, size_t n, size_t r, double scale, double tol)
{
    float *x = normal(m, n, scale, m * 1000 + n);
    struct svd_matrix a = {x, DT_F32, m, n, n, false}, t = {x, DT_F32, n, m, n, true};
    struct result fast = solve(svd_truncated, &a, r), ref = solve(svd_truncated_ref, &a, r),
                  turned = solve(svd_truncated, &t, r);
    double d = distance(&fast, &ref);
    if (!(d < tol))
        fail_msg("%zu x %zu, rank %zu, scale %g: %g from the reference", m, n, r, scale, d);
    for (size_t k = 0; k < r; k++) {
        assert_true(fabs(fast.s[k] - ref.s[k]) <= 1e-10 * ref.s[0]);
        assert_true(fabs(turned.s[k] - ref.s[k]) <= 1e-10 * ref.s[0]);
    }
    assert_true(fabs(fast.energy - ref.energy) <= 1e-9 * ref.energy);
    assert_true(not_orthonormal(&fast) < 1e-12 && not_orthonormal(&turned) < 1e-12);
    d = 0;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double p = 0, q = 0;
            for (size_t k = 0; k < r; k++) {
                p += fast.us[i * r + k] * fast.vt[k * n + j];
                q += turned.us[j * r + k] * turned.vt[k * m + i];
            }
            d = fmax(d, fabs(p - q));
        }
    assert_true(d <= tol * ref.s[0]);
    drop(&fast);
    drop(&ref);
    drop(&turned);
    free(x);
}

static void shapes(void **state)
{
    (void)state;
    static const size_t v[][3] = {{1, 1, 1},    {1, 7, 1},    {9, 1, 1},     {5, 5, 5},     {17, 13, 4},
                                  {13, 17, 13}, {64, 640, 8}, {700, 33, 16}, {200, 131, 5}, {131, 97, 97}};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        compare(v[i][0], v[i][1], v[i][2], 1, 1e-8);
        compare(v[i][0], v[i][1], v[i][2], 0.9, 1e-8);
    }
}

/* Large enough for Lanczos: dense and quickly falling spectra. */
static void large(void **state)
{
    (void)state;
    compare(420, 360, 16, 1, 1e-7);
    compare(360, 400, 3, 0.99, 1e-7);
    compare(1200, 340, 40, 0.95, 1e-7);
}

/* Householder reflections of diag(s): a matrix (m, n) f64 with the given singular values. */
static double *with_spectrum(size_t m, size_t n, const double *s, size_t k)
{
    double *x = calloc(m * n, 8), *u = malloc((m + n) * 8);
    for (size_t i = 0; i < k; i++)
        x[i * n + i] = s[i];
    for (int round = 0; round < 3; round++) {
        double nu = 0, nv = 0, *v = u + m;
        for (size_t i = 0; i < m + n; i++)
            u[i] = rng_normal(7, (uint64_t)round, i);
        for (size_t i = 0; i < m; i++)
            nu += u[i] * u[i];
        for (size_t j = 0; j < n; j++)
            nv += v[j] * v[j];
        for (size_t j = 0; j < n; j++) {
            double d = 0;
            for (size_t i = 0; i < m; i++)
                d += u[i] * x[i * n + j];
            for (size_t i = 0; i < m; i++)
                x[i * n + j] -= 2 * d / nu * u[i];
        }
        for (size_t i = 0; i < m; i++) {
            double d = 0;
            for (size_t j = 0; j < n; j++)
                d += v[j] * x[i * n + j];
            for (size_t j = 0; j < n; j++)
                x[i * n + j] -= 2 * d / nv * v[j];
        }
    }
    free(u);
    return x;
}

static void spectra(void **state)
{
    (void)state;
    enum { N = 380 };
    double s[N] = {0};
    for (int kind = 0; kind < 4; kind++) {
        for (int i = 0; i < N; i++)
            s[i] = kind == 0   ? 1e3 * pow(0.5, i)          /* falls below rounding */
                   : kind == 1 ? (i < 12 ? 5 : 1)           /* a multiple value, then a gap */
                   : kind == 2 ? (i < 6 ? 1 + i * 1e-9 : 0) /* rank 6, all but equal */
                               : 1;                         /* no gap anywhere */
        double *x = with_spectrum(N + 20, N, s, N);
        struct svd_matrix a = {x, DT_F64, N + 20, N, N, false};
        struct result y = solve(svd_truncated, &a, 12);
        for (int i = 0; i < 12; i++) {
            double want = kind == 2 ? (i < 6 ? 1 : 0) : s[i];
            if (!(fabs(y.s[i] - want) <= 1e-8 * s[0]))
                fail_msg("spectrum %d, value %d: %.17g, not %.17g", kind, i, y.s[i], want);
        }
        assert_true(not_orthonormal(&y) < 1e-11);
        drop(&y);
        free(x);
    }
}

enum spectrum { GAP, LOW_RANK, ZERO, NEARLY_EQUAL, SPECTRA };

static double value(enum spectrum kind, size_t i, size_t r)
{
    switch (kind) {
    case GAP:
        return i < r ? 3.0 - 0.1 * (double)i : 1.0 / (1.0 + (double)i);
    case LOW_RANK:
        return i < 2 ? 1.0 / (1.0 + (double)i) : 0;
    case NEARLY_EQUAL:
        return 1 + 1e-7 * (double)i;
    default:
        return 0;
    }
}

/* |M - B A|, Frobenius */
static double missed(const float *x, const struct result *y)
{
    double d = 0;
    for (size_t i = 0; i < y->m; i++)
        for (size_t j = 0; j < y->n; j++) {
            double p = x[i * y->n + j];
            for (size_t k = 0; k < y->r; k++)
                p -= y->us[i * y->r + k] * y->vt[k * y->n + j];
            d += p * p;
        }
    return sqrt(d);
}

static void hard_one(size_t m, size_t n, enum spectrum kind, double scale)
{
    size_t q = m < n ? m : n, r = q < 8 ? q : 8;
    double *s = calloc(q, sizeof *s), tail = 0;
    float *x = malloc(m * n * sizeof *x);
    for (size_t i = 0; i < q; i++)
        s[i] = value(kind, i, r);
    double *exact = with_spectrum(m, n, s, q);
    for (size_t i = 0; i < m * n; i++)
        x[i] = (float)(exact[i] * scale);
    struct svd_matrix a = {x, DT_F32, m, n, n, false};
    struct result y = solve(svd_truncated, &a, r), again = solve(svd_truncated, &a, r), all = solve(svd_truncated_ref, &a, q),
                  best = solve(svd_truncated_ref, &a, r);
    for (size_t i = r; i < q; i++)
        tail += all.s[i] * all.s[i];
    double least = sqrt(tail), got = missed(x, &y);
    if (!(got <= 1.0001 * least + 1e-8 * sqrt(all.energy)))
        fail_msg("%zu x %zu, spectrum %d, scale %g: misses %g, at least %g", m, n, (int)kind, scale, got, least);
    if (kind == GAP || kind == LOW_RANK)
        assert_true(distance(&y, &best) <= 1e-5);
    for (size_t i = 0; i < r; i++)
        assert_true(fabs(y.s[i] - best.s[i]) <= 1e-8 * all.s[0]);
    assert_true(not_orthonormal(&y) < 1e-11);
    assert_memory_equal(y.us, again.us, m * r * 8);
    assert_memory_equal(y.vt, again.vt, r * n * 8);
    drop(&y);
    drop(&again);
    drop(&all);
    drop(&best);
    free(exact);
    free(x);
    free(s);
}

static void hard(void **state)
{
    (void)state;
    static const size_t shape[][2] = {{1, 1}, {1, 50}, {50, 1}, {2, 3}, {37, 37}, {101, 64}, {333, 345}, {400, 330}};
    static const double scale[] = {1e-30, 1, 1e30};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int kind = 0; kind < SPECTRA; kind++)
            for (int k = 0; k < 3; k++)
                if (shape[i][0] < 300 || k == kind % 3) /* those that Lanczos does */
                    hard_one(shape[i][0], shape[i][1], (enum spectrum)kind, scale[k]);
}

static void zero_matrix(void **state)
{
    (void)state;
    float x[5 * 4] = {0};
    struct svd_matrix a = {x, DT_F32, 5, 4, 4, false};
    struct result y = solve(svd_truncated, &a, 3);
    for (size_t i = 0; i < 15; i++)
        assert_true(y.us[i] == 0);
    assert_true(not_orthonormal(&y) < 1e-12);
    drop(&y);
}

static void types(void **state)
{
    (void)state;
    enum { M = 40, N = 30 };
    float *x = normal(M, N, 0.9, 3);
    uint16_t b[M * N], h[M * N];
    for (int i = 0; i < M * N; i++) {
        b[i] = bf16_from_f32(x[i]);
        x[i] = bf16_to_f32(b[i]);
        h[i] = f16_from_f32(x[i]);
    }
    struct svd_matrix f = {x, DT_F32, M, N, N, false}, bf = {b, DT_BF16, M, N, N, false},
                      hf = {h, DT_F16, M, N, N, false};
    struct result p = solve(svd_truncated, &f, 6), q = solve(svd_truncated, &bf, 6), r = solve(svd_truncated, &hf, 6);
    assert_memory_equal(p.us, q.us, M * 6 * 8);
    assert_true(distance(&p, &r) < 1e-2);
    drop(&p);
    drop(&q);
    drop(&r);
    free(x);
}

static void errors(void **state)
{
    (void)state;
    float x[6] = {1, 2, 3, 4, 5, 6};
    double s[4], us[12], vt[12];
    struct err e = {0};
    struct svd_matrix a = {x, DT_F32, 2, 3, 3, false};
    assert_int_equal(svd_truncated(&a, 3, s, us, vt, NULL, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "rank 3"));
    assert_int_equal(svd_truncated(&a, 0, s, us, vt, NULL, &e), ERR_INPUT);
    x[4] = NAN;
    assert_int_equal(svd_truncated(&a, 1, s, us, vt, NULL, &e), ERR_INPUT);
    a.t = DT_I32;
    assert_int_equal(svd_truncated(&a, 1, s, us, vt, NULL, &e), ERR_INPUT);
}

static void team(void **state)
{
    (void)state;
    float *x = normal(900, 530, 0.99, 5);
    struct svd_matrix a = {x, DT_F32, 900, 530, 530, false};
    par_set_threads(1);
    struct result p = solve(svd_truncated, &a, 10);
    par_set_threads(3);
    struct result q = solve(svd_truncated, &a, 10);
    par_set_threads(0);
    assert_memory_equal(p.us, q.us, 900 * 10 * 8);
    assert_memory_equal(p.vt, q.vt, 530 * 10 * 8);
    drop(&p);
    drop(&q);
    free(x);
}

static void qr_columns(void **state)
{
    (void)state;
    enum { M = 23, N = 31, R = 7 };
    float *x = normal(M, N, 1, 9);
    double q[M * R], u[R * N];
    struct err e = {0};
    struct svd_matrix a = {x, DT_F32, M, N, N, false};
    assert_int_equal(svd_qr(&a, R, q, u, &e), 0);
    for (int i = 0; i < M; i++) /* the first R columns come back exactly */
        for (int j = 0; j < R; j++) {
            double d = 0;
            for (int k = 0; k < R; k++)
                d += q[i * R + k] * u[k * N + j];
            assert_true(fabs(d - (double)x[i * N + j]) < 1e-12);
        }
    for (int k = 1; k < R; k++) /* upper triangle */
        for (int j = 0; j < k; j++)
            assert_true(fabs(u[k * N + j]) < 1e-12);
    free(x);
}

/* PKG_SVD_SHAPE=m,n,r: times one product, for the person who tunes. */
static void timing(void **state)
{
    (void)state;
    const char *spec = getenv("PKG_SVD_SHAPE");
    size_t m, n, r;
    if (!spec || sscanf(spec, "%zu,%zu,%zu", &m, &n, &r) != 3)
        return;
    float *x = normal(m, n, 1, 11);
    struct svd_matrix a = {x, DT_F32, m, n, n, false};
    struct timespec t0, t1;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    struct result p = solve(svd_truncated, &a, r);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    print_message("%zu x %zu, rank %zu: %.2f s\n", m, n, r,
                  (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) * 1e-9);
    drop(&p);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),      cmocka_unit_test(large),      cmocka_unit_test(spectra),
        cmocka_unit_test(hard),        cmocka_unit_test(zero_matrix), cmocka_unit_test(types),      cmocka_unit_test(errors),
        cmocka_unit_test(team),        cmocka_unit_test(qr_columns), cmocka_unit_test(timing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
