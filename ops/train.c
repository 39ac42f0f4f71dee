/* SPDX-License-Identifier: MIT
 *
 * train: fine-tuning (method.md 5), of an adapter on a frozen base or of every parameter. The loop is runtime/model/trainer;
 * here are the parameters, the choice of memory, and the files.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/lib/data_samples.h"
#include "ops/lib/distillation.h"
#include "ops/lib/metrics.h"
#include "ops/lib/model_out.h"
#include "ops/lib/vocabulary.h"
#include "runtime/base/fs.h"
#include "runtime/model/trainer.h"

enum { GUESS_TOKENS = 512 }; /* of a row, at plan time, when max_length allows */

static bool is_full(const struct op_args *a)
{
    return strcmp(op_str(a, "mode"), "full") == 0;
}

/* ---- plan time ---- */

static int need_validation(struct op_infer *x, struct err *e)
{
    static const char *const names[] = {"eval_steps", "early_stopping_patience", "load_best_model_at_end"};
    const struct op_args *a = op_infer_args(x);
    if (op_input_count(a, "validation"))
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bool asked = i == 2 ? op_bool(a, names[i]) : op_is_set(a, names[i]);
        if (asked) {
            op_blame_param(x, names[i]);
            return err_set(e, ERR_INPUT, "%s needs a dataset at the input `validation`", names[i]);
        }
    }
    return 0;
}

static int check_mode(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    op_blame_param(x, "mode");
    if (!is_full(a) && !op_input_count(a, "adapter"))
        return err_set(e, ERR_INPUT, "mode: lora trains an adapter: connect one at the input `adapter` (op lora-init), or set mode: full");
    if (is_full(a) && op_input_count(a, "adapter")) {
        op_blame_input(x, "adapter");
        return err_set(e, ERR_INPUT, "mode: full trains the model itself and takes no adapter");
    }
    op_blame_param(x, "dtype");
    if (!is_full(a) && op_is_set(a, "dtype"))
        return err_set(e, ERR_INPUT, "dtype is the type of a fully trained model's weights; adapters are f32");
    return 0;
}

static bool distills(const struct op_args *a, const char *how)
{
    return strcmp(op_str(a, "distill"), how) == 0;
}

/* Type of the artifact at the input `teacher`. */
static bool teacher_is(const struct op_args *a, const char *type)
{
    const char *t = js_cstr(js_get(op_input(a, "teacher"), "type"));
    return t && strcmp(t, type) == 0;
}

static int check_offline(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    bool model = teacher_is(a, "model");
    int64_t rows = js_int(js_get(op_input(a, "teacher"), "rows"), -1), own = data_samples_rows(a, "data");
    if (teacher_is(a, "predictions"))
        return err_set(e, ERR_INPUT, "distill: offline compares logits: connect a teacher-logits node, or the teacher's model, at `teacher`; predictions are for distill: online");
    struct js *facts = model ? vocabulary_facts(op_input(a, "teacher")) : js_ref(js_get(op_input(a, "teacher"), "vocabulary"));
    struct js *student = vocabulary_facts(op_input(a, "model"));
    int rc = student ? vocabulary_same(facts, student, true, "their logits cannot be compared; use distill: online, which hands over text", e)
                     : err_nomem(e, 0, "facts of a vocabulary");
    js_free(facts);
    js_free(student);
    if (rc == 0 && !model && rows >= 0 && own >= 0 && rows != own)
        rc = err_set(e, ERR_INPUT, "the teacher's logits are of %lld rows, data has %lld: make them from the same data", (long long)rows, (long long)own);
    if (rc == 0 && !model && op_is_given(a, "top_k")) {
        op_blame_param(x, "top_k");
        rc = err_set(e, ERR_INPUT, "top_k is a parameter of the teacher-logits node here; in train it belongs to a teacher's model at `teacher`");
    }
    return rc;
}

