/* SPDX-License-Identifier: MIT
 *
 * Part 0 adds to the optimiser's own gradients; the others have a block each, laid out as the optimiser's list of
 * parameters, which is zero outside of parts_backward.
 */
#include "runtime/model/parts.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/exec/par.h"
#include "runtime/model/gradients.h"

enum { PART_TOKENS = 128, LARGE_LAYER = 1 << 18, LARGE_MODEL = 1 << 22, DROPOUT_SHIFT = 56 };

struct part {
    struct pass_work *work;
    float *grads;             /* NULL: part 0 */
    struct gradients sink;
    struct lora lora;         /* a view: the pairs' gradients are the part's */
    size_t first, count;      /* of which[] */
    double loss;
    struct err err;
    int rc;
};

struct parts {
    const struct optim *optim;
    bool full;
    size_t used;
    struct part part[PARTS];
    /* the call in hand */
    const struct pass_options *base;
    const struct samples *samples;
    const uint32_t *which;
    double weight;
};

bool parts_pay(const struct model_config *c, size_t elements)
{
    return elements <= LARGE_MODEL && (size_t)c->hidden_size <= LARGE_LAYER / (size_t)c->intermediate_size;
}

/* Pair i of the list is parameters 2i (A) and 2i + 1 (B) of the optimiser. */
static int view_lora(const struct parts *p, struct part *x, const struct lora *l, struct err *e)
{
    x->lora = *l;
    x->lora.pairs = malloc((l->n ? l->n : 1) * sizeof *l->pairs);
    if (!x->lora.pairs)
        return err_nomem(e, l->n * sizeof *l->pairs, "an adapter");
    if (l->n)
        memcpy(x->lora.pairs, l->pairs, l->n * sizeof *l->pairs);
    size_t at = 0;
    for (size_t i = 0; i < l->n && x->grads; i++) {
        x->lora.pairs[i].dA = x->grads + at;
        at += p->optim->v[2 * i].n;
        x->lora.pairs[i].dB = x->grads + at;
        at += p->optim->v[2 * i + 1].n;
    }
    return 0;
}

int parts_new(const struct optim *o, struct lora *l, bool tied, size_t hidden, struct parts **out, struct err *e)
{
    struct parts *p = *out = calloc(1, sizeof *p);
    if (!p)
        return err_nomem(e, sizeof *p, "training");
    p->optim = o;
    p->full = l == NULL;
    int rc = 0;
    for (int i = 0; i < PARTS && rc == 0; i++) {
        struct part *x = &p->part[i];
        if (i > 0 && !(x->grads = big_alloc(o->total * sizeof(float))))
            rc = err_nomem(e, o->total * sizeof(float), "gradients");
        x->sink = (struct gradients){.optim = o, .tied = tied, .hidden = hidden, .grads = x->grads};
        if (rc == 0)
            rc = pass_work_new(&x->work, e);
        if (rc == 0 && l)
            rc = view_lora(p, x, l, e);
    }
    if (rc) {
        parts_free(p);
        *out = NULL;
    }
    return rc;
}

void parts_free(struct parts *p)
{
    if (!p)
        return;
    for (int i = 0; i < PARTS; i++) {
        pass_work_free(p->part[i].work);
        big_free(p->part[i].grads, p->optim->total * sizeof(float));
        free(p->part[i].lora.pairs);
    }
    free(p);
}

/* Runs of rows of about equal length in tokens, none shorter than PART_TOKENS if it can be. A part without targets is
 * given to its neighbour, because the pass refuses it. */
static void cut(struct parts *p, size_t n)
{
    size_t tokens = 0, seen = 0, targets = 0;
    for (size_t i = 0; i < n; i++)
        tokens += p->samples->v[p->which[i]].x.n;
    size_t want = tokens / PART_TOKENS < PARTS ? tokens / PART_TOKENS : PARTS;
    want = want < 1 ? 1 : want;
    p->used = 1;
    p->part[0].first = p->part[0].count = 0;
    for (size_t i = 0; i < n; i++) {
        struct part *x = &p->part[p->used - 1];
        size_t len = p->samples->v[p->which[i]].x.n;
        if (x->count && targets && p->used < want && (seen + len / 2) * want >= tokens * p->used) {
            x = &p->part[p->used++];
            x->first = i;
            x->count = targets = 0;
        }
        x->count++;
        targets += p->samples->v[p->which[i]].x.n_target;
        seen += len;
    }
    if (!targets && p->used > 1) {
        p->part[p->used - 2].count += p->part[p->used - 1].count;
        p->used--;
    }
}

static void run_part(void *u, size_t i)
{
    struct parts *p = u;
    struct part *x = &p->part[i];
    struct packed b = {0};
    struct pass_options o = *p->base;
    double total;
    x->loss = 0;
    o.work = x->work;
    o.lora = p->full ? NULL : &x->lora;
    o.dropout_step += (uint64_t)i << DROPOUT_SHIFT;
    struct grad_sink sink = gradients_sink(&x->sink);
    x->rc = packed_make(p->samples, p->which + x->first, x->count, p->weight, &b, &x->err);
    double *sums = x->rc == 0 ? calloc(x->count, sizeof *sums) : NULL;
    if (x->rc == 0 && !sums)
        x->rc = err_nomem(&x->err, x->count * sizeof *sums, "losses");
    if (x->rc == 0)
        x->rc = pass_backward(&o, &b.b, p->full ? &sink : NULL, sums, &total, &x->err);
    for (size_t s = 0; x->rc == 0 && s < b.n_seqs; s++)
        x->loss += sums[s];
    free(sums);
    packed_release(&b);
}

/* The parts' gradients of one piece, in order. */
static void add_piece(void *u, size_t i)
{
    const struct parts *p = u;
    const struct optim_piece *c = &p->optim->pieces[i];
    float *g = p->optim->v[c->param].g + c->first;
    for (size_t k = 1; k < p->used; k++) {
        float *x = p->part[k].grads + c->at;
        for (size_t j = 0; j < c->n; j++)
            g[j] += x[j];
        memset(x, 0, c->n * sizeof *x);
    }
}

int parts_backward(struct parts *p, const struct pass_options *base, const struct samples *s, const uint32_t *which, size_t n,
                   double weight, double *loss, struct err *e)
{
    p->base = base;
    p->samples = s;
    p->which = which;
    p->weight = weight;
    cut(p, n);
    par_for(p->used, run_part, p);
    *loss = 0;
    for (size_t i = 0; i < p->used; i++) {
        if (p->part[i].rc) {
            *e = p->part[i].err;
            return p->part[i].rc;
        }
        *loss += p->part[i].loss;
    }
    if (p->used > 1)
        par_for(p->optim->n_pieces, add_piece, p);
    return 0;
}
