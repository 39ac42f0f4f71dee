/* SPDX-License-Identifier: MIT
 *
 * Tasks loss and perplexity of eval (method.md 6): cross entropies of a dataset's rows in the training form. The standard error
 * of a ratio of sums takes a row as the unit of sampling.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/lib/data_samples.h"
#include "ops/lib/evaluation.h"
#include "ops/lib/resume.h"
#include "runtime/base/fs.h"
#include "runtime/base/sha.h"

struct loss_sums {
    size_t n; /* rows with targets */
    double loss, targets, row_mean, row_error, error; /* totals; mean of the rows' means, its standard error; that of loss / targets */
};

static struct loss_sums summarise(const struct samples *s, const double *loss)
{
    struct loss_sums t = {0};
    double square = 0, spread = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].x.n_target) {
            t.n++;
            t.loss += loss[i];
            t.targets += (double)s->v[i].x.n_target;
            t.row_mean += loss[i] / (double)s->v[i].x.n_target;
        }
    t.row_mean /= (double)t.n;
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].x.n_target) {
            double k = (double)s->v[i].x.n_target, d = loss[i] / k - t.row_mean, r = loss[i] - t.loss / t.targets * k;
            square += d * d;
            spread += r * r;
        }
    double n = (double)t.n;
    t.row_error = t.n > 1 ? sqrt(square / (n - 1) / n) : NAN;
    t.error = t.n > 1 ? sqrt(n / (n - 1) * spread) / t.targets : NAN;
    return t;
}

/* The digest stands for the row's token ids before the first trained one, little endian. */
static void prompt_digest(const struct encoded *x, char hex[DIGEST_HEX])
{
    struct digest d;
    size_t n = 0;
    while (n < x->n && !x->trained[n])
        n++;
    sha_bytes(x->ids, n * sizeof *x->ids, &d);
    digest_hex(&d, hex);
}

static int write_losses(struct evaluation *v, const struct samples *s, const double *loss, struct err *e)
{
    struct buf b = {0};
    const char *path;
    char hex[DIGEST_HEX];
    int bad = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct encoded *x = &s->v[i].x;
        struct js *o = js_object();
        prompt_digest(x, hex);
        bad |= js_set(o, "id", s->v[i].id ? js_new_cstr(s->v[i].id) : js_new_int((int64_t)s->v[i].row)) |
               js_set(o, "prompt_sha256", js_new_cstr(hex)) | js_set(o, "tokens", js_new_int((int64_t)x->n)) |
               js_set(o, "target_tokens", js_new_int((int64_t)x->n_target)) |
               js_set(o, "loss", x->n_target ? js_new_num(loss[i] / (double)x->n_target) : js_new_null());
        js_write(&b, o);
        buf_putc(&b, '\n');
        js_free(o);
    }
    int rc = bad || b.failed ? err_nomem(e, b.n, "predictions") : op_out_file(v->r, "predictions", "predictions.jsonl", &path, e);
    if (rc == 0)
        rc = fs_write_atomic(path, b.p ? b.p : "", b.n, e);
    buf_release(&b);
    return rc;
}

int evaluate_loss(struct evaluation *v, struct err *e)
{
    struct data_samples d = {0};
    double *loss = NULL;
    int rc = data_samples_read(v->r, "data", v->model, (size_t)op_int(v->a, "limit"), &d, e);
    if (rc == 0 && d.samples.targets == 0)
        rc = err_set(e, ERR_INPUT, "data: no row has a token that enters the loss");
    if (rc == 0 && !(loss = calloc(d.samples.n, sizeof *loss)))
        rc = err_nomem(e, d.samples.n * sizeof *loss, "losses");
    struct resume_rows kept = {.x = loss, .n = d.samples.n, .width = 1};
    struct loss_options o = {.weights = v->weights, .lora = v->lora, .budget = EVALUATION_BUDGET, .progress = op_progress(v->r),
                             .answered = resume_rows_upto, .answered_u = &kept};
    if (rc == 0)
        rc = pass_work_new(&o.work, e);
    if (rc == 0)
        rc = resume_rows_open(v->r, "losses.jsonl", "losses", &kept, e);
    o.first = kept.upto;
    if (rc == 0)
        rc = samples_loss(&d.samples, &o, loss, e);
    resume_rows_close(&kept);
    pass_work_free(o.work);
    if (rc == 0) {
        struct loss_sums t = summarise(&d.samples, loss);
        double mean = t.loss / t.targets;
        if (t.n < d.samples.n)
            progress_warn(op_progress(v->r), "data: %zu of %zu rows have no token that enters the loss", d.samples.n - t.n, d.samples.n);
        struct metrics m = metrics_new(task_name(v->task), "training-form", (int64_t)t.n, 0);
        metrics_add(&m, "loss", mean, t.error, false);
        metrics_add(&m, "row_loss", t.row_mean, t.row_error, false);
        metrics_add(&m, "perplexity", exp(mean), exp(mean) * t.error, false);
        metrics_by(&m, "counts", "target_tokens", t.targets);
        metrics_by(&m, "counts", "tokens", (double)d.samples.tokens);
        metrics_by(&m, "counts", "rows_dropped", (double)d.samples.dropped);
        metrics_by(&m, "counts", "rows_cut", (double)d.samples.cut);
        struct buf protocol = {0};
        buf_puts(&protocol, "training-form");
        evaluation_limit(v, d.samples.n, d.data.rows.n, &protocol, &m);
        buf_release(&protocol);
        rc = evaluation_save(v, &m, e);
        if (rc == 0)
            rc = write_losses(v, &d.samples, loss, e);
    }
    free(loss);
    data_samples_release(&d);
    return rc;
}
