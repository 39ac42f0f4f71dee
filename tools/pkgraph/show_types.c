/* SPDX-License-Identifier: MIT
 *
 * The views of artifacts: metrics as a table, scores by layer, the layer map, windows, adapters, logs, first rows.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/lib/inputs.h"
#include "runtime/base/fs.h"
#include "runtime/model/model.h"
#include "runtime/text/rows.h"
#include "tools/pkgraph/metrics.h"
#include "tools/pkgraph/published.h"
#include "tools/pkgraph/score_map.h"
#include "tools/pkgraph/show.h"
#include "tools/pkgraph/term.h"

static struct js *read_json(const struct session *s, const struct artifact *a, const char *name)
{
    struct err e = {0};
    char *path = session_file(s, a, name);
    struct js *j = path ? js_read(path, &e) : NULL;
    if (path && !j)
        say_err(&e);
    free(path);
    return j;
}

static bool has_file(const struct artifact *a, const char *name)
{
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->files[i].name, name) == 0)
            return true;
    return false;
}

/* ---- metrics ---- */

static void metric_rows(struct table *t, const struct js *m, const struct js *errors, const char *group)
{
    for (void *it = js_iter(m); it; it = js_next(m, it)) {
        char text[METRIC_MAX];
        const struct js *v = js_iter_value(it);
        if (js_kind(v) != JS_INT && js_kind(v) != JS_REAL)
            continue;
        table_cell(t, "%s", group);
        table_cell(t, "%s", js_iter_key(it));
        if (js_kind(v) == JS_INT || strcmp(group, "counts") == 0)
            table_cell(t, "%.0f", js_num(v, NAN));
        else
            table_cell(t, "%s", metric_text(text, js_iter_key(it), js_num(v, NAN), js_num(js_get(errors, js_iter_key(it)), NAN)));
    }
}

static int show_metrics(const struct session *s, const struct artifact *a)
{
    struct js *j = read_json(s, a, "metrics.json");
    const struct js *by = js_get(j, "by");
    struct table t = {.cols = 3};
    if (!j)
        return STATUS_FAILED;
    const char *task = js_cstr(js_get(j, "task")), *protocol = js_cstr(js_get(j, "protocol"));
    printf("%s%s%s, %lld rows\n", task ? task : "metrics", protocol ? ", " : "", protocol ? protocol : "", (long long)js_int(js_get(j, "n"), 0));
    table_cell(&t, "group");
    table_cell(&t, "metric");
    table_cell(&t, "value");
    metric_rows(&t, js_get(j, "metrics"), js_get(j, "stderr"), "all");
    for (void *it = js_iter(by); it; it = js_next(by, it)) {
        const struct js *g = js_iter_value(it);
        const struct js *m = js_get(g, "metrics") ? js_get(g, "metrics") : g;
        const struct js *errors = js_get(g, "stderr") ? js_get(g, "stderr") : js_get(js_get(j, "by_stderr"), js_iter_key(it));
        metric_rows(&t, m, errors, js_iter_key(it));
    }
    table_print(&t, true, stdout);
    table_release(&t);
    published_print(j, stdout);
    js_free(j);
    return STATUS_DONE;
}

/* ---- lines of JSON ---- */

static int show_lines(const struct session *s, const struct artifact *a, const char *name, size_t rows)
{
    char *path = session_file(s, a, name), *line = NULL;
    size_t cap = 0, n = 0, width = term_is_tty(stdout) ? term_width(stdout) : 200;
    FILE *f = path ? fopen(path, "r") : NULL;
    for (ssize_t len; f && (len = getline(&line, &cap, f)) >= 0; n++) {
        struct buf b = {0};
        if (n >= rows)
            continue;
        text_line(&b, str_trim((struct str){line, (size_t)len}), width > 4 ? width - 4 : 1);
        if (!b.failed)
            printf("%s\n", b.p);
        buf_release(&b);
    }
    if (n > rows)
        printf("... %zu rows in all (--rows N shows more)\n", n);
    int status = f ? STATUS_DONE : STATUS_FAILED;
    if (f)
        fclose(f);
    free(line);
    free(path);
    return status;
}

/* The losses of a log on one line. */
static void spark(const struct buf *text, size_t lines)
{
    struct err e = {0};
    double *loss = calloc(lines + 1, sizeof *loss);
    size_t n = 0;
    for (size_t at = 0; loss && at < text->n && n < lines;) {
        size_t k = strcspn(text->p + at, "\n");
        struct js *j = js_parse((struct str){text->p + at, k}, "train.jsonl", &e);
        if (isfinite(js_num(js_get(j, "loss"), NAN)))
            loss[n++] = js_num(js_get(j, "loss"), 0);
        js_free(j);
        at += k + 1;
    }
    if (loss)
        show_spark(loss, n, stdout);
    free(loss);
}

