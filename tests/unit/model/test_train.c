/* SPDX-License-Identifier: MIT
 *
 * Training against PyTorch's: twelve steps of an adapter in both reductions, ten steps of full training; then the portable
 * adapter, the merged model and the compensated start. Skips without the golden folder.
 */
#include "train_case.h"

#include <unistd.h>

#include "runtime/exec/par.h"
#include "runtime/model/model_write.h"
#include "runtime/model/peft_export.h"

static const char *const cases[] = {"mha", "gqa", "rope3", "odd", "qwen"};
enum { N_CASES = sizeof cases / sizeof *cases };

static double relative(double a, double b)
{
    return fabs(a - b) / fmax(fabs(b), 1e-12);
}

static void compare_log(const struct train_case *c, const char *file, struct str log)
{
    char path[1024];
    struct err e = {0};
    struct buf want = {0};
    double loss = 0, norm = 0;
    size_t lines = 0;
    snprintf(path, sizeof path, "%s/%s", c->dir, file);
    OK(fs_read(path, 1 << 24, &want, &e), e);
    struct str a = log, b = buf_view(&want);
    while (a.n && b.n) {
        size_t na = (size_t)((const char *)memchr(a.p, '\n', a.n) - a.p), nb = (size_t)((const char *)memchr(b.p, '\n', b.n) - b.p);
        struct js *x = js_parse((struct str){a.p, na}, "log", &e), *y = js_parse((struct str){b.p, nb}, "golden", &e);
        static const char *const ints[] = {"step", "epoch", "tokens", "target_tokens"};
        for (int i = 0; i < 4; i++)
            assert_int_equal(js_int(js_get(x, ints[i]), -1), js_int(js_get(y, ints[i]), -2));
        double rate = js_num(js_get(y, "learning_rate"), -1);
        assert_true(fabs(js_num(js_get(x, "learning_rate"), -2) - rate) <= 1e-9 + 1e-6 * rate);
        loss = fmax(loss, relative(js_num(js_get(x, "loss"), 0), js_num(js_get(y, "loss"), 1)));
        norm = fmax(norm, relative(js_num(js_get(x, "grad_norm"), 0), js_num(js_get(y, "grad_norm"), 1)));
        js_free(x);
        js_free(y);
        a.p += na + 1, a.n -= na + 1;
        b.p += nb + 1, b.n -= nb + 1;
        lines++;
    }
    assert_int_equal(a.n, 0);
    assert_int_equal(b.n, 0);
    print_message("  %-28s %2zu steps, worst relative: loss %.2g, grad_norm %.2g\n", path + strlen(path) - 28, lines, loss, norm);
    assert_true(loss <= 1e-4 && norm <= 1e-4);
    buf_release(&want);
}

static void compare_after(const struct train_case *c, const char *file, const char *key, const struct weights *w, struct lora *l)
{
    struct err e = {0};
    struct js *j = case_json(c, file);
    const struct js *want = js_get(j, key);
    struct samples four = c->samples;
    double sums[16], worst = 0;
    four.n = 4;
    struct loss_options o = {.weights = w, .lora = l};
    OK(samples_loss(&four, &o, sums, &e), e);
    for (size_t i = 0; i < 4; i++)
        worst = fmax(worst, relative(sums[i] / (double)four.v[i].x.n_target, js_num(js_at(want, i), 0)));
    print_message("  %-28s %s: worst relative %.2g\n", file, key, worst);
    assert_true(worst <= 1e-4);
    js_free(j);
}

