/* SPDX-License-Identifier: MIT
 *
 * toys: operators without any language model, and helpers that load a spec given as text, for the tests of the engine's
 * front half. Everything is static: each test program has its own.
 */
#ifndef PKG_TESTS_TOYS_H
#define PKG_TESTS_TOYS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/graph.h"
#include "engine/param.h"
#include "runtime/base/fs.h"

static int toy_infers;

static int toy_run(struct op_run *r, struct err *e)
{
    (void)r;
    (void)e;
    return 0;
}

/* number(value) -> number */
static int number_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    struct js *d = js_object();
    toy_infers++;
    if (op_int(a, "value") == 13) {
        js_free(d);
        op_blame_param(x, "value");
        return err_set(e, ERR_INPUT, "13 is not allowed");
    }
    js_set(d, "value", js_new_int(op_int(a, "value")));
    return op_set_output(x, "out", d, e);
}

static const struct port_def number_out[] = {{.name = "out", .type = "number", .help = "one number"}, {0}};
static const struct param_def number_params[] = {
    {.name = "value", .type = PARAM_INT, .fallback = "1", .min = -1000, .max = 100000, .help = "the number"},
    {.name = "scale", .type = PARAM_FLOAT, .fallback = "1e0", .help = "a factor"},
    {.name = "mode", .type = PARAM_ENUM, .fallback = "plain", .choices = "plain|fancy|odd", .help = "the kind"},
    {.name = "limit", .type = PARAM_INT, .unset = "all", .fallback = "all", .help = "at most"},
    {.name = "tags", .type = PARAM_STRINGS, .help = "labels"},
    {.name = "sizes", .type = PARAM_INTS, .fallback = "[1, 2]", .help = "sizes"},
    {.name = "memory", .type = PARAM_SIZE, .fallback = "1GiB", .help = "bytes", .flags = PARAM_NOKEY},
    {.name = "time", .type = PARAM_DURATION, .fallback = "2min", .help = "seconds"},
    {.name = "extra", .type = PARAM_MAP, .help = "anything"},
    {.name = "flag", .type = PARAM_BOOL, .fallback = "false", .help = "a switch"},
    {.name = "file", .type = PARAM_PATH, .help = "a file"},
    {.name = "num_train_epochs", .type = PARAM_INT, .fallback = "3", .help = "epochs"},
    {0},
};
static const struct op op_number = {.name = "number", .version = 1, .summary = "gives a number", .outputs = number_out,
                                    .params = number_params, .infer = number_infer, .run = toy_run};

/* text(text!) -> text, metrics */
static int text_infer(struct op_infer *x, struct err *e)
{
    toy_infers++;
    if (op_set_output(x, "out", js_object(), e))
        return e->code;
    return op_bool(op_infer_args(x), "measure") ? op_set_output(x, "metrics", js_object(), e) : 0;
}

static const struct port_def text_out[] = {{.name = "out", .type = "text", .help = "some text"},
                                           {.name = "metrics", .type = "metrics", .help = "with measure: its measures"}, {0}};
static const struct param_def text_params[] = {
    {.name = "text", .type = PARAM_STRING, .help = "what to say", .flags = PARAM_REQUIRED},
    {.name = "measure", .type = PARAM_BOOL, .fallback = "true", .help = "count letters"},
    {0},
};
static const struct op op_text = {.name = "text", .version = 1, .summary = "gives a text", .outputs = text_out, .params = text_params,
                                  .infer = text_infer, .run = toy_run};

/* join(first: number|text, rest: number... , note?: text) -> number or text, as first */
static int join_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    toy_infers++;
    const struct js *first = op_input(a, "first");
    int64_t sum = js_int(js_get(first, "value"), 0);
    for (size_t i = 0; i < op_input_count(a, "rest"); i++)
        sum += js_int(js_get(op_input_at(a, "rest", i), "value"), 0);
    if (sum > op_int(a, "most")) {
        op_blame_input(x, "rest");
        return err_set(e, ERR_INPUT, "the sum %lld is more than %lld", (long long)sum, (long long)op_int(a, "most"));
    }
    struct js *d = js_object();
    js_set(d, "value", js_new_int(sum));
    if (op_set_output_type(x, "out", js_cstr(js_get(first, "type"))))
        return err_set(e, ERR_INTERNAL, "type");
    return op_set_output(x, "out", d, e);
}

static const struct port_def join_in[] = {{.name = "first", .type = "number|text", .help = "the first"},
                                          {.name = "rest", .type = "number", .help = "the others", .flags = PORT_OPTIONAL | PORT_VARIADIC},
                                          {.name = "note", .type = "text", .help = "a remark", .flags = PORT_OPTIONAL}, {0}};
