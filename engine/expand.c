/* SPDX-License-Identifier: MIT */
#include "engine/expand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/op_private.h"

struct edition {
    const char *variant; /* NULL: the base graph */
    struct place at;
    const struct ynode *defaults;
    struct scope scope;
    struct names edit_pins, names; /* names: node -> index */
    size_t n;
    struct enode **v;
    struct var *bound[SWEEP_KEYS]; /* variable that a sweep key sets here; NULL: none, or pinned */
    uint64_t mask;                 /* sweep keys that any node here uses */
    bool selected;
    struct own_context c;
};

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
    const struct spec *spec;
    const struct graph_options *o;
    struct opset *ops;
    struct arena *arena;
    struct diags *d;
    struct held *held;
    struct err *e;
    struct expansion *x;
    struct sweep sweep;
    struct names set_vars, set_pins;
    const struct ynode **set_values;
    const struct ynode *set_map; /* variables of --set, as a vars: section */
    size_t n_editions, serial, steps;
    struct edition *editions;
    struct names owns, insts, contents;
    size_t n_owns, cap_owns;
    struct own **own;
    struct edition *ed; /* of the configuration */
    uint32_t point[SWEEP_KEYS];
    unsigned epoch;
    struct visit *visits;
    struct frame *stack;
    size_t depth;
    struct buf key; /* scratch */
};

static int nomem(struct expander *x)
{
    return err_nomem(x->e, 0, "the nodes of the graph");
}

/* ---- --set ---- */

static const struct ynode *set_value(struct expander *x, struct str text, struct place at)
{
    text = str_trim(text);
    bool yaml = text.n && strchr("[{\"'", text.p[0]);
    const struct ynode *y = NULL;
    if (yaml && yaml_parse(text, at.file, x->arena, x->d, &y))
        return NULL;
    if (!y)
        return ynode_scalar(x->arena, text, true, at);
    struct ynode *out = arena_alloc(x->arena, sizeof *out);
    if (out) {
        *out = *y;
        out->at = at;
    }
    return out;
}

/* The k-th --set, "K=V", into the table of variables or of node.param. */
static int read_set(struct expander *x, struct ynode *vars, const char *text)
{
    const char *eq = strchr(text, '=');
    struct place at = {.file = arena_printf(x->arena, "--set %.200s", text)};
    if (!at.file)
        return nomem(x);
    if (!eq || eq == text) {
        diag_add(x->d, DIAG_ERROR, at, "write --set name=value or --set node.param=value", "\"%.80s\" is not NAME=VALUE", text);
        return 0;
    }
    struct str key = str_trim((struct str){text, (size_t)(eq - text)});
    const struct ynode *y = set_value(x, str_of(eq + 1), at);
    if (!y)
        return diags_reports(x->d) ? 0 : nomem(x);
    if (memchr(key.p, '.', key.n)) {
        size_t i = x->set_pins.n, old = names_get(&x->set_pins, key);
        i = old != NAMES_NONE ? old : i;
        x->set_values[i] = y;
        return names_put(&x->set_pins, key, i) ? 0 : nomem(x);
    }
    if (!ynode_pair(x->spec->vars, key)) {
        const char *names[256], *word = arena_str(x->arena, key);
        size_t n = 0;
        for (; x->spec->vars && n < x->spec->vars->n && n < 256; n++)
            names[n] = x->spec->vars->pairs[n].key.p;
        const char *near = word ? nearest_name(word, names, n) : NULL;
        diag_add(x->d, DIAG_ERROR, at, near ? arena_printf(x->arena, "did you mean \"%s\"?", near) : "a parameter is set as node.param=value",
                 "the spec has no variable \"%.80s\"", word ? word : "");
        return 0;
    }
    size_t old = names_get(&x->set_vars, key), i = old != NAMES_NONE ? old : vars->n++;
    vars->pairs[i] = (struct ypair){{arena_str(x->arena, key), key.n}, at, y};
    return vars->pairs[i].key.p && names_put(&x->set_vars, key, i) ? 0 : nomem(x);
}

