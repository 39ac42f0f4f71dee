/* SPDX-License-Identifier: MIT
 *
 * eval: how good a model is (method.md 6): loss and perplexity over a dataset, exact match of generated answers over a dataset,
 * GSM8K. Results go to metrics.json and, a line a row, to predictions.jsonl.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/lib/data_samples.h"
#include "ops/lib/metrics.h"
#include "ops/lib/questions.h"
#include "runtime/base/fs.h"
#include "runtime/base/sha.h"

enum task { TASK_LOSS, TASK_PERPLEXITY, TASK_EXACT, TASK_GSM8K, TASK_MMLU, TASK_SUPER_NI, TASK_ALPACA };
static const char *const task_names[] = {"loss", "perplexity", "exact", "gsm8k", "mmlu", "super_ni", "alpaca"};
enum { BUDGET = 4096 }; /* tokens of a pass, loss tasks */

static enum task task_of(const struct op_args *a)
{
    for (int i = 0; i < TASK_ALPACA; i++)
        if (strcmp(op_str(a, "task"), task_names[i]) == 0)
            return (enum task)i;
    return TASK_ALPACA;
}

/* ---- plan time ---- */

/* Parameters that would change the meaning of another task are errors, not ignored; sizes may stand in `defaults:`. */
static int check_unused(struct op_infer *x, enum task t, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    bool gsm = t == TASK_GSM8K, text = gsm || t == TASK_EXACT;
    const struct {
        const char *name;
        bool used;
    } all[] = {{"path", gsm}, {"shots_path", gsm}, {"n_shot", gsm}, {"chat", gsm}, {"compat", text}, {"judge", false}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!all[i].used && op_is_given(a, all[i].name)) {
            op_blame_param(x, all[i].name);
            return err_set(e, ERR_INPUT, "task: %s does not use %s", task_names[t], all[i].name);
        }
    op_blame_param(x, "template");
    if (!gsm && op_is_set(a, "template") && strcmp(op_str(a, "template"), "train") != 0)
        return err_set(e, ERR_INPUT, "task: %s is defined in the dataset's own training form (template: train)", task_names[t]);
    return 0;
}

static int check_gsm8k(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    op_blame_input(x, "data");
    if (op_input_count(a, "data"))
        return err_set(e, ERR_INPUT, "task: gsm8k reads its questions from `path`; task: exact evaluates on a dataset");
    op_blame_param(x, "task");
    if (!op_is_set(a, "path"))
        return err_set(e, ERR_INPUT, "task: gsm8k needs `path`: the file of test questions (test.jsonl, rows {\"question\", \"answer\"})");
    op_blame_param(x, "path");
    if (!fs_exists(op_str(a, "path")))
        return err_set(e, ERR_INPUT, "%s: no such file", op_str(a, "path"));
    op_blame_param(x, "n_shot");
    if (op_int(a, "n_shot") > 0 && !op_is_set(a, "shots_path"))
        return err_set(e, ERR_INPUT, "n_shot: %lld needs `shots_path`: the file of training questions whose first rows are the exemplars",
                       (long long)op_int(a, "n_shot"));
    op_blame_param(x, "shots_path");
    if (op_is_set(a, "shots_path") && op_int(a, "n_shot") == 0)
        return err_set(e, ERR_INPUT, "shots_path is used with n_shot alone, which is 0");
    if (op_is_set(a, "shots_path") && !fs_exists(op_str(a, "shots_path")))
        return err_set(e, ERR_INPUT, "%s: no such file", op_str(a, "shots_path"));
    op_blame_param(x, "template");
    if (op_is_set(a, "template") && !op_bool(a, "chat"))
        return err_set(e, ERR_INPUT, "template: train wraps the question as a chat turn; it does not go with chat: false");
    return 0;
}

