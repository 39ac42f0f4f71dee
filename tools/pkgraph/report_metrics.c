/* SPDX-License-Identifier: MIT
 *
 * The table of metrics: a row for each evaluated model (with its adapter), a column for each metric, the difference to a
 * baseline under each value, and below it the published results of the same tasks.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/pkgraph/metrics.h"
#include "tools/pkgraph/published.h"
#include "tools/pkgraph/report.h"
#include "tools/pkgraph/report_html.h"

enum { COLUMNS = 64, COLUMN = 160 };

struct value {
    double v, error;
    bool higher;
};

struct line {
    const char *name;         /* adapter, else model, else the node */
    const char *adapter, *model, *node;
    struct value cells[COLUMNS];
};

struct sheet {
    struct js *all;
    char columns[COLUMNS][COLUMN];
    char metric[COLUMNS][COLUMN];
    size_t n_columns, n;
    struct line *lines;
};

static int column_of(struct sheet *s, const struct js *j, const char *metric)
{
    char text[COLUMN];
    const char *task = js_cstr(js_get(j, "task"));
    long long shots = (long long)js_int(js_get(j, "n_shot"), 0), limit = (long long)js_int(js_get(js_get(j, "limit"), "rows"), 0);
    bool named = task && strncmp(metric, task, strlen(task)) == 0;
    int n = snprintf(text, sizeof text, "%s%s%s", task && !named ? task : "", task && !named ? " " : "", metric);
    if (shots > 0 && n < COLUMN)
        n += snprintf(text + n, (size_t)(COLUMN - n), ", %lld-shot", shots);
    if (limit > 0 && n < COLUMN)
        snprintf(text + n, (size_t)(COLUMN - n), ", %lld rows", limit);
    for (size_t i = 0; i < s->n_columns; i++)
        if (strcmp(s->columns[i], text) == 0)
            return (int)i;
    if (s->n_columns == COLUMNS)
        return -1;
    snprintf(s->metric[s->n_columns], COLUMN, "%.*s", COLUMN - 1, metric);
    memcpy(s->columns[s->n_columns], text, COLUMN);
    return (int)s->n_columns++;
}

