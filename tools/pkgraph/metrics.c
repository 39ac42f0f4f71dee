/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/json.h"
#include "tools/pkgraph/session.h"
#include "tools/pkgraph/term.h"

struct js *metrics_read(const struct plan *p, const struct artifact *a)
{
    struct err e = {0};
    char *path = NULL;
    struct js *j = NULL;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->files[i].name, "metrics.json") == 0 && store_resolve(p->store, &a->files[i].digest, &path, &e) == 0)
            j = js_read(path, &e);
    free(path);
    return j;
}

/* A mean over tokens or its exponential; all else are shares of rows, in per cent already. */
static bool plain_metric(const char *name)
{
    static const char *const plain[] = {"loss", "perplexity", "token_loss", "row_loss", "nll", "bits"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strstr(name, plain[i]))
            return true;
    return false;
}

char *metric_text(char out[METRIC_MAX], const char *name, double value, double error)
{
    int digits = plain_metric(name) ? 4 : 2;
    if (isnan(error))
        snprintf(out, METRIC_MAX, "%.*f", digits, value);
    else
        snprintf(out, METRIC_MAX, "%.*f +- %.*f", digits, value, digits, error);
    return out;
}

/* The node that feeds the input port of that name, through any number of nodes: -1 when nothing does. */
static int feeder(const struct node *n, const char *port)
{
    for (size_t i = 0; i < n->n_edges; i++)
        if (strcmp(n->op->inputs[n->edges[i].port].name, port) == 0)
            return n->edges[i].from;
    return -1;
}

struct cell {
    char *column;
    char *text;
};

struct row {
    int model, adapter;
    size_t node; /* the first that gave a cell */
    struct cell *cells;
    size_t n;
};

struct sheet {
    struct row *rows;
    size_t n;
    char **columns;
    size_t n_columns;
};

static struct cell *cell_find(const struct row *r, const char *column)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->cells[i].column, column) == 0)
            return &r->cells[i];
    return NULL;
}

/* The row of the model and adapter that has no such cell yet. */
static struct row *row_for(struct sheet *s, const struct node *n, size_t node, const char *column)
{
    int model = feeder(n, "model"), adapter = feeder(n, "adapter");
    for (size_t i = 0; i < s->n; i++)
        if (s->rows[i].model == model && s->rows[i].adapter == adapter && !cell_find(&s->rows[i], column))
            return &s->rows[i];
    struct row *p = realloc(s->rows, (s->n + 1) * sizeof *p);
    if (!p)
        return NULL;
    s->rows = p;
    s->rows[s->n] = (struct row){.model = model, .adapter = adapter, .node = node};
    return &s->rows[s->n++];
}

static void column_add(struct sheet *s, const char *column)
{
    for (size_t i = 0; i < s->n_columns; i++)
        if (strcmp(s->columns[i], column) == 0)
            return;
    char **p = realloc(s->columns, (s->n_columns + 1) * sizeof *p);
    if (!p)
        return;
    s->columns = p;
    if ((s->columns[s->n_columns] = strdup(column)))
        s->n_columns++;
}

static void put(struct sheet *s, const struct node *n, size_t node, const char *column, const char *text)
{
    struct row *r = row_for(s, n, node, column);
    struct cell *p = r ? realloc(r->cells, (r->n + 1) * sizeof *p) : NULL;
    if (!p)
        return;
    r->cells = p;
    p[r->n] = (struct cell){strdup(column), strdup(text)};
    if (p[r->n].column && p[r->n].text)
        r->n++;
    column_add(s, column);
}

/* Does a metric carry its task's name (loss of loss, exact_match of exact)? Then the table leaves the others to `show`. */
static bool named_like(const struct js *m, const char *task)
{
    for (void *it = js_iter(m); task && it; it = js_next(m, it))
        if (strncmp(js_iter_key(it), task, strlen(task)) == 0)
            return true;
    return false;
}

/* "gsm8k 8-shot exact_match %", "mmlu acc % (100 of 14042)": what was measured under another protocol or on a part of the rows
 * must not stand in one column with the whole. */
static void benchmark_column(char *out, size_t size, const struct js *j, const char *name)
{
    const struct js *limit = js_get(j, "limit");
    long long shots = (long long)js_int(js_get(j, "n_shot"), 0);
    char with[40] = "", part[80] = "";
    if (shots > 0)
        snprintf(with, sizeof with, " %lld-shot", shots);
    if (limit)
        snprintf(part, sizeof part, " (%lld of %lld)", (long long)js_int(js_get(limit, "rows"), 0), (long long)js_int(js_get(limit, "of"), 0));
    snprintf(out, size, "%s%s %s %%%s", js_cstr(js_get(j, "task")), with, name, part);
}

