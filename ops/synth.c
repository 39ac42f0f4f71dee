/* SPDX-License-Identifier: MIT
 *
 * synth: rows that are computed, for the quickstart and for tests: little arithmetic problems with their carries
 * written out. Row i is a pure function of (seed, split, difficulty, i). Splits are disjoint for all seeds: a hash of
 * the problem says to which split it belongs, and a problem of another split is drawn again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/op.h"
#include "ops/lib/inputs.h"
#include "ops/lib/synth_rows.h"
#include "runtime/base/fs.h"

static const char *const splits[] = {"train", "seed", "test"};

static enum synth_split split_of(const struct op_args *a)
{
    int i = 0;
    while (i < SYNTH_TEST && strcmp(op_str(a, "split"), splits[i]) != 0)
        i++;
    return (enum synth_split)i;
}

static struct js *describe(const struct op_args *a)
{
    struct js *j = js_object();
    if (!j)
        return NULL;
    if (js_set(j, "rows", js_new_int(op_int(a, "rows"))) < 0 || js_set(j, "format", js_new_cstr("messages")) < 0 ||
        js_set(j, "template", js_new_cstr("open-instruct")) < 0 || js_set(j, "train_on", js_new_cstr("last")) < 0) {
        js_free(j);
        return NULL;
    }
    return j;
}

static int synth_infer(struct op_infer *x, struct err *e)
{
    struct js *desc = describe(op_infer_args(x));
    return desc ? op_set_output(x, "dataset", desc, e) : err_nomem(e, 0, "a descriptor");
}

static void synth_cost(const struct op_args *a, struct op_cost *c)
{
    *c = (struct op_cost){.flops = 1e3 * op_float(a, "rows"),
                          .bytes_written = 160 * op_float(a, "rows"),
                          .peak_memory = 1 << 21,
                          .max_threads = 1};
}

/* What is in b goes to the file, which is made when it is first needed. */
static int flush_rows(struct op_run *r, FILE **f, struct buf *b, struct err *e)
{
    const char *path = "data.jsonl";
    int rc = *f ? 0 : op_out_file(r, "dataset", "data.jsonl", &path, e);
    if (rc == 0 && !*f && !(*f = fopen(path, "wb")))
        rc = err_errno(e, "%s", path);
    if (rc == 0 && fwrite(b->p, 1, b->n, *f) != b->n)
        rc = err_errno(e, "data.jsonl: write");
    buf_clear(b);
    return rc;
}

static int write_rows(struct op_run *r, struct err *e)
{
    enum { MANY = 1 << 20 };
    const struct op_args *a = op_run_args(r);
    const struct progress *p = op_progress(r);
    struct buf b = {0};
    FILE *f = NULL;
    int rc = 0;
    uint64_t seed = (uint64_t)op_int(a, "seed"), n = (uint64_t)op_int(a, "rows");
    enum synth_split split = split_of(a);
    for (uint64_t i = 0; rc == 0 && i < n; i++) {
        struct synth_row row;
        synth_arithmetic(seed, split, (int)op_int(a, "difficulty"), i, &row);
        buf_printf(&b,
                   "{\"id\":\"%s-%" PRIu64 "-%" PRIu64
                   "\",\"messages\":[{\"content\":\"%s\",\"role\":\"user\"},{\"content\":\"%s\",\"role\":"
                   "\"assistant\"}]}\n",
                   splits[split], seed, i, row.user, row.assistant);
        if (b.failed)
            rc = err_nomem(e, b.n, "rows");
        if (rc == 0 && b.n > MANY) {
            rc = flush_rows(r, &f, &b, e);
            progress_update(p, (double)(i + 1), (double)n, "rows");
            if (rc == 0)
                rc = progress_poll(p, e);
        }
    }
    if (rc == 0)
        rc = f ? flush_rows(r, &f, &b, e) : op_out_bytes(r, "dataset", "data.jsonl", b.p, b.n, e);
    progress_update(p, (double)n, (double)n, "rows");
    if (f && fclose(f) != 0 && rc == 0)
        rc = err_errno(e, "data.jsonl: write");
    buf_release(&b);
    return rc;
}

static int synth_run(struct op_run *r, struct err *e)
{
    int rc = write_rows(r, e);
    struct js *facts = rc == 0 ? describe(op_run_args(r)) : NULL;
    if (rc == 0)
        rc = op_out_json(r, "dataset", "dataset.json", facts, e);
    js_free(facts);
    return rc;
}

static const struct port_def outputs[] = {
    {.name = "dataset", .type = "dataset", .help = "chat rows: a user turn and an assistant turn"},
    {0},
};

static const struct param_def params[] = {
    {.name = "task",
     .type = PARAM_ENUM,
     .fallback = "arithmetic",
     .choices = "arithmetic",
     .help = "what the rows are about"},
    {.name = "split",
     .type = PARAM_ENUM,
     .fallback = "train",
     .choices = "train|seed|test",
     .help = "no problem is in two splits, whatever the seeds"},
    {.name = "rows", .type = PARAM_INT, .fallback = "1000", .min = 1, .max = 1e9, .help = "how many rows"},
    {.name = "difficulty",
     .type = PARAM_INT,
     .fallback = "3",
     .min = 1,
     .max = 3,
     .help = "1: additions; 2: subtractions too; 3: multiplications too"},
    PARAM_SEED,
    {0},
};

const struct op op_synth = {
    .name = "synth",
    .version = 1,
    .summary = "Compute rows: arithmetic with written carries",
    .doc = "Made for the quickstart: small models learn it in minutes, a teacher can know a kind of problem that its "
           "student does not, and whether "
           "an answer is right can be checked exactly.",
    .outputs = outputs,
    .params = params,
    .infer = synth_infer,
    .cost = synth_cost,
    .run = synth_run,
};
