/* SPDX-License-Identifier: MIT
 *
 * The graph as SVG, laid out here (Sugiyama's way): a node's column is its longest path from a source, edges over several
 * columns pass through dummies, a few sweeps order each column by the mean place of neighbours, and rows are then pulled
 * towards neighbours as far as the order allows. Deterministic: ties keep the order of the graph.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/pkgraph/report.h"
#include "tools/pkgraph/report_html.h"
#include "tools/pkgraph/term.h"

enum { MAX_DRAWN = 400, SWEEPS = 12, BOX_W = 132, BOX_H = 40, GAP_X = 46, GAP_Y = 14, DUMMY_H = 8 };

struct vertex {
    int node; /* -1: dummy */
    int rank;
    double y, want, weight;
    size_t order;
};

struct link {
    int from, to; /* vertices in neighbouring ranks */
};

struct layout {
    size_t n, n_links, cap, link_cap, n_ranks;
    struct vertex *v;
    struct link *links;
    int *vertex_of;   /* of a graph node; -1: not drawn */
    size_t *column, *column_at; /* vertices by rank, and where each rank begins */
    double height;
    bool failed;
};

static int add_vertex(struct layout *l, int node, int rank)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        struct vertex *p = realloc(l->v, cap * sizeof *p);
        if (!p) {
            l->failed = true;
            return 0;
        }
        l->v = p;
        l->cap = cap;
    }
    l->v[l->n] = (struct vertex){.node = node, .rank = rank, .order = l->n};
    l->n_ranks = (size_t)rank + 1 > l->n_ranks ? (size_t)rank + 1 : l->n_ranks;
    return (int)l->n++;
}

static void add_link(struct layout *l, int from, int to)
{
    if (l->n_links == l->link_cap) {
        size_t cap = l->link_cap ? 2 * l->link_cap : 64;
        struct link *p = realloc(l->links, cap * sizeof *p);
        if (!p) {
            l->failed = true;
            return;
        }
        l->links = p;
        l->link_cap = cap;
    }
    l->links[l->n_links++] = (struct link){from, to};
}

/* The longest path from a source; a source moves beside its first consumer, or all sources would crowd column 0. */
static void rank_nodes(const struct graph *g, const bool *drawn, int *rank)
{
    int *first_use = calloc(g->n + 1, sizeof *first_use);
    for (size_t i = 0; i < g->n; i++) {
        rank[i] = 0;
        for (size_t k = 0; k < g->nodes[i].n_edges; k++) {
            int from = g->nodes[i].edges[k].from;
            if (drawn[i] && drawn[from] && rank[from] + 1 > rank[i])
                rank[i] = rank[from] + 1;
        }
    }
    for (size_t i = 0; first_use && i < g->n; i++)
        for (size_t k = 0; drawn[i] && k < g->nodes[i].n_edges; k++) {
            int *use = &first_use[g->nodes[i].edges[k].from];
            *use = *use == 0 || rank[i] < *use ? rank[i] : *use;
        }
    for (size_t i = 0; first_use && i < g->n; i++)
        if (g->nodes[i].n_edges == 0 && first_use[i] > 1)
            rank[i] = first_use[i] - 1;
    free(first_use);
}

/* The edges of one producer run together as far as they can: it has one dummy in a column. */
static int dummy_of(struct layout *l, int *slot, int at, int rank)
{
    if (*slot)
        return *slot - 1;
    int dummy = add_vertex(l, -1, rank);
    add_link(l, at, dummy);
    *slot = dummy + 1;
    return dummy;
}

static void build(struct layout *l, const struct graph *g, const bool *drawn)
{
    int *rank = calloc(g->n + 1, sizeof *rank);
    l->vertex_of = calloc(g->n + 1, sizeof *l->vertex_of);
    if (!rank || !l->vertex_of) {
        l->failed = true;
        free(rank);
        return;
    }
    rank_nodes(g, drawn, rank);
    for (size_t i = 0; i < g->n; i++)
        l->vertex_of[i] = drawn[i] ? add_vertex(l, (int)i, rank[i]) : -1;
    int *chain = calloc(g->n * l->n_ranks + 1, sizeof *chain);
    l->failed |= !chain;
    for (size_t i = 0; i < g->n && !l->failed; i++)
        for (size_t k = 0; drawn[i] && k < g->nodes[i].n_edges; k++) {
            int from = g->nodes[i].edges[k].from, at = l->vertex_of[from];
            for (int r = rank[from] + 1; at >= 0 && r < rank[i] && !l->failed; r++)
                at = dummy_of(l, &chain[(size_t)from * l->n_ranks + (size_t)r], at, r);
            if (at >= 0)
                add_link(l, at, l->vertex_of[i]);
        }
    free(chain);
    free(rank);
}

static void fill_columns(struct layout *l)
{
    l->column = calloc(l->n + 1, sizeof *l->column);
    l->column_at = calloc(l->n_ranks + 2, sizeof *l->column_at);
    if (!l->column || !l->column_at) {
        l->failed = true;
        return;
    }
    size_t at = 0;
    for (size_t r = 0; r < l->n_ranks; r++) {
        l->column_at[r] = at;
        for (size_t i = 0; i < l->n; i++)
            if (l->v[i].rank == (int)r)
                l->column[at++] = i;
    }
    l->column_at[l->n_ranks] = at;
}