/* The change of each module against scale * B A of a golden adapter for the original student. */
static void compare_deltas(const struct train_case *c, const char *folder, const struct lora *l, double tolerance)
{
    char m[1024], g[1024];
    struct err e = {0};
    struct lora *want = NULL;
    double worst = 0;
    snprintf(m, sizeof m, "%s/%s/adapter_model.safetensors", c->dir, folder);
    snprintf(g, sizeof g, "%s/%s/adapter_config.json", c->dir, folder);
    OK(lora_read(m, g, NULL, model_config(c->student.m), &want, &e), e);
    assert_int_equal(want->n, l->n);
    for (size_t i = 0; i < l->n; i++) {
        const struct lora_pair *a = &l->pairs[i], *b = lora_find(want, a->layer, a->mod);
        assert_non_null(b);
        size_t n = a->out * a->in;
        bool embed = a->mod == MOD_EMBED;
        float *x = calloc(n, sizeof *x), *y = calloc(n, sizeof *y);
        OK(lora_add_delta(a, 0, embed ? a->in : a->out, x, &e), e);
        for (size_t o = 0; o < b->out; o++)
            for (size_t k = 0; k < b->in; k++) {
                double v = 0;
                for (size_t r = 0; r < (size_t)b->r; r++)
                    v += (double)b->B[o * (size_t)b->r + r] * b->A[r * b->in + k];
                y[embed ? k * b->out + o : o * b->in + k] = (float)(b->scale * v);
            }
        worst = fmax(worst, distance(x, y, n));
        free(x);
        free(y);
    }
    print_message("  %-28s %zu modules, worst change %.2g\n", folder, l->n, worst);
    assert_true(worst <= tolerance);
    lora_free(want);
}

/* Exported and merged, the adapter computes what it computes beside the base. */
static void check_exports(const struct train_case *c, const struct lora *l, const char *after)
{
    struct err e = {0};
    struct lora *p = NULL, *cut = NULL;
    struct peft_module *m = calloc(l->n, sizeof *m);
    struct weights *w = case_weights(c, WEIGHTS_RESIDENT);
    OK(peft_portable(l, model_config(c->student.m), 0, "base", &p, m, &e), e);
    compare_after(c, after, "loss", w, p);
    for (size_t i = 0; i < p->n; i++)
        assert_true(p->pairs[i].scale == 1 && p->pairs[i].r == peft_full_rank(l) && !p->pairs[i].B0 && m[i].error < 1e-6);
    OK(peft_portable(l, model_config(c->student.m), 2, NULL, &cut, m, &e), e);
    for (size_t i = 0; i < cut->n; i++)
        assert_true(cut->pairs[i].r == 2 && m[i].error > 0 && m[i].error < 1 && m[i].norm > 0);
    lora_free(cut);
    lora_free(p);
    weights_free(w);
    free(m);
}

static void check_merge(const struct train_case *c, struct lora *l, const char *after)
{
    char dir[] = "/tmp/pkg-merge-XXXXXX", st[64], json[64];
    struct err e = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(st, sizeof st, "%s/model.safetensors", dir);
    snprintf(json, sizeof json, "%s/model.json", dir);
    struct model_write mw = {.base = c->student.m, .set_dtype = true, .dtype = DT_F32, .untie = merge_unties(l, model_config(c->student.m)),
                             .edit = merge_edit, .u = l};
    OK(model_write(&mw, st, json, &e), e);
    struct opened o = {.dir = str_dup(str_of(dir)), .json = js_read(json, &e)};
    /* the resolver of open_dir joins folder and name; here the name is a digest: link it */
    const char *digest = js_cstr(js_get(js_at(js_get(o.json, "tensors"), 0), "file"));
    char named[128];
    snprintf(named, sizeof named, "%s/%s", dir, digest);
    assert_int_equal(symlink(st, named), 0);
    js_del(o.json, "tokenizer");
    js_set(o.json, "tokenizer", js_object());
    OK(model_open(o.json, resolve_in_dir, &o, &o.m, &e), e);
    struct weights *w = NULL;
    OK(weights_new(o.m, DT_F32, WEIGHTS_RESIDENT, &w, &e), e);
    compare_after(c, after, "loss", w, NULL);
    weights_free(w);
    close_dir(&o);
    fs_remove_tree(dir, &e);
}

