/* SPDX-License-Identifier: MIT
 *
 * Adapters beside a product. With compensation, D = B - B0 and E = A - A0:
 *   B A xd - B0 A0 x  =  D u1 + B0 u2,   u1 = A x + A dx,   u2 = E x + A dx,   dx = xd - x  (zero without dropout)
 * so one product with [A ; E] and one with [D | B0] serve both pairs, and what is rounded to bf16 is the small difference.
 * Backward, with p1 = s D^T dy, p0 = s B0^T dy and pb = p1 + p0 = s B^T dy:
 *   dB += s dy^T u1,   dA += pb^T xd,   dx += A^T p1 + E^T p0 + (mask - 1) * A^T pb
 * Without compensation u = A xd, pb = s B^T dy, dx += mask * A^T pb.
 */
#include "runtime/model/run.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/rng.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/dropout.h"
#include "runtime/kernels/gemm.h"

enum { SLAB = 64, PIECE = 4096 };

const struct prep *run_prep(const struct run *r, int layer, enum module m)
{
    if (!r->prep)
        return NULL;
    const struct prep *p = &r->prep[(size_t)(layer + 1) * MOD_COUNT + m];
    return p->pair ? p : NULL;
}

size_t prep_bytes(const struct lora_pair *p, size_t esz, size_t *ae, size_t *bd)
{
    size_t R = (size_t)(p->r0 > p->r && p->B0 ? p->r0 : p->r), K = p->B0 ? 2 * R : R;
    bool embed = p->mod == MOD_EMBED;
    *ae = embed ? 0 : K * p->in * esz;
    *bd = K * p->out * (embed ? sizeof(float) : esz);
    return K;
}

static void put(void *row, size_t i, enum dtype t, float v)
{
    if (t == DT_F32)
        ((float *)row)[i] = v;
    else
        ((uint16_t *)row)[i] = bf16_from_f32(v);
}

/* bd: rows of (out, K) = [B - B0 | B0] */
struct fill {
    const struct prep *p;
    enum dtype t;
};

static void fill_bd(void *u, size_t first, size_t count)
{
    const struct fill *f = u;
    const struct lora_pair *a = f->p->pair;
    size_t R = f->p->R, K = f->p->K, r = (size_t)a->r, r0 = a->B0 ? (size_t)a->r0 : 0;
    for (size_t i = first; i < first + count; i++) {
        void *row = (char *)f->p->bd + i * K * dtype_size(f->t);
        for (size_t j = 0; j < R; j++) {
            float b = j < r ? a->B[i * r + j] : 0, b0 = j < r0 ? a->B0[i * r0 + j] : 0;
            put(row, j, f->t, b - b0);
            if (a->B0)
                put(row, R + j, f->t, b0);
        }
    }
}

/* ae: row j of A and row R + j of A - A0 */
static void fill_ae(void *u, size_t j)
{
    const struct fill *f = u;
    const struct lora_pair *a = f->p->pair;
    size_t in = a->in, line = in * dtype_size(f->t);
    const float *A = j < (size_t)a->r ? a->A + j * in : NULL;
    const float *A0 = a->A0 && j < (size_t)a->r0 ? a->A0 + j * in : NULL;
    char *top = (char *)f->p->ae + j * line, *low = top + f->p->R * line;
    for (size_t i = 0; i < in; i++) {
        float v = A ? A[i] : 0;
        put(top, i, f->t, v);
        if (a->A0)
            put(low, i, f->t, v - (A0 ? A0[i] : 0));
    }
}

int prep_fill(const struct run *r, struct prep *p, int layer, enum module m, struct err *e)
{
    const struct lora_pair *a = p->pair;
    size_t out, in;
    module_shape(r->c, m, &out, &in);
    bool embed = m == MOD_EMBED;
    if (a->out != (embed ? in : out) || a->in != (embed ? out : in) || a->r < 1 || (a->B0 && a->r0 < 1))
        return err_set(e, ERR_INTERNAL, "the adapter of %s does not fit the model", module_name(m));
    p->R = (size_t)(a->B0 && a->r0 > a->r ? a->r0 : a->r);
    p->K = a->B0 ? 2 * p->R : p->R;
    char path[PARAM_NAME_MAX];
    p->stream = rng_stream(r->o->dropout_step, module_path(path, layer, m));
    struct fill f = {p, embed ? DT_F32 : r->t};
    par_slabs(a->out, 1024, fill_bd, &f);
    if (!embed)
        par_for(p->R, fill_ae, &f);
    return 0;
}

/* rows of u (n, K): u += v (n, R) in both halves when v; then times s */
struct combine {
    float *u;
    const float *v;
    size_t R, K;
    float s;
};

