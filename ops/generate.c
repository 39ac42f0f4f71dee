/* SPDX-License-Identifier: MIT
 *
 * generate: what a model writes to the rows of a dataset. A row that ends in an assistant turn is asked for that turn, which
 * becomes the reference; any other for the turn that would come next; rows of plain text are continued.
 */
#include <stdlib.h>
#include <string.h>

#include "ops/lib/data_samples.h"
#include "ops/lib/questions.h"
#include "ops/lib/resume.h"
#include "runtime/text/utf8.h"

/* ---- plan time ---- */

static int check_adapter(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    const struct js *student = js_get(op_input(a, "adapter"), "student");
    struct model_config c, s;
    int rc = op_model_config(a, "model", &c, e);
    if (rc || !student)
        return rc;
    op_blame_input(x, "adapter");
    rc = model_config_parse(student, "adapter", &s, e);
    if (rc == 0 && (c.hidden_size != s.hidden_size || c.num_hidden_layers != s.num_hidden_layers || c.vocab_size != s.vocab_size ||
                    c.intermediate_size != s.intermediate_size))
        rc = err_set(e, ERR_INPUT, "the adapter was made for another model (%d layers of width %d, vocabulary %d) than this one (%d of %d, %d)",
                     s.num_hidden_layers, s.hidden_size, s.vocab_size, c.num_hidden_layers, c.hidden_size, c.vocab_size);
    return rc;
}

static int check_sampling(struct op_infer *x, struct err *e)
{
    static const char *const only[] = {"top_p", "top_k", "seed"};
    const struct op_args *a = op_infer_args(x);
    for (int i = 0; i < 3; i++)
        if (op_is_given(a, only[i]) && op_float(a, "temperature") == 0 && (i < 2 || op_is_given(a, "temperature"))) {
            op_blame_param(x, only[i]);
            return err_set(e, ERR_INPUT, "%s restricts or seeds a draw, and temperature is 0, which always takes the most probable token", only[i]);
        }
    op_blame_param(x, "stop");
    for (size_t i = 0; i < op_count(a, "stop"); i++)
        if (op_str_at(a, "stop", i)[0] == '\0')
            return err_set(e, ERR_INPUT, "an empty string stops everything; leave stop out, or give the text that ends an answer");
    return 0;
}

static int generate_infer(struct op_infer *x, struct err *e)
{
    int rc = check_adapter(x, e);
    if (rc == 0)
        rc = check_sampling(x, e);
    if (rc == 0)
        rc = data_samples_infer(x, "data", e);
    struct js *d = rc == 0 ? js_object() : NULL;
    if (rc == 0)
        js_set(d, "task", js_new_cstr("generate"));
    return rc ? rc : op_set_output(x, "predictions", d, e);
}

static double rows_of(const struct op_args *a)
{
    double rows = (double)data_samples_rows(a, "data");
    rows = rows < 0 ? 1000 : rows;
    return op_is_set(a, "limit") && (double)op_int(a, "limit") < rows ? (double)op_int(a, "limit") : rows;
}

static void generate_cost(const struct op_args *a, struct op_cost *cost)
{
    struct model_config c;
    struct err ignored = {0};
    if (op_model_config(a, "model", &c, &ignored))
        return;
    size_t fresh = (size_t)op_int(a, "max_new_tokens");
    double rows = rows_of(a), d = c.hidden_size, tokens = rows * (200 + (double)fresh / 2);
    double n = c.num_hidden_layers * (2 * d * c.head_dim * (c.num_attention_heads + c.num_key_value_heads) + 3 * d * c.intermediate_size) + d * c.vocab_size;
    enum dtype t = op_compute(a);
    *cost = (struct op_cost){.flops = 2 * n * tokens, .products = t, .bytes_read = 2 * n, .bytes_written = rows * 1000,
                             .peak_memory = op_answer_memory(&c, op_model_dtype(a, "model"), t) + generate_memory(&c, t, 1024, fresh, 0)};
}

