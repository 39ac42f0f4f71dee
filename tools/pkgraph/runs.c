/* SPDX-License-Identifier: MIT
 *
 * runs: the history that the store keeps of a spec: when it ran, and what each node cost.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/base/json.h"
#include "tools/pkgraph/session.h"
#include "tools/pkgraph/term.h"

struct run_sum {
    int64_t run, at;
    size_t ran, cached, failed, others;
    double wall, cpu;
};

static void add_row(struct run_sum *s, const struct history_row *r)
{
    s->run = r->run;
    s->at = r->at > s->at ? r->at : s->at;
    if (strcmp(r->status, "ran") == 0) {
        s->ran++;
        s->wall += r->wall;
        s->cpu += r->cpu;
    } else if (strcmp(r->status, "cached") == 0) {
        s->cached++;
    } else if (strcmp(r->status, "failed") == 0) {
        s->failed++;
    } else {
        s->others++;
    }
}

static struct run_sum *sums_of(const struct history_row *rows, size_t n, size_t *n_sums)
{
    struct run_sum *v = calloc(n + 1, sizeof *v);
    *n_sums = 0;
    for (size_t i = 0; v && i < n; i++) {
        size_t k = 0;
        while (k < *n_sums && v[k].run != rows[i].run)
            k++;
        *n_sums += k == *n_sums;
        add_row(&v[k], &rows[i]);
    }
    return v;
}

static struct run_sum *sum_of(struct run_sum *v, size_t n, int64_t run)
{
    for (size_t i = 0; i < n; i++)
        if (v[i].run == run)
            return &v[i];
    return NULL;
}

static struct js *run_json(const struct run_row *r, const struct run_sum *s)
{
    struct js *j = js_object();
    js_set(j, "run", js_new_int(r->run));
    js_set(j, "status", js_new_cstr(r->status));
    js_set(j, "command", js_new_cstr(r->command));
    js_set(j, "began", js_new_int(r->began));
    js_set(j, "ended", r->ended ? js_new_int(r->ended) : js_new_null());
    js_set(j, "ran", js_new_int((int64_t)s->ran));
    js_set(j, "up_to_date", js_new_int((int64_t)s->cached));
    js_set(j, "failed", js_new_int((int64_t)s->failed));
    js_set(j, "node_seconds", js_new_num(s->wall));
    return j;
}

static int print_list(struct js *list)
{
    struct buf b = {0};
    js_write_pretty(&b, list);
    buf_putc(&b, '\n');
    js_free(list);
    return print_buf(&b);
}

static int print_runs(const struct run_row *runs, size_t n_runs, const struct history_row *rows, size_t n, bool json)
{
    static const struct run_sum none;
    static const char *const head[] = {"run", "began", "status", "took", "ran", "up to date", "failed", "node time", "command"};
    size_t n_sums;
    struct run_sum *v = sums_of(rows, n, &n_sums);
    struct table t = {.cols = sizeof head / sizeof *head};
    struct js *list = json ? js_array() : NULL;
    for (size_t i = 0; i < t.cols; i++)
        table_cell(&t, "%s", head[i]);
    for (size_t i = 0; v && i < n_runs; i++) {
        const struct run_row *r = &runs[i];
        const struct run_sum *s = sum_of(v, n_sums, r->nodes);
        struct run_sum found = {.run = r->run, .cached = s ? s->ran + s->cached : 0}; /* it found them up to date */
        char when[TEXT_MAX], took[TEXT_MAX], wall[TEXT_MAX];
        s = !s ? &none : s->run == r->run ? s : &found;
        if (json) {
            js_push(list, run_json(r, s));
            continue;
        }
        table_cell(&t, "%lld", (long long)r->run);
        table_cell(&t, "%s", text_when(when, r->began));
        table_cell(&t, "%s", r->status);
        table_cell(&t, "%s", !r->ended ? "" : r->ended == r->began ? "< 1 s" : text_seconds(took, (double)(r->ended - r->began)));
        table_cell(&t, "%zu", s->ran);
        table_cell(&t, "%zu", s->cached);
        table_cell(&t, "%zu", s->failed);
        table_cell(&t, "%s", s->ran ? text_seconds(wall, s->wall) : "");
        table_cell(&t, "%s", r->command);
    }
    free(v);
    if (!json)
        table_print(&t, true, stdout);
    table_release(&t);
    return json ? print_list(list) : STATUS_DONE;
}

