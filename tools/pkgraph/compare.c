/* SPDX-License-Identifier: MIT
 *
 * compare: runs, variants and points of a sweep side by side. A side of the graph is a variant (or the base graph) at one
 * point of the sweep, with every node that belongs to it, shared ones included; a side of the history is a run.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/param.h"
#include "ops/table.h"
#include "runtime/base/fs.h"
#include "tools/pkgraph/compare_sheet.h"
#include "tools/pkgraph/metrics.h"
#include "tools/pkgraph/session.h"
#include "tools/pkgraph/term.h"

enum { SIDES_MAX = 200 };

struct side {
    char *label;
    int64_t run;         /* of the history; 0: of the graph */
    size_t variant;      /* index into graph->variants */
    const struct node *at; /* a node that has all settings of the point; NULL: no sweep */
};

struct comparison {
    const struct args *a;
    struct session s;
    bool loaded; /* s has graph and plan */
    char *spec;
    struct store *store;
    bool **member; /* for each variant, for each node: does it belong to it? */
    size_t n, cap;
    struct side *v;
};

/* ---- sides of the graph ---- */

/* Which nodes a variant has: it is loaded alone, and what is equal in the base graph has the base's name. */
static bool *members(const struct comparison *c, size_t variant)
{
    const struct graph *g = c->s.graph;
    bool *in = calloc(g->n + 1, sizeof *in);
    const char *name = g->variants[variant];
    if (!in || g->n_variants == 1 || !name) {
        for (size_t i = 0; in && i < g->n; i++)
            in[i] = g->n_variants == 1 || !g->nodes[i].variant;
        return in;
    }
    struct err e = {0};
    size_t n_sets;
    const char **sets = args_all(c->a, "set", &n_sets);
    struct graph_options o = {.ops = ops_table, .sets = sets, .n_sets = n_sets, .variants = &name, .n_variants = 1, .no_infer = true};
    struct diags *d = diags_new();
    struct graph *alone = NULL;
    if (sets && d && graph_load(c->a->pos[0], &o, d, &alone, &e) == 0)
        for (size_t i = 0; i < alone->n; i++) {
            int k = graph_find(g, alone->nodes[i].id);
            if (k >= 0)
                in[k] = true;
        }
    graph_free(alone);
    diags_free(d);
    free(sets);
    return in;
}

static bool has_setting(const struct node *n, const struct setting *s)
{
    for (size_t i = 0; i < n->n_settings; i++)
        if (n->settings[i].key == s->key)
            return n->settings[i].value == s->value;
    return false;
}

/* Is everything that `part` is set to the same at `whole`? */
static bool agrees(const struct node *part, const struct node *whole)
{
    for (size_t i = 0; i < part->n_settings; i++)
        if (!whole || !has_setting(whole, &part->settings[i]))
            return false;
    return true;
}

static int add_side(struct comparison *c, struct side s)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 16;
        struct side *v = realloc(c->v, cap * sizeof *v);
        if (!v) {
            free(s.label);
            return -1;
        }
        c->v = v;
        c->cap = cap;
    }
    c->v[c->n++] = s;
    return s.label ? 0 : -1;
}

/* The fullest points of a variant: those that no other one contains. */
static int add_points(struct comparison *c, size_t variant)
{
    const struct graph *g = c->s.graph;
    const char *name = g->variants[variant];
    size_t first = c->n;
    for (size_t i = 0; i < g->n; i++) {
        const struct node *n = &g->nodes[i];
        bool known = !c->member[variant][i] || n->n_settings == 0;
        for (size_t k = first; k < c->n && !known; k++)
            known = agrees(n, c->v[k].at);
        for (size_t k = first; k < c->n && !known; k++)
            if (agrees(c->v[k].at, n)) {
                c->v[k].at = n;
                known = true;
            }
        if (!known && add_side(c, (struct side){.label = strdup(""), .variant = variant, .at = n}))
            return -1;
    }
    if (c->n == first)
        return add_side(c, (struct side){.label = strdup(name ? name : "base"), .variant = variant});
    for (size_t k = first; k < c->n; k++) {
        struct buf b = {0};
        buf_printf(&b, "%s%s%s", name ? name : "", name ? "," : "", c->v[k].at->point);
        free(c->v[k].label);
        if (!(c->v[k].label = buf_steal(&b)))
            return -1;
    }
    return 0;
}

