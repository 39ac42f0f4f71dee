/* SPDX-License-Identifier: MIT */
#include "engine/viz.h"

#include <string.h>

struct look {
    const char *fill, *line;
};

/* Colours that keep their order in grey: done is light, failure dark. */
static const struct look looks[] = {
    [NODE_PENDING] = {"#fff3cd", "#b58900"}, [NODE_RUN] = {"#ffe0b2", "#cb6b16"},  [NODE_UPTODATE] = {"#d4edda", "#2e7d32"},
    [NODE_BLOCKED] = {"#f5c6cb", "#b71c1c"}, [NODE_RUNNING] = {"#bbdefb", "#1565c0"}, [NODE_DONE] = {"#d4edda", "#2e7d32"},
    [NODE_FAILED] = {"#ef9a9a", "#b71c1c"},  [NODE_SKIPPED] = {"#e0e0e0", "#616161"},
};
static const struct look plain = {"#eceff1", "#546e7a"};

static const struct look *look_of(const struct viz_options *o, size_t i)
{
    return o->plan ? &looks[o->plan->nodes[i].state] : &plain;
}

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

static bool same_variant(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* The first node of each variant stands for its cluster. */
static bool first_of_variant(const struct graph *g, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (same_variant(g->nodes[k].variant, g->nodes[i].variant))
            return false;
    return true;
}

static void dot_string(struct buf *b, const char *z)
{
    for (; *z; z++) {
        if (*z == '"' || *z == '\\')
            buf_putc(b, '\\');
        buf_putc(b, *z);
    }
}

static void dot_node(struct buf *b, const struct graph *g, const struct viz_options *o, size_t i, const char *indent)
{
    const struct node *n = &g->nodes[i];
    const struct look *l = look_of(o, i);
    buf_printf(b, "%sn%zu [label=\"", indent, i);
    dot_string(b, n->id);
    buf_printf(b, "\\n%s", n->op->name);
    if (o->plan)
        buf_printf(b, "\\n%s", node_state_name(o->plan->nodes[i].state));
    buf_printf(b, "\" fillcolor=\"%s\" color=\"%s\"", l->fill, l->line);
    if (n->doc) {
        buf_puts(b, " tooltip=\"");
        dot_string(b, n->doc);
        buf_putc(b, '"');
    }
    buf_puts(b, "];\n");
}

void viz_dot(struct buf *out, const struct graph *g, const struct viz_options *o)
{
    buf_puts(out, "digraph \"");
    dot_string(out, g->name ? g->name : "");
    buf_printf(out, "\" {\n  rankdir=%s;\n", o->top_down ? "TB" : "LR");
    buf_puts(out, "  node [shape=box style=\"rounded,filled\" fontname=\"Helvetica\" fontsize=11];\n"
                  "  edge [fontname=\"Helvetica\" fontsize=9 color=\"#78909c\" fontcolor=\"#546e7a\"];\n");
    for (size_t i = 0; i < g->n; i++)
        if (!g->nodes[i].variant)
            dot_node(out, g, o, i, "  ");
    for (size_t i = 0; i < g->n; i++) {
        if (!g->nodes[i].variant || !first_of_variant(g, i))
            continue;
        buf_printf(out, "  subgraph cluster_%zu {\n    label=\"", i);
        dot_string(out, g->nodes[i].variant);
        buf_puts(out, "\" color=\"#b0bec5\" fontname=\"Helvetica\";\n");
        for (size_t k = i; k < g->n; k++)
            if (same_variant(g->nodes[k].variant, g->nodes[i].variant))
                dot_node(out, g, o, k, "    ");
        buf_puts(out, "  }\n");
    }
    for (size_t i = 0; i < g->n; i++)
        for (size_t k = 0; k < g->nodes[i].n_edges; k++) {
            const struct edge *e = &g->nodes[i].edges[k];
            buf_printf(out, "  n%d -> n%zu [label=\"", e->from, i);
            edge_label(out, g, &g->nodes[i], e);
            buf_puts(out, "\"];\n");
        }
    buf_puts(out, "}\n");
}

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

static void mermaid_node(struct buf *b, const struct graph *g, const struct viz_options *o, size_t i)
{
    buf_printf(b, "    n%zu[\"", i);
    mermaid_string(b, g->nodes[i].id);
    buf_printf(b, "<br/><i>%s</i>\"]", g->nodes[i].op->name);
    if (o->plan)
        buf_printf(b, ":::s%d", (int)o->plan->nodes[i].state);
    buf_putc(b, '\n');
}

void viz_mermaid(struct buf *out, const struct graph *g, const struct viz_options *o)
{
    buf_printf(out, "flowchart %s\n", o->top_down ? "TD" : "LR");
    for (size_t i = 0; i < g->n; i++)
        if (!g->nodes[i].variant)
            mermaid_node(out, g, o, i);
    for (size_t i = 0; i < g->n; i++) {
        if (!g->nodes[i].variant || !first_of_variant(g, i))
            continue;
        buf_printf(out, "    subgraph v%zu [\"", i);
        mermaid_string(out, g->nodes[i].variant);
        buf_puts(out, "\"]\n");
        for (size_t k = i; k < g->n; k++)
            if (same_variant(g->nodes[k].variant, g->nodes[i].variant))
                mermaid_node(out, g, o, k);
        buf_puts(out, "    end\n");
    }
    for (size_t i = 0; i < g->n; i++)
        for (size_t k = 0; k < g->nodes[i].n_edges; k++) {
            buf_printf(out, "    n%d -- \"", g->nodes[i].edges[k].from);
            edge_label(out, g, &g->nodes[i], &g->nodes[i].edges[k]);
            buf_printf(out, "\" --> n%zu\n", i);
        }
    for (size_t s = 0; o->plan && s < sizeof looks / sizeof *looks; s++) {
        bool used = false;
        for (size_t i = 0; i < g->n; i++)
            used |= o->plan->nodes[i].state == (enum node_state)s;
        if (used)
            buf_printf(out, "    classDef s%zu fill:%s,stroke:%s,color:#212121\n", s, looks[s].fill, looks[s].line);
    }
}
