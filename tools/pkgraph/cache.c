/* SPDX-License-Identifier: MIT
 *
 * cache: what is in the store, what it weighs, keeping it small and sound. Works beside running processes.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/param.h"
#include "runtime/base/fs.h"
#include "runtime/store/gc.h"
#include "runtime/store/transfer.h"
#include "tools/pkgraph/session.h"
#include "tools/pkgraph/term.h"

static int failed(const struct err *e)
{
    say_err(e);
    return e->code == ERR_INPUT || e->code == ERR_NOTFOUND ? STATUS_USAGE : STATUS_FAILED;
}

static int du(struct store *s, const struct args *a)
{
    struct store_usage u;
    struct err e = {0};
    char x[TEXT_MAX];
    if (store_du(s, &u, &e) != 0)
        return failed(&e);
    if (args_has(a, "json")) {
        printf("{\"records\":%zu,\"blobs\":%zu,\"blob_bytes\":%llu,\"unnamed_bytes\":%llu,\"checkpoints\":%zu,\"checkpoint_bytes\":%llu,"
               "\"index_bytes\":%llu}\n",
               u.records, u.blobs, (unsigned long long)u.blob_bytes, (unsigned long long)u.unnamed_bytes, u.checkpoints,
               (unsigned long long)u.checkpoint_bytes, (unsigned long long)u.index_bytes);
        return STATUS_DONE;
    }
    printf("%-12s %s\n", "store", store_dir(s));
    printf("%-12s %zu\n", "records", u.records);
    printf("%-12s %s in %zu files\n", "blobs", text_bytes(x, (double)u.blob_bytes), u.blobs);
    if (u.unnamed_bytes)
        printf("%-12s %s that no record names (`cache gc` removes them)\n", "", text_bytes(x, (double)u.unnamed_bytes));
    if (u.checkpoints)
        printf("%-12s %s in %zu\n", "checkpoints", text_bytes(x, (double)u.checkpoint_bytes), u.checkpoints);
    printf("%-12s %s\n", "index", text_bytes(x, (double)u.index_bytes));
    return STATUS_DONE;
}

static struct js *record_json(const struct record_row *r)
{
    struct js *j = js_object();
    char hex[DIGEST_HEX];
    digest_hex(&r->key, hex);
    js_set(j, "key", js_new_cstr(hex));
    js_set(j, "op", js_new_cstr(r->op));
    js_set(j, "types", js_new_cstr(r->types));
    js_set(j, "bytes", js_new_int((int64_t)r->bytes));
    js_set(j, "made", js_new_int(r->made));
    js_set(j, "used", js_new_int(r->used));
    js_set(j, "wall", js_new_num(r->wall));
    js_set(j, "pinned", js_new_bool(r->pinned));
    return j;
}

static const char *const record_head[] = {"key", "op", "gave", "size", "took", "last used", "pinned"};
enum { RECORD_COLS = sizeof record_head / sizeof *record_head };

static void record_header(struct table *t)
{
    for (size_t i = 0; i < RECORD_COLS; i++)
        table_cell(t, "%s", record_head[i]);
}

static void record_line(struct table *t, const struct record_row *r)
{
    char hex[DIGEST_HEX], x[TEXT_MAX];
    digest_hex(&r->key, hex);
    table_cell(t, "%.12s", hex);
    table_cell(t, "%s", r->op);
    table_cell(t, "%s", r->types);
    table_cell(t, "%s", text_bytes(x, (double)r->bytes));
    table_cell(t, "%s", text_seconds(x, r->wall));
    table_cell(t, "%s", text_when(x, r->used));
    table_cell(t, "%s", r->pinned ? "pinned" : "");
}

static int print_list(struct js *list)
{
    struct buf b = {0};
    js_write_pretty(&b, list);
    buf_putc(&b, '\n');
    js_free(list);
    return print_buf(&b);
}

static int ls(struct store *s, const struct args *a)
{
    struct record_row *rows = NULL;
    size_t n = 0;
    struct err e = {0};
    struct table t = {.cols = RECORD_COLS};
    if (store_ls(s, &rows, &n, &e) != 0)
        return failed(&e);
    bool json = args_has(a, "json");
    struct js *list = json ? js_array() : NULL;
    record_header(&t);
    for (size_t i = 0; i < n; i++)
        if (json)
            js_push(list, record_json(&rows[i]));
        else
            record_line(&t, &rows[i]);
    if (!json)
        table_print(&t, true, stdout);
    table_release(&t);
    store_ls_free(rows, n);
    return json ? print_list(list) : STATUS_DONE;
}

/* What goes, for a dry run (a table) or --json (a list). */
struct going {
    struct table table;
    struct js *list;
};