/* A point that was completed may now contain one that came before. */
static void drop_contained(struct comparison *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->n; i++) {
        bool contained = false;
        for (size_t k = 0; k < c->n && !contained && c->v[i].at; k++)
            contained = k != i && c->v[k].at && c->v[k].variant == c->v[i].variant && agrees(c->v[i].at, c->v[k].at) &&
                        (c->v[k].at->n_settings > c->v[i].at->n_settings || k < i);
        if (contained) {
            free(c->v[i].label);
            c->v[i].label = NULL;
        }
    }
    for (size_t i = 0; i < c->n; i++)
        if (c->v[i].label)
            c->v[kept++] = c->v[i];
    c->n = kept;
}

static int graph_sides(struct comparison *c)
{
    const struct graph *g = c->s.graph;
    c->member = calloc(g->n_variants + 1, sizeof *c->member);
    for (size_t v = 0; v < g->n_variants; v++) {
        if (!c->member || !(c->member[v] = members(c, v)) || add_points(c, v)) {
            say_error("out of memory");
            return STATUS_FAILED;
        }
    }
    drop_contained(c);
    return STATUS_DONE;
}

/* ---- facts ---- */

static void put_metrics(struct sheet *t, size_t side, const char *node, struct store *store, const struct record *r)
{
    struct plan p = {.store = store};
    for (size_t i = 0; r && i < r->n_out; i++) {
        struct js *j = strcmp(r->out[i].type, "metrics") == 0 ? metrics_read(&p, &r->out[i]) : NULL;
        const struct js *values = js_get(j, "metrics"), *errors = js_get(j, "stderr");
        for (void *it = js_iter(values); it; it = js_next(values, it))
            if (js_kind(js_iter_value(it)) == JS_INT || js_kind(js_iter_value(it)) == JS_REAL)
                sheet_put(t, side, SHEET_METRIC, node, js_iter_key(it), js_ref(js_iter_value(it)), js_ref(js_get(errors, js_iter_key(it))));
        js_free(j);
    }
}

static void put_inputs(struct sheet *t, size_t side, const struct graph *g, const struct node *n)
{
    for (size_t i = 0; i < n->n_edges; i++) {
        const char *port = n->op->inputs[n->edges[i].port].name;
        struct buf b = {0}, field = {0};
        buf_printf(&field, "%s", port);
        for (size_t k = i; k < n->n_edges && n->edges[k].port == n->edges[i].port; i = k++) {
            const struct node *from = &g->nodes[n->edges[k].from];
            buf_printf(&b, "%s%s", b.n ? ", " : "", from->base);
            if (n->edges[k].from_port)
                buf_printf(&b, ".%s", from->op->outputs[n->edges[k].from_port].name);
        }
        if (!b.failed && !field.failed)
            sheet_put(t, side, SHEET_PARAMETER, n->base, field.p, js_new_cstr(b.p), NULL);
        buf_release(&b);
        buf_release(&field);
    }
}

static void put_node(struct sheet *t, size_t side, const struct comparison *c, size_t i)
{
    const struct node *n = &c->s.graph->nodes[i];
    const struct planned *p = &c->s.plan->nodes[i];
    sheet_put(t, side, SHEET_PARAMETER, n->base, "op", js_new_cstr(n->op->name), NULL);
    for (size_t k = 0; n->op->params && n->op->params[k].name; k++)
        if (n->values[k].set)
            sheet_put(t, side, SHEET_PARAMETER, n->base, n->op->params[k].name, param_json(&n->op->params[k], &n->values[k]), NULL);
    put_inputs(t, side, c->s.graph, n);
    const struct record *r = p->record ? p->record : p->same_as >= 0 ? c->s.plan->nodes[p->same_as].record : NULL;
    put_metrics(t, side, n->base, c->store, r);
    if (r)
        sheet_put(t, side, SHEET_TIME, n->base, "", js_new_num(r->wall), NULL);
}

