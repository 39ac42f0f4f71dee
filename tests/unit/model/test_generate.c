/* SPDX-License-Identifier: MIT
 *
 * Generation: the same text whatever the batch, the pieces of the prefill, shared fronts and threads, greedy and drawn; bf16
 * from caches against the whole sequence anew; draws against the probabilities.
 */
#include "tiny.h"

#include "runtime/exec/par.h"
#include "runtime/kernels/gemm.h"
#include "runtime/model/generate.h"
#include "runtime/model/sample.h"

enum { N = 9, VOCAB = 37 };

/* Prompts 2, 3, 4 and 7, 8 share fronts of 20 and 30 ids. */
static void prompts_new(struct ids *p)
{
    for (size_t i = 0; i < N; i++) {
        size_t front = i >= 2 && i <= 4 ? 20 : i >= 7 ? 30 : 0;
        for (size_t t = 0; t < front; t++)
            ids_push(&p[i], (int32_t)rng_below(8, i >= 7, t, VOCAB));
        for (size_t t = 0; t < 1 + i * 2; t++)
            ids_push(&p[i], (int32_t)rng_below(4, i, t, VOCAB));
    }
}

static void ids_free(struct ids *p)
{
    for (size_t i = 0; i < N; i++)
        ids_release(&p[i]);
}

static void same_text(double temperature, enum dtype t)
{
    struct opened o;
    struct err e;
    struct weights *w;
    struct ids prompts[N] = {0}, first[N] = {0};
    tiny_open(&o, true, DT_F32);
    OK(weights_new(o.m, t, t == DT_F32 ? WEIGHTS_RESIDENT : WEIGHTS_PACKED, &w, &e), e);
    prompts_new(prompts);
    static const struct {
        size_t batch, prefill;
        int threads;
    } ways[] = {{0, 0, 1}, {1, 0, 1}, {2, 0, 3}, {3, 7, 2}, {0, 1, 1}, {0, 40, 3}, {N, 16, 2}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct ids out[N] = {0};
        struct generate_options g = {.weights = w, .max_new_tokens = 9, .max_batch = ways[i].batch, .prefill = ways[i].prefill,
                                     .temperature = temperature, .top_k = 20, .top_p = 0.9, .seed = 11,
                                     .copy_weights = ways[i].batch > 0}; /* few at once: enough steps to copy for */
        par_set_threads(ways[i].threads);
        OK(generate(&g, N, prompts, out, &e), e);
        for (size_t s = 0; s < N; s++) {
            assert_int_equal(out[s].n, 9);
            if (i) {
                assert_memory_equal(out[s].v, first[s].v, 9 * sizeof(int32_t));
                ids_release(&out[s]);
            } else
                first[s] = out[s];
        }
    }
    par_set_threads(0);
    ids_free(prompts);
    ids_free(first);
    weights_free(w);
    close_dir(&o);
}

static void greedy(void **state)
{
    (void)state;
    same_text(0, DT_F32);
}

static void drawn(void **state)
{
    (void)state;
    same_text(1.5, DT_F32);
}

/* Panels: in bf16 too, draws and all, a sequence is the same alone and among others. */
static void drawn_bf16(void **state)
{
    (void)state;
    if (!gemm_pack_joins(DT_BF16, 64)) {
        print_message("no panels on this processor\n");
        skip();
    }
    same_text(1.5, DT_BF16);
}

/* The row of logits of the last id of a sequence, by the ordinary pass. */
static void last_logits(const struct weights *w, const int32_t *ids, size_t n, float *logits)
{
    struct err e;
    int32_t cu[2] = {0, (int32_t)n}, pos = (int32_t)n - 1;
    struct batch b = {.n_seqs = 1, .cu = cu, .ids = ids};
    OK(pass_logits(&(struct pass_options){.weights = w}, &b, &pos, 1, logits, &e), e);
}

/* In f32 every greedy id is the best of the whole sequence; resident and packed weights, from both kinds of storage. */
static void against_the_pass(void **state)
{
    (void)state;
    struct err e;
    for (int kind = WEIGHTS_RESIDENT; kind <= WEIGHTS_PACKED; kind++)
        for (int compute = 0; compute < 2; compute++) {
            if (kind == WEIGHTS_TRAINABLE)
                continue;
            struct opened o;
            struct weights *w;
            struct ids prompts[N] = {0}, out[N] = {0};
            float logits[VOCAB];
            size_t off = 0, all = 0;
            tiny_open(&o, true, DT_BF16);
            OK(weights_new(o.m, compute ? DT_BF16 : DT_F32, (enum weights_kind)kind, &w, &e), e);
            prompts_new(prompts);
            OK(generate(&(struct generate_options){.weights = w, .max_new_tokens = 6}, N, prompts, out, &e), e);
            for (size_t s = 0; s < N; s++)
                for (size_t t = 0; t < out[s].n; t++) {
                    last_logits(w, prompts[s].v, prompts[s].n, logits);
                    int32_t best = sample_best(logits, VOCAB);
                    /* bf16: near ties may fall either way */
                    off += logits[out[s].v[t]] < logits[best] - (compute ? 0.05f : 1e-4f);
                    all++;
                    ids_push(&prompts[s], out[s].v[t]);
                }
            assert_int_equal(all, 6 * N);
            assert_int_equal(off, 0);
            ids_free(prompts);
            ids_free(out);
            weights_free(w);
            close_dir(&o);
        }
}

static void draws(void **state)
{
    (void)state;
    const float z[6] = {0, 1, 2, 2, -1, -30};
    struct err e;
    double p[6], sum = 0;
    int32_t id;
    size_t seen[6] = {0};
    enum { DRAWS = 20000 };
    for (int i = 0; i < 6; i++)
        sum += p[i] = exp(z[i] / 0.7);
    for (size_t i = 0; i < DRAWS; i++) {
        OK(sample_draw(z, 6, 0.7, 1, 0, rng_uniform(1, 2, i), &id, &e), e);
        seen[id]++;
    }
    for (int i = 0; i < 6; i++) /* five standard errors */
        assert_true(fabs((double)seen[i] / DRAWS - p[i] / sum) < 5 * sqrt(p[i] / sum / DRAWS) + 1e-6);
    for (size_t i = 0; i < 200; i++) {
        double u = (double)i / 200;
        OK(sample_draw(z, 6, 0.7, 1, 2, u, &id, &e), e);
        assert_int_equal(id, u < 0.5 ? 2 : 3);
        OK(sample_draw(z, 6, 0.7, 0.4, 0, u, &id, &e), e); /* one of the two is enough; equals by id */
        assert_int_equal(id, 2);
        OK(sample_draw(z, 6, 0.7, 0.9, 3, u, &id, &e), e);
        assert_true(id == 2 || id == 3 || id == 1);
        OK(sample_draw(z, 6, 1e-3, 1, 0, u, &id, &e), e);
        assert_true(id == 2 || id == 3);
    }
    const float bad[3] = {NAN, NAN, NAN}, some[20] = {1, 2, 3, 9, NAN, 9};
    assert_int_equal(sample_draw(bad, 3, 1, 0.5, 0, 0.3, &id, &e), ERR_INPUT);
    assert_int_equal(sample_best(some, 20), 3);
    assert_int_equal(sample_best(z, 6), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy),
        cmocka_unit_test(drawn), cmocka_unit_test(drawn_bf16),
        cmocka_unit_test(against_the_pass),
        cmocka_unit_test(draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
