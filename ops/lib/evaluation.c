/* SPDX-License-Identifier: MIT */
#include "ops/lib/evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/rng.h"

static const char *const names[] = {"loss", "perplexity", "exact", "gsm8k", "mmlu", "super_ni", "alpaca"};

const char *task_name(enum task t)
{
    return names[t];
}

enum task task_of(const struct op_args *a)
{
    for (int i = 0; i < TASK_ALPACA; i++)
        if (strcmp(op_str(a, "task"), names[i]) == 0)
            return (enum task)i;
    return TASK_ALPACA;
}

size_t task_new_tokens(const struct op_args *a)
{
    enum task t = task_of(a);
    if (op_is_set(a, "max_new_tokens"))
        return (size_t)op_int(a, "max_new_tokens");
    return t == TASK_ALPACA ? 2048 : t == TASK_SUPER_NI ? 256 : 512;
}

bool task_train_form(const struct op_args *a)
{
    return op_is_set(a, "template") && strcmp(op_str(a, "template"), "train") == 0;
}

void evaluation_release(struct evaluation *v)
{
    weights_free(v->weights);
    lora_free(v->lora);
    model_close(v->model);
}

int evaluation_open(struct evaluation *v, struct err *e)
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
    bool answered = v->task == TASK_ALPACA && op_is_set(v->a, "outputs");
    return answered ? 0 : op_answer_weights(v->r, v->model, op_compute(v->a), WEIGHTS_MANY, &v->weights, e);
}

/* ---- which rows ---- */

static bool at_random(const struct op_args *a)
{
    return strcmp(op_str(a, "sample"), "random") == 0;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int evaluation_pick(const struct op_args *a, size_t n, uint32_t **rows, size_t *count, struct err *e)
{
    size_t limit = (size_t)op_int(a, "limit");
    *rows = NULL;
    *count = limit && limit < n ? limit : n;
    if (n > UINT32_MAX)
        return err_set(e, ERR_UNSUPPORTED, "%zu rows are more than an evaluation takes", n);
    uint32_t *v = malloc((n ? n : 1) * sizeof *v);
    if (!v)
        return err_nomem(e, n * sizeof *v, "rows");
    for (size_t i = 0; i < n; i++)
        v[i] = (uint32_t)i;
    if (*count < n && at_random(a)) {
        uint64_t seed = (uint64_t)op_int(a, "seed");
        rng_shuffle(v, n, seed, rng_stream(seed, "eval.sample"));
        qsort(v, *count, sizeof *v, ascending);
    }
    *rows = v;
    return 0;
}

void evaluation_limit(const struct evaluation *v, size_t count, size_t n, struct buf *protocol, struct metrics *m)
{
    bool random = at_random(v->a);
    if (!op_is_set(v->a, "limit"))
        return;
    buf_printf(protocol, random ? ", %zu of %zu at random, seed %lld" : ", first %zu of %zu", count, n, (long long)op_int(v->a, "seed"));
    struct js *o = js_object();
    m->bad |= js_set(o, "rows", js_new_int((int64_t)count)) | js_set(o, "of", js_new_int((int64_t)n)) |
              js_set(o, "sample", js_new_cstr(random ? "random" : "first"));
    if (random)
        m->bad |= js_set(o, "seed", js_new_int(op_int(v->a, "seed"))) != 0;
    m->bad |= js_set(m->root, "protocol", js_new_str(buf_view(protocol))) | js_set(m->root, "limit", o);
}

/* ---- metrics ---- */

static struct js *member(struct js *o, const char *key)
{
    if (!js_get(o, key) && js_set(o, key, js_object()))
        return NULL;
    return (struct js *)(uintptr_t)js_get(o, key);
}

void evaluation_group(struct metrics *m, const char *what, const char *key, double value, double std_error)
{
    metrics_by(m, what, key, value);
    if (m->bad || !isfinite(std_error))
        return;
    struct js *errors = member(m->root, "by_stderr"), *group = errors ? member(errors, what) : NULL;
    m->bad |= !group || js_set(group, key, js_new_num(std_error)) != 0;
}

void evaluation_mean(const double *x, size_t n, double *mean, double *std_error)
{
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    sum /= n ? (double)n : 1;
    for (size_t i = 0; i < n; i++)
        square += (x[i] - sum) * (x[i] - sum);
    *mean = 100 * sum;
    *std_error = n > 1 ? 100 * sqrt(square / (double)(n - 1) / (double)n) : NAN;
}

int evaluation_save(struct evaluation *v, struct metrics *m, struct err *e)
{
    const char *path;
    int rc = op_out_file(v->r, "metrics", "metrics.json", &path, e);
    if (rc == 0)
        return metrics_save(m, path, e);
    js_free(m->root);
    return rc;
}
