/* SPDX-License-Identifier: MIT
 *
 * Final norm, lm_head and cross entropy, at the targets only and in chunks, so that the logits never exceed one buffer
 * (run.h: chunk). A chunk is a run of targets with the whole vocabulary. When a sink wants lm_head's gradient, chunks end
 * where sequences end (without soft targets); a sequence too long for the buffer then comes in blocks of the vocabulary, twice: once for
 * log-sum-exp, once for the gradient.
 */
#include "runtime/model/run.h"

#include <math.h>
#include <string.h>

#include "runtime/base/dtype.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/distill.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/norm.h"
#include "runtime/kernels/xent.h"

enum { PIECE = 4096 };

/* Targets [i0, i0 + n) against rows [v0, v0 + rows) of lm_head; s0 .. s1: their sequences. */
struct chunk {
    size_t i0, n, v0, rows;
    int s0, s1;
    const void *xc;   /* (n, d) */
    const float *xf;
    void *uc;
    const struct prep *p;
};

static const void *head_rows(const struct run *r, size_t v0)
{
    return (const char *)r->head + v0 * r->d * r->esz;
}

/* logits (n, rows) of the chunk */
static int chunk_logits(struct run *r, const struct chunk *k, float *logits, struct err *e)
{
    const struct gemm_packed *whole = k->rows == r->V ? weights_head_packed(r->w) : NULL;
    int rc = whole ? gemm_nt_packed(k->n, k->xc, r->d, whole, false, logits, r->V, e)
                   : gemm(GEMM_NT, k->n, k->rows, r->d, r->t, k->xc, r->d, head_rows(r, k->v0), r->d, false, logits, k->rows, e);
    if (rc == 0 && k->p)
        rc = adapter_outer(r, k->p, k->uc, k->n, k->v0, k->rows, logits, k->rows, e);
    return rc;
}

/* From d loss / d logits in r->logits: sink, adapter rows, and r->dh += unless nothing below wants it. */
static int chunk_backward(struct run *r, const struct chunk *k, bool below, struct err *e)
{
    const void *dyc = run_compute(r, r->logits, r->logitsc, k->n * k->rows);
    int rc = 0;
    if (r->sink && r->sink->linear) {
        int32_t *cu = r->seq_cu;
        for (int s = k->s0; s <= k->s1; s++)
            cu[s - k->s0] = r->b->target_cu[s] - (int32_t)k->i0;
        struct grad_linear g = {.layer = -1, .mod = MOD_HEAD, .row0 = k->v0, .rows = k->rows, .in = r->d, .n = k->n, .t = r->t,
                                .dy = dyc, .x = k->xc, .ldy = k->rows, .ldx = r->d, .first_seq = k->s0,
                                .n_seqs = k->s1 - k->s0, .seq_cu = r->b->soft ? NULL : cu};
        rc = r->sink->linear(r->sink->u, &g, e);
    }
    float *dh = r->dh + k->i0 * r->d;
    /* the sum over the vocabulary in pieces that stay in cache: three times as fast as one product this long */
    for (size_t v = 0; rc == 0 && v < k->rows; v += PIECE) {
        size_t n = k->rows - v < PIECE ? k->rows - v : PIECE;
        const void *dy = (const char *)dyc + v * r->esz;
        bool more = k->v0 + v > 0;
        if (below)
            rc = gemm(GEMM_NN, k->n, r->d, n, r->t, dy, k->rows, head_rows(r, k->v0 + v), r->d, more, dh, r->d, e);
        if (rc == 0 && k->p && (below || k->p->pair->dB))
            rc = adapter_back_outer(r, k->p, dy, k->rows, k->uc, k->n, k->v0 + v, n, more, e);
    }
    return rc;
}

/* Running maximum and sum of exp over the blocks of the vocabulary, and the target's own logit (in tloss). */
struct lse {
    struct run *r;
    const struct chunk *k;
};

static void lse_row(void *u, size_t i)
{
    const struct lse *a = u;
    struct run *r = a->r;
    size_t rows = a->k->rows, t = a->k->i0 + i;
    const float *z = r->logits + i * rows;
    double m = r->lse_max[t], sum = 0;
    for (size_t j = 0; j < rows; j++)
        if (z[j] > m)
            m = z[j];
    for (size_t j = 0; j < rows; j++)
        sum += exp((double)z[j] - m);
    r->lse_sum[t] = r->lse_sum[t] * exp(r->lse_max[t] - m) + sum;
    r->lse_max[t] = m;
    size_t id = (size_t)r->tid[t];
    if (id >= a->k->v0 && id < a->k->v0 + rows)
        r->tloss[t] = z[id - a->k->v0];
}

