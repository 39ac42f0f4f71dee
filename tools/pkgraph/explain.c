/* SPDX-License-Identifier: MIT
 *
 * explain: why a node runs. The key that it has now is laid beside the key of its last run, field by field. Where the
 * digest of an input changed, the two artifacts are laid beside each other (rows, shapes), and the node that made it is
 * explained the same way: the key that gave the old content beside the key that gives the new one, down to the sources. A
 * node whose key is not known yet (something upstream runs first) is explained by its parameters and by those nodes.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/param.h"
#include "runtime/base/json.h"
#include "tools/pkgraph/session.h"
#include "tools/pkgraph/term.h"

enum { HISTORY = 100, DEPTH = 64 };

struct change {
    char *field;
    struct js *old, *now; /* NULL: the key has no such field */
};

struct changes {
    size_t n;
    struct change *v;
};

static void add(struct changes *c, const char *field, const struct js *old, const struct js *now)
{
    struct change *p = realloc(c->v, (c->n + 1) * sizeof *p);
    if (!p)
        return;
    c->v = p;
    p[c->n] = (struct change){strdup(field), js_ref(old), js_ref(now)};
    c->n += p[c->n].field != NULL;
}

static void compare(struct changes *c, const char *field, const struct js *old, const struct js *now);

static void compare_key(struct changes *c, const char *field, const char *key, const struct js *old, const struct js *now)
{
    struct buf b = {0};
    buf_printf(&b, "%s%s%s", field, *field ? "." : "", key);
    if (!b.failed)
        compare(c, b.p, old, now);
    buf_release(&b);
}

static void compare(struct changes *c, const char *field, const struct js *old, const struct js *now)
{
    if (old && now && js_equal(old, now))
        return;
    if (js_kind(old) != JS_OBJECT || js_kind(now) != JS_OBJECT) {
        add(c, field, old, now);
        return;
    }
    for (void *it = js_iter(old); it; it = js_next(old, it))
        compare_key(c, field, js_iter_key(it), js_iter_value(it), js_get(now, js_iter_key(it)));
    for (void *it = js_iter(now); it; it = js_next(now, it))
        if (!js_get(old, js_iter_key(it)))
            compare_key(c, field, js_iter_key(it), NULL, js_iter_value(it));
}

static void changes_release(struct changes *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->v[i].field);
        js_free(c->v[i].old);
        js_free(c->v[i].now);
    }
    free(c->v);
}

/* An earlier run of a node, to compare with. */
struct earlier {
    struct js *key;  /* expanded; NULL: there is none whose key is another */
    int64_t at;
    char *as;        /* the node that it was, when it was another point or variant: "d@r=4"; else NULL */
    bool same;       /* it ran under this very key */
};

/* The newest of the rows whose key differs from the present one. base: of these, points and variants of that node alone. */
static void find_other(struct session *s, size_t i, const struct history_row *rows, size_t n, const char *base, struct earlier *x)
{
    const struct planned *p = &s->plan->nodes[i];
    struct err e;
    for (size_t k = 0; k < n && !x->key; k++) {
        if (base && (strncmp(rows[k].node, base, strlen(base)) != 0 || (rows[k].node[strlen(base)] && rows[k].node[strlen(base)] != '@')))
            continue;
        if (p->keyed && digest_cmp(&rows[k].key, &p->key) == 0) {
            x->same |= !base;
            continue;
        }
        if (store_expanded(s->store, &rows[k].key, &x->key, &e) != 0)
            continue;
        x->at = rows[k].at;
        x->as = base ? strdup(rows[k].node) : NULL;
    }
}

/* The last run of the node whose key is another; of one that never ran, the last run of another point or variant of it. */
static void last_other(struct session *s, size_t i, struct earlier *x)
{
    const struct node *n = &s->graph->nodes[i];
    struct history_row *rows = NULL;
    size_t count = 0;
    struct err e = {0};
    *x = (struct earlier){0};
    if (store_history(s->store, s->graph->file, n->id, HISTORY, &rows, &count, &e) != 0)
        return;
    find_other(s, i, rows, count, NULL, x);
    store_history_free(rows, count);
    if (count || store_history(s->store, s->graph->file, NULL, 0, &rows, &count, &e) != 0)
        return;
    find_other(s, i, rows, count, n->base, x);
    store_history_free(rows, count);
}

