/* SPDX-License-Identifier: MIT
 *
 * Task mmlu of eval (method.md 6): the next-token logits of " A" .. " D" after each prompt; the largest is the prediction (the
 * first of equals). Questions of a subject that kept the same number of exemplars form a group, whose common front is computed
 * once (choices.h). A question that does not fit even without exemplars counts as not answered.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/lib/evaluation.h"
#include "ops/lib/mmlu_set.h"
#include "ops/lib/resume.h"
#include "runtime/base/fs.h"
#include "runtime/base/sha.h"
#include "runtime/model/choices.h"

enum { MAX_PROMPT = 2048, CHOICES = 4 };

struct asked {
    const struct mmlu_item *item;
    size_t place; /* in the order of the questions */
    int shots;    /* kept; -1: too long */
    struct digest prompt;
    float logits[CHOICES];
    int prediction; /* -1: none */
    bool correct;
};

struct quiz {
    struct mmlu_set set;
    size_t n, total, fit; /* the first `fit` in asking order have prompts that fit */
    struct asked *v;
    struct ids *ids; /* (n), in asking order */
    uint32_t *group;
    int32_t choice[CHOICES];
};

static void quiz_release(struct quiz *z)
{
    for (size_t i = 0; z->ids && i < z->n; i++)
        ids_release(&z->ids[i]);
    free(z->ids);
    free(z->group);
    free(z->v);
    mmlu_set_release(&z->set);
}

static int read_questions(struct evaluation *v, struct quiz *z, struct err *e)
{
    uint32_t *rows = NULL;
    int rc = mmlu_set_read(v->a, &z->set, e);
    z->total = z->set.n;
    if (rc == 0)
        rc = evaluation_pick(v->a, z->total, &rows, &z->n, e);
    if (rc == 0) {
        z->v = calloc(z->n, sizeof *z->v);
        z->ids = calloc(z->n, sizeof *z->ids);
        z->group = calloc(z->n, sizeof *z->group);
        rc = z->v && z->ids && z->group ? 0 : err_nomem(e, z->n * sizeof *z->v, "questions");
    }
    for (size_t i = 0; rc == 0 && i < z->n; i++)
        z->v[i] = (struct asked){.item = &z->set.items[rows[i]], .place = i, .prediction = -1};
    free(rows);
    return rc;
}

static int choice_ids(struct evaluation *v, struct quiz *z, struct err *e)
{
    for (int k = 0; k < CHOICES; k++) {
        struct ids x = {0};
        char text[3] = {' ', (char)('A' + k), '\0'};
        int rc = tokenizer_encode(v->tokenizer, str_of(text), true, &x, e);
        if (rc == 0 && x.n == 0)
            rc = err_set(e, ERR_INPUT, "the tokenizer has no token for \"%s\"", text);
        if (rc == 0)
            z->choice[k] = x.v[x.n - 1];
        ids_release(&x);
        if (rc)
            return rc;
        for (int j = 0; j < k; j++)
            if (z->choice[j] == z->choice[k])
                return err_set(e, ERR_INPUT, "the tokenizer ends \" %c\" and \" %c\" in the same token, so they cannot be told apart", 'A' + j, 'A' + k);
    }
    return 0;
}

/* Subject, then exemplars; too long ones last. */
static int asking_order(const void *a, const void *b)
{
    const struct asked *x = a, *y = b;
    if ((x->shots < 0) != (y->shots < 0))
        return x->shots < 0 ? 1 : -1;
    if (x->item->subject != y->item->subject)
        return x->item->subject < y->item->subject ? -1 : 1;
    if (x->shots != y->shots)
        return x->shots < y->shots ? 1 : -1;
    return (x->place > y->place) - (x->place < y->place);
}