static int check_distill(struct op_infer *x, struct err *e)
{
    static const char *const only[] = {"temperature", "distill_weight", "top_k"};
    const struct op_args *a = op_infer_args(x);
    for (size_t i = 0; i < sizeof only / sizeof *only; i++)
        if (op_is_given(a, only[i]) && !distills(a, "offline")) {
            op_blame_param(x, only[i]);
            return err_set(e, ERR_INPUT, "%s belongs to distill: offline", only[i]);
        }
    op_blame_param(x, "distill");
    if (!distills(a, "none") && !op_input_count(a, "teacher"))
        return err_set(e, ERR_INPUT, "distill: %s needs a teacher: connect %s at the input `teacher`", op_str(a, "distill"),
                       distills(a, "offline") ? "a teacher-logits node (or the teacher's model)" : "a generate node, which wrote the teacher's answers to the same data,");
    op_blame_input(x, "teacher");
    if (distills(a, "none") && op_input_count(a, "teacher"))
        return err_set(e, ERR_INPUT, "a teacher is used by distillation alone: set distill: offline (logits) or online (its answers), or leave the input away");
    if (distills(a, "offline"))
        return check_offline(x, e);
    const char *task = js_cstr(js_get(op_input(a, "teacher"), "task"));
    if (distills(a, "online") && (!teacher_is(a, "predictions") || (task && strcmp(task, "generate") != 0)))
        return err_set(e, ERR_INPUT, "distill: online trains on text that the teacher wrote: connect a generate node at `teacher`");
    return 0;
}

static int check_steps(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    int64_t rows = data_samples_rows(a, "data"), batch = op_int(a, "per_device_train_batch_size"), acc = op_int(a, "gradient_accumulation_steps");
    op_blame_param(x, "batch_tokens");
    if (op_is_set(a, "batch_tokens") && op_is_given(a, "per_device_train_batch_size"))
        return err_set(e, ERR_INPUT, "batch_tokens and per_device_train_batch_size both set the size of a micro-batch; give one of them");
    op_blame_param(x, "group_by_length");
    if (op_bool(a, "group_by_length") && !op_bool(a, "shuffle"))
        return err_set(e, ERR_INPUT, "group_by_length changes the shuffled order, and shuffle is false, which keeps that of the file; set one of them");
    op_blame_param(x, "gradient_accumulation_steps");
    if (rows >= 0 && !op_is_set(a, "batch_tokens") && (rows + batch - 1) / batch < acc)
        return err_set(e, ERR_INPUT,
                       "%lld rows make %lld micro-batches of %lld, fewer than gradient_accumulation_steps (%lld): an epoch has no step; "
                       "lower gradient_accumulation_steps or per_device_train_batch_size",
                       (long long)rows, (long long)((rows + batch - 1) / batch), (long long)batch, (long long)acc);
    return 0;
}

static int check_adapter(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    const struct js *student = js_get(op_input(a, "adapter"), "student");
    struct model_config c, s;
    if (!student)
        return 0;
    int rc = op_model_config(a, "model", &c, e);
    if (rc == 0)
        rc = model_config_parse(student, "adapter", &s, e);
    op_blame_input(x, "adapter");
    if (rc == 0 && (c.hidden_size != s.hidden_size || c.intermediate_size != s.intermediate_size || c.num_hidden_layers != s.num_hidden_layers ||
                    c.num_attention_heads != s.num_attention_heads || c.num_key_value_heads != s.num_key_value_heads || c.head_dim != s.head_dim ||
                    c.vocab_size != s.vocab_size))
        rc = err_set(e, ERR_INPUT, "the adapter was made for another model (%d layers of width %d, vocabulary %d) than this one (%d of %d, %d)",
                     s.num_hidden_layers, s.hidden_size, s.vocab_size, c.num_hidden_layers, c.hidden_size, c.vocab_size);
    return rc;
}

static struct js *task_descriptor(void)
{
    struct js *d = js_object();
    js_set(d, "task", js_new_cstr("train"));
    return d;
}