static int check_adapter(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    const struct js *student = js_get(op_input(a, "adapter"), "student");
    struct model_config c, s;
    if (!student)
        return 0;
    int rc = op_model_config(a, "model", &c, e);
    op_blame_input(x, "adapter");
    if (rc == 0)
        rc = model_config_parse(student, "adapter", &s, e);
    if (rc == 0 && (c.hidden_size != s.hidden_size || c.num_hidden_layers != s.num_hidden_layers || c.vocab_size != s.vocab_size ||
                    c.intermediate_size != s.intermediate_size))
        rc = err_set(e, ERR_INPUT, "the adapter was made for another model (%d layers of width %d, vocabulary %d) than this one (%d of %d, %d)",
                     s.num_hidden_layers, s.hidden_size, s.vocab_size, c.num_hidden_layers, c.hidden_size, c.vocab_size);
    return rc;
}

static int eval_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    enum task t = task_of(a);
    op_blame_param(x, "task");
    if (t > TASK_GSM8K)
        return err_set(e, ERR_UNSUPPORTED, "task: %s is not in this version; loss, perplexity, exact and gsm8k are", task_names[t]);
    int rc = check_unused(x, t, e);
    if (rc == 0)
        rc = check_adapter(x, e);
    if (rc == 0 && t == TASK_GSM8K)
        rc = check_gsm8k(x, e);
    op_blame_param(x, "task");
    if (rc == 0 && t != TASK_GSM8K && !op_input_count(a, "data"))
        rc = err_set(e, ERR_INPUT, "task: %s needs a dataset at the input `data`", task_names[t]);
    if (rc == 0 && t != TASK_GSM8K)
        rc = data_samples_infer(x, "data", e);
    static const char *const ports[] = {"metrics", "predictions"};
    for (int i = 0; rc == 0 && i < 2; i++) {
        struct js *d = js_object();
        js_set(d, "task", js_new_cstr(task_names[t]));
        rc = op_set_output(x, ports[i], d, e);
    }
    return rc;
}

static int eval_sources(const struct op_args *a, struct op_sources *s, struct err *e)
{
    if (op_is_set(a, "path") && op_source(s, "questions", op_str(a, "path")))
        return err_nomem(e, 0, "sources");
    if (op_is_set(a, "shots_path") && op_source(s, "exemplars", op_str(a, "shots_path")))
        return err_nomem(e, 0, "sources");
    return 0;
}

static void eval_cost(const struct op_args *a, struct op_cost *cost)
{
    struct model_config c;
    struct err ignored = {0};
    if (op_model_config(a, "model", &c, &ignored))
        return;
    enum dtype t = op_compute(a);
    bool text = task_of(a) == TASK_EXACT || task_of(a) == TASK_GSM8K;
    double rows = (double)data_samples_rows(a, "data");
    rows = rows < 0 ? 1319 : rows;
    if (op_is_set(a, "limit") && (double)op_int(a, "limit") < rows)
        rows = (double)op_int(a, "limit");
    double d = c.hidden_size, n = c.num_hidden_layers * (2 * d * c.head_dim * (c.num_attention_heads + c.num_key_value_heads) + 3 * d * c.intermediate_size) + d * c.vocab_size;
    double tokens = rows * (text ? 150 + (double)op_int(a, "max_new_tokens") / 2 : 300);
    uint64_t cache = 8ull * (uint64_t)c.num_hidden_layers * (uint64_t)c.num_key_value_heads * (uint64_t)c.head_dim * 32 * 1024;
    *cost = (struct op_cost){.flops = 2 * n * tokens, .bytes_read = 2 * n, .bytes_written = rows * 1000,
                             .peak_memory = weights_memory(&c, op_model_dtype(a, "model"), t, WEIGHTS_RESIDENT) +
                                            pass_memory(&c, t, BUDGET, BUDGET, false, false) + (text ? cache : 0)};
}

/* ---- run time ---- */

struct evaluation {
    struct op_run *r;
    const struct op_args *a;
    enum task task;
    struct model *model;
    struct weights *weights;
    struct lora *lora;
    const struct tokenizer *tokenizer;
    const char *eos_text;
    int eos_id;
};

static void evaluation_release(struct evaluation *v)
{
    weights_free(v->weights);
    lora_free(v->lora);
    model_close(v->model);
}

