/* SPDX-License-Identifier: MIT
 *
 * One layer backward, beside layer_forward.c. Going down: each linear gives (dY, X) to the sink, its adapter its factors'
 * gradients, and dX = dY W to what lies below. Inputs X that are cheap (norms, silu(gate) * up) are made again and only
 * when somebody wants them. Work stops below the lowest thing that takes a gradient.
 */
#include "runtime/model/run.h"

#include "runtime/kernels/attention.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/norm.h"
#include "runtime/kernels/swiglu.h"

static bool wants_linear(const struct run *r)
{
    return r->sink && r->sink->linear;
}

static bool wants_vector(const struct run *r)
{
    return r->sink && r->sink->vector;
}

static bool trains(const struct run *r, int layer, enum module m)
{
    const struct prep *p = run_prep(r, layer, m);
    return p && p->pair->dB;
}

/* dy (T, out) in both types, x likewise (NULL when nobody wants it); dx (T, in) (+)= dy W and the adapter's, or NULL */
struct back {
    int layer;
    enum module m;
    const void *dyc, *xc;
    const float *dyf, *xf;
    const void *uc;
    bool add;
    float *dx;
};

static int give_linear(struct run *r, const struct back *b, size_t out, size_t in, struct err *e)
{
    int rc = 0;
    if (wants_linear(r)) {
        struct grad_linear g = {.layer = b->layer, .mod = b->m, .rows = out, .in = in, .n = r->T, .t = r->t, .dy = b->dyc,
                                .x = b->xc, .ldy = out, .ldx = in, .first_seq = r->part_seq, .n_seqs = r->b->n_seqs, .seq_cu = r->b->cu};
        rc = r->sink->linear(r->sink->u, &g, e);
    }
    if (rc == 0 && wants_vector(r) && r->lw.b[b->m]) {
        struct grad_vector g = {.layer = b->layer, .mod = b->m, .bias = true, .n = out, .tokens = r->T, .dy = b->dyf,
                                .first_seq = r->part_seq, .n_seqs = r->b->n_seqs, .seq_cu = r->b->cu};
        rc = r->sink->vector(r->sink->u, &g, e);
    }
    return rc;
}

static int linear_back(struct run *r, const struct back *b, struct err *e)
{
    size_t out, in;
    module_shape(r->c, b->m, &out, &in);
    int rc = give_linear(r, b, out, in, e);
    if (rc == 0 && b->dx)
        rc = r->lw.bwd[b->m] ? gemm_nt_packed(r->T, b->dyc, out, r->lw.bwd[b->m], b->add, b->dx, in, e)
                             : gemm(GEMM_NN, r->T, in, out, r->t, b->dyc, out, r->lw.w[b->m], in, b->add, b->dx, in, e);
    const struct prep *p = run_prep(r, b->layer, b->m);
    if (rc != 0 || !p || (!p->pair->dB && !b->dx))
        return rc;
    rc = adapter_back_outer(r, p, b->dyc, out, b->uc, r->T, 0, out, false, e);
    return rc == 0 ? adapter_back_inner(r, p, b->xc, b->xf, r->T, 0, b->dx, e) : rc;
}

/* dn (T, d) is the gradient of the norm's output; adds the norm's input gradient to dres */
static int norm_back(struct run *r, int layer, enum module m, const float *x, const float *rstd, const float *w, struct err *e)
{
    if (wants_vector(r)) {
        rmsnorm_xhat(r->n, x, rstd, r->T, r->d);
        struct grad_vector g = {.layer = layer, .mod = m, .n = r->d, .tokens = r->T, .dy = r->dn, .xhat = r->n,
                                .first_seq = r->part_seq, .n_seqs = r->b->n_seqs, .seq_cu = r->b->cu};
        int rc = r->sink->vector(r->sink->u, &g, e);
        if (rc != 0)
            return rc;
    }
    rmsnorm_backward(r->dres, r->dn, x, w, rstd, r->T, r->d);
    return 0;
}

/* The norm's output again, for those who take a gradient from it. */
static const void *norm_again(struct run *r, bool wanted, const float *x, const float *w)
{
    if (!wanted)
        return NULL;
    rmsnorm_forward(r->n, NULL, x, w, r->c->rms_norm_eps, r->T, r->d);
    return run_compute(r, r->n, r->nc, r->T * r->d);
}

