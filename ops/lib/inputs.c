/* SPDX-License-Identifier: MIT */
#include "ops/lib/inputs.h"

#include <stdio.h>
#include <string.h>

#include "runtime/kernels/gemm.h"
#include "runtime/text/tokenizer.h"

int op_model_config(const struct op_args *a, const char *port, struct model_config *c, struct err *e)
{
    const struct js *config = js_get(op_input(a, port), "config");
    if (!config)
        return err_set(e, ERR_INTERNAL, "input %s has no model configuration", port);
    return model_config_parse(config, port, c, e);
}

enum dtype op_model_dtype(const struct op_args *a, const char *port)
{
    const struct js *list = js_get(op_input(a, port), "tensors");
    for (size_t i = 0; i < js_len(list); i++) {
        const char *name = js_cstr(js_get(js_at(list, i), "name")), *t = js_cstr(js_get(js_at(list, i), "dtype"));
        enum dtype d;
        if (name && t && strcmp(name, "model.embed_tokens.weight") == 0 && dtype_parse(t, &d) == 0)
            return d;
    }
    return DT_F32;
}

const char *op_resolve_compute(const char *value)
{
    return strcmp(value, "auto") != 0 ? value : gemm_has_bf16() ? "bf16" : "f32";
}

enum dtype op_compute(const struct op_args *a)
{
    const char *v = op_str(a, "compute");
    return v && strcmp(v, "bf16") == 0 ? DT_BF16 : DT_F32;
}

static int resolve(void *u, const char *digest_hex, const char **path, struct err *e)
{
    return op_resolve(u, digest_hex, path, e);
}

int op_open_model(struct op_run *r, const char *port, struct model **out, struct err *e)
{
    const char *path;
    *out = NULL;
    int rc = op_in_file(r, port, 0, "model.json", &path, e);
    if (rc != 0)
        return rc;
    struct js *j = js_read(path, e);
    if (!j)
        return e->code;
    rc = model_open(j, resolve, r, out, e);
    js_free(j);
    return rc;
}

int op_read_lora(struct op_run *r, const char *port, const struct model_config *c, struct lora **out, struct err *e)
{
    const char *model, *config, *compensation;
    int rc = op_in_file(r, port, 0, "adapter_model.safetensors", &model, e);
    if (rc == 0)
        rc = op_in_file(r, port, 0, "adapter_config.json", &config, e);
    if (rc != 0)
        return rc;
    rc = op_in_file(r, port, 0, "compensation.safetensors", &compensation, e);
    if (rc == ERR_NOTFOUND)
        compensation = NULL;
    else if (rc != 0)
        return rc;
    return lora_read(model, config, compensation, c, out, e);
}

int op_read_dataset(struct op_run *r, const char *port, struct op_dataset *out, struct err *e)
{
    static const char *const on[] = {"last", "assistant", "all"};
    *out = (struct op_dataset){.train_on = TRAIN_LAST};
    const char *rows, *facts;
    int rc = op_in_file(r, port, 0, "data.jsonl", &rows, e);
    if (rc == 0)
        rc = op_in_file(r, port, 0, "dataset.json", &facts, e);
    if (rc != 0)
        return rc;
    struct js *j = js_read(facts, e);
    if (!j)
        return e->code;
    const char *train_on = js_cstr(js_get(j, "train_on"));
    const char *format = js_cstr(js_get(j, "format"));
    for (int i = 0; train_on && i < 3; i++)
        if (strcmp(train_on, on[i]) == 0)
            out->train_on = (enum train_on)i;
    enum row_format f = ROW_AUTO;
    for (int i = ROW_MESSAGES; format && i <= ROW_TEXT; i++)
        if (strcmp(format, row_format_name((enum row_format)i)) == 0)
            f = (enum row_format)i;
    out->facts = j;
    return rows_read(rows, f, 0, SIZE_MAX, &out->rows, e);
}