static int evaluation_open(struct evaluation *v, struct err *e)
{
    int rc = op_open_model(v->r, "model", &v->model, e);
    if (rc == 0)
        rc = model_tokenizer(v->model, &v->tokenizer, e);
    if (rc == 0)
        rc = op_model_eos(v->model, &v->eos_text, &v->eos_id, e);
    if (rc == 0 && op_input_count(v->a, "adapter"))
        rc = op_read_lora(v->r, "adapter", model_config(v->model), &v->lora, e);
    if (rc)
        return rc;
    enum dtype t = op_compute(v->a), stored = model_tensor(v->model, "model.embed_tokens.weight")->dtype;
    bool fits = op_memory(v->r) == 0 || weights_memory(model_config(v->model), stored, t, WEIGHTS_RESIDENT) <= op_memory(v->r);
    return weights_new(v->model, t, fits ? WEIGHTS_RESIDENT : WEIGHTS_STREAMED, &v->weights, e);
}

static int save_metrics(struct evaluation *v, struct metrics *m, struct err *e)
{
    const char *path;
    int rc = op_out_file(v->r, "metrics", "metrics.json", &path, e);
    if (rc == 0)
        return metrics_save(m, path, e);
    js_free(m->root);
    return rc;
}

/* ---- loss and perplexity ---- */

struct loss_sums {
    size_t n; /* rows with targets */
    double loss, targets, row_mean, row_error, error; /* totals; mean of the rows' means, its standard error; that of loss / targets */
};

static struct loss_sums summarise(const struct samples *s, const double *loss)
{
    struct loss_sums t = {0};
    double square = 0, spread = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].x.n_target) {
            t.n++;
            t.loss += loss[i];
            t.targets += (double)s->v[i].x.n_target;
            t.row_mean += loss[i] / (double)s->v[i].x.n_target;
        }
    t.row_mean /= (double)t.n;
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].x.n_target) {
            double k = (double)s->v[i].x.n_target, d = loss[i] / k - t.row_mean, r = loss[i] - t.loss / t.targets * k;
            square += d * d;
            spread += r * r;
        }
    double n = (double)t.n;
    t.row_error = t.n > 1 ? sqrt(square / (n - 1) / n) : NAN;
    t.error = t.n > 1 ? sqrt(n / (n - 1) * spread) / t.targets : NAN;
    return t;
}

/* The digest stands for the row's token ids before the first trained one, little endian. */
static void prompt_digest(const struct encoded *x, char hex[DIGEST_HEX])
{
    struct digest d;
    size_t n = 0;
    while (n < x->n && !x->trained[n])
        n++;
    sha_bytes(x->ids, n * sizeof *x->ids, &d);
    digest_hex(&d, hex);
}

static int write_losses(struct evaluation *v, const struct samples *s, const double *loss, struct err *e)
{
    struct buf b = {0};
    const char *path;
    char hex[DIGEST_HEX];
    int bad = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct encoded *x = &s->v[i].x;
        struct js *o = js_object();
        prompt_digest(x, hex);
        bad |= js_set(o, "id", s->v[i].id ? js_new_cstr(s->v[i].id) : js_new_int((int64_t)s->v[i].row)) |
               js_set(o, "prompt_sha256", js_new_cstr(hex)) | js_set(o, "tokens", js_new_int((int64_t)x->n)) |
               js_set(o, "target_tokens", js_new_int((int64_t)x->n_target)) |
               js_set(o, "loss", x->n_target ? js_new_num(loss[i] / (double)x->n_target) : js_new_null());
        js_write(&b, o);
        buf_putc(&b, '\n');
        js_free(o);
    }
    int rc = bad || b.failed ? err_nomem(e, b.n, "predictions") : op_out_file(v->r, "predictions", "predictions.jsonl", &path, e);
    if (rc == 0)
        rc = fs_write_atomic(path, b.p ? b.p : "", b.n, e);
    buf_release(&b);
    return rc;
}