/* ---- the artifact that an input was ---- */

/* The record among the node's earlier runs that has an output with this digest. */
static struct record *maker_of(struct session *s, size_t i, const char *hex, const struct artifact **out)
{
    struct history_row *rows = NULL;
    size_t n = 0;
    struct err e = {0};
    struct digest d;
    struct record *r = NULL;
    *out = NULL;
    if (digest_parse(hex, &d) != 0 || store_history(s->store, s->graph->file, s->graph->nodes[i].id, HISTORY, &rows, &n, &e) != 0)
        return NULL;
    for (size_t k = 0; k < n && !*out; k++) {
        if (k && digest_cmp(&rows[k].key, &rows[k - 1].key) == 0)
            continue;
        if (store_get_record(s->store, &rows[k].key, &r, NULL) != 0)
            continue;
        for (size_t o = 0; o < r->n_out && !*out; o++)
            if (digest_cmp(&r->out[o].digest, &d) == 0)
                *out = &r->out[o];
        if (!*out) {
            record_free(r);
            r = NULL;
        }
    }
    store_history_free(rows, n);
    return r;
}

/* The edge behind the field "inputs.PORT"; -1 for other fields and for ports that take several. */
static int edge_of(const struct node *n, const struct change *c)
{
    if (strncmp(c->field, "inputs.", 7) != 0 || js_kind(c->old) != JS_STRING || js_kind(c->now) != JS_STRING)
        return -1;
    for (size_t i = 0; i < n->n_edges; i++)
        if (strcmp(n->op->inputs[n->edges[i].port].name, c->field + 7) == 0)
            return (int)i;
    return -1;
}

/* ---- printing ---- */

static void value_cell(struct table *t, const char *field, const struct js *j)
{
    struct buf b = {0}, cut = {0};
    bool digest = strncmp(field, "inputs.", 7) == 0 || strncmp(field, "sources.", 8) == 0;
    if (!j)
        buf_puts(&b, "(none)");
    else if (digest && js_str(j).n == DIGEST_HEX - 1)
        buf_str(&b, (struct str){js_str(j).p, 12});
    else
        js_write(&b, j);
    text_line(&cut, buf_view(&b), 60);
    table_cell(t, "%s", cut.failed || !cut.n ? "" : cut.p);
    buf_release(&b);
    buf_release(&cut);
}

static void print_changes(const struct changes *c, const char *first, int depth)
{
    struct table t = {.cols = 3};
    table_cell(&t, "%*s%s", 2 * depth, "", first);
    table_cell(&t, "then");
    table_cell(&t, "now");
    for (size_t i = 0; i < c->n; i++) {
        table_cell(&t, "%*s%s", 2 * depth, "", c->v[i].field);
        value_cell(&t, c->v[i].field, c->v[i].old);
        value_cell(&t, c->v[i].field, c->v[i].now);
    }
    table_print(&t, true, stdout);
    table_release(&t);
}

static struct js *changes_json(const struct changes *c)
{
    struct js *a = js_array();
    for (size_t i = 0; i < c->n; i++) {
        struct js *j = js_object();
        js_set(j, "field", js_new_cstr(c->v[i].field));
        js_set(j, "then", c->v[i].old ? js_ref(c->v[i].old) : js_new_null());
        js_set(j, "now", c->v[i].now ? js_ref(c->v[i].now) : js_new_null());
        js_push(a, j);
    }
    return a;
}

/* ---- causes ---- */

struct explainer {
    struct session *s;
    bool *seen;
    bool json;
};

static struct js *explain_inputs(struct explainer *x, size_t i, const struct changes *c, int depth);