static void combine_rows(void *arg, size_t first, size_t count)
{
    const struct combine *c = arg;
    for (size_t i = first; i < first + count; i++) {
        float *u = c->u + i * c->K;
        const float *v = c->v ? c->v + i * c->R : NULL;
        for (size_t j = 0; j < c->K; j++)
            u[j] = (v ? u[j] + v[j % c->R] : u[j]) * c->s;
    }
}

/* Dropout in pieces that stay in cache: of x into the compute type (less x itself when `diff`), or of dy into dx. */
struct dropping {
    const struct run *r;
    const struct prep *p;
    const float *x;
    uint64_t base;
    bool diff;
    float *dx; /* backward: dx += dropped (less x when diff) */
};

static void drop_piece(void *u, size_t first, size_t n)
{
    const struct dropping *d = u;
    float piece[PIECE];
    float *out = !d->dx && d->r->t == DT_F32 ? d->r->xd + first : piece;
    dropout_apply(out, d->x + first, n, d->r->p, d->r->o->dropout_seed, d->p->stream, d->base + first);
    if (d->diff)
        for (size_t i = 0; i < n; i++)
            out[i] -= d->x[first + i];
    if (d->dx)
        for (size_t i = 0; i < n; i++)
            d->dx[first + i] += out[i];
    else if (d->r->t != DT_F32)
        to_bf16((uint16_t *)d->r->xdc + first, out, n);
}

/* dropout(x), or dropout(x) - x, in the compute type */
static const void *dropped(const struct run *r, const struct prep *p, const float *x, size_t n, size_t at, bool diff)
{
    struct dropping d = {r, p, x, (uint64_t)at * p->pair->in, diff, NULL};
    par_slabs(n * p->pair->in, PIECE, drop_piece, &d);
    return r->t == DT_F32 ? (const void *)r->xd : r->xdc;
}

int adapter_inner(const struct run *r, const struct prep *p, const void *xc, const float *xf, size_t n, size_t at, void *uc,
                  struct err *e)
{
    const struct lora_pair *a = p->pair;
    size_t in = a->in, R = p->R, K = p->K;
    float *u = r->t == DT_F32 ? uc : r->u;
    struct combine c = {.u = u, .R = R, .K = K, .s = a->scale};
    bool drop = r->p > 0, both = K > R;
    if (drop) {
        const void *xdc = dropped(r, p, xf, n, at, both);
        int rc = gemm(GEMM_NT, n, R, in, r->t, xdc, in, p->ae, in, false, both ? r->v : u, R, e);
        if (rc != 0)
            return rc;
        c.v = both ? r->v : NULL;
    }
    if (!drop || both) {
        int rc = gemm(GEMM_NT, n, K, in, r->t, xc, in, p->ae, in, false, u, K, e);
        if (rc != 0)
            return rc;
    }
    par_slabs(n, SLAB, combine_rows, &c);
    if (r->t != DT_F32)
        to_bf16(uc, u, n * K);
    return 0;
}

int adapter_outer(const struct run *r, const struct prep *p, const void *uc, size_t n, size_t row0, size_t rows, float *y,
                  size_t ldy, struct err *e)
{
    const char *bd = (const char *)p->bd + row0 * p->K * r->esz;
    return gemm(GEMM_NT, n, rows, p->K, r->t, uc, p->K, bd, p->K, true, y, ldy, e);
}

int adapter_back_outer(const struct run *r, const struct prep *p, const void *dyc, size_t ldy, const void *uc, size_t n,
                       size_t row0, size_t rows, bool more, struct err *e)
{
    const struct lora_pair *a = p->pair;
    const char *bd = (const char *)p->bd + row0 * p->K * r->esz;
    int rc = gemm(GEMM_NN, n, p->K, rows, r->t, dyc, ldy, bd, p->K, more, r->u, p->K, e);
    if (rc == 0 && a->dB)
        rc = gemm(GEMM_TN, rows, (size_t)a->r, n, r->t, dyc, ldy, uc, p->K, true, a->dB + row0 * (size_t)a->r, (size_t)a->r, e);
    return rc;
}

/* u (n, K) becomes s u; v (n, R) = s (u1 + u2), or s u without compensation */
static void split_rows(void *arg, size_t first, size_t count)
{
    const struct combine *c = arg;
    float *to = (float *)(uintptr_t)c->v;
    for (size_t i = first; i < first + count; i++) {
        float *u = c->u + i * c->K, *v = to + i * c->R;
        for (size_t j = 0; j < c->K; j++)
            u[j] *= c->s;
        for (size_t j = 0; j < c->R; j++)
            v[j] = c->K > c->R ? u[j] + u[c->R + j] : u[j];
    }
}

