/* SPDX-License-Identifier: MIT */
#include "runtime/model/decode.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/exec/par.h"
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

int decode_forward(struct run *r, const struct decode_copy *copy, struct err *e)
{
    if (!thin_has(r->t) || r->T > THIN_ROWS)
        return run_forward(r, e);
    int rc = embed_forward(r, r->x, e);
    for (int l = 0; rc == 0 && l < r->L; l++) {
        rc = weights_acquire(r->w, l, &r->lw, e);
        for (int m = 0; rc == 0 && copy->p && m < MOD_LINEARS; m++)
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
    if (!thin_has(r->t) || n > THIN_ROWS)
        return head_logits(r, x, n, logits, e);
    rmsnorm_forward(r->hn, NULL, x, weights_norm(r->w), r->c->rms_norm_eps, n, r->d);
    const void *xc = run_compute(r, r->hn, r->hc, n * r->d);
    struct thin_part head = {.w = copy->p ? copy->head : r->head, .n = r->V, .y = logits};
    int rc = thin_nt(n, r->d, r->t, xc, &head, 1, e);
    const struct prep *p = run_prep(r, -1, MOD_HEAD);
    if (rc == 0 && p)
        rc = adapter_inner(r, p, xc, r->hn, n, 0, r->huc, e);
    return rc == 0 && p ? adapter_outer(r, p, r->huc, n, 0, r->V, logits, r->V, e) : rc;
}
