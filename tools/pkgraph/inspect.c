/* SPDX-License-Identifier: MIT
 *
 * inspect: what is in a checkpoint, from its headers alone: architecture, sizes, tensors, types, tokenizer. And what is in a folder
 * that `export` wrote, as `show` shows it.
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

static void push_tensor(struct js *list, const char *name, const char *dtype, const size_t *sizes, int ndim)
{
    struct js *x = js_object(), *shape = js_array();
    for (int k = 0; k < ndim; k++)
        js_push(shape, js_new_int((int64_t)sizes[k]));
    js_set(x, "name", js_new_cstr(name));
    js_set(x, "dtype", js_new_cstr(dtype));
    js_set(x, "shape", shape);
    js_push(list, x);
}

/* A GGUF file that is no model: an adapter, or of an architecture that `load` does not take. */
static struct js *describe_gguf(const char *path, struct err *e)
{
    struct gguf *g = NULL;
    if (gguf_open(path, &g, e) != 0)
        return NULL;
    struct js *j = js_object(), *list = js_array();
    struct str arch = gguf_str(g, "general.architecture"), type = gguf_str(g, "general.type");
    struct buf what = {0};
    buf_printf(&what, "GGUF %.*s", (int)(type.p ? type.n : 5), type.p ? type.p : "model");
    if (arch.p)
        buf_printf(&what, " for %.*s", (int)arch.n, arch.p);
    if (gguf_has(g, "adapter.lora.alpha"))
        buf_printf(&what, ", lora_alpha %.6g", gguf_num(g, "adapter.lora.alpha", 0));
    js_set(j, "architecture", js_new_cstr(what.failed ? "GGUF" : what.p));
    for (size_t i = 0; i < gguf_count(g); i++) {
        const struct gguf_tensor *t = gguf_at(g, i);
        push_tensor(list, t->name, t->type->name, t->shape, t->ndim);
    }
    js_set(j, "tensors", list);
    buf_release(&what);
    gguf_close(g);
    return j;
}

/* The tensors of a safetensors or PyTorch file in the form of model.json. */
static struct js *describe_file(const char *path, struct err *e)
{
    struct weight_file *f = NULL;
    if (weight_file_open(path, NULL, true, &f, e) != 0)
        return NULL;
    struct js *j = js_object(), *list = js_array();
    for (size_t i = 0; i < weight_file_count(f); i++) {
        const struct tensor *t = weight_file_at(f, i);
        push_tensor(list, t->name, dtype_name(t->dtype), t->shape, t->ndim);
    }
    js_set(j, "tensors", list);
    weight_file_close(f);
    return j;
}

static int print_described(const struct args *a, struct js *j)
{
    struct buf b = {0};
    if (!args_has(a, "json")) {
        show_model(j, args_has(a, "all") ? SIZE_MAX : 0);
        return STATUS_DONE;
    }
    js_write_pretty(&b, j);
    buf_putc(&b, '\n');
    return print_buf(&b);
}

/* ---- what `export` wrote ---- */

/* The type of an artifact by a file that no other has; the first that is there counts. */
static const char *const artifact_kinds[][2] = {
    {"adapter_config.json", "adapter"}, {"scores.json", "scores"},   {"layers.json", "layer-map"},
    {"blocks.json", "blocks"},          {"train.jsonl", "log"},      {"data.jsonl", "dataset"},
    {"predictions.jsonl", "predictions"}, {"metrics.json", "metrics"}, {"teacher.safetensors", "teacher-logits"},
};

static const char *artifact_type(const char *folder)
{
    for (size_t i = 0; i < sizeof artifact_kinds / sizeof *artifact_kinds; i++) {
        char *path = fs_join(folder, artifact_kinds[i][0]);
        bool there = path && fs_exists(path);
        free(path);
        if (there)
            return artifact_kinds[i][1];
    }
    return NULL;
}