static void lora_training(const char *name)
{
    static const char *const reductions[] = {"token", "microbatch"};
    for (int k = 0; k < 2; k++) {
        struct train_case c;
        struct err e = {0};
        char folder[100], file[160];
        open_train_case(&c, name);
        struct weights *w = case_weights(&c, WEIGHTS_RESIDENT);
        struct lora *l = case_lora(&c);
        if (k == 0) {
            compare_after(&c, "peft.json", "plain", w, NULL);
            compare_after(&c, "peft.json", "step0", w, l);
        }
        struct train_job job = {c.settings, w, l, &c.samples, NULL, NULL};
        job.s.reduction = k ? REDUCE_MICROBATCH : REDUCE_TOKEN;
        job.s.adamw.weight_decay = k ? 0.01 : 0;
        struct train_result res;
        OK(train_run(&job, &res, &e), e);
        snprintf(folder, sizeof folder, "train/%s", reductions[k]);
        snprintf(file, sizeof file, "%s/train.jsonl", folder);
        compare_log(&c, file, buf_view(&res.log));
        compare_deltas(&c, folder, l, 1e-3);
        snprintf(file, sizeof file, "%s/after.json", folder);
        compare_after(&c, file, "loss", w, l);
        check_exports(&c, l, file);
        check_merge(&c, l, file);
        train_result_release(&res);
        lora_free(l);
        weights_free(w);
        close_train_case(&c);
    }
}

static void full_training(const char *name)
{
    struct train_case c;
    struct err e = {0};
    char path[1024];
    open_train_case(&c, name);
    struct weights *w = case_weights(&c, WEIGHTS_TRAINABLE), *before = case_weights(&c, WEIGHTS_TRAINABLE);
    struct train_job job = {c.settings, w, NULL, &c.samples, NULL, NULL};
    job.s.learning_rate = 1e-3;
    job.s.max_steps = 10;
    struct train_result res;
    OK(train_run(&job, &res, &e), e);
    compare_log(&c, "full/train.jsonl", buf_view(&res.log));
    compare_after(&c, "full/after.json", "loss", w, NULL);
    struct st_file *f = NULL;
    double worst = 0;
    snprintf(path, sizeof path, "%s/full/delta.safetensors", c.dir);
    OK(st_open(path, &f, &e), e);
    for (size_t i = 0; i < st_count(f); i++) {
        const struct tensor *t = st_at(f, i);
        size_t n = 0, n0 = 0;
        float *p = weights_param(w, t->name, &n), *q = weights_param(before, t->name, &n0);
        assert_true(p && q && n == t->n && n0 == n);
        for (size_t j = 0; j < n; j++)
            p[j] -= q[j];
        worst = fmax(worst, distance(p, t->data, n));
    }
    print_message("  full/delta.safetensors       %zu tensors, worst %.2g\n", st_count(f), worst);
    assert_true(worst <= 1e-3);
    st_close(f);
    train_result_release(&res);
    weights_free(w);
    weights_free(before);
    close_train_case(&c);
}

static void run_lora(void **state)
{
    lora_training(*state);
}

static void run_full(void **state)
{
    full_training(*state);
}

/* Without training the export is the zero function. */
static void untrained_export(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        struct train_case c;
        struct err e = {0};
        struct lora *p = NULL;
        open_train_case(&c, cases[i]);
        struct lora *l = case_lora(&c);
        OK(peft_portable(l, model_config(c.student.m), 0, NULL, &p, NULL, &e), e);
        for (size_t k = 0; k < p->n; k++)
            for (size_t j = 0; j < p->pairs[k].out * (size_t)p->pairs[k].r; j++)
                assert_true(p->pairs[k].B[j] == 0);
        struct weights *w = case_weights(&c, WEIGHTS_RESIDENT);
        compare_after(&c, "peft.json", "export0", w, p);
        weights_free(w);
        lora_free(p);
        lora_free(l);
        close_train_case(&c);
    }
}

int main(void)
{
    par_set_threads(1); /* tiny shapes: a team would only wait for itself */
    struct CMUnitTest tests[2 * N_CASES + 1] = {cmocka_unit_test(untrained_export)};
    for (size_t i = 0; i < N_CASES; i++) {
        tests[1 + 2 * i] = (struct CMUnitTest){cases[i], run_lora, NULL, NULL, (void *)(uintptr_t)cases[i]};
        tests[2 + 2 * i] = (struct CMUnitTest){cases[i], run_full, NULL, NULL, (void *)(uintptr_t)cases[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
