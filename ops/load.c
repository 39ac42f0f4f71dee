/* SPDX-License-Identifier: MIT
 *
 * load: a checkpoint of the user's becomes a model artifact that names its files by digest and copies nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "ops/lib/inputs.h"
#include "runtime/base/fs.h"
#include "runtime/base/sha.h"
#include "runtime/formats/hub.h"
#include "runtime/model/gguf_model.h"

/* The folder, or GGUF file, that `model` means; malloc'ed. */
static int folder(const struct op_args *a, char **dir, struct err *e)
{
    const char *model = op_str(a, "model");
    if (strncmp(model, "hf:", 3) == 0)
        return hub_find(model + 3, dir, e);
    *dir = strdup(model);
    return *dir ? 0 : err_nomem(e, strlen(model), "path");
}

static bool is_tokenizer(const char *name)
{
    return strcmp(name, "tokenizer.json") == 0;
}

static int load_sources(const struct op_args *a, struct op_sources *s, struct err *e)
{
    char *dir = NULL, **names = NULL;
    size_t n = 0;
    const char *tokenizer = op_str(a, "tokenizer");
    int rc = folder(a, &dir, e);
    bool one_file = rc == 0 && gguf_is(dir);
    if (one_file)
        rc = op_source(s, MODEL_GGUF, dir);
    else if (rc == 0)
        rc = model_dir_files(dir, &names, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (strcmp(names[i], "generation_config.json") == 0 || (tokenizer && is_tokenizer(names[i])))
            continue;
        char *path = fs_join(dir, names[i]);
        rc = path ? op_source(s, names[i], path) : ERR_NOMEM;
        free(path);
    }
    if (rc == 0 && tokenizer)
        rc = op_source(s, "tokenizer.json", tokenizer);
    if (rc == ERR_NOMEM)
        err_nomem(e, n, "sources");
    fs_list_free(names, n);
    free(dir);
    return rc;
}

/* Before anything runs: whether the tokenizer inside a GGUF file can be read. */
static int check_tokenizer(const char *path, struct err *e)
{
    struct gguf *g = NULL;
    int rc = gguf_open(path, &g, e);
    if (rc == 0)
        rc = gguf_tokenizer_check(g, e);
    gguf_close(g);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

static int load_infer(struct op_infer *x, struct err *e)
{
    char *dir = NULL;
    struct js *desc = NULL;
    op_blame_param(x, "model");
    int rc = folder(op_infer_args(x), &dir, e);
    if (rc == 0)
        rc = model_describe_dir(dir, &desc, e);
    if (rc == 0 && !op_str(op_infer_args(x), "tokenizer") && gguf_is(dir))
        rc = check_tokenizer(dir, e);
    if (rc != 0) {
        js_free(desc);
        desc = NULL;
    }
    free(dir);
    return rc == 0 ? op_set_output(x, "model", desc, e) : rc;
}

/* File names become digests. */
static int name_by_digest(struct op_run *r, struct js *desc, struct err *e)
{
    const struct js *list = js_get(desc, "tensors");
    char hex[65];
    const char *path;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < js_len(list); i++) {
        struct js *t = (struct js *)(uintptr_t)js_at(list, i);
        const char *file = js_cstr(js_get(t, "file"));
        rc = op_source_file(r, file, &path, hex, e);
        if (rc == 0 && js_set(t, "file", js_new_cstr(hex)) < 0)
            rc = err_nomem(e, 64, "model.json");
    }
    if (rc == 0 && op_source_file(r, "tokenizer.json", &path, hex, e) == 0)
        rc = js_set((struct js *)(uintptr_t)js_get(desc, "tokenizer"), "digest", js_new_cstr(hex));
    return rc;
}

/* The tokenizer of a GGUF file becomes a tokenizer.json of the artifact's own. */
static int own_tokenizer(struct op_run *r, const char *gguf, struct js *desc, struct err *e)
{
    struct gguf *g = NULL;
    struct js *j = NULL;
    const char *path;
    struct digest d;
    char hex[DIGEST_HEX];
    int rc = gguf_open(gguf, &g, e);
    if (rc == 0 && !(j = gguf_tokenizer(g, e)))
        rc = e->code;
    gguf_close(g);
    if (rc == ERR_NOTFOUND)
        return 0;
    if (rc == 0)
        rc = op_out_file(r, "model", "tokenizer.json", &path, e);
    if (rc == 0)
        rc = js_save(path, j, e);
    js_free(j);
    if (rc == 0)
        rc = sha_file(path, &d, NULL, e);
    if (rc != 0)
        return rc;
    digest_hex(&d, hex);
    if (js_set((struct js *)(uintptr_t)js_get(desc, "tokenizer"), "digest", js_new_cstr(hex)) != 0)
        rc = err_nomem(e, 64, "model.json");
    return rc;
}

static int load_run(struct op_run *r, struct err *e)
{
    char *dir = NULL;
    struct js *desc = NULL;
    int rc = folder(op_run_args(r), &dir, e);
    if (rc == 0)
        rc = model_describe_dir(dir, &desc, e);
    if (rc == 0)
        rc = name_by_digest(r, desc, e);
    if (rc == 0 && !op_str(op_run_args(r), "tokenizer") && gguf_is(dir))
        rc = own_tokenizer(r, dir, desc, e);
    if (rc == 0)
        rc = op_out_json(r, "model", "model.json", desc, e);
    js_free(desc);
    free(dir);
    return rc;
}

static void load_cost(const struct op_args *a, struct op_cost *c)
{
    bool gguf = str_ends(str_of(op_str(a, "model")), ".gguf"); /* its tokenizer is rewritten */
    *c = (struct op_cost){.bytes_read = 1 << 20, .bytes_written = 1 << 16, .peak_memory = gguf ? 256 << 20 : 16 << 20, .max_threads = 1};
}

static const struct port_def outputs[] = {
    {.name = "model", .type = "model", .help = "the checkpoint: configuration, tokenizer, tensors by file digest and offset"},
    {0},
};

static const struct param_def params[] = {
    {.name = "model", .type = PARAM_PATH, .flags = PARAM_REQUIRED,
     .help = "Hugging Face folder (config.json, tokenizer.json, model.safetensors or shards with their index, or pytorch_model.bin), "
             "hf:org/name[@revision] in the local hub cache, or a .gguf file"},
    {.name = "tokenizer", .type = PARAM_PATH, .help = "another tokenizer.json than the checkpoint's"},
    {0},
};

const struct op op_load = {
    .name = "load",
    .version = 2,
    .summary = "Take a checkpoint as it lies on disk",
    .doc = "Reads headers only; weights stay in the user's files and are mapped when a later step needs them. The files enter the key by their "
           "SHA-256, remembered by inode, size and times, so that moving a checkpoint reruns nothing and changing it reruns everything below.\n"
           "From a GGUF file configuration and tokenizer are made from its metadata; quantised weights stay as they are and are expanded a "
           "layer at a time. Of PyTorch's pickles only tensors are read; nothing in them is run.\n"
           "Architectures: llama (1 to 3), qwen2, mistral within its window. Rotary embedding: default, linear, llama3.",
    .outputs = outputs,
    .params = params,
    .sources = load_sources,
    .infer = load_infer,
    .cost = load_cost,
    .run = load_run,
};
