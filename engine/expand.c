/* SPDX-License-Identifier: MIT */
#include "engine/expand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/op_private.h"

/* State of a node in the configuration at hand. */
struct visit {
    unsigned epoch;
    bool open;
    size_t inst; /* NAMES_NONE: none */
    const struct own *own;
};

struct frame {
    size_t node, next;
};

struct expander {
    struct editions s;
    struct expansion *x;
    size_t steps;
    struct names owns, insts, contents;
    size_t n_owns, cap_owns;
    struct own **own;
    struct edition *ed; /* of the configuration; the point is s.point */
    unsigned epoch;
    struct visit *visits;
    struct frame *stack;
    size_t depth;
};

static int nomem(struct expander *x)
{
    return err_nomem(x->s.e, 0, "the nodes of the graph");
}

/* ---- instances ---- */

static void put_point(struct expander *x, uint64_t mask)
{
    for (size_t k = 0; mask; k++, mask >>= 1)
        if (mask & 1)
            buf_put(&x->s.key, &x->s.point[k], sizeof x->s.point[k]);
}

static int own_of(struct expander *x, struct enode *n, const struct own **out)
{
    if (n->only) {
        *out = n->only;
        return 0;
    }
    size_t i = NAMES_NONE;
    if (n->mask) {
        buf_clear(&x->s.key);
        buf_put(&x->s.key, &n->serial, sizeof n->serial);
        put_point(x, n->mask);
        if (x->s.key.failed)
            return nomem(x);
        i = names_get(&x->owns, buf_view(&x->s.key));
        if (i != NAMES_NONE) {
            *out = x->own[i];
            return 0;
        }
    }
    struct own *o = NULL;
    int rc = own_resolve(&x->ed->c, n, &o, x->s.e);
    *out = o;
    if (rc)
        return rc;
    if (!n->mask) {
        n->only = o;
        return 0;
    }
    if (x->n_owns == x->cap_owns) {
        size_t cap = x->cap_owns ? x->cap_owns * 2 : 64;
        struct own **v = realloc(x->own, cap * sizeof *v);
        if (!v)
            return nomem(x);
        x->own = v;
        x->cap_owns = cap;
    }
    x->own[x->n_owns] = o;
    return names_put(&x->owns, buf_view(&x->s.key), x->n_owns++) ? 0 : nomem(x);
}

/* Names the variant in which the last problem arises. */
static void blame_edition(struct expander *x)
{
    if (x->ed->variant)
        diag_via(x->s.d, x->ed->at, "in the variant \"%s\"", x->ed->variant);
}

static void unknown_node(struct expander *x, const struct in_ref *r)
{
    struct nearest seen = {.word = r->node.p};
    for (size_t i = 0; i < x->ed->n; i++)
        nearest_see(&seen, x->ed->v[i]->name.p);
    char hint[300] = "";
    const char *near = nearest_found(&seen);
    if (x->ed->variant && names_get(&x->s.v[0].names, r->node) != NAMES_NONE)
        snprintf(hint, sizeof hint, "the variant removes it; remove this input too, or give another");
    else if (near)
        snprintf(hint, sizeof hint, "did you mean \"%s%s%s\"?", near, r->out_port ? "." : "", r->out_port ? r->out_port : "");
    diag_value(x->s.d, DIAG_ERROR, r->y, hint, "there is no node \"%.80s\"", r->node.p);
    blame_edition(x);
}

static size_t target_of(struct expander *x, struct in_ref *r)
{
    size_t edition = (size_t)(x->ed - x->s.v);
    if (r->edition != edition) {
        r->edition = edition;
        r->target = names_get(&x->ed->names, r->node);
    }
    if (r->target == NAMES_NONE)
        unknown_node(x, r);
    return r->target;
}

static void report_circle(struct expander *x, const struct in_ref *r, size_t again)
{
    struct buf b = {0};
    size_t from = 0;
    while (from < x->depth && x->stack[from].node != again)
        from++;
    for (size_t i = from; i < x->depth && i < from + 20; i++)
        buf_printf(&b, "%s -> ", x->ed->v[x->stack[i].node]->name.p);
    if (x->depth > from + 20)
        buf_puts(&b, "... -> ");
    diag_value(x->s.d, DIAG_ERROR, r->y, "an arrow reads \"needs\"", "nodes in a circle: %s%s", b.p ? b.p : "", x->ed->v[again]->name.p);
    blame_edition(x);
    buf_release(&b);
}

