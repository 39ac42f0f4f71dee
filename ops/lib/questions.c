/* SPDX-License-Identifier: MIT */
#include "ops/lib/questions.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/base/sha.h"
#include "runtime/text/answers.h"
#include "runtime/text/rouge.h"
#include "runtime/text/utf8.h"

int questions_new(struct questions *out, size_t n, struct err *e)
{
    *out = (struct questions){0};
    out->v = calloc(n ? n : 1, sizeof *out->v);
    if (!out->v)
        return err_nomem(e, n * sizeof *out->v, "questions");
    out->n = n;
    for (size_t i = 0; i < n; i++)
        out->v[i].row = i;
    return 0;
}

struct question *questions_add(struct questions *q)
{
    struct question *v = realloc(q->v, (q->n + 1) * sizeof *v);
    if (!v)
        return NULL;
    q->v = v;
    v[q->n] = (struct question){.row = q->n};
    return &v[q->n++];
}

static void question_release(struct question *q)
{
    free(q->id);
    free(q->reference);
    free(q->task);
    js_free(q->references);
    js_free(q->extra);
    buf_release(&q->prompt);
    buf_release(&q->output);
    buf_release(&q->prediction);
    ids_release(&q->ids);
}

void questions_keep(struct questions *q, const uint32_t *rows, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < q->n; i++)
        if (k < n && rows[k] == i)
            q->v[k++] = q->v[i];
        else
            question_release(&q->v[i]);
    q->n = k;
}

void questions_release(struct questions *q)
{
    for (size_t i = 0; i < q->n; i++)
        question_release(&q->v[i]);
    free(q->v);
    *q = (struct questions){0};
}

void question_wrap(struct question *q, bool chat, bool train_form)
{
    struct buf b = {0};
    if (!chat)
        return;
    if (train_form) {
        buf_puts(&b, "<|user|>\n");
        buf_str(&b, buf_view(&q->prompt));
        buf_puts(&b, "\n\n<|assistant|>\n");
    } else {
        eval_prompt(&b, buf_view(&q->prompt));
    }
    b.failed |= q->prompt.failed;
    buf_release(&q->prompt);
    q->prompt = b;
}

/* ---- prompts ---- */

int questions_rows(const struct rows *rows, const char *eos_text, size_t limit, struct questions *out, struct err *e)
{
    size_t n = limit && limit < rows->n ? limit : rows->n;
    int rc = questions_new(out, n, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct row *r = &rows->v[i];
        struct question *q = &out->v[i];
        if (r->plain || r->n == 0 || r->messages[r->n - 1].role != ROLE_ASSISTANT)
            return err_set(e, ERR_INPUT, "row %zu does not end in an assistant turn, so there is nothing to compare an answer with", i);
        rc = row_text(r, FORM_TRAIN, eos_text, true, &q->prompt, e);
        q->bare = r->chat && !chat_adds_bos(r->chat);
        q->reference = str_dup(utf8_strip(r->messages[r->n - 1].content));
        q->id = r->id ? str_dup(str_of(r->id)) : NULL;
        if (rc == 0 && (!q->reference || (r->id && !q->id) || q->prompt.failed))
            rc = err_nomem(e, q->prompt.n, "questions");
    }
    return rc;
}

/* Lines of a file as JSON objects with question and answer, at most `limit` (0: all). */
struct qa {
    size_t n, limit;
    struct js **v;
};

static void qa_release(struct qa *a)
{
    for (size_t i = 0; i < a->n; i++)
        js_free(a->v[i]);
    free(a->v);
    *a = (struct qa){0};
}

static int qa_add(void *u, const struct js *j, const char *place, struct err *e)
{
    struct qa *a = u;
    if (a->limit && a->n == a->limit)
        return 0;
    struct js **v = realloc(a->v, (a->n + 1) * sizeof *v);
    if (!v)
        return err_nomem(e, (a->n + 1) * sizeof *v, "questions");
    a->v = v;
    a->v[a->n++] = js_ref(j);
    if (js_kind(js_get(j, "question")) != JS_STRING || js_kind(js_get(j, "answer")) != JS_STRING)
        return err_set(e, ERR_INPUT, "%s: a row of GSM8K has the strings \"question\" and \"answer\"", place);
    if (gsm8k_reference(js_str(js_get(j, "answer"))).n == 0)
        return err_set(e, ERR_INPUT, "%s: the answer does not end in \"#### number\"", place);
    return 0;
}

static int qa_read(const char *path, size_t limit, struct qa *out, struct err *e)
{
    *out = (struct qa){.limit = limit};
    return questions_file(path, qa_add, out, e);
}

