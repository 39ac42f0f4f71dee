/* SPDX-License-Identifier: MIT
 *
 * A teacher's logits: of a model about itself they leave nothing to learn; their gradients are the slopes of the loss; chunks of the
 * head change nothing; the file is what was asked, and what is damaged or belongs to other rows is refused.
 */
#include "sum_sink.h"
#include "tiny.h"

#include "runtime/model/teacher.h"

struct fixture {
    struct opened o;
    struct weights *w;
    struct samples s;
    uint32_t which[3];
};

static void start(struct fixture *f, bool tied)
{
    struct err e;
    struct tiny_batch p;
    *f = (struct fixture){.which = {0, 1, 2}};
    tiny_open(&f->o, tied, DT_F32);
    OK(weights_new(f->o.m, DT_F32, WEIGHTS_TRAINABLE, &f->w, &e), e);
    tiny_fill(&p, model_config(f->o.m)->vocab_size);
    f->s = (struct samples){.n = 3, .v = calloc(3, sizeof *f->s.v)};
    for (size_t i = 0; i < 3; i++) {
        struct encoded *x = &f->s.v[i].x;
        x->n = (size_t)(p.cu[i + 1] - p.cu[i]);
        x->n_target = (size_t)(p.tcu[i + 1] - p.tcu[i]);
        x->ids = malloc(x->n * sizeof *x->ids);
        x->trained = calloc(x->n, 1);
        memcpy(x->ids, p.ids + p.cu[i], x->n * sizeof *x->ids);
        for (size_t t = x->n - x->n_target; t < x->n; t++)
            x->trained[t] = 1;
        f->s.v[i].row = i + 4;
        f->s.tokens += x->n;
        f->s.targets += x->n_target;
    }
}

static void stop(struct fixture *f)
{
    samples_release(&f->s);
    weights_free(f->w);
    close_dir(&f->o);
}

static void ask(struct fixture *f, size_t k, struct teacher *t)
{
    struct err e;
    struct loss_options o = {.weights = f->w, .budget = 12};
    OK(teacher_ask(&f->s, &o, (size_t)weights_config(f->w)->vocab_size, k, t, &e), e);
    OK(teacher_join(t, &f->s, &e), e);
}

static double loss_of(struct fixture *f, struct pass_options o, const struct grad_sink *sink)
{
    struct err e;
    struct packed p;
    double total;
    o.weights = f->w;
    OK(packed_make(&f->s, f->which, 3, 0.1, &p, &e), e);
    OK(pass_backward(&o, &p.b, sink, NULL, &total, &e), e);
    packed_release(&p);
    return total;
}

static void knows_itself(void **state)
{
    (void)state;
    struct fixture f;
    struct teacher t;
    start(&f, false);
    ask(&f, 37, &t);
    assert_true(fabs(loss_of(&f, (struct pass_options){0}, NULL)) < 1e-6);
    teacher_release(&t);
    ask(&f, 5, &t);
    assert_true(loss_of(&f, (struct pass_options){0}, NULL) > 0.01); /* the other tokens are asked to be nothing */
    teacher_release(&t);
    stop(&f);
}

