/* SPDX-License-Identifier: MIT */
#include "runtime/model/lora.h"

#include <stdlib.h>

int lora_new(size_t n, struct lora **out, struct err *e)
{
    struct lora *l = calloc(1, sizeof *l);
    if (l && n)
        l->pairs = calloc(n, sizeof *l->pairs);
    if (!l || (n && !l->pairs)) {
        free(l);
        return err_nomem(e, n * sizeof *l->pairs, "an adapter");
    }
    l->n = n;
    *out = l;
    return 0;
}

static float *matrix(size_t rows, size_t cols)
{
    size_t n;
    return __builtin_mul_overflow(rows, cols, &n) ? NULL : calloc(n ? n : 1, sizeof(float));
}

int lora_pair_alloc(struct lora_pair *p, const struct model_config *c, int r0, struct err *e)
{
    module_shape(c, p->mod, &p->out, &p->in);
    if (p->mod == MOD_EMBED) { /* the matrix is (V, d), the map goes from V to d */
        size_t v = p->out;
        p->out = p->in;
        p->in = v;
    }
    size_t r = (size_t)p->r;
    p->r0 = r0;
    p->B = matrix(p->out, r);
    p->A = matrix(r, p->in);
    if (r0 > 0) {
        p->B0 = matrix(p->out, (size_t)r0);
        p->A0 = matrix((size_t)r0, p->in);
    }
    if (!p->B || !p->A || (r0 > 0 && (!p->B0 || !p->A0)))
        return err_nomem(e, (p->out + p->in) * (r + (size_t)r0) * sizeof(float), "an adapter");
    return 0;
}

void lora_free(struct lora *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++) {
        struct lora_pair *p = &l->pairs[i];
        free(p->B);
        free(p->A);
        free(p->B0);
        free(p->A0);
        free(p->dB);
        free(p->dA);
    }
    free(l->pairs);
    free(l->index);
    js_free(l->config);
    free(l);
}

struct lora_pair *lora_find(const struct lora *l, int layer, enum module m)
{
    if (!l || !l->index)
        return NULL;
    int i = l->index[(size_t)(layer + 1) * MOD_COUNT + m];
    return i < 0 ? NULL : &l->pairs[i];
}

int lora_index(struct lora *l, int num_hidden_layers, struct err *e)
{
    size_t n = ((size_t)num_hidden_layers + 1) * MOD_COUNT;
    int *index = malloc(n * sizeof *index);
    if (!index)
        return err_nomem(e, n * sizeof *index, "an adapter");
    free(l->index);
    l->index = index;
    for (size_t i = 0; i < n; i++)
        index[i] = -1;
    for (size_t i = 0; i < l->n; i++) {
        const struct lora_pair *p = &l->pairs[i];
        bool outside = p->mod == MOD_EMBED || p->mod == MOD_HEAD;
        if (outside != (p->layer < 0) || p->layer < -1 || p->layer >= num_hidden_layers || (!outside && (int)p->mod >= MOD_LINEARS))
            return err_set(e, ERR_INTERNAL, "an adapter of %s in layer %d", module_name(p->mod), p->layer);
        int *at = &index[(size_t)(p->layer + 1) * MOD_COUNT + p->mod];
        if (*at >= 0)
            return err_set(e, ERR_INTERNAL, "two adapters of %s in layer %d", module_name(p->mod), p->layer);
        *at = (int)i;
    }
    return 0;
}

int lora_make_trainable(struct lora *l, struct err *e)
{
    for (size_t i = 0; i < l->n; i++) {
        struct lora_pair *p = &l->pairs[i];
        size_t r = (size_t)p->r;
        if (!p->dB)
            p->dB = matrix(p->out, r);
        if (!p->dA)
            p->dA = matrix(r, p->in);
        if (!p->dB || !p->dA)
            return err_nomem(e, (p->out + p->in) * r * sizeof(float), "an adapter's gradients");
    }
    return 0;
}
