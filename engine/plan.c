/* SPDX-License-Identifier: MIT */
#include "engine/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/key.h"
#include "engine/keymap.h"
#include "engine/plan_private.h"
#include "engine/share.h"

const char *node_state_name(enum node_state s)
{
    static const char *const names[] = {
        [NODE_PENDING] = "pending", [NODE_RUN] = "to run", [NODE_UPTODATE] = "up to date", [NODE_RESTORE] = "to restore", [NODE_BLOCKED] = "blocked",
        [NODE_RUNNING] = "running", [NODE_DONE] = "done", [NODE_FAILED] = "failed", [NODE_SKIPPED] = "skipped",
    };
    return names[s];
}

int plan_set_reason(struct planned *n, struct err *e, const char *fmt, ...)
{
    struct buf b = {0};
    char z[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(z, sizeof z, fmt, ap);
    va_end(ap);
    buf_puts(&b, z);
    free(n->reason);
    n->reason = buf_steal(&b);
    return n->reason ? 0 : err_nomem(e, 0, "a plan");
}

const struct artifact *plan_output(const struct plan *p, size_t i, int port)
{
    const struct record *r = p->nodes[i].record;
    const char *name = p->graph->nodes[i].op->outputs[port].name;
    for (size_t k = 0; r && k < r->n_out; k++)
        if (strcmp(r->ports[k], name) == 0)
            return &r->out[k];
    return NULL;
}

int plan_key(struct plan *p, size_t i, const struct artifact *const *inputs, struct err *e)
{
    struct planned *n = &p->nodes[i];
    js_free(n->expanded);
    n->expanded = NULL;
    int rc = key_compute(&p->graph->nodes[i], inputs, n->sources, n->n_sources, &n->key, &n->expanded, e);
    n->keyed = rc == 0;
    return rc;
}

/* The artifacts at the node's inputs, in edge order; false when one is not there. */
static bool gather(const struct plan *p, size_t i, const struct artifact **inputs)
{
    const struct node *g = &p->graph->nodes[i];
    for (size_t k = 0; k < g->n_edges; k++) {
        size_t from = (size_t)g->edges[k].from;
        if (!p->nodes[from].record && p->nodes[from].same_as >= 0)
            from = (size_t)p->nodes[from].same_as;
        inputs[k] = plan_output(p, from, g->edges[k].from_port);
        if (!inputs[k])
            return false;
    }
    return true;
}

const struct js *plan_expanded(struct plan *p, size_t i)
{
    struct planned *n = &p->nodes[i];
    struct err ignored;
    const struct artifact **inputs = n->keyed && !n->expanded ? calloc(p->graph->nodes[i].n_edges + 1, sizeof *inputs) : NULL;
    if (inputs && gather(p, i, inputs))
        plan_key(p, i, inputs, &ignored);
    free(inputs);
    return n->expanded;
}

/* ---- reasons ---- */

/* What the last run of the node had in its key, against what it has now. False: nothing to say. */
static bool changed_fields(struct plan *p, size_t i, const struct history_row *last, struct buf *out)
{
    struct err ignored;
    struct js *was = NULL;
    struct key_change *c = NULL;
    size_t n = 0;
    if (store_expanded(p->store, &last->key, &was, &ignored) == 0 && key_changes(was, p->nodes[i].expanded, &c, &n, &ignored) == 0)
        key_changes_text(out, c, n, 4);
    key_changes_free(c, n);
    js_free(was);
    return n > 0;
}

char *plan_reason(struct plan *p, size_t i, const char *gone)
{
    static const struct digest none;
    struct history_row *rows = NULL;
    struct buf b = {0};
    struct err ignored;
    size_t n = 0, k = 0;
    store_history(p->store, p->graph->file, p->graph->nodes[i].id, 8, &rows, &n, &ignored);
    while (k < n && digest_cmp(&rows[k].key, &none) == 0)
        k++;
    if (k == n)
        buf_puts(&b, "never run");
    else if (digest_cmp(&rows[k].key, &p->nodes[i].key) != 0) {
        if (!changed_fields(p, i, &rows[k], &b))
            buf_puts(&b, "its key changed");
    } else if (strcmp(rows[k].status, "failed") == 0)
        buf_puts(&b, "failed last time");
    else if (strcmp(rows[k].status, "cancelled") == 0)
        buf_puts(&b, "interrupted last time");
    else
        buf_puts(&b, gone && *gone && strcmp(gone, "not in the store") != 0 ? gone : "its stored result is gone");
    store_history_free(rows, n);
    return buf_steal(&b);
}

/* ---- estimates ---- */

static void estimate(struct plan *p, size_t i)
{
    const struct node *g = &p->graph->nodes[i];
    struct planned *n = &p->nodes[i];
    struct history_row *rows = NULL;
    struct err ignored;
    size_t k = 0, n_rows = 0;
    if (g->op->cost)
        g->op->cost(&g->args, &n->cost);
    n->seconds = plan_cost_seconds(&n->cost);
    store_history(p->store, p->graph->file, g->id, 8, &rows, &n_rows, &ignored);
    while (k < n_rows && strcmp(rows[k].status, "ran") != 0)
        k++;
    if (k < n_rows)
        n->seconds = rows[k].wall;
    store_history_free(rows, n_rows);
}

/* ---- states ---- */

static bool is_forced(const struct node *g, const char *const *force, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(force[i], g->id) == 0 || strcmp(force[i], g->base) == 0)
            return true;
    return false;
}

