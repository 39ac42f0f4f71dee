/* SPDX-License-Identifier: MIT
 *
 * Properties of the pass on a random tiny model (no shared files): packing, recomputation, threads and chunks change
 * nothing; gradients agree with finite differences, with adapters, compensation and dropout; a compensated adapter is the
 * plain student; bf16 is close to f32; wrong batches are refused.
 */
#include "sum_sink.h"
#include "tiny.h"

#include "runtime/exec/par.h"

struct fixture {
    struct opened o;
    struct weights *w;
    struct tiny_batch p;
};

static void start(struct fixture *f, bool tied, enum dtype stored, enum dtype compute, enum weights_kind kind)
{
    struct err e;
    tiny_open(&f->o, tied, stored);
    OK(weights_new(f->o.m, compute, kind, &f->w, &e), e);
    tiny_fill(&f->p, model_config(f->o.m)->vocab_size);
}

static void stop(struct fixture *f)
{
    weights_free(f->w);
    close_dir(&f->o);
}

static double loss_with(const struct fixture *f, struct pass_options o, double *seq)
{
    struct err e;
    double total;
    o.weights = f->w;
    OK(pass_loss(&o, &f->p.b, seq, &total, &e), e);
    return total;
}

/* One sequence of the batch, alone. */
static double loss_alone(const struct fixture *f, struct pass_options o, int s)
{
    struct err e;
    const struct tiny_batch *p = &f->p;
    int32_t n = p->cu[s + 1] - p->cu[s], k = p->tcu[s + 1] - p->tcu[s], pos[12];
    for (int i = 0; i < k; i++)
        pos[i] = p->pos[p->tcu[s] + i] - p->cu[s];
    struct batch b = {.n_seqs = 1, .cu = (int32_t[]){0, n}, .ids = p->ids + p->cu[s], .n_targets = k,
                      .target_cu = (int32_t[]){0, k}, .target_pos = pos, .target_id = p->tid + p->tcu[s]};
    double seq, total;
    o.weights = f->w;
    OK(pass_loss(&o, &b, &seq, &total, &e), e);
    assert_true(fabs(total - seq / k) < 1e-6 * total);
    return seq;
}

static void packed_is_separate(void **state)
{
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        struct fixture f;
        start(&f, tied, DT_F32, DT_F32, WEIGHTS_RESIDENT);
        double seq[3];
        struct lora *l = tiny_lora(weights_config(f.w), 3, false, 0);
        for (int with = 0; with < 2; with++) {
            struct pass_options o = {.lora = with ? l : NULL};
            loss_with(&f, o, seq);
            for (int s = 0; s < 3; s++)
                assert_true(fabs(loss_alone(&f, o, s) - seq[s]) < 1e-5 * seq[s]);
        }
        lora_free(l);
        stop(&f);
    }
}

/* Everything a backward pass gives, as one array. */
static float *all_gradients(const struct fixture *f, struct pass_options o, struct lora *l, bool sink_too, size_t *n, double *total)
{
    struct err e;
    struct sum_sink s;
    struct grad_sink sink;
    const struct model_config *c = weights_config(f->w);
    sum_init(&s, c, &sink);
    o.weights = f->w;
    o.lora = l;
    for (size_t i = 0; l && i < l->n; i++) {
        memset(l->pairs[i].dB, 0, l->pairs[i].out * 3 * sizeof(float));
        memset(l->pairs[i].dA, 0, l->pairs[i].in * 3 * sizeof(float));
    }
    OK(pass_backward(&o, &f->p.b, sink_too ? &sink : NULL, NULL, total, &e), e);
    float *out = NULL;
    *n = 0;
    for (int i = 0; i < (c->num_hidden_layers + 1) * MOD_COUNT; i++)
        for (int b = 0; b < 2; b++) {
            float *g = (b ? s.b : s.w)[i];
            size_t k = 0;
            if (!g)
                continue;
            sum_slot(&s, i / MOD_COUNT - 1, (enum module)(i % MOD_COUNT), b, &k);
            out = realloc(out, (*n + k) * sizeof *out);
            memcpy(out + *n, g, k * sizeof *out);
            *n += k;
        }
    for (size_t i = 0; l && i < l->n; i++) {
        size_t k = l->pairs[i].out * 3, m = l->pairs[i].in * 3;
        out = realloc(out, (*n + k + m) * sizeof *out);
        memcpy(out + *n, l->pairs[i].dB, k * sizeof *out);
        memcpy(out + *n + k, l->pairs[i].dA, m * sizeof *out);
        *n += k + m;
    }
    sum_release(&s);
    return out;
}

