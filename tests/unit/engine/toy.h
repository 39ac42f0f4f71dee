/* SPDX-License-Identifier: MIT
 *
 * toy: operators without a language model and graphs built by hand, for the tests of key, plan and sched. Every toy
 * counts its runs, so that a test can say what ran.
 */
#ifndef PKG_TEST_TOY_H
#define PKG_TEST_TOY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/key.h"
#include "engine/op_private.h"
#include "engine/plan.h"
#include "engine/sched.h"
#include "runtime/base/arena.h"
#include "runtime/base/fs.h"

#if defined(__SANITIZE_THREAD__)
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "ignore_noninstrumented_modules=1"; } /* libgomp's own locks */
#endif

#pragma GCC diagnostic ignored "-Wunused-function" /* each test uses a part */

static _Atomic int toy_runs, toy_now, toy_most;

static void toy_sleep(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

static void toy_enter(void)
{
    atomic_fetch_add(&toy_runs, 1);
    int now = atomic_fetch_add(&toy_now, 1) + 1, most = atomic_load(&toy_most);
    while (now > most && !atomic_compare_exchange_weak(&toy_most, &most, now))
        ;
}

static int toy_write(struct op_run *r, const char *name, const void *p, size_t n, struct err *e)
{
    const char *path;
    int rc = op_out_file(r, "out", name, &path, e);
    FILE *f = rc == 0 ? fopen(path, "wb") : NULL;
    if (rc == 0 && !f)
        rc = err_errno(e, "%s", path);
    if (f) {
        if (fwrite(p, 1, n, f) != n || fflush(f) != 0)
            rc = err_errno(e, "%s", path);
        fclose(f);
    }
    return rc;
}

static int toy_infer(struct op_infer *x, struct err *e)
{
    return op_set_output(x, "out", js_object(), e);
}

/* text: writes its parameter, after `sleep` seconds in small steps with progress. */
static int text_run(struct op_run *r, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    double left = op_float(a, "sleep");
    int rc = 0;
    toy_enter();
    for (double t = 0; rc == 0 && t < left; t += 0.01) {
        toy_sleep(0.01);
        progress_update(op_progress(r), t, left, "steps");
        rc = progress_poll(op_progress(r), e);
    }
    if (rc == 0 && op_str(a, "fail"))
        rc = err_set(e, ERR_INPUT, "%s", op_str(a, "fail"));
    if (rc == 0 && op_is_given(a, "text") && strcmp(op_str(a, "text"), "warn") == 0)
        progress_warn(op_progress(r), "a warning");
    if (rc == 0)
        rc = toy_write(r, "text", op_str(a, "text"), strlen(op_str(a, "text")), e);
    atomic_fetch_sub(&toy_now, 1);
    return rc;
}

static void text_cost(const struct op_args *a, struct op_cost *c)
{
    c->peak_memory = (uint64_t)op_int(a, "memory");
    c->max_threads = (int)op_int(a, "threads");
}

static const struct param_def text_params[] = {
    {.name = "text", .type = PARAM_STRING},
    {.name = "sleep", .type = PARAM_FLOAT, .flags = PARAM_NOKEY},
    {.name = "fail", .type = PARAM_STRING, .flags = PARAM_NOKEY},
    {.name = "memory", .type = PARAM_INT, .flags = PARAM_NOKEY},
    {.name = "threads", .type = PARAM_INT, .flags = PARAM_NOKEY},
    {.name = "limit", .type = PARAM_INT, .unset = "all"},
    {0},
};
static const struct port_def toy_out[] = {{.name = "out", .type = "text"}, {0}};
static const struct op toy_text = {.name = "text", .version = 1, .outputs = toy_out, .params = text_params, .infer = toy_infer,
                                   .cost = text_cost, .run = text_run};

/* join: a, b and all of more, with `glue` between; `keep` bytes of it when given. */
static int join_read(struct op_run *r, const char *port, size_t i, const char *glue, struct buf *b, struct err *e)
{
    const char *path;
    int rc = op_in_file(r, port, i, "text", &path, e);
    if (rc == 0 && b->n)
        buf_puts(b, glue);
    return rc == 0 ? fs_read(path, 1 << 20, b, e) : rc;
}

static int join_run(struct op_run *r, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    struct buf b = {0};
    toy_enter();
    int rc = join_read(r, "a", 0, "", &b, e);
    if (rc == 0 && join_read(r, "b", 0, op_str(a, "glue"), &b, e) != 0 && e->code != ERR_NOTFOUND)
        rc = e->code;
    for (size_t i = 0; rc == 0 && i < op_input_count(a, "more"); i++)
        rc = join_read(r, "more", i, op_str(a, "glue"), &b, e);
    size_t n = op_is_set(a, "keep") && (size_t)op_int(a, "keep") < b.n ? (size_t)op_int(a, "keep") : b.n;
    if (rc == 0)
        rc = op_out_fact(r, "out", "bytes", js_new_int((int64_t)n), e);
    if (rc == 0)
        rc = toy_write(r, "text", b.p ? b.p : "", n, e);
    buf_release(&b);
    atomic_fetch_sub(&toy_now, 1);
    return rc;
}

static const struct port_def join_in[] = {
    {.name = "a", .type = "text"}, {.name = "b", .type = "text", .flags = PORT_OPTIONAL},
    {.name = "more", .type = "text", .flags = PORT_OPTIONAL | PORT_VARIADIC}, {0},
};
static const struct param_def join_params[] = {{.name = "glue", .type = PARAM_STRING}, {.name = "keep", .type = PARAM_INT}, {0}};
static const struct op toy_join = {.name = "join", .version = 1, .inputs = join_in, .outputs = toy_out, .params = join_params,
                                   .infer = toy_infer, .run = join_run};

/* file: the bytes of the user's file; with `edit` it changes that file while it runs. */
static int file_sources(const struct op_args *a, struct op_sources *s, struct err *e)
{
    (void)e;
    return op_source(s, "data", op_str(a, "path"));
}

static int file_run(struct op_run *r, struct err *e)
{
    const char *path;
    char hex[DIGEST_HEX];
    struct buf b = {0};
    toy_enter();
    int rc = op_source_file(r, "data", &path, hex, e);
    if (rc == 0)
        rc = fs_read(path, 1 << 20, &b, e);
    if (rc == 0 && op_bool(op_run_args(r), "edit"))
        rc = fs_write_atomic(path, "edited", 6, e);
    if (rc == 0)
        rc = toy_write(r, "text", b.p ? b.p : "", b.n, e);
    buf_release(&b);
    atomic_fetch_sub(&toy_now, 1);
    return rc;
}

static const struct param_def file_params[] = {
    {.name = "path", .type = PARAM_PATH}, {.name = "edit", .type = PARAM_BOOL, .flags = PARAM_NOKEY}, {0}};
static const struct op toy_file = {.name = "file", .version = 1, .outputs = toy_out, .params = file_params, .sources = file_sources,
                                   .infer = toy_infer, .run = file_run};

/* ---- graphs by hand ---- */

struct toy {
    struct graph g;
    struct arena arena;
};

static struct node *toy_add(struct toy *t, const char *id, const struct op *op)
{
    if (t->g.n % 16 == 0) {
        t->g.nodes = realloc(t->g.nodes, (t->g.n + 16) * sizeof *t->g.nodes);
        assert_non_null(t->g.nodes);
    }
    t->g.file = "/toy/spec.yaml";
    struct node *n = &t->g.nodes[t->g.n++];
    size_t params = op_param_count(op);
    *n = (struct node){.id = arena_str(&t->arena, str_of(id)), .op = op, .n_out = 1};
    n->base = n->id;
    n->values = arena_array(&t->arena, params + 1, sizeof *n->values);
    n->edges = arena_array(&t->arena, 64, sizeof *n->edges);
    n->out = arena_array(&t->arena, 1, sizeof *n->out);
    n->out[0] = js_object();
    js_set(n->out[0], "type", js_new_cstr("text"));
    n->args = (struct op_args){.op = op, .values = n->values, .spec_dir = "/toy"};
    return n;
}

static struct param_value *toy_value(struct node *n, const char *param)
{
    int i = op_param_index(n->op, param);
    assert_true(i >= 0);
    n->values[i].set = n->values[i].given = true;
    return &n->values[i];
}

static void toy_str(struct toy *t, struct node *n, const char *param, const char *v)
{
    toy_value(n, param)->s = arena_str(&t->arena, str_of(v));
}

static void toy_int(struct node *n, const char *param, int64_t v)
{
    toy_value(n, param)->i = v;
}

static void toy_num(struct node *n, const char *param, double v)
{
    toy_value(n, param)->f = v;
}

static struct node *toy_text_node(struct toy *t, const char *id, const char *text)
{
    struct node *n = toy_add(t, id, &toy_text);
    toy_str(t, n, "text", text);
    return n;
}

/* Call after all nodes are there (they move); from: node id. */
static void toy_edge(struct toy *t, const char *to, const char *port, const char *from)
{
    struct node *n = NULL;
    int src = -1;
    for (size_t i = 0; i < t->g.n; i++) {
        if (strcmp(t->g.nodes[i].id, to) == 0)
            n = &t->g.nodes[i];
        if (strcmp(t->g.nodes[i].id, from) == 0)
            src = (int)i;
    }
    assert_true(n && src >= 0 && src < n - t->g.nodes && n->n_edges < 64);
    n->edges[n->n_edges++] = (struct edge){.port = port_index(n->op->inputs, port), .from = src};
}

/* What E1's loader does after expansion: op_args.in, for op_input_count. */
struct toy_in { int port; const struct js *desc; };
static void toy_finish(struct toy *t)
{
    for (size_t i = 0; i < t->g.n; i++) {
        struct node *n = &t->g.nodes[i];
        struct toy_in *in = arena_array(&t->arena, n->n_edges + 1, sizeof *in);
        for (size_t k = 0; k < n->n_edges; k++)
            in[k] = (struct toy_in){n->edges[k].port, t->g.nodes[n->edges[k].from].out[0]};
        n->args.n_in = n->n_edges;
        memcpy(&n->args.in, &in, sizeof in);
    }
}

static void toy_free(struct toy *t)
{
    for (size_t i = 0; i < t->g.n; i++)
        js_free(t->g.nodes[i].out[0]);
    free(t->g.nodes);
    arena_release(&t->arena);
    *t = (struct toy){0};
}

/* ---- running ---- */

static char *toy_dir(void)
{
    char *z = strdup("/tmp/pkgtest-XXXXXX");
    assert_non_null(mkdtemp(z));
    return z;
}

static void toy_rmdir(char *dir)
{
    struct err e;
    fs_remove_tree(dir, &e);
    free(dir);
}

static struct store *toy_store(const char *dir)
{
    struct err e = {0};
    struct store *s = NULL;
    char *path = fs_join(dir, "store");
    if (store_open(path, &s, &e) != 0)
        fail_msg("%s", e.msg);
    free(path);
    return s;
}

static struct plan *toy_plan(struct toy *t, struct store *s)
{
    struct err e = {0};
    struct plan *p = NULL;
    toy_finish(t);
    if (plan_make(&t->g, s, true, NULL, 0, NULL, &p, &e) != 0)
        fail_msg("%s", e.msg);
    return p;
}

/* Plans and runs; returns the number of operator runs, or a negative error. Text of the last node's output to `out`. */
static int toy_run_with(struct toy *t, struct store *s, const struct sched_options *o, struct sched_result *res, struct buf *out,
                        struct err *e)
{
    struct plan *p = toy_plan(t, s);
    int before = atomic_load(&toy_runs);
    int rc = sched_run(p, o, res, e);
    const struct artifact *a = rc == 0 ? plan_output(p, t->g.n - 1, 0) : NULL;
    if (rc == 0) {
        char *path = NULL;
        assert_non_null(a);
        assert_int_equal(store_blob_path(s, &a->files[0].digest, &path, e), 0);
        if (out) {
            buf_clear(out);
            assert_int_equal(fs_read(path, 1 << 24, out, e), 0);
        }
        free(path);
    }
    plan_free(p);
    return rc < 0 ? rc : atomic_load(&toy_runs) - before;
}

static int toy_run(struct toy *t, struct store *s, struct buf *out)
{
    struct sched_options o = {.cpus = 2, .mem = (uint64_t)1 << 30};
    struct sched_result res;
    struct err e = {0};
    int n = toy_run_with(t, s, &o, &res, out, &e);
    if (n < 0)
        fail_msg("%s", e.msg);
    return n;
}

#endif