static void note_gone(void *u, const struct record_row *r)
{
    struct going *g = u;
    if (g->list)
        js_push(g->list, record_json(r));
    else
        record_line(&g->table, r);
}

static int print_gc_json(const struct gc_result *r, struct js *list)
{
    struct js *j = js_object();
    js_set(j, "records", js_new_int((int64_t)r->records));
    js_set(j, "files", js_new_int((int64_t)r->blobs));
    js_set(j, "checkpoints", js_new_int((int64_t)r->checkpoints));
    js_set(j, "bytes", js_new_int((int64_t)r->bytes));
    js_set(j, "kept_records", js_new_int((int64_t)r->kept_records));
    js_set(j, "kept_bytes", js_new_int((int64_t)r->kept_bytes));
    js_set(j, "protected_records", js_new_int((int64_t)r->protected_records));
    js_set(j, "removed", list);
    return print_list(j);
}

static int gc_options(const struct args *a, struct gc_options *o)
{
    int64_t v = 0;
    long runs = 0;
    const char *size = args_get(a, "max-size"), *age = args_get(a, "max-age");
    if (args_int(a, "keep-runs", 1, 1000000, &runs) < 0)
        return STATUS_USAGE;
    if (size && (!parse_size(str_of(size), &v) || v <= 0))
        return usage_error(a->command, "--max-size %s: a size such as 50GiB", size);
    struct str days = str_of(age);
    double seconds = 0, scale = 1;
    if (age && str_ends(days, "d")) { /* durations of specs end at hours */
        days.n--;
        scale = 86400;
    }
    if (age && ((scale > 1 ? !parse_float(days, &seconds) : !parse_duration(days, &seconds)) || seconds <= 0))
        return usage_error(a->command, "--max-age %s: a time such as 30d or 12h", age);
    o->keep_runs = (int)runs;
    o->max_size = (uint64_t)v;
    o->max_age = (int64_t)(seconds * scale);
    return STATUS_DONE;
}

static int gc(struct store *s, const struct args *a)
{
    bool json = args_has(a, "json"), dry = args_has(a, "dry-run");
    struct going g = {.table = {.cols = RECORD_COLS}, .list = json ? js_array() : NULL};
    struct gc_options o = {.dry_run = dry, .gone = json || dry ? note_gone : NULL, .u = &g};
    struct gc_result r;
    struct err e = {0};
    char x[TEXT_MAX], y[TEXT_MAX];
    int status = gc_options(a, &o);
    record_header(&g.table);
    if (status == STATUS_DONE && store_gc(s, &o, NULL, &r, &e) != 0)
        status = failed(&e);
    if (status != STATUS_DONE || json) {
        table_release(&g.table);
        if (status == STATUS_DONE)
            return print_gc_json(&r, g.list);
        js_free(g.list);
        return status;
    }
    if (dry && r.records)
        table_print(&g.table, true, stdout);
    table_release(&g.table);
    printf("%s %zu record%s, %zu file%s and %zu checkpoint%s: %s; %zu records and %s stay\n", o.dry_run ? "would remove" : "removed",
           r.records, r.records == 1 ? "" : "s", r.blobs, r.blobs == 1 ? "" : "s", r.checkpoints, r.checkpoints == 1 ? "" : "s",
           text_bytes(x, (double)r.bytes), r.kept_records, text_bytes(y, (double)r.kept_bytes));
    if (r.protected_records)
        printf("%zu of them beyond the limits: pinned, in use, or of the runs to be kept\n", r.protected_records);
    return STATUS_DONE;
}

static void damaged(void *u, const char *name, const char *what)
{
    (void)u;
    say_error("%.12s: %s", name, what);
}

static int verify(struct store *s, const struct args *a)
{
    struct verify_result r;
    struct err e = {0};
    char x[TEXT_MAX];
    bool dry = args_has(a, "dry-run");
    if (store_verify(s, dry, damaged, NULL, NULL, &r, &e) != 0)
        return failed(&e);
    if (r.index_damaged) {
        say("the next command sets the index aside and begins a new one: results are computed again, stored files are used");
        return STATUS_FAILED;
    }
    printf("%zu files, %s: %zu damaged; %zu record%s %s\n", r.blobs, text_bytes(x, (double)r.bytes), r.damaged, r.dropped,
           r.dropped == 1 ? "" : "s", dry ? "would be dropped" : "dropped");
    return r.damaged || r.dropped ? STATUS_FAILED : STATUS_DONE;
}

