/* SPDX-License-Identifier: MIT
 *
 * data: rows of the user's own file as a dataset. The chosen rows are written as canonical JSON, one a line, with the
 * fields of the source, so that equal rows give equal bytes whatever the file's name, format or white space. Texts are
 * made later, by who needs them: the template is recorded here.
 */
#include <stdio.h>
#include <string.h>

#include "engine/op.h"
#include "ops/lib/inputs.h"
#include "runtime/base/fs.h"
#include "runtime/text/row_tools.h"
#include "runtime/text/utf8.h"

static int data_sources(const struct op_args *a, struct op_sources *s, struct err *e)
{
    const char *name = op_str(a, "template");
    bool file = strcmp(name, CHAT_OPEN_INSTRUCT) != 0 && strcmp(name, CHAT_TOKENIZER) != 0 && !chat_builtin(name).p;
    (void)e;
    int rc = op_source(s, "rows", op_str(a, "path"));
    return rc == 0 && file ? op_source(s, "template", name) : rc;
}

static enum row_format wanted_format(const struct op_args *a)
{
    const char *name = op_str(a, "format");
    for (int f = ROW_MESSAGES; name && f <= ROW_TEXT; f++) {
        if (strcmp(name, row_format_name((enum row_format)f)) == 0)
            return (enum row_format)f;
    }
    return ROW_AUTO;
}

static size_t limit_of(const struct op_args *a)
{
    return op_is_set(a, "limit") ? (size_t)op_int(a, "limit") : SIZE_MAX;
}

/* text: of a template that is a file */
static struct js *describe(const struct op_args *a, size_t rows, enum row_format format, const struct buf *text)
{
    struct js *j = js_object();
    if (!j)
        return NULL;
    if (js_set(j, "rows", js_new_int((int64_t)rows)) < 0 ||
        js_set(j, "format", js_new_cstr(row_format_name(format))) < 0 ||
        js_set(j, "template", js_new_cstr(text->n ? "file" : op_str(a, "template"))) < 0 ||
        (text->n && js_set(j, "chat_template", js_new_str(buf_view(text))) < 0) ||
        js_set(j, "train_on", js_new_cstr(op_str(a, "train_on"))) < 0) {
        js_free(j);
        return NULL;
    }
    return j;
}

/* The template's text, when it is a file; empty else. */
static int template_text(const char *name, struct buf *text, struct err *e)
{
    if (strcmp(name, CHAT_OPEN_INSTRUCT) == 0 || strcmp(name, CHAT_TOKENIZER) == 0 || chat_builtin(name).p)
        return 0;
    int rc = fs_read(name, 1 << 20, text, e);
    size_t valid = rc == 0 ? utf8_valid(buf_view(text)) : 0;
    return rc == 0 && valid < text->n ? err_set(e, ERR_INPUT, "%s: not UTF-8 at byte %zu", name, valid) : rc;
}

static int check_template(struct op_infer *x, struct buf *text, struct err *e)
{
    const char *name = op_str(op_infer_args(x), "template");
    struct chat *c = NULL;
    op_blame_param(x, "template");
    int rc = template_text(name, text, e);
    if (rc == ERR_IO || rc == ERR_NOTFOUND)
        return err_set(e, ERR_INPUT, "%s: no such template: open-instruct, tokenizer (the checkpoint's own), chatml, llama2, llama3, or a file with a Jinja "
                       "template", name);
    if (rc == 0 && text->n) {
        rc = chat_new(name, buf_view(text), NULL, &c, e);
        if (rc == 0)
            rc = chat_check(c, e);
    }
    chat_free(c);
    return rc;
}

