/* SPDX-License-Identifier: MIT */
#include "runtime/model/pass.h"

#include <limits.h>
#include <string.h>

#include "runtime/model/precise.h"
#include "runtime/model/run.h"

/* A batch is made by our own code from the user's rows: what cannot be is a bug, except ids outside the vocabulary. */
static int check_tokens(const struct batch *b, int vocab, size_t *max_seq, struct err *e)
{
    if (b->n_seqs < 1 || b->cu[0] != 0)
        return err_set(e, ERR_INTERNAL, "a batch without sequences");
    *max_seq = 0;
    for (int s = 0; s < b->n_seqs; s++) {
        if (b->cu[s + 1] < b->cu[s])
            return err_set(e, ERR_INTERNAL, "sequence %d of the batch has a negative length", s);
        size_t n = (size_t)(b->cu[s + 1] - b->cu[s]);
        *max_seq = n > *max_seq ? n : *max_seq;
    }
    if (b->cu[b->n_seqs] == 0)
        return err_set(e, ERR_INPUT, "the batch has no tokens");
    for (int32_t t = 0; t < b->cu[b->n_seqs]; t++)
        if (b->ids[t] < 0 || b->ids[t] >= vocab)
            return err_set(e, ERR_INPUT, "token id %d is outside the model's vocabulary of %d; does the tokenizer belong to this model?",
                           (int)b->ids[t], vocab);
    return 0;
}

static int check_targets(const struct batch *b, int vocab, struct err *e)
{
    if (b->n_targets < 1)
        return err_set(e, ERR_INPUT, "the batch has no target token: every label is masked");
    if (b->target_cu[0] != 0 || b->target_cu[b->n_seqs] != b->n_targets)
        return err_set(e, ERR_INTERNAL, "the batch's targets are not cut into its sequences");
    for (int s = 0; s < b->n_seqs; s++) {
        if (b->target_cu[s + 1] < b->target_cu[s])
            return err_set(e, ERR_INTERNAL, "the batch's targets are not cut into its sequences");
        for (int32_t i = b->target_cu[s]; i < b->target_cu[s + 1]; i++) {
            int32_t from = i > b->target_cu[s] ? b->target_pos[i - 1] + 1 : b->cu[s];
            if (b->target_pos[i] < from || b->target_pos[i] >= b->cu[s + 1])
                return err_set(e, ERR_INTERNAL, "target %d of the batch is out of order or outside its sequence", (int)i);
            if (b->target_id[i] < 0 || b->target_id[i] >= vocab)
                return err_set(e, ERR_INPUT, "target id %d is outside the model's vocabulary of %d", (int)b->target_id[i], vocab);
        }
    }
    return 0;
}

/* Memory of the call, when the caller keeps none. */
static int begin(struct run *r, const struct pass_options *o, const struct batch *b, size_t targets, size_t max_seq,
                 bool backward, struct pass_work **own, struct err *e)
{
    struct run_shape s = {.T = (size_t)b->cu[b->n_seqs], .N = targets, .n_seqs = (size_t)b->n_seqs, .max_seq = max_seq,
                          .part = pass_part(b->cu, b->n_seqs, o->part_tokens), .backward = backward, .kept = backward ? pass_kept(o) : 1};
    if ((o->part_tokens || o->spill || o->point || o->from) && ((backward && !o->recompute) || (o->lora && o->lora->n)))
        return err_set(e, ERR_INTERNAL, "parts of a batch want recompute and no adapters");
    struct pass_work *w = o->work;
    int rc = w ? 0 : pass_work_new(own, e);
    r->b = r->whole = b;
    rc = rc == 0 ? run_begin(r, o, &s, w ? w : *own, e) : rc;
    for (int q = 0; rc == 0 && q < b->n_seqs; q++)
        for (int32_t t = b->cu[q]; t < b->cu[q + 1]; t++)
            r->pos[t] = t - b->cu[q];
    if (rc == 0 && r->precise)
        precise_rows(b, r->precise);
    return rc;
}

int pass_loss(const struct pass_options *o, const struct batch *b, double *seq_loss, double *total, struct err *e)
{
    struct run r = {0};
    struct pass_work *own = NULL;
    size_t max_seq;
    int vocab = weights_config(o->weights)->vocab_size;
    int rc = check_tokens(b, vocab, &max_seq, e);
    if (rc == 0)
        rc = check_targets(b, vocab, e);
    if (rc == 0)
        rc = begin(&r, o, b, (size_t)b->n_targets, max_seq, false, &own, e);
    if (rc == 0)
        rc = run_forward(&r, e);
    if (rc == 0)
        rc = head_loss(&r, run_layer_input(&r, r.L), seq_loss, total, e);
    pass_work_free(own);
    return rc;
}