static void put_total(struct sheet *t, size_t side)
{
    double sum = 0;
    size_t n = t->n;
    bool any = false;
    for (size_t i = 0; i < n; i++)
        if (t->rows[i].kind == SHEET_TIME && t->rows[i].cells[side].value && strcmp(t->rows[i].node, "(all)") != 0) {
            sum += js_num(t->rows[i].cells[side].value, 0);
            any = true;
        }
    if (any)
        sheet_put(t, side, SHEET_TIME, "(all)", "", js_new_num(sum), NULL);
}

static void put_graph_side(struct sheet *t, size_t side, const struct comparison *c, const struct side *x)
{
    for (size_t i = 0; i < c->s.graph->n; i++)
        if (c->member[x->variant][i] && agrees(&c->s.graph->nodes[i], x->at))
            put_node(t, side, c, i);
}

static void put_run_row(struct sheet *t, size_t side, struct store *store, const struct history_row *h)
{
    struct err e = {0};
    struct js *key = NULL;
    struct record *r = NULL;
    if (store_expanded(store, &h->key, &key, &e) == 0) {
        const struct js *params = js_get(key, "params"), *sources = js_get(key, "sources");
        sheet_put(t, side, SHEET_PARAMETER, h->node, "op", js_ref(js_get(key, "op")), NULL);
        sheet_put(t, side, SHEET_PARAMETER, h->node, "version", js_ref(js_get(key, "version")), NULL);
        for (void *it = js_iter(params); it; it = js_next(params, it))
            sheet_put(t, side, SHEET_PARAMETER, h->node, js_iter_key(it), js_ref(js_iter_value(it)), NULL);
        for (void *it = js_iter(sources); it; it = js_next(sources, it)) {
            struct str hex = js_str(js_iter_value(it));
            sheet_put(t, side, SHEET_PARAMETER, h->node, js_iter_key(it), js_new_str((struct str){hex.p, hex.n < 12 ? hex.n : 12}), NULL);
        }
        if (store_get_record(store, &h->key, &r, &e) != 0)
            r = NULL;
        put_metrics(t, side, h->node, store, r);
    }
    if (h->wall > 0 || r)
        sheet_put(t, side, SHEET_TIME, h->node, "", js_new_num(h->wall > 0 ? h->wall : r->wall), NULL);
    record_free(r);
    js_free(key);
}

/* The run whose rows tell of the nodes of `run` (store.h); 0: there is no such run. */
static int64_t rows_of_run(const struct run_row *runs, size_t n, int64_t run)
{
    for (size_t i = 0; i < n; i++)
        if (runs[i].run == run)
            return runs[i].nodes;
    return 0;
}

static int put_run_side(struct sheet *t, size_t side, const struct comparison *c, int64_t run)
{
    struct err e = {0};
    struct history_row *rows = NULL;
    struct run_row *runs = NULL;
    size_t n = 0, n_runs = 0, found = 0;
    int status = STATUS_FAILED;
    if (store_runs(c->store, c->spec, 0, &runs, &n_runs, &e) != 0 || store_history(c->store, c->spec, NULL, 0, &rows, &n, &e) != 0) {
        say_err(&e);
        goto out;
    }
    int64_t of = rows_of_run(runs, n_runs, run);
    for (size_t i = n; i-- > 0 && of;) /* oldest first: the order in which they ran */
        if (rows[i].run == of) {
            put_run_row(t, side, c->store, &rows[i]);
            found++;
        }
    status = found ? STATUS_DONE : STATUS_USAGE;
    if (!of)
        say_error("%s has no run %lld; `pkgraph runs %s` lists them", c->a->pos[0], (long long)run, c->a->pos[0]);
    else if (!found)
        say_error("run %lld of %s ended before any node did; `pkgraph runs %s` lists the others", (long long)run, c->a->pos[0], c->a->pos[0]);
out:
    store_history_free(rows, n);
    store_runs_free(runs, n_runs);
    return status;
}