/* What made the old content of an input beside what makes the new one. */
static struct js *explain_maker(struct explainer *x, size_t from, int port, const struct change *change, int depth)
{
    const struct node *n = &x->s->graph->nodes[from];
    const struct js *now = plan_expanded(x->s->plan, from);
    const struct artifact *was, *is = plan_artifact(x->s->plan, from, port);
    struct record *old = maker_of(x->s, from, js_cstr(change->old), &was);
    struct changes facts = {0}, keys = {0};
    struct js *out = x->json ? js_object() : NULL, *expanded = NULL;
    struct err e = {0};
    if (was && is)
        compare(&facts, "", artifact_desc(was), artifact_desc(is));
    if (old && store_expanded(x->s->store, &old->key, &expanded, &e) == 0 && now)
        compare(&keys, "", expanded, now);
    if (out) {
        js_set(out, "input", js_new_cstr(change->field + 7));
        js_set(out, "from", js_new_cstr(n->id));
        js_set(out, "facts", changes_json(&facts));
        js_set(out, "changes", changes_json(&keys));
    } else {
        printf("\n%*s%s is %s (%s)%s\n", 2 * depth, "", change->field, n->id, n->op->name,
               !old ? ": another node gave it then, or its old result is no longer in the store" :
               !keys.n && now ? ": the same key, and yet other content" : "");
        if (facts.n)
            print_changes(&facts, "fact", depth);
        if (keys.n)
            print_changes(&keys, "field", depth);
    }
    struct js *why = keys.n && depth < DEPTH ? explain_inputs(x, from, &keys, depth + 1) : NULL;
    if (out && why)
        js_set(out, "why", why);
    changes_release(&facts);
    changes_release(&keys);
    record_free(old);
    js_free(expanded);
    return out;
}

/* A line for a changed source: where the file lies. */
static void print_source(const struct planned *p, const struct change *c, int depth)
{
    for (size_t k = 0; strncmp(c->field, "sources.", 8) == 0 && k < p->n_sources; k++)
        if (strcmp(p->sources[k].label, c->field + 8) == 0)
            printf("%*s%s is %s: other content\n", 2 * depth, "", c->field, p->sources[k].path);
}

/* Why the inputs among the changes of node i changed; with JSON a list. */
static struct js *explain_inputs(struct explainer *x, size_t i, const struct changes *c, int depth)
{
    const struct node *n = &x->s->graph->nodes[i];
    struct js *list = x->json ? js_array() : NULL;
    for (size_t k = 0; k < c->n; k++) {
        int edge = edge_of(n, &c->v[k]);
        if (!x->json)
            print_source(&x->s->plan->nodes[i], &c->v[k], depth - 1);
        if (edge < 0)
            continue;
        size_t from = (size_t)n->edges[edge].from;
        if (x->seen[from]) { /* reached on another way: told there */
            if (!x->json)
                printf("\n%*s%s is %s, see above\n", 2 * depth, "", c->v[k].field, x->s->graph->nodes[from].id);
            continue;
        }
        x->seen[from] = true;
        struct js *j = explain_maker(x, from, n->edges[edge].from_port, &c->v[k], depth);
        if (j)
            js_push(list, j);
    }
    return list;
}

/* ---- one node ---- */

/* What of the key is known before the inputs are: operator, version, parameters. */
static struct js *known_key(const struct node *n)
{
    struct js *j = js_object(), *params = js_object();
    for (size_t k = 0; n->op->params && n->op->params[k].name; k++)
        if (n->values[k].set && n->op->params[k].type != PARAM_PATH && !(n->op->params[k].flags & PARAM_NOKEY))
            js_set(params, n->op->params[k].name, param_json(&n->op->params[k], &n->values[k]));
    js_set(j, "op", js_new_cstr(n->op->name));
    js_set(j, "version", js_new_int(n->op->version));
    js_set(j, "params", params);
    return j;
}

static void explain_keyed(struct explainer *x, size_t i, struct js *out)
{
    struct session *s = x->s;
    const struct planned *p = &s->plan->nodes[i];
    struct changes c = {0};
    struct earlier was;
    char when[TEXT_MAX];
    last_other(s, i, &was);
    struct js *old = was.key, *now = p->keyed ? js_ref(plan_expanded(s->plan, i)) : known_key(&s->graph->nodes[i]);
    if (old && !p->keyed) {
        js_del(old, "inputs");
        js_del(old, "sources");
    }
    if (old)
        compare(&c, "", old, now);
    if (out) {
        js_set(out, "changes", changes_json(&c));
        if (was.as)
            js_set(out, "compared_with", js_new_cstr(was.as));
    } else if (old && was.as) {
        printf("it has not run with this store; %s has%s%s%s\n", was.as, c.n ? ", and since its run of " : ", with the same parameters",
               c.n ? text_when(when, was.at) : "", c.n ? ":" : "");
        if (c.n)
            print_changes(&c, "field", 0);
    } else if (old && c.n) {
        printf("since the run of %s:\n", text_when(when, was.at));
        print_changes(&c, "field", 0);
    } else if (!p->keyed) {
        puts(old ? "its own parameters are those of its last run" : "it has not run with this store");
    } else if (p->state != NODE_UPTODATE) {
        puts(was.same ? "the key is that of the last run: its result is no longer in the store" : "it has not run with this store");
    } else {
        puts("it has had this key in every run that the store remembers");
    }
    struct js *why = c.n ? explain_inputs(x, i, &c, 1) : NULL;
    if (out && why)
        js_set(out, "why", why);
    changes_release(&c);
    free(was.as);
    js_free(old);
    js_free(now);
}