static struct js *rows_json(const struct history_row *rows, size_t n)
{
    struct js *list = js_array();
    for (size_t i = 0; i < n; i++) {
        struct js *j = js_object();
        char hex[DIGEST_HEX];
        digest_hex(&rows[i].key, hex);
        js_set(j, "run", js_new_int(rows[i].run));
        js_set(j, "node", js_new_cstr(rows[i].node));
        js_set(j, "status", js_new_cstr(rows[i].status));
        js_set(j, "at", js_new_int(rows[i].at));
        js_set(j, "key", js_new_cstr(hex));
        js_set(j, "wall", js_new_num(rows[i].wall));
        js_set(j, "cpu", js_new_num(rows[i].cpu));
        js_set(j, "memory", js_new_int((int64_t)rows[i].peak_memory));
        js_set(j, "bytes_read", js_new_int((int64_t)rows[i].bytes_read));
        js_set(j, "bytes_written", js_new_int((int64_t)rows[i].bytes_written));
        js_push(list, j);
    }
    return list;
}

static void print_rows(const struct history_row *rows, size_t n)
{
    struct table t = {.cols = 9};
    static const char *const head[] = {"run", "node", "status", "ended", "wall", "cpu", "memory", "read", "written"};
    for (size_t i = 0; i < t.cols; i++)
        table_cell(&t, "%s", head[i]);
    for (size_t i = 0; i < n; i++) {
        char x[TEXT_MAX];
        bool ran = rows[i].wall > 0;
        table_cell(&t, "%lld", (long long)rows[i].run);
        table_cell(&t, "%s", rows[i].node);
        table_cell(&t, "%s", rows[i].status);
        table_cell(&t, "%s", text_when(x, rows[i].at));
        table_cell(&t, "%s", ran ? text_seconds(x, rows[i].wall) : "");
        table_cell(&t, "%s", ran ? text_seconds(x, rows[i].cpu) : "");
        table_cell(&t, "%s", rows[i].peak_memory ? text_bytes(x, (double)rows[i].peak_memory) : "");
        table_cell(&t, "%s", rows[i].bytes_read ? text_bytes(x, (double)rows[i].bytes_read) : "");
        table_cell(&t, "%s", rows[i].bytes_written ? text_bytes(x, (double)rows[i].bytes_written) : "");
    }
    table_print(&t, true, stdout);
    table_release(&t);
}

static int run_runs(const struct args *a)
{
    struct err e = {0};
    struct store *store = NULL;
    struct history_row *rows = NULL;
    struct run_row *runs = NULL;
    size_t n = 0, n_runs = 0;
    const char *node = a->n_pos > 1 ? a->pos[1] : NULL;
    char *spec = fs_absolute(a->pos[0]);
    int status = STATUS_FAILED;
    if (!fs_is_dir(store_folder(a))) {
        say("no store at %s: nothing has run", store_folder(a));
        status = STATUS_DONE;
        goto out;
    }
    if (store_open(store_folder(a), &store, &e) != 0 || store_history(store, spec, node, 0, &rows, &n, &e) != 0 ||
        store_runs(store, spec, 0, &runs, &n_runs, &e) != 0) {
        say_err(&e);
        goto out;
    }
    status = STATUS_DONE;
    if (n == 0 && (node || n_runs == 0))
        say("%s%s%s has not run with the store %s", a->pos[0], node ? " " : "", node ? node : "", store_folder(a));
    else if ((node || args_has(a, "nodes")) && args_has(a, "json"))
        status = print_list(rows_json(rows, n));
    else if (node || args_has(a, "nodes"))
        print_rows(rows, n);
    else
        status = print_runs(runs, n_runs, rows, n, args_has(a, "json"));
out:
    store_history_free(rows, n);
    store_runs_free(runs, n_runs);
    if (store)
        store_close(store);
    free(spec);
    return status;
}

static const struct option_def options[] = {
    {.name = "nodes", .help = "a line for every node of every run"},
    OPTIONS_STORE,
    OPTIONS_JSON,
    OPTIONS_HELP,
    {0},
};

const struct command cmd_runs = {
    .name = "runs",
    .usage = "SPEC [NODE]",
    .summary = "the history of a spec: runs, or one node's times",
    .about = "Of each node: wall and processor time, the memory it took beyond what the process held when it began, the bytes of\n"
             "its inputs and source files, and of what it stored.",
    .example = "pkgraph runs specs/quickstart.yaml\npkgraph runs specs/quickstart.yaml teacher",
    .options = options,
    .min_pos = 1,
    .max_pos = 2,
    .run = run_runs,
};