static int read_sets(struct expander *x)
{
    size_t n = x->o->n_sets;
    struct ynode *vars = arena_alloc(x->arena, sizeof *vars);
    x->set_values = arena_array(x->arena, n + 1, sizeof *x->set_values);
    if (!vars || !x->set_values)
        return nomem(x);
    *vars = (struct ynode){.kind = Y_MAP, .weight = 1, .pairs = arena_array(x->arena, n + 1, sizeof *vars->pairs)};
    if (!vars->pairs)
        return nomem(x);
    for (size_t i = 0; i < n; i++) {
        int rc = read_set(x, vars, x->o->sets[i]);
        if (rc)
            return rc;
    }
    x->set_map = vars;
    return 0;
}

/* ---- editions ---- */

static struct own_context context_of(struct expander *x, struct edition *ed)
{
    return (struct own_context){.arena = x->arena, .d = x->d, .ops = x->ops, .scope = &ed->scope, .defaults = ed->defaults,
                                .sweep = &x->sweep, .point = x->point, .set_pins = &x->set_pins, .set_values = x->set_values,
                                .edit_pins = &ed->edit_pins, .held = x->held, .spec_dir = x->spec->dir};
}

/* Nodes of a merged nodes: section; those that the base has unchanged are shared with it. */
static int read_nodes(struct expander *x, struct edition *ed, const struct ynode *nodes, const struct edition *base)
{
    size_t n = nodes ? nodes->n : 0;
    ed->v = arena_array(x->arena, n + 1, sizeof *ed->v);
    if (!ed->v)
        return nomem(x);
    for (size_t i = 0; i < n; i++) {
        const struct ypair *p = &nodes->pairs[i];
        if (ynode_is_null(p->value))
            continue;
        if (!is_name(p->key)) {
            diag_add(x->d, DIAG_ERROR, p->at, "names are letters, digits, _ and -", "\"%.80s\" cannot be the name of a node", p->key.p);
            continue;
        }
        size_t old = base ? names_get(&base->names, p->key) : NAMES_NONE;
        struct enode *node = old != NAMES_NONE && base->v[old]->y == p->value ? base->v[old] : arena_alloc(x->arena, sizeof *node);
        if (!node)
            return nomem(x);
        if (!node->y)
            *node = (struct enode){.name = p->key, .at = p->at, .y = p->value, .serial = x->serial++};
        if (!names_put(&ed->names, p->key, ed->n))
            return nomem(x);
        ed->v[ed->n++] = node;
    }
    return 0;
}

static int tie_sweep(struct expander *x, struct edition *ed, const struct ynode *edits)
{
    for (size_t k = 0; k < x->sweep.n_keys; k++) {
        struct sweep_key *s = &x->sweep.keys[k];
        if (!s->var || !ynode_is_null(ynode_get(edits, s->name)))
            continue;
        ed->bound[k] = scope_find(&ed->scope, str_of(s->name));
        if (ed->bound[k])
            ed->bound[k]->sweep_key = (int)k;
    }
    scope_close(&ed->scope);
    scope_next(&ed->scope);
    return 0;
}

static void find_masks(struct edition *ed)
{
    for (size_t i = 0; i < ed->n; i++) {
        ed->v[i]->mask = own_mask(&ed->c, ed->v[i]);
        ed->mask |= ed->v[i]->mask;
    }
}

static bool is_selected(const struct graph_options *o, const char *variant)
{
    for (size_t i = 0; i < o->n_variants; i++)
        if (strcmp(o->variants[i], variant ? variant : "base") == 0)
            return true;
    return o->n_variants == 0;
}

static int base_edition(struct expander *x)
{
    struct edition *ed = &x->editions[x->n_editions++];
    *ed = (struct edition){.defaults = x->spec->defaults, .selected = is_selected(x->o, NULL)};
    const struct ynode *vars = ynode_merge(x->arena, x->spec->vars, x->set_map->n ? x->set_map : NULL);
    if ((x->spec->vars && !vars) || scope_init(&ed->scope, x->arena, x->d, vars))
        return nomem(x);
    struct names pinned = {0};
    for (size_t i = 0; i < x->set_map->n; i++)
        names_put(&pinned, x->set_map->pairs[i].key, 1);
    for (size_t i = 0; i < x->set_pins.cap; i++)
        if (x->set_pins.slots[i].key)
            names_put(&pinned, str_of(x->set_pins.slots[i].key), 1);
    int rc = sweep_read(&x->sweep, x->spec->sweep, &ed->scope, &pinned);
    names_release(&pinned);
    if (rc == ERR_NOMEM || ed->scope.nomem)
        return nomem(x);
    tie_sweep(x, ed, NULL);
    rc = read_nodes(x, ed, x->spec->nodes, NULL);
    ed->c = context_of(x, ed);
    return rc ? rc : own_check_defaults(&ed->c, x->e);
}

