/* SPDX-License-Identifier: MIT
 *
 * The training loop by itself: cancelled anywhere and gone on with, the same bytes; k x b accumulation equals 1 x kb; order and
 * seeds; validation, early stopping and the best parameters; rows that cannot be trained on; batches and schedules.
 */
#include "train_case.h"

#include <unistd.h>

#include "runtime/exec/par.h"

/* Cancels after a number of polls. */
struct fuse {
    long left;
    int warnings;
    char text[4096];
};

static bool burnt(void *u)
{
    struct fuse *f = u;
    return f->left-- <= 0;
}

static void warned(void *u, const char *text)
{
    struct fuse *f = u;
    f->warnings++;
    snprintf(f->text, sizeof f->text, "%s", text);
}

static uint64_t digest_params(const struct lora *l, struct weights *w)
{
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; l && i < l->n; i++) {
        const unsigned char *p[2] = {(void *)l->pairs[i].A, (void *)l->pairs[i].B};
        size_t n[2] = {(size_t)l->pairs[i].r * l->pairs[i].in * 4, l->pairs[i].out * (size_t)l->pairs[i].r * 4};
        for (int k = 0; k < 2; k++)
            for (size_t j = 0; j < n[k]; j++)
                h = (h ^ p[k][j]) * 1099511628211u;
    }
    static const char *const names[] = {"model.embed_tokens.weight", "model.norm.weight", "model.layers.1.mlp.up_proj.weight",
                                        "model.layers.0.self_attn.q_proj.weight"};
    for (int i = 0; !l && i < 4; i++) {
        size_t n = 0;
        const unsigned char *p = (void *)weights_param(w, names[i], &n);
        for (size_t j = 0; j < n * 4; j++)
            h = (h ^ p[j]) * 1099511628211u;
    }
    return h;
}

struct outcome {
    struct train_result res;
    uint64_t digest;
};

/* Trains from the golden start until it is done, cancelled after `polls` polls at a time (0: never). */
static int train_in_pieces(const struct train_case *c, const struct train_settings *s, bool full, const struct samples *validation, long polls,
                           const char *checkpoint, struct outcome *out, struct err *e)
{
    int pieces = 0, rc;
    do {
        struct fuse f = {polls ? polls : 1L << 40, 0, ""};
        struct progress p = {&f, NULL, warned, burnt};
        struct weights *w = case_weights(c, full ? WEIGHTS_TRAINABLE : WEIGHTS_RESIDENT);
        struct lora *l = full ? NULL : case_lora(c);
        if (l)
            l->dropout = 0.1;
        struct train_job job = {*s, w, l, &c->samples, validation, &p};
        job.s.checkpoint = checkpoint;
        rc = train_run(&job, &out->res, e);
        assert_int_equal(f.warnings, 0);
        out->digest = digest_params(l, w);
        lora_free(l);
        weights_free(w);
        if (rc == ERR_CANCELLED)
            train_result_release(&out->res);
        polls += 3; /* always some way on */
    } while (rc == ERR_CANCELLED && ++pieces < 1000);
    return rc ? rc : pieces;
}

static void resume(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        struct train_case c;
        struct err e = {0};
        struct outcome whole, parts;
        char dir[] = "/tmp/pkg-train-XXXXXX", file[64];
        open_train_case(&c, "gqa");
        struct samples held = c.samples;
        held.n = 3;
        held.targets = held.v[0].x.n_target + held.v[1].x.n_target + held.v[2].x.n_target;
        c.settings.epochs = 2;
        c.settings.batch.shuffle = true;
        c.settings.eval_steps = 2;
        c.settings.load_best = true;
        c.settings.dropout_seed = 7;
        assert_non_null(mkdtemp(dir));
        snprintf(file, sizeof file, "%s/train.safetensors", dir);
        assert_int_equal(train_in_pieces(&c, &c.settings, full, &held, 0, NULL, &whole, &e), 0);
        assert_int_equal(whole.res.steps, 8);
        assert_int_equal(whole.res.n_evals, 4);
        static const long polls[] = {1, 5, 9, 14, 23};
        for (size_t k = 0; k < sizeof polls / sizeof *polls; k++) {
            unlink(file);
            int pieces = train_in_pieces(&c, &c.settings, full, &held, polls[k], file, &parts, &e);
            if (pieces < 1)
                fail_msg("%s, %ld polls: %d pieces: %s", full ? "full" : "lora", polls[k], pieces, e.msg);
            assert_true(parts.digest == whole.digest);
            assert_string_equal(parts.res.log.p, whole.res.log.p);
            assert_true(parts.res.mean_loss == whole.res.mean_loss && parts.res.tokens == whole.res.tokens);
            assert_true(parts.res.best_step == whole.res.best_step && parts.res.n_evals == whole.res.n_evals);
            train_result_release(&parts.res);
        }
        train_result_release(&whole.res);
        fs_remove_tree(dir, &e);
        close_train_case(&c);
    }
}