static int train_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    int rc = check_mode(x, e);
    if (rc == 0)
        rc = check_distill(x, e);
    if (rc == 0)
        rc = need_validation(x, e);
    if (rc == 0)
        rc = distills(a, "online") ? data_samples_infer(x, "data", e) : data_samples_trainable(x, "data", e);
    if (rc == 0 && op_input_count(a, "validation"))
        rc = data_samples_trainable(x, "validation", e);
    if (rc == 0)
        rc = check_steps(x, e);
    if (rc == 0 && !is_full(a))
        rc = check_adapter(x, e);
    if (rc == 0)
        rc = op_set_output_type(x, "trained", is_full(a) ? "model" : "adapter");
    if (rc == 0)
        rc = op_set_output(x, "trained", is_full(a) ? model_out_descriptor(op_input(a, "model"), op_str(a, "dtype"), false) : js_copy(op_input(a, "adapter")), e);
    if (rc == 0)
        rc = op_set_output(x, "log", task_descriptor(), e);
    if (rc == 0)
        rc = op_set_output(x, "metrics", task_descriptor(), e);
    return rc;
}

/* Trained elements, and all matrix elements of the model. */
static void count_elements(const struct op_args *a, const struct model_config *c, double *trained, double *matrices)
{
    const struct js *adapter = op_input(a, "adapter"), *targets = js_get(adapter, "target_modules");
    double r = (double)js_int(js_get(adapter, js_get(adapter, "largest_r") ? "largest_r" : "r"), 16);
    *trained = *matrices = 0;
    for (int m = 0; m <= MOD_HEAD; m++) {
        size_t out, in;
        module_shape(c, (enum module)m, &out, &in);
        double times = m <= MOD_DOWN ? c->num_hidden_layers : 1;
        if (m != MOD_EMBED)
            *matrices += times * (double)out * (double)in;
        if (is_full(a) && !(m == MOD_HEAD && c->tie_word_embeddings))
            *trained += times * (double)out * (double)in;
        for (size_t i = 0; !is_full(a) && i < js_len(targets); i++)
            if (js_cstr(js_at(targets, i)) && strcmp(js_cstr(js_at(targets, i)), module_name((enum module)m)) == 0)
                *trained += times * r * (double)(out + in);
    }
}

/* Bytes of a training: weights of this kind, the optimiser, the adapter's factors ready for the products, activations. */
static uint64_t memory_of(const struct op_args *a, const struct model_config *c, enum dtype stored, enum weights_kind kind, size_t tokens, size_t targets,
                          bool recompute)
{
    double trained, matrices;
    enum dtype t = is_full(a) ? DT_F32 : op_compute(a);
    count_elements(a, c, &trained, &matrices);
    return weights_memory(c, stored, t, kind) + optim_memory((size_t)trained, is_full(a)) + (uint64_t)(is_full(a) ? 0 : 12 * trained) +
           pass_memory(c, t, tokens, targets, true, recompute);
}

/* Beside the usual way: activations made again in the backward pass; then also the weights of an adapter's base a layer at a time. */
static void cost_memory(const struct op_args *a, const struct model_config *c, size_t tokens, struct op_cost *cost)
{
    enum dtype stored = op_model_dtype(a, "model");
    enum weights_kind kind = is_full(a) ? WEIGHTS_TRAINABLE : WEIGHTS_RESIDENT;
    cost->peak_memory = memory_of(a, c, stored, kind, tokens, tokens, false);
    cost->less[0] = (struct op_less){memory_of(a, c, stored, kind, tokens, tokens, true), "recomputes activations"};
    if (!is_full(a))
        cost->less[1] = (struct op_less){memory_of(a, c, stored, WEIGHTS_STREAMED, tokens, tokens, true),
                                         "recomputes activations and reads the weights a layer at a time"};
}

/* The teacher's logits lie beside that; its model is gone before training begins. */
static void add_teacher(const struct op_args *a, size_t targets, struct op_cost *cost)
{
    uint64_t table = teacher_memory(targets, (size_t)op_int(a, "top_k")), asking = distillation_memory(a, "teacher") + table;
    cost->peak_memory = cost->peak_memory + table > asking ? cost->peak_memory + table : asking;
    for (int i = 0; i < OP_LESS_MAX && cost->less[i].memory; i++)
        cost->less[i].memory = cost->less[i].memory + table > asking ? cost->less[i].memory + table : asking;
}

