/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/export_hf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/json.h"
#include "runtime/formats/quant.h"
#include "runtime/model/model.h"
#include "tools/pkgraph/session.h"

static int text_json(struct export_dir *d, const char *name, const struct js *j, struct err *e)
{
    struct buf b = {0};
    js_write_pretty(&b, j);
    buf_putc(&b, '\n');
    int rc = b.failed ? err_nomem(e, b.n, name) : export_text(d, name, buf_view(&b), e);
    buf_release(&b);
    return rc;
}

static int tokenizer_config(struct export_dir *d, const struct js *facts, struct err *e)
{
    static const char *const keys[] = {"bos_token", "eos_token", "pad_token", "unk_token", "chat_template"};
    struct js *j = js_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (js_cstr(js_get(facts, keys[i])))
            js_set(j, keys[i], js_ref(js_get(facts, keys[i])));
    js_set(j, "tokenizer_class", js_new_cstr("PreTrainedTokenizerFast"));
    js_set(j, "clean_up_tokenization_spaces", js_new_bool(false));
    int rc = text_json(d, "tokenizer_config.json", j, e);
    js_free(j);
    return rc;
}

/* Tensors [first, end) of the model in one file. */
static int write_shard(const struct model *m, size_t first, size_t end, const char *path, struct err *e)
{
    struct st_writer *w = NULL;
    int rc = st_writer_new(path, &w, e);
    for (size_t i = first; !rc && i < end; i++) {
        const struct tensor *t = model_tensor_at(m, i);
        rc = st_declare(w, t->name, t->dtype, t->ndim, t->shape, e);
    }
    if (!rc)
        rc = st_write_begin(w, e);
    for (size_t i = first; !rc && i < end; i++) {
        const struct tensor *t = model_tensor_at(m, i);
        struct tensor plain;
        rc = tensor_plain(t, &plain, e);
        if (!rc)
            rc = st_write_at(w, t->name, 0, plain.data, plain.bytes, e);
        tensor_plain_release(&plain, t);
    }
    if (!rc)
        rc = st_write_end(w, e);
    st_writer_free(w);
    return rc;
}

/* The end of the shard that begins at tensor `first`: as many as fit, one at least. */
static size_t shard_end(const struct model *m, size_t first, uint64_t limit)
{
    uint64_t bytes = 0;
    size_t i = first;
    for (; i < model_tensor_count(m); i++) {
        uint64_t more = model_tensor_at(m, i)->bytes;
        if (i > first && (more > limit || bytes > limit - more))
            break;
        bytes += more;
    }
    return i;
}

/* model.safetensors, or shards and their index where the limit asks for them. */
static int weights(struct export_dir *d, const struct model *m, uint64_t limit, struct err *e)
{
    size_t n = 0, total = model_tensor_count(m), k = 0;
    uint64_t bytes = 0;
    const char *path;
    for (size_t i = 0; i < total; n++)
        i = shard_end(m, i, limit);
    if (n <= 1) {
        int rc = export_add(d, "model.safetensors", &path, e);
        return rc ? rc : write_shard(m, 0, total, path, e);
    }
    struct js *map = js_object(), *facts = js_object(), *index = js_object();
    int rc = 0, bad = !map || !facts || !index;
    for (size_t i = 0, end; !rc && !bad && i < total; i = end) {
        char name[64];
        end = shard_end(m, i, limit);
        snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", ++k, n);
        for (size_t t = i; t < end; t++) {
            bad |= js_set(map, model_tensor_at(m, t)->name, js_new_cstr(name));
            bytes += model_tensor_at(m, t)->bytes;
        }
        rc = export_add(d, name, &path, e);
        if (!rc)
            rc = write_shard(m, i, end, path, e);
    }
    bad |= js_set(facts, "total_size", js_new_int((int64_t)bytes)) | js_set(index, "metadata", js_ref(facts)) | js_set(index, "weight_map", js_ref(map));
    if (!rc && bad)
        rc = err_nomem(e, total * 64, "an index");
    if (!rc)
        rc = text_json(d, "model.safetensors.index.json", index, e);
    js_free(map);
    js_free(facts);
    js_free(index);
    return rc;
}

/* The artifact's own file, when all tensors lie in it: then it is what weights() would write. NULL: they do not. */
static const struct artifact_file *whole_file(const struct artifact *model, const struct js *json)
{
    const struct js *tensors = js_get(json, "tensors");
    char hex[DIGEST_HEX];
    for (size_t i = 0; i < model->n; i++) {
        bool all = strcmp(model->files[i].name, "model.safetensors") == 0;
        digest_hex(&model->files[i].digest, hex);
        for (size_t k = 0; all && k < js_len(tensors); k++)
            all = str_is(js_str(js_get(js_at(tensors, k), "file")), hex);
        if (all)
            return &model->files[i];
    }
    return NULL;
}

static int put_weights(struct export_dir *d, struct resolver *r, const struct artifact_file *whole, const struct model *m, uint64_t limit,
                       struct err *e)
{
    const char *path;
    char hex[DIGEST_HEX];
    if (!whole || shard_end(m, 0, limit) < model_tensor_count(m))
        return weights(d, m, limit, e);
    digest_hex(&whole->digest, hex);
    int rc = resolver_find(r, hex, &path, e);
    return rc ? rc : export_copy(d, "model.safetensors", path, e);
}

static int all_files(struct export_dir *d, struct resolver *r, const struct artifact *model, const struct js *json, uint64_t limit,
                     struct err *e)
{
    struct model *m = NULL;
    const struct js *facts = js_get(json, "tokenizer");
    const char *digest = js_cstr(js_get(facts, "digest")), *path;
    int rc = model_open(json, resolver_find, r, &m, e);
    if (!rc)
        rc = text_json(d, "config.json", js_get(json, "config"), e);
    if (!rc && digest)
        rc = resolver_find(r, digest, &path, e);
    if (!rc && digest)
        rc = export_copy(d, "tokenizer.json", path, e);
    if (!rc)
        rc = tokenizer_config(d, facts, e);
    if (!rc)
        rc = put_weights(d, r, whole_file(model, json), m, limit, e);
    if (m)
        model_close(m);
    return rc;
}

int export_hf(struct export_dir *d, struct store *s, const struct artifact *model, uint64_t limit, struct err *e)
{
    struct resolver r = {.store = s};
    struct js *json = NULL;
    const char *path;
    char hex[DIGEST_HEX];
    int rc = err_set(e, ERR_DAMAGED, "the model artifact has no model.json");
    for (size_t i = 0; i < model->n; i++)
        if (strcmp(model->files[i].name, "model.json") == 0) {
            digest_hex(&model->files[i].digest, hex);
            rc = resolver_find(&r, hex, &path, e);
        }
    if (!rc && !(json = js_read(path, e)))
        rc = e->code;
    if (!rc)
        rc = all_files(d, &r, model, json, limit, e);
    js_free(json);
    resolver_release(&r);
    return rc;
}