static void put_metrics(struct sheet *s, const struct node *n, size_t node, const struct js *j)
{
    const struct js *m = js_get(j, "metrics"), *errors = js_get(j, "stderr");
    const char *task = js_cstr(js_get(j, "task"));
    for (void *it = js_iter(m); it; it = js_next(m, it)) {
        const char *name = js_iter_key(it);
        char column[240], text[METRIC_MAX];
        bool plain = plain_metric(name);
        if (task && !plain && strncmp(name, task, strlen(task)) != 0) /* gsm8k exact_match, but loss, exact_match */
            benchmark_column(column, sizeof column, j, name);
        else
            snprintf(column, sizeof column, "%s%s", name, plain ? "" : " %");
        if (js_kind(js_iter_value(it)) != JS_INT && js_kind(js_iter_value(it)) != JS_REAL)
            continue;
        if (named_like(m, task) && strncmp(name, task, strlen(task)) != 0)
            continue;
        if (strcmp(name, "finished") == 0 && js_len(m) > 1)
            continue; /* `show` has it */
        put(s, n, node, column, metric_text(text, name, js_num(js_iter_value(it), NAN), js_num(js_get(errors, name), NAN)));
    }
}

/* Nodes whose main output is a metrics artifact: evaluations. */
static const struct artifact *metrics_of(const struct plan *p, size_t i)
{
    const struct op *op = p->graph->nodes[i].op;
    if (!op->outputs || !op->outputs[0].name || strcmp(op->outputs[0].type, "metrics") != 0)
        return NULL;
    return plan_artifact(p, i, 0);
}

static const char *row_name(const struct plan *p, const struct row *r, const struct sheet *s)
{
    const struct graph *g = p->graph;
    size_t same = 0;
    for (size_t i = 0; i < s->n; i++)
        same += s->rows[i].model == r->model && s->rows[i].adapter == r->adapter;
    if (same > 1 || r->model < 0)
        return g->nodes[r->node].id;
    return g->nodes[r->adapter >= 0 ? r->adapter : r->model].id;
}

static void sheet_release(struct sheet *s)
{
    for (size_t i = 0; i < s->n; i++) {
        for (size_t k = 0; k < s->rows[i].n; k++) {
            free(s->rows[i].cells[k].column);
            free(s->rows[i].cells[k].text);
        }
        free(s->rows[i].cells);
    }
    for (size_t i = 0; i < s->n_columns; i++)
        free(s->columns[i]);
    free(s->rows);
    free(s->columns);
}

size_t metrics_print(const struct plan *p, FILE *f)
{
    struct sheet s = {0};
    struct table t = {0};
    for (size_t i = 0; i < p->graph->n; i++) {
        const struct artifact *a = metrics_of(p, i);
        struct js *j = a ? metrics_read(p, a) : NULL;
        if (j)
            put_metrics(&s, &p->graph->nodes[i], i, j);
        js_free(j);
    }
    t.cols = s.n_columns + 1;
    table_cell(&t, "%s", "model");
    for (size_t c = 0; c < s.n_columns; c++)
        table_cell(&t, "%s", s.columns[c]);
    for (size_t i = 0; i < s.n; i++) {
        table_cell(&t, "%s", row_name(p, &s.rows[i], &s));
        for (size_t c = 0; c < s.n_columns; c++) {
            struct cell *x = cell_find(&s.rows[i], s.columns[c]);
            table_cell(&t, "%s", x ? x->text : "-");
        }
    }
    if (s.n)
        table_print(&t, true, f);
    table_release(&t);
    size_t n = s.n;
    sheet_release(&s);
    return n;
}

struct js *metrics_json(const struct plan *p)
{
    struct js *out = js_array();
    for (size_t i = 0; i < p->graph->n; i++) {
        const struct artifact *a = metrics_of(p, i);
        struct js *j = a ? metrics_read(p, a) : NULL;
        if (!j)
            continue;
        int model = feeder(&p->graph->nodes[i], "model"), adapter = feeder(&p->graph->nodes[i], "adapter");
        js_set(j, "node", js_new_cstr(p->graph->nodes[i].id));
        if (model >= 0)
            js_set(j, "model", js_new_cstr(p->graph->nodes[model].id));
        if (adapter >= 0)
            js_set(j, "adapter", js_new_cstr(p->graph->nodes[adapter].id));
        js_push(out, j);
    }
    return out;
}
