/* SPDX-License-Identifier: MIT */
#include "engine/own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/op_private.h"
#include "engine/spec.h"

static const char *const node_keys[] = {"op", "inputs", "params", "doc"};

/* ---- held values ---- */

int held_add(struct held *h, struct js *j)
{
    if (!j)
        return 0;
    if (h->n == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : 16;
        struct js **v = realloc(h->v, cap * sizeof *v);
        if (!v) {
            js_free(j);
            return ERR_NOMEM;
        }
        h->v = v;
        h->cap = cap;
    }
    h->v[h->n++] = j;
    return 0;
}

void held_release(struct held *h)
{
    for (size_t i = 0; i < h->n; i++)
        js_free(h->v[i]);
    free(h->v);
    *h = (struct held){0};
}

/* ---- where a parameter's value comes from ---- */

static size_t find_pin(const struct names *pins, struct str node, const char *param)
{
    if (!pins || !pins->n)
        return NAMES_NONE;
    char z[512];
    int n = snprintf(z, sizeof z, "%.*s.%s", (int)(node.n < 200 ? node.n : 200), node.p, param);
    return n < 0 || n >= (int)sizeof z ? NAMES_NONE : names_get(pins, (struct str){z, (size_t)n});
}

/* The sweep key that varies node.param, -1: none, or kept away by --set or by the variant. */
static int swept(const struct own_context *c, struct str node, const char *param)
{
    for (size_t k = 0; k < c->sweep->n_keys; k++) {
        const struct sweep_key *s = &c->sweep->keys[k];
        if (s->node && str_is(node, s->node) && strcmp(s->param, param) == 0)
            return find_pin(c->edit_pins, node, param) == NAMES_NONE ? (int)k : -1;
    }
    return -1;
}

/* Whether defaults: can decide node.param somewhere: --set, the sweep and the node itself take it away, unless by a null. */
static bool default_counts(const struct own_context *c, const struct enode *n, const struct ynode *params, const char *param)
{
    size_t set = find_pin(c->set_pins, n->name, param);
    if (set != NAMES_NONE)
        return ynode_is_null(c->set_values[set]);
    int key = swept(c, n->name, param);
    if (key < 0)
        return ynode_is_null(ynode_get(params, param));
    for (size_t i = 0; i < c->sweep->keys[key].n; i++)
        if (ynode_is_null(c->sweep->keys[key].v[i].y))
            return true;
    return false;
}

uint64_t own_mask(const struct own_context *c, const struct enode *n)
{
    const struct ynode *y = n->y, *params = ynode_get(y, "params"), *op = ynode_get(y, "op");
    uint64_t m = y->kind == Y_MAP ? 0 : scope_mask(c->scope, y);
    for (size_t i = 0; y->kind == Y_MAP && i < y->n; i++)
        if (y->pairs[i].value != params && !str_is(y->pairs[i].key, "doc"))
            m |= scope_mask(c->scope, y->pairs[i].value);
    for (size_t k = 0; k < c->sweep->n_keys; k++) {
        const struct sweep_key *s = &c->sweep->keys[k];
        if (s->node && str_is(n->name, s->node) && swept(c, n->name, s->param) >= 0)
            m |= (uint64_t)1 << k;
    }
    if (params && params->kind != Y_MAP)
        m |= scope_mask(c->scope, params);
    for (size_t i = 0; params && params->kind == Y_MAP && i < params->n; i++) {
        const struct ypair *p = &params->pairs[i];
        size_t set = find_pin(c->set_pins, n->name, p->key.p);
        if (set != NAMES_NONE)
            m |= scope_mask(c->scope, c->set_values[set]);
        else if (swept(c, n->name, p->key.p) < 0)
            m |= scope_mask(c->scope, p->value);
    }
    if (!c->defaults)
        return m;
    if (!op || op->dollar || op->kind != Y_SCALAR)
        return m | scope_mask(c->scope, c->defaults);
    const struct ynode *def = ynode_get(c->defaults, op->text.p);
    if (def && def->kind != Y_MAP)
        m |= scope_mask(c->scope, def);
    for (size_t i = 0; def && def->kind == Y_MAP && i < def->n; i++)
        if (default_counts(c, n, params, def->pairs[i].key.p))
            m |= scope_mask(c->scope, def->pairs[i].value);
    return m;
}