/* Parameters that a variant gives: the sweep does not touch them. */
static int find_edit_pins(struct expander *x, struct edition *ed, const struct ynode *nodes)
{
    for (size_t i = 0; nodes && i < nodes->n; i++) {
        const struct ynode *params = ynode_get(nodes->pairs[i].value, "params");
        for (size_t k = 0; params && params->kind == Y_MAP && k < params->n; k++) {
            buf_clear(&x->key);
            buf_printf(&x->key, "%.200s.%s", nodes->pairs[i].key.p, params->pairs[k].key.p);
            if (!ynode_is_null(params->pairs[k].value) && !names_put(&ed->edit_pins, buf_view(&x->key), 1))
                return nomem(x);
        }
    }
    return 0;
}

static void warn_removals(struct expander *x, const struct ynode *nodes)
{
    for (size_t i = 0; nodes && i < nodes->n; i++)
        if (ynode_is_null(nodes->pairs[i].value) && names_get(&x->editions[0].names, nodes->pairs[i].key) == NAMES_NONE)
            diag_add(x->d, DIAG_WARNING, nodes->pairs[i].at, NULL, "there is no node \"%.80s\" to remove", nodes->pairs[i].key.p);
}

static int variant_edition(struct expander *x, const struct ypair *p)
{
    static const char *const known[] = {"nodes", "vars", "defaults", "doc"};
    char what[200];
    snprintf(what, sizeof what, "variant %.100s", p->key.p);
    const struct ynode *y = ynode_map(x->d, p->value, what);
    if (!is_name(p->key) || str_is(p->key, "base")) {
        diag_add(x->d, DIAG_ERROR, p->at, "names are letters, digits, _ and -; \"base\" is the graph without variants",
                 "\"%.80s\" cannot be the name of a variant", p->key.p);
        return 0;
    }
    check_keys(x->d, y, what, known, 4);
    const struct ynode *nodes = ynode_map(x->d, ynode_get(y, "nodes"), "nodes"), *vars = ynode_map(x->d, ynode_get(y, "vars"), "vars"),
                       *defaults = ynode_map(x->d, ynode_get(y, "defaults"), "defaults");
    struct edition *ed = &x->editions[x->n_editions++];
    *ed = (struct edition){.variant = p->key.p, .at = p->at, .selected = is_selected(x->o, p->key.p)};
    const struct ynode *all = ynode_merge(x->arena, ynode_merge(x->arena, x->spec->vars, vars), x->set_map->n ? x->set_map : NULL);
    const struct ynode *merged = ynode_merge(x->arena, x->spec->nodes, nodes);
    ed->defaults = ynode_merge(x->arena, x->spec->defaults, defaults);
    if (scope_init(&ed->scope, x->arena, x->d, all))
        return nomem(x);
    tie_sweep(x, ed, vars);
    warn_removals(x, nodes);
    ed->c = context_of(x, ed);
    int rc = find_edit_pins(x, ed, nodes);
    if (rc == 0)
        rc = read_nodes(x, ed, merged, vars || defaults ? NULL : &x->editions[0]);
    if (rc == 0)
        rc = own_check_defaults(&ed->c, x->e);
    return rc;
}

static void check_variant_names(struct expander *x)
{
    for (size_t i = 0; i < x->o->n_variants; i++) {
        const char *want = x->o->variants[i];
        bool found = strcmp(want, "base") == 0;
        const char *names[257] = {"base"};
        size_t n = 1;
        for (size_t k = 1; k < x->n_editions; k++) {
            found |= strcmp(x->editions[k].variant, want) == 0;
            if (n < 256)
                names[n++] = x->editions[k].variant;
        }
        const char *near = found ? NULL : nearest_name(want, names, n);
        if (!found)
            diag_add(x->d, DIAG_ERROR, (struct place){.file = x->spec->file}, near ? arena_printf(x->arena, "did you mean \"%s\"?", near) : NULL,
                     "the spec has no variant \"%.80s\"", want);
    }
}