/* Nodes whose main output would fit a port: "nodes that give one: a, b". */
static void suggest_nodes(struct expander *x, const char *type, char *hint, size_t cap)
{
    size_t at = 0, found = 0;
    for (size_t i = 0; i < x->ed->n && found < 4; i++) {
        const struct ynode *op = ynode_get(x->ed->v[i]->y, "op");
        const struct op_entry *entry = op && op->kind == Y_SCALAR && !op->dollar ? opset_find(x->s.ops, op->text) : NULL;
        if (entry && entry->n_outputs && port_types_meet(entry->op->outputs[0].type, type) && at < cap)
            at += (size_t)snprintf(hint + at, cap - at, "%s%.60s", found++ ? ", " : "nodes that give one: ", x->ed->v[i]->name.p);
    }
}

static const char *article(const char *type)
{
    return strchr("aeiou", type[0]) ? "an" : "a";
}

/* "model|adapter" as "model or adapter" */
static const char *words(struct expander *x, const char *type)
{
    struct buf b = {0};
    for (const char *p = type; *p; p++)
        if (*p == '|')
            buf_puts(&b, " or ");
        else
            buf_putc(&b, *p);
    const char *z = b.failed ? NULL : arena_str(x->s.arena, buf_view(&b));
    buf_release(&b);
    return z ? z : type;
}

static void wrong_type(struct expander *x, const struct own *o, const struct in_ref *r, const struct enode *from, const struct op *op, int from_port)
{
    const struct port_def *in = &o->op->op->inputs[r->port], *out = &op->outputs[from_port];
    char hint[300] = "";
    for (size_t i = 0; i < port_count(op->outputs) && !hint[0]; i++)
        if (port_types_meet(op->outputs[i].type, in->type))
            snprintf(hint, sizeof hint, "did you mean \"%.80s.%s\"?", from->name.p, op->outputs[i].name);
    if (!hint[0])
        suggest_nodes(x, in->type, hint, sizeof hint);
    diag_value(x->s.d, DIAG_ERROR, r->y, hint, "the input \"%s\" of %s takes %s %s, but \"%.80s\" gives %s %s", in->name, o->op->op->name,
               article(in->type), words(x, in->type), r->y->text.p, article(out->type), words(x, out->type));
    diag_via(x->s.d, from->at, "%.80s (%s) is here; its output \"%s\" is %s %s", from->name.p, op->name, out->name, article(out->type),
             words(x, out->type));
    blame_edition(x);
}

/* Port and type of one connection; -1 after a problem. */
static int check_edge(struct expander *x, const struct own *o, const struct in_ref *r)
{
    const struct enode *from = x->ed->v[r->target];
    const struct own *up = x->visits[r->target].own;
    if (!up || !up->op)
        return -1;
    const struct op *op = up->op->op;
    int port = r->out_port ? port_index(op->outputs, r->out_port) : 0;
    if (port < 0 || !up->op->n_outputs) {
        char hint[300] = "";
        const char *near = op_near_port(op->outputs, r->out_port ? r->out_port : "");
        if (near)
            snprintf(hint, sizeof hint, "did you mean \"%.80s.%s\"?", r->node.p, near);
        else
            for (size_t i = 0, at = 0; i < up->op->n_outputs && at < 200; i++)
                at += (size_t)snprintf(hint + at, sizeof hint - at, "%s%s", i ? ", " : "its outputs: ", op->outputs[i].name);
        if (r->out_port)
            diag_value(x->s.d, DIAG_ERROR, r->y, hint, "%.80s (%s) has no output \"%.80s\"", r->node.p, op->name, r->out_port);
        else
            diag_value(x->s.d, DIAG_ERROR, r->y, NULL, "%.80s (%s) has no outputs", r->node.p, op->name);
        blame_edition(x);
        return -1;
    }
    if (!port_types_meet(op->outputs[port].type, o->op->op->inputs[r->port].type)) {
        wrong_type(x, o, r, from, op, port);
        return -1;
    }
    return port;
}