/* Training log: some steps spread over the whole run. */
static int show_log(const struct session *s, const struct artifact *a, size_t rows)
{
    struct buf text = {0};
    struct err e = {0};
    struct table t = {.cols = 6};
    static const char *const keys[] = {"step", "epoch", "loss", "learning_rate", "grad_norm", "tokens"};
    char *path = session_file(s, a, "train.jsonl");
    size_t lines = 0, line = 0;
    if (!path || fs_read(path, (size_t)1 << 30, &text, &e) != 0) {
        if (path)
            say_err(&e);
        free(path);
        return STATUS_FAILED;
    }
    free(path);
    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n';
    spark(&text, lines);
    for (size_t k = 0; k < 6; k++)
        table_cell(&t, "%s", keys[k]);
    for (size_t at = 0; at < text.n; line++) {
        size_t n = strcspn(text.p + at, "\n"), step = lines > rows && rows > 1 ? (lines - 1 + rows - 2) / (rows - 1) : 1;
        struct js *j = line % step == 0 || line + 1 == lines ? js_parse((struct str){text.p + at, n}, "train.jsonl", &e) : NULL;
        for (size_t k = 0; j && k < 6; k++)
            table_cell(&t, "%.6g", js_num(js_get(j, keys[k]), NAN));
        js_free(j);
        at += n + 1;
    }
    table_print(&t, true, stdout);
    table_release(&t);
    buf_release(&text);
    return STATUS_DONE;
}

/* ---- scores, layer map, blocks ---- */

/* Reads all of S through the map: of large models only when all was asked for. */
static int heat(const struct session *s, const struct artifact *a, bool all)
{
    struct err e = {0};
    struct score_map m = {0};
    uint64_t bytes = 0;
    char *path = session_file(s, a, "scores.safetensors"), x[TEXT_MAX];
    if (path && !all && fs_size(path, &bytes, &e) == 0 && bytes > (uint64_t)4 << 30) {
        printf("\nby layer and module: --all reads the %s of scores for it\n", text_bytes(x, (double)bytes));
        free(path);
        return STATUS_DONE;
    }
    int rc = path ? score_map_read(path, &m, &e) : -1;
    if (rc == 0)
        show_heat(&m, stdout);
    else if (path)
        say_err(&e);
    score_map_release(&m);
    free(path);
    return rc ? STATUS_FAILED : STATUS_DONE;
}

static int show_scores(const struct session *s, const struct artifact *a, bool all)
{
    struct js *j = read_json(s, a, "scores.json");
    if (!j)
        return STATUS_FAILED;
    const struct js *layers = js_get(j, "layers"), *modules = js_get(j, "modules"), *skipped = js_get(j, "skipped");
    struct table t = {.cols = 3}, m = {.cols = 2};
    double best = 0;
    printf("%lld samples, %lld tokens, %lld targets\n", (long long)js_int(js_get(j, "samples"), 0), (long long)js_int(js_get(j, "tokens"), 0),
           (long long)js_int(js_get(j, "target_tokens"), 0));
    for (size_t i = 0; i < js_len(skipped); i++)
        printf("skipped row %lld: %s\n", (long long)js_int(js_get(js_at(skipped, i), "row"), -1),
               js_cstr(js_get(js_at(skipped, i), "reason")) ? js_cstr(js_get(js_at(skipped, i), "reason")) : "");
    for (size_t i = 0; i < js_len(layers); i++)
        best = fmax(best, js_num(js_at(layers, i), 0));
    puts("\nscore S by layer");
    for (size_t i = 0; i < js_len(layers); i++) {
        double v = js_num(js_at(layers, i), 0);
        table_cell(&t, "%zu", i);
        table_cell(&t, "%.5g", v);
        table_cell(&t, "%.*s", best > 0 ? (int)(40 * v / best) : 0, "########################################");
    }
    table_print(&t, false, stdout);
    puts("\nscore S by module");
    for (void *it = js_iter(modules); it; it = js_next(modules, it)) {
        table_cell(&m, "%s", js_iter_key(it));
        table_cell(&m, "%.5g", js_num(js_iter_value(it), NAN));
    }
    table_print(&m, false, stdout);
    table_release(&t);
    table_release(&m);
    js_free(j);
    return heat(s, a, all);
}