/* Tools are written by the template of a checkpoint or of a file. *used: a row has some. */
static int check_tools(const struct op_args *a, const struct rows *rows, bool *used, struct err *e)
{
    const char *name = op_str(a, "template");
    bool none = strcmp(name, CHAT_OPEN_INSTRUCT) == 0 || chat_builtin(name).p;
    *used = false;
    for (size_t i = 0; i < rows->n; i++) {
        bool uses = row_uses_tools(&rows->v[i]);
        *used |= uses;
        if (uses && none)
            return err_set(e, ERR_UNSUPPORTED, "%s: row %zu has tools, or calls of them, which have no form in the template %s; take template: tokenizer (the "
                           "checkpoint's own) or a file, or leave such rows out", op_str(a, "path"), (size_t)op_int(a, "start") + i, name);
    }
    return 0;
}

/* What the first of the rows shows before anything runs: a chat without any assistant turn, of which nothing could be trained, and tools. */
static int look_at_first(const struct op_args *a, enum row_format format, struct js *desc, struct err *e)
{
    struct rows rows = {0};
    bool chat = format == ROW_MESSAGES || format == ROW_SHAREGPT, found = false, tools = false;
    if (rows_read(op_str(a, "path"), format, (size_t)op_int(a, "start"), 1, &rows, e) < 0)
        return 0; /* a row that is not the file's first: the run says so */
    for (size_t i = 0; i < rows.v[0].n; i++)
        found |= rows.v[0].messages[i].role == ROLE_ASSISTANT;
    int rc = check_tools(a, &rows, &tools, e);
    if (chat && !found && strcmp(op_str(a, "train_on"), "all") != 0)
        js_set(desc, "answered", js_new_bool(false));
    rows_release(&rows);
    return rc;
}

static int data_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    size_t n = 0, start = (size_t)op_int(a, "start"), limit = limit_of(a);
    enum row_format format = ROW_AUTO;
    struct buf text = {0};
    int rc = check_template(x, &text, e);
    if (rc < 0)
        goto out;
    rc = rows_peek(op_str(a, "path"), wanted_format(a), &n, &format, e);
    if (rc < 0) {
        op_blame_param(x, "path");
        goto out;
    }
    if (start >= n) {
        op_blame_param(x, "start");
        rc = err_set(e, ERR_INPUT, "%s has %zu rows, so start: %zu leaves none; rows are counted from 0", op_str(a, "path"), n, start);
        goto out;
    }
    struct js *desc = describe(a, n - start < limit ? n - start : limit, format, &text);
    rc = desc ? look_at_first(a, format, desc, e) : err_nomem(e, 0, "a descriptor");
    if (rc == 0) {
        rc = op_set_output(x, "dataset", desc, e);
    } else {
        op_blame_param(x, "path");
        js_free(desc);
    }
out:
    buf_release(&text);
    return rc;
}

static void data_cost(const struct op_args *a, struct op_cost *c)
{
    uint64_t bytes = 0;
    struct err ignored;
    if (fs_size(op_str(a, "path"), &bytes, &ignored) < 0)
        bytes = 0;
    *c = (struct op_cost){.bytes_read = (double)bytes,
                          .bytes_written = (double)bytes,
                          .peak_memory = 6 * bytes + (1 << 20),
                          .max_threads = 1};
}

/* The rows as JSON lines. */
static int write_rows(const char *path, const struct rows *rows, const struct progress *p, struct err *e)
{
    struct buf b = {0};
    int rc = 0;
    FILE *f = fopen(path, "wb");
    if (!f)
        return err_errno(e, "%s", path);
    for (size_t i = 0; rc == 0 && i < rows->n; i++) {
        struct js *kept = row_uses_tools(&rows->v[i]) ? tools_as_text(rows->v[i].source) : js_ref(rows->v[i].source);
        js_write(&b, kept); /* NULL fails */
        js_free(kept);
        buf_putc(&b, '\n');
        if (b.failed)
            rc = err_nomem(e, b.n, "a row");
        if (rc == 0 && (b.n > 1 << 20 || i + 1 == rows->n)) {
            if (fwrite(b.p, 1, b.n, f) != b.n)
                rc = err_errno(e, "%s: write", path);
            buf_clear(&b);
            progress_update(p, (double)(i + 1), (double)rows->n, "rows");
            if (rc == 0)
                rc = progress_poll(p, e);
        }
    }
    if (fclose(f) != 0 && rc == 0)
        rc = err_errno(e, "%s: write", path);
    buf_release(&b);
    return rc;
}