int op_chat_new(const struct js *dataset, const struct js *facts, struct chat **out, struct err *e)
{
    const char *name = js_cstr(js_get(dataset, "template"));
    struct str text = js_str(js_get(dataset, "chat_template"));
    *out = NULL;
    if (!name || strcmp(name, CHAT_OPEN_INSTRUCT) == 0)
        return 0;
    if (strcmp(name, CHAT_TOKENIZER) == 0)
        text = js_str(js_get(facts, "chat_template"));
    if (!text.p && !chat_builtin(name).p)
        return err_set(e, ERR_INPUT,
                       strcmp(name, CHAT_TOKENIZER) == 0
                           ? "the checkpoint brings no chat template (neither chat_template.jinja nor chat_template in tokenizer_config.json), "
                             "and the dataset has template: %s; give it chatml, llama2, llama3 or a file, or open-instruct"
                           : "the dataset's template %s is not known to this version",
                       name);
    return chat_new(name, text, facts, out, e);
}

int op_dataset_chat(struct op_dataset *d, const struct model *m, struct err *e)
{
    int rc = d->chat ? 0 : op_chat_new(d->facts, js_get(model_json(m), "tokenizer"), &d->chat, e);
    if (rc == 0)
        rows_set_chat(&d->rows, d->chat);
    return rc;
}

int op_check_chat(struct op_infer *x, const char *data, const char *model, struct err *e)
{
    const struct js *dataset = op_input(op_infer_args(x), data), *facts = js_get(op_input(op_infer_args(x), model), "tokenizer");
    struct chat *c = NULL;
    op_blame_input(x, data);
    int rc = dataset && facts ? op_chat_new(dataset, facts, &c, e) : 0;
    if (rc == 0 && c)
        rc = chat_check(c, e);
    chat_free(c);
    return rc;
}

void op_dataset_release(struct op_dataset *d)
{
    rows_release(&d->rows);
    chat_free(d->chat);
    js_free(d->facts);
    *d = (struct op_dataset){0};
}

int op_model_eos(const struct model *m, const char **text, int *id, struct err *e)
{
    const struct tokenizer *t;
    int rc = model_tokenizer((struct model *)(uintptr_t)m, &t, e);
    if (rc != 0)
        return rc;
    *text = js_cstr(js_get(js_get(model_json(m), "tokenizer"), "eos_token"));
    const struct model_config *c = model_config(m);
    if (*text)
        *id = tokenizer_id(t, str_of(*text));
    else if (c->n_eos) {
        size_t len;
        *id = c->eos_token_id[0];
        *text = tokenizer_token(t, *id, &len);
    } else
        *id = -1;
    if (*id < 0 || !*text)
        return err_set(e, ERR_INPUT, "the model names no EOS token that its tokenizer has; tokenizer_config.json needs eos_token%s%s%s",
                       *text ? " (\"" : "", *text ? *text : "", *text ? "\" is not in tokenizer.json)" : "");
    return 0;
}

uint64_t op_answer_memory(const struct model_config *c, enum dtype stored, enum dtype compute)
{
    return weights_memory(c, stored, compute, weights_pack_pays(c, compute) ? WEIGHTS_PACKED : WEIGHTS_RESIDENT);
}

/* Packing writes all weights to fresh memory, which takes as long as some 40 passes over them save. */
int op_answer_weights(struct op_run *r, const struct model *m, enum dtype compute, size_t passes, struct weights **out, struct err *e)
{
    enum { PACK_PASSES = 40 };
    static const enum weights_kind kinds[] = {WEIGHTS_PACKED, WEIGHTS_RESIDENT};
    const struct model_config *c = model_config(m);
    enum dtype stored = model_tensor(m, "model.embed_tokens.weight")->dtype;
    uint64_t room = op_memory(r);
    for (int i = passes >= PACK_PASSES && weights_pack_pays(c, compute) ? 0 : 1; i < 2; i++)
        if (room == 0 || weights_memory(c, stored, compute, kinds[i]) <= room)
            return weights_new(m, compute, kinds[i], out, e);
    return weights_new(m, compute, WEIGHTS_STREAMED, out, e);
}
