/* SPDX-License-Identifier: MIT
 *
 * Soft targets: against the plain loops, over temperatures and weights; the two limits (one soft token: cross entropy; the model
 * itself: nothing); the same bytes on any number of threads; the k largest in order.
 */
#include "helper.h"

#include "runtime/kernels/distill.h"
#include "runtime/kernels/xent.h"

enum { N = 5 };

static void teacher_of(size_t V, size_t k, int32_t *id, float *logp)
{
    float *z = random_floats(N * V, 9);
    for (size_t i = 0; i < N * V; i++)
        z[i] *= 6;
    top_logprobs(z, N, V, V, k, id, logp);
    free(z);
}

static void like_the_loops(void **state)
{
    (void)state;
    static const struct {
        size_t V, k;
        double T, w;
    } cases[] = {{1, 1, 1, 1}, {17, 17, 1, 1}, {17, 4, 2, 0.5}, {1030, 64, 3, 0.25}, {5001, 5001, 0.5, 1}, {5001, 7, 1, 0}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        size_t V = cases[c].V, k = cases[c].k, ld = V + 3;
        int32_t *id = malloc(N * k * sizeof *id), target[N];
        float *logp = random_floats(N * k, 1), *z = random_floats(N * ld, 2), *w = random_floats(N, 3);
        uint32_t row[N];
        double la[N], lb[N], lc[N];
        teacher_of(V, k, id, logp);
        for (size_t i = 0; i < N * ld; i++)
            z[i] *= 10;
        for (uint32_t i = 0; i < N; i++) {
            target[i] = (int32_t)(i * 31 % V);
            row[i] = N - 1 - i;
        }
        struct soft_targets s = {k, id, logp, cases[c].T, cases[c].w};
        float *a = float_copy(z, N * ld), *b = float_copy(z, N * ld), *d = float_copy(z, N * ld);
        par_set_threads(1);
        distill_rows(a, N, V, ld, &s, row, target, w, la);
        par_set_threads(3);
        distill_rows(d, N, V, ld, &s, row, target, w, lc);
        par_set_threads(0);
        assert_same_bytes(a, d, N * ld * sizeof *a);
        assert_same_bytes(la, lc, sizeof la);
        distill_rows_ref(b, N, V, ld, &s, row, target, w, lb);
        for (size_t i = 0; i < N; i++) {
            assert_near(a + i * ld, b + i * ld, V, 5e-6);
            assert_memory_equal(a + i * ld + V, z + i * ld + V, 12);
            assert_true(fabs(la[i] - lb[i]) <= 1e-6 * (1 + fabs(lb[i])));
        }
        free(id), free(logp), free(z), free(w), free(a), free(b), free(d);
    }
}

static void limits(void **state)
{
    (void)state;
    enum { V = 300 };
    int32_t target[N], id[N * V];
    uint32_t row[N] = {0, 1, 2, 3, 4};
    float logp[N * V], zero[N] = {0}, *z = random_floats(N * V, 4), *a = float_copy(z, N * V), *b = float_copy(z, N * V);
    double la[N], lb[N];
    for (int i = 0; i < N; i++)
        target[i] = i * 7;
    struct soft_targets one = {1, target, zero, 1, 1}; /* all of the teacher's probability on the target */
    distill_rows(a, N, V, V, &one, row, target, NULL, la);
    xent_rows(b, N, V, V, target, NULL, lb);
    assert_near(a, b, N * V, 1e-6);
    for (int i = 0; i < N; i++)
        assert_true(fabs(la[i] - lb[i]) < 1e-6);
    top_logprobs(z, N, V, V, V, id, logp);
    struct soft_targets self = {V, id, logp, 2, 1};
    memcpy(a, z, N * V * sizeof *a);
    distill_rows(a, N, V, V, &self, row, target, NULL, la);
    for (int i = 0; i < N; i++)
        assert_true(fabs(la[i]) < 1e-6);
    for (int i = 0; i < N * V; i++)
        assert_true(fabsf(a[i]) < 1e-6f);
    free(z), free(a), free(b);
}

static void in_order(void **state)
{
    (void)state;
    enum { V = 1000, K = 20 };
    float *z = random_floats(2 * V, 5), logp[2 * K];
    int32_t id[2 * K];
    for (int i = 0; i < V; i++)
        z[V + i] = (float)(i % 3); /* many equal ones */
    top_logprobs(z, 2, V, V, K, id, logp);
    double sum = 0;
    for (int i = 0; i < V; i++)
        sum += exp((double)z[i]);
    for (int j = 0; j < K; j++) {
        int larger = 0;
        for (int i = 0; i < V; i++)
            larger += z[i] > z[id[j]];
        assert_int_equal(larger, j);
        assert_true(fabs((double)logp[j] - ((double)z[id[j]] - log(sum))) < 1e-5);
        assert_int_equal(id[K + j], 3 * j + 2); /* the lowest ids of the largest value */
    }
    z[V - 1] = 1e3f; /* a row of padding: in the sum, not among the tokens */
    top_logprobs(z, 2, V, V - 1, K, id, logp);
    for (int j = 0; j < K; j++)
        assert_true(id[j] < V - 1 && logp[j] < -900);
    free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(like_the_loops), cmocka_unit_test(limits), cmocka_unit_test(in_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
