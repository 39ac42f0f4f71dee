/* SPDX-License-Identifier: MIT
 *
 * run: carries the plan out, shows it, and ends with what ran, where the results are, and one table of all metrics.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/param.h"
#include "engine/sched.h"
#include "runtime/base/json.h"
#include "tools/pkgraph/metrics.h"
#include "tools/pkgraph/session.h"
#include "tools/pkgraph/term.h"
#include "tools/pkgraph/threads.h"
#include "tools/pkgraph/ui.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int budget(const struct args *a, struct sched_options *o)
{
    long jobs = 0, cpus = 0;
    int64_t mem = 0;
    const char *size = args_get(a, "mem");
    if (args_int(a, "jobs", 1, 4096, &jobs) < 0 || args_int(a, "cpus", 1, 4096, &cpus) < 0)
        return STATUS_USAGE;
    if (size && (!parse_size(str_of(size), &mem) || mem <= 0))
        return usage_error(a->command, "--mem %s: a size such as 16GiB", size);
    double limit = 0;
    const char *time_limit = args_get(a, "timeout");
    if (time_limit && (!parse_duration(str_of(time_limit), &limit) || limit <= 0))
        return usage_error(a->command, "--timeout %s: a time such as 30min or 2h", time_limit);
    o->timeout = limit;
    o->jobs = (int)jobs;
    o->cpus = (int)cpus;
    o->mem = (uint64_t)mem;
    o->keep_going = args_has(a, "keep-going");
    return STATUS_DONE;
}

static void print_hint(const char *dir, const char *spec, const char *node)
{
    fprintf(stderr, "results are in %s; for instance: pkgraph show %s %s\n", dir, spec, node);
}

static void print_results(const struct plan *p, const char *spec)
{
    int i = graph_result(p->graph);
    if (i >= 0 && plan_artifact(p, (size_t)i, 0))
        print_hint(store_dir(p->store), spec, p->graph->nodes[i].id);
}

static void print_nothing_to_do(size_t nodes, double seconds)
{
    char x[TEXT_MAX];
    fprintf(stderr, "everything is up to date: %zu node%s, %s\n", nodes, nodes == 1 ? "" : "s", text_seconds(x, seconds));
}

static void print_summary(const struct plan *p, const struct sched_result *r, double seconds)
{
    char x[TEXT_MAX];
    fprintf(stderr, "\n");
    if (r->ran + r->failed + r->skipped == 0 && !r->cancelled)
        print_nothing_to_do(p->graph->n, seconds);
    else
        fprintf(stderr, "ran %zu, up to date %zu, failed %zu, skipped %zu, in %s\n", r->ran, r->uptodate, r->failed,
                r->skipped, text_seconds(x, seconds));
}

static int print_json(const struct plan *p, const struct sched_result *r, double seconds)
{
    struct js *j = js_object();
    struct buf b = {0};
    js_set(j, "ran", js_new_int((int64_t)r->ran));
    js_set(j, "up_to_date", js_new_int((int64_t)r->uptodate));
    js_set(j, "failed", js_new_int((int64_t)r->failed));
    js_set(j, "skipped", js_new_int((int64_t)r->skipped));
    js_set(j, "seconds", js_new_num(seconds));
    js_set(j, "metrics", metrics_json(p));
    js_write_pretty(&b, j);
    buf_putc(&b, '\n');
    js_free(j);
    return print_buf(&b);
}

static int carry_out(const struct args *a, struct session *s, struct sched_options *o, double began)
{
    struct sched_result r = {0};
    struct ui *ui = NULL;
    struct err e = {0}, e2 = {0};
    bool quiet = args_has(a, "quiet");
    if (ui_new(s->plan, quiet, args_get(a, "events"), args_get(a, "trace"), &ui, &e) != 0) {
        say_err(&e);
        return STATUS_USAGE;
    }
    o->event = ui_event;
    o->u = ui;
    int rc = sched_run(s->plan, o, &r, &e);
    int rc2 = ui_finish(ui, &e2);
    if (!quiet)
        print_summary(s->plan, &r, now() - began);
    if (args_has(a, "json")) {
        print_json(s->plan, &r, now() - began);
    } else {
        if (!quiet && rc == 0)
            print_results(s->plan, a->pos[0]);
        fflush(stderr);
        metrics_print(s->plan, stdout);
    }
    if (r.cancelled || rc == ERR_CANCELLED) {
        say("interrupted; what is done is kept, and the same command goes on from here");
        return STATUS_INTERRUPTED;
    }
    if (rc)
        say_err(&e);
    if (rc2)
        say_err(&e2);
    return rc || rc2 ? STATUS_FAILED : STATUS_DONE;
}

/* A memo says that all is as the last run left it: a line in the history, and the same words as ever. */
static int run_nothing(const struct args *a, const struct session *s, double began)
{
    const struct memo *m = s->memo;
    struct err ignored;
    int64_t run = 0;
    if (store_run_begin(s->store, m->file, "run", &run, &ignored) == 0)
        store_run_end(s->store, run, "done", &ignored);
    if (!args_has(a, "quiet")) {
        fprintf(stderr, "\n");
        print_nothing_to_do(m->n, now() - began);
        if (*m->result)
            print_hint(store_dir(s->store), a->pos[0], m->result);
        fflush(stderr);
    }
    size_t head = strcspn(m->text, "\n");
    bool bold = head && term_colour(stdout);
    printf("%s%.*s%s%s", colour_on(bold, COLOUR_BOLD), (int)head, m->text, colour_off(bold), m->text + head);
    return STATUS_DONE;
}

