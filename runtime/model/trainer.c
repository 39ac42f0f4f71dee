/* SPDX-License-Identifier: MIT
 *
 * Parameters change only inside optim_step and gradients live beside them, so whenever the work is cancelled the
 * parameters are those of the last complete step, and a checkpoint can be written then and there.
 *
 * The loss of a step in the log comes from the f64 sums of each sequence, not from the f32 weights of the targets.
 */
#include "runtime/model/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/arena.h"
#include "runtime/base/guard.h"
#include "runtime/model/checkpoint.h"
#include "runtime/model/gradients.h"
#include "runtime/model/parts.h"

/* A step whose update is done and whose evaluation and log line are not. */
struct pending {
    bool active, eval;
    int64_t epoch, tokens, targets;
    double loss, lr, norm;
};

struct trainer {
    const struct train_job *job;
    const struct train_settings *s;
    struct train_result *res;
    struct optim optim;
    struct gradients gradients;
    struct pass_work *work;
    struct parts *parts; /* small models; else NULL */
    struct training_size size;
    int64_t warmup;
    double loss_sum;
    struct pending pending;
    float *best;
    int64_t bad;        /* evaluations since the best one */
    int64_t saved_step;
    double saved_at;    /* seconds, monotonic */
    bool stop;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- state ---- */

static struct js *state_json(const struct trainer *t)
{
    const struct train_result *r = t->res;
    struct js *o = js_object(), *evals = js_array();
    int bad = 0;
    for (size_t i = 0; i < r->n_evals; i++) {
        struct js *x = js_array();
        bad |= js_push(x, js_new_int(r->evals[i].step)) | js_push(x, js_new_num(r->evals[i].loss)) | js_push(evals, x);
    }
    bad |= js_set(o, "step", js_new_int(r->steps)) | js_set(o, "planned", js_new_int(r->planned)) | js_set(o, "tokens", js_new_num(r->tokens)) |
           js_set(o, "targets", js_new_num(r->targets)) | js_set(o, "loss", js_new_num(r->loss)) | js_set(o, "loss_sum", js_new_num(t->loss_sum)) |
           js_set(o, "best_step", js_new_int(r->best_step)) | js_set(o, "best_loss", js_new_num(r->best_loss)) |
           js_set(o, "bad", js_new_int(t->bad)) | js_set(o, "stop", js_new_bool(t->stop)) | js_set(o, "evals", evals);
    const struct pending *p = &t->pending;
    if (p->active) {
        struct js *x = js_object();
        bad |= js_set(x, "eval", js_new_bool(p->eval)) | js_set(x, "epoch", js_new_int(p->epoch)) | js_set(x, "tokens", js_new_int(p->tokens)) |
               js_set(x, "targets", js_new_int(p->targets)) | js_set(x, "loss", js_new_num(p->loss)) | js_set(x, "lr", js_new_num(p->lr)) |
               js_set(x, "norm", js_new_num(p->norm)) | js_set(o, "pending", x);
    }
    if (bad) {
        js_free(o);
        return NULL;
    }
    return o;
}

static struct pending pending_read(const struct js *x)
{
    return (struct pending){.active = x != NULL, .eval = js_bool(js_get(x, "eval"), false), .epoch = js_int(js_get(x, "epoch"), 0),
                            .tokens = js_int(js_get(x, "tokens"), 0), .targets = js_int(js_get(x, "targets"), 0),
                            .loss = js_num(js_get(x, "loss"), 0), .lr = js_num(js_get(x, "lr"), 0), .norm = js_num(js_get(x, "norm"), 0)};
}

static int add_eval(struct train_result *r, int64_t step, double loss, struct err *e)
{
    struct train_eval *v = realloc(r->evals, (r->n_evals + 1) * sizeof *v);
    if (!v)
        return err_nomem(e, (r->n_evals + 1) * sizeof *v, "evaluations");
    r->evals = v;
    v[r->n_evals++] = (struct train_eval){step, loss};
    return 0;
}

static int save(struct trainer *t, struct err *e)
{
    struct js *state = state_json(t);
    if (!state)
        return err_nomem(e, 0, "a checkpoint");
    int rc = guard_check(e); /* nothing that was made of the zeros of a file cut short */
    if (rc == 0)
        rc = checkpoint_write(t->s->checkpoint, &t->optim, t->res->best_step ? t->best : NULL, state, buf_view(&t->res->log), e);
    js_free(state);
    t->saved_step = t->res->steps;
    t->saved_at = now();
    return rc;
}

/* Goes on from the checkpoint if there is one that fits; a damaged one is reported and left aside. */
static int resume(struct trainer *t, struct err *e)
{
    struct train_result *r = t->res;
    struct js *j = NULL;
    int rc = checkpoint_read(t->s->checkpoint, &t->optim, t->best, &j, &r->log, e);
    if (rc == ERR_NOTFOUND)
        return 0;
    if (rc == ERR_DAMAGED) {
        progress_warn(t->job->progress, "starting from the beginning: %s", e->msg);
        return 0;
    }
    if (rc)
        return rc;
    r->steps = r->resumed_from = t->saved_step = js_int(js_get(j, "step"), 0);
    r->tokens = js_num(js_get(j, "tokens"), 0);
    r->targets = js_num(js_get(j, "targets"), 0);
    r->loss = js_num(js_get(j, "loss"), 0);
    r->best_step = js_int(js_get(j, "best_step"), 0);
    r->best_loss = js_num(js_get(j, "best_loss"), 0);
    t->loss_sum = js_num(js_get(j, "loss_sum"), 0);
    t->bad = js_int(js_get(j, "bad"), 0);
    t->stop = js_bool(js_get(j, "stop"), false);
    t->pending = pending_read(js_get(j, "pending"));
    const struct js *evals = js_get(j, "evals");
    for (size_t i = 0; rc == 0 && i < js_len(evals); i++)
        rc = add_eval(r, js_int(js_at(js_at(evals, i), 0), 0), js_num(js_at(js_at(evals, i), 1), 0), e);
    if (rc == 0 && js_int(js_get(j, "planned"), -1) != r->planned)
        rc = err_set(e, ERR_DAMAGED, "%s: checkpoint of a training of %lld steps, this one has %lld; remove the file", t->s->checkpoint,
                     (long long)js_int(js_get(j, "planned"), -1), (long long)r->planned);
    js_free(j);
    return rc;
}

/* ---- evaluation ---- */

static void copy_params(struct optim *o, float *to, const float *from)
{
    size_t at = 0;
    for (size_t i = 0; i < o->n; at += o->v[i++].n)
        if (to)
            memcpy(to + at, o->v[i].p, o->v[i].n * sizeof(float));
        else
            memcpy(o->v[i].p, from + at, o->v[i].n * sizeof(float));
}

static int evaluate(struct trainer *t, double *loss, struct err *e)
{
    const struct samples *v = t->job->validation;
    double *sums = malloc(v->n * sizeof *sums), total = 0;
    if (!sums)
        return err_nomem(e, v->n * sizeof *sums, "losses");
    struct loss_options o = {.weights = t->job->weights, .lora = t->job->lora, .progress = t->job->progress, .quiet = true, .work = t->work};
    o.budget = t->size.micro_tokens > 1024 ? t->size.micro_tokens : 1024;
    int rc = samples_loss(v, &o, sums, e);
    for (size_t i = 0; rc == 0 && i < v->n; i++)
        total += sums[i];
    *loss = total / (double)v->targets;
    free(sums);
    return rc;
}

static int note_eval(struct trainer *t, int64_t step, double loss, struct err *e)
{
    struct train_result *r = t->res;
    if (!isfinite(loss))
        return err_set(e, ERR_INPUT, "step %lld: the validation loss is not a finite number; lower learning_rate (%g)", (long long)step,
                       t->s->learning_rate);
    int rc = add_eval(r, step, loss, e);
    if (rc)
        return rc;
    if (!r->best_step || loss < r->best_loss) {
        r->best_step = step;
        r->best_loss = loss;
        t->bad = 0;
        if (t->best)
            copy_params(&t->optim, t->best, NULL);
    } else if (++t->bad >= t->s->patience && t->s->patience) {
        t->stop = true;
    }
    return 0;
}

/* ---- one step ---- */

struct group {
    const uint32_t *which; /* samples of the step */
    const size_t *cut;     /* accumulate + 1 positions in which, from cut[0] */
    size_t base;           /* cut[0] */
    size_t tokens, targets;
};

static int no_targets(const struct trainer *t, const uint32_t *which, size_t n, int64_t step, struct err *e)
{
    struct buf b = {0};
    samples_name(t->job->data, which, n, &b);
    err_set(e, ERR_INPUT,
            "step %lld: a micro-batch has no token to train on: %s; the prompts of these rows fill max_length or their answers are empty: "
            "raise max_length, or leave the rows out (too_long: drop)",
            (long long)step, b.p ? b.p : "");
    buf_release(&b);
    return e->code;
}

/* The whole micro-batch in one pass; *sum: of the cross entropies. */
static int one_pass(struct trainer *t, struct pass_options *o, const uint32_t *which, size_t n, double weight, double *sum, struct err *e)
{
    struct grad_sink sink = gradients_sink(&t->gradients);
    struct packed p = {0};
    double *sums = calloc(n, sizeof *sums), total = 0;
    int rc = sums ? packed_make(t->job->data, which, n, weight, &p, e) : err_nomem(e, n * sizeof *sums, "losses");
    if (rc == 0)
        rc = pass_backward(o, &p.b, t->job->lora ? NULL : &sink, sums, &total, e);
    for (size_t i = 0; rc == 0 && i < p.n_seqs; i++)
        *sum += sums[i];
    packed_release(&p);
    free(sums);
    return rc;
}

/* Forward and backward of micro-batch a of the group; *loss: its part of the step's loss. */
static int micro_batch(struct trainer *t, const struct group *g, size_t a, int64_t step, double done, double *loss, struct err *e)
{
    const struct samples *d = t->job->data;
    const uint32_t *which = g->which + (g->cut[a] - g->base);
    size_t n = g->cut[a + 1] - g->cut[a], targets = 0;
    for (size_t i = 0; i < n; i++)
        targets += d->v[which[i]].x.n_target;
    if (targets == 0)
        return no_targets(t, which, n, step, e);
    double over = t->s->reduction == REDUCE_TOKEN ? (double)g->targets : (double)t->s->batch.accumulate * (double)targets, sum = 0;
    struct pass_options o = {.weights = t->job->weights, .lora = t->job->lora, .training = true, .dropout_seed = t->s->dropout_seed,
                             .dropout_step = (uint64_t)(step - 1) * t->s->batch.accumulate + a, .recompute = t->s->recompute};
    if (!t->parts) {
        o.progress = t->job->progress;
        o.progress_done = done;
        o.progress_total = t->size.tokens;
        o.work = t->work;
    }
    int rc = t->parts ? parts_backward(t->parts, &o, d, which, n, 1 / over, &sum, e) : one_pass(t, &o, which, n, 1 / over, &sum, e);
    *loss = sum / over;
    return rc;
}

static int log_step(struct trainer *t, const double *eval, struct err *e)
{
    const struct pending *p = &t->pending;
    struct js *o = js_object();
    int bad = js_set(o, "step", js_new_int(t->res->steps)) | js_set(o, "epoch", js_new_int(p->epoch + 1)) | js_set(o, "loss", js_new_num(p->loss)) |
              js_set(o, "learning_rate", js_new_num(p->lr)) | js_set(o, "grad_norm", js_new_num(p->norm)) |
              js_set(o, "tokens", js_new_int(p->tokens)) | js_set(o, "target_tokens", js_new_int(p->targets));
    if (eval)
        bad |= js_set(o, "eval_loss", js_new_num(*eval));
    js_write(&t->res->log, o);
    buf_putc(&t->res->log, '\n');
    js_free(o);
    return bad || t->res->log.failed ? err_nomem(e, t->res->log.n, "the training log") : 0;
}

/* Evaluates if it is time to, and writes the line of the step. */
static int finish_step(struct trainer *t, struct err *e)
{
    double eval = 0;
    int rc = 0;
    if (t->pending.eval)
        rc = evaluate(t, &eval, e);
    if (rc == 0 && t->pending.eval)
        rc = note_eval(t, t->res->steps, eval, e);
    if (rc == 0)
        rc = log_step(t, t->pending.eval ? &eval : NULL, e);
    if (rc == 0)
        t->pending.active = false;
    return rc;
}

static bool eval_due(const struct trainer *t, int64_t step, bool epoch_ends)
{
    if (!t->job->validation)
        return false;
    return step == t->res->planned || (t->s->eval_steps ? step % t->s->eval_steps == 0 : epoch_ends);
}

static int train_step(struct trainer *t, int64_t epoch, bool epoch_ends, struct group *g, struct err *e)
{
    struct train_result *r = t->res;
    int64_t step = r->steps + 1;
    size_t n = g->cut[t->s->batch.accumulate] - g->base;
    for (size_t i = 0; i < n; i++) {
        g->tokens += t->job->data->v[g->which[i]].x.n;
        g->targets += t->job->data->v[g->which[i]].x.n_target;
    }
    double loss = 0, norm = 0, done = r->tokens;
    int rc = 0;
    for (size_t a = 0; rc == 0 && a < t->s->batch.accumulate; a++) {
        double part = 0;
        rc = micro_batch(t, g, a, step, done, &part, e);
        for (size_t i = g->cut[a]; rc == 0 && i < g->cut[a + 1]; i++)
            done += (double)t->job->data->v[g->which[i - g->base]].x.n;
        loss += part;
    }
    if (rc)
        return rc;
    double lr = t->s->learning_rate * schedule_at(t->s->schedule, step - 1, r->planned, t->warmup);
    if (!isfinite(loss))
        return err_set(e, ERR_INPUT, "step %lld: the loss is not a finite number; lower learning_rate (%g), or check the model's weights",
                       (long long)step, t->s->learning_rate);
    rc = optim_step(&t->optim, &t->s->adamw, lr, step, &norm, e);
    if (rc)
        return err_prefix(e, "step %lld (loss %g, learning_rate %g)", (long long)step, loss, lr);
    r->steps = step;
    r->tokens += (double)g->tokens;
    r->targets += (double)g->targets;
    r->loss = loss;
    t->loss_sum += loss;
    t->pending = (struct pending){true, eval_due(t, step, epoch_ends), epoch, (int64_t)g->tokens, (int64_t)g->targets, loss, lr, norm};
    return finish_step(t, e);
}

/* ---- the loop ---- */

static int maybe_save(struct trainer *t, struct err *e)
{
    const struct train_settings *s = t->s;
    if (!s->checkpoint || t->res->steps == t->res->planned)
        return 0;
    bool due = (s->save_steps && t->res->steps % s->save_steps == 0) || (s->save_seconds > 0 && now() - t->saved_at >= s->save_seconds);
    return due ? save(t, e) : 0;
}

static int run_epoch(struct trainer *t, int64_t epoch, const struct epoch *x, int64_t before, struct err *e)
{
    size_t acc = t->s->batch.accumulate;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < x->steps && t->res->steps < t->res->planned && !t->stop; i++) {
        if (before + (int64_t)i < t->res->steps)
            continue;
        struct group g = {.which = x->order + x->cut[i * acc], .cut = x->cut + i * acc, .base = x->cut[i * acc]};
        rc = progress_poll(t->job->progress, e);
        if (rc == 0)
            rc = train_step(t, epoch, i + 1 == x->steps, &g, e);
        if (rc == 0) {
            progress_update(t->job->progress, (double)t->res->steps, (double)t->res->planned, "steps");
            rc = maybe_save(t, e);
        }
    }
    return rc;
}

