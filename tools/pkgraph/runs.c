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

static void print_sums(const struct history_row *rows, size_t n, bool json)
{
    size_t n_sums;
    struct run_sum *v = sums_of(rows, n, &n_sums);
    struct table t = {.cols = 6};
    struct js *list = js_array();
    static const char *const head[] = {"run", "last node ended", "ran", "up to date", "failed", "node time"};
    for (size_t i = 0; i < 6; i++)
        table_cell(&t, "%s", head[i]);
    for (size_t i = 0; v && i < n_sums; i++) {
        char x[TEXT_MAX], y[TEXT_MAX];
        table_cell(&t, "%lld", (long long)v[i].run);
        table_cell(&t, "%s", text_when(x, v[i].at));
        table_cell(&t, "%zu", v[i].ran);
        table_cell(&t, "%zu", v[i].cached);
        table_cell(&t, "%zu", v[i].failed);
        table_cell(&t, "%s", text_seconds(y, v[i].wall));
        struct js *j = js_object();
        js_set(j, "run", js_new_int(v[i].run));
        js_set(j, "at", js_new_int(v[i].at));
        js_set(j, "ran", js_new_int((int64_t)v[i].ran));
        js_set(j, "up_to_date", js_new_int((int64_t)v[i].cached));
        js_set(j, "failed", js_new_int((int64_t)v[i].failed));
        js_set(j, "node_seconds", js_new_num(v[i].wall));
        js_push(list, j);
    }
    if (json) {
        struct buf b = {0};
        js_write_pretty(&b, list);
        buf_putc(&b, '\n');
        print_buf(&b);
    } else {
        table_print(&t, true, stdout);
    }
    js_free(list);
    table_release(&t);
    free(v);
}

static void print_rows(const struct history_row *rows, size_t n)
{
    struct table t = {.cols = 7};
    static const char *const head[] = {"run", "node", "status", "ended", "wall", "cpu", "memory"};
    for (size_t i = 0; i < 7; i++)
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
    }
    table_print(&t, true, stdout);
    table_release(&t);
}

static int run_runs(const struct args *a)
{
    struct err e = {0};
    struct store *store = NULL;
    struct history_row *rows = NULL;
    size_t n = 0;
    const char *node = a->n_pos > 1 ? a->pos[1] : NULL;
    char *spec = fs_absolute(a->pos[0]);
    int status = STATUS_FAILED;
    if (!fs_is_dir(store_folder(a))) {
        say("no store at %s: nothing has run", store_folder(a));
        status = STATUS_DONE;
        goto out;
    }
    if (store_open(store_folder(a), &store, &e) != 0 || store_history(store, spec, node, 100000, &rows, &n, &e) != 0) {
        say_err(&e);
        goto out;
    }
    status = STATUS_DONE;
    if (n == 0)
        say("%s%s%s has not run with the store %s", a->pos[0], node ? " " : "", node ? node : "", store_folder(a));
    else if (node || args_has(a, "nodes"))
        print_rows(rows, n);
    else
        print_sums(rows, n, args_has(a, "json"));
out:
    store_history_free(rows, n);
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
    .example = "pkgraph runs specs/quickstart.yaml\npkgraph runs specs/quickstart.yaml teacher",
    .options = options,
    .min_pos = 1,
    .max_pos = 2,
    .run = run_runs,
};
