/* SPDX-License-Identifier: MIT
 *
 * The timeline: the last runs in which something ran, each node a bar from its start to its end. The history keeps whole
 * seconds of ends and the wall time of nodes; bars begin at their end minus that time.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/pkgraph/report.h"
#include "tools/pkgraph/report_html.h"
#include "tools/pkgraph/term.h"

enum { RUNS = 4, ROWS = 20000, BAR_H = 18, LEFT = 150, PLOT = 640, MAX_BARS = 200 };

static double start_of(const struct history_row *h)
{
    return (double)h->at - h->wall;
}

static int by_start(const void *a, const void *b)
{
    const struct history_row *x = *(const struct history_row *const *)a, *y = *(const struct history_row *const *)b;
    double d = start_of(x) - start_of(y);
    return d < 0 ? -1 : d > 0 ? 1 : strcmp(x->node, y->node);
}

static void bar(struct buf *b, const struct history_row *h, size_t row, double begin, double scale)
{
    char t[TEXT_MAX], c[TEXT_MAX], m[TEXT_MAX];
    double y = (double)(row * BAR_H), x = LEFT + (start_of(h) - begin) * scale, w = fmax(2, h->wall * scale);
    buf_puts(b, "<g data-t=\"");
    html_textf(b, "%s, %s\n%s of wall time, %s of processor time, %s of memory", h->node, h->status, text_seconds(t, h->wall),
               text_seconds(c, h->cpu), text_bytes(m, (double)h->peak_memory));
    buf_printf(b, "\"><text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">", LEFT - 6, y + 13);
    html_textf(b, "%.22s", h->node);
    buf_printf(b, "</text><rect x=\"%.1f\" y=\"%.0f\" width=\"%.1f\" height=\"%d\" rx=\"2\" style=\"fill:var(--%s)\"/>", x, y + 3, w, BAR_H - 6,
               strcmp(h->status, "ran") == 0 ? "c0" : "bad");
    buf_printf(b, "<text class=\"dim\" x=\"%.1f\" y=\"%.0f\">", x + w + 5, y + 13);
    html_text(b, text_seconds(t, h->wall));
    buf_puts(b, "</text></g>\n");
}

static void draw_run(struct buf *b, const struct history_row **v, size_t n, bool open)
{
    double begin = INFINITY, end = -INFINITY, busy = 0;
    char when[TEXT_MAX], span[TEXT_MAX], sum[TEXT_MAX];
    size_t bars = n < MAX_BARS ? n : MAX_BARS;
    for (size_t i = 0; i < n; i++) {
        begin = fmin(begin, start_of(v[i]));
        end = fmax(end, (double)v[i]->at);
        busy += v[i]->wall;
    }
    qsort(v, n, sizeof *v, by_start);
    buf_printf(b, "<details%s><summary>", open ? " open=\"open\"" : "");
    html_textf(b, "Run %lld, %s: %zu nodes in %s (%s of node time)", (long long)v[0]->run, text_when(when, (int64_t)begin), n,
               text_seconds(span, end - begin), text_seconds(sum, busy));
    buf_printf(b, "</summary><div class=\"scroll\"><svg width=\"%d\" height=\"%zu\">\n", LEFT + PLOT + 90, bars * BAR_H);
    for (size_t i = 0; i < bars; i++)
        bar(b, v[i], i, begin, PLOT / fmax(end - begin, 1e-3));
    buf_puts(b, "</svg></div>");
    if (end - begin < 5)
        buf_puts(b, "<p class=\"dim\">The history keeps ends in whole seconds: nodes of so short a run seem to end together.</p>");
    buf_puts(b, "</details>\n");
}

void report_timeline(struct report *r)
{
    struct err e = {0};
    struct history_row *rows = NULL;
    size_t n = 0, runs = 0;
    if (store_history(r->s->store, r->s->graph->file, NULL, ROWS, &rows, &n, &e) != 0)
        return;
    const struct history_row **v = calloc(n + 1, sizeof *v);
    for (size_t i = 0; v && i < n && runs < RUNS;) {
        size_t k = 0;
        int64_t run = rows[i].run;
        for (; i < n && rows[i].run == run; i++)
            if (strcmp(rows[i].status, "cached") != 0 && rows[i].wall > 0)
                v[k++] = &rows[i];
        if (k == 0)
            continue;
        if (runs == 0)
            html_section(&r->b, "timeline", "Timeline");
        draw_run(&r->b, v, k, runs++ == 0);
    }
    if (runs)
        html_section_end(&r->b);
    r->b.failed |= !v;
    free(v);
    store_history_free(rows, n);
}