static const struct port_def join_out[] = {{.name = "out", .type = "number|text", .help = "all of it"}, {0}};
static const struct param_def join_params[] = {
    {.name = "most", .type = PARAM_INT, .fallback = "1_000_000", .help = "upper bound"},
    {.name = "r", .type = PARAM_INT, .fallback = "16", .min = 1, .max = 512, .help = "rank"},
    {0},
};
static const struct op op_join = {.name = "join", .version = 1, .summary = "joins", .inputs = join_in, .outputs = join_out,
                                  .params = join_params, .infer = join_infer, .run = toy_run};

/* table(of: metrics) -> text */
static int table_infer(struct op_infer *x, struct err *e)
{
    return op_set_output(x, "out", js_object(), e);
}

static const struct port_def table_in[] = {{.name = "of", .type = "metrics", .help = "what to tabulate"}, {0}};
static const struct port_def table_out[] = {{.name = "out", .type = "text", .help = "the table"}, {0}};
static const struct op op_table = {.name = "table", .version = 1, .summary = "tabulates", .inputs = table_in, .outputs = table_out,
                                   .infer = table_infer, .run = toy_run};

/* sink(in: number) -> nothing */
static int sink_infer(struct op_infer *x, struct err *e)
{
    (void)x;
    (void)e;
    return 0;
}
static const struct port_def sink_in[] = {{.name = "in", .type = "number", .help = "what to swallow"}, {0}};
static const struct op op_sink = {.name = "sink", .version = 1, .summary = "swallows", .inputs = sink_in, .infer = sink_infer, .run = toy_run};

static const struct op *const toys[] = {&op_number, &op_text, &op_join, &op_sink, &op_table, NULL};

/* ---- loading a spec from text ---- */

struct loaded {
    struct graph *g;
    struct diags *d;
    struct err e;
    int rc;
    struct buf text; /* diagnostics as printed */
};

static char toy_dir[64];

static inline void toy_write(const char *name, const char *text)
{
    struct err e;
    if (!toy_dir[0]) {
        strcpy(toy_dir, "/tmp/pkg-toys-XXXXXX");
        assert_non_null(mkdtemp(toy_dir));
    }
    char *path = fs_join(toy_dir, name);
    assert_int_equal(fs_write_atomic(path, text, strlen(text), &e), 0);
    free(path);
}

static int toy_cleanup(void **state)
{
    struct err e;
    (void)state;
    if (toy_dir[0])
        fs_remove_tree(toy_dir, &e);
    toy_dir[0] = 0;
    return 0;
}

static inline struct loaded toy_load_file(const char *name, struct graph_options o)
{
    struct loaded l = {.d = diags_new()};
    char *path = fs_join(toy_dir, name);
    o.ops = toys;
    l.rc = graph_load(path, &o, l.d, &l.g, &l.e);
    diags_print(l.d, false, &l.text);
    free(path);
    return l;
}

static inline struct loaded toy_load_with(const char *text, struct graph_options o)
{
    toy_write("spec.yaml", text);
    return toy_load_file("spec.yaml", o);
}

static inline struct loaded toy_load(const char *text)
{
    return toy_load_with(text, (struct graph_options){0});
}

static inline void toy_free(struct loaded *l)
{
    graph_free(l->g);
    diags_free(l->d);
    buf_release(&l->text);
}

/* Loads a spec that must be right. */
static inline struct loaded toy_good(const char *text)
{
    struct loaded l = toy_load(text);
    if (l.rc)
        print_error("%s%s\n", l.text.p ? l.text.p : "", l.e.msg);
    assert_int_equal(l.rc, 0);
    return l;
}

/* The ids of all nodes in order: "a b c". */
static inline const char *toy_ids(const struct loaded *l)
{
    static char z[4096];
    size_t at = 0;
    z[0] = 0;
    for (size_t i = 0; l->g && i < l->g->n && at < sizeof z - 256; i++)
        at += (size_t)snprintf(z + at, sizeof z - at, "%s%s", i ? " " : "", l->g->nodes[i].id);
    return z;
}

/* Loads a spec that must be wrong in the ways given: each a piece of the printed diagnostics; ends with NULL. */
static inline void toy_bad(const char *text, const char *const *pieces)
{
    struct loaded l = toy_load(text);
    assert_int_equal(l.rc, ERR_INPUT);
    assert_null(l.g);
    for (; *pieces; pieces++)
        if (!l.text.p || !strstr(l.text.p, *pieces)) {
            print_error("missing: %s\nin:\n%s", *pieces, l.text.p ? l.text.p : "(nothing)");
            fail();
        }
    toy_free(&l);
}
#define BAD(text, ...) toy_bad(text, (const char *const[]){__VA_ARGS__, NULL})

#define HEAD "pkgraph: 1\nnodes:\n"

#endif