/* ---- which sides ---- */

static int load_graph_sides(struct comparison *c)
{
    if (c->loaded)
        return STATUS_DONE;
    int status = session_open(&c->s, c->a, SESSION_STORE | SESSION_PLAN);
    c->loaded = true;
    if (status == STATUS_DONE) {
        c->store = c->s.store;
        status = graph_sides(c);
    }
    return status;
}

static int open_history(struct comparison *c)
{
    struct err e = {0};
    if (c->store)
        return STATUS_DONE;
    if (!fs_is_dir(store_folder(c->a))) {
        say_error("no store at %s: nothing has run", store_folder(c->a));
        return STATUS_FAILED;
    }
    if (store_open(store_folder(c->a), &c->store, &e) == 0)
        return STATUS_DONE;
    say_err(&e);
    return STATUS_FAILED;
}

/* A run by its number, or `last`. 0: it is the name of something else. */
static int64_t run_number(struct comparison *c, const char *word)
{
    char *end;
    long long v = strtoll(word, &end, 10);
    struct run_row *rows = NULL;
    struct err e = {0};
    size_t n = 0;
    if (*word && !*end && v > 0)
        return v;
    if (strcmp(word, "last") != 0 || open_history(c) != STATUS_DONE || store_runs(c->store, c->spec, 1, &rows, &n, &e) != 0)
        return 0;
    v = n ? rows[0].run : 0;
    store_runs_free(rows, n);
    return v;
}

static int unknown_side(const struct comparison *c, const char *word, size_t n)
{
    const char *names[SIDES_MAX] = {""};
    size_t k = 0;
    for (; k < n && k < SIDES_MAX; k++)
        names[k] = c->v[k].label;
    const char *near = nearest_name(word, names, k);
    if (near)
        say_error("there is no run, variant or point \"%s\"; did you mean \"%s\"?", word, near);
    else
        say_error("there is no run, variant or point \"%s\"; give a run's number, `last`, or one of: %s%s%s%s", word, k ? names[0] : "",
                  k > 1 ? ", " : "", k > 1 ? names[1] : "", k > 2 ? ", ..." : "");
    return STATUS_USAGE;
}

/* The sides named on the command line, in that order, instead of all. */
static int choose(struct comparison *c)
{
    struct side *all;
    size_t n, words = c->a->n_pos - 1;
    struct side *chosen = calloc(words + 1, sizeof *chosen);
    int status = chosen ? STATUS_DONE : STATUS_FAILED;
    for (size_t w = 0; w < words && status == STATUS_DONE; w++) {
        const char *word = c->a->pos[w + 1];
        int64_t run = run_number(c, word);
        if (run) {
            struct buf b = {0};
            buf_printf(&b, "run %lld", (long long)run);
            chosen[w] = (struct side){.run = run, .label = buf_steal(&b)};
            status = chosen[w].label ? open_history(c) : STATUS_FAILED;
            continue;
        }
        struct store *own = c->loaded ? NULL : c->store; /* opened for the history; the session opens its own */
        status = load_graph_sides(c);
        if (own && own != c->store)
            store_close(own);
        for (size_t k = 0; k < c->n && status == STATUS_DONE && !chosen[w].label; k++)
            if (strcmp(c->v[k].label, word) == 0) {
                chosen[w] = c->v[k];
                chosen[w].label = strdup(word);
            }
        if (status == STATUS_DONE && !chosen[w].label)
            status = unknown_side(c, word, c->n);
    }
    all = c->v;
    n = c->n;
    c->v = chosen;
    c->n = chosen ? words : 0;
    for (size_t k = 0; k < n; k++)
        free(all[k].label);
    free(all);
    return status;
}