/* ---- run ---- */

struct work {
    struct op_run *r;
    const struct op_args *a;
    struct model *model;
    struct weights *weights;
    struct lora *lora;
    const struct tokenizer *tokenizer;
    struct op_dataset data;
    struct questions q;
    struct ids *prompts, *out;
    size_t longest_stop;
    bool copy; /* room for a second copy of the weights */
};

/* The row with an empty assistant turn at its end, unless it has one. */
static int put_prompt(const struct row *r, const char *eos_text, struct buf *out, struct err *e)
{
    struct row asked = *r;
    if (r->plain) {
        for (size_t i = 0; i < r->n; i++)
            buf_str(out, r->messages[i].content);
        return out->failed ? err_nomem(e, out->n, "a prompt") : 0;
    }
    if (r->n && r->messages[r->n - 1].role == ROLE_ASSISTANT)
        return row_text(r, FORM_TRAIN, eos_text, true, out, e);
    struct message *m = calloc(r->n + 1, sizeof *m);
    if (!m)
        return err_nomem(e, (r->n + 1) * sizeof *m, "a prompt");
    if (r->n)
        memcpy(m, r->messages, r->n * sizeof *m);
    m[r->n] = (struct message){.role = ROLE_ASSISTANT};
    asked.messages = m;
    asked.n = r->n + 1;
    int rc = row_text(&asked, FORM_TRAIN, eos_text, true, out, e);
    free(m);
    return rc;
}

static int read_prompts(struct work *w, const char *eos_text, struct err *e)
{
    size_t n = w->data.rows.n, limit = (size_t)op_int(w->a, "limit");
    n = limit && limit < n ? limit : n;
    int rc = questions_new(&w->q, n, e);
    w->q.compare = COMPARE_NOTHING;
    w->prompts = calloc(n + 1, sizeof *w->prompts);
    w->out = calloc(n + 1, sizeof *w->out);
    if (rc == 0 && (!w->prompts || !w->out))
        rc = err_nomem(e, 2 * n * sizeof *w->out, "prompts");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct row *r = &w->data.rows.v[i];
        struct question *q = &w->q.v[i];
        bool answered = !r->plain && r->n && r->messages[r->n - 1].role == ROLE_ASSISTANT;
        q->id = r->id ? str_dup(str_of(r->id)) : NULL;
        q->reference = answered ? str_dup(utf8_strip(r->messages[r->n - 1].content)) : NULL;
        if ((r->id && !q->id) || (answered && !q->reference))
            rc = err_nomem(e, 0, "prompts");
        if (rc == 0)
            rc = put_prompt(r, eos_text, &q->prompt, e);
        if (rc == 0)
            rc = chat_encode(r->plain ? NULL : r->chat, w->tokenizer, buf_view(&q->prompt), &w->prompts[i], e);
        if (rc == 0 && w->prompts[i].n == 0)
            rc = err_set(e, ERR_INPUT, "data: row %zu is an empty prompt: there is nothing to continue; leave such rows out", i);
    }
    return rc;
}

/* Where the first stop string begins in the text; its length when there is none. */
static size_t stop_at(const struct work *w, const struct buf *text)
{
    size_t at = text->n;
    for (size_t i = 0; i < op_count(w->a, "stop"); i++) {
        const char *s = op_str_at(w->a, "stop", i), *p = text->n ? memmem(text->p, text->n, s, strlen(s)) : NULL;
        if (p && (size_t)(p - text->p) < at)
            at = (size_t)(p - text->p);
    }
    return at;
}

/* Only the end of the text can hold a stop string that was not there a token before: every token but a special one writes at
 * least a byte, so some more than its bytes are looked at. */
