/* SPDX-License-Identifier: MIT
 *
 * panel: packed bf16 weights over odd shapes against the plain reference; with biases, accumulation and the gate; a row has the same
 * bytes alone, among others, and on any number of threads.
 */
#include "helper.h"

#include "runtime/kernels/gemm.h"
#include "runtime/kernels/swiglu.h"
#include "runtime/kernels/thin.h"

static const size_t shapes[][4] = {/* m, k, n of two parts */
    {1, 2, 1, 3},      {1, 64, 8, 200},  {2, 20, 7, 37},   {3, 96, 129, 5},    {5, 34, 300, 4},      {11, 64, 256, 31},
    {12, 576, 33, 16}, {13, 32, 32, 64}, {24, 128, 65, 130}, {25, 160, 40, 17}, {100, 62, 100, 257}, {7, 6, 9000, 31},
};

struct pair {
    size_t m, k, n[2];
    uint16_t *x, *w[2];
    float *bias;
    struct gemm_packed *packed[2];
};

static void pair_new(struct pair *p, const size_t *s)
{
    struct err e;
    *p = (struct pair){.m = s[0], .k = s[1], .n = {s[2], s[3]}};
    float *x = random_floats(p->m * p->k, 1);
    p->x = typed_copy(x, p->m * p->k, DT_BF16);
    p->bias = random_floats(p->n[0], 2);
    for (int i = 0; i < 2; i++) {
        float *w = random_floats(p->n[i] * p->k, 3 + (uint32_t)i);
        p->w[i] = typed_copy(w, p->n[i] * p->k, DT_BF16);
        assert_int_equal(gemm_pack(p->w[i], p->n[i], p->k, DT_BF16, &p->packed[i], &e), 0);
        free(w);
    }
    free(x);
}

static void pair_free(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        gemm_packed_free(p->packed[i]);
        free(p->w[i]);
    }
    free(p->x);
    free(p->bias);
}

static void run(const struct pair *p, size_t row, size_t rows, float *y0, float *y1)
{
    struct gemm_part parts[2] = {{.w = p->packed[0], .bias = p->bias, .y = y0}, {.w = p->packed[1], .accumulate = true, .y = y1}};
    gemm_nt_parts(rows, p->x + row * p->k, p->k, parts, 2);
}

static void products(void **state)
{
    (void)state;
    if (!gemm_pack_joins(DT_BF16, 64)) {
        print_message("no AVX-512 BF16, or tile units: no panels here\n");
        skip();
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct pair p;
        pair_new(&p, shapes[i]);
        float *y[2], *want[2], *start = random_floats(p.m * p.n[1], 9);
        struct thin_part parts[2] = {{.w = p.w[0], .n = p.n[0], .bias = p.bias}, {.w = p.w[1], .n = p.n[1], .accumulate = true}};
        for (int k = 0; k < 2; k++) {
            y[k] = k ? float_copy(start, p.m * p.n[k]) : random_floats(p.m * p.n[k], 8);
            want[k] = float_copy(y[k], p.m * p.n[k]);
            parts[k].y = want[k];
        }
        thin_nt_ref(p.m, p.k, DT_BF16, p.x, parts, 2);
        par_set_threads(1);
        run(&p, 0, p.m, y[0], y[1]);
        for (int k = 0; k < 2; k++)
            assert_near(y[k], want[k], p.m * p.n[k], 1e-6);
        par_set_threads(3);
        for (size_t row = 0; row < p.m; row++) { /* alone */
            memcpy(want[1], start + row * p.n[1], p.n[1] * sizeof(float));
            run(&p, row, 1, want[0], want[1]);
            for (int k = 0; k < 2; k++)
                assert_same_bytes(want[k], y[k] + row * p.n[k], p.n[k] * sizeof(float));
        }
        par_set_threads(0);
        for (int k = 0; k < 2; k++) {
            free(y[k]);
            free(want[k]);
        }
        free(start);
        pair_free(&p);
    }
}

/* The gate in one go is the gate by parts, to the bit. */
static void gate(void **state)
{
    (void)state;
    if (!gemm_pack_joins(DT_BF16, 64))
        skip();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct pair p;
        size_t s[4] = {shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][2]}, n = s[0] * s[2];
        pair_new(&p, s);
        float *g = malloc(n * sizeof *g), *u = malloc(n * sizeof *u);
        uint16_t *half = malloc(n * sizeof *half), *want = malloc(n * sizeof *want);
        struct gemm_part parts[2] = {{.w = p.packed[0], .y = g}, {.w = p.packed[1], .y = u}};
        gemm_nt_parts(p.m, p.x, p.k, parts, 2);
        swiglu_forward(g, g, u, n);
        dtype_from_f32(want, DT_BF16, g, n);
        gemm_nt_parts(p.m, p.x, p.k, &(struct gemm_part){.w = p.packed[0], .up = p.packed[1], .half = half}, 1);
        assert_same_bytes(half, want, n * sizeof *half);
        free(g);
        free(u);
        free(half);
        free(want);
        pair_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(products), cmocka_unit_test(gate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