static bool has_required(struct expander *x, const struct enode *n, const struct own *o)
{
    bool ok = true;
    for (size_t p = 0; p < o->op->n_inputs; p++) {
        const struct port_def *def = &o->op->op->inputs[p];
        bool given = def->flags & PORT_OPTIONAL;
        for (size_t i = 0; i < o->n_in && !given; i++)
            given = o->in[i].port == (int)p;
        if (given)
            continue;
        char hint[300] = "";
        suggest_nodes(x, def->type, hint, sizeof hint);
        diag_add(x->s.d, DIAG_ERROR, n->at, hint, "node %.80s: the input \"%s\" of %s is missing (%s %s%s%s)", n->name.p, def->name,
                 o->op->op->name, article(def->type), words(x, def->type), def->help && *def->help ? ": " : "", def->help ? def->help : "");
        blame_edition(x);
        ok = false;
    }
    return ok;
}

/* Makes the edges; in->bad tells whether something was wrong. */
static int connect(struct expander *x, const struct enode *n, struct inst *in)
{
    const struct own *o = in->own;
    in->bad = o->bad;
    if (!o->op)
        return 0;
    in->edges = arena_array(x->s.arena, o->n_in + 1, sizeof *in->edges);
    if (!in->edges)
        return nomem(x);
    for (size_t i = 0; i < o->n_in; i++) {
        struct in_ref *r = &o->in[i];
        size_t from = r->target == NAMES_NONE ? NAMES_NONE : x->visits[r->target].inst;
        int port = from == NAMES_NONE ? -1 : check_edge(x, o, r);
        if (port < 0) {
            in->bad = true;
            continue;
        }
        in->bad |= x->x->v[from].bad;
        in->edges[in->n_edges++] = (struct inst_edge){.port = r->port, .from_port = port, .from = from, .ref = r};
    }
    if (!o->bad && !has_required(x, n, o))
        in->bad = true;
    return 0;
}

/* An instance of the base graph with the same text and the same inputs, for nodes of variants. */
static size_t same_in_base(struct expander *x, const struct inst *in, bool *failed)
{
    buf_clear(&x->s.key);
    buf_put(&x->s.key, &in->own->hash, sizeof in->own->hash);
    for (size_t i = 0; i < in->n_edges; i++) {
        const struct inst_edge *g = &in->edges[i];
        size_t v[3] = {(size_t)g->port, (size_t)g->from_port, g->from};
        buf_put(&x->s.key, v, sizeof v);
    }
    buf_str(&x->s.key, in->node->name);
    *failed = x->s.key.failed;
    size_t i = in->bad ? NAMES_NONE : names_get(&x->contents, buf_view(&x->s.key));
    return i != NAMES_NONE && own_equal(x->x->v[i].own, in->own) ? i : NAMES_NONE;
}

/* The swept keys on which an instance depends, with their values at the point at hand. */
static int put_settings(struct expander *x, struct inst *in)
{
    size_t n = (size_t)__builtin_popcountll(in->mask);
    struct setting *v = arena_array(x->s.arena, n + 1, sizeof *v);
    if (!v)
        return nomem(x);
    for (size_t k = 0; k < x->s.sweep.n_keys; k++)
        if (in->mask >> k & 1)
            v[in->n_settings++] = (struct setting){x->s.sweep.keys[k].name, x->s.sweep.keys[k].v[x->s.point[k]].label,
                                                   x->s.sweep.keys[k].v[x->s.point[k]].y->at};
    in->settings = v;
    return 0;
}

static int name_inst(struct expander *x, struct inst *in)
{
    const char *name = in->node->name.p;
    in->variant = x->ed->variant;
    in->variant_at = x->ed->at;
    if (in->mask && put_settings(x, in))
        return ERR_NOMEM;
    if (in->mask && !(in->point = sweep_label(&x->s.sweep, x->s.point, in->mask, x->s.arena)))
        return nomem(x);
    in->id = !in->variant && !in->point ? name :
             arena_printf(x->s.arena, "%s@%s%s%s", name, in->variant ? in->variant : "", in->variant && in->point ? "," : "",
                          in->point ? in->point : "");
    return in->id ? 0 : nomem(x);
}