static bool stops(void *u, size_t prompt, const int32_t *ids, size_t n)
{
    const struct work *w = u;
    size_t last = w->longest_stop + 16;
    struct buf text = {0};
    struct err ignored;
    (void)prompt;
    last = last < n ? last : n;
    bool stop = tokenizer_decode(w->tokenizer, ids + n - last, last, true, &text, &ignored) == 0 && stop_at(w, &text) < text.n;
    buf_release(&text);
    return stop;
}

static int answer(struct work *w, int eos_id, struct err *e)
{
    const struct model_config *c = model_config(w->model);
    int eos[9] = {eos_id}, n = eos_id >= 0;
    for (int i = 0; i < c->n_eos && n < 9; i++)
        if (c->eos_token_id[i] != eos_id)
            eos[n++] = c->eos_token_id[i];
    for (size_t i = 0; i < op_count(w->a, "stop"); i++) {
        size_t len = strlen(op_str_at(w->a, "stop", i));
        w->longest_stop = len > w->longest_stop ? len : w->longest_stop;
    }
    struct generate_options o = {.weights = w->weights, .lora = w->lora, .max_new_tokens = (size_t)op_int(w->a, "max_new_tokens"), .n_eos = n,
                                 .eos = eos, .prefill = (size_t)op_int(w->a, "batch_tokens"), .copy_weights = w->copy, .progress = op_progress(w->r),
                                 .temperature = op_float(w->a, "temperature"), .top_p = op_float(w->a, "top_p"),
                                 .top_k = (size_t)op_int(w->a, "top_k"), .seed = (uint64_t)op_int(w->a, "seed"), .answered = resume_answer};
    if (w->longest_stop) {
        o.stop = stops;
        o.stop_u = w;
    }
    struct journal *journal;
    int rc = resume_answers(w->r, &w->q, &journal, e);
    o.answered_u = journal;
    for (size_t i = 0; rc == 0 && i < w->q.n; i++) {
        w->out[i] = w->q.v[i].ids;
        w->q.v[i].ids = (struct ids){0};
    }
    if (rc == 0)
        rc = generate(&o, w->q.n, w->prompts, w->out, e);
    journal_close(journal);
    size_t full = 0;
    for (size_t i = 0; rc == 0 && i < w->q.n; i++) {
        struct question *q = &w->q.v[i];
        full += w->prompts[i].n >= (size_t)c->max_position_embeddings;
        q->ids = w->out[i];
        w->out[i] = (struct ids){0};
        rc = tokenizer_decode(w->tokenizer, q->ids.v, q->ids.n, true, &q->output, e);
        q->output.n = stop_at(w, &q->output);
    }
    if (rc == 0 && full)
        progress_warn(op_progress(w->r), "%zu of %zu prompts fill the model's %d positions: nothing is written to them", full, w->q.n,
                      c->max_position_embeddings);
    return rc;
}

static int open_all(struct work *w, struct err *e)
{
    int rc = op_open_model(w->r, "model", &w->model, e);
    if (rc == 0)
        rc = model_tokenizer(w->model, &w->tokenizer, e);
    if (rc == 0 && op_input_count(w->a, "adapter"))
        rc = op_read_lora(w->r, "adapter", model_config(w->model), &w->lora, e);
    if (rc == 0)
        rc = op_read_dataset(w->r, "data", &w->data, e);
    if (rc == 0)
        rc = op_dataset_chat(&w->data, w->model, e);
    return rc;
}

/* How often the weights are read: prompts, and a step for each further token of as many sequences as run at once. */
static size_t passes(const struct work *w)
{
    size_t tokens = 0, fresh = (size_t)op_int(w->a, "max_new_tokens");
    for (size_t i = 0; i < w->q.n; i++)
        tokens += w->prompts[i].n;
    return tokens / WEIGHTS_PASS + (w->q.n + GENERATE_BATCH - 1) / GENERATE_BATCH * (fresh - 1);
}