/* A checkpoint that is not one is reported and left aside. */
static void damaged(void **state)
{
    (void)state;
    struct train_case c;
    struct err e = {0};
    char file[] = "/tmp/pkg-ckpt-XXXXXX";
    open_train_case(&c, "mha");
    int fd = mkstemp(file);
    assert_true(fd >= 0 && write(fd, "not a checkpoint", 16) == 16);
    close(fd);
    struct fuse f = {1L << 40, 0, ""};
    struct progress p = {&f, NULL, warned, burnt};
    struct weights *w = case_weights(&c, WEIGHTS_RESIDENT);
    struct lora *l = case_lora(&c);
    struct train_job job = {c.settings, w, l, &c.samples, NULL, &p};
    job.s.max_steps = 1;
    job.s.checkpoint = file;
    struct train_result res;
    OK(train_run(&job, &res, &e), e);
    assert_int_equal(f.warnings, 1);
    assert_int_equal(res.steps, 1);
    train_result_release(&res);
    lora_free(l);
    weights_free(w);
    unlink(file);
    close_train_case(&c);
}

/* A bit that a disk has turned, anywhere in a checkpoint: training starts anew and gives the same bytes. */
static void rotten(void **state)
{
    (void)state;
    struct train_case c;
    struct err e = {0};
    struct outcome whole;
    struct buf saved = {0};
    char dir[] = "/tmp/pkg-train-XXXXXX", file[64];
    open_train_case(&c, "gqa");
    c.settings.save_steps = 1;
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/train.safetensors", dir);
    assert_int_equal(train_in_pieces(&c, &c.settings, false, NULL, 0, NULL, &whole, &e), 0);
    for (int k = 0; k < 12; k++) {
        struct fuse f = {k ? 1L << 40 : 9, 0, ""}; /* the first is broken off and leaves the checkpoint */
        struct progress p = {&f, NULL, warned, burnt};
        struct weights *w = case_weights(&c, WEIGHTS_RESIDENT);
        struct lora *l = case_lora(&c);
        l->dropout = 0.1;
        struct train_job job = {c.settings, w, l, &c.samples, NULL, &p};
        job.s.checkpoint = file;
        char left[80];
        snprintf(left, sizeof left, "%s.a1B2c3", file); /* of a writer that was killed */
        OK(fs_write_atomic(left, "x", 1, &e), e);
        if (k) {
            saved.p[saved.n * (size_t)(k - 1) / 11] ^= 4;
            OK(fs_write_atomic(file, saved.p, saved.n, &e), e);
            saved.p[saved.n * (size_t)(k - 1) / 11] ^= 4;
        }
        struct train_result res;
        int rc = train_run(&job, &res, &e);
        assert_int_equal(rc, k ? 0 : ERR_CANCELLED);
        assert_int_equal(f.warnings, k > 0);
        assert_false(fs_exists(left));
        if (k == 0)
            OK(fs_read(file, 1 << 24, &saved, &e), e);
        else if (digest_params(l, w) != whole.digest)
            fail_msg("other parameters after damage at %d of 11", k - 1);
        train_result_release(&res);
        lora_free(l);
        weights_free(w);
    }
    buf_release(&saved);
    train_result_release(&whole.res);
    fs_remove_tree(dir, &e);
    close_train_case(&c);
}

