/* SPDX-License-Identifier: MIT
 *
 * bench train: seconds an optimiser step of LoRA training on a model folder, rows in file order, one micro-batch a step, all
 * that `train` does for a step included. The first step is left out (pages of the file, objects of the library). The adapter's
 * A is random and its B zero; `both`: with a compensation of the same rank beside it, as init: svd makes it.
 *
 *   bench FOLDER ROWS.jsonl [bf16|f32] [ROWS A STEP] [STEPS] [seven|all] [one|both] [RANK] [DROPOUT] [resident|packed|streamed]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "runtime/base/fs.h"
#include "runtime/base/rng.h"
#include "runtime/model/trainer.h"

enum { STEPS_MAX = 1000 };

struct clock {
    double wall, cpu;
};

static struct clock now(void)
{
    struct timespec t;
    struct rusage u;
    clock_gettime(CLOCK_MONOTONIC, &t);
    getrusage(RUSAGE_SELF, &u);
    return (struct clock){(double)t.tv_sec + 1e-9 * (double)t.tv_nsec, (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                                                                           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec)};
}

static int in_folder(void *u, const char *name, const char **path, struct err *e)
{
    static char *last;
    free(last);
    *path = last = fs_join(u, name);
    return last ? 0 : err_nomem(e, strlen(name), "a path");
}

/* The clock after every step. */
struct watch {
    size_t n;
    struct clock at[STEPS_MAX + 1];
};

static void tick(void *u, double done, double total, const char *unit)
{
    struct watch *w = u;
    (void)total;
    if (strcmp(unit, "steps") == 0 && (size_t)done <= STEPS_MAX)
        w->at[w->n = (size_t)done] = now();
}

static void fill(float *p, size_t n, uint64_t stream, float size)
{
    for (size_t i = 0; i < n; i++)
        p[i] = size * (float)((double)rng_below(1, stream, i, 1 << 20) / (1 << 19) - 1);
}

static int make_lora(const struct model_config *c, bool all, bool both, int r, double dropout, struct lora **out, struct err *e)
{
    size_t n = 0, total = (size_t)c->num_hidden_layers * MOD_LINEARS + (all ? 2 : 0);
    int rc = lora_new(total, out, e);
    for (int l = -1; rc == 0 && l <= c->num_hidden_layers; l++)
        for (int m = 0; rc == 0 && m <= MOD_HEAD; m++) {
            bool here = l < 0 ? all && m == MOD_EMBED : l == c->num_hidden_layers ? all && m == MOD_HEAD : m < MOD_LINEARS;
            if (!here)
                continue;
            struct lora_pair *p = &(*out)->pairs[n];
            *p = (struct lora_pair){.layer = m < MOD_LINEARS ? l : -1, .mod = (enum module)m, .r = r, .scale = 1};
            rc = lora_pair_alloc(p, c, both ? r : 0, e);
            if (rc == 0)
                fill(p->A, (size_t)r * p->in, n, 0.03f);
            if (rc == 0 && both) {
                fill(p->B, p->out * (size_t)r, n + total, 0.03f);
                memcpy(p->A0, p->A, (size_t)r * p->in * sizeof *p->A);
                memcpy(p->B0, p->B, p->out * (size_t)r * sizeof *p->B);
            }
            n++;
        }
    if (rc == 0)
        (*out)->dropout = dropout;
    return rc == 0 ? lora_index(*out, c->num_hidden_layers, e) : rc;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const struct watch *w, const struct samples *s, size_t rows, const struct train_result *r)
{
    double each[STEPS_MAX], tokens = 0, wall = w->at[w->n].wall - w->at[1].wall, cpu = w->at[w->n].cpu - w->at[1].cpu;
    struct rusage u;
    for (size_t i = rows; i < w->n * rows && i < s->n; i++)
        tokens += (double)s->v[i].x.n;
    for (size_t i = 1; i < w->n; i++)
        each[i - 1] = w->at[i + 1].wall - w->at[i].wall;
    qsort(each, w->n - 1, sizeof *each, by_value);
    getrusage(RUSAGE_SELF, &u);
    printf("%.3f s a step (%.3f-%.3f), %.1f tokens/s, %.2f ms processor time a token, %.0f tokens a step, last loss %.4f, peak %.2f GiB\n",
           each[(w->n - 1) / 2], each[0], each[w->n - 2], tokens / wall, 1e3 * cpu / tokens, tokens / (double)(w->n - 1), r->loss,
           (double)u.ru_maxrss / (1 << 20));
}

