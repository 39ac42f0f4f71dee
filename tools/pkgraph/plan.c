/* SPDX-License-Identifier: MIT
 *
 * plan: what a run would do and why, with estimates. Status 2 when anything is left to do, so that a script can ask.
 */
#include <string.h>

#include "engine/budget.h"
#include "engine/param.h"
#include "engine/share.h"
#include "runtime/base/json.h"
#include "tools/pkgraph/session.h"
#include "tools/pkgraph/term.h"

static struct js *node_json(const struct plan *p, size_t i)
{
    const struct planned *n = &p->nodes[i];
    const struct node *g = &p->graph->nodes[i];
    struct js *j = js_object();
    char hex[DIGEST_HEX];
    js_set(j, "id", js_new_cstr(g->id));
    js_set(j, "op", js_new_cstr(g->op->name));
    js_set(j, "state", js_new_cstr(node_state_name(n->state)));
    js_set(j, "reason", n->reason ? js_new_cstr(n->reason) : js_new_null());
    if (n->keyed) {
        digest_hex(&n->key, hex);
        js_set(j, "key", js_new_cstr(hex));
    }
    if (n->same_as >= 0)
        js_set(j, "same_as", js_new_cstr(p->graph->nodes[n->same_as].id));
    if (n->seconds > 0)
        js_set(j, "seconds", js_new_num(n->seconds));
    if (n->cost.peak_memory)
        js_set(j, "memory", js_new_int((int64_t)n->cost.peak_memory));
    if (n->how_less)
        js_set(j, "how", js_new_cstr(n->how_less));
    if (n->cost.bytes_written > 0)
        js_set(j, "disk", js_new_int((int64_t)n->cost.bytes_written));
    return j;
}

/* Of all points and variants: nodes that are other nodes again, and nodes whose key another has. */
static size_t count_shared(const struct plan *p)
{
    size_t n = p->graph->n_all > p->graph->n ? p->graph->n_all - p->graph->n : 0;
    for (size_t i = 0; i < p->graph->n; i++)
        n += p->nodes[i].same_as >= 0 && p->nodes[i].state == NODE_RUN;
    return n;
}

/* Bytes that a run will add to the store, as the operators estimate. */
static double count_disk(const struct plan *p)
{
    double sum = 0;
    for (size_t i = 0; i < p->graph->n; i++) {
        const struct planned *n = &p->nodes[i];
        if ((n->state == NODE_RUN || n->state == NODE_PENDING) && n->same_as < 0)
            sum += n->cost.bytes_written;
    }
    return sum;
}

static size_t count_all(const struct plan *p)
{
    return p->graph->n_all > p->graph->n ? p->graph->n_all : p->graph->n;
}

static int print_json(const struct plan *p)
{
    struct js *j = js_object(), *nodes = js_array();
    for (size_t i = 0; i < p->graph->n; i++)
        js_push(nodes, node_json(p, i));
    js_set(j, "name", js_new_cstr(p->graph->name));
    js_set(j, "nodes", nodes);
    js_set(j, "to_run", js_new_int((int64_t)p->n_run));
    js_set(j, "to_restore", js_new_int((int64_t)p->n_restore));
    js_set(j, "pending", js_new_int((int64_t)p->n_pending));
    js_set(j, "up_to_date", js_new_int((int64_t)p->n_uptodate));
    js_set(j, "blocked", js_new_int((int64_t)p->n_blocked));
    js_set(j, "all", js_new_int((int64_t)count_all(p)));
    js_set(j, "shared", js_new_int((int64_t)count_shared(p)));
    js_set(j, "seconds", js_new_num(p->seconds));
    js_set(j, "memory", js_new_int((int64_t)p->peak_memory));
    js_set(j, "disk", js_new_int((int64_t)count_disk(p)));
    struct buf b = {0};
    js_write_pretty(&b, j);
    buf_putc(&b, '\n');
    js_free(j);
    return print_buf(&b);
}

static void table_head(struct table *t)
{
    static const char *const head[] = {"node", "op", "state", "time", "memory", "why"};
    t->cols = sizeof head / sizeof *head;
    for (size_t i = 0; i < t->cols; i++)
        table_cell(t, "%s", head[i]);
}

static void print_table(const struct plan *p)
{
    struct table t = {0};
    table_head(&t);
    for (size_t i = 0; i < p->graph->n; i++) {
        const struct planned *n = &p->nodes[i];
        bool todo = n->state != NODE_UPTODATE, runs = todo && n->state != NODE_RESTORE;
        char x[TEXT_MAX];
        table_cell(&t, "%s", p->graph->nodes[i].id);
        table_cell(&t, "%s", p->graph->nodes[i].op->name);
        table_cell(&t, "%s", node_state_name(n->state));
        table_cell(&t, "%s", runs && n->seconds > 0 ? text_seconds(x, n->seconds) : "");
        table_cell(&t, "%s", runs && n->cost.peak_memory ? text_bytes(x, (double)n->cost.peak_memory) : "");
        if (n->same_as >= 0 && todo)
            table_cell(&t, "the same work as %s", p->graph->nodes[n->same_as].id);
        else if (runs && n->how_less)
            table_cell(&t, "%s%s%s to fit the memory", n->reason ? n->reason : "", n->reason ? "; " : "", n->how_less);
        else
            table_cell(&t, "%s", todo && n->reason ? n->reason : "");
    }
    table_print(&t, true, stdout);
    table_release(&t);
}