static int read_folder(const char *folder, const char *type, struct artifact *a, struct err *e)
{
    char **names = NULL;
    size_t n = 0;
    int rc = fs_list(folder, &names, &n, e);
    if (rc < 0)
        return rc;
    a->type = strdup(type);
    a->files = calloc(n + 1, sizeof *a->files);
    for (size_t i = 0; i < n && a->type && a->files && rc == 0; i++) {
        struct err ignored;
        char *path = fs_join(folder, names[i]);
        struct artifact_file f = {.name = strdup(names[i])};
        if (path && f.name && !fs_is_dir(path) && fs_size(path, &f.bytes, &ignored) == 0)
            a->files[a->n++] = f;
        else
            free(f.name);
        free(path);
    }
    fs_list_free(names, n);
    return a->type && a->files ? 0 : err_nomem(e, 0, folder);
}

static int inspect_artifact(const struct args *a, const char *type)
{
    struct session s = {.folder = a->pos[0]};
    struct artifact artifact = {0};
    struct show_options o = {.rows = 10, .max_list = args_has(a, "all") ? SIZE_MAX : 0};
    struct err e = {0};
    int status = STATUS_FAILED;
    if (read_folder(a->pos[0], type, &artifact, &e) != 0)
        say_err(&e);
    else
        status = args_has(a, "json") ? show_descriptor(&s, &artifact) : show_artifact(&s, &artifact, &o);
    artifact_release(&artifact);
    return status;
}

/* ---- what is none of these ---- */

static bool looks_like_text(const char *path)
{
    struct fs_map m;
    struct err ignored;
    if (fs_map(path, &m, &ignored) != 0)
        return false;
    bool text = m.n > 0 && !memchr(m.p, 0, m.n < 512 ? m.n : 512);
    fs_unmap(&m);
    return text;
}

/* A word about files that belong to another command. */
static void point_elsewhere(const char *path)
{
    char *format = fs_join(path, "format"), *index = fs_join(path, "index.sqlite");
    if (format && index && fs_exists(format) && fs_exists(index))
        say("this is a store: pkgraph cache du --store %s", path);
    else if (!fs_is_dir(path) && (str_ends(str_of(path), ".yaml") || str_ends(str_of(path), ".yml")))
        say("a specification: pkgraph check %s", path);
    else if (!fs_is_dir(path) && looks_like_text(path))
        say("it is a text: rows are read by the operator `data`, their tokens shown by `pkgraph show SPEC NODE --tokens`");
    free(format);
    free(index);
}

static struct js *describe(const char *path, struct err *e)
{
    struct js *j = NULL;
    if (!fs_is_dir(path) && !gguf_is(path))
        return describe_file(path, e);
    if (model_describe_dir(path, &j, e) == 0)
        return j;
    struct err ignored; /* a damaged file: what was said first stays */
    return gguf_is(path) ? describe_gguf(path, &ignored) : NULL;
}

static int run_inspect(const struct args *a)
{
    struct err e = {0};
    const char *type = fs_is_dir(a->pos[0]) ? artifact_type(a->pos[0]) : NULL;
    if (type)
        return inspect_artifact(a, type);
    struct js *j = describe(a->pos[0], &e);
    if (!j) {
        say_err(&e);
        point_elsewhere(a->pos[0]);
        return e.code == ERR_INPUT || e.code == ERR_NOTFOUND || e.code == ERR_UNSUPPORTED ? STATUS_USAGE : STATUS_FAILED;
    }
    int status = print_described(a, j);
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
    .summary = "a checkpoint (architecture, sizes, tensors, tokenizer), or what `export` wrote",
    .about = "DIR is a Hugging Face folder (config.json, safetensors, tokenizer.json), a PEFT adapter, or a folder that `export`\n"
             "wrote; FILE a GGUF file, or one file of safetensors or of PyTorch's. Of checkpoints only headers are read.",
    .example = "pkgraph inspect models/Qwen2.5-0.5B\npkgraph inspect adapter\npkgraph inspect adapter_model.safetensors --all",
    .options = options,
    .min_pos = 1,
    .max_pos = 1,
    .run = run_inspect,
};