static int loss_task(struct evaluation *v, struct err *e)
{
    struct data_samples d = {0};
    double *loss = NULL;
    int rc = data_samples_read(v->r, "data", v->model, (size_t)op_int(v->a, "limit"), &d, e);
    if (rc == 0 && d.samples.targets == 0)
        rc = err_set(e, ERR_INPUT, "data: no row has a token that enters the loss");
    if (rc == 0 && !(loss = calloc(d.samples.n, sizeof *loss)))
        rc = err_nomem(e, d.samples.n * sizeof *loss, "losses");
    struct loss_options o = {.weights = v->weights, .lora = v->lora, .budget = BUDGET, .progress = op_progress(v->r)};
    if (rc == 0)
        rc = pass_work_new(&o.work, e);
    if (rc == 0)
        rc = samples_loss(&d.samples, &o, loss, e);
    pass_work_free(o.work);
    if (rc == 0) {
        struct loss_sums t = summarise(&d.samples, loss);
        double mean = t.loss / t.targets;
        if (t.n < d.samples.n)
            progress_warn(op_progress(v->r), "data: %zu of %zu rows have no token that enters the loss", d.samples.n - t.n, d.samples.n);
        struct metrics m = metrics_new(task_names[v->task], "training-form", (int64_t)t.n, 0);
        metrics_add(&m, "loss", mean, t.error, false);
        metrics_add(&m, "row_loss", t.row_mean, t.row_error, false);
        metrics_add(&m, "perplexity", exp(mean), exp(mean) * t.error, false);
        metrics_by(&m, "counts", "target_tokens", t.targets);
        metrics_by(&m, "counts", "tokens", (double)d.samples.tokens);
        metrics_by(&m, "counts", "rows_dropped", (double)d.samples.dropped);
        metrics_by(&m, "counts", "rows_cut", (double)d.samples.cut);
        rc = save_metrics(v, &m, e);
        if (rc == 0)
            rc = write_losses(v, &d.samples, loss, e);
    }
    free(loss);
    data_samples_release(&d);
    return rc;
}

/* ---- generation ---- */

static int answer_all(struct evaluation *v, struct questions *q, struct err *e)
{
    const struct model_config *c = model_config(v->model);
    int eos[9] = {v->eos_id}, n = 1;
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos_token_id[i] != v->eos_id)
            eos[n++] = c->eos_token_id[i];
    struct generate_options g = {.weights = v->weights, .lora = v->lora, .max_new_tokens = (size_t)op_int(v->a, "max_new_tokens"), .n_eos = n,
                                 .eos = eos, .progress = op_progress(v->r)};
    q->compare = strcmp(op_str(v->a, "compat"), "reference") == 0 ? COMPARE_REFERENCE : COMPARE_NUMBER;
    return questions_answer(q, v->tokenizer, &g, e);
}

static int text_results(struct evaluation *v, const struct questions *q, const char *protocol, struct err *e)
{
    const char *path;
    size_t hits = 0, answered = 0;
    for (size_t i = 0; i < q->n; i++) {
        hits += q->v[i].correct;
        answered += q->v[i].ids.n < (size_t)op_int(v->a, "max_new_tokens");
    }
    struct metrics m = metrics_new(task_names[v->task], protocol, (int64_t)q->n, v->task == TASK_GSM8K ? op_int(v->a, "n_shot") : 0);
    metrics_accuracy(&m, "exact_match", hits, q->n);
    metrics_accuracy(&m, "finished", answered, q->n);
    int rc = save_metrics(v, &m, e);
    if (rc == 0)
        rc = op_out_file(v->r, "predictions", "predictions.jsonl", &path, e);
    return rc ? rc : questions_write(q, path, e);
}

static int exact_task(struct evaluation *v, struct err *e)
{
    struct op_dataset d = {0};
    struct questions q = {0};
    int rc = op_read_dataset(v->r, "data", &d, e);
    if (rc == 0)
        rc = questions_rows(&d.rows, v->eos_text, (size_t)op_int(v->a, "limit"), &q, e);
    if (rc == 0)
        rc = answer_all(v, &q, e);
    if (rc == 0)
        rc = text_results(v, &q, "training-form", e);
    questions_release(&q);
    op_dataset_release(&d);
    return rc;
}

