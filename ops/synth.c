/* SPDX-License-Identifier: MIT
 *
 * synth: chat rows of an arithmetic task from counter-based random numbers: row i of (seed, split, difficulty) is a pure
 * function, so sets of any size agree on their common rows. A hash of the problem (kind, a, b) decides its split, so
 * that train, seed and test rows never share a problem.
 */
#include <stdio.h>
#include <string.h>

#include "engine/op.h"
#include "ops/lib/inputs.h"
#include "runtime/base/fs.h"
#include "runtime/base/rng.h"

enum kind { ADD, SUB, MUL };

struct problem {
    enum kind kind;
    int a, b;
    const char *name, *thing;
};

static uint64_t pick(uint64_t u, uint64_t n)
{
    return ((u >> 32) * n) >> 32;
}

/* The split that owns a problem: 0 train, 1 seed, 2 test. */
static int owner(const struct problem *p)
{
    uint64_t h = rng_splitmix((uint64_t)p->kind * 10000 + (uint64_t)p->a * 100 + (uint64_t)p->b) % 16;
    return h <= 1 ? 2 : h == 2 ? 1 : 0;
}

static struct problem problem_at(uint64_t seed, uint64_t i, int kinds, int split)
{
    static const char *const names[] = {"Ann", "Bob", "Eve", "Ian", "Kim", "Leo", "Mia", "Sam"};
    static const char *const things[] = {"cups", "eggs", "figs", "hats", "keys", "nuts", "pens", "toys"};
    uint64_t base = rng_splitmix(rng_splitmix(seed) ^ i);
    struct problem p;
    for (uint64_t k = 0;; k++) {
        uint64_t u[5];
        for (uint64_t j = 0; j < 5; j++)
            u[j] = rng_splitmix(base + 8 * k + j);
        p.kind = (enum kind)pick(u[0], (uint64_t)kinds);
        p.a = 10 + (int)pick(u[1], 90);
        p.b = p.kind == MUL ? 2 + (int)pick(u[2], 4) : 10 + (int)pick(u[2], 90);
        if (p.kind == SUB && p.a < p.b) {
            int t = p.a;
            p.a = p.b;
            p.b = t;
        }
        p.name = names[pick(u[3], 8)];
        p.thing = things[pick(u[4], 8)];
        if (owner(&p) == split)
            return p;
    }
}

static void write_texts(const struct problem *p, char user[64], char assistant[64])
{
    static const char *const prompts[] = {"%s has %d %s and gets %d.", "%s has %d %s but lost %d.", "%s has %d %s in a bag x%d."};
    int a0 = p->a % 10, a1 = p->a / 10, b0 = p->b % 10, b1 = p->b / 10, c, u;
    const char *prompt = prompts[p->kind];
    snprintf(user, 64, prompt, p->name, p->a, p->thing, p->b);
    switch (p->kind) {
    case ADD:
        u = a0 + b0;
        c = u / 10;
        snprintf(assistant, 64, "%d+%d=%02d,%d+%d+%d=%02d #### %d", a0, b0, u, a1, b1, c, a1 + b1 + c, p->a + p->b);
        break;
    case SUB:
        c = a0 < b0;
        u = a0 + 10 * c - b0;
        snprintf(assistant, 64, "%02d-%d=%d,%d-%d-%d=%d #### %d", a0 + 10 * c, b0, u, a1, b1, c, a1 - b1 - c, p->a - p->b);
        break;
    case MUL:
        u = a0 * p->b;
        c = u / 10;
        snprintf(assistant, 64, "%d*%d=%02d,%d*%d+%d=%02d #### %d", a0, p->b, u, a1, p->b, c, a1 * p->b + c, p->a * p->b);
        break;
    }
}

static struct js *message(const char *role, const char *content)
{
    struct js *m = js_object();
    js_set(m, "role", js_new_cstr(role));
    js_set(m, "content", js_new_cstr(content));
    return m;
}

