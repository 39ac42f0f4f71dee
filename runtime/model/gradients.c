/* SPDX-License-Identifier: MIT */
#include "runtime/model/gradients.h"

#include "runtime/exec/par.h"
#include "runtime/kernels/gemm.h"

static float *grad_of(const struct gradients *s, int layer, enum module m, bool bias)
{
    float *g = optim_grad(s->optim, layer, m, bias);
    return g && s->grads ? s->grads + (g - s->optim->grads) : g;
}

static int linear(void *u, const struct grad_linear *g, struct err *e)
{
    struct gradients *s = u;
    enum module m = g->mod == MOD_HEAD && s->tied ? MOD_EMBED : g->mod;
    float *dw = grad_of(s, g->layer, m, false);
    if (!dw)
        return 0;
    return gemm(GEMM_TN, g->rows, g->in, g->n, g->t, g->dy, g->ldy, g->x, g->ldx, true, dw + g->row0 * g->in, g->in, e);
}

struct vector_job {
    const struct grad_vector *g;
    float *dw;
};

static void vector_columns(void *u, size_t first, size_t count)
{
    const struct vector_job *j = u;
    const struct grad_vector *g = j->g;
    float *dw = j->dw;
    for (size_t t = 0; t < g->tokens; t++) {
        const float *dy = g->dy + t * g->n, *xhat = g->xhat ? g->xhat + t * g->n : NULL;
        for (size_t c = first; c < first + count; c++)
            dw[c] += xhat ? dy[c] * xhat[c] : dy[c];
    }
}

static int vector(void *u, const struct grad_vector *g, struct err *e)
{
    struct gradients *s = u;
    (void)e;
    struct vector_job j = {g, grad_of(s, g->layer, g->mod, g->bias)};
    if (j.dw)
        par_slabs(g->n, 64, vector_columns, &j);
    return 0;
}

struct embed_job {
    const struct batch *b;
    const float *dx;
    float *dw;
    size_t d;
};

static void embed_columns(void *u, size_t first, size_t count)
{
    const struct embed_job *j = u;
    for (int32_t t = 0; t < j->b->cu[j->b->n_seqs]; t++) {
        float *to = j->dw + (size_t)j->b->ids[t] * j->d;
        const float *dx = j->dx + (size_t)t * j->d;
        for (size_t c = first; c < first + count; c++)
            to[c] += dx[c];
    }
}

static int embed(void *u, const struct batch *b, const float *dx, struct err *e)
{
    struct gradients *s = u;
    (void)e;
    struct embed_job j = {b, dx, grad_of(s, -1, MOD_EMBED, false), s->hidden};
    if (j.dw)
        par_slabs(j.d, 64, embed_columns, &j);
    return 0;
}

struct grad_sink gradients_sink(struct gradients *g)
{
    return (struct grad_sink){.u = g, .linear = linear, .vector = vector, .embed = embed};
}