static int add_inst(struct expander *x, const struct inst *in, size_t *out)
{
    struct expansion *g = x->x;
    if (g->n == EXPAND_NODES) {
        diag_add(x->s.d, DIAG_ERROR, x->s.sweep.n_keys ? x->s.sweep.keys[0].at : x->ed->at, "fewer sweep values or variants",
                 "more than %d nodes", EXPAND_NODES);
        return err_set(x->s.e, ERR_INPUT, "more than %d nodes", EXPAND_NODES);
    }
    if (g->n == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 64;
        struct inst *v = realloc(g->v, cap * sizeof *v);
        if (!v)
            return nomem(x);
        g->v = v;
        g->cap = cap;
    }
    g->v[*out = g->n++] = *in;
    return names_put(&g->ids, str_of(in->id), *out) ? 0 : nomem(x);
}

/* All inputs of node i are done: finds its instance, or makes it. */
static int finish_node(struct expander *x, size_t i)
{
    struct visit *v = &x->visits[i];
    const struct enode *n = x->ed->v[i];
    struct inst in = {.node = n, .own = v->own, .mask = n->mask};
    for (size_t k = 0; k < v->own->n_in; k++) {
        size_t t = v->own->in[k].target, from = t == NAMES_NONE ? NAMES_NONE : x->visits[t].inst;
        in.mask |= from == NAMES_NONE ? 0 : x->x->v[from].mask;
    }
    size_t edition = (size_t)(x->ed - x->s.v);
    struct buf key = {0};
    buf_clear(&x->s.key);
    buf_put(&x->s.key, &n->serial, sizeof n->serial);
    buf_put(&x->s.key, &edition, sizeof edition);
    buf_put(&x->s.key, &in.mask, sizeof in.mask);
    put_point(x, in.mask);
    if (x->s.key.failed) /* a key cut short could be another's */
        return nomem(x);
    v->inst = names_get(&x->insts, buf_view(&x->s.key));
    int rc = 0;
    if (v->inst == NAMES_NONE) {
        buf_str(&key, buf_view(&x->s.key));
        rc = connect(x, n, &in);
        bool failed = false;
        if (rc == 0 && x->s.n > 1)
            v->inst = edition ? same_in_base(x, &in, &failed) : (same_in_base(x, &in, &failed), NAMES_NONE);
        if (rc == 0 && v->inst == NAMES_NONE) {
            rc = name_inst(x, &in);
            if (rc == 0)
                rc = add_inst(x, &in, &v->inst);
            if (rc == 0 && edition == 0 && x->s.n > 1 && !in.bad)
                failed |= !names_put(&x->contents, buf_view(&x->s.key), v->inst);
        }
        if (rc == 0 && (failed || key.failed || !names_put(&x->insts, buf_view(&key), v->inst)))
            rc = nomem(x);
        buf_release(&key);
    }
    if (rc == 0 && x->ed->selected) {
        x->x->v[v->inst].wanted = true;
        x->x->v[v->inst].uses++;
    }
    v->open = false;
    x->depth--;
    return rc;
}

static int open_node(struct expander *x, size_t i)
{
    struct visit *v = &x->visits[i];
    *v = (struct visit){.epoch = x->epoch, .open = true, .inst = NAMES_NONE};
    x->stack[x->depth++] = (struct frame){.node = i};
    x->steps++;
    return own_of(x, x->ed->v[i], &v->own);
}

/* Depth first from node `root`, inputs before users; the stack is explicit, so that long chains are fine. */
static int walk(struct expander *x, size_t root)
{
    int rc = x->visits[root].epoch == x->epoch ? 0 : open_node(x, root);
    while (rc == 0 && x->depth) {
        struct frame *f = &x->stack[x->depth - 1];
        const struct own *o = x->visits[f->node].own;
        if (f->next == o->n_in) {
            rc = finish_node(x, f->node);
            continue;
        }
        struct in_ref *r = &o->in[f->next++];
        size_t t = target_of(x, r);
        if (t == NAMES_NONE)
            continue;
        if (x->visits[t].epoch != x->epoch)
            rc = open_node(x, t);
        else if (x->visits[t].open)
            report_circle(x, r, t);
    }
    return rc;
}