/* ---- parameters ---- */

void own_unknown_param(struct diags *d, struct place at, const struct op *op, const char *word)
{
    const char *whose = NULL, *ours = foreign_param(op, word, &whose);
    char hint[300] = "";
    if (ours && whose) {
        diag_add(d, DIAG_ERROR, at, NULL, "unknown parameter \"%.80s\" of %s (%s); here it is \"%s\"", word, op->name, whose, ours);
        return;
    }
    if (!ours)
        ours = op_near_param(op, word);
    if (ours)
        snprintf(hint, sizeof hint, "did you mean \"%s\"?", ours);
    else if (port_index(op->inputs, word) >= 0)
        snprintf(hint, sizeof hint, "\"%s\" is an input: it belongs under inputs:", word);
    else
        snprintf(hint, sizeof hint, "`pkgraph ops %s` lists its parameters", op->name);
    diag_add(d, DIAG_ERROR, at, hint, "unknown parameter \"%.80s\" of %s", word, op->name);
}

/* The folder from which a relative path at y starts. */
static const char *dir_of(struct own_context *c, const struct ynode *y)
{
    struct place at = y->at;
    if (y->base)
        at = (struct place){.file = y->base, .line = y->base[0] != 0};
    struct str key = at.line > 0 ? str_of(at.file) : STR("");
    size_t i = names_get(&c->dirs, key);
    if (i != NAMES_NONE)
        return c->dir[i];
    const char *dir = place_dir(c->arena, at);
    if (dir && c->n_dirs < sizeof c->dir / sizeof *c->dir && names_put(&c->dirs, key, c->n_dirs))
        c->dir[c->n_dirs++] = dir;
    return dir;
}

/* Parses one value; a problem marks the node bad. */
static int take_value(struct own_context *c, struct own *o, size_t k, const struct ynode *text, const char *where)
{
    const struct param_def *def = &o->op->op->params[k];
    const struct ynode *y = scope_subst(c->scope, text);
    if (!y) {
        o->bad = true;
        return c->scope->nomem ? ERR_NOMEM : 0;
    }
    if (ynode_is_null(y))
        return 0;
    const char *dir = def->type == PARAM_PATH ? dir_of(c, y) : "";
    struct param_fault fault = {0};
    struct param_value v = {.given = true};
    int rc = dir ? param_parse(def, y, dir, c->arena, &v, &fault) : ERR_NOMEM;
    if (rc == ERR_INPUT) {
        const struct ynode *at = fault.at;
        struct ynode shown = *at;
        shown.via = at->via ? at->via : y->via;
        diag_value(c->d, DIAG_ERROR, &shown, fault.hint, "parameter %s of %s: %s", def->name, where, fault.text);
        o->bad = true;
        return 0;
    }
    if (rc)
        return rc;
    if (v.set && def->type == PARAM_MAP && held_add(c->held, v.map))
        return ERR_NOMEM;
    o->values[k] = v;
    o->via[k] = y->via;
    return 0;
}

/* What --set, else the sweep at this point, says of node.param; NULL: nothing. A null takes away what the node itself says. */
static const struct ynode *outside(const struct own_context *c, const struct enode *n, const char *param)
{
    size_t set = find_pin(c->set_pins, n->name, param);
    int key = set == NAMES_NONE && c->sweep->n_keys ? swept(c, n->name, param) : -1;
    return set != NAMES_NONE ? c->set_values[set] : key >= 0 ? c->sweep->keys[key].v[c->point[key]].y : NULL;
}

/* The defaults: section for an operator; values still hold their variables. */
static const struct ynode *defaults_of(struct own_context *c, const char *op)
{
    const struct ynode *def = ynode_get(c->defaults, op);
    if (def && def->kind == Y_SCALAR)
        def = scope_subst(c->scope, def);
    return def && def->kind == Y_MAP ? def : NULL; /* own_check_defaults speaks of other kinds */
}