static void accumulation(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{4, 1}, {2, 2}, {1, 4}};
    struct train_case c;
    struct err e = {0};
    double loss[3][4], norm[3][4];
    float *first = NULL, *delta = NULL;
    size_t n = 0;
    open_train_case(&c, "qwen");
    for (int k = 0; k < 3; k++) {
        struct weights *w = case_weights(&c, WEIGHTS_RESIDENT);
        struct lora *l = case_lora(&c);
        struct train_job job = {c.settings, w, l, &c.samples, NULL, NULL};
        job.s.batch.rows = shapes[k][0];
        job.s.batch.accumulate = shapes[k][1];
        job.s.epochs = 1;
        struct train_result res;
        OK(train_run(&job, &res, &e), e);
        assert_int_equal(res.steps, 4);
        const char *at = res.log.p;
        for (int i = 0; i < 4; i++) {
            size_t len = strcspn(at, "\n");
            struct js *j = js_parse((struct str){at, len}, "log", &e);
            loss[k][i] = js_num(js_get(j, "loss"), 0);
            norm[k][i] = js_num(js_get(j, "grad_norm"), 0);
            assert_true(fabs(loss[k][i] / loss[0][i] - 1) <= 1e-6 && fabs(norm[k][i] / norm[0][i] - 1) <= 1e-5);
            js_free(j);
            at += len + 1;
        }
        n = l->pairs[3].out * (size_t)l->pairs[3].r;
        delta = malloc(n * sizeof *delta);
        for (size_t i = 0; i < n; i++)
            delta[i] = l->pairs[3].B[i] - l->pairs[3].B0[i];
        if (k == 0)
            first = delta;
        else {
            assert_true(distance(delta, first, n) < 1e-3);
            free(delta);
        }
        train_result_release(&res);
        lora_free(l);
        weights_free(w);
    }
    free(first);
    close_train_case(&c);
}

/* The bytes do not depend on the number of threads. */
static void threads(void **state)
{
    (void)state;
    struct train_case c;
    struct err e = {0};
    struct outcome one, three;
    for (int full = 0; full < 2; full++) {
        open_train_case(&c, "odd");
        c.settings.epochs = 1;
        assert_int_equal(train_in_pieces(&c, &c.settings, full, NULL, 0, NULL, &one, &e), 0);
        par_set_threads(3);
        assert_int_equal(train_in_pieces(&c, &c.settings, full, NULL, 0, NULL, &three, &e), 0);
        par_set_threads(1);
        assert_true(one.digest == three.digest);
        assert_string_equal(one.res.log.p, three.res.log.p);
        train_result_release(&one.res);
        train_result_release(&three.res);
        close_train_case(&c);
    }
}

static void recompute(void **state)
{
    (void)state;
    struct train_case c;
    struct err e = {0};
    struct outcome keep, again;
    open_train_case(&c, "gqa");
    c.settings.epochs = 1;
    assert_int_equal(train_in_pieces(&c, &c.settings, false, NULL, 0, NULL, &keep, &e), 0);
    c.settings.recompute = true;
    assert_int_equal(train_in_pieces(&c, &c.settings, false, NULL, 0, NULL, &again, &e), 0);
    assert_true(keep.digest == again.digest);
    train_result_release(&keep.res);
    train_result_release(&again.res);
    close_train_case(&c);
}

static void early_stopping(void **state)
{
    (void)state;
    struct train_case c;
    struct err e = {0};
    open_train_case(&c, "mha");
    struct samples held = c.samples;
    held.n = 1;
    held.v += 15;
    held.targets = held.v[0].x.n_target;
    struct weights *w = case_weights(&c, WEIGHTS_RESIDENT);
    struct lora *l = case_lora(&c);
    struct train_job job = {c.settings, w, l, &c.samples, &held, NULL};
    job.s.learning_rate = 1; /* gets worse from the second step on */
    job.s.eval_steps = 1;
    job.s.patience = 2;
    job.s.load_best = true;
    job.s.epochs = 20;
    struct train_result res;
    OK(train_run(&job, &res, &e), e);
    assert_true(res.steps < res.planned);
    assert_int_equal(res.steps, res.best_step + 2);
    double sum;
    struct loss_options o = {.weights = w, .lora = l};
    OK(samples_loss(&held, &o, &sum, &e), e);
    assert_true(fabs(sum / (double)held.targets - res.best_loss) < 1e-9);
    train_result_release(&res);
    lora_free(l);
    weights_free(w);
    close_train_case(&c);
}

static void refusals(void **state)
{
    (void)state;
    struct train_case c;
    struct err e = {0};
    struct train_result res;
    open_train_case(&c, "mha");
    struct weights *w = case_weights(&c, WEIGHTS_RESIDENT);
    struct lora *l = case_lora(&c);
    struct train_job job = {c.settings, w, l, &c.samples, NULL, NULL};
    for (size_t i = 4; i < 6; i++) { /* the first micro-batch of the second step */
        memset(c.samples.v[i].x.trained, 0, c.samples.v[i].x.n);
        c.samples.v[i].x.n_target = 0;
    }
    assert_int_equal(train_run(&job, &res, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "step 2"));
    assert_non_null(strstr(e.msg, "row 4, row 5"));
    train_result_release(&res);
    lora_free(l);

    l = case_lora(&c);
    l->pairs[2].B[0] = NAN;
    job.lora = l;
    assert_int_equal(train_run(&job, &res, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "step 1"));
    assert_non_null(strstr(e.msg, "finite"));
    train_result_release(&res);

    job.s.batch.accumulate = 100;
    assert_int_equal(train_run(&job, &res, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "gradient_accumulation_steps"));
    train_result_release(&res);
    lora_free(l);
    weights_free(w);
    close_train_case(&c);
}

