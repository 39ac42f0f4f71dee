/* SPDX-License-Identifier: MIT
 *
 * Encoding runs a row an item; a row that fails is encoded once more on the calling thread, so that the message is the
 * one of the first bad row whatever the threads did.
 */
#include "runtime/model/samples.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/buf.h"
#include "runtime/exec/par.h"

struct encode_job {
    const struct rows *rows;
    const struct samples_options *o;
    struct sample *v;
    int *rc;
};

static int encode_row(const struct encode_job *j, size_t i, struct encoded *x, struct err *e)
{
    const struct samples_options *o = j->o;
    return row_encode(o->tokenizer, &j->rows->v[i], o->form, o->on, o->max_length, o->eos_text, o->eos_id, x, e);
}

static void encode_item(void *u, size_t i)
{
    struct encode_job *j = u;
    struct err ignored = {0};
    j->v[i].row = i;
    j->v[i].id = j->rows->v[i].id;
    j->rc[i] = encode_row(j, i, &j->v[i].x, &ignored);
}

static void name_row(size_t row, const char *id, struct buf *out)
{
    buf_printf(out, "row %zu", row);
    if (id)
        buf_printf(out, " (id \"%s\")", id);
}

void samples_name(const struct samples *s, const uint32_t *which, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n && i < 12; i++) {
        buf_puts(out, i ? ", " : "");
        name_row(s->v[which[i]].row, s->v[which[i]].id, out);
    }
    if (n > 12)
        buf_printf(out, " and %zu more", n - 12);
}

static int check_ids(const struct samples *s, const struct samples_options *o, struct err *e)
{
    for (size_t i = 0; i < s->n; i++)
        for (size_t t = 0; t < s->v[i].x.n; t++)
            if (s->v[i].x.ids[t] < 0 || s->v[i].x.ids[t] >= o->vocab_size) {
                struct buf b = {0};
                name_row(s->v[i].row, s->v[i].id, &b);
                err_set(e, ERR_INPUT, "%s: %s holds token id %d, but the model's vocabulary has %d ids; the tokenizer belongs to another model",
                        o->what, b.p ? b.p : "a row", s->v[i].x.ids[t], o->vocab_size);
                buf_release(&b);
                return e->code;
            }
    return 0;
}

/* Refuses, drops or keeps the rows that were cut at max_length. */
static int settle_long(struct samples *s, const struct samples_options *o, struct err *e)
{
    uint32_t *cut = calloc(s->n + 1, sizeof *cut);
    struct buf names = {0};
    if (!cut)
        return err_nomem(e, s->n * sizeof *cut, "rows");
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].x.cut)
            cut[n++] = (uint32_t)i;
    samples_name(s, cut, n, &names);
    if (n && o->too_long == TOO_LONG_ERROR) {
        err_set(e, ERR_INPUT, "%s: %zu of %zu rows have more than %zu tokens: %s; raise max_length, or set too_long: drop or truncate", o->what, n,
                s->n, o->max_length, names.p ? names.p : "");
    } else if (n) {
        progress_warn(o->progress, "%s: %zu of %zu rows have more than %zu tokens and were %s: %s", o->what, n, s->n, o->max_length,
                      o->too_long == TOO_LONG_DROP ? "dropped" : "cut", names.p ? names.p : "");
        if (o->too_long == TOO_LONG_DROP) {
            size_t keep = 0;
            for (size_t i = 0; i < s->n; i++)
                if (s->v[i].x.cut)
                    encoded_release(&s->v[i].x);
                else
                    s->v[keep++] = s->v[i];
            s->n = keep;
            s->dropped = n;
        } else {
            s->cut = n;
        }
    }
    buf_release(&names);
    free(cut);
    return n && o->too_long == TOO_LONG_ERROR ? e->code : 0;
}

int samples_encode(const struct rows *rows, const struct samples_options *o, struct samples *out, struct err *e)
{
    size_t n = o->limit && o->limit < rows->n ? o->limit : rows->n;
    struct encode_job j = {.rows = rows, .o = o};
    int rc = 0;
    *out = (struct samples){.n = n};
    if (n == 0)
        return err_set(e, ERR_INPUT, "%s: no rows", o->what);
    if (n > UINT32_MAX)
        return err_set(e, ERR_INPUT, "%s: more than %u rows", o->what, UINT32_MAX);
    out->v = j.v = calloc(n, sizeof *j.v);
    j.rc = calloc(n, sizeof *j.rc);
    if (!j.v || !j.rc) {
        rc = err_nomem(e, n * sizeof *j.v, "rows");
        goto out;
    }
    par_for(n, encode_item, &j);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (j.rc[i]) {
            struct encoded again = {0};
            rc = encode_row(&j, i, &again, e);
            encoded_release(&again);
            if (rc)
                err_prefix(e, "%s: row %zu", o->what, i);
            else
                rc = err_set(e, ERR_INTERNAL, "%s: row %zu could not be encoded", o->what, i);
        }
    if (rc == 0)
        rc = check_ids(out, o, e);
    if (rc == 0)
        rc = settle_long(out, o, e);
    if (rc == 0 && out->n == 0)
        rc = err_set(e, ERR_INPUT, "%s: every row has more than %zu tokens, none is left; raise max_length or set too_long: truncate", o->what,
                     o->max_length);
    for (size_t i = 0; i < out->n; i++) {
        out->tokens += out->v[i].x.n;
        out->targets += out->v[i].x.n_target;
    }
out:
    free(j.rc);
    return rc;
}

