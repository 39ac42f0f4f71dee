/* SPDX-License-Identifier: MIT
 *
 * Rows of the three files meet by their instruction (and input). There are hundreds of them, so a search over sorted
 * questions is enough. What a question needs for its output line lives in `extra`.
 */
#include "ops/lib/alpaca.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"

static void put_instruction(const struct js *row, struct buf *out)
{
    struct str input = js_str(js_get(row, "input"));
    buf_str(out, js_str(js_get(row, "instruction")));
    if (input.n) {
        buf_putc(out, '\n');
        buf_str(out, input);
    }
}

static int add(void *u, const struct js *row, const char *place, struct err *e)
{
    static const char *const kept[] = {"dataset", "instruction", "input"};
    if (js_str(js_get(row, "instruction")).n == 0)
        return err_set(e, ERR_INPUT, "%s: a row of AlpacaEval has the string \"instruction\"", place);
    struct question *q = questions_add(u);
    if (!q)
        return err_nomem(e, sizeof *q, "questions");
    put_instruction(row, &q->prompt);
    q->extra = js_object();
    int bad = !q->extra || q->prompt.failed;
    for (size_t i = 0; i < 3 && !bad; i++)
        if (js_kind(js_get(row, kept[i])) == JS_STRING && (i < 2 || js_str(js_get(row, kept[i])).n))
            bad |= js_set(q->extra, kept[i], js_ref(js_get(row, kept[i])));
    return bad ? err_nomem(e, 0, "questions") : 0;
}

int alpaca_questions(const char *path, struct questions *out, struct err *e)
{
    *out = (struct questions){.compare = COMPARE_NOTHING};
    return questions_file(path, add, out, e);
}

int alpaca_write(const struct questions *q, const char *generator, const char *path, struct err *e)
{
    struct js *list = js_array();
    int bad = list == NULL;
    for (size_t i = 0; i < q->n && !bad; i++) {
        struct js *o = js_copy(q->v[i].extra);
        bad |= !o || js_set(o, "output", js_new_str(buf_view(&q->v[i].output))) || js_set(o, "generator", js_new_cstr(generator));
        if (bad)
            js_free(o);
        else
            bad |= js_push(list, o);
    }
    int rc = bad ? err_nomem(e, 0, "outputs") : js_save(path, list, e);
    js_free(list);
    return rc;
}

/* ---- files that belong to the questions ---- */

struct entry {
    struct buf text; /* instruction and input */
    struct question *q;
    double preference; /* NaN: none yet */
    struct js *reference;
};

struct index {
    struct entry *v;
    size_t n;
    struct alpaca_judged *judged;
};

static int by_text(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return strcmp(x->text.p, y->text.p);
}

static void index_release(struct index *x)
{
    for (size_t i = 0; x->v && i < x->n; i++) {
        buf_release(&x->v[i].text);
        js_free(x->v[i].reference);
    }
    free(x->v);
}

static int index_make(const struct questions *q, struct index *x, struct err *e)
{
    bool ok = (x->v = calloc(q->n ? q->n : 1, sizeof *x->v)) != NULL;
    x->n = ok ? q->n : 0;
    for (size_t i = 0; i < x->n; i++) {
        x->v[i] = (struct entry){.q = &q->v[i], .preference = NAN};
        put_instruction(q->v[i].extra, &x->v[i].text);
        ok &= !x->v[i].text.failed && x->v[i].text.p;
    }
    if (ok)
        qsort(x->v, x->n, sizeof *x->v, by_text);
    return ok ? 0 : err_nomem(e, 0, "instructions");
}

/* NULL: not one of the questions. */
static struct entry *index_find(const struct index *x, const struct js *row)
{
    struct entry key = {0};
    put_instruction(row, &key.text);
    struct entry *found = key.text.p ? bsearch(&key, x->v, x->n, sizeof key, by_text) : NULL;
    buf_release(&key.text);
    return found;
}

static int take_output(void *u, const struct js *row, const char *place, struct err *e)
{
    struct index *x = u;
    struct entry *f = index_find(x, row);
    if (js_kind(js_get(row, "output")) != JS_STRING)
        return err_set(e, ERR_INPUT, "%s: a row of model outputs has the strings \"instruction\" and \"output\"", place);
    if (!f)
        return 0;
    buf_clear(&f->q->output);
    buf_str(&f->q->output, js_str(js_get(row, "output")));
    f->preference = 0; /* has one */
    return f->q->output.failed ? err_nomem(e, 0, "outputs") : 0;
}

int alpaca_outputs(struct questions *q, const char *path, struct err *e)
{
    struct index x = {0};
    int rc = index_make(q, &x, e);
    if (rc == 0)
        rc = questions_file(path, take_output, &x, e);
    for (size_t i = 0; rc == 0 && i < x.n; i++)
        if (isnan(x.v[i].preference))
            rc = err_set(e, ERR_INPUT, "%s: no output for the instruction of row %zu", path, x.v[i].q->row);
    index_release(&x);
    return rc;
}

static int take_preference(void *u, const struct js *row, const char *place, struct err *e)
{
    struct index *x = u;
    const struct js *p = js_get(row, "preference");
    struct entry *f = index_find(x, row);
    double v = js_num(p, NAN);
    if (!js_str(js_get(row, "instruction")).p || !p || (js_kind(p) != JS_NULL && !(v == 0 || (v >= 1 && v <= 2))))
        return err_set(e, ERR_INPUT, "%s: an annotation has \"instruction\" and \"preference\", a number from 1 (the reference) to 2 (the model)", place);
    if (!f)
        return 0;
    if (!isnan(f->preference))
        return err_set(e, ERR_INPUT, "%s: a second annotation of the same instruction; give the annotations of one model", place);
    struct str judged = js_str(js_get(row, "output_2"));
    if (judged.p && !str_eq(judged, buf_view(&f->q->output)))
        x->judged->other++;
    f->preference = js_kind(p) == JS_NULL ? INFINITY : v == 0 ? 1.5 : v;
    return 0;
}