static void train_cost(const struct op_args *a, struct op_cost *cost)
{
    struct model_config c;
    struct err ignored = {0};
    double trained, matrices;
    if (op_model_config(a, "model", &c, &ignored))
        return;
    count_elements(a, &c, &trained, &matrices);
    double row = (double)(op_int(a, "max_length") < GUESS_TOKENS ? op_int(a, "max_length") : GUESS_TOKENS);
    double rows = (double)(data_samples_rows(a, "data") > 0 ? data_samples_rows(a, "data") : 1000);
    double batch = op_is_set(a, "batch_tokens") ? (double)op_int(a, "batch_tokens") : row * (double)op_int(a, "per_device_train_batch_size");
    double tokens = rows * row * op_float(a, "num_train_epochs");
    if (op_is_set(a, "max_steps"))
        tokens = (double)op_int(a, "max_steps") * batch * (double)op_int(a, "gradient_accumulation_steps");
    cost->flops = tokens * (is_full(a) ? 6 * matrices : 4 * matrices + 6 * trained);
    cost->products = is_full(a) ? DT_F32 : op_compute(a);
    cost->bytes_read = 2 * matrices;
    cost->bytes_written = 4 * trained;
    cost_memory(a, &c, (size_t)batch, cost);
    if (distills(a, "offline") && teacher_is(a, "model"))
        add_teacher(a, (size_t)(rows * row), cost);
}

/* ---- run time ---- */

struct training {
    struct op_run *r;
    const struct op_args *a;
    struct model *model;
    struct weights *weights;
    struct lora *lora;
    struct data_samples data, validation;
    bool has_validation;
    struct teacher teacher;
    struct train_job job;
    struct train_result res;
    char *checkpoint;
};

static void training_release(struct training *t)
{
    train_result_release(&t->res);
    weights_free(t->weights);
    lora_free(t->lora);
    teacher_release(&t->teacher);
    data_samples_release(&t->data);
    if (t->has_validation)
        data_samples_release(&t->validation);
    model_close(t->model);
    free(t->checkpoint);
}

static void settings(const struct op_args *a, struct train_settings *s)
{
    *s = (struct train_settings){
        .epochs = op_float(a, "num_train_epochs"),
        .max_steps = op_int(a, "max_steps"),
        .batch = {(size_t)op_int(a, "per_device_train_batch_size"), (size_t)op_int(a, "batch_tokens"),
                  (size_t)op_int(a, "gradient_accumulation_steps"), op_bool(a, "shuffle"), (uint64_t)op_int(a, "seed"), op_bool(a, "group_by_length")},
        .learning_rate = op_float(a, "learning_rate"),
        .warmup_ratio = op_float(a, "warmup_ratio"),
        .adamw = {op_float(a, "adam_beta1"), op_float(a, "adam_beta2"), op_float(a, "adam_epsilon"), op_float(a, "weight_decay"),
                  op_float(a, "max_grad_norm")},
        .reduction = strcmp(op_str(a, "loss_reduction"), "microbatch") == 0 ? REDUCE_MICROBATCH : REDUCE_TOKEN,
        .dropout_seed = (uint64_t)op_int(a, "seed"),
        .eval_steps = op_int(a, "eval_steps"),
        .patience = op_int(a, "early_stopping_patience"),
        .load_best = op_bool(a, "load_best_model_at_end"),
        .save_steps = op_int(a, "save_steps"),
        .save_seconds = op_float(a, "save_interval"),
    };
    schedule_parse(op_str(a, "lr_scheduler_type"), &s->schedule);
}

/* Weights resident, or streamed, and activations kept or recomputed: as the memory of this node allows. */
static int choose_memory(struct training *t, enum weights_kind *kind, struct err *e)
{
    const struct model_config *c = model_config(t->model);
    struct training_size size;
    struct train_settings *s = &t->job.s;
    int rc = training_size(&t->data.samples, &s->batch, s->epochs, s->max_steps, &size, e);
    if (rc)
        return rc;
    enum dtype stored = model_tensor(t->model, "model.embed_tokens.weight")->dtype;
    uint64_t have = op_memory(t->r), need = 0;
    *kind = is_full(t->a) ? WEIGHTS_TRAINABLE : WEIGHTS_RESIDENT;
    for (int way = 0; way < 3; way++) {
        s->recompute = way > 0;
        if (way == 2 && !is_full(t->a))
            *kind = WEIGHTS_STREAMED;
        need = memory_of(t->a, c, stored, *kind, size.micro_tokens, size.micro_targets, s->recompute);
        if (have == 0 || need <= have)
            return 0;
    }
    progress_warn(op_progress(t->r), "training needs about %.1f GiB, more than the %.1f GiB planned; smaller micro-batches or --mem help",
                  (double)need / (1 << 30), (double)have / (1 << 30));
    return 0;
}

