/* SPDX-License-Identifier: MIT
 *
 * teacher-logits: what a teacher thinks of every trained token of a dataset, for train's distill: offline. Computed once and
 * kept, however many students learn from it.
 */
#include "ops/lib/distillation.h"
#include "ops/lib/vocabulary.h"

static int facts(const struct op_args *a, struct js *d)
{
    return js_set(d, "vocabulary", vocabulary_facts(op_input(a, "model"))) | js_set(d, "top_k", js_new_int(op_int(a, "top_k"))) |
           js_set(d, "rows", js_new_int(data_samples_rows(a, "data"))) | js_set(d, "max_length", js_new_int(op_int(a, "max_length")));
}

static int logits_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    struct model_config c;
    int rc = data_samples_trainable(x, "data", e);
    op_blame_input(x, "model");
    if (rc == 0)
        rc = op_model_config(a, "model", &c, e);
    op_blame_param(x, "top_k");
    int64_t ids = rc ? 0 : js_int(js_get(js_get(js_get(op_input(a, "model"), "tokenizer"), "vocabulary"), "ids"), c.vocab_size);
    if (rc == 0 && op_int(a, "top_k") > ids)
        rc = err_set(e, ERR_INPUT, "top_k %lld is more than the teacher's vocabulary of %lld", (long long)op_int(a, "top_k"), (long long)ids);
    if (rc)
        return rc;
    struct js *d = js_object();
    if (!d || facts(a, d)) {
        js_free(d);
        return err_nomem(e, 0, "a descriptor");
    }
    return op_set_output(x, "logits", d, e);
}

static void logits_cost(const struct op_args *a, struct op_cost *cost)
{
    struct model_config c;
    struct err ignored;
    double rows = (double)(data_samples_rows(a, "data") > 0 ? data_samples_rows(a, "data") : 1000), tokens = rows * 200;
    if (op_model_config(a, "model", &c, &ignored))
        return;
    double matrices = 0;
    for (int m = 0; m <= MOD_HEAD; m++) {
        size_t out, in;
        module_shape(&c, (enum module)m, &out, &in);
        matrices += m == MOD_EMBED ? 0 : (m <= MOD_DOWN ? c.num_hidden_layers : 1) * (double)out * (double)in;
    }
    uint64_t table = teacher_memory((size_t)tokens, (size_t)op_int(a, "top_k"));
    *cost = (struct op_cost){.flops = 2 * matrices * tokens, .products = op_compute(a), .bytes_read = 2 * matrices, .bytes_written = (double)table,
                             .peak_memory = distillation_memory(a, "model") + table};
}

static int logits_run(struct op_run *r, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    struct model *m = NULL;
    struct data_samples d = {0};
    struct teacher t = {0};
    const char *path;
    int rc = op_open_model(r, "model", &m, e);
    if (rc == 0)
        rc = data_samples_read(r, "data", m, 0, &d, e);
    if (rc == 0 && d.samples.targets == 0)
        rc = err_set(e, ERR_INPUT, "data: no row has a token that enters the loss");
    if (rc == 0)
        rc = distillation_ask(r, "model", "adapter", &d.samples, (size_t)op_int(a, "top_k"), &t, e);
    if (rc == 0)
        rc = op_out_file(r, "logits", "teacher.safetensors", &path, e);
    if (rc == 0)
        rc = teacher_write(&t, &d.samples, path, e);
    teacher_release(&t);
    data_samples_release(&d);
    model_close(m);
    return rc;
}

static const struct port_def inputs[] = {
    {.name = "model", .type = "model", .help = "the teacher"},
    {.name = "adapter", .type = "adapter", .flags = PORT_OPTIONAL, .help = "beside the teacher's weights"},
    {.name = "data", .type = "dataset", .help = "the rows that the student will be trained on"},
    {0},
};

static const struct port_def outputs[] = {
    {.name = "logits", .type = "teacher-logits", .help = "teacher.safetensors: the most probable tokens at every target, with their log-probabilities"},
    {0},
};

static const struct param_def params[] = {
    {.name = "top_k", .type = PARAM_INT, .fallback = "64", .min = 1, .max = 1 << 20, .help = "tokens kept at each target; the student is compared with these"},
    PARAM_MAX_LENGTH,
    PARAM_TOO_LONG,
    PARAM_COMPUTE,
    {0},
};

const struct op op_teacher_logits = {
    .name = "teacher-logits",
    .version = 3,
    .summary = "Keep what a teacher predicts for a dataset, for distillation",
    .doc = "Log-probabilities over the teacher's whole vocabulary, of its top_k most probable tokens at every trained token, in evaluation mode. Rows of the embedding beyond the tokenizer's ids are not among them. "
           "train with distill: offline reads them at its input `teacher`. Both must be given the same data, max_length and too_long; that the texts have the same "
           "token ids is checked row by row.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .infer = logits_infer,
    .cost = logits_cost,
    .run = logits_run,
};
