/* SPDX-License-Identifier: MIT */
#include "runtime/model/decode.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/attention.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/norm.h"
#include "runtime/kernels/swiglu.h"
#include "runtime/kernels/thin.h"

/* ---- copies ---- */

enum { PIECE = 1 << 20 };

struct piece {
    char *to;
    const char *from;
};

static void copy_piece(void *u, size_t first, size_t count)
{
    const struct piece *p = u;
    memcpy(p->to + first, p->from + first, count);
}

/* Copies n bytes to the end of what is used; only counts without memory. */
static const void *put(struct decode_copy *c, const void *from, size_t n, size_t *used)
{
    struct piece p = {c->p ? c->p + *used : NULL, from};
    *used += (n + 63) & ~(size_t)63;
    if (c->p)
        par_slabs(n, PIECE, copy_piece, &p);
    return p.to;
}

static int copy_all(struct decode_copy *c, const struct weights *w, size_t *used, struct err *e)
{
    const struct model_config *config = weights_config(w);
    size_t es = dtype_size(weights_compute(w)), out, in;
    for (int l = 0; l < config->num_hidden_layers; l++) {
        struct layer_weights lw;
        int rc = weights_acquire(w, l, &lw, e);
        if (rc != 0)
            return rc;
        for (int m = 0; m < MOD_LINEARS; m++) {
            module_shape(config, (enum module)m, &out, &in);
            c->w[l * MOD_LINEARS + m] = put(c, lw.w[m], out * in * es, used);
        }
        weights_release(w, l);
    }
    module_shape(config, MOD_HEAD, &out, &in);
    c->head = put(c, weights_head(w), out * in * es, used);
    return 0;
}

int decode_copy_new(const struct weights *w, struct decode_copy *c, struct err *e)
{
    size_t n = (size_t)weights_config(w)->num_hidden_layers * MOD_LINEARS, used = 0;
    *c = (struct decode_copy){.w = calloc(n, sizeof *c->w)};
    int rc = c->w ? copy_all(c, w, &c->bytes, e) : err_nomem(e, n * sizeof *c->w, "weights");
    if (rc == 0 && !(c->p = big_alloc(c->bytes)))
        rc = err_nomem(e, c->bytes, "a copy of the weights");
    if (rc == 0)
        rc = copy_all(c, w, &used, e);
    if (rc != 0)
        decode_copy_release(c);
    return rc;
}

void decode_copy_release(struct decode_copy *c)
{
    big_free(c->p, c->bytes);
    free((void *)c->w);
    *c = (struct decode_copy){0};
}

/* ---- a step ---- */

/* Matrices with one input, side by side, and their adapters. x f32 and in the compute type. */
struct product {
    const float *xf;
    const void *xc;
    size_t n, in;
    struct thin_part parts[THIN_PARTS];
    enum module mod[THIN_PARTS];
};

static bool in_panels(const struct run *r)
{
    return gemm_packed_joins(r->lw.fwd[MOD_Q]);
}

static void add_part(struct run *r, struct product *p, enum module m, bool accumulate, float *y)
{
    size_t out;
    module_shape(r->c, m, &out, &p->in);
    p->mod[p->n] = m;
    p->parts[p->n++] = (struct thin_part){.w = r->lw.w[m], .n = out, .bias = r->lw.b[m], .accumulate = accumulate, .y = y};
}

static int multiply_plain(const struct run *r, const struct product *p, struct err *e)
{
    struct gemm_part parts[GEMM_PARTS];
    if (!in_panels(r))
        return thin_nt(r->T, p->in, r->t, p->xc, p->parts, p->n, e);
    for (size_t i = 0; i < p->n; i++)
        parts[i] = (struct gemm_part){.w = r->lw.fwd[p->mod[i]], .bias = p->parts[i].bias, .accumulate = p->parts[i].accumulate, .y = p->parts[i].y};
    gemm_nt_parts(r->T, p->xc, p->in, parts, p->n);
    return 0;
}