static void slopes(void **state)
{
    (void)state;
    struct fixture f;
    struct teacher t;
    start(&f, true);
    ask(&f, 9, &t);
    struct lora *l = tiny_lora(weights_config(f.w), 0, false, 0);
    for (int i = 0; i < 3; i++) {
        t.soft.temperature = i == 0 ? 1 : 2.5;
        t.soft.weight = i == 2 ? 0.3 : 1;
        for (size_t k = 0; k < l->n; k++) {
            memset(l->pairs[k].dA, 0, l->pairs[k].in * 3 * sizeof(float));
            memset(l->pairs[k].dB, 0, l->pairs[k].out * 3 * sizeof(float));
        }
        struct pass_options o = {.lora = l};
        loss_of(&f, o, NULL);
        float **all = calloc(l->n, sizeof *all); /* every further pass adds to the gradients */
        for (size_t k = 0; k < l->n; k++) {
            all[k] = malloc(l->pairs[k].out * 3 * sizeof **all);
            memcpy(all[k], l->pairs[k].dB, l->pairs[k].out * 3 * sizeof **all);
        }
        for (size_t k = 0; k < l->n; k++) {
            struct lora_pair *p = &l->pairs[k];
            size_t n = p->out * 3;
            double norm = 0, value[2], h = 4e-3;
            float *g = all[k], *keep = malloc(n * sizeof *keep);
            memcpy(keep, p->B, n * sizeof *keep);
            for (size_t j = 0; j < n; j++)
                norm += (double)g[j] * (double)g[j];
            norm = sqrt(norm);
            for (int side = 0; side < 2; side++) {
                for (size_t j = 0; j < n; j++)
                    p->B[j] = keep[j] + (float)((side ? h : -h) * (double)g[j] / norm);
                value[side] = loss_of(&f, o, NULL);
            }
            memcpy(p->B, keep, n * sizeof *keep);
            free(g);
            free(keep);
            double slope = (value[1] - value[0]) / (2 * h);
            if (norm < 1e-6 || !(fabs(slope - norm) < 0.01 * norm + 2e-4))
                fail_msg("%s: slope %g, gradient %g", module_name(p->mod), slope, norm);
        }
        free(all);
    }
    lora_free(l);
    teacher_release(&t);
    stop(&f);
}

/* The head's gradient over few logits at a time is that over all. */
static void chunks(void **state)
{
    (void)state;
    struct fixture f;
    struct teacher t;
    start(&f, false);
    ask(&f, 6, &t);
    struct sum_sink s[2];
    double total[2];
    for (int i = 0; i < 2; i++) {
        struct grad_sink sink;
        sum_init(&s[i], weights_config(f.w), &sink);
        total[i] = loss_of(&f, (struct pass_options){.head_bytes = i ? 2 * 37 * sizeof(float) : 0}, &sink);
    }
    assert_true(s[1].linears > s[0].linears && fabs(total[0] - total[1]) < 1e-6 * total[0]);
    size_t n;
    float *a = *sum_slot(&s[0], -1, MOD_HEAD, false, &n), *b = *sum_slot(&s[1], -1, MOD_HEAD, false, &n);
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(a[i] - b[i]) < 1e-5f);
    sum_release(&s[0]);
    sum_release(&s[1]);
    teacher_release(&t);
    stop(&f);
}

static void file(void **state)
{
    (void)state;
    struct fixture f;
    struct err e;
    struct teacher t, r, bad;
    char dir[] = "/tmp/pkgraph-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *path = fs_join(dir, "teacher.safetensors");
    start(&f, false);
    ask(&f, 4, &t);
    OK(teacher_write(&t, &f.s, path, &e), e);
    OK(teacher_read(path, 37, &r, &e), e);
    assert_int_equal(r.targets, 12);
    assert_int_equal(r.soft.k, 4);
    assert_memory_equal(r.soft.id, t.soft.id, 12 * 4 * 4);
    assert_memory_equal(r.soft.logp, t.soft.logp, 12 * 4 * 4);
    OK(teacher_join(&r, &f.s, &e), e);
    assert_ptr_equal(f.s.soft, &r.soft);
    assert_int_equal(f.s.v[2].soft, 8);
    assert_int_equal(teacher_read(path, 3, &bad, &e), ERR_DAMAGED);
    f.s.v[1].x.ids[0] ^= 1;
    assert_int_equal(teacher_join(&r, &f.s, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "row 5"));
    f.s.v[1].x.ids[0] ^= 1;
    f.s.v[1].row = 9;
    assert_int_equal(teacher_join(&r, &f.s, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "other rows"));
    teacher_release(&r);
    teacher_release(&t);
    OK(fs_write_atomic(path, "no", 2, &e), e);
    assert_true(teacher_read(path, 37, &bad, &e) < 0);
    free(path);
    OK(fs_remove_tree(dir, &e), e);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(knows_itself), cmocka_unit_test(slopes), cmocka_unit_test(chunks), cmocka_unit_test(file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