static bool same_text(const char *a, const char *b)
{
    return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

/* The line of this model and adapter whose column is still free. */
static struct line *line_of(struct sheet *s, const struct js *j, int column)
{
    const char *adapter = js_cstr(js_get(j, "adapter")), *model = js_cstr(js_get(j, "model")), *node = js_cstr(js_get(j, "node"));
    for (size_t i = 0; i < s->n; i++)
        if (same_text(s->lines[i].adapter, adapter) && same_text(s->lines[i].model, model) && isnan(s->lines[i].cells[column].v))
            return &s->lines[i];
    struct line *l = &s->lines[s->n++];
    *l = (struct line){.name = adapter ? adapter : model ? model : node, .adapter = adapter, .model = model, .node = node};
    for (size_t i = 0; i < COLUMNS; i++)
        l->cells[i].v = NAN;
    for (size_t i = 0; i + 1 < s->n; i++)
        if (same_text(s->lines[i].name, l->name))
            l->name = node;
    return l;
}

/* Does a metric carry its task's name (loss of loss)? Then the others are left to `show`, as in the table of `run`. */
static bool named_like(const struct js *m, const char *task)
{
    for (void *it = js_iter(m); task && it; it = js_next(m, it))
        if (strncmp(js_iter_key(it), task, strlen(task)) == 0)
            return true;
    return false;
}

static void put(struct sheet *s, const struct js *j)
{
    const struct js *m = js_get(j, "metrics");
    const char *task = js_cstr(js_get(j, "task"));
    bool named = named_like(m, task);
    for (void *it = js_iter(m); it; it = js_next(m, it)) {
        const char *name = js_iter_key(it);
        double v = named && strncmp(name, task, strlen(task)) != 0 ? NAN : js_num(js_iter_value(it), NAN);
        int c = isnan(v) || (strcmp(name, "finished") == 0 && js_len(m) > 1) ? -1 : column_of(s, j, name);
        struct line *l = c >= 0 ? line_of(s, j, c) : NULL;
        if (l)
            l->cells[c] = (struct value){v, js_num(js_get(js_get(j, "stderr"), name), NAN), js_bool(js_get(js_get(j, "higher_is_better"), name), true)};
    }
}

static const struct line *baseline(const struct report *r, const struct sheet *s)
{
    for (size_t i = 0; r->baseline && i < s->n; i++)
        if (same_text(s->lines[i].name, r->baseline) || same_text(s->lines[i].adapter, r->baseline) || same_text(s->lines[i].node, r->baseline))
            return &s->lines[i];
    for (size_t i = 0; !r->baseline && i < s->n; i++)
        if (s->lines[i].adapter)
            return &s->lines[i];
    return s->n ? &s->lines[0] : NULL;
}

static void cell(struct buf *b, const char *metric, const struct value *v, const struct value *base)
{
    char text[METRIC_MAX];
    if (isnan(v->v)) {
        buf_puts(b, "<td class=\"n\">-</td>");
        return;
    }
    buf_puts(b, "<td class=\"n\"><span class=\"metric\" data-v=\"");
    html_num(b, v->v);
    buf_puts(b, "\">");
    html_text(b, metric_text(text, metric, v->v, NAN));
    buf_puts(b, "</span>");
    if (!isnan(v->error)) {
        buf_puts(b, " \xc2\xb1 ");
        html_text(b, metric_text(text, metric, v->error, NAN));
    }
    if (base && !isnan(base->v)) {
        double d = v->v - base->v, error = sqrt(v->error * v->error + base->error * base->error);
        metric_text(text, metric, fabs(d), NAN);
        buf_puts(b, "<small>");
        html_textf(b, "%s%s", d < 0 ? "\xe2\x88\x92" : "+", text);
        if (!isnan(error))
            html_textf(b, " \xc2\xb1 %s", metric_text(text, metric, error, NAN));
        buf_puts(b, "</small>");
    }
    buf_puts(b, "</td>");
}

static void table(struct report *r, const struct sheet *s)
{
    struct buf *b = &r->b;
    const struct line *base = baseline(r, s);
    buf_puts(b, "<figure><div class=\"scroll\"><table><tr><th>model</th>");
    for (size_t c = 0; c < s->n_columns; c++) {
        buf_puts(b, "<th class=\"n\">");
        html_text(b, s->columns[c]);
        buf_puts(b, "</th>");
    }
    buf_puts(b, "</tr>\n");
    for (size_t i = 0; i < s->n; i++) {
        const struct line *l = &s->lines[i];
        buf_puts(b, l == base ? "<tr class=\"base\"><td>" : "<tr><td>");
        html_text(b, l->name);
        if (l->adapter) {
            buf_puts(b, "<small>");
            html_textf(b, "on %s", l->model ? l->model : "?");
            buf_puts(b, "</small>");
        }
        buf_puts(b, "</td>");
        for (size_t c = 0; c < s->n_columns; c++)
            cell(b, s->metric[c], &l->cells[c], base && base != l ? &base->cells[c] : NULL);
        buf_puts(b, "</tr>\n");
    }
    buf_puts(b, "</table></div><figcaption>\xc2\xb1: standard error over the test rows of this one run. Small: difference to ");
    html_text(b, base ? base->name : "");
    buf_puts(b, ", its error as if the two sets of answers were independent. Accuracies and shares are in per cent; perplexity and loss are not.</figcaption></figure>\n");
}

/* published_print's own table, once for each task and number of shots. */
static void published(struct report *r, const struct sheet *s)
{
    struct buf done = {0};
    for (size_t i = 0; i < js_len(s->all); i++) {
        const struct js *j = js_at(s->all, i);
        char key[COLUMN], *text = NULL;
        size_t n = 0;
        snprintf(key, sizeof key, "|%s %lld|", js_cstr(js_get(j, "task")) ? js_cstr(js_get(j, "task")) : "", (long long)js_int(js_get(j, "n_shot"), 0));
        if (done.p && strstr(done.p, key))
            continue;
        buf_puts(&done, key);
        FILE *f = open_memstream(&text, &n);
        if (!f)
            break;
        published_print(j, f);
        fclose(f);
        if (text && *text) {
            buf_puts(&r->b, "<h3>");
            html_textf(&r->b, "Published: %s, %lld-shot", js_cstr(js_get(j, "task")), (long long)js_int(js_get(j, "n_shot"), 0));
            buf_puts(&r->b, "</h3><div class=\"scroll\"><pre>");
            html_text(&r->b, text + strspn(text, "\n"));
            buf_puts(&r->b, "</pre></div><p class=\"dim\">arXiv 2310.11451, means of three runs; '+' rows start from that teacher's parameters.</p>\n");
        }
        free(text);
    }
    buf_release(&done);
}

void report_metrics(struct report *r)
{
    struct sheet *s = calloc(1, sizeof *s);
    size_t values = 0;
    if (s)
        s->all = metrics_json(r->s->plan);
    for (size_t i = 0; s && i < js_len(s->all); i++)
        values += js_len(js_get(js_at(s->all, i), "metrics"));
    if (s)
        s->lines = calloc(values + 1, sizeof *s->lines);
    for (size_t i = 0; s && s->lines && i < js_len(s->all); i++)
        put(s, js_at(s->all, i));
    if (s && s->lines && s->n) {
        html_section(&r->b, "metrics", "Metrics");
        table(r, s);
        published(r, s);
        html_section_end(&r->b);
    }
    r->b.failed |= !s || !s->lines;
    if (s) {
        js_free(s->all);
        free(s->lines);
    }
    free(s);
}
