/* SPDX-License-Identifier: MIT
 *
 * Full training looks gradients up by (layer, module, bias) for every piece that the backward pass gives away, through a
 * name; that is a few hundred comparisons a layer, nothing beside the products.
 */
#include "runtime/model/optim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/exec/par.h"
#include "runtime/kernels/adamw.h"

static int add(struct optim *o, const char *name, float *p, float *g, size_t n, bool decay, struct err *e)
{
    struct optim_param *v = realloc(o->v, (o->n + 1) * sizeof *v);
    if (!v)
        return err_nomem(e, (o->n + 1) * sizeof *v, "the list of parameters");
    o->v = v;
    v[o->n] = (struct optim_param){.n = n, .p = p, .g = g, .decay = decay};
    v[o->n].name = str_dup(str_of(name));
    if (!v[o->n].name)
        return err_nomem(e, strlen(name), "the list of parameters");
    o->n++;
    o->total += n;
    return 0;
}

static int cut_pieces(struct optim *o, struct err *e)
{
    size_t most = o->n + o->total / OPTIM_PIECE, at = 0;
    o->pieces = malloc((most + 1) * sizeof *o->pieces);
    o->part = malloc((most + 1) * sizeof *o->part);
    if (!o->pieces || !o->part)
        return err_nomem(e, most * sizeof *o->pieces, "the list of parameters");
    for (size_t i = 0; i < o->n; at += o->v[i++].n)
        for (size_t first = 0; first < o->v[i].n; first += OPTIM_PIECE) {
            size_t left = o->v[i].n - first;
            o->pieces[o->n_pieces++] = (struct optim_piece){i, first, left < OPTIM_PIECE ? left : OPTIM_PIECE, at + first};
        }
    return 0;
}

static int allocate(struct optim *o, bool grads, struct err *e)
{
    if (o->total > SIZE_MAX / 16)
        return err_set(e, ERR_INPUT, "too many parameters to train (%zu)", o->total);
    o->moments = big_alloc(o->total * 2 * sizeof(float));
    if (grads)
        o->grads = big_alloc(o->total * sizeof(float));
    if (!o->moments || (grads && !o->grads))
        return err_nomem(e, optim_memory(o->total, grads), "optimiser state");
    size_t at = 0;
    for (size_t i = 0; i < o->n; i++) {
        struct optim_param *p = &o->v[i];
        p->m = o->moments + at;
        p->v = o->moments + o->total + at;
        if (grads)
            p->g = o->grads + at;
        at += p->n;
    }
    return cut_pieces(o, e);
}

static int add_param(struct optim *o, struct weights *w, int layer, enum module m, bool bias, struct err *e)
{
    char name[PARAM_NAME_MAX];
    size_t n = 0;
    float *p = weights_param(w, param_name(name, layer, m, bias), &n);
    if (!p)
        return 0;
    bool vector = bias || m == MOD_INPUT_NORM || m == MOD_POST_NORM || m == MOD_NORM;
    return add(o, name, p, NULL, n, !vector, e);
}

int optim_full(struct weights *w, struct optim *o, struct err *e)
{
    const struct model_config *c = weights_config(w);
    static const enum module order[] = {MOD_INPUT_NORM, MOD_Q, MOD_K, MOD_V, MOD_O, MOD_POST_NORM, MOD_GATE, MOD_UP, MOD_DOWN};
    *o = (struct optim){.n_layers = c->num_hidden_layers};
    int rc = add_param(o, w, -1, MOD_EMBED, false, e);
    for (int l = 0; rc == 0 && l < c->num_hidden_layers; l++)
        for (size_t i = 0; rc == 0 && i < sizeof order / sizeof *order; i++) {
            rc = add_param(o, w, l, order[i], false, e);
            if (rc == 0 && order[i] <= MOD_DOWN && module_has_bias(c, order[i]))
                rc = add_param(o, w, l, order[i], true, e);
        }
    if (rc == 0)
        rc = add_param(o, w, -1, MOD_NORM, false, e);
    if (rc == 0 && !c->tie_word_embeddings)
        rc = add_param(o, w, -1, MOD_HEAD, false, e);
    if (rc == 0)
        rc = allocate(o, true, e);
    if (rc)
        optim_release(o);
    return rc;
}

int optim_lora(struct lora *l, struct optim *o, struct err *e)
{
    *o = (struct optim){0};
    int rc = lora_make_trainable(l, e);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct lora_pair *p = &l->pairs[i];
        char path[PARAM_NAME_MAX], name[PARAM_NAME_MAX + 8];
        module_path(path, p->layer, p->mod);
        snprintf(name, sizeof name, "%s.lora_A", path);
        rc = add(o, name, p->A, p->dA, (size_t)p->r * p->in, true, e);
        snprintf(name, sizeof name, "%s.lora_B", path);
        if (rc == 0)
            rc = add(o, name, p->B, p->dB, p->out * (size_t)p->r, true, e);
    }
    if (rc == 0)
        rc = allocate(o, false, e);
    if (rc)
        optim_release(o);
    return rc;
}

void optim_release(struct optim *o)
{
    for (size_t i = 0; i < o->n; i++)
        free(o->v[i].name);
    free(o->v);
    free(o->pieces);
    free(o->part);
    big_free(o->moments, o->total * 2 * sizeof(float));
    big_free(o->grads, o->total * sizeof(float));
    *o = (struct optim){0};
}

void optim_zero(struct optim *o)
{
    for (size_t i = 0; i < o->n; i++)
        memset(o->v[i].g, 0, o->v[i].n * sizeof(float));
}

float *optim_grad(const struct optim *o, int layer, enum module m, bool bias)
{
    char name[PARAM_NAME_MAX];
    param_name(name, layer, m, bias);
    for (size_t i = 0; i < o->n; i++)
        if (!strcmp(o->v[i].name, name))
            return o->v[i].g;
    return NULL;
}

static void sum_piece(void *u, size_t i)
{
    const struct optim *o = u;
    const struct optim_piece *c = &o->pieces[i];
    o->part[i] = grad_sumsq(o->v[c->param].g + c->first, c->n);
}

/* One step of all pieces; the gradient is zeroed while it is in cache. */
struct update {
    const struct optim *o;
    const struct adamw_settings *s;
    double lr, scale;
    int64_t step;
};

static void update_piece(void *u, size_t i)
{
    const struct update *j = u;
    const struct optim_piece *c = &j->o->pieces[i];
    const struct optim_param *p = &j->o->v[c->param];
    size_t f = c->first;
    adamw_step(p->p + f, p->g + f, p->m + f, p->v + f, c->n, j->lr, j->s->beta1, j->s->beta2, j->s->eps,
               p->decay ? j->s->weight_decay : 0, j->step, j->scale);
    memset(p->g + f, 0, c->n * sizeof *p->g);
}

int optim_step(struct optim *o, const struct adamw_settings *s, double lr, int64_t step, double *norm, struct err *e)
{
    double sum = 0;
    par_for(o->n_pieces, sum_piece, o);
    for (size_t i = 0; i < o->n_pieces; i++)
        sum += o->part[i];
    *norm = sqrt(sum);
    if (!isfinite(sum))
        return err_set(e, ERR_INPUT, "the gradient is not a finite number");
    struct update u = {o, s, lr, 1, step};
    if (s->max_grad_norm > 0 && s->max_grad_norm / (*norm + 1e-6) < 1)
        u.scale = s->max_grad_norm / (*norm + 1e-6);
    par_for(o->n_pieces, update_piece, &u);
    return 0;
}

uint64_t optim_memory(size_t elements, bool full)
{
    return (uint64_t)elements * (full ? 12 : 8);
}