/* Whether the words of a null run are all that is asked for, and what a run marks as used was marked a short time ago. */
static bool memo_suffices(const struct args *a, const struct session *s)
{
    return s->memo && !args_has(a, "json") && !args_has(a, "events") && !args_has(a, "trace") &&
           store_seen(s->store, s->memo->file, &s->memo->keys);
}

static int run_run(const struct args *a)
{
    double began = now();
    static struct session s;
    struct sched_options o = {0};
    int status = budget(a, &o);
    if (status == STATUS_DONE)
        status = session_open(&s, a, SESSION_STORE | SESSION_PLAN | SESSION_READ | SESSION_MEMO);
    if (status == STATUS_DONE && memo_suffices(a, &s)) {
        status = run_nothing(a, &s, began);
        session_leave(&s);
        return status;
    }
    if (status == STATUS_DONE && s.memo) {
        session_close(&s);
        status = session_open(&s, a, SESSION_STORE | SESSION_PLAN | SESSION_READ);
    }
    if (status == STATUS_DONE && (s.plan->n_run || s.plan->n_pending) && !getenv("GOMP_SPINCOUNT")) {
        session_close(&s);
        threads_block_soon();
        status = session_open(&s, a, SESSION_STORE | SESSION_PLAN | SESSION_READ);
    }
    if (status == STATUS_DONE)
        status = carry_out(a, &s, &o, began);
    if (status == STATUS_DONE)
        session_remember(&s, a);
    session_leave(&s);
    return status;
}

static const struct option_def options[] = {
    OPTIONS_SPEC,
    OPTIONS_ONLY,
    {.name = "force", .arg = "NODE", .help = "run this node even if it is up to date; repeatable"},
    {.name = "jobs", .letter = 'j', .arg = "N", .help = "nodes at once (default: what the budget allows)"},
    {.name = "cpus", .arg = "N", .help = "processors to use (default: all that this process may use)"},
    {.name = "mem", .arg = "SIZE", .help = "memory to use, such as 16GiB (default: what is free)"},
    {.name = "keep-going", .help = "after a failure, still run what does not depend on it"},
    {.name = "timeout", .arg = "TIME", .help = "a node that runs longer than this fails, such as 30min (default: no limit)"},
    {.name = "events", .arg = "FILE", .help = "write every event as a line of JSON"},
    {.name = "trace", .arg = "FILE", .help = "write the timeline for chrome://tracing or ui.perfetto.dev"},
    {.name = "quiet", .letter = 'q', .help = "no progress and no summary: warnings, errors and the table alone"},
    {.name = "json", .help = "print the outcome and all metrics as JSON"},
    OPTIONS_HELP,
    {0},
};

const struct command cmd_run = {
    .name = "run",
    .usage = "SPEC",
    .summary = "run what is not up to date; ends with a table of all metrics",
    .about = "Nodes whose operator, parameters and input contents are unchanged are taken from the store. Ctrl-C stops at\n"
             "the next safe point; training leaves a checkpoint, and the same command goes on from it.",
    .example = "pkgraph run specs/quickstart.yaml\n"
               "pkgraph run specs/quickstart.yaml --set r=4 --only svd-exact\n"
               "pkgraph run specs/quickstart.yaml -j 1 --events events.jsonl",
    .options = options,
    .min_pos = 1,
    .max_pos = 1,
    .run = run_run,
};