int pass_logits(const struct pass_options *o, const struct batch *b, const int32_t *pos, int n, float *logits, struct err *e)
{
    struct run r = {0};
    struct pass_work *own = NULL;
    size_t max_seq;
    if (n < 1)
        return 0;
    int rc = check_tokens(b, weights_config(o->weights)->vocab_size, &max_seq, e);
    for (int i = 0; rc == 0 && i < n; i++)
        if (pos[i] < 0 || pos[i] >= b->cu[b->n_seqs])
            rc = err_set(e, ERR_INTERNAL, "logits wanted at a position outside the batch");
    if (rc == 0)
        rc = begin(&r, o, b, n < b->cu[b->n_seqs] ? (size_t)n : (size_t)b->cu[b->n_seqs], max_seq, false, &own, e);
    if (rc == 0)
        rc = run_forward(&r, e);
    for (int at = 0; rc == 0 && at < n; at += (int)r.N) { /* n may exceed T: a position may be asked for twice */
        size_t m = (size_t)(n - at) < r.N ? (size_t)(n - at) : r.N;
        for (size_t i = 0; i < m; i++)
            memcpy(r.hx + i * r.d, run_layer_input(&r, r.L) + (size_t)pos[(size_t)at + i] * r.d, r.d * sizeof(float));
        rc = head_logits(&r, r.hx, m, logits + (size_t)at * r.V, e);
    }
    pass_work_free(own);
    return rc;
}

/* The uppermost layers' activations are those of the forward pass, unless parts of the batch wrote over each other's. */
static int backward_part(struct run *r, int l, struct err *e)
{
    const struct saved *saved = run_saved(r, l);
    bool there = l >= r->L - r->kept && r->part_room == r->all && !r->o->from;
    int rc = there ? 0 : layer_forward(r, l, run_layer_input(r, l), NULL, saved, e);
    return rc ? rc : layer_backward(r, l, saved, e);
}

static int give_point(const struct run *r, int layer, struct err *e)
{
    struct pass_point p = {layer, r->dres};
    return r->o->point ? r->o->point(r->o->point_u, &p, e) : 0;
}

static int backward_layers(struct run *r, struct err *e)
{
    const struct pass_options *o = r->o;
    int rc = 0;
    for (int l = (o->from ? o->from->layer : r->L) - 1; rc == 0 && l >= r->lowest; l--) {
        rc = weights_acquire(r->w, l, &r->lw, e);
        if (rc != 0)
            break;
        rc = run_parts(r, backward_part, l, e);
        weights_release(r->w, l);
        if (r->spill)
            spill_drop(r->spill, (size_t)l);
        double share = (1 + 2.0 * (r->L - l) / r->L) / 3;
        if (o->progress_total > 0)
            progress_update(o->progress, o->progress_done + (double)r->T * share, o->progress_total, "tokens");
        if (rc == 0)
            rc = give_point(r, l, e);
    }
    return rc;
}

/* The head, or what it left when a run was stopped. */
static int backward_head(struct run *r, double *seq_loss, double *total, struct err *e)
{
    if (!r->o->from) {
        int rc = head_loss(r, run_layer_input(r, r->L), seq_loss, total, e);
        if (rc == 0 && r->spill)
            spill_drop(r->spill, (size_t)r->L);
        return rc == 0 ? give_point(r, r->L, e) : rc;
    }
    memcpy(r->dres, r->o->from->dres, r->all * r->d * sizeof *r->dres);
    return 0;
}

int pass_backward(const struct pass_options *o, const struct batch *b, const struct grad_sink *sink, double *seq_loss,
                  double *total, struct err *e)
{
    struct run r = {0};
    struct pass_work *own = NULL;
    size_t max_seq;
    int vocab = weights_config(o->weights)->vocab_size;
    int rc = check_tokens(b, vocab, &max_seq, e);
    if (rc == 0)
        rc = check_targets(b, vocab, e);
    r.sink = sink;
    if (rc == 0)
        rc = begin(&r, o, b, (size_t)b->n_targets, max_seq, true, &own, e);
    if (rc == 0)
        rc = run_forward(&r, e);
    if (rc == 0)
        rc = backward_head(&r, seq_loss, total, e);
    if (rc == 0)
        rc = backward_layers(&r, e);
    if (rc == 0 && sink && sink->embed)
        rc = sink->embed(sink->u, b, r.dres, e);
    if (rc == 0)
        rc = embed_backward(&r, r.dres, e);
    pass_work_free(own);
    return rc;
}

int pass_kept(const struct pass_options *o)
{
    return o->recompute ? o->kept : INT_MAX;
}

uint64_t pass_parts_memory(const struct model_config *c, enum dtype compute, size_t tokens, size_t part, size_t targets, bool spill, int kept)
{
    struct run_shape s = {.T = tokens, .N = targets, .part = part, .backward = true, .spill = spill, .precise = true, .kept = kept};
    return run_memory(c, compute, &s);
}

uint64_t pass_memory(const struct model_config *c, enum dtype compute, size_t tokens, size_t targets, bool backward, bool recompute)
{
    struct run_shape s = {.T = tokens, .N = targets, .backward = backward, .kept = backward && !recompute ? INT_MAX : 1};
    return run_memory(c, compute, &s);
}
