/* SPDX-License-Identifier: MIT
 *
 * attention against its plain twin (itself checked by finite differences), packed sequences of odd lengths, some empty.
 */
#include "helper.h"

#include "runtime/kernels/attention.h"
#include "runtime/kernels/gemm.h"

struct shape {
    int n_seqs, heads, kv_heads, hd;
    int32_t cu[6];
};

static const struct shape shapes[] = {
    {1, 1, 1, 2, {0, 1}},
    {2, 2, 1, 8, {0, 3, 10}},
    {4, 6, 2, 16, {0, 64, 64, 129, 199}},
    {3, 4, 4, 10, {0, 1, 66, 70}},
    {2, 14, 2, 64, {0, 150, 230}},
    {1, 3, 1, 128, {0, 200}},
};

struct t {
    size_t T, nq, nk;
    float *q, *k, *v, *dout, *out, *lse, *dq, *dk, *dv;
};

static struct t make(const struct shape *s)
{
    struct t x = {.T = (size_t)s->cu[s->n_seqs]};
    x.nq = x.T * (size_t)(s->heads * s->hd), x.nk = x.T * (size_t)(s->kv_heads * s->hd);
    x.q = random_floats(x.nq, 1), x.k = random_floats(x.nk, 2), x.v = random_floats(x.nk, 3), x.dout = random_floats(x.nq, 4);
    x.out = random_floats(x.nq, 5), x.lse = random_floats(x.T * (size_t)s->heads, 6);
    x.dq = random_floats(x.nq, 7), x.dk = random_floats(x.nk, 8), x.dv = random_floats(x.nk, 9);
    return x;
}

static void release(struct t *x)
{
    free(x->q), free(x->k), free(x->v), free(x->dout), free(x->out), free(x->lse), free(x->dq), free(x->dk), free(x->dv);
}

static void run(struct t *x, const struct shape *s, enum dtype compute)
{
    struct err e = {0};
    if (attention_forward(x->out, x->lse, x->q, x->k, x->v, s->cu, s->n_seqs, s->heads, s->kv_heads, s->hd, compute, &e))
        fail_msg("%s", e.msg);
    if (attention_backward(x->dq, x->dk, x->dv, x->dout, x->out, x->q, x->k, x->v, x->lse, s->cu, s->n_seqs, s->heads, s->kv_heads,
                           s->hd, compute, &e))
        fail_msg("%s", e.msg);
}

static void against_ref(enum dtype compute, double tol)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *s = &shapes[i];
        struct t a = make(s), b = make(s), c = make(s);
        par_set_threads(1);
        run(&a, s, compute);
        par_set_threads(3);
        run(&c, s, compute);
        par_set_threads(0);
        attention_forward_ref(b.out, b.lse, b.q, b.k, b.v, s->cu, s->n_seqs, s->heads, s->kv_heads, s->hd);
        attention_backward_ref(b.dq, b.dk, b.dv, b.dout, b.q, b.k, b.v, s->cu, s->n_seqs, s->heads, s->kv_heads, s->hd);
        assert_near(a.out, b.out, a.nq, tol);
        assert_near(a.lse, b.lse, a.T * (size_t)s->heads, tol);
        assert_near(a.dv, b.dv, a.nk, tol);
        if (a.T > 1) { /* one token: dq and dk are zero up to rounding */
            assert_near(a.dq, b.dq, a.nq, tol);
            assert_near(a.dk, b.dk, a.nk, tol);
        }
        assert_same_bytes(a.out, c.out, a.nq * 4);
        assert_same_bytes(a.dq, c.dq, a.nq * 4);
        assert_same_bytes(a.dk, c.dk, a.nk * 4);
        assert_same_bytes(a.dv, c.dv, a.nk * 4);
        release(&a), release(&b), release(&c);
    }
}

static void f32(void **state)
{
    (void)state;
    against_ref(DT_F32, 3e-6);
}

static void bf16(void **state)
{
    (void)state;
    against_ref(DT_BF16, 2e-2);
}

/* dL/dx by central differences of L = sum(out * dout), for the plain twin. */
static double loss(const struct t *x, const struct shape *s)
{
    double l = 0;
    attention_forward_ref(x->out, NULL, x->q, x->k, x->v, s->cu, s->n_seqs, s->heads, s->kv_heads, s->hd);
    for (size_t i = 0; i < x->nq; i++)
        l += (double)x->out[i] * x->dout[i];
    return l;
}

static void finite_differences(void **state)
{
    (void)state;
    const struct shape *s = &shapes[1];
    struct t x = make(s);
    attention_backward_ref(x.dq, x.dk, x.dv, x.dout, x.q, x.k, x.v, s->cu, s->n_seqs, s->heads, s->kv_heads, s->hd);
    float *in[3] = {x.q, x.k, x.v}, *grad[3] = {x.dq, x.dk, x.dv};
    for (int w = 0; w < 3; w++)
        for (size_t i = 0; i < (w ? x.nk : x.nq); i += 7) {
            float keep = in[w][i], up = keep + 1e-2f, down = keep - 1e-2f;
            in[w][i] = up;
            double a = loss(&x, s);
            in[w][i] = down;
            double d = (a - loss(&x, s)) / ((double)up - down);
            in[w][i] = keep;
            if (fabs(d - grad[w][i]) > 1e-3 + 1e-3 * fabs(d))
                fail_msg("input %d, element %zu: %g, by differences %g", w, i, grad[w][i], d);
        }
    release(&x);
}

static void decode(void **state)
{
    (void)state;
    enum { S = 3, H = 6, K = 2, HD = 24, MAX = 301 };
    static const int32_t len[S] = {1, 37, MAX};
    struct err e = {0};
    float *q = random_floats(S * H * HD, 1), *got = random_floats(S * H * HD, 2), *want = random_floats(S * H * HD, 3);
    float *k[S], *v[S];
    for (int s = 0; s < S; s++)
        k[s] = random_floats(MAX * K * HD, 10u + (unsigned)s), v[s] = random_floats(MAX * K * HD, 20u + (unsigned)s);
    assert_int_equal(attention_decode(got, q, (const float *const *)k, (const float *const *)v, len, S, H, K, HD, &e), 0);
    attention_decode_ref(want, q, (const float *const *)k, (const float *const *)v, len, S, H, K, HD);
    assert_near(got, want, S * H * HD, 2e-6);
    /* alone, the last sequence gives the same bytes */
    float *alone = random_floats(H * HD, 4);
    const float *k2 = k[2], *v2 = v[2];
    assert_int_equal(attention_decode(alone, q + 2 * H * HD, &k2, &v2, len + 2, 1, H, K, HD, &e), 0);
    assert_same_bytes(alone, got + 2 * H * HD, H * HD * 4);
    for (int s = 0; s < S; s++)
        free(k[s]), free(v[s]);
    free(q), free(got), free(want), free(alone);
}

static void nothing(void **state)
{
    (void)state;
    struct err e = {0};
    int32_t cu[2] = {0, 0};
    float x[1] = {0};
    assert_int_equal(attention_forward(x, x, x, x, x, cu, 1, 2, 1, 4, DT_BF16, &e), 0);
    assert_int_equal(attention_backward(x, x, x, x, x, x, x, x, x, cu, 1, 2, 1, 4, DT_BF16, &e), 0);
    assert_int_equal(attention_forward(x, x, x, x, x, cu, 0, 2, 1, 4, DT_F32, &e), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finite_differences), cmocka_unit_test(f32),     cmocka_unit_test(bf16),
        cmocka_unit_test(decode),             cmocka_unit_test(nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
