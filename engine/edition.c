/* SPDX-License-Identifier: MIT */
#include "engine/edition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/spec.h"

static int nomem(struct editions *x)
{
    return err_nomem(x->e, 0, "the nodes of the graph");
}

/* ---- --set ---- */

static const struct ynode *set_value(struct editions *x, struct str text, struct place at)
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
static int read_set(struct editions *x, struct ynode *vars, const char *text)
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
        const char *word = arena_str(x->arena, key);
        struct nearest near = {.word = word ? word : ""};
        for (size_t i = 0; x->spec->vars && i < x->spec->vars->n; i++)
            nearest_see(&near, x->spec->vars->pairs[i].key.p);
        const char *name = nearest_found(&near);
        diag_add(x->d, DIAG_ERROR, at, name ? arena_printf(x->arena, "did you mean \"%s\"?", name) : "a parameter is set as node.param=value",
                 "the spec has no variable \"%.80s\"", near.word);
        return 0;
    }
    size_t old = names_get(&x->set_vars, key), i = old != NAMES_NONE ? old : vars->n++;
    vars->pairs[i] = (struct ypair){{arena_str(x->arena, key), key.n}, at, y};
    return vars->pairs[i].key.p && names_put(&x->set_vars, key, i) ? 0 : nomem(x);
}

static int read_sets(struct editions *x)
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

static struct own_context context_of(struct editions *x, struct edition *ed)
{
    return (struct own_context){.arena = x->arena, .d = x->d, .ops = x->ops, .scope = &ed->scope, .defaults = ed->defaults,
                                .sweep = &x->sweep, .point = x->point, .set_pins = &x->set_pins, .set_values = x->set_values,
                                .edit_pins = &ed->edit_pins, .held = x->held, .spec_dir = x->spec->dir};
}

/* Nodes of a merged nodes: section; those that the base has unchanged are shared with it. */
static int read_nodes(struct editions *x, struct edition *ed, const struct ynode *nodes, const struct edition *base)
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

static int tie_sweep(struct editions *x, struct edition *ed, const struct ynode *edits)
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

static int base_edition(struct editions *x)
{
    struct edition *ed = &x->v[x->n++];
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
static int find_edit_pins(struct editions *x, struct edition *ed, const struct ynode *nodes)
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

static void warn_removals(struct editions *x, const struct ynode *nodes)
{
    for (size_t i = 0; nodes && i < nodes->n; i++)
        if (ynode_is_null(nodes->pairs[i].value) && names_get(&x->v[0].names, nodes->pairs[i].key) == NAMES_NONE)
            diag_add(x->d, DIAG_WARNING, nodes->pairs[i].at, NULL, "there is no node \"%.80s\" to remove", nodes->pairs[i].key.p);
}

static int variant_edition(struct editions *x, const struct ypair *p)
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
    struct edition *ed = &x->v[x->n++];
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
        rc = read_nodes(x, ed, merged, vars || defaults ? NULL : &x->v[0]);
    if (rc == 0)
        rc = own_check_defaults(&ed->c, x->e);
    return rc;
}

static void check_variant_names(struct editions *x)
{
    for (size_t i = 0; i < x->o->n_variants; i++) {
        const char *want = x->o->variants[i];
        bool found = strcmp(want, "base") == 0;
        struct nearest near = {.word = want};
        nearest_see(&near, "base");
        for (size_t k = 1; k < x->n; k++) {
            found |= strcmp(x->v[k].variant, want) == 0;
            nearest_see(&near, x->v[k].variant);
        }
        char hint[300] = "";
        if (nearest_found(&near))
            snprintf(hint, sizeof hint, "did you mean \"%.200s\"?", nearest_found(&near));
        else
            for (size_t k = 0, at = 0; k < x->n && at < 200; k++)
                at += (size_t)snprintf(hint + at, sizeof hint - at, "%s%.60s", k ? ", " : "it has ", k ? x->v[k].variant : "base");
        if (!found)
            diag_add(x->d, DIAG_ERROR, (struct place){.file = x->spec->file}, hint, "the spec has no variant \"%.80s\"", want);
    }
}

static int make_all(struct editions *x)
{
    size_t n = x->spec->variants ? x->spec->variants->n : 0;
    x->v = calloc(n + 1, sizeof *x->v);
    if (!x->v)
        return nomem(x);
    int rc = base_edition(x);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (!ynode_is_null(x->spec->variants->pairs[i].value))
            rc = variant_edition(x, &x->spec->variants->pairs[i]);
    if (rc)
        return rc;
    for (size_t i = 0; i < x->n; i++) {
        find_masks(&x->v[i]);
        x->most = x->v[i].n > x->most ? x->v[i].n : x->most;
    }
    check_variant_names(x);
    return 0;
}

/* ---- node.param of --set and of the sweep ---- */

static void check_target(struct editions *x, struct place at, const char *node, const char *param, const char *who)
{
    const struct enode *found = NULL;
    for (size_t i = 0; i < x->n && !found; i++) {
        size_t k = names_get(&x->v[i].names, str_of(node));
        found = k == NAMES_NONE ? NULL : x->v[i].v[k];
    }
    if (!found) {
        struct nearest near = {.word = node};
        for (size_t i = 0; i < x->v[0].n; i++)
            nearest_see(&near, x->v[0].v[i]->name.p);
        const char *name = nearest_found(&near);
        diag_add(x->d, DIAG_ERROR, at, name ? arena_printf(x->arena, "did you mean \"%s.%s\"?", name, param) : NULL,
                 "%s a parameter of \"%.80s\", and there is no such node", who, node);
        return;
    }
    const struct ynode *op = ynode_get(found->y, "op");
    const struct op_entry *entry = op && op->kind == Y_SCALAR && !op->dollar ? opset_find(x->ops, op->text) : NULL;
    if (entry && names_get(&entry->params, str_of(param)) == NAMES_NONE)
        own_unknown_param(x->d, at, entry->op, param);
}

static void check_targets(struct editions *x)
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

int editions_make(struct editions *x)
{
    int rc = read_sets(x);
    if (rc == 0)
        rc = make_all(x);
    if (rc == 0)
        check_targets(x);
    return rc;
}

void editions_release(struct editions *x)
{
    for (size_t i = 0; i < x->n; i++) {
        struct edition *ed = &x->v[i];
        scope_release(&ed->scope);
        names_release(&ed->edit_pins);
        names_release(&ed->names);
        names_release(&ed->c.dirs);
    }
    free(x->v);
    names_release(&x->set_vars);
    names_release(&x->set_pins);
    buf_release(&x->key);
}
