/* SPDX-License-Identifier: MIT
 *
 * load: a checkpoint of the user's becomes a model artifact that names its files by digest and copies nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "ops/lib/inputs.h"
#include "ops/lib/vocabulary.h"
#include "runtime/base/fs.h"
#include "runtime/base/sha.h"
#include "runtime/formats/hub.h"
#include "runtime/model/gguf_model.h"
#include "runtime/text/pieces.h"
#include "runtime/text/token_facts.h"

/* The folder, or GGUF file, that `model` means; malloc'ed. */
static int folder(const struct op_args *a, char **dir, struct err *e)
{
    const char *model = op_str(a, "model");
    if (strncmp(model, "hf:", 3) == 0)
        return hub_find(model + 3, dir, e);
    return hub_folder(model, dir, e);
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
        if (strcmp(names[i], "generation_config.json") == 0 || (tokenizer && (is_tokenizer(names[i]) || strcmp(names[i], MODEL_SENTENCEPIECE) == 0)))
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

static bool in_folder(const char *dir, const char *name)
{
    char *path = fs_join(dir, name);
    bool there = path && fs_exists(path);
    free(path);
    return there;
}

/* The file whose tokenizer must be made into a tokenizer.json: the GGUF file, a SentencePiece model; "" when none. malloc'ed. */
static int foreign_tokenizer(const struct op_args *a, const char *dir, char **file, struct err *e)
{
    const char *given = op_str(a, "tokenizer");
    struct fs_map map = {0};
    *file = NULL;
    if (given) {
        int rc = fs_map(given, &map, e);
        bool pieces = rc == 0 && sentencepiece_is((struct str){(const char *)map.p, map.n});
        fs_unmap(&map);
        *file = rc == 0 ? strdup(pieces ? given : "") : NULL;
        return rc == 0 && !*file ? err_nomem(e, strlen(given), "path") : rc;
    }
    if (gguf_is(dir))
        *file = strdup(dir);
    else
        *file = in_folder(dir, "tokenizer.json") || !in_folder(dir, MODEL_SENTENCEPIECE) ? strdup("") : fs_join(dir, MODEL_SENTENCEPIECE);
    return *file ? 0 : err_nomem(e, strlen(dir), "path");
}

/* tokenizer.json of a GGUF file or a SentencePiece model. NULL: ERR_NOTFOUND when there is none, or another error. */
static struct js *convert(const char *file, const char *dir, struct err *e)
{
    struct js *j = NULL, *config = NULL;
    struct gguf *g = NULL;
    struct fs_map map = {0};
    e->code = 0;
    if (gguf_is(file)) {
        if (gguf_open(file, &g, e) == 0)
            j = gguf_tokenizer(g, e);
        gguf_close(g);
        return j;
    }
    char *path = fs_join(dir, "tokenizer_config.json");
    int rc = path ? fs_map(file, &map, e) : err_nomem(e, strlen(dir), "path");
    struct str text = {(const char *)map.p, map.n};
    if (rc == 0 && (!fs_exists(path) || (config = js_read(path, e))))
        j = sentencepiece_json(text, file, config, e);
    js_free(config);
    fs_unmap(&map);
    free(path);
    return j;
}

/* Before anything runs: whether the tokenizer can be read, and which tokens it has. *out stays NULL when there is none. */
static int foreign_vocabulary(const char *file, const char *dir, struct js **out, struct err *e)
{
    struct gguf *g = NULL;
    if (!gguf_is(file)) {
        struct js *j = convert(file, dir, e);
        *out = j ? token_facts_json(j, file, e) : NULL;
        js_free(j);
        return *out ? 0 : e->code;
    }
    int rc = gguf_open(file, &g, e);
    if (rc == 0)
        rc = gguf_tokenizer_check(g, e);
    if (rc == 0 && !(*out = gguf_vocabulary(g, e)))
        rc = e->code;
    gguf_close(g);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

static int own_vocabulary(const char *given, const char *dir, struct js **out, struct err *e)
{
    struct fs_map map = {0};
    char *path = given ? strdup(given) : fs_join(dir, "tokenizer.json");
    int rc = path ? 0 : err_nomem(e, strlen(dir), "path");
    if (rc == 0 && (given || fs_exists(path)) && (rc = fs_map(path, &map, e)) == 0) {
        *out = token_facts_text((struct str){(const char *)map.p, map.n}, path, e);
        rc = *out ? 0 : e->code;
    }
    fs_unmap(&map);
    free(path);
    return rc;
}

static int set_vocabulary(const struct op_args *a, const char *dir, struct js *desc, struct err *e)
{
    char *file = NULL;
    struct js *facts = NULL, *tokenizer = (struct js *)(uintptr_t)js_get(desc, "tokenizer");
    int rc = foreign_tokenizer(a, dir, &file, e);
    if (rc == 0)
        rc = *file ? foreign_vocabulary(file, dir, &facts, e) : own_vocabulary(op_str(a, "tokenizer"), dir, &facts, e);
    if (rc == 0 && facts && js_set(tokenizer, "vocabulary", js_ref(facts)) != 0)
        rc = err_nomem(e, 256, "a vocabulary");
    js_free(facts);
    free(file);
    return rc ? rc : vocabulary_fits(desc, e);
}

static int load_infer(struct op_infer *x, struct err *e)
{
    char *dir = NULL;
    struct js *desc = NULL;
    op_blame_param(x, "model");
    int rc = folder(op_infer_args(x), &dir, e);
    if (rc == 0)
        rc = model_describe_dir(dir, &desc, e);
    if (rc == 0 && op_str(op_infer_args(x), "tokenizer"))
        op_blame_param(x, "tokenizer");
    if (rc == 0)
        rc = set_vocabulary(op_infer_args(x), dir, desc, e);
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

/* Another program's tokenizer becomes a tokenizer.json of the artifact's own. */
static int own_tokenizer(struct op_run *r, const char *dir, struct js *desc, struct err *e)
{
    const char *path;
    char *file = NULL, hex[DIGEST_HEX];
    struct digest d;
    int rc = foreign_tokenizer(op_run_args(r), dir, &file, e);
    struct js *j = rc == 0 && *file ? convert(file, dir, e) : NULL;
    bool wanted = rc == 0 && *file;
    free(file);
    if (!j)
        return wanted && e->code != ERR_NOTFOUND ? e->code : rc;
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
    if (rc == 0)
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
     .help = "Hugging Face folder (config.json, tokenizer.json or tokenizer.model, model.safetensors or shards with their index, or pytorch_model.bin), "
             "hf:org/name[@revision] in the local hub cache (or its folder models--org--name), or a .gguf file"},
    {.name = "tokenizer", .type = PARAM_PATH, .help = "another tokenizer.json or tokenizer.model than the checkpoint's"},
    {0},
};

const struct op op_load = {
    .name = "load",
    .version = 2,
    .summary = "Take a checkpoint as it lies on disk",
    .doc = "Reads headers only; weights stay in the user's files and are mapped when a later step needs them. The files enter the key by their "
           "digest (docs/store.md), remembered by inode, size and times, so that moving a checkpoint reruns nothing and changing it reruns everything below.\n"
           "A SentencePiece tokenizer.model (kind bpe) stands in for a missing tokenizer.json. "
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