static void dlogits_row(void *u, size_t i)
{
    const struct lse *a = u;
    struct run *r = a->r;
    size_t rows = a->k->rows, t = a->k->i0 + i, id = (size_t)r->tid[t];
    float *z = r->logits + i * rows;
    double lse = r->lse_max[t] + log(r->lse_sum[t]);
    for (size_t j = 0; j < rows; j++)
        z[j] = (float)exp((double)z[j] - lse);
    if (id >= a->k->v0 && id < a->k->v0 + rows)
        z[id - a->k->v0] -= 1;
    for (size_t j = 0; j < rows; j++)
        z[j] *= r->tw[t];
}

/* One sequence whose logits do not fit: blocks of the vocabulary. k->rows is a block's size. */
static int blocks_loss(struct run *r, struct chunk *k, bool below, struct err *e)
{
    size_t block = r->chunk / k->n ? r->chunk / k->n : 1;
    struct lse a = {r, k};
    for (size_t i = k->i0; i < k->i0 + k->n; i++) {
        r->lse_max[i] = -INFINITY;
        r->lse_sum[i] = 0;
    }
    for (int backward = 0; backward < 2; backward++) {
        for (k->v0 = 0; k->v0 < r->V; k->v0 += block) {
            k->rows = r->V - k->v0 < block ? r->V - k->v0 : block;
            int rc = progress_poll(r->o->progress, e);
            if (rc == 0)
                rc = chunk_logits(r, k, r->logits, e);
            if (rc != 0)
                return rc;
            par_for(k->n, backward ? dlogits_row : lse_row, &a);
            if (backward)
                rc = chunk_backward(r, k, below, e);
            if (rc != 0)
                return rc;
        }
        for (size_t i = k->i0; !backward && i < k->i0 + k->n; i++)
            r->tloss[i] = r->lse_max[i] + log(r->lse_sum[i]) - r->tloss[i];
    }
    return 0;
}

/* The logits become their gradients. */
static void chunk_gradient(struct run *r, const struct chunk *k)
{
    const struct batch *b = r->b;
    if (b->soft)
        distill_rows(r->logits, k->n, r->V, r->V, b->soft, b->soft_row + k->i0, r->tid + k->i0, r->tw + k->i0, r->tloss + k->i0);
    else
        xent_rows(r->logits, k->n, r->V, r->V, r->tid + k->i0, r->tw + k->i0, r->tloss + k->i0);
}

static int chunk_loss(struct run *r, struct chunk *k, bool below, struct err *e)
{
    int rc = 0;
    k->xf = r->hn + k->i0 * r->d;
    k->xc = r->t == DT_F32 ? k->xf : (const void *)((const uint16_t *)r->hc + k->i0 * r->d);
    k->p = run_prep(r, -1, MOD_HEAD);
    if (k->p) {
        k->uc = r->huc;
        rc = adapter_inner(r, k->p, k->xc, k->xf, k->n, k->i0, k->uc, e);
    }
    if (rc != 0)
        return rc;
    if (k->n > r->chunk / r->V)
        rc = blocks_loss(r, k, below, e);
    else {
        k->rows = r->V;
        rc = chunk_logits(r, k, r->logits, e);
        if (rc == 0 && !r->backward && r->o->logits)
            rc = r->o->logits(r->o->logits_u, k->i0, k->n, r->logits, e);
        if (rc == 0 && !r->backward)
            xent_loss(r->logits, k->n, r->V, r->V, r->tid + k->i0, r->tloss + k->i0);
        else if (rc == 0) {
            chunk_gradient(r, k);
            rc = chunk_backward(r, k, below, e);
        }
    }
    if (rc == 0 && r->backward && k->p && (below || k->p->pair->dB))
        rc = adapter_back_inner(r, k->p, k->xc, k->xf, k->n, k->i0, below ? r->dh + k->i0 * r->d : NULL, e);
    return rc;
}

/* The next chunk from target i0, sequence s0 on. */
static void next_chunk(const struct run *r, struct chunk *k)
{
    const int32_t *cu = r->b->target_cu;
    size_t cap = r->chunk / r->V;
    if (!(r->backward && r->sink && r->sink->linear) || r->b->soft) {
        k->n = r->N - k->i0 < cap ? r->N - k->i0 : cap;
        return;
    }
    k->s1 = k->s0 + 1;
    while (k->s1 < r->b->n_seqs && (size_t)cu[k->s1 + 1] - k->i0 <= cap)
        k->s1++;
    k->n = (size_t)cu[k->s1] - k->i0;
}