static double height_of(const struct vertex *v)
{
    return v->node >= 0 ? BOX_H : DUMMY_H;
}

/* Rows of a column one under the other, as near to what each wants as the order allows: blocks of touching vertices take
 * the mean of their wishes (pool adjacent violators). */
static void place_column(struct layout *l, size_t r)
{
    size_t first = l->column_at[r], n = l->column_at[r + 1] - first;
    double *offset = calloc(n + 1, sizeof *offset), *mean = calloc(n + 1, sizeof *mean);
    size_t *count = calloc(n + 1, sizeof *count), blocks = 0, at = 0;
    if (!offset || !mean || !count)
        l->failed = true;
    for (size_t i = 0; !l->failed && i < n; i++) {
        const struct vertex *v = &l->v[l->column[first + i]];
        if (i > 0)
            offset[i] = offset[i - 1] + (height_of(&l->v[l->column[first + i - 1]]) + height_of(v)) / 2 + GAP_Y;
        mean[blocks] = v->want - offset[i];
        count[blocks++] = 1;
        while (blocks > 1 && mean[blocks - 2] > mean[blocks - 1]) {
            size_t a = count[blocks - 2], b = count[blocks - 1];
            mean[blocks - 2] = (mean[blocks - 2] * (double)a + mean[blocks - 1] * (double)b) / (double)(a + b);
            count[blocks - 2] = a + b;
            blocks--;
        }
    }
    for (size_t k = 0; !l->failed && k < blocks; k++)
        for (size_t i = 0; i < count[k]; i++, at++)
            l->v[l->column[first + at]].y = mean[k] + offset[at];
    free(offset);
    free(mean);
    free(count);
}

/* What each vertex of rank r wants: the mean height of its neighbours on one side (dir -1: left, 1: right, 0: both). */
static void wishes(struct layout *l, int dir)
{
    for (size_t i = 0; i < l->n; i++)
        l->v[i].want = l->v[i].weight = 0;
    for (size_t k = 0; k < l->n_links; k++) {
        struct vertex *a = &l->v[l->links[k].from], *b = &l->v[l->links[k].to];
        if (dir <= 0) {
            b->want += a->y;
            b->weight += 1;
        }
        if (dir >= 0) {
            a->want += b->y;
            a->weight += 1;
        }
    }
    for (size_t i = 0; i < l->n; i++)
        l->v[i].want = l->v[i].weight > 0 ? l->v[i].want / l->v[i].weight : l->v[i].y;
}

static void sort_column(struct layout *l, size_t r)
{
    size_t *c = l->column + l->column_at[r], n = l->column_at[r + 1] - l->column_at[r];
    for (size_t i = 1; i < n; i++) { /* insertion: stable, and columns are short */
        size_t x = c[i], k = i;
        for (; k > 0 && l->v[c[k - 1]].want > l->v[x].want; k--)
            c[k] = c[k - 1];
        c[k] = x;
    }
}

static void arrange(struct layout *l)
{
    for (size_t r = 0; r < l->n_ranks; r++)
        for (size_t i = l->column_at[r]; i < l->column_at[r + 1]; i++)
            l->v[l->column[i]].y = (double)(i - l->column_at[r]) * (BOX_H + GAP_Y);
    for (int sweep = 0; sweep < SWEEPS && !l->failed; sweep++)
        for (size_t k = 0; k < l->n_ranks && !l->failed; k++) {
            size_t r = sweep % 2 ? l->n_ranks - 1 - k : k;
            wishes(l, sweep % 2 ? 1 : -1);
            sort_column(l, r);
            place_column(l, r);
        }
    for (int pull = 0; pull < 6 && !l->failed; pull++) {
        wishes(l, 0);
        for (size_t r = 0; r < l->n_ranks && !l->failed; r++)
            place_column(l, r);
    }
    double top = 0, bottom = 0;
    for (size_t i = 0; i < l->n; i++) {
        double h = height_of(&l->v[i]) / 2;
        top = i == 0 || l->v[i].y - h < top ? l->v[i].y - h : top;
        bottom = i == 0 || l->v[i].y + h > bottom ? l->v[i].y + h : bottom;
    }
    for (size_t i = 0; i < l->n; i++)
        l->v[i].y -= top - 4;
    l->height = bottom - top + 8;
}

/* ---- drawing ---- */

static double x_of(const struct vertex *v)
{
    return 4 + v->rank * (double)(BOX_W + GAP_X);
}

static void draw_links(struct layout *l, struct buf *b)
{
    buf_puts(b, "<path class=\"edge\" d=\"");
    for (size_t k = 0; k < l->n_links; k++) {
        const struct vertex *f = &l->v[l->links[k].from], *t = &l->v[l->links[k].to];
        double x0 = x_of(f) + BOX_W, x1 = x_of(t), bend = (x1 - x0) / 2;
        buf_printf(b, "M%.0f %.1fC%.0f %.1f %.0f %.1f %.0f %.1f", x0, f->y, x0 + bend, f->y, x1 - bend, t->y, x1, t->y);
        if (t->node < 0)
            buf_printf(b, "H%.0f", x1 + BOX_W);
    }
    buf_puts(b, "\"/>\n");
}