static int open_weights(struct work *w, struct err *e)
{
    enum dtype t = op_compute(w->a), stored = model_tensor(w->model, "model.embed_tokens.weight")->dtype;
    uint64_t room = op_memory(w->r), need = weights_memory(model_config(w->model), stored, t, WEIGHTS_RESIDENT);
    w->copy = stored == t && (room == 0 || 2 * need <= room);
    return op_answer_weights(w->r, w->model, t, passes(w), &w->weights, e);
}

static void release(struct work *w)
{
    for (size_t i = 0; w->prompts && w->out && i < w->q.n; i++) {
        ids_release(&w->prompts[i]);
        ids_release(&w->out[i]);
    }
    free(w->prompts);
    free(w->out);
    questions_release(&w->q);
    op_dataset_release(&w->data);
    weights_free(w->weights);
    lora_free(w->lora);
    model_close(w->model);
}

static int generate_run(struct op_run *r, struct err *e)
{
    struct work w = {.r = r, .a = op_run_args(r)};
    const char *eos_text = NULL, *path;
    int eos_id = -1, rc = open_all(&w, e);
    if (rc == 0)
        rc = op_model_eos(w.model, &eos_text, &eos_id, e);
    if (rc == 0)
        rc = read_prompts(&w, eos_text, e);
    if (rc == 0)
        rc = open_weights(&w, e);
    if (rc == 0)
        rc = answer(&w, eos_id, e);
    if (rc == 0)
        rc = op_out_file(r, "predictions", "predictions.jsonl", &path, e);
    if (rc == 0)
        rc = questions_write(&w.q, path, e);
    release(&w);
    return rc;
}

/* ---- tables ---- */

static const struct port_def inputs[] = {
    {.name = "model", .type = "model", .help = "the model"},
    {.name = "adapter", .type = "adapter", .flags = PORT_OPTIONAL, .help = "beside the model's weights"},
    {.name = "data", .type = "dataset", .help = "the prompts: chat rows in the training form, or plain text to continue"},
    {0},
};

static const struct port_def outputs[] = {
    {.name = "predictions", .type = "predictions", .help = "a line a row: id, prompt_sha256, output, output_ids, reference"},
    {0},
};

static const struct param_def params[] = {
    {.name = "max_new_tokens", .type = PARAM_INT, .fallback = "512", .min = 1, .max = 1 << 20, .help = "tokens of an answer at most"},
    {.name = "temperature", .type = PARAM_FLOAT, .fallback = "0", .min = 0, .max = 100, .help = "0: the most probable token; else drawn"},
    {.name = "top_p", .type = PARAM_FLOAT, .fallback = "1", .min = 0.001, .max = 1, .help = "draw among the fewest tokens whose probabilities reach this"},
    {.name = "top_k", .type = PARAM_INT, .fallback = "all", .unset = "all", .min = 1, .max = 1 << 24, .help = "draw among this many most probable tokens"},
    {.name = "stop", .type = PARAM_STRINGS, .help = "texts that end an answer, beside the model's end tokens; they are not part of the output"},
    {.name = "batch_tokens", .type = PARAM_INT, .fallback = "1024", .min = 1, .max = 1 << 24, .help = "tokens of prompts in one pass"},
    {.name = "limit", .type = PARAM_INT, .fallback = "all", .unset = "all", .min = 1, .max = 1e12, .help = "the first rows only"},
    PARAM_SEED,
    PARAM_COMPUTE,
    {0},
};

const struct op op_generate = {
    .name = "generate",
    .version = 3,
    .summary = "Write continuations of the rows of a dataset",
    .doc = "A row that ends in an assistant turn is asked for that turn, and what stands there is the line's reference; any other is asked for the turn "
           "that would come next. Draw i of row n depends on seed, n and i alone; in f32 the text does not depend on the number of threads or on "
           "what else is written at the same time. output_ids are all tokens, the one that ended the answer included.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .infer = generate_infer,
    .cost = generate_cost,
    .run = generate_run,
};