/* The rows; with distill: online with the teacher's answers in them. */
static int read_data(struct training *t, struct err *e)
{
    const char *path = NULL;
    int rc = op_read_dataset(t->r, "data", &t->data.data, e);
    if (rc == 0 && distills(t->a, "online")) {
        rc = op_in_file(t->r, "teacher", 0, "predictions.jsonl", &path, e);
        if (rc == 0)
            rc = distillation_answers(&t->data.data, path, op_progress(t->r), e);
    }
    return rc ? rc : data_samples_encode(t->r, "data", t->model, 0, &t->data, e);
}

/* The same rows as the teacher's tokenizer encodes them. */
static int same_tokens(struct training *t, struct err *e)
{
    struct model *m = NULL;
    struct data_samples d = {0};
    const struct samples *s = &t->data.samples;
    int rc = op_open_model(t->r, "teacher", &m, e);
    if (rc == 0)
        rc = data_samples_read(t->r, "data", m, 0, &d, e);
    for (size_t i = 0; rc == 0 && i < s->n && i < d.samples.n; i++)
        if (s->v[i].x.n != d.samples.v[i].x.n || memcmp(s->v[i].x.ids, d.samples.v[i].x.ids, s->v[i].x.n * sizeof *s->v[i].x.ids) != 0)
            rc = err_set(e, ERR_INPUT, "teacher and student encode row %zu differently: their vocabularies are not the same; use distill: online", s->v[i].row);
    data_samples_release(&d);
    model_close(m);
    return rc;
}

static int read_teacher(struct training *t, struct err *e)
{
    const char *path;
    int rc = teacher_is(t->a, "model") ? same_tokens(t, e) : op_in_file(t->r, "teacher", 0, "teacher.safetensors", &path, e);
    if (rc == 0 && teacher_is(t->a, "model"))
        rc = distillation_ask(t->r, "teacher", NULL, &t->data.samples, (size_t)op_int(t->a, "top_k"), &t->teacher, e);
    else if (rc == 0)
        rc = teacher_read(path, model_config(t->model)->vocab_size, &t->teacher, e);
    if (rc == 0)
        rc = teacher_join(&t->teacher, &t->data.samples, e);
    t->teacher.soft.temperature = op_float(t->a, "temperature");
    t->teacher.soft.weight = op_float(t->a, "distill_weight");
    return rc;
}

static int open_inputs(struct training *t, struct err *e)
{
    int rc = op_open_model(t->r, "model", &t->model, e);
    if (rc == 0)
        rc = read_data(t, e);
    if (rc == 0 && distills(t->a, "offline"))
        rc = read_teacher(t, e);
    if (rc == 0 && op_input_count(t->a, "validation")) {
        t->has_validation = true;
        rc = data_samples_read(t->r, "validation", t->model, 0, &t->validation, e);
    }
    if (rc == 0 && !is_full(t->a))
        rc = op_read_lora(t->r, "adapter", model_config(t->model), &t->lora, e);
    return rc;
}

static int prepare(struct training *t, struct err *e)
{
    enum dtype compute = is_full(t->a) ? DT_F32 : op_compute(t->a);
    enum weights_kind kind;
    const char *dir;
    settings(t->a, &t->job.s);
    int rc = choose_memory(t, &kind, e);
    if (rc == 0)
        rc = weights_new(t->model, compute, kind, &t->weights, e);
    if (rc == 0)
        rc = op_checkpoint_dir(t->r, &dir, e);
    if (rc == 0 && !(t->checkpoint = fs_join(dir, "train.safetensors")))
        rc = err_nomem(e, strlen(dir), "path");
    t->job.s.checkpoint = t->checkpoint;
    t->job.weights = t->weights;
    t->job.lora = t->lora;
    t->job.data = &t->data.samples;
    t->job.validation = t->has_validation ? &t->validation.samples : NULL;
    t->job.progress = op_progress(t->r);
    return rc;
}

