/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/ui.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/buf.h"
#include "runtime/base/json.h"
#include "tools/pkgraph/running.h"
#include "tools/pkgraph/term.h"

static const double plain_after = 1.0, plain_every = 5.0; /* seconds, when there is no terminal; rarer in long nodes */

struct shown {
    bool running, waiting, started;
    double since, last_line, done, total, end;
    double base, base_at; /* where the rate is counted from: work taken up again begins in the middle */
    double memory;
    bool progressed;
    char unit[16];
    char whom[128]; /* waiting: for whom */
};

struct ui {
    const struct plan *plan;
    bool quiet, tty;
    struct shown *nodes;
    size_t finished, to_do, name_width;
    struct running lines;
    struct buf frame; /* what the event writes, on the screen at once */
    struct sigaction before;
    double cpu;
    FILE *events, *trace;
    bool trace_any;
};

/* Stopped and taken up again, the shell has written below the lines: they stay, and new ones are drawn. */
static volatile sig_atomic_t continued;

static void on_continue(int signal)
{
    (void)signal;
    continued = 1;
}

static int open_file(const char *path, FILE **out, struct err *e)
{
    *out = NULL;
    if (path && !(*out = fopen(path, "w")))
        return err_errno(e, "%s", path);
    return 0;
}

int ui_new(const struct plan *p, bool quiet, const char *events, const char *trace, struct ui **out, struct err *e)
{
    struct ui *u = calloc(1, sizeof *u);
    *out = NULL;
    if (!u || !(u->nodes = calloc(p->graph->n + 1, sizeof *u->nodes))) {
        free(u);
        return err_nomem(e, p->graph->n * sizeof *u->nodes, "the display");
    }
    int rc = open_file(events, &u->events, e);
    if (!rc)
        rc = open_file(trace, &u->trace, e);
    if (rc) {
        if (u->events)
            fclose(u->events);
        free(u->nodes);
        free(u);
        return rc;
    }
    u->plan = p;
    u->quiet = quiet;
    u->tty = term_is_tty(stderr);
    u->lines = (struct running){.utf8 = term_utf8(), .colour = term_colour(stderr)};
    u->to_do = p->n_run + p->n_pending + p->n_restore;
    for (size_t i = 0; i < p->graph->n; i++) {
        size_t w = strlen(p->graph->nodes[i].id);
        u->lines.name_width = w > u->lines.name_width ? w : u->lines.name_width;
    }
    u->name_width = u->lines.name_width > 32 ? 32 : u->lines.name_width;
    if (u->tty)
        sigaction(SIGCONT, &(struct sigaction){.sa_handler = on_continue, .sa_flags = SA_RESTART}, &u->before);
    if (u->trace)
        fputs("[", u->trace);
    *out = u;
    return 0;
}

/* ---- the running lines ---- */