static int pins(struct store *s)
{
    struct pin_row *rows = NULL;
    size_t n = 0;
    struct err e = {0};
    if (store_pins(s, &rows, &n, &e) != 0)
        return failed(&e);
    for (size_t i = 0; i < n;) {
        size_t k = i;
        char x[TEXT_MAX];
        while (k < n && strcmp(rows[k].name, rows[i].name) == 0)
            k++;
        printf("%s: %zu record%s, since %s\n", rows[i].name, k - i, k - i == 1 ? "" : "s", text_when(x, rows[i].at));
        i = k;
    }
    store_pins_free(rows, n);
    return STATUS_DONE;
}

/* Holds all that the spec has in the store now. */
static int pin(const struct args *a)
{
    struct args spec = *a;
    struct session s = {0};
    struct err e = {0};
    size_t n = 0;
    spec.pos += 2;
    spec.n_pos = 1;
    int status = session_open(&s, &spec, SESSION_STORE | SESSION_PLAN | SESSION_READ);
    struct digest *keys = status == STATUS_DONE ? calloc(s.graph->n + 1, sizeof *keys) : NULL;
    for (size_t i = 0; keys && i < s.graph->n; i++)
        if (s.plan->nodes[i].record)
            keys[n++] = s.plan->nodes[i].record->key;
    if (keys && n == 0) {
        say_error("nothing of %s is in the store yet", a->pos[2]);
        status = STATUS_FAILED;
    } else if (keys) {
        status = store_pin(s.store, a->pos[1], keys, n, &e) == 0 ? STATUS_DONE : failed(&e);
        if (status == STATUS_DONE)
            printf("%s holds %zu records\n", a->pos[1], n);
    }
    free(keys);
    session_close(&s);
    return status;
}

static int unpin(struct store *s, const char *name)
{
    struct err e = {0};
    size_t removed = 0;
    if (store_unpin(s, name, &removed, &e) != 0)
        return failed(&e);
    printf("%s: %zu record%s released\n", name, removed, removed == 1 ? "" : "s");
    return STATUS_DONE;
}

/* ---- the remote cache ---- */

static int open_remote(const struct args *a, struct remote **r)
{
    struct err e = {0};
    if (remote_from_env(r, &e) != 0)
        return failed(&e);
    return *r ? STATUS_DONE : usage_error(a->command, "no remote cache: set $PKGRAPH_REMOTE to its address, such as https://cache.example.org/pkgraph");
}

static void print_moved(const char *did, const struct transfer_result *m)
{
    char x[TEXT_MAX];
    printf("%s %zu record%s with %zu file%s, %s\n", did, m->records, m->records == 1 ? "" : "s", m->files, m->files == 1 ? "" : "s",
           text_bytes(x, (double)m->bytes));
}

static int push(struct store *s, const struct args *a)
{
    struct remote *r = NULL;
    struct record_row *rows = NULL;
    struct transfer_result m = {0};
    struct err e = {0};
    size_t n = 0;
    int status = open_remote(a, &r);
    if (status != STATUS_DONE)
        return status;
    int rc = store_ls(s, &rows, &n, &e);
    struct digest *keys = rc == 0 ? calloc(n + 1, sizeof *keys) : NULL;
    for (size_t i = 0; keys && i < n; i++)
        keys[i] = rows[i].key;
    if (rc == 0)
        rc = keys ? transfer_push_all(s, r, keys, n, &m, &e) : err_nomem(&e, n, "a list");
    print_moved("sent", &m);
    free(keys);
    store_ls_free(rows, n);
    remote_free(r);
    return rc == 0 ? STATUS_DONE : failed(&e);
}