static int gsm8k_task(struct evaluation *v, struct err *e)
{
    struct questions q = {0};
    bool train_form = op_is_set(v->a, "template") && strcmp(op_str(v->a, "template"), "train") == 0;
    struct gsm8k_options o = {.n_shot = (size_t)op_int(v->a, "n_shot"), .limit = (size_t)op_int(v->a, "limit"), .chat = op_bool(v->a, "chat"),
                              .train_form = train_form, .path = op_str(v->a, "path"), .shots_path = op_str(v->a, "shots_path")};
    int rc = questions_gsm8k(&o, &q, e);
    if (rc == 0)
        rc = answer_all(v, &q, e);
    if (rc == 0)
        rc = text_results(v, &q, !o.chat ? "open-instruct-2023, plain" : train_form ? "open-instruct-2023, training form" : "open-instruct-2023", e);
    questions_release(&q);
    return rc;
}

static int eval_run(struct op_run *r, struct err *e)
{
    struct evaluation v = {.r = r, .a = op_run_args(r), .eos_id = -1};
    v.task = task_of(v.a);
    int rc = evaluation_open(&v, e);
    if (rc == 0)
        rc = v.task == TASK_EXACT ? exact_task(&v, e) : v.task == TASK_GSM8K ? gsm8k_task(&v, e) : loss_task(&v, e);
    evaluation_release(&v);
    return rc;
}

/* ---- tables ---- */

static const struct port_def inputs[] = {
    {.name = "model", .type = "model", .help = "the model"},
    {.name = "adapter", .type = "adapter", .flags = PORT_OPTIONAL, .help = "beside the model's weights"},
    {.name = "data", .type = "dataset", .flags = PORT_OPTIONAL, .help = "rows for loss, perplexity and exact"},
    {0},
};

static const struct port_def outputs[] = {
    {.name = "metrics", .type = "metrics", .help = "task, protocol, n, values with standard errors; accuracies in per cent"},
    {.name = "predictions", .type = "predictions", .help = "a line a row: what was written and whether it is right, or its loss"},
    {0},
};

static const struct param_def params[] = {
    {.name = "task", .type = PARAM_ENUM, .fallback = "loss", .choices = "loss|perplexity|exact|gsm8k|mmlu|super_ni|alpaca",
     .help = "loss, perplexity: over a dataset; exact: greedy answers to a dataset's last turns; gsm8k: the published protocol; the others are not in this version"},
    {.name = "template", .type = PARAM_ENUM, .choices = "train", .help = "train: the form that training uses; unset: that of the task's protocol"},
    {.name = "path", .type = PARAM_PATH, .help = "gsm8k: the questions, JSONL with question and answer"},
    {.name = "shots_path", .type = PARAM_PATH, .help = "gsm8k: where the exemplars come from, its first n_shot rows"},
    {.name = "n_shot", .type = PARAM_INT, .fallback = "0", .min = 0, .max = 64, .help = "gsm8k: exemplars in the prompt (0 or 8 as published)"},
    {.name = "chat", .type = PARAM_BOOL, .fallback = "true", .help = "gsm8k: wrap the prompt as a user turn; without it a newline ends the answer"},
    {.name = "compat", .type = PARAM_ENUM, .fallback = "none", .choices = "none|reference",
     .help = "reference: answers are compared as strings without punctuation, so that 10.00 is not 10"},
    {.name = "limit", .type = PARAM_INT, .fallback = "all", .unset = "all", .min = 1, .max = 1e12, .help = "the first rows only"},
    {.name = "max_new_tokens", .type = PARAM_INT, .fallback = "512", .min = 1, .max = 1 << 20, .help = "tokens of an answer"},
    {.name = "judge", .type = PARAM_STRING, .help = "alpaca (not in this version)"},
    PARAM_MAX_LENGTH,
    PARAM_TOO_LONG,
    PARAM_COMPUTE,
    {0},
};

const struct op op_eval = {
    .name = "eval",
    .version = 1,
    .summary = "Evaluate a model, with or without an adapter",
    .doc = "loss is the mean over all target tokens, row_loss the mean of the rows' means; the standard error of loss takes a row as the unit of "
           "sampling. exact_match and finished (answers that ended before max_new_tokens) are in per cent.\n"
           "A model that was trained in one wrapping of the turns can be far worse in another: `exact` and `template: train` evaluate in the form of "
           "training, gsm8k by itself in that of the published evaluation (one newline before the assistant turn).",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .sources = eval_sources,
    .infer = eval_infer,
    .cost = eval_cost,
    .run = eval_run,
};
