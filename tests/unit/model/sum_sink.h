/* SPDX-License-Identifier: MIT
 *
 * For tests: a sink that sums every gradient into f32 tensors under their parameter names; a tied embedding gets both.
 */
#ifndef TEST_SUM_SINK_H
#define TEST_SUM_SINK_H

#include "open_dir.h"

#include "runtime/kernels/gemm.h"
#include "runtime/model/pass.h"

struct sum_sink {
    const struct model_config *c;
    float **w, **b; /* (L + 1) * MOD_COUNT */
    int order, linears; /* last position seen, calls */
};

static inline float **sum_slot(struct sum_sink *s, int layer, enum module m, bool bias, size_t *n)
{
    size_t out, in;
    if (m == MOD_HEAD && s->c->tie_word_embeddings)
        m = MOD_EMBED;
    module_shape(s->c, m, &out, &in);
    *n = bias ? out : out * in;
    float **at = &(bias ? s->b : s->w)[(layer + 1) * MOD_COUNT + (int)m];
    if (!*at)
        *at = calloc(*n, sizeof(float));
    return at;
}

static inline int sum_linear(void *u, const struct grad_linear *g, struct err *e)
{
    struct sum_sink *s = u;
    size_t n;
    float *w = *sum_slot(s, g->layer, g->mod, false, &n);
    if (g->seq_cu) { /* NULL with soft targets */
        assert_int_equal(g->seq_cu[0], 0);
        assert_int_equal(g->seq_cu[g->n_seqs], g->n);
    }
    s->linears++;
    return gemm(GEMM_TN, g->rows, g->in, g->n, g->t, g->dy, g->ldy, g->x, g->ldx, true, w + g->row0 * g->in, g->in, e);
}

static inline int sum_vector(void *u, const struct grad_vector *g, struct err *e)
{
    size_t n;
    float *w = *sum_slot(u, g->layer, g->mod, g->bias, &n);
    (void)e;
    assert_int_equal(n, g->n);
    assert_int_equal(g->seq_cu[g->n_seqs], g->tokens);
    for (size_t t = 0; t < g->tokens; t++)
        for (size_t j = 0; j < n; j++)
            w[j] += g->dy[t * n + j] * (g->xhat ? g->xhat[t * n + j] : 1);
    return 0;
}

static inline int sum_embed(void *u, const struct batch *b, const float *dx, struct err *e)
{
    struct sum_sink *s = u;
    size_t n, d = (size_t)s->c->hidden_size;
    float *w = *sum_slot(s, -1, MOD_EMBED, false, &n);
    (void)e;
    for (int32_t t = 0; t < b->cu[b->n_seqs]; t++)
        for (size_t j = 0; j < d; j++)
            w[(size_t)b->ids[t] * d + j] += dx[(size_t)t * d + j];
    return 0;
}

static inline void sum_init(struct sum_sink *s, const struct model_config *c, struct grad_sink *sink)
{
    size_t n = ((size_t)c->num_hidden_layers + 1) * MOD_COUNT;
    *s = (struct sum_sink){.c = c, .w = calloc(n, sizeof(float *)), .b = calloc(n, sizeof(float *))};
    *sink = (struct grad_sink){.u = s, .linear = sum_linear, .vector = sum_vector, .embed = sum_embed};
}

static inline void sum_release(struct sum_sink *s)
{
    for (int i = 0; i < (s->c->num_hidden_layers + 1) * MOD_COUNT; i++) {
        free(s->w[i]);
        free(s->b[i]);
    }
    free(s->w);
    free(s->b);
}

#endif
