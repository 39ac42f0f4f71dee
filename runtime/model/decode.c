/* SPDX-License-Identifier: MIT */
#include "runtime/model/decode.h"

#include "runtime/kernels/norm.h"
#include "runtime/kernels/swiglu.h"
#include "runtime/kernels/thin.h"

/* Matrices with one input, side by side, and their adapters. x f32 and in the compute type. */
struct product {
    const float *xf;
    const void *xc;
    size_t n, in;
    struct thin_part parts[THIN_PARTS];
    enum module mod[THIN_PARTS];
};

static void add_part(struct run *r, struct product *p, enum module m, bool accumulate, float *y)
{
    size_t out;
    module_shape(r->c, m, &out, &p->in);
    p->mod[p->n] = m;
    p->parts[p->n++] = (struct thin_part){.w = r->lw.w[m], .n = out, .bias = r->lw.b[m], .accumulate = accumulate, .y = y};
}

static int multiply(struct run *r, int layer, struct product *p, void *const *uc, struct err *e)
{
    int rc = thin_nt(r->T, p->in, r->t, p->xc, p->parts, p->n, e);
    for (size_t i = 0; rc == 0 && i < p->n; i++) {
        const struct prep *a = run_prep(r, layer, p->mod[i]);
        if (!a)
            continue;
        rc = adapter_inner(r, a, p->xc, p->xf, r->T, 0, uc[p->mod[i]], e);
        if (rc == 0)
            rc = adapter_outer(r, a, uc[p->mod[i]], r->T, 0, p->parts[i].n, p->parts[i].y, p->parts[i].n, e);
    }
    return rc;
}

static int attention_half(struct run *r, int layer, const struct saved *s, struct err *e)
{
    size_t T = r->T, hd = (size_t)r->c->head_dim;
    rmsnorm_forward(r->n, NULL, r->x, r->lw.input_norm, r->c->rms_norm_eps, T, r->d);
    struct product qkv = {.xf = r->n, .xc = run_compute(r, r->n, r->nc, T * r->d)};
    add_part(r, &qkv, MOD_Q, false, s->q);
    add_part(r, &qkv, MOD_K, false, s->k);
    add_part(r, &qkv, MOD_V, false, s->v);
    int rc = multiply(r, layer, &qkv, s->uc, e);
    if (rc != 0)
        return rc;
    rope_apply(r->rope, s->q, r->qd, T, r->qd / hd, r->pos, false);
    rope_apply(r->rope, s->k, r->kd, T, r->kd / hd, r->pos, false);
    rc = r->kv->attend(r->kv->u, layer, s->q, s->k, s->v, s->attn, e);
    if (rc != 0)
        return rc;
    struct product o = {.xf = s->attn, .xc = run_compute(r, s->attn, r->fc, T * r->qd)};
    add_part(r, &o, MOD_O, true, r->x);
    return multiply(r, layer, &o, s->uc, e);
}

static int feed_forward_half(struct run *r, int layer, const struct saved *s, struct err *e)
{
    size_t T = r->T;
    rmsnorm_forward(r->n, NULL, r->x, r->lw.post_norm, r->c->rms_norm_eps, T, r->d);
    struct product gate = {.xf = r->n, .xc = run_compute(r, r->n, r->nc, T * r->d)};
    add_part(r, &gate, MOD_GATE, false, s->gate);
    add_part(r, &gate, MOD_UP, false, s->up);
    int rc = multiply(r, layer, &gate, s->uc, e);
    if (rc != 0)
        return rc;
    swiglu_forward(r->fa, s->gate, s->up, T * r->f);
    struct product down = {.xf = r->fa, .xc = run_compute(r, r->fa, r->fc, T * r->f)};
    add_part(r, &down, MOD_DOWN, true, r->x);
    return multiply(r, layer, &down, s->uc, e);
}

int decode_forward(struct run *r, struct err *e)
{
    if (!thin_has(r->t) || r->T > THIN_ROWS)
        return run_forward(r, e);
    int rc = embed_forward(r, r->x, e);
    for (int l = 0; rc == 0 && l < r->L; l++) {
        rc = weights_acquire(r->w, l, &r->lw, e);
        if (rc == 0)
            rc = attention_half(r, l, r->saved, e);
        if (rc == 0)
            rc = feed_forward_half(r, l, r->saved, e);
        weights_release(r->w, l);
    }
    return rc;
}

int decode_logits(struct run *r, const float *x, size_t n, float *logits, struct err *e)
{
    if (!thin_has(r->t) || n > THIN_ROWS)
        return head_logits(r, x, n, logits, e);
    rmsnorm_forward(r->hn, NULL, x, weights_norm(r->w), r->c->rms_norm_eps, n, r->d);
    const void *xc = run_compute(r, r->hn, r->hc, n * r->d);
    struct thin_part head = {.w = r->head, .n = r->V, .y = logits};
    int rc = thin_nt(n, r->d, r->t, xc, &head, 1, e);
    const struct prep *p = run_prep(r, -1, MOD_HEAD);
    if (rc == 0 && p)
        rc = adapter_inner(r, p, xc, r->hn, n, 0, r->huc, e);
    return rc == 0 && p ? adapter_outer(r, p, r->huc, n, 0, r->V, logits, r->V, e) : rc;
}