static void explain_one(struct explainer *x, size_t i, struct js *list)
{
    const struct planned *p = &x->s->plan->nodes[i];
    const struct node *n = &x->s->graph->nodes[i];
    struct js *out = list ? js_object() : NULL;
    x->seen[i] = true;
    if (out) {
        js_set(out, "node", js_new_cstr(n->id));
        js_set(out, "state", js_new_cstr(node_state_name(p->state)));
        js_set(out, "reason", p->reason ? js_new_cstr(p->reason) : js_new_null());
        if (p->keyed)
            js_set(out, "key", js_ref(plan_expanded(x->s->plan, i)));
    } else {
        printf("%s (%s): %s%s%s\n", n->id, n->op->name, node_state_name(p->state), p->reason ? ": " : "",
               p->reason ? p->reason : "");
    }
    explain_keyed(x, i, out);
    if (out)
        js_push(list, out);
}

/* The node, then what it waits for, inputs before inputs of inputs. The stack is our own: chains can be long. */
static int explain(struct explainer *x, size_t i, struct js *list)
{
    const struct graph *g = x->s->graph;
    size_t *stack = calloc(g->n + 1, sizeof *stack), *next = calloc(g->n + 1, sizeof *next), depth = 0;
    int status = stack && next ? STATUS_DONE : STATUS_FAILED;
    if (status == STATUS_DONE) {
        explain_one(x, i, list);
        stack[depth++] = i;
    } else {
        say_error("out of memory");
    }
    while (depth) {
        const struct node *n = &g->nodes[stack[depth - 1]];
        size_t at = stack[depth - 1], k = next[at]++;
        if (x->s->plan->nodes[at].keyed || k == n->n_edges) {
            depth--;
            continue;
        }
        size_t from = (size_t)n->edges[k].from;
        if (x->seen[from] || x->s->plan->nodes[from].state == NODE_UPTODATE)
            continue;
        if (!list)
            putchar('\n');
        explain_one(x, from, list);
        stack[depth++] = from;
    }
    free(stack);
    free(next);
    return status;
}

static int run_explain(const struct args *a)
{
    struct session s;
    size_t node;
    int port;
    bool *seen = NULL;
    int status = session_open(&s, a, SESSION_STORE | SESSION_PLAN | SESSION_READ);
    if (status == STATUS_DONE)
        status = session_find(&s, a->pos[1], &node, &port);
    if (status != STATUS_DONE)
        goto out;
    seen = calloc(s.graph->n + 1, sizeof *seen);
    struct js *list = args_has(a, "json") ? js_array() : NULL;
    struct explainer x = {&s, seen, list != NULL};
    status = seen ? explain(&x, node, list) : STATUS_FAILED;
    if (list && status == STATUS_DONE) {
        struct buf b = {0};
        js_write_pretty(&b, list);
        buf_putc(&b, '\n');
        status = print_buf(&b);
    }
    js_free(list);
out:
    free(seen);
    session_close(&s);
    return status;
}

static const struct option_def options[] = {OPTIONS_SPEC, OPTIONS_JSON, OPTIONS_HELP, {0}};

const struct command cmd_explain = {
    .name = "explain",
    .usage = "SPEC NODE",
    .summary = "why a node runs: every field of its key that differs from the last run",
    .about = "A key holds the operator and its version, every parameter that can change the result, and the digests of the\n"
             "input contents. For an input that changed, its facts then and now are told (rows, shapes), and why it changed. When\n"
             "something upstream runs first, that is what gets explained. A node that never ran is laid beside the last run\n"
             "of another point of the sweep, or of another variant.",
    .example = "pkgraph explain specs/quickstart.yaml svd --set r=4",
    .options = options,
    .min_pos = 2,
    .max_pos = 2,
    .run = run_explain,
};