static int data_run(struct op_run *r, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    const char *source, *path;
    char digest[65];
    struct rows rows = {0};
    struct js *facts = NULL;
    struct buf text = {0};
    bool tools = false; /* in dataset.json: earlier versions read such rows otherwise */
    int rc = op_source_file(r, "rows", &source, digest, e);
    if (rc == 0)
        rc = template_text(op_str(a, "template"), &text, e);
    if (rc == 0)
        rc = rows_read(source, wanted_format(a), (size_t)op_int(a, "start"), limit_of(a), &rows, e);
    if (rc == 0)
        rc = check_tools(a, &rows, &tools, e);
    if (rc == 0)
        rc = op_out_file(r, "dataset", "data.jsonl", &path, e);
    if (rc == 0)
        rc = write_rows(path, &rows, op_progress(r), e);
    if (rc == 0 && (!(facts = describe(a, rows.n, rows.format, &text)) || (tools && js_set(facts, "tools", js_new_bool(true)))))
        rc = err_nomem(e, 0, "dataset.json");
    if (rc == 0)
        rc = op_out_json(r, "dataset", "dataset.json", facts, e);
    js_free(facts);
    buf_release(&text);
    rows_release(&rows);
    return rc;
}

static const struct port_def outputs[] = {
    {.name = "dataset", .type = "dataset", .help = "the chosen rows, with the fields of the source"},
    {0},
};

static const struct param_def params[] = {
    {.name = "path",
     .type = PARAM_PATH,
     .flags = PARAM_REQUIRED,
     .help = "JSONL (one object a line), a JSON list, or .csv with a header line"},
    {.name = "format",
     .type = PARAM_ENUM,
     .fallback = "auto",
     .choices = "auto|messages|sharegpt|alpaca|prompt-completion|text",
     .help = "shape of a row; auto: from the keys of the first row"},
    {.name = "template",
     .type = PARAM_PATH,
     .fallback = "open-instruct",
     .choices = "open-instruct|tokenizer|chatml|llama2|llama3",
     .help = "how turns become text: open-instruct is the published form, tokenizer the chat template of the checkpoint that the rows meet, "
             "or a file with a Jinja template"},
    {.name = "train_on",
     .type = PARAM_ENUM,
     .fallback = "last",
     .choices = "last|assistant|all",
     .help = "what is a target: the last assistant turn (as published), every assistant turn, or everything"},
    {.name = "start",
     .type = PARAM_INT,
     .fallback = "0",
     .min = 0,
     .max = 1e15,
     .help = "the first row, counted from 0"},
    {.name = "limit",
     .type = PARAM_INT,
     .fallback = "all",
     .unset = "all",
     .min = 1,
     .max = 1e15,
     .help = "how many rows from there on"},
    {0},
};

const struct op op_data = {
    .name = "data",
    .version = 2,
    .summary = "Read rows from a file: JSONL, a JSON list or CSV",
    .doc = "Formats: messages (role and content), sharegpt (conversations), alpaca (instruction, input, output, "
           "history), prompt-completion, text. Tools (`tools`, `tool_calls`, turns of tool; ShareGPT's function_call and observation) go to a template "
           "of the checkpoint or of a file, in OpenAI's form; calls are the assistant's turns, answers are not trained on. "
           "Templates are rendered as transformers renders them; what a template uses that is not known here is named before anything runs, "
           "and so is the time of day, which would make the text another one every day. A template of the checkpoint or of a file says alone what "
           "stands at the ends of the text; with the others BOS comes where the tokenizer adds it. EOS is put behind the last answer unless the "
           "template did. "
           "Mistakes are named with file and line before anything runs, as far as the first row shows them.",
    .outputs = outputs,
    .params = params,
    .flags = OP_PURE_IO,
    .sources = data_sources,
    .infer = data_infer,
    .cost = data_cost,
    .run = data_run,
};