static int all_chunks(struct run *r, bool below, struct err *e)
{
    struct chunk k = {0};
    while (k.i0 < r->N) {
        int rc = progress_poll(r->o->progress, e);
        if (rc != 0)
            return rc;
        next_chunk(r, &k);
        if (k.n && (rc = chunk_loss(r, &k, below, e)) != 0)
            return rc;
        k = (struct chunk){.i0 = k.i0 + k.n, .s0 = k.s1};
    }
    return 0;
}

struct rows {
    const float *from;
    float *to;
    const int32_t *pos;
    size_t d;
};

static void gather_row(void *u, size_t first, size_t count)
{
    const struct rows *g = u;
    for (size_t i = first; i < first + count; i++)
        memcpy(g->to + i * g->d, g->from + (size_t)g->pos[i] * g->d, g->d * sizeof(float));
}

static void scatter_row(void *u, size_t first, size_t count)
{
    const struct rows *g = u;
    for (size_t i = first; i < first + count; i++)
        memcpy(g->to + (size_t)g->pos[i] * g->d, g->from + i * g->d, g->d * sizeof(float));
}

/* dh is the gradient of the normed rows; dres (T, d) that of the last residual, zero where no target is. */
static int head_norm_back(struct run *r, struct err *e)
{
    const float *w = weights_norm(r->w);
    if (r->sink && r->sink->vector) {
        rmsnorm_xhat(r->hn, r->hx, r->hrstd, r->N, r->d);
        struct grad_vector g = {.layer = -1, .mod = MOD_NORM, .n = r->d, .tokens = r->N, .dy = r->dh, .xhat = r->hn,
                                .n_seqs = r->b->n_seqs, .seq_cu = r->b->target_cu};
        int rc = r->sink->vector(r->sink->u, &g, e);
        if (rc != 0)
            return rc;
    }
    memset(r->hn, 0, r->N * r->d * sizeof(float));
    rmsnorm_backward(r->hn, r->dh, r->hx, w, r->hrstd, r->N, r->d);
    memset(r->dres, 0, r->T * r->d * sizeof(float));
    struct rows g = {r->hn, r->dres, r->b->target_pos, r->d};
    par_slabs(r->N, 64, scatter_row, &g);
    return 0;
}

static void sum_losses(const struct run *r, double *seq_loss, double *total)
{
    *total = 0;
    for (int s = 0; s < r->b->n_seqs; s++) {
        double sum = 0;
        for (int32_t i = r->b->target_cu[s]; i < r->b->target_cu[s + 1]; i++) {
            sum += r->tloss[i];
            *total += (double)r->tw[i] * r->tloss[i];
        }
        if (seq_loss)
            seq_loss[s] = sum;
    }
}

int head_loss(struct run *r, const float *x, double *seq_loss, double *total, struct err *e)
{
    const struct batch *b = r->b;
    const struct prep *embed = run_prep(r, -1, MOD_EMBED);
    bool below = r->sink || r->lowest < r->L || (embed && embed->pair->dB);
    for (int s = 0; s < b->n_seqs; s++)
        for (int32_t i = b->target_cu[s]; i < b->target_cu[s + 1]; i++) {
            r->tid[i] = b->target_id[i];
            r->tw[i] = b->target_weight ? b->target_weight[i] : (float)(1.0 / (b->target_cu[s + 1] - b->target_cu[s]));
        }
    struct rows g = {x, r->hx, b->target_pos, r->d};
    par_slabs(r->N, 64, gather_row, &g);
    rmsnorm_forward(r->hn, r->hrstd, r->hx, weights_norm(r->w), r->c->rms_norm_eps, r->N, r->d);
    run_compute(r, r->hn, r->hc, r->N * r->d);
    int rc = all_chunks(r, below, e);
    if (rc != 0)
        return rc;
    sum_losses(r, seq_loss, total);
    return r->backward && below ? head_norm_back(r, e) : 0;
}

int head_logits(struct run *r, const float *x, size_t n, float *logits, struct err *e)
{
    struct chunk k = {.n = n, .rows = r->V, .xf = r->hn, .uc = r->huc, .p = run_prep(r, -1, MOD_HEAD)};
    rmsnorm_forward(r->hn, NULL, x, weights_norm(r->w), r->c->rms_norm_eps, n, r->d);
    k.xc = run_compute(r, r->hn, r->hc, n * r->d);
    int rc = k.p ? adapter_inner(r, k.p, k.xc, k.xf, n, 0, k.uc, e) : 0;
    return rc == 0 ? chunk_logits(r, &k, logits, e) : rc;
}