static int make_editions(struct expander *x)
{
    size_t n = x->spec->variants ? x->spec->variants->n : 0, most = x->spec->nodes ? x->spec->nodes->n : 0;
    x->editions = calloc(n + 1, sizeof *x->editions);
    if (!x->editions)
        return nomem(x);
    int rc = base_edition(x);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (!ynode_is_null(x->spec->variants->pairs[i].value))
            rc = variant_edition(x, &x->spec->variants->pairs[i]);
    if (rc)
        return rc;
    for (size_t i = 0; i < x->n_editions; i++) {
        find_masks(&x->editions[i]);
        most = x->editions[i].n > most ? x->editions[i].n : most;
    }
    check_variant_names(x);
    x->visits = calloc(most + 1, sizeof *x->visits);
    x->stack = calloc(most + 1, sizeof *x->stack);
    return x->visits && x->stack ? 0 : nomem(x);
}

/* ---- node.param of --set and of the sweep ---- */

static void check_target(struct expander *x, struct place at, const char *node, const char *param, const char *who)
{
    const struct enode *found = NULL;
    for (size_t i = 0; i < x->n_editions && !found; i++) {
        size_t k = names_get(&x->editions[i].names, str_of(node));
        found = k == NAMES_NONE ? NULL : x->editions[i].v[k];
    }
    if (!found) {
        const char *names[256];
        size_t n = 0;
        for (; n < x->editions[0].n && n < 256; n++)
            names[n] = x->editions[0].v[n]->name.p;
        const char *near = nearest_name(node, names, n);
        diag_add(x->d, DIAG_ERROR, at, near ? arena_printf(x->arena, "did you mean \"%s.%s\"?", near, param) : NULL,
                 "%s a parameter of \"%.80s\", and there is no such node", who, node);
        return;
    }
    const struct ynode *op = ynode_get(found->y, "op");
    const struct op_entry *entry = op && op->kind == Y_SCALAR && !op->dollar ? opset_find(x->ops, op->text) : NULL;
    if (entry && names_get(&entry->params, str_of(param)) == NAMES_NONE)
        own_unknown_param(x->d, at, entry->op, param);
}

static void check_targets(struct expander *x)
{
    for (size_t k = 0; k < x->sweep.n_keys; k++)
        if (x->sweep.keys[k].node)
            check_target(x, x->sweep.keys[k].at, x->sweep.keys[k].node, x->sweep.keys[k].param, "the sweep varies");
    for (size_t i = 0; i < x->set_pins.cap; i++) {
        const struct names_slot *s = &x->set_pins.slots[i];
        const char *dot = s->key ? strchr(s->key, '.') : NULL;
        const char *node = dot ? arena_str(x->arena, (struct str){s->key, (size_t)(dot - s->key)}) : NULL;
        if (node)
            check_target(x, x->set_values[s->value]->at, node, dot + 1, "--set names");
    }
}

/* ---- instances ---- */

static void put_point(struct expander *x, uint64_t mask)
{
    for (size_t k = 0; mask; k++, mask >>= 1)
        if (mask & 1)
            buf_put(&x->key, &x->point[k], sizeof x->point[k]);
}

static int own_of(struct expander *x, struct enode *n, const struct own **out)
{
    if (n->only) {
        *out = n->only;
        return 0;
    }
    size_t i = NAMES_NONE;
    if (n->mask) {
        buf_clear(&x->key);
        buf_put(&x->key, &n->serial, sizeof n->serial);
        put_point(x, n->mask);
        i = names_get(&x->owns, buf_view(&x->key));
        if (i != NAMES_NONE) {
            *out = x->own[i];
            return 0;
        }
    }
    struct own *o = NULL;
    int rc = own_resolve(&x->ed->c, n, &o, x->e);
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
    return names_put(&x->owns, buf_view(&x->key), x->n_owns++) ? 0 : nomem(x);
}

/* Names the variant in which the last problem arises. */
static void blame_edition(struct expander *x)
{
    if (x->ed->variant)
        diag_via(x->d, x->ed->at, "in the variant \"%s\"", x->ed->variant);
}

static void unknown_node(struct expander *x, const struct in_ref *r)
{
    const char *names[256];
    size_t n = 0;
    for (; n < x->ed->n && n < 256; n++)
        names[n] = x->ed->v[n]->name.p;
    char hint[300] = "";
    const char *near = nearest_name(r->node.p, names, n);
    if (x->ed->variant && names_get(&x->editions[0].names, r->node) != NAMES_NONE)
        snprintf(hint, sizeof hint, "the variant removes it; remove this input too, or give another");
    else if (near)
        snprintf(hint, sizeof hint, "did you mean \"%s%s%s\"?", near, r->out_port ? "." : "", r->out_port ? r->out_port : "");
    diag_value(x->d, DIAG_ERROR, r->y, hint, "there is no node \"%.80s\"", r->node.p);
    blame_edition(x);
}