static int show_layer_map(const struct session *s, const struct artifact *a)
{
    struct js *j = read_json(s, a, "layers.json");
    if (!j)
        return STATUS_FAILED;
    const struct js *map = js_get(j, "map"), *scores = js_get(j, "scores");
    const char *strategy = js_cstr(js_get(j, "strategy"));
    struct table t = {.cols = 3};
    printf("strategy %s: %lld of %lld teacher layers\n", strategy ? strategy : "?", (long long)js_int(js_get(j, "student_layers"), 0),
           (long long)js_int(js_get(j, "teacher_layers"), 0));
    table_cell(&t, "student layer");
    table_cell(&t, "teacher layer");
    table_cell(&t, "score");
    for (size_t i = 0; i < js_len(map); i++) {
        int64_t from = js_int(js_at(map, i), -1);
        double score = from >= 0 ? js_num(js_at(scores, (size_t)from), NAN) : NAN;
        table_cell(&t, "%zu", i);
        table_cell(&t, "%lld", (long long)from);
        table_cell(&t, isnan(score) ? "-" : "%.5g", score);
    }
    table_print(&t, true, stdout);
    table_release(&t);
    js_free(j);
    return STATUS_DONE;
}

static void window_cell(struct table *t, const struct js *range)
{
    int64_t start = js_int(js_get(range, "start"), -1);
    if (js_kind(range) == JS_ARRAY)
        table_cell(t, "%zu chosen", js_len(range));
    else if (start >= 0)
        table_cell(t, "%lld..%lld", (long long)start, (long long)(start + js_int(js_get(range, "count"), 0) - 1));
    else
        table_cell(t, "-");
}

static int show_blocks(const struct session *s, const struct artifact *a)
{
    struct js *j = read_json(s, a, "blocks.json");
    if (!j)
        return STATUS_FAILED;
    const struct js *list = js_get(j, "tensors") ? js_get(j, "tensors") : j;
    struct table t = {.cols = 5};
    static const char *const head[] = {"student parameter", "from", "rows", "columns", "share of S %"};
    for (size_t i = 0; i < 5; i++)
        table_cell(&t, "%s", head[i]);
    for (void *it = js_iter(list); it; it = js_next(list, it)) {
        const struct js *x = js_iter_value(it);
        const char *source = js_cstr(js_get(x, "source"));
        double score = js_num(js_get(x, "score"), NAN), total = js_num(js_get(x, "total"), NAN);
        if (!source)
            continue;
        table_cell(&t, "%s", js_iter_key(it));
        table_cell(&t, "%s", source);
        window_cell(&t, js_get(x, "rows"));
        window_cell(&t, js_get(x, "cols"));
        table_cell(&t, total > 0 ? "%.1f" : "-", 100 * score / total);
    }
    table_print(&t, true, stdout);
    table_release(&t);
    js_free(j);
    return STATUS_DONE;
}

/* ---- adapters and whatever else holds tensors ---- */

static int show_tensors(const struct session *s, const struct artifact *a, const char *name, size_t max_list)
{
    struct err e = {0};
    struct st_file *f = NULL;
    char *path = session_file(s, a, name);
    if (!path)
        return STATUS_FAILED;
    struct js *j = js_object(), *list = js_array();
    int rc = st_open_header(path, &f, &e);
    for (size_t i = 0; rc == 0 && i < st_count(f); i++) {
        const struct tensor *t = st_at(f, i);
        struct js *x = js_object(), *shape = js_array();
        for (int k = 0; k < t->ndim; k++)
            js_push(shape, js_new_int((int64_t)t->shape[k]));
        js_set(x, "name", js_new_cstr(t->name));
        js_set(x, "dtype", js_new_cstr(dtype_name(t->dtype)));
        js_set(x, "shape", shape);
        js_push(list, x);
    }
    js_set(j, "tensors", list);
    if (rc)
        say_err(&e);
    else
        show_model(j, max_list);
    js_free(j);
    if (f)
        st_close(f);
    free(path);
    return rc ? STATUS_FAILED : STATUS_DONE;
}

static int show_adapter(const struct session *s, const struct artifact *a, size_t max_list)
{
    struct js *j = read_json(s, a, "adapter_config.json");
    if (!j)
        return STATUS_FAILED;
    printf("LoRA adapter, r %lld, lora_alpha %.6g, dropout %.4g%s%s\n", (long long)js_int(js_get(j, "r"), 0), js_num(js_get(j, "lora_alpha"), 0),
           js_num(js_get(j, "lora_dropout"), 0), js_bool(js_get(j, "use_rslora"), false) ? ", rslora" : "",
           has_file(a, "compensation.safetensors") ? ", with compensation of the base" : "");
    js_free(j);
    return show_tensors(s, a, "adapter_model.safetensors", max_list);
}

static void print_files(const struct artifact *a)
{
    char x[TEXT_MAX];
    for (size_t i = 0; i < a->n; i++)
        printf("  %-32s %s\n", a->files[i].name, text_bytes(x, (double)a->files[i].bytes));
}

