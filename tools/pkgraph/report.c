/* SPDX-License-Identifier: MIT
 *
 * report: everything about a spec and its results as one HTML file that needs nothing else: no network, no Graphviz.
 */
#include "tools/pkgraph/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/base/guard.h"
#include "runtime/kernels/gemm.h"
#include "tools/pkgraph/report_html.h"
#include "tools/pkgraph/term.h"

/* ---- what the parts share ---- */

static size_t seen(const struct found *v, size_t n, const struct artifact *a)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&v[i].a->digest, &a->digest, sizeof a->digest) == 0)
            return i;
    return n;
}

struct found *report_find(const struct report *r, const char *type, const char *op, size_t max, size_t *n, size_t *total)
{
    const struct graph *g = r->s->graph;
    struct found *v = calloc(max + 1, sizeof *v);
    *n = *total = 0;
    for (size_t i = 0; v && i < g->n; i++)
        for (int p = 0; g->nodes[i].op->outputs && g->nodes[i].op->outputs[p].name; p++) {
            const struct artifact *a = plan_artifact(r->s->plan, i, p);
            if (!a || strcmp(a->type, type) != 0 || (op && strcmp(op, g->nodes[i].op->name) != 0))
                continue;
            size_t at = seen(v, *n, a);
            if (at < *n) {
                v[at].same++;
                continue;
            }
            ++*total;
            if (*n < max)
                v[(*n)++] = (struct found){i, p, a, 0};
        }
    return v;
}

char *report_file(struct report *r, const struct artifact *a, const char *name)
{
    struct err e = {0};
    char *path = NULL;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->files[i].name, name) == 0) {
            if (store_resolve(r->s->store, &a->files[i].digest, &path, &e) == 0)
                return path;
            buf_puts(&r->b, "<p class=\"dim\">");
            html_text(&r->b, e.msg);
            buf_puts(&r->b, "</p>\n");
            return NULL;
        }
    return NULL;
}

struct js *report_json(struct report *r, const struct artifact *a, const char *name)
{
    struct err e = {0};
    char *path = report_file(r, a, name);
    struct js *j = path ? js_read(path, &e) : NULL;
    if (path && !j) {
        buf_puts(&r->b, "<p class=\"dim\">");
        html_text(&r->b, e.msg);
        buf_puts(&r->b, "</p>\n");
    }
    free(path);
    return j;
}

void report_left_out(struct report *r, size_t shown, size_t total, const char *what)
{
    if (total > shown) {
        buf_printf(&r->b, "<p class=\"dim\">The first %zu of %zu ", shown, total);
        html_text(&r->b, what);
        buf_puts(&r->b, " are drawn; <code>--variant</code> chooses.</p>\n");
    }
}

int report_feeder(const struct report *r, size_t node, const char *port)
{
    const struct node *n = &r->s->graph->nodes[node];
    for (size_t i = 0; i < n->n_edges; i++)
        if (strcmp(n->op->inputs[n->edges[i].port].name, port) == 0)
            return n->edges[i].from;
    return -1;
}

long report_split(const char *name, char *kind, size_t size)
{
    const char *at = strstr(name, "layers."), *end = name + strlen(name), *word;
    long layer = at ? strtol(at + 7, NULL, 10) : -1;
    if (str_ends(str_of(name), ".weight"))
        end -= 7;
    for (word = end; word > name && word[-1] != '.';)
        word--;
    snprintf(kind, size, "%.*s", (int)(end - word), word);
    return layer < 100000 ? layer : -1;
}

/* ---- the page ---- */

static void header(struct report *r)
{
    const struct graph *g = r->s->graph;
    const struct plan *p = r->s->plan;
    buf_puts(&r->b, "<header><h1>");
    html_text(&r->b, g->name ? g->name : fs_basename(g->file));
    buf_printf(&r->b, "</h1><p class=\"dim\">%zu nodes, %zu up to date, %zu to run", g->n, p->n_uptodate + p->n_shared,
               p->n_run + p->n_pending + p->n_blocked);
    if (g->n_variants > 1)
        buf_printf(&r->b, "; %zu variants", g->n_variants);
    html_textf(&r->b, ". pkgraph %s, %s.", PKG_VERSION, gemm_version());
    buf_puts(&r->b, "</p><nav>");
}

