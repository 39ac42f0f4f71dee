/* SPDX-License-Identifier: MIT
 *
 * Tasks of eval that let the model write (method.md 6): exact, gsm8k, super_ni, alpaca. Each reads its questions; then rows are
 * chosen, answered greedily, judged and written in one way.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/lib/alpaca.h"
#include "ops/lib/eval_judge.h"
#include "ops/lib/evaluation.h"
#include "ops/lib/questions.h"
#include "ops/lib/resume.h"
#include "ops/lib/super_ni.h"
#include "runtime/exec/http.h"

enum { SUPER_NI_SOURCE = 1024 }; /* tokens of a prompt before it is wrapped */

static const char *name_or_null(const struct op_args *a, const char *param)
{
    return op_is_set(a, param) ? op_str(a, param) : NULL;
}

/* ---- reading ---- */

static int read_exact(struct evaluation *v, struct questions *q, struct err *e)
{
    struct op_dataset d = {0};
    int rc = op_read_dataset(v->r, "data", &d, e);
    if (rc == 0)
        rc = op_dataset_chat(&d, v->model, e);
    if (rc == 0)
        rc = questions_rows(&d.rows, v->eos_text, 0, q, e);
    op_dataset_release(&d);
    return rc;
}

static int read_gsm8k(struct evaluation *v, struct questions *q, struct err *e)
{
    struct gsm8k_options o = {.n_shot = (size_t)op_int(v->a, "n_shot"), .chat = op_bool(v->a, "chat"), .train_form = task_train_form(v->a),
                              .direct = !op_bool(v->a, "cot"), .path = op_str(v->a, "path"), .shots_path = name_or_null(v->a, "shots_path")};
    return questions_gsm8k(&o, q, e);
}

static int read_super_ni(struct evaluation *v, struct questions *q, struct err *e)
{
    struct super_ni_options o = {.path = op_str(v->a, "path"), .split = op_str(v->a, "split"), .per_task = (size_t)op_int(v->a, "per_task"),
                                 .reference = strcmp(op_str(v->a, "compat"), "reference") == 0};
    int rc = super_ni_questions(&o, q, e);
    q->compare = COMPARE_TEXT;
    return rc;
}

static int read_questions(struct evaluation *v, struct questions *q, struct err *e)
{
    bool reference = strcmp(op_str(v->a, "compat"), "reference") == 0;
    switch (v->task) {
    case TASK_GSM8K: {
        int rc = read_gsm8k(v, q, e);
        q->compare = reference ? COMPARE_REFERENCE : COMPARE_NUMBER;
        return rc;
    }
    case TASK_SUPER_NI: return read_super_ni(v, q, e);
    case TASK_ALPACA: return alpaca_questions(op_str(v->a, "path"), q, e);
    default: {
        int rc = read_exact(v, q, e);
        q->compare = reference ? COMPARE_REFERENCE : COMPARE_NUMBER;
        return rc;
    }
    }
}

/* What costs too much to do for rows that are not chosen. */
static int finish_prompts(struct evaluation *v, struct questions *q, struct err *e)
{
    size_t cut = 0;
    if (v->task != TASK_SUPER_NI && v->task != TASK_ALPACA)
        return 0;
    int rc = v->task == TASK_SUPER_NI ? super_ni_cut(q, v->tokenizer, SUPER_NI_SOURCE, &cut, e) : 0;
    if (cut)
        progress_warn(op_progress(v->r), "%s: %zu of %zu prompts are longer than %d tokens and were cut at the end, as published", op_str(v->a, "path"),
                      cut, q->n, SUPER_NI_SOURCE);
    for (size_t i = 0; rc == 0 && i < q->n; i++) {
        question_wrap(&q->v[i], op_bool(v->a, "chat"), task_train_form(v->a));
        rc = q->v[i].prompt.failed ? err_nomem(e, 0, "prompts") : 0;
    }
    return rc;
}

