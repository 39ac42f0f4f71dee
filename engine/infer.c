/* SPDX-License-Identifier: MIT */
#include "engine/infer.h"

#include <stdlib.h>
#include <string.h>

#include "engine/op_private.h"

enum { MAX_SOURCES = 6 };

/* The place that the operator blames, else the node's. */
static struct place blamed(const struct node *n, const struct inst *in, const struct op_infer *x, const struct via **via)
{
    *via = NULL;
    int k = x->blame_param ? op_param_index(n->op, x->blame_param) : -1;
    if (k >= 0 && n->values[k].at.file) {
        *via = in->own->via[k];
        return n->values[k].at;
    }
    int p = x->blame_input ? port_index(n->op->inputs, x->blame_input) : -1;
    for (size_t i = 0; p >= 0 && i < n->n_edges; i++)
        if (n->edges[i].port == p) {
            *via = in->edges[i].ref->y->via;
            return n->edges[i].at;
        }
    return n->at;
}

static bool same_place(struct place a, struct place b)
{
    return a.line == b.line && a.column == b.column && strcmp(a.file ? a.file : "", b.file ? b.file : "") == 0;
}

/* In which variant, and at which values of the sweep, the problem arises. */
static void tell_point(const struct node *n, const struct inst *in, struct place said, struct diags *d)
{
    for (size_t i = 0; i < n->n_settings; i++)
        if (!same_place(n->settings[i].at, said))
            diag_via(d, n->settings[i].at, "where the sweep has %s=%s", n->settings[i].key, n->settings[i].value);
    if (n->variant)
        diag_via(d, in->variant_at, "in the variant \"%s\"", n->variant);
}

static void report(struct graph *g, struct node *n, const struct inst *in, const struct op_infer *x, const char *msg, struct diags *d)
{
    const struct via *via;
    struct place at = blamed(n, in, x, &via);
    diag_add(d, DIAG_ERROR, at, NULL, "%s (%s): %s", n->base, n->op->name, msg);
    for (; via; via = via->next)
        diag_via(d, via->at, "%s", via->text);
    int k = x->blame_param ? op_param_index(n->op, x->blame_param) : -1;
    bool given = k >= 0 && n->values[k].at.file; /* the place says it all */
    for (size_t i = 0; !given && i < n->n_edges && i < MAX_SOURCES; i++) {
        const struct node *from = &g->nodes[n->edges[i].from];
        diag_via(d, from->at, "the input \"%s\" is %s (%s)", n->op->inputs[n->edges[i].port].name, from->id, from->op->name);
    }
    tell_point(n, in, at, d);
}

/* The type of output p: as the operator decided, else the only one of the table. NULL: undecided. */
static const char *decided_type(const struct op *op, const struct op_infer *x, size_t p)
{
    if (x->out_type[p])
        return x->out_type[p];
    const char *said = js_cstr(js_get(x->out[p], "type"));
    if (said && port_types_meet(said, op->outputs[p].type) && !strchr(said, '|'))
        return said;
    return strchr(op->outputs[p].type, '|') ? NULL : op->outputs[p].type;
}

/* Writes "type" into the descriptor of every output; one that another node holds too is copied first. */
static int stamp_types(struct node *n, const struct op_infer *x, struct err *e)
{
    for (size_t p = 0; p < n->n_out; p++) {
        if (!x->out[p])
            continue;
        const char *type = decided_type(n->op, x, p), *said = js_cstr(js_get(x->out[p], "type"));
        if (!type)
            return err_set(e, ERR_INTERNAL, "operator %s did not decide the type of its output \"%s\"", n->op->name, n->op->outputs[p].name);
        if (said && strcmp(said, type) == 0)
            continue;
        if (said) {
            struct js *own = js_copy(x->out[p]);
            js_free(x->out[p]);
            x->out[p] = own;
        }
        if (!x->out[p] || js_set(x->out[p], "type", js_new_cstr(type)))
            return err_nomem(e, 0, "the description of an output");
    }
    return 0;
}

/* Inputs of the node in port order; false when something upstream is unknown or not produced. */
static bool gather(struct graph *g, struct node *n, const struct inst *in, struct op_in *to, struct diags *d)
{
    for (size_t i = 0; i < n->n_edges; i++) {
        const struct edge *ed = &n->edges[i];
        struct node *from = &g->nodes[ed->from];
        if (from->bad)
            return false;
        const struct js *desc = from->out[ed->from_port];
        const char *type = js_cstr(js_get(desc, "type")), *want = n->op->inputs[ed->port].type;
        if (!desc) {
            diag_value(d, DIAG_ERROR, in->edges[i].ref->y, NULL, "%s (%s) does not produce its output \"%s\" with these parameters", from->base,
                       from->op->name, from->op->outputs[ed->from_port].name);
            tell_point(n, in, ed->at, d);
            return false;
        }
        if (!port_types_meet(type, want)) {
            diag_value(d, DIAG_ERROR, in->edges[i].ref->y, NULL, "the input \"%s\" of %s takes %s, but \"%s\" gives %s here",
                       n->op->inputs[ed->port].name, n->op->name, want, in->edges[i].ref->y->text.p, type);
            diag_via(d, from->at, "%s (%s) is here; its output \"%s\" is %s", from->base, from->op->name, from->op->outputs[ed->from_port].name, type);
            tell_point(n, in, ed->at, d);
            return false;
        }
        to[i] = (struct op_in){.port = ed->port, .desc = desc};
    }
    return true;
}

static int infer_node(struct graph *g, struct node *n, const struct inst *in, struct diags *d, struct err *e)
{
    struct op_in *inputs = arena_array(g->arena, n->n_edges + 1, sizeof *inputs);
    const char **types = calloc(n->n_out + 1, sizeof *types);
    if (!inputs || !types) {
        free(types);
        return err_nomem(e, 0, "the inputs of a node");
    }
    int rc = 0;
    if (gather(g, n, in, inputs, d)) {
        n->args.n_in = n->n_edges;
        n->args.in = inputs;
        struct op_infer x = {.args = &n->args, .out = n->out, .out_type = types};
        struct err why = {0};
        rc = n->op->infer(&x, &why);
        if (rc == 0)
            rc = stamp_types(n, &x, &why);
        if (rc && rc != ERR_NOMEM) {
            report(g, n, in, &x, why.msg[0] ? why.msg : "refused without a reason", d);
            n->bad = true;
            rc = 0;
        } else if (rc) {
            *e = why;
        }
    } else {
        n->bad = true;
    }
    free(types);
    return rc;
}

int infer_graph(struct graph *g, const struct inst *const *insts, struct diags *d, struct err *e)
{
    for (size_t i = 0; i < g->n; i++) {
        int rc = g->nodes[i].bad ? 0 : infer_node(g, &g->nodes[i], insts[i], d, e);
        if (rc)
            return rc;
    }
    return 0;
}