/* The navigation names the sections that came out. */
static void navigation(struct buf *out, const char *body)
{
    for (const char *p = body; (p = strstr(p, "<section id=\""));) {
        const char *id = p + 13, *id_end = strchr(id, '"'), *title = strstr(id, "<h2>") + 4, *title_end = strstr(title, "</h2>");
        buf_puts(out, "<a href=\"#");
        buf_put(out, id, (size_t)(id_end - id));
        buf_puts(out, "\">");
        buf_put(out, title, (size_t)(title_end - title));
        buf_puts(out, "</a> ");
        p = title_end;
    }
    buf_puts(out, "</nav></header>\n<main>");
}

static void page(struct report *r)
{
    const struct graph *g = r->s->graph;
    struct buf body;
    report_metrics(r);
    report_graph(r);
    report_timeline(r);
    report_curves(r);
    report_scores(r);
    report_windows(r);
    report_spectra(r);
    report_params(r);
    report_provenance(r);
    body = r->b;
    r->b = (struct buf){0};
    html_head(&r->b, g->name ? g->name : fs_basename(g->file));
    header(r);
    navigation(&r->b, body.p && !body.failed ? body.p : "");
    buf_put(&r->b, body.p ? body.p : "", body.n);
    r->b.failed |= body.failed;
    buf_release(&body);
    buf_puts(&r->b, "</main>\n");
    html_tail(&r->b);
}

static int write_page(struct report *r, const char *path)
{
    struct err e = {0};
    char x[TEXT_MAX];
    if (path && strcmp(path, "-") == 0)
        return print_buf(&r->b);
    if (r->b.failed)
        err_set(&e, ERR_NOMEM, "out of memory");
    else if (guard_end(&e) == 0 && fs_write_atomic(path, r->b.p, r->b.n, &e) == 0) {
        say("%s, %s", path, text_bytes(x, (double)r->b.n));
        return STATUS_DONE;
    }
    say_err(&e);
    return STATUS_FAILED;
}

static int run_report(const struct args *a)
{
    struct session s;
    struct report r = {.s = &s, .baseline = args_get(a, "baseline")};
    const char *path = args_get(a, "output");
    char *own = NULL;
    size_t node;
    int port, status = session_open(&s, a, SESSION_STORE | SESSION_PLAN | SESSION_READ);
    if (status == STATUS_DONE && r.baseline)
        status = session_find(&s, r.baseline, &node, &port);
    if (status != STATUS_DONE)
        goto out;
    if (!path && asprintf(&own, "%s.html", s.graph->name ? s.graph->name : "report") < 0)
        own = NULL;
    for (char *p = own; p && *p; p++)
        if (*p == '/')
            *p = '_';
    page(&r);
    status = write_page(&r, path ? path : own ? own : "report.html");
out:
    free(own);
    buf_release(&r.b);
    session_close(&s);
    return status;
}

static const struct option_def options[] = {
    {.name = "output", .letter = 'o', .arg = "FILE", .help = "the page (default: NAME.html here; -: standard output)"},
    {.name = "baseline", .arg = "NODE", .help = "differences of metrics are taken to this adapter or model (default: the first adapter)"},
    OPTIONS_SPEC,
    OPTIONS_ONLY,
    OPTIONS_HELP,
    {0},
};

const struct command cmd_report = {
    .name = "report",
    .usage = "SPEC",
    .summary = "results, graph, curves, sensitivity and windows as one HTML page",
    .about = "The page needs no network and no other file: metrics with their differences, beside the published ones; the graph\n"
             "with states and times; the timeline of runs; loss curves; sensitivity by layer and module with the layers kept; the\n"
             "windows on their matrices; singular values; parameters that differ; keys, digests and versions. It shows what has\n"
             "run so far.",
    .example = "pkgraph report specs/quickstart.yaml -o quickstart.html\n"
               "pkgraph report specs/quickstart.yaml --baseline default",
    .options = options,
    .min_pos = 1,
    .max_pos = 1,
    .run = run_report,
};