void samples_release(struct samples *s)
{
    for (size_t i = 0; s->v && i < s->n; i++)
        encoded_release(&s->v[i].x);
    free(s->v);
    *s = (struct samples){0};
}

/* ---- packing ---- */

struct packed_arrays {
    int32_t *cu, *ids, *target_cu, *target_pos, *target_id;
    float *weight;
    uint32_t *soft;
};

static int packed_allocate(struct packed *p, size_t seqs, size_t tokens, size_t targets, struct packed_arrays *a, struct err *e)
{
    if (tokens > INT32_MAX / 2 || seqs > INT32_MAX / 2)
        return err_set(e, ERR_INPUT, "a batch of %zu tokens is too large; use fewer rows a batch", tokens);
    size_t words = 2 * (seqs + 1) + tokens + 4 * targets + seqs + 1;
    int32_t *w = p->memory = calloc(words, sizeof *w);
    if (!w)
        return err_nomem(e, words * sizeof *w, "a batch");
    a->cu = w;
    a->target_cu = a->cu + seqs + 1;
    a->ids = a->target_cu + seqs + 1;
    a->target_pos = a->ids + tokens;
    a->target_id = a->target_pos + targets;
    a->weight = (float *)(a->target_id + targets);
    a->soft = (uint32_t *)(a->target_id + 2 * targets);
    p->sample = a->soft + targets;
    return 0;
}

int packed_make(const struct samples *s, const uint32_t *which, size_t n, double weight, struct packed *out, struct err *e)
{
    size_t seqs = 0, tokens = 0, targets = 0;
    *out = (struct packed){0};
    for (size_t i = 0; i < n; i++) {
        const struct encoded *x = &s->v[which[i]].x;
        out->tokens += x->n;
        if (x->n_target) {
            seqs++;
            tokens += x->n;
            targets += x->n_target;
        }
    }
    struct packed_arrays a = {0};
    int rc = packed_allocate(out, seqs, tokens, targets, &a, e);
    if (rc)
        return rc;
    int32_t at = 0, k = 0;
    size_t q = 0;
    for (size_t i = 0; i < n; i++) {
        const struct encoded *x = &s->v[which[i]].x;
        if (!x->n_target)
            continue;
        memcpy(a.ids + at, x->ids, x->n * sizeof *x->ids);
        size_t soft = s->v[which[i]].soft;
        for (size_t t = 1; t < x->n; t++)
            if (x->trained[t] && (size_t)k < targets) {
                a.target_pos[k] = at + (int32_t)t - 1;
                a.target_id[k] = x->ids[t];
                a.soft[k] = (uint32_t)soft++;
                a.weight[k++] = (float)weight;
            }
        out->sample[q++] = which[i];
        a.cu[q] = at += (int32_t)x->n;
        a.target_cu[q] = k;
    }
    out->targets = targets;
    out->n_seqs = seqs;
    out->b = (struct batch){.n_seqs = (int)seqs, .cu = a.cu, .ids = a.ids, .n_targets = k, .target_cu = a.target_cu,
                            .target_pos = a.target_pos, .target_id = a.target_id, .target_weight = a.weight, .soft = s->soft, .soft_row = a.soft};
    return 0;
}

void packed_release(struct packed *p)
{
    free(p->memory);
    *p = (struct packed){0};
}

/* ---- the loss of each sample ---- */

int samples_loss(const struct samples *s, const struct loss_options *o, double *loss, struct err *e)
{
    size_t budget = o->budget ? o->budget : 4096, done = 0;
    struct progress polled = o->progress ? *o->progress : (struct progress){0};
    if (o->quiet)
        polled.update = NULL;
    uint32_t *which = malloc(s->n * sizeof *which);
    double *sums = calloc(s->n, sizeof *sums);
    int rc = which && sums ? 0 : err_nomem(e, s->n * sizeof *sums, "losses");
    for (size_t i = 0; rc == 0 && i < o->first && i < s->n; i++)
        done += s->v[i].x.n;
    for (size_t i = o->first; rc == 0 && i < s->n; i++)
        loss[i] = 0;
    for (size_t i = o->first; rc == 0 && i < s->n;) {
        size_t n = 0, tokens = 0;
        while (i + n < s->n && (n == 0 || tokens + s->v[i + n].x.n <= budget)) {
            tokens += s->v[i + n].x.n;
            which[n] = (uint32_t)(i + n);
            n++;
        }
        struct packed p = {0};
        rc = packed_make(s, which, n, 1, &p, e);
        if (rc == 0 && p.b.n_targets) {
            double total;
            struct pass_options po = {.weights = o->weights, .lora = o->lora, .progress = &polled, .progress_done = (double)done,
                                      .progress_total = (double)s->tokens, .work = o->work};
            rc = pass_loss(&po, &p.b, sums, &total, e);
            for (size_t q = 0; rc == 0 && q < p.n_seqs; q++)
                loss[p.sample[q]] = sums[q];
        }
        packed_release(&p);
        done += tokens;
        i += n;
        if (rc == 0 && o->answered)
            rc = o->answered(o->answered_u, i, e);
    }
    free(sums);
    free(which);
    return rc;
}
