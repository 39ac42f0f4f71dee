/* SPDX-License-Identifier: MIT
 *
 * explain: why a node runs. The key that it has now is laid beside the key of its last run, field by field. A node whose
 * key is not known yet (something upstream runs first) is explained by those upstream nodes.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/json.h"
#include "tools/pkgraph/session.h"
#include "tools/pkgraph/term.h"

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

/* The expanded key of the last run whose key differs from the present one; the last run at all in *same. */
static struct js *last_other(struct session *s, size_t i, bool *any, int64_t *at)
{
    struct history_row *rows = NULL;
    size_t n = 0;
    struct err e = {0};
    struct js *old = NULL;
    const struct planned *p = &s->plan->nodes[i];
    *any = false;
    if (store_history(s->store, s->graph->file, s->graph->nodes[i].id, 100, &rows, &n, &e) != 0)
        return NULL;
    for (size_t k = 0; k < n && !old; k++) {
        *any = true;
        if (p->keyed && digest_cmp(&rows[k].key, &p->key) == 0)
            continue;
        *at = rows[k].at;
        if (store_expanded(s->store, &rows[k].key, &old, &e) != 0)
            old = NULL;
    }
    store_history_free(rows, n);
    return old;
}

static void value_cell(struct table *t, const struct js *j)
{
    struct buf b = {0}, cut = {0};
    if (j)
        js_write(&b, j);
    else
        buf_puts(&b, "(none)");
    text_line(&cut, buf_view(&b), 60);
    table_cell(t, "%s", cut.failed || !cut.n ? "" : cut.p);
    buf_release(&b);
    buf_release(&cut);
}

static void print_changes(const struct changes *c)
{
    struct table t = {.cols = 3};
    table_cell(&t, "field");
    table_cell(&t, "then");
    table_cell(&t, "now");
    for (size_t i = 0; i < c->n; i++) {
        table_cell(&t, "%s", c->v[i].field);
        value_cell(&t, c->v[i].old);
        value_cell(&t, c->v[i].now);
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

static void explain_keyed(struct session *s, size_t i, struct js *out)
{
    const struct planned *p = &s->plan->nodes[i];
    struct changes c = {0};
    char x[TEXT_MAX];
    bool any;
    int64_t at = 0;
    struct js *old = last_other(s, i, &any, &at);
    if (old)
        compare(&c, "", old, p->expanded);
    if (out) {
        js_set(out, "changes", changes_json(&c));
    } else if (old && c.n) {
        printf("since the run of %s:\n", text_when(x, at));
        print_changes(&c);
    } else if (p->state != NODE_UPTODATE) {
        puts(any ? "the key is that of the last run: its result is no longer in the store" : "it has not run with this store");
    } else {
        puts("it has had this key in every run that the store remembers");
    }
    changes_release(&c);
    js_free(old);
}

static void explain(struct session *s, size_t i, bool *seen, struct js *list)
{
    const struct planned *p = &s->plan->nodes[i];
    const struct node *n = &s->graph->nodes[i];
    struct js *out = list ? js_object() : NULL;
    if (seen[i])
        return;
    seen[i] = true;
    if (out) {
        js_set(out, "node", js_new_cstr(n->id));
        js_set(out, "state", js_new_cstr(node_state_name(p->state)));
        js_set(out, "reason", p->reason ? js_new_cstr(p->reason) : js_new_null());
        if (p->keyed)
            js_set(out, "key", js_ref(p->expanded));
    } else {
        printf("%s (%s): %s%s%s\n", n->id, n->op->name, node_state_name(p->state), p->reason ? ": " : "",
               p->reason ? p->reason : "");
    }
    if (p->keyed)
        explain_keyed(s, i, out);
    if (out)
        js_push(list, out);
    if (p->keyed)
        return;
    for (size_t k = 0; k < n->n_edges; k++) {
        enum node_state from = s->plan->nodes[n->edges[k].from].state;
        if (from == NODE_UPTODATE || seen[n->edges[k].from])
            continue;
        if (!list)
            putchar('\n');
        explain(s, (size_t)n->edges[k].from, seen, list);
    }
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
    if (seen)
        explain(&s, node, seen, list);
    if (list) {
        struct buf b = {0};
        js_write_pretty(&b, list);
        buf_putc(&b, '\n');
        status = print_buf(&b);
        js_free(list);
    }
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
             "input contents. When something upstream runs first, that is what gets explained.",
    .example = "pkgraph explain specs/quickstart.yaml svd --set r=4",
    .options = options,
    .min_pos = 2,
    .max_pos = 2,
    .run = run_explain,
};