static int take_defaults(struct own_context *c, const struct enode *n, struct own *o, const struct ynode *params)
{
    const struct op *op = o->op->op;
    const struct ynode *def = defaults_of(c, op->name);
    for (size_t i = 0; def && i < def->n; i++) {
        const char *name = def->pairs[i].key.p;
        size_t k = names_get(&o->op->params, def->pairs[i].key);
        const struct ynode *over = k == NAMES_NONE ? NULL : outside(c, n, name);
        if (k == NAMES_NONE || !ynode_is_null(over ? over : ynode_get(params, name)))
            continue;
        int rc = take_value(c, o, k, def->pairs[i].value, op->name);
        if (rc)
            return rc;
    }
    return 0;
}

/* The values that the sweep and --set give from outside. */
static int take_outside(struct own_context *c, const struct enode *n, struct own *o, const char *where)
{
    for (size_t k = 0; k < o->op->n_params; k++) {
        const struct ynode *y = outside(c, n, o->op->op->params[k].name);
        int rc = y ? take_value(c, o, k, y, where) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

static int take_params(struct own_context *c, const struct enode *n, struct own *o, const struct ynode *params, const char *where)
{
    for (size_t i = 0; params && i < params->n; i++) {
        const struct ypair *p = &params->pairs[i];
        size_t k = names_get(&o->op->params, p->key);
        if (k == NAMES_NONE && p->value->removes) {
            continue; /* the operator was changed, and this parameter is of the old one */
        } else if (k == NAMES_NONE) {
            own_unknown_param(c->d, p->at, o->op->op, p->key.p);
            o->bad = true;
        } else if (!outside(c, n, p->key.p)) {
            int rc = take_value(c, o, k, p->value, where);
            if (rc)
                return rc;
        }
    }
    return 0;
}

static void require_params(struct own_context *c, const struct enode *n, struct own *o)
{
    for (size_t k = 0; k < o->op->n_params; k++) {
        const struct param_def *def = &o->op->op->params[k];
        if (!(def->flags & PARAM_REQUIRED) || o->values[k].set || o->values[k].given)
            continue;
        struct buf hint = {0};
        buf_printf(&hint, "params: {%s: ...}, ", def->name);
        param_describe(&hint, def);
        if (def->help && *def->help)
            buf_printf(&hint, ": %s", def->help);
        diag_add(c->d, DIAG_ERROR, n->at, hint.p, "node %.80s: the parameter \"%s\" of %s is missing", n->name.p, def->name, o->op->op->name);
        buf_release(&hint);
        o->bad = true;
    }
}

static int resolve_params(struct own_context *c, const struct enode *n, struct own *o, const struct ynode *y, struct err *e)
{
    const struct ynode *params = scope_subst(c->scope, ynode_get(y, "params") && ynode_get(y, "params")->kind == Y_SCALAR
                                                            ? ynode_get(y, "params") : NULL);
    if (!params)
        params = ynode_get(y, "params");
    char where[300];
    snprintf(where, sizeof where, "%.100s (%s)", n->name.p, o->op->op->name);
    size_t before = diags_reports(c->d);
    params = ynode_map(c->d, params, "params");
    o->bad |= diags_reports(c->d) > before;
    if (opset_fallback(o->op, c->spec_dir, c->arena, e))
        return e->code;
    size_t np = o->op->n_params;
    o->values = arena_array(c->arena, np + 1, sizeof *o->values);
    o->via = arena_array(c->arena, np + 1, sizeof *o->via);
    if (!o->values || !o->via)
        return ERR_NOMEM;
    memcpy(o->values, o->op->fallback, np * sizeof *o->values);
    int rc = take_defaults(c, n, o, params);
    if (rc == 0)
        rc = take_params(c, n, o, params, where);
    if (rc == 0)
        rc = take_outside(c, n, o, where);
    if (rc == 0 && !o->bad)
        require_params(c, n, o);
    return rc;
}

/* ---- inputs ---- */

/* "node" or "node.port" */
static int take_input(struct own_context *c, struct own *o, int port, const struct ynode *text)
{
    const struct ynode *y = scope_subst(c->scope, text);
    if (!y) {
        o->bad = true;
        return c->scope->nomem ? ERR_NOMEM : 0;
    }
    if (ynode_is_null(y))
        return 0;
    if (y->kind != Y_SCALAR || y->text.n == 0) {
        diag_value(c->d, DIAG_ERROR, y, "write the name of a node, or node.port", "an input is the name of a node, not a %s", ynode_kind_name(y));
        o->bad = true;
        return 0;
    }
    const char *dot = memchr(y->text.p, '.', y->text.n);
    size_t n = dot ? (size_t)(dot - y->text.p) : y->text.n;
    const char *node = arena_str(c->arena, (struct str){y->text.p, n});
    if (!node)
        return ERR_NOMEM;
    o->in[o->n_in++] = (struct in_ref){.port = port, .node = {node, n}, .out_port = dot ? dot + 1 : NULL, .y = y, .edition = NAMES_NONE};
    return 0;
}

static int take_port(struct own_context *c, struct own *o, int port, const struct ynode *text)
{
    const struct port_def *def = &o->op->op->inputs[port];
    const struct ynode *y = text->kind == Y_SCALAR ? scope_subst(c->scope, text) : text;
    if (!y) {
        o->bad = true;
        return c->scope->nomem ? ERR_NOMEM : 0;
    }
    if (y->kind != Y_LIST)
        return take_input(c, o, port, y);
    if (!(def->flags & PORT_VARIADIC) && y->n != 1) {
        diag_value(c->d, DIAG_ERROR, y, NULL, "the input \"%s\" of %s takes one node, not %zu", def->name, o->op->op->name, y->n);
        o->bad = true;
        return 0;
    }
    for (size_t i = 0; i < y->n; i++) {
        int rc = take_input(c, o, port, y->v[i]);
        if (rc)
            return rc;
    }
    return 0;
}

static void unknown_port(struct own_context *c, const struct op *op, const struct ypair *p)
{
    char hint[300] = "";
    const char *near = op_near_port(op->inputs, p->key.p);
    size_t n = port_count(op->inputs), at = 0;
    if (near)
        snprintf(hint, sizeof hint, "did you mean \"%s\"?", near);
    else if (op_param_index(op, p->key.p) >= 0)
        snprintf(hint, sizeof hint, "\"%.80s\" is a parameter: it belongs under params:", p->key.p);
    else
        for (size_t i = 0; i < n && at < 200; i++)
            at += (size_t)snprintf(hint + at, sizeof hint - at, "%s%s", i ? ", " : "its inputs: ", op->inputs[i].name);
    diag_add(c->d, DIAG_ERROR, p->at, n || hint[0] ? hint : "it has no inputs", "unknown input \"%.80s\" of %s", p->key.p, op->name);
}

static int resolve_inputs(struct own_context *c, struct own *o, const struct ynode *y)
{
    size_t before = diags_reports(c->d), max = 0;
    const struct ynode *in = ynode_get(y, "inputs");
    if (in && in->kind == Y_SCALAR)
        in = scope_subst(c->scope, in);
    in = ynode_map(c->d, in, "inputs");
    const struct op *op = o->op->op;
    for (size_t i = 0; in && i < in->n; i++) {
        const struct ynode *v = in->pairs[i].value;
        if (port_index(op->inputs, in->pairs[i].key.p) < 0 && !v->removes)
            unknown_port(c, op, &in->pairs[i]);
        if (v->kind == Y_SCALAR)
            v = scope_subst(c->scope, v);
        max += v && v->kind == Y_LIST ? v->n : 1;
    }
    if (c->scope->nomem || !(o->in = arena_array(c->arena, max + 1, sizeof *o->in)))
        return ERR_NOMEM;
    for (size_t port = 0; in && port < o->op->n_inputs; port++) {
        const struct ynode *v = ynode_get(in, op->inputs[port].name);
        int rc = v ? take_port(c, o, (int)port, v) : 0;
        if (rc)
            return rc;
    }
    o->bad |= diags_reports(c->d) > before;
    return 0;
}

/* ---- the node ---- */

static void check_node_keys(struct own_context *c, const struct enode *n, const struct op *op, const struct ynode *y)
{
    for (size_t i = 0; i < y->n; i++) {
        const struct ypair *p = &y->pairs[i];
        bool known = str_starts(p->key, "x-");
        for (size_t k = 0; k < 4 && !known; k++)
            known = str_is(p->key, node_keys[k]);
        if (known)
            continue;
        char hint[300];
        const char *near = nearest_name(p->key.p, node_keys, 4), *whose;
        const char *param = !op ? NULL : op_param_index(op, p->key.p) >= 0 ? p->key.p : foreign_param(op, p->key.p, &whose);
        if (op && port_index(op->inputs, p->key.p) >= 0)
            snprintf(hint, sizeof hint, "an input of %s stands under inputs: {%.80s: ...}", op->name, p->key.p);
        else if (param)
            snprintf(hint, sizeof hint, "a parameter of %s stands under params: {%.80s: ...}", op->name, param);
        else if (near)
            snprintf(hint, sizeof hint, "did you mean \"%s\"?", near);
        else
            snprintf(hint, sizeof hint, "a node has op, inputs, params, doc");
        diag_add(c->d, DIAG_ERROR, p->at, hint, "unknown key \"%.80s\" in node %.80s", p->key.p, n->name.p);
    }
}

static void find_op(struct own_context *c, const struct enode *n, struct own *o, const struct ynode *y)
{
    const struct ynode *name = ynode_get(y, "op");
    if (ynode_is_null(name)) {
        diag_add(c->d, DIAG_ERROR, n->at, "write {op: NAME, ...}", "node %.80s has no op", n->name.p);
        return;
    }
    name = scope_subst(c->scope, name);
    if (!name)
        return;
    if (name->kind != Y_SCALAR) {
        diag_value(c->d, DIAG_ERROR, name, NULL, "op is the name of an operator, not a %s", ynode_kind_name(name));
        return;
    }
    o->op = opset_find(c->ops, name->text);
    if (o->op)
        return;
    char hint[200] = "`pkgraph ops` lists the operators";
    const char *near = opset_near(c->ops, name->text.p);
    if (near)
        snprintf(hint, sizeof hint, "did you mean \"%s\"?", near);
    diag_value(c->d, DIAG_ERROR, name, hint, "unknown operator \"%.80s\"", name->text.p);
}

static void find_doc(struct own_context *c, struct own *o, const struct ynode *y)
{
    const struct ynode *doc = ynode_get(y, "doc");
    if (doc && doc->kind != Y_SCALAR)
        diag_value(c->d, DIAG_ERROR, doc, NULL, "doc must be text, not a %s", ynode_kind_name(doc));
    else if (!ynode_is_null(doc))
        o->doc = doc->text.p;
}

static uint64_t hash_texts(uint64_t h, size_t n, const char *const *v)
{
    for (size_t i = 0; i < n; i++)
        h = hash_bytes(h, v[i], strlen(v[i]) + 1);
    return h;
}

/* Equal values have equal hashes; own_equal looks at the values themselves. */
static uint64_t hash_value(uint64_t h, const struct param_def *d, const struct param_value *v)
{
    switch (d->type) {
    case PARAM_BOOL: return hash_bytes(h, &v->b, sizeof v->b);
    case PARAM_INT:
    case PARAM_SIZE: return hash_bytes(h, &v->i, sizeof v->i);
    case PARAM_FLOAT:
    case PARAM_DURATION: return hash_bytes(h, &v->f, sizeof v->f);
    case PARAM_STRING:
    case PARAM_ENUM:
    case PARAM_PATH: return hash_texts(h, 1, &v->s);
    case PARAM_INTS: return hash_bytes(h, v->ints.v, v->ints.n * sizeof *v->ints.v);
    case PARAM_STRINGS: return hash_texts(h, v->strs.n, v->strs.v);
    case PARAM_MAP: return h;
    }
    return h;
}

static void hash_own(struct own *o)
{
    o->hash = hash_bytes(1, o->op->op->name, strlen(o->op->op->name));
    for (size_t k = 0; k < o->op->n_params; k++)
        if (o->values[k].set)
            o->hash = hash_value(o->hash + k, &o->op->op->params[k], &o->values[k]);
}

int own_resolve(struct own_context *c, const struct enode *n, struct own **out, struct err *e)
{
    struct own *o = *out = arena_alloc(c->arena, sizeof *o);
    if (!o)
        return err_nomem(e, sizeof *o, "a node");
    size_t before = diags_reports(c->d);
    const struct ynode *y = n->y->kind == Y_SCALAR ? scope_subst(c->scope, n->y) : n->y;
    y = ynode_map(c->d, y, "a node");
    int rc = 0;
    if (y) {
        find_op(c, n, o, y);
        check_node_keys(c, n, o->op ? o->op->op : NULL, y);
        find_doc(c, o, y);
    }
    if (o->op) {
        e->code = 0;
        rc = resolve_params(c, n, o, y, e);
        if (rc == 0)
            rc = resolve_inputs(c, o, y);
        if (rc == 0)
            hash_own(o);
    }
    if (c->scope->nomem)
        rc = ERR_NOMEM;
    o->bad |= !o->op || diags_reports(c->d) > before;
    return rc == ERR_NOMEM ? err_nomem(e, 0, "a node") : rc;
}

bool own_equal(const struct own *a, const struct own *b)
{
    if (a == b)
        return true;
    if (a->op != b->op || !a->op || a->hash != b->hash || a->bad || b->bad)
        return false;
    for (size_t k = 0; k < a->op->n_params; k++)
        if (a->values[k].given != b->values[k].given || !param_equal(&a->op->op->params[k], &a->values[k], &b->values[k]))
            return false;
    return true;
}

/* ---- defaults ---- */

static int check_default(struct own_context *c, struct op_entry *x, const struct ynode *map, struct err *e)
{
    struct own o = {.op = x};
    if (opset_fallback(x, c->spec_dir, c->arena, e))
        return e->code;
    o.values = arena_array(c->arena, x->n_params + 1, sizeof *o.values);
    o.via = arena_array(c->arena, x->n_params + 1, sizeof *o.via);
    if (!o.values || !o.via)
        return err_nomem(e, 0, "defaults");
    for (size_t i = 0; i < map->n; i++) {
        size_t k = names_get(&x->params, map->pairs[i].key);
        if (k == NAMES_NONE && map->pairs[i].value->removes)
            continue;
        if (k == NAMES_NONE)
            own_unknown_param(c->d, map->pairs[i].at, x->op, map->pairs[i].key.p);
        else if (take_value(c, &o, k, map->pairs[i].value, x->op->name))
            return err_nomem(e, 0, "defaults");
    }
    return 0;
}

int own_check_defaults(struct own_context *c, struct err *e)
{
    for (size_t i = 0; c->defaults && i < c->defaults->n; i++) {
        const struct ypair *p = &c->defaults->pairs[i];
        struct op_entry *x = opset_find(c->ops, p->key);
        if (!x && !str_starts(p->key, "x-")) {
            char hint[200] = "defaults are given by operator: {train: {learning_rate: 3e-4}}";
            const char *near = opset_near(c->ops, p->key.p);
            if (near)
                snprintf(hint, sizeof hint, "did you mean \"%s\"?", near);
            diag_add(c->d, DIAG_ERROR, p->at, hint, "unknown operator \"%.80s\" in defaults", p->key.p);
        }
        const struct ynode *map = p->value->kind == Y_SCALAR ? scope_subst(c->scope, p->value) : p->value;
        map = x && map ? ynode_map(c->d, map, "the defaults of an operator") : NULL;
        int rc = map ? check_default(c, x, map, e) : 0;
        if (rc)
            return rc;
    }
    return 0;
}