/* From the producers: true when all inputs are known. */
static bool inputs_known(struct plan *p, size_t i, const struct artifact **inputs, struct err *e)
{
    const struct node *g = &p->graph->nodes[i];
    struct planned *n = &p->nodes[i];
    for (size_t k = 0; k < g->n_edges; k++) {
        size_t from = (size_t)g->edges[k].from;
        if (p->nodes[from].state == NODE_BLOCKED) {
            n->state = NODE_BLOCKED;
            plan_set_reason(n, e, "needs %s, which is blocked", p->graph->nodes[from].id);
            return false;
        }
    }
    for (size_t k = 0; k < g->n_edges; k++) {
        size_t from = (size_t)g->edges[k].from;
        if (p->nodes[from].state != NODE_UPTODATE && p->nodes[from].state != NODE_RESTORE) {
            n->state = NODE_PENDING;
            plan_set_reason(n, e, "input %s runs first", p->graph->nodes[from].id);
            return false;
        }
        inputs[k] = plan_output(p, from, g->edges[k].from_port);
        if (!inputs[k]) {
            n->state = NODE_BLOCKED;
            plan_set_reason(n, e, "%s gave no output %s", p->graph->nodes[from].id,
                            p->graph->nodes[from].op->outputs[g->edges[k].from_port].name);
            return false;
        }
    }
    return true;
}

/* What a decision looks at besides the store. */
struct beyond {
    struct keymap running;  /* keys that a node of this plan computes */
    struct share *share;    /* NULL: the remote cache is not asked */
    const struct progress *progress;
};

static int look_up(struct plan *p, size_t i, const struct artifact *const *inputs, struct beyond *b, struct err *e)
{
    struct planned *n = &p->nodes[i];
    struct err why = {0};
    int rc = n->forced ? ERR_NOTFOUND : store_get_record(p->store, &n->key, &n->record, &why);
    if (rc == 0) {
        n->state = NODE_UPTODATE;
        return 0;
    }
    if (rc != ERR_NOTFOUND) {
        *e = why;
        return rc;
    }
    rc = plan_key(p, i, inputs, e); /* it will be asked for every field */
    if (rc != 0)
        return rc;
    n->state = NODE_RUN;
    int other = keymap_claim(&b->running, &n->key, (int)i);
    if (other != (int)i) {
        n->same_as = other;
        return plan_set_reason(n, e, "same work as %s", p->graph->nodes[other].id);
    }
    if (n->forced)
        return plan_set_reason(n, e, "forced");
    n->record = b->share ? share_look(b->share, &p->graph->nodes[i], n, b->progress) : NULL;
    if (n->record) {
        n->state = NODE_RESTORE;
        return plan_set_reason(n, e, "the remote cache has it");
    }
    free(n->reason);
    n->reason = plan_reason(p, i, why.msg);
    return n->reason ? 0 : err_nomem(e, 0, "a plan");
}