/* Recomputation, the number of threads, and reused memory change no byte; smaller buffers for the logits only rounding. */
static void same_bytes(void **state)
{
    (void)state;
    for (int c = 0; c < 2; c++) {
        struct fixture f;
        enum dtype t = c ? DT_BF16 : DT_F32;
        struct err e;
        start(&f, false, DT_BF16, t, c ? WEIGHTS_STREAMED : WEIGHTS_RESIDENT);
        struct lora *l = tiny_lora(weights_config(f.w), 3, false, 0.3);
        struct pass_options o = {.training = true, .dropout_seed = 5, .dropout_step = 9};
        size_t n, m;
        double total, again;
        float *want = all_gradients(&f, o, l, true, &n, &total);
        struct pass_work *work;
        OK(pass_work_new(&work, &e), e);
        for (int i = 0; i < 6; i++) {
            o.recompute = i % 2;
            o.work = i > 2 ? work : NULL;
            par_set_threads(1 + i % 3);
            float *got = all_gradients(&f, o, l, true, &m, &again);
            assert_int_equal(n, m);
            assert_memory_equal(got, want, n * sizeof *want);
            assert_true(again == total);
            free(got);
        }
        par_set_threads(0);
        size_t bytes[] = {1, 5 * 37 * 4, 8 * 37 * 4};
        for (int i = 0; i < 3; i++) {
            o.head_bytes = bytes[i];
            float *got = all_gradients(&f, o, l, true, &m, &again);
            assert_true(distance(got, want, n) < (c ? 2e-3 : 1e-5) && fabs(again - total) < 1e-5 * total);
            free(got);
        }
        pass_work_free(work);
        lora_free(l);
        free(want);
        stop(&f);
    }
}

/* Adapter gradients do not depend on whether somebody else takes the base's; a loss pass agrees. */
static void sink_or_none(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, true, DT_F32, DT_F32, WEIGHTS_RESIDENT);
    struct lora *l = tiny_lora(weights_config(f.w), 0, false, 0);
    size_t n, m;
    double total, again;
    float *all = all_gradients(&f, (struct pass_options){0}, l, true, &n, &total);
    float *own = all_gradients(&f, (struct pass_options){.recompute = true}, l, false, &m, &again);
    assert_true(m < n && distance(own, all + (n - m), m) < 1e-6);
    assert_true(fabs(total - loss_with(&f, (struct pass_options){.lora = l}, NULL)) < 1e-6 * total);
    free(all);
    free(own);
    lora_free(l);
    stop(&f);
}

/* Only some modules carry adapters: the pass stops early and their gradients stay what they were. */
static void stops_below(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, false, DT_F32, DT_F32, WEIGHTS_RESIDENT);
    const struct model_config *c = weights_config(f.w);
    static const struct {
        int layer;
        enum module m;
    } lowest[] = {{-1, MOD_HEAD}, {2, MOD_DOWN}, {2, MOD_UP}, {2, MOD_O}, {1, MOD_V}, {0, MOD_Q}, {-1, MOD_EMBED}};
    for (size_t i = 0; i < sizeof lowest / sizeof *lowest; i++)
        for (int recompute = 0; recompute < 2; recompute++) {
            struct err e;
            double total;
            struct lora *full = tiny_lora(c, 3, false, 0), *part = tiny_lora(c, 3, false, 0);
            struct lora_pair *p = lora_find(part, lowest[i].layer, lowest[i].m), *q = lora_find(full, lowest[i].layer, lowest[i].m);
            for (size_t k = 0; k < part->n; k++)
                if (&part->pairs[k] != p) {
                    free(part->pairs[k].dA);
                    free(part->pairs[k].dB);
                    part->pairs[k].dA = part->pairs[k].dB = NULL;
                }
            struct pass_options o = {.weights = f.w, .lora = full};
            OK(pass_backward(&o, &f.p.b, NULL, NULL, &total, &e), e);
            o.lora = part;
            o.recompute = recompute;
            OK(pass_backward(&o, &f.p.b, NULL, NULL, &total, &e), e);
            assert_memory_equal(p->dA, q->dA, p->in * 3 * sizeof(float));
            assert_memory_equal(p->dB, q->dB, p->out * 3 * sizeof(float));
            lora_free(full);
            lora_free(part);
        }
    stop(&f);
}

