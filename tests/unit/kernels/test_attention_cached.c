/* SPDX-License-Identifier: MIT
 *
 * attention over caches: decoding and prompts behind a known front, against attention_decode_ref of each query by itself, in
 * f32 and bf16; a decoded sequence's bytes do not depend on its neighbours or the threads.
 */
#include "helper.h"

#include "runtime/kernels/attention.h"

enum { MOST = 300 };

static const struct shape {
    int heads, kv_heads, hd, n_seqs, queries[4], len[4];
} shapes[] = {
    {4, 2, 6, 3, {1, 1, 1}, {1, 17, 40}},     {14, 2, 64, 2, {1, 1}, {33, 299}},      {9, 3, 64, 2, {1, 1}, {5, 130}},
    {12, 2, 128, 2, {1, 1}, {64, 70}},        {2, 1, 96, 1, {1}, {21}},               {3, 3, 16, 2, {1, 1}, {16, 9}},
    {4, 2, 6, 3, {3, 1, 40}, {3, 17, 40}},    {14, 2, 64, 3, {70, 5, 130}, {90, 299, 130}}, {4, 4, 32, 2, {64, 65}, {64, 300}},
};

struct caches {
    float *kf[4], *vf[4];
    void *k[4], *v[4];
};

static void check(const struct shape *s, enum dtype t, double tolerance)
{
    size_t H = (size_t)s->heads, kd = (size_t)s->kv_heads * (size_t)s->hd, qd = H * (size_t)s->hd;
    int32_t cu[5] = {0}, len[4];
    struct caches c;
    struct err e;
    bool decoding = true;
    for (int i = 0; i < s->n_seqs; i++) {
        cu[i + 1] = cu[i] + s->queries[i];
        len[i] = s->len[i];
        decoding &= s->queries[i] == 1;
        size_t n = (size_t)len[i] * kd;
        c.kf[i] = random_floats(n, 10 + (uint32_t)i);
        c.vf[i] = random_floats(n, 20 + (uint32_t)i);
        c.k[i] = typed_copy(c.kf[i], n, t);
        c.v[i] = typed_copy(c.vf[i], n, t);
    }
    size_t T = (size_t)cu[s->n_seqs];
    float *q = random_floats(T * qd, 3), *got = random_floats(T * qd, 4), *more = random_floats(T * qd, 5), *want = random_floats(T * qd, 6);
    if (t == DT_BF16 && !decoding)
        free(typed_copy(q, T * qd, t)); /* rounds q */
    for (int i = 0; i < s->n_seqs; i++)
        for (int r = 0; r < s->queries[i]; r++) {
            int32_t n = len[i] - s->queries[i] + r + 1;
            const float *k = c.kf[i], *v = c.vf[i];
            size_t at = (size_t)(cu[i] + r) * qd;
            attention_decode_ref(want + at, q + at, &k, &v, &n, 1, s->heads, s->kv_heads, s->hd);
        }
    for (int threads = 1; threads <= 3; threads += 2) {
        par_set_threads(threads);
        float *out = threads == 1 ? got : more;
        assert_int_equal(attention_cached(out, q, cu, s->n_seqs, (const void *const *)c.k, (const void *const *)c.v, len, t, s->heads, s->kv_heads,
                                          s->hd, &e), 0);
    }
    assert_near(got, want, T * qd, tolerance);
    assert_same_bytes(got, more, T * qd * sizeof(float));
    for (int i = 0; decoding && i < s->n_seqs; i++) {
        const int32_t one[2] = {0, 1};
        const void *k = c.k[i], *v = c.v[i];
        assert_int_equal(attention_cached(more, q + (size_t)i * qd, one, 1, &k, &v, len + i, t, s->heads, s->kv_heads, s->hd, &e), 0);
        assert_same_bytes(more, got + (size_t)i * qd, qd * sizeof(float));
    }
    par_set_threads(0);
    for (int i = 0; i < s->n_seqs; i++) {
        free(c.kf[i]);
        free(c.vf[i]);
        free(c.k[i]);
        free(c.v[i]);
    }
    free(q);
    free(got);
    free(more);
    free(want);
}

static void f32(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check(&shapes[i], DT_F32, 1e-6);
}

static void bf16(void **state)
{
    (void)state;
    if (!attention_cached_has(DT_BF16, 64)) {
        print_message("no bf16 in hardware: caches are f32 here\n");
        skip();
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (attention_cached_has(DT_BF16, shapes[i].hd)) /* the probabilities of a block of queries are rounded */
            check(&shapes[i], DT_BF16, shapes[i].queries[0] == 1 ? 1e-6 : 4e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(f32), cmocka_unit_test(bf16)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