static int decide(struct plan *p, size_t i, const struct artifact **inputs, struct beyond *b, struct err *e)
{
    struct planned *n = &p->nodes[i];
    if (n->state == NODE_BLOCKED) /* found while its sources were digested */
        return 0;
    if (p->graph->nodes[i].bad) {
        n->state = NODE_BLOCKED;
        return plan_set_reason(n, e, "has errors");
    }
    if (!inputs_known(p, i, inputs, e))
        return n->reason ? 0 : ERR_NOMEM;
    for (size_t k = 0; k < n->n_sources; k++)
        if (!n->sources[k].known) {
            n->state = NODE_RUN;
            return plan_set_reason(n, e, "source %s not read yet", n->sources[k].label);
        }
    int rc = key_compute(&p->graph->nodes[i], inputs, n->sources, n->n_sources, &n->key, NULL, e);
    n->keyed = rc == 0;
    return rc == 0 ? look_up(p, i, inputs, b, e) : rc;
}

static int decide_all(struct plan *p, struct share *share, const struct progress *progress, struct err *e)
{
    size_t most = 0;
    struct beyond b = {.share = share, .progress = progress};
    for (size_t i = 0; i < p->graph->n; i++)
        if (p->graph->nodes[i].n_edges > most)
            most = p->graph->nodes[i].n_edges;
    const struct artifact **inputs = calloc(most + 1, sizeof *inputs);
    int rc = inputs && keymap_init(&b.running, p->graph->n) == 0 ? 0 : err_nomem(e, most, "a plan");
    if (rc == 0)
        rc = store_begin(p->store, false, e);
    for (size_t i = 0; rc == 0 && i < p->graph->n; i++) {
        rc = decide(p, i, inputs, &b, e);
        if (rc == 0 && (p->nodes[i].state == NODE_RUN || p->nodes[i].state == NODE_PENDING))
            estimate(p, i);
    }
    struct err second;
    int fin = store_finish(p->store, &second);
    if (rc == 0 && fin != 0) {
        rc = fin;
        *e = second;
    }
    keymap_release(&b.running);
    free(inputs);
    return rc;
}

bool plan_digest(const struct plan *p, struct digest *out)
{
    struct sha *h = sha_new();
    bool all = h != NULL;
    for (size_t i = 0; all && i < p->graph->n; i++) {
        all = p->nodes[i].keyed;
        sha_add(h, p->nodes[i].key.b, sizeof p->nodes[i].key.b);
    }
    if (h)
        sha_end(h, out);
    return all;
}

static bool seen(const struct plan *p)
{
    struct digest d;
    for (size_t i = 0; i < p->graph->n; i++)
        if (p->nodes[i].state != NODE_UPTODATE)
            return false;
    return plan_digest(p, &d) && store_seen(p->store, p->graph->file ? p->graph->file : "", &d);
}

/* Marks what is up to date as used, so that gc leaves it alone. *gone: gc was faster somewhere, and all is to be decided
 * again. */
static int use_records(struct plan *p, bool *gone, struct err *e)
{
    struct err second;
    int rc = p->graph->n ? store_begin(p->store, true, e) : 0;
    *gone = false;
    for (size_t i = 0; rc == 0 && i < p->graph->n; i++) {
        if (p->nodes[i].state != NODE_UPTODATE)
            continue;
        rc = store_use_record(p->store, &p->nodes[i].key, e);
        if (rc == ERR_NOTFOUND) {
            *gone = true;
            rc = 0;
        }
    }
    int fin = store_finish(p->store, &second);
    if (rc == 0 && fin != 0) {
        rc = fin;
        *e = second;
    }
    return rc;
}

