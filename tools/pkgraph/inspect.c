/* SPDX-License-Identifier: MIT
 *
 * inspect: what is in a checkpoint, from its headers alone: architecture, sizes, tensors, types, tokenizer.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/base/json.h"
#include "runtime/formats/gguf.h"
#include "runtime/model/model.h"
#include "runtime/model/weight_file.h"
#include "tools/pkgraph/show.h"
#include "tools/pkgraph/term.h"

/* The tensors of a safetensors or PyTorch file in the form of model.json. */
static struct js *describe_file(const char *path, struct err *e)
{
    struct weight_file *f = NULL;
    if (weight_file_open(path, NULL, true, &f, e) != 0)
        return NULL;
    struct js *j = js_object(), *list = js_array();
    for (size_t i = 0; i < weight_file_count(f); i++) {
        const struct tensor *t = weight_file_at(f, i);
        struct js *x = js_object(), *shape = js_array();
        for (int k = 0; k < t->ndim; k++)
            js_push(shape, js_new_int((int64_t)t->shape[k]));
        js_set(x, "name", js_new_cstr(t->name));
        js_set(x, "dtype", js_new_cstr(dtype_name(t->dtype)));
        js_set(x, "shape", shape);
        js_set(x, "offset", js_new_int((int64_t)t->offset));
        js_push(list, x);
    }
    js_set(j, "tensors", list);
    weight_file_close(f);
    return j;
}

static int run_inspect(const struct args *a)
{
    struct err e = {0};
    struct js *j = NULL;
    int status = STATUS_FAILED;
    if (fs_is_dir(a->pos[0]) || gguf_is(a->pos[0])) {
        if (model_describe_dir(a->pos[0], &j, &e) != 0)
            j = NULL;
    } else {
        j = describe_file(a->pos[0], &e);
    }
    if (!j) {
        say_err(&e);
        return e.code == ERR_INPUT || e.code == ERR_NOTFOUND || e.code == ERR_UNSUPPORTED ? STATUS_USAGE : STATUS_FAILED;
    }
    if (args_has(a, "json")) {
        struct buf b = {0};
        js_write_pretty(&b, j);
        buf_putc(&b, '\n');
        status = print_buf(&b);
    } else {
        show_model(j, args_has(a, "all") ? SIZE_MAX : 0);
        status = STATUS_DONE;
    }
    js_free(j);
    return status;
}

static const struct option_def options[] = {
    {.name = "all", .help = "list every tensor, not one line for each kind"},
    OPTIONS_JSON,
    OPTIONS_HELP,
    {0},
};

const struct command cmd_inspect = {
    .name = "inspect",
    .usage = "FILE|DIR",
    .summary = "a checkpoint: architecture, sizes, tensors, types, tokenizer",
    .about = "DIR is a Hugging Face folder (config.json, safetensors, tokenizer.json); FILE a GGUF file, or one file\n"
             "of safetensors or of PyTorch's. Only headers are read.",
    .example = "pkgraph inspect models/Qwen2.5-0.5B\npkgraph inspect adapter_model.safetensors --all",
    .options = options,
    .min_pos = 1,
    .max_pos = 1,
    .run = run_inspect,
};