static int gsm8k_fill(const struct gsm8k_options *o, const struct qa *rows, const struct str *shots, struct questions *out, struct err *e)
{
    for (size_t i = 0; i < rows->n; i++) {
        struct question *q = &out->v[i];
        gsm8k_prompt(o->n_shot, shots, js_str(js_get(rows->v[i], "question")), &q->prompt);
        question_wrap(q, o->chat, o->train_form);
        buf_puts(&q->prompt, o->chat ? "Answer:" : "\nAnswer:");
        q->reference = str_dup(gsm8k_reference(js_str(js_get(rows->v[i], "answer"))));
        if (js_cstr(js_get(rows->v[i], "id")))
            q->id = str_dup(js_str(js_get(rows->v[i], "id")));
        if (q->prompt.failed || !q->reference)
            return err_nomem(e, 0, "questions");
    }
    return 0;
}

int questions_gsm8k(const struct gsm8k_options *o, struct questions *out, struct err *e)
{
    struct qa rows = {0}, train = {0};
    struct buf *text = calloc(o->n_shot + 1, sizeof *text);
    struct str *shots = calloc(o->n_shot + 1, sizeof *shots);
    *out = (struct questions){0};
    int rc = text && shots ? qa_read(o->path, o->limit, &rows, e) : err_nomem(e, o->n_shot * sizeof *text, "exemplars");
    if (rc == 0 && o->n_shot)
        rc = qa_read(o->shots_path, o->n_shot, &train, e);
    if (rc == 0 && train.n < o->n_shot)
        rc = err_set(e, ERR_INPUT, "%s: %zu rows, %zu exemplars are asked for", o->shots_path, train.n, o->n_shot);
    for (size_t i = 0; rc == 0 && i < o->n_shot; i++) {
        struct str question = js_str(js_get(train.v[i], "question")), answer = js_str(js_get(train.v[i], "answer"));
        (o->direct ? gsm8k_exemplar_direct : gsm8k_exemplar)(question, answer, &text[i]);
        shots[i] = buf_view(&text[i]);
    }
    if (rc == 0)
        rc = questions_new(out, rows.n, e);
    out->line_stop = !o->chat;
    out->plain_reference = true;
    if (rc == 0)
        rc = gsm8k_fill(o, &rows, shots, out, e);
    for (size_t i = 0; text && i < o->n_shot; i++)
        buf_release(&text[i]);
    free(text);
    free(shots);
    qa_release(&rows);
    qa_release(&train);
    return rc;
}

/* ---- answers ---- */

struct line_stop {
    const struct tokenizer *t;
};

static bool has_newline(void *u, size_t prompt, const int32_t *ids, size_t n)
{
    const struct line_stop *s = u;
    struct buf b = {0};
    struct err ignored;
    (void)prompt;
    bool stop = n && tokenizer_decode(s->t, ids, n, true, &b, &ignored) == 0 && b.n && memchr(b.p, '\n', b.n);
    buf_release(&b);
    return stop;
}

/* The best over the references; the text as it stands is the prediction. */
static int judge_text(struct question *q, struct err *e)
{
    struct str out = utf8_strip(buf_view(&q->output));
    size_t n = js_len(q->references);
    buf_str(&q->prediction, out);
    q->has_prediction = true;
    for (size_t i = 0; i < (n ? n : 1); i++) {
        struct str ref = n ? js_str(js_at(q->references, i)) : str_of(q->reference);
        double f;
        int rc = rouge_l(out, ref, &f, e);
        if (rc)
            return rc;
        q->rouge = f > q->rouge ? f : q->rouge;
        q->correct |= answer_exact(out, ref);
    }
    return 0;
}

void question_judge(struct question *q, enum compare_as compare, bool plain_reference)
{
    struct str out = utf8_strip(buf_view(&q->output)), ref = str_of(q->reference);
    struct buf want = {0};
    q->has_prediction = answer_last_number(out, &q->prediction);
    bool number = plain_reference && answer_same_number(ref, ref);
    if (number)
        buf_str(&want, ref);
    else
        number = answer_last_number(ref, &want);
    if (compare == COMPARE_REFERENCE) {
        if (!q->has_prediction)
            buf_str(&q->prediction, out);
        q->has_prediction = true;
        q->correct = answer_same_reference(buf_view(&q->prediction), number ? buf_view(&want) : ref);
    } else if (number) {
        q->correct = q->has_prediction && answer_same_number(buf_view(&q->prediction), buf_view(&want));
    } else {
        buf_clear(&q->prediction);
        buf_str(&q->prediction, out);
        q->has_prediction = true;
        q->correct = str_eq(out, ref);
    }
    buf_release(&want);
}