static int expand_point(struct expander *x)
{
    for (size_t k = 0; k < x->s.sweep.n_keys; k++)
        if (x->ed->bound[k])
            scope_set(x->ed->bound[k], x->s.sweep.keys[k].v[x->s.point[k]].y);
    scope_next(&x->ed->scope);
    x->epoch++;
    x->depth = 0;
    for (size_t i = 0; i < x->ed->n; i++) {
        int rc = walk(x, i);
        if (rc)
            return rc;
    }
    if (x->steps > EXPAND_STEPS) {
        diag_add(x->s.d, DIAG_ERROR, x->s.sweep.n_keys ? x->s.sweep.keys[0].at : x->ed->at, "fewer sweep values or variants",
                 "nodes, variants and points of the sweep together are too many");
        return err_set(x->s.e, ERR_INPUT, "too many nodes");
    }
    return 0;
}

/* Every distinct point of an edition: keys that nothing there uses do not count. */
static int expand_edition(struct expander *x, struct edition *ed)
{
    struct names seen = {0};
    int rc = 0;
    x->ed = ed;
    for (size_t p = 0; p < x->s.sweep.n_points && rc == 0; p++) {
        sweep_point(&x->s.sweep, p, x->s.point);
        buf_clear(&x->s.key);
        put_point(x, ed->mask);
        if (x->s.key.failed) {
            rc = nomem(x);
            break;
        }
        struct str key = buf_view(&x->s.key);
        if (names_get(&seen, key) != NAMES_NONE)
            continue;
        rc = names_put(&seen, key, 1) ? expand_point(x) : nomem(x);
    }
    names_release(&seen);
    return rc;
}

static int list_variants(struct expander *x)
{
    const char **v = arena_array(x->s.arena, x->s.n + 1, sizeof *v);
    if (!v)
        return nomem(x);
    for (size_t i = 0; i < x->s.n; i++)
        if (x->s.v[i].selected)
            v[x->x->n_variants++] = x->s.v[i].variant;
    x->x->variants = v;
    return 0;
}

static void warn_unused(struct expander *x)
{
    uint64_t used = 0;
    for (size_t i = 0; i < x->s.n; i++)
        used |= x->s.v[i].mask;
    for (size_t k = 0; k < x->s.sweep.n_keys; k++)
        if (!(used >> k & 1) && !x->s.sweep.keys[k].node)
            diag_add(x->s.d, DIAG_WARNING, x->s.sweep.keys[k].at, "put ${name} where the values belong", "no node depends on \"%s\"", x->s.sweep.keys[k].name);
}

static void expander_release(struct expander *x)
{
    editions_release(&x->s);
    free(x->visits);
    free(x->stack);
    free(x->own);
    names_release(&x->owns);
    names_release(&x->insts);
    names_release(&x->contents);
}

int expand(const struct spec *spec, const struct graph_options *o, struct opset *ops, struct arena *arena, struct diags *d,
           struct held *held, struct expansion *out, struct err *e)
{
    struct expander *x = calloc(1, sizeof *x);
    *out = (struct expansion){0};
    if (!x)
        return err_nomem(e, sizeof *x, "the expansion");
    x->s = (struct editions){.spec = spec, .o = o, .ops = ops, .arena = arena, .d = d, .held = held, .e = e};
    x->x = out;
    int rc = editions_make(&x->s);
    if (rc == 0) {
        x->visits = calloc(x->s.most + 1, sizeof *x->visits);
        x->stack = calloc(x->s.most + 1, sizeof *x->stack);
        rc = x->visits && x->stack ? 0 : nomem(x);
    }
    for (size_t i = 0; i < x->s.n && rc == 0; i++)
        rc = expand_edition(x, &x->s.v[i]);
    if (rc == 0)
        rc = list_variants(x);
    if (rc == 0)
        warn_unused(x);
    expander_release(x);
    free(x);
    return rc;
}

void expansion_release(struct expansion *x)
{
    free(x->v);
    names_release(&x->ids);
    *x = (struct expansion){0};
}