/* ---- outputs ---- */

static int full_edit(void *u, const char *name, size_t row0, size_t rows, size_t cols, float *x, struct err *e)
{
    size_t n = 0;
    const float *p = weights_param(u, name, &n);
    if (p && (row0 + rows) * cols > n)
        return err_set(e, ERR_INTERNAL, "%s: %zu trained values, %zu expected", name, n, (row0 + rows) * cols);
    if (p)
        memcpy(x, p + row0 * cols, rows * cols * sizeof *x);
    return 0;
}

static int write_model(struct training *t, struct err *e)
{
    struct model_write w = {.base = t->model, .set_dtype = op_is_set(t->a, "dtype"), .dtype = model_out_dtype(op_str(t->a, "dtype"), DT_F32),
                            .edit = full_edit, .u = t->weights, .progress = op_progress(t->r)};
    return model_out_write(t->r, "trained", &w, e);
}

/* pkgraph.json of the adapter that came in, with what training adds. */
static int write_facts(struct training *t, struct err *e)
{
    const char *in, *out;
    struct js *j = NULL;
    int rc = op_in_file(t->r, "adapter", 0, "pkgraph.json", &in, e); /* one from elsewhere has none */
    if (rc == 0 && !(j = js_read(in, e)))
        rc = e->code == ERR_NOTFOUND ? ERR_IO : e->code;
    if (rc == ERR_NOTFOUND && (j = js_object()))
        rc = 0;
    if (rc == 0)
        rc = op_out_file(t->r, "trained", "pkgraph.json", &out, e);
    if (rc == 0 && (js_set(j, "trained_steps", js_new_int(t->res.steps)) | js_set(j, "trained_tokens", js_new_num(t->res.tokens))))
        rc = err_nomem(e, 0, "pkgraph.json");
    if (rc == 0)
        rc = js_save(out, j, e);
    js_free(j);
    return rc;
}

static int write_adapter(struct training *t, struct err *e)
{
    const char *model, *config, *compensation = NULL;
    bool compensated = false;
    for (size_t i = 0; i < t->lora->n; i++)
        compensated |= t->lora->pairs[i].B0 != NULL;
    int rc = op_out_file(t->r, "trained", "adapter_model.safetensors", &model, e);
    if (rc == 0)
        rc = op_out_file(t->r, "trained", "adapter_config.json", &config, e);
    if (rc == 0 && compensated)
        rc = op_out_file(t->r, "trained", "compensation.safetensors", &compensation, e);
    if (rc == 0)
        rc = lora_write(t->lora, model, config, compensation, e);
    return rc ? rc : write_facts(t, e);
}

static int write_metrics(struct training *t, struct err *e)
{
    const struct train_result *r = &t->res;
    const char *path;
    struct metrics m = metrics_new("train", "training", (int64_t)t->data.samples.n, 0);
    metrics_add(&m, "train_loss", r->mean_loss, NAN, false);
    metrics_add(&m, "final_train_loss", r->loss, NAN, false);
    metrics_by(&m, "counts", "steps", (double)r->steps);
    metrics_by(&m, "counts", "tokens", r->tokens);
    metrics_by(&m, "counts", "target_tokens", r->targets);
    metrics_by(&m, "counts", "rows_dropped", (double)t->data.samples.dropped);
    metrics_by(&m, "counts", "rows_cut", (double)t->data.samples.cut);
    if (r->n_evals) {
        metrics_add(&m, "eval_loss", t->job.s.load_best ? r->best_loss : r->evals[r->n_evals - 1].loss, NAN, false);
        metrics_add(&m, "best_eval_loss", r->best_loss, NAN, false);
        metrics_by(&m, "counts", "best_step", (double)r->best_step);
    }
    for (size_t i = 0; i < r->n_evals; i++) {
        char key[32];
        snprintf(key, sizeof key, "%lld", (long long)r->evals[i].step);
        metrics_by(&m, "eval_loss", key, r->evals[i].loss);
    }
    int rc = op_out_file(t->r, "metrics", "metrics.json", &path, e);
    if (rc) {
        js_free(m.root);
        return rc;
    }
    return metrics_save(&m, path, e);
}