static int read_output(struct questions *q, size_t i, const struct tokenizer *t, struct err *e)
{
    struct question *v = &q->v[i];
    int rc = tokenizer_decode(t, v->ids.v, v->ids.n, true, &v->output, e);
    if (rc)
        return rc;
    char *line = q->line_stop && v->output.n ? memchr(v->output.p, '\n', v->output.n) : NULL;
    if (line) {
        v->output.n = (size_t)(line - v->output.p);
        *line = '\0';
    }
    if (q->compare == COMPARE_TEXT)
        rc = judge_text(v, e);
    else if (q->compare != COMPARE_NOTHING)
        question_judge(v, q->compare, q->plain_reference);
    if (rc)
        return rc;
    return v->output.failed || v->prediction.failed ? err_nomem(e, v->output.n, "answers") : 0;
}

int questions_answer(struct questions *q, const struct tokenizer *t, const struct generate_options *o, struct err *e)
{
    struct ids *prompts = calloc(q->n ? q->n : 1, sizeof *prompts), *out = calloc(q->n ? q->n : 1, sizeof *out);
    struct generate_options g = *o;
    struct line_stop stop = {t};
    int rc = prompts && out ? 0 : err_nomem(e, q->n * 2 * sizeof *out, "prompts");
    for (size_t i = 0; rc == 0 && i < q->n; i++) {
        out[i] = q->v[i].ids;
        q->v[i].ids = (struct ids){0};
        rc = q->v[i].bare ? tokenizer_encode(t, buf_view(&q->v[i].prompt), false, &prompts[i], e)
                          : chat_encode(NULL, t, buf_view(&q->v[i].prompt), &prompts[i], e);
    }
    if (q->line_stop) {
        g.stop = has_newline;
        g.stop_u = &stop;
    }
    if (rc == 0)
        rc = generate_greedy(&g, q->n, prompts, out, e);
    for (size_t i = 0; rc == 0 && i < q->n; i++) {
        q->v[i].ids = out[i];
        out[i] = (struct ids){0};
        rc = read_output(q, i, t, e);
    }
    for (size_t i = 0; prompts && out && i < q->n; i++) {
        ids_release(&prompts[i]);
        ids_release(&out[i]);
    }
    free(prompts);
    free(out);
    return rc;
}

/* ---- predictions ---- */

static int write_line(const struct question *q, enum compare_as compare, struct buf *out)
{
    struct digest d;
    char hex[DIGEST_HEX];
    struct js *o = js_object(), *ids = js_array();
    int bad = 0;
    sha_bytes(q->prompt.p, q->prompt.n, &d);
    digest_hex(&d, hex);
    for (size_t k = 0; k < q->ids.n; k++)
        bad |= js_push(ids, js_new_int(q->ids.v[k]));
    bad |= js_set(o, "id", q->id ? js_new_cstr(q->id) : js_new_int((int64_t)q->row)) | js_set(o, "prompt_sha256", js_new_cstr(hex)) |
           js_set(o, "output", js_new_str(buf_view(&q->output))) | js_set(o, "output_ids", ids) |
           js_set(o, "prediction", q->has_prediction ? js_new_str(buf_view(&q->prediction)) : js_new_null()) |
           js_set(o, "reference", q->reference ? js_new_cstr(q->reference) : js_new_null()) |
           js_set(o, "correct", compare == COMPARE_NOTHING ? js_new_null() : js_new_bool(q->correct));
    if (q->references)
        bad |= js_set(o, "references", js_ref(q->references));
    if (q->task)
        bad |= js_set(o, "task", js_new_cstr(q->task));
    if (compare == COMPARE_TEXT)
        bad |= js_set(o, "rouge_l", js_new_num(q->rouge));
    for (void *it = js_iter(q->extra); it; it = js_next(q->extra, it))
        bad |= js_set(o, js_iter_key(it), js_ref(js_iter_value(it)));
    js_write(out, o);
    buf_putc(out, '\n');
    js_free(o);
    return bad;
}

int questions_write(const struct questions *q, const char *path, struct err *e)
{
    struct buf b = {0};
    int bad = 0;
    for (size_t i = 0; i < q->n; i++)
        bad |= write_line(&q->v[i], q->compare, &b);
    int rc = bad || b.failed ? err_nomem(e, b.n, "predictions") : fs_write_atomic(path, b.p ? b.p : "", b.n, e);
    buf_release(&b);
    return rc;
}