static int run_epochs(struct trainer *t, struct err *e)
{
    int64_t before = 0;
    int rc = 0;
    for (int64_t epoch = 0; rc == 0 && t->res->steps < t->res->planned && !t->stop; epoch++) {
        struct epoch x;
        rc = epoch_make(t->job->data, &t->s->batch, epoch, &x, e);
        if (rc)
            break;
        if (before + (int64_t)x.steps > t->res->steps)
            rc = run_epoch(t, epoch, &x, before, e);
        before += (int64_t)x.steps;
        epoch_release(&x);
    }
    return rc;
}

static int prepare(struct trainer *t, struct err *e)
{
    const struct train_job *j = t->job;
    int rc = training_size(j->data, &t->s->batch, t->s->epochs, t->s->max_steps, &t->size, e);
    if (rc == 0 && t->size.steps == 0)
        rc = err_set(e, ERR_INPUT, "there is no step to train: num_train_epochs is %g", t->s->epochs);
    if (rc == 0 && j->validation && j->validation->targets == 0)
        rc = err_set(e, ERR_INPUT, "validation: no row has a token that enters the loss");
    if (rc)
        return rc;
    t->res->planned = t->size.steps;
    t->warmup = schedule_warmup(t->s->warmup_ratio, t->size.steps);
    rc = j->lora ? optim_lora(j->lora, &t->optim, e) : optim_full(j->weights, &t->optim, e);
    if (rc == 0)
        rc = pass_work_new(&t->work, e);
    const struct model_config *c = weights_config(j->weights);
    bool in_parts = parts_pay(c, t->optim.total);
    struct pass_options o = {.weights = j->weights, .lora = j->lora, .training = true, .recompute = t->s->recompute};
    if (rc == 0 && !in_parts)
        rc = pass_work_reserve(t->work, &o, t->size.micro_tokens, t->size.micro_targets, true, e);
    t->gradients = (struct gradients){.optim = &t->optim, .tied = c->tie_word_embeddings, .hidden = (size_t)c->hidden_size};
    if (rc == 0 && in_parts)
        rc = parts_new(&t->optim, j->lora, c->tie_word_embeddings, (size_t)c->hidden_size, &t->parts, e);
    if (rc == 0 && t->s->load_best && j->validation && !(t->best = big_alloc(t->optim.total * sizeof(float))))
        rc = err_nomem(e, t->optim.total * sizeof(float), "the best parameters");
    if (rc == 0)
        optim_zero(&t->optim);
    t->saved_at = now();
    if (rc == 0 && t->s->checkpoint)
        rc = resume(t, e);
    return rc;
}

int train_run(const struct train_job *job, struct train_result *res, struct err *e)
{
    struct trainer t = {.job = job, .s = &job->s, .res = res};
    *res = (struct train_result){0};
    int rc = prepare(&t, e);
    if (rc == 0 && t.pending.active)
        rc = finish_step(&t, e);
    if (rc == 0)
        rc = run_epochs(&t, e);
    if (rc == ERR_CANCELLED && t.s->checkpoint && res->steps > t.saved_step) {
        struct err late = {0};
        if (save(&t, &late))
            err_set(e, ERR_CANCELLED, "cancelled at step %lld of %lld; no checkpoint could be written: %.900s", (long long)res->steps,
                    (long long)res->planned, late.msg);
    }
    if (rc == 0) {
        res->mean_loss = t.loss_sum / (double)res->steps;
        if (t.best && res->best_step)
            copy_params(&t.optim, NULL, t.best);
    }
    pass_work_free(t.work);
    parts_free(t.parts);
    big_free(t.best, t.optim.total * sizeof(float));
    optim_release(&t.optim);
    return rc;
}

void train_result_release(struct train_result *res)
{
    buf_release(&res->log);
    free(res->evals);
    *res = (struct train_result){0};
}