static double share_of(const struct shown *s)
{
    double x = s->total > 0 ? s->done / s->total : 0;
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

/* Units a second since it began, or was taken up again; 0: too early to say. */
static double rate_of(const struct shown *s, double now)
{
    double passed = now - s->base_at, made = s->done - s->base;
    return made > 0 && passed >= 0.5 ? made / passed : 0;
}

static double left_of(const struct shown *s, double rate)
{
    return rate > 0 && s->total > s->done ? (s->total - s->done) / rate : 0;
}

static void clear_lines(struct ui *u)
{
    if (continued)
        u->lines.n_drawn = 0;
    continued = 0;
    u->lines.width = term_width(stderr);
    u->lines.height = term_height(stderr);
    running_clear(&u->lines, &u->frame);
}

static void draw_lines(struct ui *u, double now)
{
    size_t room = running_room(&u->lines), running = 0;
    for (size_t i = 0; i < u->plan->graph->n; i++) {
        const struct shown *s = &u->nodes[i];
        if (!s->running || running++ >= room)
            continue;
        double rate = rate_of(s, now);
        struct running_line l = {.name = u->plan->graph->nodes[i].id, .waits_for = s->waiting ? s->whom : NULL, .share = s->total > 0 ? share_of(s) : -1,
                                 .seconds = now - s->since, .rate = rate, .left = left_of(s, rate), .unit = s->unit, .memory = s->memory};
        running_draw(&u->lines, &l, &u->frame);
    }
    if (running && u->to_do > 1)
        running_total(&u->lines, u->finished, u->to_do, running > room ? running - room : 0, &u->frame);
}

/* ---- one line for good ---- */

static void line_for(struct ui *u, enum colour c, const char *word, size_t node, const char *rest)
{
    buf_printf(&u->frame, "%s%-8s%s %-*s %s\n", colour_on(u->lines.colour, c), word, colour_off(u->lines.colour), (int)u->name_width,
               u->plan->graph->nodes[node].id, rest);
}

static void say_done(struct ui *u, const struct sched_event *ev)
{
    char x[TEXT_MAX], y[TEXT_MAX];
    struct buf b = {0};
    u->finished++;
    u->cpu += ev->cpu;
    buf_printf(&b, "%s", text_seconds(x, ev->wall));
    if (ev->peak_memory && ev->wall >= 1)
        buf_printf(&b, ", %s", text_bytes(y, (double)ev->peak_memory));
    if (!b.failed)
        line_for(u, COLOUR_GREEN, "done", ev->node, b.p);
    buf_release(&b);
}

static void say_progress(struct ui *u, const struct sched_event *ev)
{
    struct shown *s = &u->nodes[ev->node];
    if (u->tty || ev->now - s->since < plain_after || ev->now - s->last_line < plain_every + (ev->now - s->since) / 10)
        return;
    s->last_line = ev->now;
    struct buf b = {0};
    double rate = rate_of(s, ev->now);
    if (s->total > 0)
        buf_printf(&b, "%3.0f%%  ", floor(100 * share_of(s)));
    struct running_line l = {.rate = rate, .left = left_of(s, rate), .unit = s->unit, .memory = s->memory};
    running_facts(&l, &b);
    if (!b.failed && b.n)
        line_for(u, COLOUR_NONE, "...", ev->node, b.p);
    buf_release(&b);
}

static void start(struct ui *u, const struct sched_event *ev)
{
    struct shown *s = &u->nodes[ev->node];
    *s = (struct shown){.running = true, .started = true, .since = ev->now, .last_line = ev->now, .base_at = ev->now};
    char rest[128], x[TEXT_MAX];
    double about = u->plan->nodes[ev->node].seconds;
    if (about >= 1)
        snprintf(rest, sizeof rest, "%s, about %s", u->plan->graph->nodes[ev->node].op->name, text_seconds(x, about));
    else
        snprintf(rest, sizeof rest, "%s", u->plan->graph->nodes[ev->node].op->name);
    if (!u->tty)
        line_for(u, COLOUR_NONE, "start", ev->node, rest);
}

/* The same work told in another measure (steps beside tokens). */
static bool other_measure(const struct shown *s, const struct sched_event *ev)
{
    return strcmp(s->unit, ev->unit ? ev->unit : "") != 0 && ev->total > 0 && fabs(ev->done / ev->total - share_of(s)) < 0.1;
}

static void progress(struct ui *u, const struct sched_event *ev)
{
    struct shown *s = &u->nodes[ev->node];
    bool first = !s->progressed || strcmp(s->unit, ev->unit ? ev->unit : "") != 0;
    s->waiting = false;
    if (s->progressed && other_measure(s, ev))
        return;
    if (first && ((ev->total > 0 && ev->done > 0.02 * ev->total) || s->progressed)) {
        s->base = ev->done;
        s->base_at = ev->now;
    }
    s->progressed = true;
    s->memory = (double)ev->peak_memory;
    s->done = ev->done;
    s->total = ev->total;
    snprintf(s->unit, sizeof s->unit, "%s", ev->unit ? ev->unit : "");
    say_progress(u, ev);
}

static void show(struct ui *u, const struct sched_event *ev)
{
    struct shown *s = &u->nodes[ev->node];
    switch (ev->kind) {
    case EVENT_START:
        start(u, ev);
        break;
    case EVENT_PROGRESS:
        progress(u, ev);
        break;
    case EVENT_WARNING:
        line_for(u, COLOUR_YELLOW, "warning", ev->node, ev->text ? ev->text : "");
        break;
    case EVENT_WAITING:
        if (!u->tty)
            line_for(u, COLOUR_NONE, "waits", ev->node, ev->text ? ev->text : "for another process");
        s->waiting = s->running = true;
        snprintf(s->whom, sizeof s->whom, "%s", ev->text ? ev->text : "another process");
        break;
    case EVENT_DONE:
        s->running = false;
        say_done(u, ev);
        break;
    case EVENT_UPTODATE: /* told only when the plan did not know it */
        u->finished += s->running || u->plan->nodes[ev->node].reason;
        if (s->running || u->plan->nodes[ev->node].reason)
            line_for(u, COLOUR_GREEN, "same", ev->node, "up to date after all");
        s->running = false;
        break;
    case EVENT_FAILED:
        s->running = false;
        line_for(u, COLOUR_RED, "failed", ev->node, ev->text ? ev->text : "");
        break;
    case EVENT_SKIPPED:
        s->running = false;
        line_for(u, COLOUR_YELLOW, "skipped", ev->node, ev->text ? ev->text : "");
        break;
    case EVENT_TICK:
        break;
    }
}

/* ---- files ---- */

static const char *const kind_names[] = {
    [EVENT_START] = "start",   [EVENT_PROGRESS] = "progress",   [EVENT_WARNING] = "warning",
    [EVENT_DONE] = "done",     [EVENT_UPTODATE] = "up-to-date", [EVENT_FAILED] = "failed",
    [EVENT_SKIPPED] = "skipped", [EVENT_WAITING] = "waiting",   [EVENT_TICK] = "tick",
};

static struct js *number(double v)
{
    return v == floor(v) && fabs(v) < 1e15 ? js_new_int((int64_t)v) : js_new_num(v);
}

static void write_event(struct ui *u, const struct sched_event *ev)
{
    struct js *j = js_object();
    struct buf b = {0};
    js_set(j, "time", js_new_num(ev->now));
    js_set(j, "event", js_new_cstr(kind_names[ev->kind]));
    js_set(j, "node", js_new_cstr(u->plan->graph->nodes[ev->node].id));
    js_set(j, "op", js_new_cstr(u->plan->graph->nodes[ev->node].op->name));
    if (ev->kind == EVENT_PROGRESS) {
        js_set(j, "done", number(ev->done));
        js_set(j, "total", number(ev->total));
        js_set(j, "unit", js_new_cstr(ev->unit ? ev->unit : ""));
    }
    if (ev->text)
        js_set(j, "text", js_new_cstr(ev->text));
    if (ev->kind == EVENT_DONE) {
        js_set(j, "wall", js_new_num(ev->wall));
        js_set(j, "cpu", js_new_num(ev->cpu));
        js_set(j, "peak_memory", js_new_int((int64_t)ev->peak_memory));
        js_set(j, "bytes_read", js_new_int((int64_t)ev->bytes_read));
        js_set(j, "bytes_written", js_new_int((int64_t)ev->bytes_written));
    }
    if (ev->threads)
        js_set(j, "threads", js_new_int(ev->threads));
    js_write(&b, j);
    if (!b.failed)
        fprintf(u->events, "%s\n", b.p);
    fflush(u->events);
    buf_release(&b);
    js_free(j);
}

/* Chrome's trace format: a bar a node, in the first lane that is free at its start. */
static void write_trace(struct ui *u, const struct sched_event *ev)
{
    struct shown *s = &u->nodes[ev->node];
    if ((ev->kind != EVENT_DONE && ev->kind != EVENT_FAILED) || !s->started)
        return;
    size_t lane = 0;
    s->end = ev->now;
    for (size_t i = 0; i < ev->node; i++)
        lane += u->nodes[i].started && (u->nodes[i].running || u->nodes[i].end > s->since) && u->nodes[i].since < ev->now;
    struct buf b = {0};
    js_write_str(&b, str_of(u->plan->graph->nodes[ev->node].id));
    if (!b.failed)
        fprintf(u->trace, "%s\n{\"name\":%s,\"cat\":\"%s\",\"ph\":\"X\",\"ts\":%.0f,\"dur\":%.0f,\"pid\":1,\"tid\":%zu",
                u->trace_any ? "," : "", b.p, u->plan->graph->nodes[ev->node].op->name, s->since * 1e6,
                (ev->now - s->since) * 1e6, lane + 1);
    if (!b.failed && ev->kind == EVENT_DONE)
        fprintf(u->trace, ",\"args\":{\"cpu\":%.6f,\"threads\":%d,\"peak_memory\":%llu,\"bytes_read\":%llu,\"bytes_written\":%llu}", ev->cpu,
                ev->threads, (unsigned long long)ev->peak_memory, (unsigned long long)ev->bytes_read, (unsigned long long)ev->bytes_written);
    else if (!b.failed)
        fputs(",\"args\":{\"failed\":true}", u->trace);
    if (!b.failed)
        fputc('}', u->trace);
    u->trace_any = true;
    buf_release(&b);
}

static void put_frame(struct ui *u)
{
    if (u->frame.n && !u->frame.failed)
        fwrite(u->frame.p, 1, u->frame.n, stderr);
    buf_clear(&u->frame);
}

void ui_event(void *ui, const struct sched_event *ev)
{
    struct ui *u = ui;
    if (u->events && ev->kind != EVENT_TICK)
        write_event(u, ev);
    if (u->trace)
        write_trace(u, ev);
    bool redraw = u->tty && ev->kind != EVENT_PROGRESS;
    if (u->quiet && ev->kind != EVENT_WARNING && ev->kind != EVENT_FAILED)
        return;
    if (redraw)
        clear_lines(u);
    if (ev->kind != EVENT_TICK)
        show(u, ev);
    if (redraw)
        draw_lines(u, ev->now);
    put_frame(u);
}

double ui_cpu_seconds(const struct ui *u)
{
    return u->cpu;
}

static int close_file(FILE *f, const char *what, struct err *e)
{
    if (!f)
        return 0;
    int bad = ferror(f);
    return fclose(f) || bad ? err_set(e, ERR_IO, "the file of %s could not be written", what) : 0;
}

int ui_finish(struct ui *u, struct err *e)
{
    if (!u)
        return 0;
    if (u->tty) {
        clear_lines(u);
        put_frame(u);
        sigaction(SIGCONT, &u->before, NULL);
    }
    if (u->trace)
        fputs("\n]\n", u->trace);
    int rc = close_file(u->events, "--events", e);
    int rc2 = close_file(u->trace, "--trace", e);
    buf_release(&u->frame);
    free(u->nodes);
    free(u);
    return rc ? rc : rc2;
}
