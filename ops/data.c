/* SPDX-License-Identifier: MIT
 *
 * data: rows of the user's file become a dataset artifact. Text stays as it is in the source; tokens are made by the steps
 * that need them, because they depend on the model's tokenizer.
 */
#include <stdint.h>
#include <string.h>

#include "engine/op.h"
#include "ops/lib/inputs.h"
#include "runtime/base/fs.h"

static enum row_format format_of(const struct op_args *a)
{
    for (int f = ROW_MESSAGES; f <= ROW_TEXT; f++)
        if (strcmp(op_str(a, "format"), row_format_name((enum row_format)f)) == 0)
            return (enum row_format)f;
    return ROW_AUTO;
}

static int data_sources(const struct op_args *a, struct op_sources *s, struct err *e)
{
    const char *path = op_str(a, "path");
    return op_source(s, "rows", path) != 0 ? err_nomem(e, strlen(path), "sources") : 0;
}

static struct js *facts(const struct op_args *a, size_t rows, enum row_format f)
{
    struct js *j = js_object();
    js_set(j, "rows", js_new_int((int64_t)rows));
    js_set(j, "format", js_new_cstr(row_format_name(f)));
    js_set(j, "template", js_new_cstr(op_str(a, "template")));
    js_set(j, "train_on", js_new_cstr(op_str(a, "train_on")));
    return j;
}

static int data_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    size_t n, start = (size_t)op_int(a, "start");
    enum row_format f;
    op_blame_param(x, "template");
    if (strcmp(op_str(a, "template"), "open-instruct") != 0)
        return err_set(e, ERR_UNSUPPORTED, "template \"%s\" is not supported; open-instruct is (the form of the published work)", op_str(a, "template"));
    op_blame_param(x, "path");
    int rc = rows_peek(op_str(a, "path"), format_of(a), &n, &f, e);
    if (rc != 0)
        return rc;
    op_blame_param(x, "start");
    if (start >= n)
        return err_set(e, ERR_INPUT, "start: %zu, but %s has %zu rows", start, op_str(a, "path"), n);
    n -= start;
    if (op_is_set(a, "limit") && (size_t)op_int(a, "limit") < n)
        n = (size_t)op_int(a, "limit");
    return op_set_output(x, "dataset", facts(a, n, f), e);
}

static int data_run(struct op_run *r, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    const char *path, *rows_path, *json;
    char digest[65];
    struct rows rows = {0};
    struct buf b = {0};
    struct js *j = NULL;
    size_t limit = op_is_set(a, "limit") ? (size_t)op_int(a, "limit") : SIZE_MAX;
    int rc = op_source_file(r, "rows", &path, digest, e);
    if (rc == 0)
        rc = rows_read(path, format_of(a), (size_t)op_int(a, "start"), limit, &rows, e);
    for (size_t i = 0; rc == 0 && i < rows.n; i++) {
        js_write(&b, rows.v[i].source);
        buf_putc(&b, '\n');
        if (b.failed)
            rc = err_nomem(e, b.n, "rows");
    }
    if (rc == 0)
        rc = op_out_file(r, "dataset", "data.jsonl", &rows_path, e);
    if (rc == 0)
        rc = fs_write_atomic(rows_path, b.p, b.n, e);
    if (rc == 0)
        rc = op_out_file(r, "dataset", "dataset.json", &json, e);
    if (rc == 0) {
        j = facts(a, rows.n, rows.format);
        rc = js_save(json, j, e);
    }
    js_free(j);
    buf_release(&b);
    rows_release(&rows);
    return rc;
}

static void data_cost(const struct op_args *a, struct op_cost *c)
{
    uint64_t bytes = 0;
    struct err e;
    fs_size(op_str(a, "path"), &bytes, &e);
    *c = (struct op_cost){
        .bytes_read = (double)bytes, .bytes_written = (double)bytes, .peak_memory = 8 * bytes + (4 << 20), .max_threads = 1};
}

static const struct port_def outputs[] = {
    {.name = "dataset", .type = "dataset", .help = "the rows, fields as in the source, with their format and training form"},
    {0},
};

static const struct param_def params[] = {
    {.name = "path", .type = PARAM_PATH, .flags = PARAM_REQUIRED, .help = "a JSONL file, a JSON list, or CSV with a header line"},
    {.name = "format", .type = PARAM_ENUM, .fallback = "auto", .choices = "auto|messages|sharegpt|alpaca|prompt-completion|text",
     .help = "what a row looks like; auto: told from the first row"},
    {.name = "template", .type = PARAM_STRING, .fallback = "open-instruct", .help = "how turns are wrapped; open-instruct: the published form"},
    {.name = "train_on", .type = PARAM_ENUM, .fallback = "last", .choices = "last|assistant|all",
     .help = "which text is learned: the last assistant turn (as published), every assistant turn, everything"},
    {.name = "start", .type = PARAM_INT, .fallback = "0", .min = 0, .max = 9007199254740992.0, .help = "first row, from 0"},
    {.name = "limit", .type = PARAM_INT, .fallback = "all", .unset = "all", .min = 1, .max = 9007199254740992.0, .help = "rows at most"},
    {0},
};

const struct op op_data = {
    .name = "data",
    .version = 1,
    .summary = "Read rows of a file",
    .doc = "Formats: messages [{role, content}], ShareGPT conversations, Alpaca instruction/input/output, prompt/completion, plain text. The "
           "content of the file enters the key, not its name.",
    .outputs = outputs,
    .params = params,
    .sources = data_sources,
    .infer = data_infer,
    .cost = data_cost,
    .run = data_run,
};