/* Of a spec: what can be fetched now shows the keys of what depends on it, so it goes by rounds. */
static int pull(const struct args *a)
{
    struct args spec = *a;
    struct session s = {0};
    struct remote *r = NULL;
    struct transfer_result sum = {0}, m = {.records = 1};
    struct err e = {0};
    int status = open_remote(a, &r), rc = 0;
    spec.pos++;
    spec.n_pos = 1;
    if (status == STATUS_DONE)
        status = session_open(&s, &spec, SESSION_STORE | SESSION_PLAN | SESSION_READ);
    struct digest *keys = status == STATUS_DONE ? calloc(s.graph->n + 1, sizeof *keys) : NULL;
    while (keys && status == STATUS_DONE && rc == 0 && m.records) {
        size_t n = 0;
        for (size_t i = 0; i < s.graph->n; i++)
            if (s.plan->nodes[i].keyed && s.plan->nodes[i].state == NODE_RUN)
                keys[n++] = s.plan->nodes[i].key;
        rc = transfer_pull_all(s.store, r, keys, n, &m, &e);
        sum.records += m.records;
        sum.files += m.files;
        sum.bytes += m.bytes;
        if (rc == 0 && m.records)
            status = session_plan(&s, &spec, true);
    }
    if (keys) {
        print_moved("fetched", &sum);
        printf("%zu of %zu nodes are up to date\n", s.plan ? s.plan->n_uptodate : 0, s.graph->n);
    }
    free(keys);
    session_close(&s);
    remote_free(r);
    return rc == 0 ? status : failed(&e);
}

static int with_store(const struct args *a, const char *what)
{
    struct store *s = NULL;
    struct err e = {0};
    if (!fs_is_dir(store_folder(a))) {
        say_error("no store at %s", store_folder(a));
        return STATUS_USAGE;
    }
    if (store_open(store_folder(a), &s, &e) != 0)
        return failed(&e);
    if (store_warning(s))
        say("warning: %s", store_warning(s));
    int status = strcmp(what, "du") == 0       ? du(s, a)
                 : strcmp(what, "ls") == 0     ? ls(s, a)
                 : strcmp(what, "gc") == 0     ? gc(s, a)
                 : strcmp(what, "verify") == 0 ? verify(s, a)
                 : strcmp(what, "pins") == 0   ? pins(s)
                 : strcmp(what, "push") == 0   ? push(s, a)
                                               : unpin(s, a->pos[1]);
    store_close(s);
    return status;
}

static int run_cache(const struct args *a)
{
    static const struct {
        const char *name;
        size_t n_pos;
    } verbs[] = {{"du", 1}, {"ls", 1}, {"gc", 1}, {"verify", 1}, {"pins", 1}, {"pin", 3}, {"unpin", 2}, {"push", 1}, {"pull", 2}};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(a->pos[0], verbs[i].name) != 0)
            continue;
        if (a->n_pos != verbs[i].n_pos)
            return usage_error(a->command, "`cache %s` takes %zu argument%s", verbs[i].name, verbs[i].n_pos - 1, verbs[i].n_pos == 2 ? "" : "s");
        return strcmp(a->pos[0], "pin") == 0 ? pin(a) : strcmp(a->pos[0], "pull") == 0 ? pull(a) : with_store(a, a->pos[0]);
    }
    return usage_error(a->command, "cache %s: it is one of du, ls, gc, verify, pins, pin, unpin, push, pull", a->pos[0]);
}

static const struct option_def options[] = {
    {.name = "max-size", .arg = "SIZE", .help = "gc: remove what was used longest ago until this much is left, such as 50GiB"},
    {.name = "max-age", .arg = "TIME", .help = "gc: remove what was not used for this long, such as 30d or 12h"},
    {.name = "keep-runs", .arg = "N", .help = "gc: what the last N runs of each specification used stays; without another limit, all else goes"},
    {.name = "dry-run", .help = "gc, verify: only say what would go"},
    OPTIONS_JSON,
    OPTIONS_SPEC,
    OPTIONS_HELP,
    {0},
};

const struct command cmd_cache = {
    .name = "cache",
    .usage = "du|ls|gc|verify|pins|pin NAME SPEC|unpin NAME|push|pull SPEC",
    .summary = "the store: its size, its records, removing what is old, checking every byte",
    .about = "gc without limits removes files that no record names. What a pin holds and what a running process uses stays.\n"
             "With --dry-run it lists the records that would go. What is gone is computed again when it is asked for.\n"
             "verify reads and digests every file, removes damaged ones (they are computed again when needed), status 1 if any.\n"
             "push and pull use the server at $PKGRAPH_REMOTE, which runs ask, too, before a node runs: push sends every record that\n"
             "it lacks, pull fetches what it has of a specification.",
    .example = "pkgraph cache du\n"
               "pkgraph cache gc --max-size 50GiB --dry-run\n"
               "pkgraph cache gc --keep-runs 3\n"
               "pkgraph cache pin paper specs/llama13b_to_7b.yaml",
    .options = options,
    .min_pos = 1,
    .max_pos = 3,
    .pos_choices = "du|ls|gc|verify|pins|pin|unpin|push|pull",
    .run = run_cache,
};
