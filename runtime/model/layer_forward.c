/* SPDX-License-Identifier: MIT
 *
 * One layer forward: h = x + o(attention(q, k, v of norm(x))), y = h + down(silu(gate) * up of norm(h)). The residual is
 * f32 and the last product of each half adds into it.
 */
#include "runtime/model/run.h"

#include "runtime/kernels/attention.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/norm.h"
#include "runtime/kernels/swiglu.h"
#include "runtime/model/precise.h"

int run_product(const struct run *r, enum module m, size_t rows, const void *x, bool add, float *y, struct err *e)
{
    size_t out, in;
    module_shape(r->c, m, &out, &in);
    return r->lw.fwd[m] ? gemm_nt_packed(rows, x, in, r->lw.fwd[m], add, y, out, e)
                        : gemm(GEMM_NT, rows, out, in, r->t, x, in, r->lw.w[m], in, add, y, out, e);
}

/* y (T, out) (+)= x (T, in) W^T + b + adapter */
static int linear(struct run *r, int layer, enum module m, const void *xc, const float *xf, bool add, float *y, void *uc,
                  struct err *e)
{
    size_t out, in;
    module_shape(r->c, m, &out, &in);
    int rc = run_product(r, m, r->T, xc, add, y, e);
    if (rc == 0 && r->precise)
        rc = precise_linear(r, m, xc, xf, y, e);
    if (rc == 0 && r->lw.b[m])
        add_bias(y, r->lw.b[m], r->T, out);
    const struct prep *p = run_prep(r, layer, m);
    if (rc != 0 || !p)
        return rc;
    rc = adapter_inner(r, p, xc, xf, r->T, 0, uc, e);
    return rc == 0 ? adapter_outer(r, p, uc, r->T, 0, out, y, out, e) : rc;
}

static int attend(struct run *r, int layer, const struct saved *s, struct err *e)
{
    const struct model_config *c = r->c;
    size_t hd = (size_t)c->head_dim;
    rope_apply(r->rope, s->q, r->qd, r->T, r->qd / hd, r->pos, false);
    rope_apply(r->rope, s->k, r->kd, r->T, r->kd / hd, r->pos, false);
    if (r->kv && r->kv->attend)
        return r->kv->attend(r->kv->u, layer, s->q, s->k, s->v, s->attn, e);
    if (r->kv) {
        int rc = r->kv->keep(r->kv->u, layer, s->k, s->v, e);
        if (rc != 0)
            return rc;
    }
    /* always f32 inputs: the k biases of Qwen2 are so large that q k^T of bf16 roundings loses the differences between
     * keys (S of its first layers came out 14 to 21 % low; 2 % this way) */
    return attention_forward(s->attn, s->lse, s->q, s->k, s->v, r->b->cu, r->b->n_seqs, c->num_attention_heads,
                             c->num_key_value_heads, c->head_dim, DT_F32, e);
}

int layer_forward(struct run *r, int layer, const float *x, float *y, const struct saved *s, struct err *e)
{
    size_t T = r->T, d = r->d;
    float *h = s->h ? s->h : y;
    rmsnorm_forward(r->n, s->rstd1, x, r->lw.input_norm, r->c->rms_norm_eps, T, d);
    const void *xc = run_compute(r, r->n, r->nc, T * d);
    int rc = linear(r, layer, MOD_Q, xc, r->n, false, s->q, s->uc[MOD_Q], e);
    if (rc == 0)
        rc = linear(r, layer, MOD_K, xc, r->n, false, s->k, s->uc[MOD_K], e);
    if (rc == 0)
        rc = linear(r, layer, MOD_V, xc, r->n, false, s->v, s->uc[MOD_V], e);
    if (rc == 0)
        rc = attend(r, layer, s, e);
    if (rc != 0)
        return rc;
    if (h != x)
        to_f32(h, x, DT_F32, T * d);
    xc = run_compute(r, s->attn, r->fc, T * r->qd);
    rc = linear(r, layer, MOD_O, xc, s->attn, true, h, s->uc[MOD_O], e);
    if (rc != 0)
        return rc;
    rmsnorm_forward(r->n, s->rstd2, h, r->lw.post_norm, r->c->rms_norm_eps, T, d);
    xc = run_compute(r, r->n, r->nc, T * d);
    rc = linear(r, layer, MOD_GATE, xc, r->n, false, s->gate, s->uc[MOD_GATE], e);
    if (rc == 0)
        rc = linear(r, layer, MOD_UP, xc, r->n, false, s->up, s->uc[MOD_UP], e);
    if (rc != 0)
        return rc;
    swiglu_forward(r->fa, s->gate, s->up, T * r->f);
    xc = run_compute(r, r->fa, r->fc, T * r->f);
    if (!y) { /* backward made the layer again and needs no output */
        const struct prep *p = run_prep(r, layer, MOD_DOWN);
        return p && p->pair->dB ? adapter_inner(r, p, xc, r->fa, T, 0, s->uc[MOD_DOWN], e) : 0;
    }
    if (y != h)
        to_f32(y, h, DT_F32, T * d);
    return linear(r, layer, MOD_DOWN, xc, r->fa, true, y, s->uc[MOD_DOWN], e);
}

static int forward_part(struct run *r, int l, struct err *e)
{
    return layer_forward(r, l, run_layer_input(r, l), run_layer_input(r, l + 1), run_saved(r, l), e);
}

int run_forward(struct run *r, struct err *e)
{
    const struct pass_options *o = r->o;
    int rc = embed_forward(r, run_layer_input(r, 0), e), end = o->from ? o->from->layer - 1 : r->L; /* inputs that are needed */
    for (int l = 0; rc == 0 && l < end; l++) {
        rc = weights_acquire(r->w, l, &r->lw, e);
        if (rc != 0)
            break;
        rc = run_parts(r, forward_part, l, e);
        weights_release(r->w, l);
        if (r->spill)
            spill_aside(r->spill, (size_t)l);
        if (o->progress_total > 0) {
            double share = (double)(l + 1) / r->L / (r->backward ? 3 : 1);
            progress_update(o->progress, o->progress_done + (double)r->T * share, o->progress_total, "tokens");
        }
    }
    return rc;
}