static int answer_all(struct evaluation *v, struct questions *q, struct err *e)
{
    const struct model_config *c = model_config(v->model);
    int eos[9] = {v->eos_id}, n = 1;
    for (int i = 0; i < c->n_eos && n < 9; i++)
        if (c->eos_token_id[i] != v->eos_id)
            eos[n++] = c->eos_token_id[i];
    struct generate_options g = {.weights = v->weights, .lora = v->lora, .max_new_tokens = task_new_tokens(v->a), .n_eos = n, .eos = eos,
                                 .progress = op_progress(v->r), .answered = resume_answer};
    struct journal *journal;
    int rc = resume_answers(v->r, q, &journal, e);
    g.answered_u = journal;
    if (rc == 0)
        rc = questions_answer(q, v->tokenizer, &g, e);
    journal_close(journal);
    return rc;
}

/* ---- results ---- */

static int by_task_name(const void *a, const void *b)
{
    const struct question *const *x = a, *const *y = b;
    int c = strcmp((*x)->task, (*y)->task);
    return c ? c : ((*x)->row > (*y)->row) - ((*x)->row < (*y)->row);
}

static void put_group(struct metrics *m, const struct question *const *q, size_t n, double *x)
{
    double mean, error;
    for (size_t i = 0; i < n; i++)
        x[i] = q[i]->rouge;
    evaluation_mean(x, n, &mean, &error);
    evaluation_group(m, "task", q[0]->task, mean, error);
    for (size_t i = 0; i < n; i++)
        x[i] = q[i]->correct;
    evaluation_mean(x, n, &mean, &error);
    evaluation_group(m, "task_exact_match", q[0]->task, mean, error);
}

/* ROUGE-L over all rows, and both measures by task. */
static int text_metrics(const struct questions *q, struct metrics *m, struct err *e)
{
    double *x = calloc(q->n ? q->n : 1, sizeof *x), mean, error;
    const struct question **named = calloc(q->n ? q->n : 1, sizeof *named);
    size_t n = 0;
    int rc = x && named ? 0 : err_nomem(e, q->n * sizeof *x, "scores");
    for (size_t i = 0; rc == 0 && i < q->n; i++) {
        x[i] = q->v[i].rouge;
        if (q->v[i].task)
            named[n++] = &q->v[i];
    }
    if (rc == 0) {
        evaluation_mean(x, q->n, &mean, &error);
        metrics_add(m, "rouge_l", mean, error, true);
        qsort(named, n, sizeof *named, by_task_name);
        for (size_t i = 0, k; i < n; i += k) {
            for (k = 1; i + k < n && strcmp(named[i + k]->task, named[i]->task) == 0; k++)
                ;
            put_group(m, named + i, k, x);
        }
    }
    free(x);
    free(named);
    return rc;
}

static void judged_metrics(struct metrics *m, const struct alpaca_judged *j)
{
    if (j->n)
        metrics_add(m, "win_rate", j->win_rate, j->std_error, true);
    metrics_by(m, "counts", "judged", (double)j->n);
    metrics_by(m, "counts", "wins", (double)j->wins);
    metrics_by(m, "counts", "losses", (double)j->losses);
    metrics_by(m, "counts", "ties", (double)j->ties);
}

static int judge_metrics(struct evaluation *v, const struct questions *q, struct metrics *m, struct err *e)
{
    struct alpaca_judged j;
    if (!op_is_set(v->a, "judge"))
        return 0;
    const char *file = op_str(v->a, "judge");
    if (http_is_url(file)) {
        int rc = eval_judge(v, q, m, &j, e);
        if (rc == 0)
            judged_metrics(m, &j);
        return rc;
    }
    int rc = alpaca_judge(q, file, &j, e);
    if (rc)
        return rc;
    if (j.missing || j.failed)
        progress_warn(op_progress(v->r), "%s: %zu of %zu instructions are not annotated, %zu have no preference: the win rate is that of the others",
                      file, j.missing, q->n, j.failed);
    if (j.other)
        progress_warn(op_progress(v->r), "%s: %zu annotations judged another output (output_2) than the one evaluated here", file, j.other);
    judged_metrics(m, &j);
    metrics_by(m, "counts", "other_output", (double)j.other);
    return 0;
}