static void undecide(struct plan *p)
{
    for (size_t i = 0; i < p->graph->n; i++) {
        struct planned *n = &p->nodes[i];
        if (n->state == NODE_UPTODATE || n->state == NODE_RESTORE) {
            record_free(n->record);
            n->record = NULL;
        }
        if (n->state != NODE_BLOCKED) {
            n->state = NODE_PENDING;
            free(n->reason);
            n->reason = NULL;
        }
        n->keyed = false;
        n->same_as = -1;
    }
}

static int decide_and_use(struct plan *p, bool use, struct err *e)
{
    bool gone = true;
    int rc = 0;
    for (int tries = 0; rc == 0 && gone && tries < 10; tries++) {
        if (tries)
            undecide(p);
        rc = decide_all(p, NULL, NULL, e);
        gone = false;
        p->seen = rc == 0 && use && seen(p);
        if (rc == 0 && use && !p->seen)
            rc = use_records(p, &gone, e);
    }
    return rc;
}

static void add_up(struct plan *p)
{
    plan_scale(p);
    for (size_t i = 0; i < p->graph->n; i++) {
        const struct planned *n = &p->nodes[i];
        p->n_uptodate += n->state == NODE_UPTODATE;
        p->n_restore += n->state == NODE_RESTORE;
        p->n_blocked += n->state == NODE_BLOCKED;
        p->n_pending += n->state == NODE_PENDING;
        p->n_shared += n->same_as >= 0;
        if (n->same_as >= 0 || (n->state != NODE_RUN && n->state != NODE_PENDING))
            continue;
        p->n_run += n->state == NODE_RUN;
        p->seconds += n->seconds;
        if (n->cost.peak_memory > p->peak_memory)
            p->peak_memory = n->cost.peak_memory;
    }
}

void plan_fit(struct plan *p, uint64_t mem)
{
    p->peak_memory = 0;
    for (size_t i = 0; i < p->graph->n; i++) {
        struct planned *n = &p->nodes[i];
        for (int k = 0; k < OP_LESS_MAX && n->cost.peak_memory > mem && n->cost.less[k].memory; k++)
            if (n->cost.less[k].memory <= mem) {
                n->cost.peak_memory = n->cost.less[k].memory;
                n->how_less = n->cost.less[k].how;
            }
        if (n->same_as < 0 && (n->state == NODE_RUN || n->state == NODE_PENDING) && n->cost.peak_memory > p->peak_memory)
            p->peak_memory = n->cost.peak_memory;
    }
}

int plan_make(const struct graph *g, struct store *s, bool read_sources, const char *const *force, size_t n_force,
              const struct progress *progress, struct plan **out, struct err *e)
{
    *out = NULL;
    struct plan *p = calloc(1, sizeof *p);
    if (!p || !(p->nodes = calloc(g->n + 1, sizeof *p->nodes))) {
        free(p);
        return err_nomem(e, g->n * sizeof *p->nodes, "a plan");
    }
    p->graph = g;
    p->store = s;
    for (size_t i = 0; i < g->n; i++) {
        p->nodes[i].same_as = -1;
        p->nodes[i].forced = is_forced(&g->nodes[i], force, n_force);
    }
    int rc = plan_sources(p, read_sources, progress, e);
    if (rc == 0)
        rc = decide_and_use(p, read_sources, e);
    if (rc != 0) {
        plan_free(p);
        return rc;
    }
    add_up(p);
    *out = p;
    return 0;
}

int plan_restore(struct plan *p, struct share *s, const struct progress *progress, struct err *e)
{
    undecide(p);
    p->n_run = p->n_pending = p->n_uptodate = p->n_restore = p->n_blocked = p->n_shared = 0;
    p->seconds = 0;
    p->peak_memory = 0;
    int rc = decide_all(p, s, progress, e);
    if (rc == 0)
        add_up(p);
    return rc;
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->graph->n; i++) {
        struct planned *n = &p->nodes[i];
        js_free(n->expanded);
        record_free(n->record);
        free(n->reason);
        for (size_t k = 0; k < n->n_sources; k++) {
            free(n->sources[k].label);
            free(n->sources[k].path);
        }
        free(n->sources);
    }
    free(p->nodes);
    free(p);
}