/* dx += mask * A^T pb, less A^T pb when compensated (that part is in the [A ; E] product) */
static int back_dropped(const struct run *r, const struct prep *p, const void *pbc, size_t n, size_t at, float *dx,
                        struct err *e)
{
    size_t in = p->pair->in;
    int rc = gemm(GEMM_NN, n, in, p->R, r->t, pbc, p->R, p->ae, in, false, r->xd, in, e);
    if (rc != 0)
        return rc;
    struct dropping d = {r, p, r->xd, (uint64_t)at * in, p->K > p->R, dx};
    par_slabs(n * in, PIECE, drop_piece, &d);
    return 0;
}

int adapter_back_inner(const struct run *r, const struct prep *p, const void *xc, const float *xf, size_t n, size_t at,
                       float *dx, struct err *e)
{
    const struct lora_pair *a = p->pair;
    size_t in = a->in, R = p->R, K = p->K;
    struct combine c = {.u = r->u, .v = r->v, .R = R, .K = K, .s = a->scale};
    par_slabs(n, SLAB, split_rows, &c);
    const void *pbc = run_compute(r, r->v, r->vc, n * R);
    int rc = 0;
    if (a->dA) {
        if (r->p > 0)
            xc = dropped(r, p, xf, n, at, false);
        rc = gemm(GEMM_TN, (size_t)a->r, in, n, r->t, pbc, R, xc, in, true, a->dA, in, e);
    }
    if (rc == 0 && dx && (r->p == 0 || K > R)) {
        const void *puc = run_compute(r, r->u, r->puc, n * K);
        rc = gemm(GEMM_NN, n, in, K, r->t, puc, K, p->ae, in, true, dx, in, e);
    }
    if (rc == 0 && dx && r->p > 0)
        rc = back_dropped(r, p, pbc, n, at, dx, e);
    return rc;
}

/* The embedding's u (T, K) = s [A[:, id] ; A[:, id] - A0[:, id]]: always f32, no dropout. */
struct gather {
    const struct run *r;
    const struct prep *p;
};

static void gather_rows(void *arg, size_t first, size_t count)
{
    const struct gather *g = arg;
    const struct lora_pair *a = g->p->pair;
    size_t R = g->p->R, K = g->p->K, V = a->in;
    for (size_t t = first; t < first + count; t++) {
        float *u = g->r->u + t * K;
        size_t id = (size_t)g->r->b->ids[t];
        for (size_t j = 0; j < R; j++) {
            float v = j < (size_t)a->r ? a->A[j * V + id] : 0;
            u[j] = a->scale * v;
            if (K > R)
                u[R + j] = a->scale * (v - (j < (size_t)a->r0 ? a->A0[j * V + id] : 0));
        }
    }
}

int embed_forward(const struct run *r, float *x, struct err *e)
{
    weights_embed(r->w, r->b->ids, r->T, x);
    const struct prep *p = run_prep(r, -1, MOD_EMBED);
    if (!p)
        return 0;
    struct gather g = {r, p};
    par_slabs(r->T, SLAB, gather_rows, &g);
    return gemm(GEMM_NT, r->T, r->d, p->K, DT_F32, r->u, p->K, p->bd, p->K, true, x, r->d, e);
}

/* Row j of dA takes every token in order, so that equal ids add up the same way on any number of threads. */
static void scatter_row(void *arg, size_t j)
{
    const struct gather *g = arg;
    const struct lora_pair *a = g->p->pair;
    for (size_t t = 0; t < g->r->T; t++)
        a->dA[j * a->in + (size_t)g->r->b->ids[t]] += g->r->v[t * g->p->R + j];
}

int embed_backward(const struct run *r, const float *dx, struct err *e)
{
    const struct prep *p = run_prep(r, -1, MOD_EMBED);
    if (!p || !p->pair->dB)
        return 0;
    struct gather g = {r, p};
    size_t rank = (size_t)p->pair->r;
    par_slabs(r->T, SLAB, gather_rows, &g);
    int rc = gemm(GEMM_TN, r->d, rank, r->T, DT_F32, dx, r->d, r->u, p->K, true, p->pair->dB, rank, e);
    if (rc == 0)
        rc = gemm(GEMM_NN, r->T, p->K, r->d, DT_F32, dx, r->d, p->bd, p->K, false, r->u, p->K, e);
    if (rc != 0)
        return rc;
    struct combine c = {.u = r->u, .v = r->v, .R = p->R, .K = p->K, .s = p->pair->scale};
    par_slabs(r->T, SLAB, split_rows, &c);
    par_for(rank, scatter_row, &g);
    return 0;
}