static void print_counts(size_t all, size_t shared, size_t uptodate, size_t run)
{
    printf("\n%zu node%s", all, all == 1 ? "" : "s");
    if (shared)
        printf(", %zu shared", shared);
    printf(", %zu up to date, %zu to run", uptodate, run);
}

static void print_sum(const struct plan *p)
{
    char x[TEXT_MAX], y[TEXT_MAX], z[TEXT_MAX];
    print_counts(count_all(p), count_shared(p), p->n_uptodate, p->n_run);
    if (p->n_restore)
        printf(", %zu to restore", p->n_restore);
    if (p->n_pending)
        printf(", %zu after those if anything changes", p->n_pending);
    if (p->n_blocked)
        printf(", %zu blocked", p->n_blocked);
    if (p->seconds > 0)
        printf("; about %s", text_seconds(x, p->seconds));
    if (p->peak_memory)
        printf("; at most %s of memory", text_bytes(y, (double)p->peak_memory));
    if (count_disk(p) > 0)
        printf("; %s of disk", text_bytes(z, count_disk(p)));
    putchar('\n');
}

/* What print_table and print_sum print when everything is up to date. */
static void print_memo(const struct memo *m)
{
    struct table t = {0};
    table_head(&t);
    for (size_t i = 0; i < m->n; i++) {
        table_cell(&t, "%s", m->nodes[i].id);
        table_cell(&t, "%s", m->nodes[i].op);
        table_cell(&t, "%s", node_state_name(NODE_UPTODATE));
        for (int k = 0; k < 3; k++)
            table_cell(&t, "%s", "");
    }
    table_print(&t, true, stdout);
    table_release(&t);
    print_counts(m->n_all, m->n_all - m->n, m->n, 0);
    putchar('\n');
}

static void tell_warning(void *u, const char *text)
{
    (void)u;
    say("warning: %s", text);
}

/* With $PKGRAPH_REMOTE: what it holds. */
static int ask_remote(struct session *s)
{
    struct share share;
    struct err e = {0};
    struct progress p = {.warn = tell_warning};
    if (share_open(&share, s->store, &e)) {
        say_err(&e);
        return STATUS_USAGE;
    }
    int rc = share.remote && s->plan->n_run ? plan_restore(s->plan, &share, &p, &e) : 0;
    share_close(&share);
    if (rc)
        say_err(&e);
    return rc ? STATUS_FAILED : STATUS_DONE;
}

static int run_plan(const struct args *a)
{
    static struct session s;
    unsigned memo = args_has(a, "json") ? 0 : SESSION_MEMO;
    int status = session_open(&s, a, SESSION_STORE | SESSION_PLAN | SESSION_SPEED | memo | (args_has(a, "read") ? SESSION_READ : 0));
    if (status != STATUS_DONE)
        goto out;
    if (s.memo) {
        print_memo(s.memo);
        goto out;
    }
    status = ask_remote(&s);
    if (status != STATUS_DONE)
        goto out;
    int64_t mem = 0;
    const char *size = args_get(a, "mem");
    if (size && (!parse_size(str_of(size), &mem) || mem <= 0)) {
        status = usage_error(a->command, "--mem %s: a size such as 16GiB", size);
        goto out;
    }
    uint64_t room = mem ? (uint64_t)mem : budget_free();
    plan_fit(s.plan, room ? room : UINT64_MAX);
    if (args_has(a, "json")) {
        status = print_json(s.plan);
    } else {
        print_table(s.plan);
        print_sum(s.plan);
    }
    if (s.plan->n_uptodate == s.graph->n)
        session_remember(&s, a);
    if (status == STATUS_DONE && s.plan->n_run + s.plan->n_restore + s.plan->n_pending + s.plan->n_blocked > 0)
        status = STATUS_USAGE;
out:
    session_leave(&s);
    return status;
}

static const struct option_def options[] = {
    OPTIONS_SPEC,
    OPTIONS_ONLY,
    {.name = "force", .arg = "NODE", .help = "plan as if this node had to run in any case; repeatable"},
    {.name = "mem", .arg = "SIZE", .help = "memory that nodes may use together (default: what is free); which of them need a slower way to fit is in the last column"},
    {.name = "read", .help = "digest source files that the store does not know yet (can take long for big checkpoints)"},
    OPTIONS_JSON,
    OPTIONS_HELP,
    {0},
};

const struct command cmd_plan = {
    .name = "plan",
    .usage = "SPEC",
    .summary = "what a run would do and why, with estimates; status 2 when work is pending",
    .about = "States: up to date; to run; to restore ($PKGRAPH_REMOTE has it); pending (something upstream runs first, and may turn out to change nothing);\n"
             "blocked (a source is missing). Times come from earlier runs, else from the operators' estimates.",
    .example = "pkgraph plan specs/quickstart.yaml\npkgraph plan specs/quickstart.yaml --set svd-init.r=4 --json",
    .options = options,
    .min_pos = 1,
    .max_pos = 1,
    .run = run_plan,
};