static int write_outputs(struct training *t, struct err *e)
{
    const char *path;
    int rc = t->lora ? write_adapter(t, e) : write_model(t, e);
    if (rc == 0)
        rc = op_out_file(t->r, "log", "train.jsonl", &path, e);
    if (rc == 0)
        rc = fs_write_atomic(path, t->res.log.p, t->res.log.n, e);
    return rc ? rc : write_metrics(t, e);
}

static int train_op_run(struct op_run *r, struct err *e)
{
    struct training t = {.r = r, .a = op_run_args(r)};
    int rc = open_inputs(&t, e);
    if (rc == 0)
        rc = prepare(&t, e);
    if (rc == 0)
        rc = train_run(&t.job, &t.res, e);
    if (rc == 0)
        rc = write_outputs(&t, e);
    training_release(&t);
    return rc;
}

/* ---- tables ---- */

static const struct port_def inputs[] = {
    {.name = "model", .type = "model", .help = "the base; frozen with mode: lora, where training starts with mode: full"},
    {.name = "adapter", .type = "adapter", .flags = PORT_OPTIONAL, .help = "the adapter to train (mode: lora), from lora-init"},
    {.name = "data", .type = "dataset", .help = "training rows"},
    {.name = "validation", .type = "dataset", .flags = PORT_OPTIONAL, .help = "held-out rows for the evaluation loss"},
    {.name = "teacher", .type = "teacher-logits|predictions|model", .flags = PORT_OPTIONAL,
     .help = "distill: offline: the teacher's logits on `data`, or its model; online: what it wrote to the rows of `data` (generate)"},
    {0},
};

static const struct port_def outputs[] = {
    {.name = "trained", .type = "adapter|model", .help = "the adapter (mode: lora; its compensation is carried through) or the model (mode: full)"},
    {.name = "log", .type = "log", .help = "train.jsonl: step, epoch, loss, learning_rate, grad_norm, tokens, target_tokens of every step"},
    {.name = "metrics", .type = "metrics", .help = "training loss, validation losses"},
    {0},
};

