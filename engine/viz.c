/* SPDX-License-Identifier: MIT */
#include "engine/viz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/names.h"

struct look {
    const char *fill, *line;
};

/* Colours that keep their order in grey: done is light, failure dark. */
static const struct look looks[] = {
    [NODE_PENDING] = {"#fff3cd", "#b58900"}, [NODE_RUN] = {"#ffe0b2", "#cb6b16"},  [NODE_UPTODATE] = {"#d4edda", "#2e7d32"},
    [NODE_BLOCKED] = {"#f5c6cb", "#b71c1c"}, [NODE_RUNNING] = {"#bbdefb", "#1565c0"}, [NODE_DONE] = {"#d4edda", "#2e7d32"},
    [NODE_RESTORE] = {"#d1e7f5", "#0277bd"}, [NODE_FAILED] = {"#ef9a9a", "#b71c1c"},  [NODE_SKIPPED] = {"#e0e0e0", "#616161"},
};
static const struct look plain = {"#eceff1", "#546e7a"};

/* The type that flows: what the producer's infer said, else what its port says. */
static const char *edge_type(const struct graph *g, const struct edge *e)
{
    const struct node *from = &g->nodes[e->from];
    const char *type = from->out && (size_t)e->from_port < from->n_out ? js_cstr(js_get(from->out[e->from_port], "type")) : NULL;
    return type ? type : from->op->outputs[e->from_port].type;
}

/* "type", or "type as port" where the name of the port says more. */
static void edge_label(struct buf *b, const struct graph *g, const struct node *n, const struct edge *e)
{
    const char *type = edge_type(g, e), *port = n->op->inputs[e->port].name;
    buf_puts(b, type);
    if (strcmp(type, port) != 0 && !(strcmp(type, "dataset") == 0 && strcmp(port, "data") == 0))
        buf_printf(b, " as %s", port);
}

/* ---- boxes: a node each, or all points of a node ---- */

struct box {
    size_t node;     /* the first of its nodes */
    size_t count;
    size_t cluster;  /* 0: none; else number of the variant, from 1 */
    size_t states[NODE_SKIPPED + 1];
};

struct drawing {
    const struct graph *g;
    const struct viz_options *o;
    size_t n, n_clusters;
    struct box *v;
    size_t *of;             /* box of each node */
    const char **clusters;  /* names of the variants */
    struct names index, variants, edges;
};

static void drawing_release(struct drawing *d)
{
    free(d->v);
    free(d->of);
    free(d->clusters);
    names_release(&d->index);
    names_release(&d->variants);
    names_release(&d->edges);
}

static bool add_node(struct drawing *d, size_t i, struct buf *key)
{
    const struct node *n = &d->g->nodes[i];
    size_t box = NAMES_NONE, cluster = 0;
    if (n->variant && (cluster = names_get(&d->variants, str_of(n->variant))) == NAMES_NONE) {
        d->clusters[cluster = ++d->n_clusters] = n->variant;
        if (!names_put(&d->variants, str_of(n->variant), cluster))
            return false;
    }
    if (d->o->fold) {
        buf_clear(key);
        buf_printf(key, "%zu %s %s", cluster, n->base, n->op->name);
        box = names_get(&d->index, buf_view(key));
    }
    if (box == NAMES_NONE) {
        box = d->n++;
        d->v[box] = (struct box){.node = i, .cluster = cluster};
        if (d->o->fold && (key->failed || !names_put(&d->index, buf_view(key), box)))
            return false;
    }
    d->of[i] = box;
    d->v[box].count++;
    if (d->o->plan)
        d->v[box].states[d->o->plan->nodes[i].state]++;
    return true;
}

static bool drawing_init(struct drawing *d, const struct graph *g, const struct viz_options *o)
{
    struct buf key = {0};
    *d = (struct drawing){.g = g, .o = o, .v = calloc(g->n + 1, sizeof *d->v), .of = calloc(g->n + 1, sizeof *d->of),
                          .clusters = calloc(g->n + 2, sizeof *d->clusters)};
    bool ok = d->v && d->of && d->clusters;
    for (size_t i = 0; ok && i < g->n; i++)
        ok = add_node(d, i, &key);
    buf_release(&key);
    return ok;
}

