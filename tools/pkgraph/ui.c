/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/ui.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/buf.h"
#include "runtime/base/json.h"
#include "tools/pkgraph/term.h"

enum { LINES_MAX = 16 };
static const double plain_after = 1.0, plain_every = 5.0; /* seconds, when there is no terminal; rarer in long nodes */

struct shown {
    bool running, waiting, started;
    double since, last_line, done, total, end;
    double base, base_at; /* where the rate is counted from: work taken up again begins in the middle */
    bool progressed;
    char unit[16];
    char whom[128]; /* waiting: for whom */
};

struct ui {
    const struct plan *plan;
    bool quiet, tty, utf8, colour;
    struct shown *nodes;
    size_t finished, name_width;
    size_t drawn[LINES_MAX], n_drawn; /* widths of the lines on the screen */
    double cpu;
    FILE *events, *trace;
    bool trace_any;
};

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
    u->utf8 = term_utf8();
    u->colour = term_colour(stderr);
    for (size_t i = 0; i < p->graph->n; i++) {
        size_t w = strlen(p->graph->nodes[i].id);
        u->name_width = w > u->name_width ? w : u->name_width;
    }
    u->name_width = u->name_width > 32 ? 32 : u->name_width;
    if (u->trace)
        fputs("[", u->trace);
    *out = u;
    return 0;
}

/* ---- the running lines ---- */

/* The terminal may have become narrower since: a line then fills several rows. */
static void clear_lines(struct ui *u)
{
    size_t width = term_width(stderr), rows = 0;
    for (size_t i = 0; i < u->n_drawn; i++)
        rows += u->drawn[i] ? (u->drawn[i] - 1) / width + 1 : 1;
    if (rows)
        fprintf(stderr, "\033[%zuA\r\033[J", rows);
    u->n_drawn = 0;
}

static void put_bar(struct buf *b, const struct ui *u, double share, size_t cells)
{
    static const char *const eighths[] = {"", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a", "\u2589"};
    size_t full = (size_t)(share * (double)cells), used = full;
    size_t rest = (size_t)(share * (double)cells * 8) - 8 * full;
    if (!u->utf8)
        buf_putc(b, '[');
    for (size_t i = 0; i < full; i++)
        buf_puts(b, u->utf8 ? "\u2588" : "=");
    if (u->utf8 && full < cells && rest) {
        buf_puts(b, eighths[rest]);
        used++;
    }
    for (size_t i = used; i < cells; i++)
        buf_putc(b, ' ');
    if (!u->utf8)
        buf_putc(b, ']');
}

/* "12.3k tokens/s, 40 s left" */
static void put_rate(struct buf *b, const struct shown *s, double now)
{
    char x[TEXT_MAX];
    double passed = now - s->base_at, made = s->done - s->base;
    if (made <= 0 || passed < 0.5)
        return;
    double rate = made / passed;
    if (strcmp(s->unit, "bytes") == 0)
        buf_printf(b, "%s/s", text_bytes(x, rate));
    else
        buf_printf(b, "%s %s/s", text_count(x, rate), s->unit);
    if (s->total > s->done)
        buf_printf(b, ", %s left", text_seconds(x, (s->total - s->done) / rate));
}

static double share_of(const struct shown *s)
{
    double x = s->total > 0 ? s->done / s->total : 0;
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static void put_line(struct buf *b, const struct ui *u, size_t i, double now)
{
    const struct shown *s = &u->nodes[i];
    const char *id = u->plan->graph->nodes[i].id;
    char x[TEXT_MAX];
    buf_printf(b, "  %-*.*s ", (int)u->name_width, (int)u->name_width, id);
    if (s->waiting) {
        buf_printf(b, "waits for %s", s->whom);
        return;
    }
    if (s->total > 0) {
        put_bar(b, u, share_of(s), 20);
        buf_printf(b, " %3.0f%%  ", floor(100 * share_of(s)));
        put_rate(b, s, now);
    } else {
        buf_printf(b, "%s", text_seconds(x, now - s->since));
    }
}

/* The first `width` characters. */
static size_t cut_at(const char *z, size_t n, size_t width)
{
    size_t w = 0, i = 0;
    for (; i < n; i++)
        if (((unsigned char)z[i] & 0xc0) != 0x80 && ++w > width)
            break;
    return i;
}

static void draw_lines(struct ui *u, double now)
{
    size_t width = term_width(stderr), room = width > 1 ? width - 1 : 1;
    struct buf b = {0};
    for (size_t i = 0; i < u->plan->graph->n && u->n_drawn < LINES_MAX; i++) {
        if (!u->nodes[i].running)
            continue;
        buf_clear(&b);
        put_line(&b, u, i, now);
        if (b.failed)
            break;
        size_t n = cut_at(b.p, b.n, room);
        fprintf(stderr, "%.*s\n", (int)n, b.p);
        u->drawn[u->n_drawn++] = text_width(b.p, n);
    }
    buf_release(&b);
}

/* ---- one line for good ---- */

static void line_for(struct ui *u, enum colour c, const char *word, size_t node, const char *rest)
{
    fprintf(stderr, "%s%-8s%s %-*s %s\n", colour_on(u->colour, c), word, colour_off(u->colour), (int)u->name_width,
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
    if (s->total > 0)
        buf_printf(&b, "%3.0f%%  ", floor(100 * share_of(s)));
    put_rate(&b, s, ev->now);
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
    if (redraw)
        fflush(stderr);
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
    if (u->tty)
        clear_lines(u);
    if (u->trace)
        fputs("\n]\n", u->trace);
    int rc = close_file(u->events, "--events", e);
    int rc2 = close_file(u->trace, "--trace", e);
    free(u->nodes);
    free(u);
    return rc ? rc : rc2;
}