static int show_model_artifact(const struct session *s, const struct artifact *a, size_t max_list)
{
    struct js *j = read_json(s, a, "model.json");
    if (!j)
        return STATUS_FAILED;
    show_model(j, max_list);
    js_free(j);
    return STATUS_DONE;
}

int show_artifact(const struct session *s, const struct artifact *a, const struct show_options *o)
{
    if (strcmp(a->type, "model") == 0)
        return show_model_artifact(s, a, o->max_list);
    if (strcmp(a->type, "metrics") == 0)
        return show_metrics(s, a);
    if (strcmp(a->type, "scores") == 0)
        return show_scores(s, a, o->max_list == SIZE_MAX);
    if (strcmp(a->type, "layer-map") == 0)
        return show_layer_map(s, a);
    if (strcmp(a->type, "blocks") == 0)
        return show_blocks(s, a);
    if (strcmp(a->type, "adapter") == 0)
        return show_adapter(s, a, o->max_list);
    if (has_file(a, "train.jsonl"))
        return show_log(s, a, o->rows);
    if (has_file(a, "data.jsonl"))
        return show_lines(s, a, "data.jsonl", o->rows);
    if (has_file(a, "predictions.jsonl"))
        return show_lines(s, a, "predictions.jsonl", o->rows);
    print_files(a);
    return STATUS_DONE;
}

/* ---- tokens ---- */

static void print_encoded(const struct tokenizer *t, const struct encoded *x, bool colour)
{
    struct err e;
    struct buf one = {0}, line = {0};
    bool on = false;
    for (size_t i = 0; i < x->n; i++) {
        if ((x->trained[i] != 0) != on) {
            on = !on;
            fputs(colour ? (on ? "\033[32m" : "\033[0m") : on ? "{{" : "}}", stdout);
        }
        buf_clear(&one);
        buf_clear(&line);
        if (tokenizer_decode(t, &x->ids[i], 1, false, &one, &e) == 0)
            text_line(&line, buf_view(&one), 200);
        printf("%s|", line.n ? line.p : "");
    }
    fputs(on ? (colour ? "\033[0m\n" : "}}\n") : "\n", stdout);
    buf_release(&one);
    buf_release(&line);
}

static int print_token_rows(const struct model *m, const struct tokenizer *t, const struct rows *rows, enum train_on on, struct err *e)
{
    const char *eos;
    int eos_id, rc = op_model_eos(m, &eos, &eos_id, e);
    for (size_t i = 0; rc == 0 && i < rows->n; i++) {
        struct encoded x = {0};
        rc = row_encode(t, &rows->v[i], FORM_TRAIN, on, SIZE_MAX, eos, eos_id, &x, e);
        if (rc == 0) {
            printf("row %zu: %zu tokens, %zu trained\n", i, x.n, x.n_target);
            print_encoded(t, &x, term_colour(stdout));
        }
        encoded_release(&x);
    }
    return rc;
}

static enum train_on train_on_of(const struct js *facts)
{
    const char *on = js_cstr(js_get(facts, "train_on"));
    return on && strcmp(on, "all") == 0 ? TRAIN_ALL : on && strcmp(on, "assistant") == 0 ? TRAIN_ASSISTANT : TRAIN_LAST;
}

int show_tokens(const struct session *s, const struct artifact *data, const struct artifact *model, size_t n)
{
    struct err e = {0};
    struct js *j = read_json(s, model, "model.json"), *facts = read_json(s, data, "dataset.json");
    struct chat *chat = NULL;
    struct resolver r = {.store = s->store};
    struct model *m = NULL;
    struct rows rows = {0};
    const struct tokenizer *t;
    char *path = session_file(s, data, "data.jsonl");
    int rc = -1;
    if (!j || !path)
        goto out;
    rc = model_open(j, resolver_find, &r, &m, &e);
    if (rc == 0)
        rc = model_tokenizer(m, &t, &e);
    if (rc == 0)
        rc = rows_read(path, ROW_AUTO, 0, n, &rows, &e);
    if (rc == 0)
        rc = op_chat_new(facts, js_get(j, "tokenizer"), &chat, &e);
    if (rc == 0) {
        rows_set_chat(&rows, chat);
        rc = print_token_rows(m, t, &rows, train_on_of(facts), &e);
    }
    if (rc)
        say_err(&e);
out:
    rows_release(&rows);
    if (m)
        model_close(m);
    resolver_release(&r);
    chat_free(chat);
    js_free(facts);
    js_free(j);
    free(path);
    return rc ? STATUS_FAILED : STATUS_DONE;
}