static const char *word(int argc, char **argv, int i, const char *fallback)
{
    return argc > i ? argv[i] : fallback;
}

static int samples_of(struct model *m, const char *path, size_t limit, struct rows *rows, struct samples *out, struct err *e)
{
    const struct model_config *c = model_config(m);
    const struct tokenizer *t = NULL;
    size_t len = 0;
    int rc = model_tokenizer(m, &t, e);
    if (rc == 0)
        rc = rows_read(path, ROW_AUTO, 0, limit, rows, e);
    if (rc)
        return rc;
    struct samples_options o = {.tokenizer = t, .eos_id = c->eos_token_id[0], .form = FORM_TRAIN, .max_length = 2048, .too_long = TOO_LONG_TRUNCATE,
                                .vocab_size = c->vocab_size, .what = "rows"};
    o.eos_text = tokenizer_token(t, o.eos_id, &len);
    return samples_encode(rows, &o, out, e);
}

static int run(int argc, char **argv, struct err *e)
{
    static struct watch w;
    enum dtype t = strcmp(word(argc, argv, 3, "bf16"), "f32") == 0 ? DT_F32 : DT_BF16;
    size_t rows = strtoul(word(argc, argv, 4, "4"), NULL, 10), steps = strtoul(word(argc, argv, 5, "6"), NULL, 10);
    bool all = strcmp(word(argc, argv, 6, "seven"), "all") == 0, both = strcmp(word(argc, argv, 7, "one"), "both") == 0;
    const char *how = word(argc, argv, 10, "resident");
    struct progress p = {.u = &w, .update = tick};
    struct js *json = NULL;
    struct model *m = NULL;
    struct rows text = {0};
    struct samples s = {0};
    struct train_result r = {0};
    struct train_job j = {.data = &s, .progress = &p};
    steps = steps < 2 ? 2 : steps > STEPS_MAX ? STEPS_MAX : steps;
    j.s = (struct train_settings){.max_steps = (int64_t)steps, .batch = {.rows = rows, .accumulate = 1}, .learning_rate = 3e-4, .warmup_ratio = 0.03,
                                  .adamw = {0.9, 0.999, 1e-8, 0, 1}};
    int rc = model_describe_dir(argv[1], &json, e);
    if (rc == 0 && js_get(json, "tokenizer") && js_set((struct js *)(uintptr_t)js_get(json, "tokenizer"), "digest", js_new_cstr("tokenizer.json")))
        rc = err_nomem(e, 0, "model.json");
    if (rc == 0)
        rc = model_open(json, in_folder, argv[1], &m, e);
    if (rc == 0)
        rc = samples_of(m, argv[2], rows * steps, &text, &s, e);
    if (rc == 0)
        rc = weights_new(m, t, strcmp(how, "packed") == 0 ? WEIGHTS_PACKED_BOTH : strcmp(how, "streamed") == 0 ? WEIGHTS_STREAMED : WEIGHTS_RESIDENT,
                         &j.weights, e);
    if (rc == 0)
        rc = make_lora(model_config(m), all, both, atoi(word(argc, argv, 8, "16")), strtod(word(argc, argv, 9, "0.05"), NULL), &j.lora, e);
    if (rc == 0)
        rc = train_run(&j, &r, e);
    if (rc == 0)
        report(&w, &s, rows, &r);
    train_result_release(&r);
    lora_free(j.lora);
    weights_free(j.weights);
    samples_release(&s);
    rows_release(&text);
    model_close(m);
    js_free(json);
    return rc;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    if (argc < 3) {
        fputs("usage: bench FOLDER ROWS.jsonl [bf16|f32] [ROWS A STEP] [STEPS] [seven|all] [one|both] [RANK] [DROPOUT] [resident|packed|streamed]\n", stderr);
        return 2;
    }
    if (run(argc, argv, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    return 0;
}