static size_t target_of(struct expander *x, struct in_ref *r)
{
    size_t edition = (size_t)(x->ed - x->editions);
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
    diag_value(x->d, DIAG_ERROR, r->y, "an arrow reads \"needs\"", "nodes in a circle: %s%s", b.p ? b.p : "", x->ed->v[again]->name.p);
    blame_edition(x);
    buf_release(&b);
}

/* Nodes whose main output would fit a port: "nodes that give one: a, b". */
static void suggest_nodes(struct expander *x, const char *type, char *hint, size_t cap)
{
    size_t at = 0, found = 0;
    for (size_t i = 0; i < x->ed->n && found < 4; i++) {
        const struct ynode *op = ynode_get(x->ed->v[i]->y, "op");
        const struct op_entry *entry = op && op->kind == Y_SCALAR && !op->dollar ? opset_find(x->ops, op->text) : NULL;
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
    const char *z = b.failed ? NULL : arena_str(x->arena, buf_view(&b));
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
    diag_value(x->d, DIAG_ERROR, r->y, hint, "the input \"%s\" of %s takes %s %s, but \"%.80s\" gives %s %s", in->name, o->op->op->name,
               article(in->type), words(x, in->type), r->y->text.p, article(out->type), words(x, out->type));
    diag_via(x->d, from->at, "%.80s (%s) is here; its output \"%s\" is %s %s", from->name.p, op->name, out->name, article(out->type),
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
            diag_value(x->d, DIAG_ERROR, r->y, hint, "%.80s (%s) has no output \"%.80s\"", r->node.p, op->name, r->out_port);
        else
            diag_value(x->d, DIAG_ERROR, r->y, NULL, "%.80s (%s) has no outputs", r->node.p, op->name);
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
        diag_add(x->d, DIAG_ERROR, n->at, hint, "node %.80s: the input \"%s\" of %s is missing (%s %s%s%s)", n->name.p, def->name,
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
    in->edges = arena_array(x->arena, o->n_in + 1, sizeof *in->edges);
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
    buf_clear(&x->key);
    buf_put(&x->key, &in->own->hash, sizeof in->own->hash);
    for (size_t i = 0; i < in->n_edges; i++) {
        const struct inst_edge *g = &in->edges[i];
        size_t v[3] = {(size_t)g->port, (size_t)g->from_port, g->from};
        buf_put(&x->key, v, sizeof v);
    }
    buf_str(&x->key, in->node->name);
    *failed = x->key.failed;
    size_t i = in->bad ? NAMES_NONE : names_get(&x->contents, buf_view(&x->key));
    return i != NAMES_NONE && own_equal(x->x->v[i].own, in->own) ? i : NAMES_NONE;
}

static int name_inst(struct expander *x, struct inst *in)
{
    const char *name = in->node->name.p;
    in->variant = x->ed->variant;
    in->variant_at = x->ed->at;
    if (in->mask && !(in->point = sweep_label(&x->sweep, x->point, in->mask, x->arena)))
        return nomem(x);
    in->id = !in->variant && !in->point ? name :
             arena_printf(x->arena, "%s@%s%s%s", name, in->variant ? in->variant : "", in->variant && in->point ? "," : "",
                          in->point ? in->point : "");
    return in->id ? 0 : nomem(x);
}

static int add_inst(struct expander *x, const struct inst *in, size_t *out)
{
    struct expansion *g = x->x;
    if (g->n == EXPAND_NODES) {
        diag_add(x->d, DIAG_ERROR, x->sweep.n_keys ? x->sweep.keys[0].at : x->ed->at, "fewer sweep values or variants",
                 "more than %d nodes", EXPAND_NODES);
        return err_set(x->e, ERR_INPUT, "more than %d nodes", EXPAND_NODES);
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
    size_t edition = (size_t)(x->ed - x->editions);
    struct buf key = {0};
    buf_clear(&x->key);
    buf_put(&x->key, &n->serial, sizeof n->serial);
    buf_put(&x->key, &edition, sizeof edition);
    buf_put(&x->key, &in.mask, sizeof in.mask);
    put_point(x, in.mask);
    v->inst = names_get(&x->insts, buf_view(&x->key));
    int rc = 0;
    if (v->inst == NAMES_NONE) {
        buf_str(&key, buf_view(&x->key));
        rc = connect(x, n, &in);
        bool failed = false;
        if (rc == 0 && x->n_editions > 1)
            v->inst = edition ? same_in_base(x, &in, &failed) : (same_in_base(x, &in, &failed), NAMES_NONE);
        if (rc == 0 && v->inst == NAMES_NONE) {
            rc = name_inst(x, &in);
            if (rc == 0)
                rc = add_inst(x, &in, &v->inst);
            if (rc == 0 && edition == 0 && x->n_editions > 1 && !in.bad)
                failed |= !names_put(&x->contents, buf_view(&x->key), v->inst);
        }
        if (rc == 0 && (failed || key.failed || !names_put(&x->insts, buf_view(&key), v->inst)))
            rc = nomem(x);
        buf_release(&key);
    }
    if (rc == 0 && x->ed->selected)
        x->x->v[v->inst].wanted = true;
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
    for (size_t k = 0; k < x->sweep.n_keys; k++)
        if (x->ed->bound[k])
            scope_set(x->ed->bound[k], x->sweep.keys[k].v[x->point[k]].y);
    scope_next(&x->ed->scope);
    x->epoch++;
    x->depth = 0;
    for (size_t i = 0; i < x->ed->n; i++) {
        int rc = walk(x, i);
        if (rc)
            return rc;
    }
    if (x->steps > EXPAND_STEPS) {
        diag_add(x->d, DIAG_ERROR, x->sweep.n_keys ? x->sweep.keys[0].at : x->ed->at, "fewer sweep values or variants",
                 "nodes, variants and points of the sweep together are too many");
        return err_set(x->e, ERR_INPUT, "too many nodes");
    }
    return 0;
}

/* Every distinct point of an edition: keys that nothing there uses do not count. */
static int expand_edition(struct expander *x, struct edition *ed)
{
    struct names seen = {0};
    int rc = 0;
    x->ed = ed;
    for (size_t p = 0; p < x->sweep.n_points && rc == 0; p++) {
        sweep_point(&x->sweep, p, x->point);
        buf_clear(&x->key);
        put_point(x, ed->mask);
        struct str key = buf_view(&x->key);
        if (names_get(&seen, key) != NAMES_NONE)
            continue;
        rc = names_put(&seen, key, 1) ? expand_point(x) : nomem(x);
    }
    names_release(&seen);
    return rc;
}

static void warn_unused(struct expander *x)
{
    uint64_t used = 0;
    for (size_t i = 0; i < x->n_editions; i++)
        used |= x->editions[i].mask;
    for (size_t k = 0; k < x->sweep.n_keys; k++)
        if (!(used >> k & 1) && !x->sweep.keys[k].node)
            diag_add(x->d, DIAG_WARNING, x->sweep.keys[k].at, "put ${name} where the values belong", "no node depends on \"%s\"", x->sweep.keys[k].name);
}

static void expander_release(struct expander *x)
{
    for (size_t i = 0; i < x->n_editions; i++) {
        struct edition *ed = &x->editions[i];
        scope_release(&ed->scope);
        names_release(&ed->edit_pins);
        names_release(&ed->names);
        names_release(&ed->c.dirs);
    }
    free(x->editions);
    free(x->visits);
    free(x->stack);
    free(x->own);
    names_release(&x->set_vars);
    names_release(&x->set_pins);
    names_release(&x->owns);
    names_release(&x->insts);
    names_release(&x->contents);
    buf_release(&x->key);
}

int expand(const struct spec *spec, const struct graph_options *o, struct opset *ops, struct arena *arena, struct diags *d,
           struct held *held, struct expansion *out, struct err *e)
{
    struct expander *x = calloc(1, sizeof *x);
    *out = (struct expansion){0};
    if (!x)
        return err_nomem(e, sizeof *x, "the expansion");
    *x = (struct expander){.spec = spec, .o = o, .ops = ops, .arena = arena, .d = d, .held = held, .e = e, .x = out};
    int rc = read_sets(x);
    if (rc == 0)
        rc = make_editions(x);
    if (rc == 0)
        check_targets(x);
    for (size_t i = 0; i < x->n_editions && rc == 0; i++)
        rc = expand_edition(x, &x->editions[i]);
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