/* Of a box whose nodes differ, the state that asks for attention. */
static enum node_state box_state(const struct box *b)
{
    static const enum node_state order[] = {NODE_FAILED, NODE_BLOCKED, NODE_RUNNING, NODE_RUN, NODE_RESTORE, NODE_PENDING, NODE_SKIPPED, NODE_DONE};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (b->states[order[i]])
            return order[i];
    return NODE_UPTODATE;
}

static const struct look *look_of(const struct drawing *d, const struct box *b)
{
    return d->o->plan ? &looks[box_state(b)] : &plain;
}

static const char *box_name(const struct drawing *d, const struct box *b)
{
    return b->count > 1 ? d->g->nodes[b->node].base : d->g->nodes[b->node].id;
}

/* "up to date", or "9 up to date, 3 to run". */
static void put_states(struct buf *out, const struct box *b)
{
    size_t kinds = 0;
    for (int s = 0; s <= NODE_SKIPPED; s++) {
        if (!b->states[s])
            continue;
        if (b->states[s] == b->count)
            buf_puts(out, node_state_name((enum node_state)s));
        else
            buf_printf(out, "%s%zu %s", kinds ? ", " : "", b->states[s], node_state_name((enum node_state)s));
        kinds++;
    }
}

/* The label of an edge between two boxes that was not drawn yet; false: it was. */
static bool new_edge(struct drawing *d, size_t i, const struct edge *e, struct buf *label)
{
    struct buf key = {0};
    buf_clear(label);
    edge_label(label, d->g, &d->g->nodes[i], e);
    if (!d->o->fold)
        return true;
    buf_printf(&key, "%zu %zu %s", d->of[e->from], d->of[i], label->p ? label->p : "");
    bool fresh = !key.failed && names_get(&d->edges, buf_view(&key)) == NAMES_NONE && names_put(&d->edges, buf_view(&key), 1);
    buf_release(&key);
    return fresh;
}

/* ---- DOT ---- */

static void dot_string(struct buf *b, const char *z)
{
    for (; *z; z++) {
        if (*z == '"' || *z == '\\')
            buf_putc(b, '\\');
        buf_putc(b, *z);
    }
}

static void dot_box(struct buf *out, const struct drawing *d, size_t k, const char *indent)
{
    const struct box *b = &d->v[k];
    const struct node *n = &d->g->nodes[b->node];
    const struct look *l = look_of(d, b);
    buf_printf(out, "%sn%zu [label=\"", indent, k);
    dot_string(out, box_name(d, b));
    if (b->count > 1)
        buf_printf(out, " (x%zu)", b->count);
    buf_printf(out, "\\n%s", n->op->name);
    if (d->o->plan) {
        buf_puts(out, "\\n");
        put_states(out, b);
    }
    buf_printf(out, "\" fillcolor=\"%s\" color=\"%s\"%s", l->fill, l->line, b->count > 1 ? " peripheries=2" : "");
    if (n->doc) {
        buf_puts(out, " tooltip=\"");
        dot_string(out, n->doc);
        buf_putc(out, '"');
    }
    buf_puts(out, "];\n");
}

static void dot_cluster(struct buf *out, const struct drawing *d, size_t c)
{
    buf_printf(out, "  subgraph cluster_%zu {\n    label=\"", c);
    dot_string(out, d->clusters[c]);
    buf_puts(out, "\" color=\"#b0bec5\" fontname=\"Helvetica\";\n");
    for (size_t k = 0; k < d->n; k++)
        if (d->v[k].cluster == c)
            dot_box(out, d, k, "    ");
    buf_puts(out, "  }\n");
}

