/* SPDX-License-Identifier: MIT */
#include "ops/lib/model_out.h"

#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/model/weight_file.h"

enum dtype model_out_dtype(const char *name, enum dtype otherwise)
{
    return !name ? otherwise : strcmp(name, "bf16") == 0 ? DT_BF16 : strcmp(name, "f16") == 0 ? DT_F16 : DT_F32;
}

/* Of quantised tensors, the type that they become. */
static const char *plain_type(const struct js *t)
{
    enum dtype d;
    const char *name = js_cstr(js_get(t, "dtype"));
    return name && tensor_type_plain(name, &d) == 0 ? dtype_name(d) : name;
}

/* Descriptors are shared where they say the same: a chain of models has one list. */
static int describe(struct js *list, const char *name, const struct js *t, const char *dtype)
{
    const char *is = js_cstr(js_get(t, "dtype")), *will = dtype ? dtype_name(model_out_dtype(dtype, DT_F32)) : plain_type(t);
    if (js_len(t) == 3 && js_get(t, "shape") && is && will && strcmp(is, will) == 0 && strcmp(js_cstr(js_get(t, "name")), name) == 0)
        return js_push(list, js_ref(t));
    struct js *n = js_object();
    int bad = js_set(n, "name", js_new_cstr(name));
    bad |= js_set(n, "dtype", js_new_cstr(will ? will : "?"));
    bad |= js_set(n, "shape", js_ref(js_get(t, "shape")));
    return bad | js_push(list, n);
}

struct js *model_out_descriptor(const struct js *base, const char *dtype, bool untie)
{
    static const char head[] = "lm_head.weight", embed[] = "model.embed_tokens.weight";
    const struct js *list = js_get(base, "tensors"), *at = NULL;
    struct js *d = js_object(), *tensors = js_array(), *config = untie ? js_copy(js_get(base, "config")) : js_ref(js_get(base, "config"));
    int bad = 0;
    for (size_t i = 0; untie && i < js_len(list); i++)
        if (js_cstr(js_get(js_at(list, i), "name")) && strcmp(js_cstr(js_get(js_at(list, i), "name")), embed) == 0)
            at = js_at(list, i);
    bool head_done = !at;
    for (size_t i = 0; i < js_len(list); i++) {
        const char *name = js_cstr(js_get(js_at(list, i), "name"));
        if (!name || (untie && strcmp(name, head) == 0))
            continue;
        if (!head_done && strcmp(name, head) > 0) {
            bad |= describe(tensors, head, at, dtype);
            head_done = true;
        }
        bad |= describe(tensors, name, js_at(list, i), dtype);
    }
    if (!head_done)
        bad |= describe(tensors, head, at, dtype);
    bool same = js_len(tensors) == js_len(list);
    for (size_t i = 0; same && i < js_len(list); i++)
        same = js_at(tensors, i) == js_at(list, i);
    if (same) {
        js_free(tensors);
        tensors = js_ref(list);
    }
    if (untie)
        bad |= js_set(config, "tie_word_embeddings", js_new_bool(false));
    bad |= js_set(d, "architecture", js_ref(js_get(base, "architecture"))) | js_set(d, "config", config) |
           js_set(d, "tokenizer", js_ref(js_get(base, "tokenizer"))) | js_set(d, "tensors", tensors);
    if (bad) {
        js_free(d);
        return NULL;
    }
    return d;
}

/* A copy of the small file that model.json refers to, so that the artifact stands alone. */
static int copy_tokenizer(struct op_run *r, const char *port, const struct model *m, struct err *e)
{
    const char *digest = js_cstr(js_get(js_get(model_json(m), "tokenizer"), "digest")), *from, *to;
    if (!digest)
        return 0;
    int rc = op_resolve(r, digest, &from, e);
    if (rc == 0)
        rc = op_out_file(r, port, "tokenizer.json", &to, e);
    return rc ? rc : fs_copy(from, to, e);
}

int model_out_write(struct op_run *r, const char *port, const struct model_write *w, struct err *e)
{
    const char *st, *json;
    int rc = op_out_file(r, port, "model.safetensors", &st, e);
    if (rc == 0)
        rc = op_out_file(r, port, "model.json", &json, e);
    if (rc == 0)
        rc = model_write(w, st, json, e);
    return rc ? rc : copy_tokenizer(r, port, w->base, e);
}