static int by_place(const void *a, const void *b)
{
    const struct asked *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

static int make_prompts(struct evaluation *v, struct quiz *z, struct err *e)
{
    size_t longest = (size_t)model_config(v->model)->max_position_embeddings;
    struct mmlu_wrap w = {.reference = strcmp(op_str(v->a, "compat"), "reference") == 0, .chat = op_bool(v->a, "chat"), .train_form = task_train_form(v->a),
                          .n_shot = (size_t)op_int(v->a, "n_shot"), .max_tokens = longest < MAX_PROMPT ? longest : MAX_PROMPT};
    struct buf text = {0};
    struct ids *ids = calloc(z->n, sizeof *ids); /* by place */
    int rc = ids ? 0 : err_nomem(e, z->n * sizeof *ids, "prompts");
    for (size_t i = 0; rc == 0 && i < z->n; i++) {
        struct asked *q = &z->v[i];
        rc = progress_poll(op_progress(v->r), e);
        if (rc == 0)
            rc = mmlu_set_prompt(&z->set, q->item, &w, v->tokenizer, &text, &ids[i], &q->shots, e);
        sha_bytes(text.p ? text.p : "", text.n, &q->prompt);
    }
    if (rc == 0)
        qsort(z->v, z->n, sizeof *z->v, asking_order);
    for (size_t i = 0; ids && i < z->n; i++) {
        struct ids *from = &ids[rc == 0 ? z->v[i].place : i];
        z->ids[i] = *from;
        *from = (struct ids){0};
        z->fit += rc == 0 && z->v[i].shots >= 0;
        z->group[i] = z->v[i].item->subject * 64 + (uint32_t)(z->v[i].shots + 1);
    }
    free(ids);
    buf_release(&text);
    return rc;
}

/* The logits so far, for the journal. */
struct found {
    struct resume_rows rows;
    const float *logits;
};

static int keep_found(void *u, size_t upto, struct err *e)
{
    struct found *f = u;
    for (size_t i = f->rows.upto * CHOICES; i < upto * CHOICES; i++)
        f->rows.x[i] = (double)f->logits[i];
    return resume_rows_upto(&f->rows, upto, e);
}

static int prompts_digest(const struct quiz *z, char hex[DIGEST_HEX], struct err *e)
{
    struct sha *h = sha_new();
    struct digest d;
    if (!h)
        return err_nomem(e, 0, "a digest");
    for (size_t i = 0; i < z->n; i++)
        sha_add(h, z->v[i].prompt.b, sizeof z->v[i].prompt.b);
    sha_end(h, &d);
    digest_hex(&d, hex);
    return 0;
}

static int all_logits(struct evaluation *v, struct quiz *z, float *logits, double *kept, struct err *e)
{
    char hex[DIGEST_HEX];
    struct found f = {{.x = kept, .n = z->fit, .width = CHOICES}, logits};
    int rc = prompts_digest(z, hex, e);
    if (rc == 0)
        rc = resume_rows_open(v->r, "logits.jsonl", hex, &f.rows, e);
    for (size_t i = 0; i < f.rows.upto * CHOICES; i++)
        logits[i] = (float)kept[i];
    struct choices_options o = {.weights = v->weights, .lora = v->lora, .n_choices = CHOICES, .choice = z->choice, .group = z->group,
                                .progress = op_progress(v->r), .answered = keep_found, .answered_u = &f, .first = f.rows.upto};
    if (rc == 0)
        rc = choices_logits(&o, z->fit, z->ids, logits, e);
    resume_rows_close(&f.rows);
    return rc;
}

static int ask(struct evaluation *v, struct quiz *z, struct err *e)
{
    float *logits = calloc(z->fit + 1, CHOICES * sizeof *logits);
    double *kept = calloc(z->fit + 1, CHOICES * sizeof *kept);
    int rc = logits && kept ? all_logits(v, z, logits, kept, e) : err_nomem(e, z->fit * CHOICES * sizeof *kept, "logits");
    for (size_t i = 0; rc == 0 && i < z->fit; i++) {
        struct asked *q = &z->v[i];
        memcpy(q->logits, logits + i * CHOICES, sizeof q->logits);
        q->prediction = 0;
        for (int k = 1; k < CHOICES; k++)
            if (q->logits[k] > q->logits[q->prediction])
                q->prediction = k;
        q->correct = q->prediction == z->set.test[q->item->subject].v[q->item->row].answer;
    }
    free(kept);
    free(logits);
    if (rc == 0)
        qsort(z->v, z->n, sizeof *z->v, by_place);
    return rc;
}

/* ---- results ---- */

/* Accuracy of the questions whose subject is one of those marked. */
static void group(const struct quiz *z, struct metrics *m, const char *what, const char *name, const bool *in)
{
    size_t n = 0, hits = 0;
    for (size_t i = 0; i < z->n; i++)
        if (in[z->v[i].item->subject]) {
            n++;
            hits += z->v[i].correct;
        }
    double p = n ? (double)hits / (double)n : 0;
    if (n)
        evaluation_group(m, what, name, 100 * p, n > 1 ? 100 * sqrt(p * (1 - p) / (double)(n - 1)) : NAN);
}

static int groups(const struct quiz *z, struct metrics *m, struct err *e)
{
    static const char *const categories[] = {"STEM", "humanities", "social sciences", "other"};
    size_t n = z->set.n_subjects;
    bool *in = calloc(n, sizeof *in);
    if (!in)
        return err_nomem(e, n, "subjects");
    for (size_t s = 0; s < n; s++) {
        in[s] = true;
        group(z, m, "subject", z->set.subjects[s], in);
        in[s] = false;
    }
    for (size_t c = 0; c < 4; c++) {
        for (size_t s = 0; s < n; s++) {
            const char *name = mmlu_category(z->set.subjects[s]);
            in[s] = name && strcmp(name, categories[c]) == 0;
        }
        group(z, m, "category", categories[c], in);
    }
    free(in);
    return 0;
}

static int write_metrics(struct evaluation *v, const struct quiz *z, struct err *e)
{
    struct buf protocol = {0};
    size_t hits = 0, dropped = 0;
    int64_t shots = op_int(v->a, "n_shot");
    for (size_t i = 0; i < z->n; i++) {
        hits += z->v[i].correct;
        dropped += z->v[i].shots >= 0 && z->v[i].shots < shots;
    }
    buf_printf(&protocol, "open-instruct-2023%s%s", !op_bool(v->a, "chat") ? ", plain" : task_train_form(v->a) ? ", training form" : "",
               strcmp(op_str(v->a, "compat"), "reference") == 0 ? ", reference" : "");
    struct metrics m = metrics_new("mmlu", protocol.p ? protocol.p : "", (int64_t)z->n, shots);
    evaluation_limit(v, z->n, z->total, &protocol, &m);
    buf_release(&protocol);
    metrics_accuracy(&m, "acc", hits, z->n);
    metrics_by(&m, "counts", "fewer_shots", (double)dropped);
    metrics_by(&m, "counts", "too_long", (double)(z->n - z->fit));
    int rc = groups(z, &m, e);
    if (rc == 0)
        return evaluation_save(v, &m, e);
    js_free(m.root);
    return rc;
}

static int line(const struct quiz *z, const struct asked *q, struct buf *out)
{
    const char *subject = z->set.subjects[q->item->subject];
    char hex[DIGEST_HEX], letter[2] = {0}, right[2] = {(char)('A' + z->set.test[q->item->subject].v[q->item->row].answer), 0};
    struct js *o = js_object(), *logits = js_array();
    struct buf id = {0};
    int bad = 0;
    letter[0] = (char)('A' + q->prediction);
    buf_printf(&id, "%s/%u", subject, (unsigned)q->item->row);
    digest_hex(&q->prompt, hex);
    for (int k = 0; k < CHOICES; k++)
        bad |= js_push(logits, js_new_num((double)q->logits[k]));
    bad |= js_set(o, "id", js_new_str(buf_view(&id))) | js_set(o, "subject", js_new_cstr(subject)) | js_set(o, "prompt_sha256", js_new_cstr(hex)) |
           js_set(o, "shots", js_new_int(q->shots)) | js_set(o, "logits", q->prediction < 0 ? js_new_null() : js_ref(logits)) |
           js_set(o, "prediction", q->prediction < 0 ? js_new_null() : js_new_cstr(letter)) | js_set(o, "reference", js_new_cstr(right)) |
           js_set(o, "correct", js_new_bool(q->correct));
    js_write(out, o);
    buf_putc(out, '\n');
    bad |= id.failed;
    js_free(logits);
    js_free(o);
    buf_release(&id);
    return bad;
}

static int write_predictions(struct evaluation *v, const struct quiz *z, struct err *e)
{
    struct buf b = {0};
    const char *path;
    int bad = 0;
    for (size_t i = 0; i < z->n; i++)
        bad |= line(z, &z->v[i], &b);
    int rc = bad || b.failed ? err_nomem(e, b.n, "predictions") : op_out_file(v->r, "predictions", "predictions.jsonl", &path, e);
    if (rc == 0)
        rc = fs_write_atomic(path, b.p ? b.p : "", b.n, e);
    buf_release(&b);
    return rc;
}

int evaluate_mmlu(struct evaluation *v, struct err *e)
{
    struct quiz z = {0};
    int rc = read_questions(v, &z, e);
    if (rc == 0)
        rc = choice_ids(v, &z, e);
    if (rc == 0)
        rc = make_prompts(v, &z, e);
    if (rc == 0 && z.fit < z.n)
        progress_warn(op_progress(v->r), "%zu of %zu questions do not fit the model's window without exemplars and count as not answered", z.n - z.fit, z.n);
    if (rc == 0)
        rc = ask(v, &z, e);
    if (rc == 0)
        rc = write_metrics(v, &z, e);
    if (rc == 0)
        rc = write_predictions(v, &z, e);
    quiz_release(&z);
    return rc;
}