/* preference i of the entries: NaN: missing; infinite: asked for and not given. */
static int count(struct index *x, struct alpaca_judged *out, struct err *e)
{
    double sum = 0, square = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < x->n; i++) {
        double p = x->v[i].preference;
        out->missing += isnan(p) != 0;
        out->failed += isinf(p) != 0;
        if (!isfinite(p))
            continue;
        out->n++;
        out->wins += p > 1.5;
        out->losses += p < 1.5;
        out->ties += p == 1.5;
        sum += p - 1;
        if (js_set(x->v[i].q->extra, "preference", js_new_num(p)))
            rc = err_nomem(e, 0, "preferences");
    }
    double n = (double)out->n, mean = sum / (n > 0 ? n : 1);
    for (size_t i = 0; rc == 0 && i < x->n; i++)
        if (isfinite(x->v[i].preference))
            square += (x->v[i].preference - 1 - mean) * (x->v[i].preference - 1 - mean);
    out->win_rate = 100 * mean;
    out->std_error = out->n > 1 ? 100 * sqrt(square / (n - 1) / n) : NAN;
    return rc;
}

int alpaca_judge(const struct questions *q, const char *annotations, struct alpaca_judged *out, struct err *e)
{
    struct index x = {.judged = out};
    *out = (struct alpaca_judged){0};
    int rc = index_make(q, &x, e);
    if (rc == 0)
        rc = questions_file(annotations, take_preference, &x, e);
    if (rc == 0)
        rc = count(&x, out, e);
    if (rc == 0 && out->n == 0)
        rc = err_set(e, ERR_INPUT, "%s: no annotation is for one of the instructions", annotations);
    index_release(&x);
    return rc;
}

/* ---- a judge of ours ---- */

int alpaca_count(const struct questions *q, const double *preference, struct alpaca_judged *out, struct err *e)
{
    struct index x = {0};
    *out = (struct alpaca_judged){0};
    int rc = index_make(q, &x, e);
    for (size_t i = 0; rc == 0 && i < x.n; i++)
        x.v[i].preference = isnan(preference[x.v[i].q - q->v]) ? INFINITY : preference[x.v[i].q - q->v];
    if (rc == 0)
        rc = count(&x, out, e);
    index_release(&x);
    return rc;
}

void alpaca_instruction(const struct question *q, struct buf *out)
{
    put_instruction(q->extra, out);
}

static int take_reference(void *u, const struct js *row, const char *place, struct err *e)
{
    struct index *x = u;
    if (js_kind(js_get(row, "instruction")) != JS_STRING || js_kind(js_get(row, "output")) != JS_STRING)
        return err_set(e, ERR_INPUT, "%s: a row to compare with has the strings \"instruction\" and \"output\"", place);
    struct entry *f = index_find(x, row);
    if (f && !f->reference)
        f->reference = js_ref(row);
    return 0;
}

void alpaca_references_free(struct js **references, size_t n)
{
    for (size_t i = 0; references && i < n; i++)
        js_free(references[i]);
    free(references);
}

int alpaca_references(const struct questions *q, const char *path, struct js ***references, struct err *e)
{
    struct index x = {0};
    struct js **v = *references = calloc(q->n ? q->n : 1, sizeof *v);
    int rc = v ? index_make(q, &x, e) : err_nomem(e, q->n * sizeof *v, "references");
    if (rc == 0)
        rc = questions_file(path, take_reference, &x, e);
    for (size_t i = 0; rc == 0 && i < x.n; i++) {
        if (!x.v[i].reference)
            rc = err_set(e, ERR_INPUT, "%s: no output to compare with for the instruction of row %zu", path, x.v[i].q->row);
        v[x.v[i].q - q->v] = js_ref(x.v[i].reference);
    }
    index_release(&x);
    return rc;
}

static int annotation(const struct question *q, const struct js *reference, const struct alpaca_verdict *v, const char *generator,
                      const char *annotator, struct js *list)
{
    struct js *o = js_copy(q->extra);
    const char *other = js_cstr(js_get(reference, "generator"));
    js_del(o, "preference");
    int bad = !o || js_set(o, "output_1", js_ref(js_get(reference, "output"))) || js_set(o, "output_2", js_new_str(buf_view(&q->output))) ||
              js_set(o, "generator_1", js_new_cstr(other ? other : "reference")) || js_set(o, "generator_2", js_new_cstr(generator)) ||
              js_set(o, "annotator", js_new_cstr(annotator)) || js_set(o, "preference", js_new_num(v->preference)) ||
              js_set(o, "raw_completion", js_new_cstr(v->text));
    if (bad) {
        js_free(o);
        return -1;
    }
    return js_push(list, o);
}

int alpaca_write_annotations(const struct questions *q, struct js *const *references, const struct alpaca_verdict *v, const char *generator,
                             const char *annotator, const char *path, struct err *e)
{
    struct js *list = js_array();
    int bad = list == NULL;
    for (size_t i = 0; i < q->n && !bad; i++)
        bad = annotation(&q->v[i], references[i], &v[i], generator, annotator, list);
    int rc = bad ? err_nomem(e, 0, "annotations") : js_save(path, list, e);
    js_free(list);
    return rc;
}