/* ---- without a model ---- */

static void fake_samples(struct samples *s, size_t n, struct sample *v)
{
    *s = (struct samples){.n = n, .v = v};
    for (size_t i = 0; i < n; i++)
        v[i] = (struct sample){.x = {.n = 10 + i % 7, .n_target = 4}, .row = i};
}

static void batches(void **state)
{
    (void)state;
    struct samples s;
    struct sample v[23];
    struct err e = {0};
    struct epoch a, b, c;
    struct training_size t;
    fake_samples(&s, 23, v);
    struct batch_settings p = {.rows = 4, .accumulate = 2, .seed = 5};
    OK(epoch_make(&s, &p, 0, &a, &e), e);
    assert_int_equal(a.n_micro, 6); /* the last has three rows */
    assert_int_equal(a.steps, 3);
    for (uint32_t i = 0; i < 23; i++)
        assert_int_equal(a.order[i], i);
    epoch_release(&a);
    p.shuffle = true;
    OK(epoch_make(&s, &p, 0, &a, &e), e);
    OK(epoch_make(&s, &p, 1, &b, &e), e);
    p.seed = 6;
    OK(epoch_make(&s, &p, 0, &c, &e), e);
    assert_memory_not_equal(a.order, b.order, sizeof *a.order * 23);
    assert_memory_not_equal(a.order, c.order, sizeof *a.order * 23);
    unsigned seen = 0;
    for (int i = 0; i < 23; i++)
        seen |= 1u << a.order[i];
    assert_int_equal(seen, (1u << 23) - 1);
    epoch_release(&a);
    epoch_release(&b);
    epoch_release(&c);
    p.tokens = 40;
    OK(epoch_make(&s, &p, 0, &a, &e), e);
    for (size_t m = 0; m < a.n_micro; m++) {
        size_t tokens = 0;
        for (size_t i = a.cut[m]; i < a.cut[m + 1]; i++)
            tokens += v[a.order[i]].x.n;
        assert_true(tokens <= 40 && a.cut[m + 1] > a.cut[m]);
    }
    assert_int_equal(a.cut[a.n_micro], 23);
    epoch_release(&a);
    p.tokens = 1; /* every row stands alone */
    OK(epoch_make(&s, &p, 0, &a, &e), e);
    assert_int_equal(a.n_micro, 23);
    epoch_release(&a);
    p = (struct batch_settings){.rows = 4, .accumulate = 1};
    OK(training_size(&s, &p, 3, 0, &t, &e), e);
    assert_int_equal(t.steps, 18);
    OK(training_size(&s, &p, 0.5, 0, &t, &e), e);
    assert_int_equal(t.steps, 3);
    OK(training_size(&s, &p, 3, 100, &t, &e), e);
    assert_int_equal(t.steps, 100);
}

static void schedules(void **state)
{
    (void)state;
    enum schedule s;
    assert_int_equal(schedule_parse("nothing", &s), -1);
    assert_int_equal(schedule_warmup(0.03, 45), 2);
    assert_int_equal(schedule_warmup(0.03, 12), 1);
    assert_int_equal(schedule_warmup(0, 12), 0);
    assert_true(schedule_at(SCHEDULE_LINEAR, 0, 12, 1) == 0);
    assert_true(schedule_at(SCHEDULE_LINEAR, 1, 12, 1) == 1);
    assert_true(fabs(schedule_at(SCHEDULE_LINEAR, 11, 12, 1) - 1.0 / 11) < 1e-15);
    assert_true(schedule_at(SCHEDULE_LINEAR, 0, 12, 0) == 1);
    assert_true(schedule_at(SCHEDULE_CONSTANT, 11, 12, 1) == 1);
    assert_true(fabs(schedule_at(SCHEDULE_COSINE, 6, 12, 0) - 0.5) < 1e-15);
    assert_true(schedule_at(SCHEDULE_LINEAR, 0, 1, 1) == 0); /* a single step with warm-up has rate 0 */
}

int main(void)
{
    par_set_threads(1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(batches),        cmocka_unit_test(schedules), cmocka_unit_test(resume),
                                       cmocka_unit_test(damaged), cmocka_unit_test(rotten),        cmocka_unit_test(accumulation), cmocka_unit_test(threads),
                                       cmocka_unit_test(recompute), cmocka_unit_test(early_stopping), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