static const char *state_class(enum node_state s)
{
    return s == NODE_UPTODATE || s == NODE_DONE ? "ok" : s == NODE_RUN || s == NODE_RESTORE ? "run" : s == NODE_PENDING ? "wait" : "bad";
}

static void short_name(struct buf *b, const char *id, size_t max)
{
    size_t n = strlen(id);
    if (n <= max)
        html_text(b, id);
    else
        html_textf(b, "%.*s..%s", (int)(max - 8), id, id + n - 6);
}

/* The operator and its time; of a node of a variant or point whose name is long, what it is instead of the operator. */
static void second_line(struct buf *b, const struct node *n, const char *time)
{
    struct buf text = {0};
    for (size_t i = 0; strlen(n->id) > 19 && i < n->n_settings; i++)
        buf_printf(&text, "%s%s", text.n ? ", " : "", n->settings[i].value);
    if (strlen(n->id) > 19 && n->variant && !text.n)
        buf_puts(&text, n->variant);
    if (text.n == 0)
        buf_puts(&text, n->op->name);
    if (*time && text.n < 18)
        buf_printf(&text, ", %s", time);
    short_name(b, text.p ? text.p : "", 22);
    buf_release(&text);
}

static void draw_node(const struct report *r, struct layout *l, const struct vertex *v, struct buf *b)
{
    const struct node *n = &r->s->graph->nodes[v->node];
    const struct planned *p = &r->s->plan->nodes[v->node];
    const struct record *rec = p->record ? p->record : p->same_as >= 0 ? r->s->plan->nodes[p->same_as].record : NULL;
    char time[TEXT_MAX] = "", mem[TEXT_MAX];
    double x = x_of(v), y = v->y - BOX_H / 2.0;
    (void)l;
    if (rec)
        text_seconds(time, rec->wall);
    buf_puts(b, "<g data-t=\"");
    html_textf(b, "%s (%s)\n%s", n->id, n->op->name, node_state_name(p->state));
    if (p->reason && !rec)
        html_textf(b, ": %s", p->reason);
    if (rec)
        html_textf(b, "\n%s, %s of memory", time, text_bytes(mem, (double)rec->peak_memory));
    if (n->doc)
        html_textf(b, "\n%s", n->doc);
    buf_printf(b, "\"><rect class=\"node s-%s\" x=\"%.0f\" y=\"%.1f\" width=\"%d\" height=\"%d\" rx=\"5\"/>", state_class(p->state), x, y,
               (int)BOX_W, (int)BOX_H);
    buf_printf(b, "<text x=\"%.0f\" y=\"%.1f\">", x + 7, y + 16);
    short_name(b, strlen(n->id) > 19 ? n->base : n->id, 19);
    buf_printf(b, "</text><text class=\"dim\" x=\"%.0f\" y=\"%.1f\" font-size=\"11\">", x + 7, y + 31);
    second_line(b, n, time);
    buf_puts(b, "</text></g>\n");
}

static void draw(const struct report *r, struct layout *l, struct buf *b)
{
    double width = (double)l->n_ranks * (BOX_W + GAP_X) - GAP_X + 8;
    buf_printf(b, "<figure><div class=\"scroll\"><svg role=\"img\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n", width,
               l->height, width, l->height);
    draw_links(l, b);
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i].node >= 0)
            draw_node(r, l, &l->v[i], b);
    buf_puts(b, "</svg></div><figcaption>Colour of the frame: <b style=\"color:var(--ok)\">up to date</b>, "
                "<b style=\"color:var(--run)\">to run</b>, <b style=\"color:var(--wait)\">runs if something before it changes</b>, "
                "<b style=\"color:var(--bad)\">blocked or failed</b>. The time is that of the run that made the result.</figcaption></figure>\n");
}

void report_graph(struct report *r)
{
    const struct graph *g = r->s->graph;
    struct layout l = {0};
    bool *drawn = calloc(g->n + 1, sizeof *drawn);
    size_t n = 0;
    for (size_t i = 0; drawn && i < g->n; i++) {
        drawn[i] = g->n <= MAX_DRAWN || (!g->nodes[i].variant && n < MAX_DRAWN);
        n += drawn[i];
    }
    if (drawn)
        build(&l, g, drawn);
    if (drawn && !l.failed)
        fill_columns(&l);
    if (drawn && !l.failed)
        arrange(&l);
    if (drawn && !l.failed && n) {
        html_section(&r->b, "graph", "Graph");
        report_left_out(r, n, g->n, "nodes");
        draw(r, &l, &r->b);
        html_section_end(&r->b);
    }
    r->b.failed |= !drawn || l.failed;
    free(drawn);
    free(l.v);
    free(l.links);
    free(l.vertex_of);
    free(l.column);
    free(l.column_at);
}