/* The rows as they were asked: shots, chain of thought and wrapping belong to the name of the protocol. */
static void put_protocol(const struct evaluation *v, struct buf *out)
{
    if (v->task == TASK_EXACT) {
        buf_puts(out, "training-form");
        return;
    }
    buf_puts(out, "open-instruct-2023");
    if (v->task == TASK_GSM8K && op_int(v->a, "n_shot") && !op_bool(v->a, "cot"))
        buf_puts(out, ", direct");
    if (!op_bool(v->a, "chat"))
        buf_puts(out, ", plain");
    else if (task_train_form(v->a))
        buf_puts(out, ", training form");
    if (v->task == TASK_ALPACA && op_is_set(v->a, "judge") && http_is_url(op_str(v->a, "judge")))
        buf_printf(out, ", judged by %s%s", op_str(v->a, "judge_model"), eval_judge_both(v->a) ? " in both orders" : "");
    if (v->task != TASK_ALPACA && strcmp(op_str(v->a, "compat"), "reference") == 0)
        buf_puts(out, ", reference");
}

static void finished(struct evaluation *v, const struct questions *q, struct metrics *m)
{
    size_t n = 0;
    for (size_t i = 0; i < q->n; i++)
        n += q->v[i].ids.n < task_new_tokens(v->a);
    metrics_accuracy(m, "finished", n, q->n);
}

static int results(struct evaluation *v, struct questions *q, size_t total, struct err *e)
{
    const char *path;
    struct buf protocol = {0};
    size_t hits = 0;
    int rc = 0;
    put_protocol(v, &protocol);
    struct metrics m = metrics_new(task_name(v->task), protocol.p ? protocol.p : "", (int64_t)q->n, v->task == TASK_GSM8K ? op_int(v->a, "n_shot") : 0);
    evaluation_limit(v, q->n, total, &protocol, &m);
    buf_release(&protocol);
    for (size_t i = 0; i < q->n; i++)
        hits += q->v[i].correct;
    if (v->task != TASK_ALPACA)
        metrics_accuracy(&m, "exact_match", hits, q->n);
    if (v->task == TASK_SUPER_NI)
        rc = text_metrics(q, &m, e);
    if (!op_is_set(v->a, "outputs"))
        finished(v, q, &m);
    if (rc == 0 && v->task == TASK_ALPACA)
        rc = op_out_file(v->r, "predictions", "outputs.json", &path, e);
    if (rc == 0 && v->task == TASK_ALPACA)
        rc = alpaca_write(q, op_str(v->a, "generator"), path, e);
    if (rc == 0)
        rc = judge_metrics(v, q, &m, e);
    if (rc) {
        js_free(m.root);
        return rc;
    }
    rc = evaluation_save(v, &m, e);
    if (rc == 0)
        rc = op_out_file(v->r, "predictions", "predictions.jsonl", &path, e);
    return rc ? rc : questions_write(q, path, e);
}

int evaluate_text(struct evaluation *v, struct err *e)
{
    struct questions q = {0};
    uint32_t *rows = NULL;
    size_t n = 0, total = 0;
    int rc = read_questions(v, &q, e);
    total = q.n;
    if (rc == 0)
        rc = evaluation_pick(v->a, total, &rows, &n, e);
    if (rc == 0)
        questions_keep(&q, rows, n);
    if (rc == 0)
        rc = finish_prompts(v, &q, e);
    if (rc == 0)
        rc = op_is_set(v->a, "outputs") ? alpaca_outputs(&q, op_str(v->a, "outputs"), e) : answer_all(v, &q, e);
    if (rc == 0)
        rc = results(v, &q, total, e);
    free(rows);
    questions_release(&q);
    return rc;
}