static int split_of(const struct op_args *a)
{
    const char *s = op_str(a, "split");
    return strcmp(s, "train") == 0 ? 0 : strcmp(s, "seed") == 0 ? 1 : 2;
}

static int append_row(struct buf *out, const struct op_args *a, int64_t i)
{
    char user[64], assistant[64], id[96];
    struct problem p = problem_at((uint64_t)op_int(a, "seed"), (uint64_t)i, (int)op_int(a, "difficulty"), split_of(a));
    write_texts(&p, user, assistant);
    snprintf(id, sizeof id, "%s-%lld-%lld", op_str(a, "split"), (long long)op_int(a, "seed"), (long long)i);
    struct js *row = js_object(), *messages = js_array();
    js_push(messages, message("user", user));
    js_push(messages, message("assistant", assistant));
    js_set(row, "id", js_new_cstr(id));
    int rc = js_set(row, "messages", messages);
    js_write(out, row);
    buf_putc(out, '\n');
    js_free(row);
    return rc;
}

static struct js *facts(const struct op_args *a)
{
    struct js *j = js_object();
    js_set(j, "rows", js_new_int(op_int(a, "rows")));
    js_set(j, "format", js_new_cstr("messages"));
    js_set(j, "template", js_new_cstr("open-instruct"));
    js_set(j, "train_on", js_new_cstr("last"));
    return j;
}

static int synth_infer(struct op_infer *x, struct err *e)
{
    return op_set_output(x, "dataset", facts(op_infer_args(x)), e);
}

static int synth_run(struct op_run *r, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    const char *rows, *json;
    struct buf b = {0};
    int64_t n = op_int(a, "rows");
    int rc = op_out_file(r, "dataset", "data.jsonl", &rows, e);
    if (rc == 0)
        rc = op_out_file(r, "dataset", "dataset.json", &json, e);
    for (int64_t i = 0; rc == 0 && i < n; i++) {
        if (append_row(&b, a, i) < 0 || b.failed)
            rc = err_nomem(e, b.n, "rows");
        else if (i % 4096 == 0 && (rc = progress_poll(op_progress(r), e)) == 0)
            progress_update(op_progress(r), (double)i, (double)n, "rows");
    }
    if (rc == 0)
        rc = fs_write_atomic(rows, b.p, b.n, e);
    buf_release(&b);
    struct js *j = facts(a);
    if (rc == 0)
        rc = js_save(json, j, e);
    js_free(j);
    return rc;
}

static void synth_cost(const struct op_args *a, struct op_cost *c)
{
    double n = (double)op_int(a, "rows");
    *c = (struct op_cost){.flops = 3000 * n, .bytes_written = 160 * n, .peak_memory = (uint64_t)(400 * n) + (1 << 20), .max_threads = 1};
}

static const struct port_def outputs[] = {
    {.name = "dataset", .type = "dataset", .help = "chat rows: a user turn and an assistant turn"},
    {0},
};

static const struct param_def params[] = {
    {.name = "task", .type = PARAM_ENUM, .fallback = "arithmetic", .choices = "arithmetic", .help = "what the rows are about"},
    {.name = "split", .type = PARAM_ENUM, .fallback = "train", .choices = "train|seed|test", .help = "the three never share a problem, whatever the seeds and sizes"},
    {.name = "rows", .type = PARAM_INT, .min = 1, .max = 100000000, .flags = PARAM_REQUIRED, .help = "how many"},
    {.name = "difficulty", .type = PARAM_INT, .fallback = "3", .min = 1, .max = 3, .help = "1: addition; 2: and subtraction; 3: and multiplication"},
    PARAM_SEED,
    {0},
};

const struct op op_synth = {
    .name = "synth",
    .version = 1,
    .summary = "Write rows of a deterministic arithmetic task",
    .doc = "Word problems with a worked answer and a final number after ####, for models small enough to train in a minute. Every prompt has the same "
           "length; columns are worked digit by digit.",
    .outputs = outputs,
    .params = params,
    .infer = synth_infer,
    .cost = synth_cost,
    .run = synth_run,
};