/* down, up, gate, post norm; further: something above the feed-forward block's input takes a gradient */
static int feed_forward_back(struct run *r, int layer, const struct saved *s, bool further, struct err *e)
{
    size_t T = r->T, d = r->d, n = r->T * r->f;
    bool lin = wants_linear(r), gu = trains(r, layer, MOD_GATE) || trains(r, layer, MOD_UP);
    struct back b = {.layer = layer, .m = MOD_DOWN, .dyc = run_compute(r, r->dres, r->dc, T * d), .dyf = r->dres,
                     .uc = s->uc[MOD_DOWN]};
    if (further || gu || lin)
        b.dx = r->fb;
    if (lin || trains(r, layer, MOD_DOWN)) {
        swiglu_forward(r->fa, s->gate, s->up, n);
        b.xf = r->fa;
        b.xc = run_compute(r, r->fa, r->fc, n);
    }
    int rc = linear_back(r, &b, e);
    if (rc != 0 || !b.dx)
        return rc;
    swiglu_backward(r->fa, r->fb, r->fb, s->gate, s->up, n); /* fa = dgate, fb = dup */
    const void *xc = norm_again(r, lin || gu, s->h, r->lw.post_norm);
    b = (struct back){.layer = layer, .m = MOD_UP, .dyc = run_compute(r, r->fb, r->fc, n), .dyf = r->fb, .xc = xc, .xf = r->n,
                      .uc = s->uc[MOD_UP], .dx = further ? r->dn : NULL};
    rc = linear_back(r, &b, e);
    if (rc != 0)
        return rc;
    b.m = MOD_GATE;
    b.dyc = run_compute(r, r->fa, r->fc, n);
    b.dyf = r->fa;
    b.uc = s->uc[MOD_GATE];
    b.add = true;
    rc = linear_back(r, &b, e);
    return rc == 0 && further ? norm_back(r, layer, MOD_POST_NORM, s->h, s->rstd2, r->lw.post_norm, e) : rc;
}

/* o, the attention itself: leaves dq, dk, dv (after the inverse rotation) in fa */
static int attention_back(struct run *r, int layer, const struct saved *s, bool further, struct err *e)
{
    size_t T = r->T, hd = (size_t)r->c->head_dim;
    struct back b = {.layer = layer, .m = MOD_O, .dyc = run_compute(r, r->dres, r->dc, T * r->d), .dyf = r->dres, .xf = s->attn,
                     .uc = s->uc[MOD_O], .dx = further ? r->fb : NULL};
    if (wants_linear(r) || trains(r, layer, MOD_O))
        b.xc = run_compute(r, s->attn, r->fc, T * r->qd);
    int rc = linear_back(r, &b, e);
    if (rc != 0 || !further)
        return rc;
    float *dq = r->fa, *dk = dq + T * r->qd, *dv = dk + T * r->kd;
    rc = attention_backward(dq, dk, dv, r->fb, s->attn, s->q, s->k, s->v, s->lse, r->b->cu, r->b->n_seqs,
                            r->c->num_attention_heads, r->c->num_key_value_heads, r->c->head_dim, DT_F32, e);
    rope_apply(r->rope, dq, r->qd, T, r->qd / hd, r->pos, true);
    rope_apply(r->rope, dk, r->kd, T, r->kd / hd, r->pos, true);
    return rc;
}

static int qkv_back(struct run *r, int layer, const float *x, const struct saved *s, bool further, struct err *e)
{
    size_t T = r->T;
    float *dq = r->fa, *dk = dq + T * r->qd, *dv = dk + T * r->kd;
    bool adapters = trains(r, layer, MOD_Q) || trains(r, layer, MOD_K) || trains(r, layer, MOD_V);
    const void *xc = norm_again(r, wants_linear(r) || adapters, x, r->lw.input_norm);
    const struct {
        enum module m;
        const float *dy;
        size_t out;
    } part[] = {{MOD_V, dv, r->kd}, {MOD_K, dk, r->kd}, {MOD_Q, dq, r->qd}};
    for (int i = 0; i < 3; i++) {
        struct back b = {.layer = layer, .m = part[i].m, .dyc = run_compute(r, part[i].dy, r->fc, T * part[i].out),
                         .dyf = part[i].dy, .xc = xc, .xf = r->n, .uc = s->uc[part[i].m], .add = i > 0,
                         .dx = further ? r->dn : NULL};
        int rc = linear_back(r, &b, e);
        if (rc != 0)
            return rc;
    }
    return further ? norm_back(r, layer, MOD_INPUT_NORM, x, s->rstd1, r->lw.input_norm, e) : 0;
}

int layer_backward(struct run *r, int layer, const struct saved *s, struct err *e)
{
    const struct prep *embed = run_prep(r, -1, MOD_EMBED);
    bool below = layer > r->lowest || (r->sink && r->sink->embed) || (embed && embed->pair->dB);
    bool input = below || wants_vector(r); /* the layer's own input gradient */
    bool qkv = input || wants_linear(r) || trains(r, layer, MOD_Q) || trains(r, layer, MOD_K) || trains(r, layer, MOD_V);
    bool attn = qkv || trains(r, layer, MOD_O);
    int rc = feed_forward_back(r, layer, s, attn, e);
    if (rc == 0 && attn)
        rc = attention_back(r, layer, s, qkv, e);
    if (rc == 0 && qkv)
        rc = qkv_back(r, layer, run_layer_input(r, layer), s, input, e);
    return rc;
}