/* Directional derivative: the loss along the gradient must rise by |g|^2 a step. */
static void check_direction(const struct fixture *f, struct pass_options o, float *x, const float *g, size_t n, const char *what)
{
    double norm = 0;
    float *keep = malloc(n * sizeof *keep);
    for (size_t i = 0; i < n; i++)
        norm += (double)g[i] * g[i];
    norm = sqrt(norm);
    if (norm < 1e-6)
        fail_msg("%s: no gradient", what);
    memcpy(keep, x, n * sizeof *keep);
    double value[2], h = norm > 2.5 ? 0.01 / norm : 4e-3;
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < n; i++)
            x[i] = keep[i] + (float)((side ? h : -h) * g[i] / norm);
        value[side] = loss_with(f, o, NULL);
    }
    memcpy(x, keep, n * sizeof *keep);
    free(keep);
    double slope = (value[1] - value[0]) / (2 * h);
    if (!(fabs(slope - norm) < 0.01 * norm + 2e-4))
        fail_msg("%s: slope %g, gradient %g", what, slope, norm);
}

static void finite_differences(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct fixture f;
        bool tied = i & 1, dropout = i & 2, compensated = i & 4;
        start(&f, tied, DT_F32, DT_F32, WEIGHTS_TRAINABLE);
        struct lora *l = tiny_lora(weights_config(f.w), compensated ? 2 + (i & 1) * 2 : 0, false, dropout ? 0.25 : 0);
        float weight[12];
        for (int k = 0; k < 12; k++)
            weight[k] = 0.02f * (float)(k + 1);
        f.p.b.target_weight = weight;
        struct pass_options o = {.lora = l, .training = true, .dropout_seed = 3, .dropout_step = (uint64_t)i, .recompute = i % 3 == 1};
        struct err e;
        struct sum_sink s;
        struct grad_sink sink;
        double total;
        sum_init(&s, weights_config(f.w), &sink);
        o.weights = f.w;
        OK(pass_backward(&o, &f.p.b, &sink, NULL, &total, &e), e);
        assert_true(fabs(total - loss_with(&f, o, NULL)) < 1e-6 * total);
        for (size_t k = 0; k < l->n; k++) {
            struct lora_pair *p = &l->pairs[k];
            check_direction(&f, o, p->B, p->dB, p->out * 3, module_name(p->mod));
            check_direction(&f, o, p->A, p->dA, p->in * 3, module_name(p->mod));
        }
        for (size_t k = 0; k < model_tensor_count(f.o.m); k++) {
            const char *name = model_tensor_at(f.o.m, k)->name;
            int layer;
            enum module m;
            bool bias;
            size_t n, n2;
            assert_int_equal(param_name_parse(name, &layer, &m, &bias), 0);
            float *x = weights_param(f.w, name, &n), *g = *sum_slot(&s, layer, m, bias, &n2);
            assert_int_equal(n, n2);
            if (m != MOD_K || !bias) /* softmax does not see a bias of k without rotation, and hardly with it */
                check_direction(&f, o, x, g, n, name);
        }
        sum_release(&s);
        lora_free(l);
        stop(&f);
    }
}

/* B0 A0 = B A: the plain student, to the last bit, in both types; the explicit formula agrees. */
static void compensated_is_plain(void **state)
{
    (void)state;
    for (int c = 0; c < 2; c++) {
        struct fixture f;
        start(&f, c, DT_BF16, c ? DT_BF16 : DT_F32, WEIGHTS_RESIDENT);
        struct lora *l = tiny_lora(weights_config(f.w), 3, true, 0.5);
        double plain = loss_with(&f, (struct pass_options){0}, NULL);
        assert_true(loss_with(&f, (struct pass_options){.lora = l}, NULL) == plain);
        assert_true(fabs(loss_with(&f, (struct pass_options){.lora = l, .training = true}, NULL) - plain) > 1e-3);
        lora_free(l);
        stop(&f);
    }
}