void viz_dot(struct buf *out, const struct graph *g, const struct viz_options *o)
{
    struct drawing d;
    struct buf label = {0};
    out->failed |= !drawing_init(&d, g, o);
    buf_puts(out, "digraph \"");
    dot_string(out, g->name ? g->name : "");
    buf_printf(out, "\" {\n  rankdir=%s;\n", o->top_down ? "TB" : "LR");
    buf_puts(out, "  node [shape=box style=\"rounded,filled\" fontname=\"Helvetica\" fontsize=11];\n"
                  "  edge [fontname=\"Helvetica\" fontsize=9 color=\"#78909c\" fontcolor=\"#546e7a\"];\n");
    for (size_t k = 0; !out->failed && k < d.n; k++)
        if (!d.v[k].cluster)
            dot_box(out, &d, k, "  ");
    for (size_t c = 1; !out->failed && c <= d.n_clusters; c++)
        dot_cluster(out, &d, c);
    for (size_t i = 0; !out->failed && i < g->n; i++)
        for (size_t k = 0; k < g->nodes[i].n_edges; k++)
            if (new_edge(&d, i, &g->nodes[i].edges[k], &label))
                buf_printf(out, "  n%zu -> n%zu [label=\"%s\"];\n", d.of[g->nodes[i].edges[k].from], d.of[i], label.p ? label.p : "");
    buf_puts(out, "}\n");
    out->failed |= label.failed;
    buf_release(&label);
    drawing_release(&d);
}

/* ---- Mermaid ---- */

/* Mermaid has no escape in labels but entities. */
static void mermaid_string(struct buf *b, const char *z)
{
    for (; *z; z++) {
        if (strchr("\"<>&#", *z))
            buf_printf(b, "#%d;", *z);
        else
            buf_putc(b, *z);
    }
}

static void mermaid_box(struct buf *out, const struct drawing *d, size_t k)
{
    const struct box *b = &d->v[k];
    buf_printf(out, "    n%zu[\"", k);
    mermaid_string(out, box_name(d, b));
    if (b->count > 1)
        buf_printf(out, " (x%zu)", b->count);
    buf_printf(out, "<br/><i>%s</i>\"]", d->g->nodes[b->node].op->name);
    if (d->o->plan)
        buf_printf(out, ":::s%d", (int)box_state(b));
    buf_putc(out, '\n');
}

static void mermaid_classes(struct buf *out, const struct drawing *d)
{
    for (size_t s = 0; d->o->plan && s < sizeof looks / sizeof *looks; s++) {
        bool used = false;
        for (size_t k = 0; k < d->n; k++)
            used |= box_state(&d->v[k]) == (enum node_state)s;
        if (used)
            buf_printf(out, "    classDef s%zu fill:%s,stroke:%s,color:#212121\n", s, looks[s].fill, looks[s].line);
    }
}

static void mermaid_cluster(struct buf *out, const struct drawing *d, size_t c)
{
    buf_printf(out, "    subgraph v%zu [\"", c);
    mermaid_string(out, d->clusters[c]);
    buf_puts(out, "\"]\n");
    for (size_t k = 0; k < d->n; k++)
        if (d->v[k].cluster == c)
            mermaid_box(out, d, k);
    buf_puts(out, "    end\n");
}

void viz_mermaid(struct buf *out, const struct graph *g, const struct viz_options *o)
{
    struct drawing d;
    struct buf label = {0};
    out->failed |= !drawing_init(&d, g, o);
    buf_printf(out, "flowchart %s\n", o->top_down ? "TD" : "LR");
    for (size_t k = 0; !out->failed && k < d.n; k++)
        if (!d.v[k].cluster)
            mermaid_box(out, &d, k);
    for (size_t c = 1; !out->failed && c <= d.n_clusters; c++)
        mermaid_cluster(out, &d, c);
    for (size_t i = 0; !out->failed && i < g->n; i++)
        for (size_t k = 0; k < g->nodes[i].n_edges; k++)
            if (new_edge(&d, i, &g->nodes[i].edges[k], &label))
                buf_printf(out, "    n%zu -- \"%s\" --> n%zu\n", d.of[g->nodes[i].edges[k].from], label.p ? label.p : "", d.of[i]);
    if (!out->failed)
        mermaid_classes(out, &d);
    out->failed |= label.failed;
    buf_release(&label);
    drawing_release(&d);
}