/* Nothing named and nothing to choose in the graph: the last two runs. */
static int last_two(struct comparison *c)
{
    struct run_row *rows = NULL;
    struct err e = {0};
    size_t n = 0;
    if (store_runs(c->store, c->spec, 2, &rows, &n, &e) != 0) {
        say_err(&e);
        return STATUS_FAILED;
    }
    if (n < 2) {
        say_error("%s has neither variants nor a sweep, and %s: nothing to compare", c->a->pos[0], n ? "one run only" : "has not run");
        store_runs_free(rows, n);
        return STATUS_USAGE;
    }
    for (size_t k = 0; k < c->n; k++)
        free(c->v[k].label);
    c->n = 0;
    int bad = 0;
    for (size_t k = 2; k-- > 0;) {
        struct buf b = {0};
        buf_printf(&b, "run %lld", (long long)rows[k].run);
        bad |= add_side(c, (struct side){.run = rows[k].run, .label = buf_steal(&b)});
    }
    store_runs_free(rows, n);
    return bad ? STATUS_FAILED : STATUS_DONE;
}

static int find_sides(struct comparison *c)
{
    if (c->a->n_pos > 1)
        return choose(c);
    int status = load_graph_sides(c);
    if (status == STATUS_DONE && c->n < 2)
        status = last_two(c);
    return status;
}

/* ---- the command ---- */

static int print(struct comparison *c)
{
    const char *labels[SIDES_MAX], *format = args_get(c->a, "format");
    struct sheet t;
    int status = STATUS_DONE;
    if (c->n > SIDES_MAX) {
        say_error("%zu sides are too many for one table; name some of them (%s, %s, ...)", c->n, c->v[0].label, c->v[1].label);
        return STATUS_USAGE;
    }
    for (size_t i = 0; i < c->n; i++)
        labels[i] = c->v[i].label;
    sheet_init(&t, labels, c->n);
    for (size_t i = 0; i < c->n && status == STATUS_DONE && !t.failed; i++)
        if (c->v[i].run)
            status = put_run_side(&t, i, c, c->v[i].run);
        else
            put_graph_side(&t, i, c, &c->v[i]);
    for (size_t i = 0; i < c->n && !t.failed; i++)
        put_total(&t, i);
    if (status == STATUS_DONE)
        status = sheet_print(&t, format ? format : args_has(c->a, "json") ? "json" : "text");
    sheet_release(&t);
    return status;
}

static int run_compare(const struct args *a)
{
    struct comparison c = {.a = a, .spec = fs_absolute(a->pos[0])};
    int status = c.spec ? find_sides(&c) : STATUS_FAILED;
    if (status == STATUS_DONE)
        status = print(&c);
    for (size_t i = 0; i < c.n; i++)
        free(c.v[i].label);
    free(c.v);
    for (size_t v = 0; c.member && v < c.s.graph->n_variants; v++)
        free(c.member[v]);
    free(c.member);
    if (c.store && c.store != c.s.store)
        store_close(c.store);
    session_close(&c.s);
    free(c.spec);
    return status;
}

static const struct option_def options[] = {
    {.name = "format", .letter = 'f', .arg = "F", .help = "text (default), markdown, csv or json", .choices = "text|markdown|csv|json"},
    OPTIONS_SPEC,
    OPTIONS_JSON,
    OPTIONS_HELP,
    {0},
};

const struct command cmd_compare = {
    .name = "compare",
    .usage = "SPEC [RUN|VARIANT|POINT]...",
    .summary = "variants, sweep points or runs side by side: parameters that differ, metrics, times",
    .about = "Without names: every variant at every point of the sweep; in a spec that has neither, the last two runs. A run is\n"
             "its number (`pkgraph runs`) or `last`; a variant its name, `base` the graph without them; a point what stands\n"
             "behind the @ of a node (r=4,layers.strategy=first). The time of a node is that of the run that made it.",
    .example = "pkgraph compare specs/ablations/rank.yaml --format markdown\npkgraph compare specs/quickstart.yaml 3 last",
    .options = options,
    .min_pos = 1,
    .max_pos = 1000,
    .run = run_compare,
};