static const struct param_def params[] = {
    {.name = "mode", .type = PARAM_ENUM, .fallback = "lora", .choices = "lora|full", .help = "train the adapter, or every parameter (in f32, whatever `compute` says)"},
    {.name = "learning_rate", .type = PARAM_FLOAT, .fallback = "3e-4", .min = 0, .max = 10, .help = "largest rate of the schedule"},
    {.name = "num_train_epochs", .type = PARAM_FLOAT, .fallback = "3", .min = 1e-6, .max = 1e6, .help = "passes over the rows; the last may be a part"},
    {.name = "max_steps", .type = PARAM_INT, .min = 1, .max = 1e12, .help = "optimiser steps, in place of num_train_epochs"},
    {.name = "per_device_train_batch_size", .type = PARAM_INT, .fallback = "4", .min = 1, .max = 1 << 20, .help = "rows of a micro-batch"},
    {.name = "gradient_accumulation_steps", .type = PARAM_INT, .fallback = "16", .min = 1, .max = 1 << 20,
     .help = "micro-batches of a step; those left over at the end of an epoch are dropped"},
    {.name = "batch_tokens", .type = PARAM_INT, .min = 1, .max = 1 << 28, .help = "size of a micro-batch in tokens instead of rows; a longer row stands alone"},
    {.name = "warmup_ratio", .type = PARAM_FLOAT, .fallback = "0.03", .min = 0, .max = 1, .help = "share of the steps with a rising rate, rounded up; the first update has rate 0"},
    {.name = "lr_scheduler_type", .type = PARAM_ENUM, .fallback = "linear", .choices = "linear|cosine|constant", .help = "after the warm-up: down to 0, or constant"},
    {.name = "weight_decay", .type = PARAM_FLOAT, .fallback = "0", .min = 0, .max = 10, .help = "decoupled; not on norms and biases"},
    {.name = "adam_beta1", .type = PARAM_FLOAT, .fallback = "0.9", .min = 0, .max = 0.999999, .help = "decay of the first moment"},
    {.name = "adam_beta2", .type = PARAM_FLOAT, .fallback = "0.999", .min = 0, .max = 0.9999999, .help = "decay of the second moment"},
    {.name = "adam_epsilon", .type = PARAM_FLOAT, .fallback = "1e-8", .min = 1e-30, .max = 1, .help = "added to the denominator"},
    {.name = "max_grad_norm", .type = PARAM_FLOAT, .fallback = "1.0", .min = 0, .max = 1e9, .help = "clips the norm of the gradient; 0: no clipping"},
    PARAM_MAX_LENGTH,
    PARAM_TOO_LONG,
    {.name = "loss_reduction", .type = PARAM_ENUM, .fallback = "token", .choices = "token|microbatch",
     .help = "mean over all target tokens of a step, or mean of the micro-batches' means (the published training)"},
    {.name = "shuffle", .type = PARAM_BOOL, .fallback = "true", .help = "a new order of the rows each epoch, from the seed; false: file order"},
    {.name = "group_by_length", .type = PARAM_BOOL, .fallback = "false", .help = "shuffled rows of about equal length make a micro-batch; nothing is padded either way"},
    {.name = "eval_steps", .type = PARAM_INT, .min = 1, .max = 1e12, .help = "validation loss every so many steps; unset: after each epoch. Always after the last step"},
    {.name = "save_steps", .type = PARAM_INT, .min = 1, .max = 1e12, .flags = PARAM_NOKEY, .help = "checkpoint every so many steps, beside save_interval"},
    {.name = "save_interval", .type = PARAM_DURATION, .fallback = "10min", .min = 0, .max = 1e9, .flags = PARAM_NOKEY, .help = "checkpoint every so often; 0: by save_steps alone"},
    {.name = "early_stopping_patience", .type = PARAM_INT, .min = 1, .max = 1e12, .help = "stop after so many evaluations without a smaller loss"},
    {.name = "load_best_model_at_end", .type = PARAM_BOOL, .fallback = "false", .help = "the result has the parameters of the smallest validation loss"},
    {.name = "dtype", .type = PARAM_ENUM, .choices = "f32|bf16|f16", .help = "mode: full: type of the written weights; that of the base when not given"},
    {.name = "distill", .type = PARAM_ENUM, .fallback = "none", .choices = "none|offline|online", 
     .help = "offline: towards the teacher's distribution at every target; online: on the teacher's answers in place of the rows' own"},
    {.name = "temperature", .type = PARAM_FLOAT, .fallback = "1", .min = 1e-3, .max = 1e3, .help = "offline: both distributions are taken at it, and the divergence times its square"},
    {.name = "distill_weight", .type = PARAM_FLOAT, .fallback = "1", .min = 0, .max = 1, .help = "offline: share of the divergence in the loss; the rest is the cross entropy of the rows"},
    {.name = "top_k", .type = PARAM_INT, .fallback = "64", .min = 1, .max = 1 << 20, .help = "offline with a model at `teacher`: tokens compared at each target"},
    PARAM_COMPUTE,
    PARAM_SEED,
    {0},
};

const struct op op_train = {
    .name = "train",
    .version = 3,
    .summary = "Train an adapter, or every parameter",
    .doc = "AdamW with linear warm-up and decay and clipping, on rows packed end to end without padding. Killed or interrupted it goes on from a "
           "checkpoint when the same command is given again, and gives the same bytes as an undisturbed run: shuffling and dropout are functions "
           "of seed and step.\n"
           "distill: offline minimises the divergence of the student's distribution from the teacher's at every trained token, over the teacher's most "
           "probable tokens; the vocabularies must be the same. Of a model at `teacher` the logits are made at the start; of a teacher-logits node they are kept. "
           "distill: online trains on the teacher's answers.\n"
           "A row's loss is over its trained tokens alone. A micro-batch without any is an error that names its rows; so is a loss that is not "
           "finite, with its step.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .infer = train_infer,
    .cost = train_cost,
    .run = train_op_run,
};