/* (B, A) with (B0, A0) is the rank r + r0 adapter [B | -B0] [A ; A0]. */
static void compensation_is_a_difference(void **state)
{
    (void)state;
    struct fixture f;
    struct err e;
    start(&f, true, DT_F32, DT_F32, WEIGHTS_RESIDENT);
    const struct model_config *c = weights_config(f.w);
    struct lora *l = tiny_lora(c, 2, false, 0), *both;
    OK(lora_new(l->n, &both, &e), e);
    for (size_t i = 0; i < l->n; i++) {
        const struct lora_pair *p = &l->pairs[i];
        struct lora_pair *q = &both->pairs[i];
        *q = (struct lora_pair){.layer = p->layer, .mod = p->mod, .r = 5, .scale = p->scale};
        OK(lora_pair_alloc(q, c, 0, &e), e);
        for (size_t j = 0; j < p->out; j++)
            for (size_t k = 0; k < 5; k++)
                q->B[j * 5 + k] = k < 3 ? p->B[j * 3 + k] : -p->B0[j * 2 + k - 3];
        memcpy(q->A, p->A, 3 * p->in * sizeof(float));
        memcpy(q->A + 3 * p->in, p->A0, 2 * p->in * sizeof(float));
    }
    OK(lora_index(both, c->num_hidden_layers, &e), e);
    double a = loss_with(&f, (struct pass_options){.lora = l}, NULL), b = loss_with(&f, (struct pass_options){.lora = both}, NULL);
    assert_true(fabs(a - b) < 1e-5 * b);
    lora_free(l);
    lora_free(both);
    stop(&f);
}

static void bf16_is_close(void **state)
{
    (void)state;
    for (int kind = WEIGHTS_RESIDENT; kind <= WEIGHTS_PACKED_BOTH; kind++) {
        struct fixture f, g;
        start(&f, kind == WEIGHTS_STREAMED, DT_F32, DT_F32, (enum weights_kind)kind);
        start(&g, kind == WEIGHTS_STREAMED, DT_F32, DT_BF16, (enum weights_kind)kind);
        size_t n, m;
        double want, got;
        struct lora *l = tiny_lora(weights_config(f.w), 3, false, 0.1);
        struct pass_options o = {.training = true};
        float *a = all_gradients(&f, o, l, true, &n, &want), *b = all_gradients(&g, o, l, true, &m, &got);
        assert_true(n == m && fabs(got - want) < 2e-2 * want);
        assert_true(distance(b, a, n) < 0.1);
        free(a);
        free(b);
        lora_free(l);
        stop(&f);
        stop(&g);
    }
}

static void gradients_accumulate(void **state)
{
    (void)state;
    struct fixture f;
    struct err e;
    start(&f, false, DT_F32, DT_F32, WEIGHTS_RESIDENT);
    struct lora *l = tiny_lora(weights_config(f.w), 3, false, 0);
    size_t n;
    double total;
    float *once = all_gradients(&f, (struct pass_options){0}, l, false, &n, &total);
    OK(pass_backward(&(struct pass_options){.weights = f.w, .lora = l}, &f.p.b, NULL, NULL, &total, &e), e);
    const struct lora_pair *p = &l->pairs[1];
    for (size_t i = 0; i < p->out * 3; i++)
        assert_true(fabsf(p->dB[i] - 2 * once[(l->pairs[0].out + l->pairs[0].in) * 3 + i]) <= 1e-4f * fabsf(p->dB[i]) + 1e-6f);
    free(once);
    lora_free(l);
    stop(&f);
}

static void refuses(void **state)
{
    (void)state;
    struct fixture f;
    struct err e = {0};
    double total;
    start(&f, false, DT_F32, DT_F32, WEIGHTS_RESIDENT);
    struct pass_options o = {.weights = f.w};
    struct batch b = f.p.b;
    b.n_targets = 0;
    assert_int_equal(pass_loss(&o, &b, NULL, &total, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "no target"));
    f.p.ids[3] = 37;
    assert_int_equal(pass_loss(&o, &f.p.b, NULL, &total, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "37"));
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_is_separate),
        cmocka_unit_test(same_bytes),
        cmocka_unit_test(sink_or_none),
        cmocka_unit_test(stops_below),
        cmocka_unit_test(finite_differences),
        cmocka_unit_test(compensated_is_plain),
        cmocka_unit_test(compensation_is_a_difference),
        cmocka_unit_test(bf16_is_close),
        cmocka_unit_test(gradients_accumulate),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
