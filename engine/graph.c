/* SPDX-License-Identifier: MIT
 *
 * graph_load puts the stages together: spec (files), expand (variants, sweep, parameters, edges), selection (--only),
 * the public nodes, infer. Instances come topologically sorted, so nodes are numbered as they come.
 */
#include "engine/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/infer.h"
#include "engine/op_private.h"

struct graph_index {
    struct names ids;
};

/* ---- selection ---- */

static void unknown_only(const struct expansion *x, const char *want, const char *file, struct diags *d)
{
    struct nearest near = {.word = want};
    for (size_t i = 0; i < x->n; i++)
        nearest_see(&near, strchr(want, '@') ? x->v[i].id : x->v[i].node->name.p);
    char hint[300] = "";
    if (nearest_found(&near))
        snprintf(hint, sizeof hint, "did you mean \"%.200s\"?", nearest_found(&near));
    diag_add(d, DIAG_ERROR, (struct place){.file = file}, hint, "there is no node \"%.100s\"", want);
}

/* Marks in keep[] what --only names; without --only everything that is wanted. */
static void select_named(const struct expansion *x, const struct graph_options *o, const char *file, struct diags *d, bool *keep)
{
    for (size_t i = 0; i < x->n && !o->n_only; i++)
        keep[i] = x->v[i].wanted;
    for (size_t k = 0; k < o->n_only; k++) {
        size_t exact = names_get(&x->ids, str_of(o->only[k]));
        bool found = exact != NAMES_NONE;
        if (found)
            keep[exact] = true;
        for (size_t i = 0; i < x->n; i++)
            if (x->v[i].wanted && str_is(x->v[i].node->name, o->only[k]))
                keep[i] = found = true;
        if (!found)
            unknown_only(x, o->only[k], file, d);
    }
    for (size_t i = x->n; i-- > 0;) /* users come after their inputs */
        for (size_t k = 0; keep[i] && k < x->v[i].n_edges; k++)
            keep[x->v[i].edges[k].from] = true;
}

/* ---- nodes ---- */

static int fill_node(struct graph *g, struct node *n, const struct inst *in, const size_t *number, const char *dir)
{
    const struct own *o = in->own;
    *n = (struct node){.id = in->id, .base = in->node->name.p, .variant = in->variant, .point = in->point,
                       .n_settings = in->n_settings, .settings = in->settings, .uses = in->uses ? in->uses : 1, .doc = o->doc, .op = o->op->op,
                       .at = in->node->at, .values = o->values, .n_edges = in->n_edges, .n_out = o->op->n_outputs, .bad = in->bad};
    n->edges = arena_array(g->arena, in->n_edges + 1, sizeof *n->edges);
    n->out = arena_array(g->arena, n->n_out + 1, sizeof *n->out);
    if (!n->edges || !n->out)
        return ERR_NOMEM;
    for (size_t i = 0; i < in->n_edges; i++) {
        const struct inst_edge *x = &in->edges[i];
        n->edges[i] = (struct edge){.port = x->port, .from = (int)number[x->from], .from_port = x->from_port, .at = x->ref->y->at};
    }
    n->args = (struct op_args){.op = n->op, .values = n->values, .spec_dir = dir};
    return 0;
}

/* Numbers the kept instances and makes their nodes; *insts: the instance of each. An instance without an operator has no node: there
 * is an error about it, and the graph will not be handed out. */
static int fill_graph(struct graph *g, const struct expansion *x, const bool *keep, const char *dir, const struct inst ***insts)
{
    size_t *number = calloc(x->n + 1, sizeof *number), n = 0;
    const struct inst **list = *insts = calloc(x->n + 1, sizeof *list);
    int rc = number && list ? 0 : ERR_NOMEM;
    for (size_t i = 0; i < x->n && rc == 0; i++)
        if (keep[i] && x->v[i].own->op) {
            list[n] = &x->v[i];
            number[i] = n++;
        }
    g->nodes = rc ? NULL : arena_array(g->arena, n + 1, sizeof *g->nodes);
    g->index = calloc(1, sizeof *g->index);
    if (!g->nodes || !g->index)
        rc = ERR_NOMEM;
    for (; rc == 0 && g->n < n; g->n++) {
        rc = fill_node(g, &g->nodes[g->n], list[g->n], number, dir);
        g->n_all += g->nodes[g->n].uses;
        if (rc == 0 && !names_put(&g->index->ids, str_of(g->nodes[g->n].id), g->n))
            rc = ERR_NOMEM;
    }
    free(number);
    return rc;
}

static int list_variables(struct graph *g, const struct spec *spec)
{
    size_t n = spec->vars ? spec->vars->n : 0;
    g->variables = arena_array(g->arena, n + 1, sizeof *g->variables);
    for (; g->variables && g->n_variables < n; g->n_variables++)
        g->variables[g->n_variables] = spec->vars->pairs[g->n_variables].key.p;
    return g->variables ? 0 : ERR_NOMEM;
}