static int multiply(struct run *r, int layer, struct product *p, void *const *uc, struct err *e)
{
    int rc = multiply_plain(r, p, e);
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

/* x (T, d), normed, in the compute type; in f32 too where an adapter may look at it. */
static const void *normed(struct run *r, const float *weight)
{
    rmsnorm_forward(r->n, NULL, r->x, weight, r->c->rms_norm_eps, r->T, r->d);
    return run_compute(r, r->n, r->nc, r->T * r->d);
}

static int attend(struct run *r, int layer, const struct saved *s, struct err *e)
{
    const struct model_config *c = r->c;
    if (r->kv && r->kv->attend)
        return r->kv->attend(r->kv->u, layer, s->q, s->k, s->v, s->attn, e);
    int rc = r->kv ? r->kv->keep(r->kv->u, layer, s->k, s->v, e) : 0;
    return rc ? rc : attention_forward(s->attn, s->lse, s->q, s->k, s->v, r->b->cu, r->b->n_seqs, c->num_attention_heads, c->num_key_value_heads,
                                       c->head_dim, DT_F32, e);
}

static int attention_half(struct run *r, int layer, const struct saved *s, struct err *e)
{
    size_t T = r->T, hd = (size_t)r->c->head_dim;
    struct product qkv = {.xf = r->n, .xc = normed(r, r->lw.input_norm)};
    add_part(r, &qkv, MOD_Q, false, s->q);
    add_part(r, &qkv, MOD_K, false, s->k);
    add_part(r, &qkv, MOD_V, false, s->v);
    int rc = multiply(r, layer, &qkv, s->uc, e);
    if (rc != 0)
        return rc;
    rope_apply(r->rope, s->q, r->qd, T, r->qd / hd, r->pos, false);
    rope_apply(r->rope, s->k, r->kd, T, r->kd / hd, r->pos, false);
    rc = attend(r, layer, s, e);
    if (rc != 0)
        return rc;
    struct product o = {.xf = s->attn, .xc = run_compute(r, s->attn, r->fc, T * r->qd)};
    add_part(r, &o, MOD_O, true, r->x);
    return multiply(r, layer, &o, s->uc, e);
}

/* r->fc = silu(gate) * up in the compute type. In panels and without adapters before the gate: in one go, never in memory as f32. */
static int gated(struct run *r, int layer, const void *xc, const struct saved *s, const void **out, struct err *e)
{
    bool adapters = run_prep(r, layer, MOD_GATE) || run_prep(r, layer, MOD_UP) || run_prep(r, layer, MOD_DOWN);
    if (in_panels(r) && !adapters && !r->lw.b[MOD_GATE] && !r->lw.b[MOD_UP]) {
        struct gemm_part part = {.w = r->lw.fwd[MOD_GATE], .up = r->lw.fwd[MOD_UP], .half = r->fc};
        gemm_nt_parts(r->T, xc, r->d, &part, 1);
        *out = r->fc;
        return 0;
    }
    struct product gate = {.xf = r->n, .xc = xc};
    add_part(r, &gate, MOD_GATE, false, s->gate);
    add_part(r, &gate, MOD_UP, false, s->up);
    int rc = multiply(r, layer, &gate, s->uc, e);
    if (rc != 0)
        return rc;
    swiglu_forward(r->fa, s->gate, s->up, r->T * r->f);
    *out = run_compute(r, r->fa, r->fc, r->T * r->f);
    return 0;
}

static int feed_forward_half(struct run *r, int layer, const struct saved *s, struct err *e)
{
    struct product down = {.xf = r->fa};
    int rc = gated(r, layer, normed(r, r->lw.post_norm), s, &down.xc, e);
    if (rc != 0)
        return rc;
    add_part(r, &down, MOD_DOWN, true, r->x);
    return multiply(r, layer, &down, s->uc, e);
}

int decode_forward(struct run *r, const struct decode_copy *copy, struct err *e)
{
    bool panels = gemm_packed_joins(weights_head_packed(r->w));
    if (!panels && (!thin_has(r->t) || r->T > THIN_ROWS || !r->kv || !r->kv->attend))
        return run_forward(r, e);
    int rc = embed_forward(r, r->x, e);
    for (int l = 0; rc == 0 && l < r->L; l++) {
        rc = r->T > THIN_ROWS ? progress_poll(r->o->progress, e) : 0;
        if (rc == 0)
            rc = weights_acquire(r->w, l, &r->lw, e);
        for (int m = 0; rc == 0 && copy && copy->p && m < MOD_LINEARS; m++)
            r->lw.w[m] = copy->w[l * MOD_LINEARS + m];
        if (rc == 0)
            rc = attention_half(r, l, r->saved, e);
        if (rc == 0)
            rc = feed_forward_half(r, l, r->saved, e);
        weights_release(r->w, l);
    }
    return rc;
}

int decode_logits(struct run *r, const struct decode_copy *copy, const float *x, size_t n, float *logits, struct err *e)
{
    const struct gemm_packed *packed = weights_head_packed(r->w);
    bool panels = gemm_packed_joins(packed);
    int rc = 0;
    if (!panels && (!thin_has(r->t) || n > THIN_ROWS))
        return head_logits(r, x, n, logits, e);
    rmsnorm_forward(r->hn, NULL, x, weights_norm(r->w), r->c->rms_norm_eps, n, r->d);
    const void *xc = run_compute(r, r->hn, r->hc, n * r->d);
    if (panels) {
        gemm_nt_parts(n, xc, r->d, &(struct gemm_part){.w = packed, .y = logits}, 1);
    } else {
        struct thin_part head = {.w = copy && copy->p ? copy->head : r->head, .n = r->V, .y = logits};
        rc = thin_nt(n, r->d, r->t, xc, &head, 1, e);
    }
    const struct prep *p = run_prep(r, -1, MOD_HEAD);
    if (rc == 0 && p)
        rc = adapter_inner(r, p, xc, r->hn, n, 0, r->huc, e);
    return rc == 0 && p ? adapter_outer(r, p, r->huc, n, 0, r->V, logits, r->V, e) : rc;
}
