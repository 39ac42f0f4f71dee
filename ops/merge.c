/* SPDX-License-Identifier: MIT
 *
 * merge: a model and an adapter become one model: W + scale * (B A - B0 A0), computed in f32 and rounded once.
 */
#include "ops/lib/model_out.h"

#include <string.h>

/* The adapter changes the embedding or the head of a tied model, so that they part. */
static bool unties(const struct op_args *a)
{
    const struct js *targets = js_get(op_input(a, "adapter"), "target_modules");
    if (!js_bool(js_get(js_get(op_input(a, "model"), "config"), "tie_word_embeddings"), false))
        return false;
    for (size_t i = 0; i < js_len(targets); i++) {
        const char *t = js_cstr(js_at(targets, i));
        if (t && (strcmp(t, "embed_tokens") == 0 || strcmp(t, "lm_head") == 0))
            return true;
    }
    return false;
}

static int merge_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    struct model_config c, s;
    const struct js *student = js_get(op_input(a, "adapter"), "student");
    int rc = op_model_config(a, "model", &c, e);
    op_blame_input(x, "adapter");
    if (rc == 0 && student)
        rc = model_config_parse(student, "adapter", &s, e);
    if (rc == 0 && student &&
        (c.hidden_size != s.hidden_size || c.intermediate_size != s.intermediate_size || c.num_hidden_layers != s.num_hidden_layers ||
         c.vocab_size != s.vocab_size || c.num_attention_heads != s.num_attention_heads || c.num_key_value_heads != s.num_key_value_heads))
        rc = err_set(e, ERR_INPUT, "the adapter was made for another model (%d layers of width %d, vocabulary %d) than this one (%d of %d, %d)",
                     s.num_hidden_layers, s.hidden_size, s.vocab_size, c.num_hidden_layers, c.hidden_size, c.vocab_size);
    return rc ? rc : op_set_output(x, "model", model_out_descriptor(op_input(a, "model"), op_str(a, "dtype"), unties(a)), e);
}

static void merge_cost(const struct op_args *a, struct op_cost *cost)
{
    struct model_config c;
    struct err ignored = {0};
    if (op_model_config(a, "model", &c, &ignored))
        return;
    double n = (double)c.num_hidden_layers * (double)c.hidden_size * (4.0 * c.hidden_size + 3.0 * c.intermediate_size) + 2.0 * c.vocab_size * c.hidden_size;
    const struct js *adapter = op_input(a, "adapter");
    double r = (double)js_int(js_get(adapter, js_get(adapter, "largest_r") ? "largest_r" : "r"), 16);
    *cost = (struct op_cost){.flops = 4 * n * r, .bytes_read = 2 * n, .bytes_written = 2 * n, .peak_memory = (uint64_t)96 << 20};
}

static int merge_run(struct op_run *r, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    struct model *m = NULL;
    struct lora *l = NULL;
    int rc = op_open_model(r, "model", &m, e);
    if (rc == 0)
        rc = op_read_lora(r, "adapter", model_config(m), &l, e);
    if (rc == 0) {
        struct model_write w = {.base = m, .set_dtype = op_is_set(a, "dtype"), .dtype = model_out_dtype(op_str(a, "dtype"), DT_F32),
                                .untie = merge_unties(l, model_config(m)), .edit = merge_edit, .u = l, .progress = op_progress(r)};
        if (w.untie)
            progress_warn(w.progress, "the base ties lm_head to the embedding and the adapter changes one of them: the merged model has a head "
                                      "of its own (tie_word_embeddings: false)");
        rc = model_out_write(r, "model", &w, e);
    }
    lora_free(l);
    model_close(m);
    return rc;
}

static const struct port_def inputs[] = {
    {.name = "model", .type = "model", .help = "the base that the adapter was made for"},
    {.name = "adapter", .type = "adapter", .help = "trained or not; its compensation is taken into account"},
    {0},
};

static const struct port_def outputs[] = {
    {.name = "model", .type = "model", .help = "the merged model, with weights of its own"},
    {0},
};

static const struct param_def params[] = {
    {.name = "dtype", .type = PARAM_ENUM, .choices = "f32|bf16|f16", .help = "type of the written weights; that of the base when not given"},
    {0},
};

const struct op op_merge = {
    .name = "merge",
    .version = 1,
    .summary = "Merge an adapter into its base",
    .doc = "Computes W + scale * (B A - B0 A0) in f32 and rounds once. A tied model whose adapter touches embed_tokens or lm_head is untied: an "
           "embed_tokens adapter acts on the input side only and an lm_head adapter on the output side only.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .infer = merge_infer,
    .cost = merge_cost,
    .run = merge_run,
};