static int build(struct graph *g, const struct spec *spec, const struct graph_options *o, struct opset *ops, struct diags *d,
                 struct err *e)
{
    struct held held = {0};
    struct expansion x = {0};
    const struct inst **insts = NULL;
    bool *keep = NULL;
    int rc = expand(spec, o, ops, g->arena, d, &held, &x, e);
    if (rc == 0) {
        keep = calloc(x.n + 1, sizeof *keep);
        rc = keep ? 0 : err_nomem(e, x.n, "the selection");
    }
    if (rc == 0) {
        select_named(&x, o, spec->file, d, keep);
        if (fill_graph(g, &x, keep, spec->dir, &insts))
            rc = err_nomem(e, x.n * sizeof *g->nodes, "the graph");
    }
    g->variants = x.variants;
    g->n_variants = x.n_variants;
    if (rc == 0 && !o->no_infer)
        rc = infer_graph(g, insts, d, e);
    if (rc == 0 && x.n == 0 && diags_errors(d) == 0)
        diag_add(d, DIAG_ERROR, (struct place){.file = spec->file}, "nodes: {name: {op: ...}}", "the spec has no nodes");
    free(keep);
    free((void *)insts);
    expansion_release(&x);
    g->n_held = held.n;
    g->held = held.v;
    return rc;
}

/* Map defaults live in the opset; the graph keeps them by a reference of its own. */
static int keep_fallbacks(struct graph *g, const struct opset *s)
{
    struct held h = {.n = g->n_held, .cap = g->n_held, .v = g->held};
    int rc = 0;
    for (size_t i = 0; i < s->n && rc == 0; i++)
        for (size_t k = 0; s->v[i].fallback && k < s->v[i].n_params && rc == 0; k++)
            if (s->v[i].op->params[k].type == PARAM_MAP && s->v[i].fallback[k].set)
                rc = held_add(&h, js_ref(s->v[i].fallback[k].map));
    g->n_held = h.n;
    g->held = h.v;
    return rc;
}

static int summary(const struct spec *spec, const char *path, const struct diags *d, struct err *e)
{
    size_t n = diags_errors(d);
    return err_set(e, ERR_INPUT, "%s: %zu error%s", spec->file ? spec->file : path, n, n == 1 ? "" : "s");
}

int graph_load(const char *path, const struct graph_options *o, struct diags *d, struct graph **out, struct err *e)
{
    *out = NULL;
    struct graph *g = calloc(1, sizeof *g);
    struct opset ops = {0};
    struct spec spec = {0};
    int rc = ERR_NOMEM;
    if (!g || !(g->arena = calloc(1, sizeof *g->arena))) {
        err_nomem(e, sizeof *g, "a graph");
        goto out;
    }
    rc = opset_init(&ops, o->ops, e);
    if (rc == 0)
        rc = spec_load(path, g->arena, d, &spec, e);
    if (rc == 0) {
        g->name = spec.name;
        g->file = spec.path;
        rc = list_variables(g, &spec) ? err_nomem(e, 0, "the variables") : build(g, &spec, o, &ops, d, e);
    }
    if (rc == 0 && keep_fallbacks(g, &ops))
        rc = err_nomem(e, 0, "defaults");
    if ((rc == 0 || rc == ERR_INPUT) && diags_errors(d))
        rc = summary(&spec, path, d, e);
out:
    opset_release(&ops);
    if (rc == 0)
        *out = g;
    else
        graph_free(g);
    return rc;
}

void graph_free(struct graph *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n; i++)
        for (size_t p = 0; g->nodes[i].out && p < g->nodes[i].n_out; p++)
            js_free(g->nodes[i].out[p]);
    for (size_t i = 0; i < g->n_held; i++)
        js_free(g->held[i]);
    free(g->held);
    if (g->index)
        names_release(&g->index->ids);
    free(g->index);
    if (g->arena)
        arena_release(g->arena);
    free(g->arena);
    free(g);
}

int graph_find(const struct graph *g, const char *id)
{
    if (g->index) {
        size_t i = names_get(&g->index->ids, str_of(id));
        return i == NAMES_NONE ? -1 : (int)i;
    }
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->nodes[i].id, id) == 0)
            return (int)i;
    return -1;
}

int graph_result(const struct graph *g)
{
    bool *used = calloc(g->n + 1, sizeof *used);
    size_t i = 0;
    for (size_t k = 0; used && k < g->n; k++)
        for (size_t e = 0; e < g->nodes[k].n_edges; e++)
            used[g->nodes[k].edges[e].from] = true;
    while (used && i < g->n && used[i])
        i++;
    int found = used && i < g->n ? (int)i : -1;
    free(used);
    return found;
}

int node_port(const struct node *n, const char *port)
{
    if (port)
        return port_index(n->op->outputs, port);
    return n->n_out ? 0 : -1;
}
