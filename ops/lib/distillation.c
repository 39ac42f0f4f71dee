/* SPDX-License-Identifier: MIT */
#include "ops/lib/distillation.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/text/tokenizer.h"

enum { ASK_TOKENS = 2048 };

static bool has_input(const struct op_args *a, const char *port)
{
    return port && op_input_count(a, port) > 0;
}

int distillation_ask(struct op_run *r, const char *port, const char *adapter, const struct samples *s, size_t k, struct teacher *out, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    enum dtype t = op_compute(a);
    struct model *m = NULL;
    struct weights *w = NULL;
    struct lora *lora = NULL;
    const struct tokenizer *tokenizer = NULL;
    int rc = op_open_model(r, port, &m, e);
    if (rc == 0)
        rc = model_tokenizer(m, &tokenizer, e);
    if (rc == 0 && has_input(a, adapter))
        rc = op_read_lora(r, adapter, model_config(m), &lora, e);
    if (rc == 0 && k > tokenizer_size(tokenizer))
        rc = err_set(e, ERR_INPUT, "top_k %zu is more than the vocabulary of %zu", k, tokenizer_size(tokenizer));
    uint64_t need = rc ? 0 : weights_memory(model_config(m), model_tensor(m, "model.embed_tokens.weight")->dtype, t, WEIGHTS_RESIDENT);
    if (rc == 0)
        rc = weights_new(m, t, op_memory(r) && need > op_memory(r) ? WEIGHTS_STREAMED : WEIGHTS_RESIDENT, &w, e);
    struct loss_options o = {.weights = w, .lora = lora, .budget = ASK_TOKENS, .progress = op_progress(r)};
    if (rc == 0)
        rc = pass_work_new(&o.work, e);
    if (rc == 0)
        rc = teacher_ask(s, &o, tokenizer_size(tokenizer), k, out, e);
    pass_work_free(o.work);
    weights_free(w);
    lora_free(lora);
    model_close(m);
    return rc;
}

uint64_t distillation_memory(const struct op_args *a, const char *port)
{
    struct model_config c;
    struct err ignored;
    enum dtype t = op_compute(a);
    if (op_model_config(a, port, &c, &ignored))
        return 0;
    return weights_memory(&c, op_model_dtype(a, port), t, WEIGHTS_RESIDENT) + pass_memory(&c, t, ASK_TOKENS, ASK_TOKENS, false, false);
}

/* ---- answers ---- */

struct answers {
    struct op_dataset *d;
    size_t n, empty, open;
};

static int take_answer(struct answers *a, const struct js *line, struct err *e)
{
    struct rows *rows = &a->d->rows;
    const struct js *text = js_get(line, "output"), *id = js_get(line, "id");
    if (js_kind(text) != JS_STRING)
        return err_set(e, ERR_INPUT, "predictions: line %zu has no \"output\"", a->n + 1);
    if (a->n >= rows->n)
        return err_set(e, ERR_INPUT, "there are more predictions than rows (%zu): generate from the same data", rows->n);
    struct row *r = &rows->v[a->n];
    if (r->id && js_cstr(id) && strcmp(r->id, js_cstr(id)) != 0)
        return err_set(e, ERR_INPUT, "line %zu of the predictions is of row \"%.60s\", row %zu of data is \"%.60s\": generate from the same data", a->n + 1,
                       js_cstr(id), a->n, r->id);
    if (r->plain || !r->n)
        return err_set(e, ERR_INPUT, "data: row %zu is plain text, to which a teacher has no answer; give chat rows", a->n);
    struct str s = js_str(text);
    char *copy = arena_alloc(&rows->mem, s.n + 1);
    size_t n = r->messages[r->n - 1].role == ROLE_ASSISTANT ? r->n : r->n + 1;
    struct message *m = arena_alloc(&rows->mem, n * sizeof *m);
    if (!copy || !m)
        return err_nomem(e, s.n, "an answer");
    memcpy(m, r->messages, (n < r->n ? n : r->n) * sizeof *m);
    memcpy(copy, s.p, s.n);
    m[n - 1] = (struct message){.role = ROLE_ASSISTANT, .content = {copy, s.n}};
    r->messages = m;
    r->n = n;
    a->empty += s.n == 0;
    a->n++;
    return 0;
}

int distillation_answers(struct op_dataset *d, const char *path, const struct progress *p, struct err *e)
{
    struct buf text = {0};
    struct answers a = {.d = d};
    int rc = fs_read(path, (size_t)1 << 30, &text, e);
    for (size_t at = 0; rc == 0 && at < text.n;) {
        char *end = memchr(text.p + at, '\n', text.n - at);
        size_t len = end ? (size_t)(end - text.p) - at : text.n - at;
        struct js *line = js_parse((struct str){text.p + at, len}, path, e);
        rc = line ? take_answer(&a, line, e) : e->code;
        js_free(line);
        at += len + 1;
    }
    buf_release(&text);
    if (rc == 0 && a.n == 0)
        rc = err_set(e, ERR_INPUT, "the teacher wrote nothing: there are no predictions");
    if (rc == 0 && a.n < d->rows.n)
        progress_warn(p, "the teacher answered %zu of %zu rows: the others are left out", a.n, d->rows.n);
    if (rc == 0 && a.empty)
        progress_warn(p, "%zu of %zu answers of the teacher are empty", a.empty, a.n);
    if (rc == 0)
        d->rows.n = a.n;
    return rc;
}
