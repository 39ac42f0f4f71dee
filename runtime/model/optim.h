/* SPDX-License-Identifier: MIT
 *
 * optim: the parameters that are trained, their gradients and AdamW's two moments, all f32 in one block each. Norm weights
 * and biases are not decayed (what transformers' Trainer does); everything else is.
 *
 * Owner of gradients and moments (gradients of an adapter belong to the lora); parameters belong to weights or lora.
 */
#ifndef PKG_MODEL_OPTIM_H
#define PKG_MODEL_OPTIM_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/model/lora.h"
#include "runtime/model/weights.h"

struct optim_param {
    char *name;     /* unique: "model.layers.0.mlp.up_proj.weight", "...up_proj.lora_A" */
    size_t n;
    float *p, *g;   /* borrowed */
    float *m, *v;   /* into `moments` */
    bool decay;
};

/* At most OPTIM_PIECE elements of one parameter: the unit of work of a step. */
enum { OPTIM_PIECE = 16384 };
struct optim_piece {
    size_t param, first, n; /* elements [first, first + n) of parameter v[param] */
    size_t at;              /* of `first`, counted over all parameters in their order */
};

struct optim {
    size_t n;
    struct optim_param *v;
    size_t total;      /* elements */
    float *moments;    /* 2 * total */
    float *grads;      /* total, full training only */
    struct optim_piece *pieces;
    double *part;      /* a piece's sum of squares */
    size_t n_pieces;
    int n_layers;
};

struct adamw_settings {
    double beta1, beta2, eps, weight_decay, max_grad_norm; /* max_grad_norm 0: no clipping */
};

/* Every parameter of trainable weights. */
int optim_full(struct weights *w, struct optim *o, struct err *e);
/* The factors of an adapter (B, A of each pair); makes the adapter trainable. */
int optim_lora(struct lora *l, struct optim *o, struct err *e);
void optim_release(struct optim *o);

void optim_zero(struct optim *o); /* the gradients */
/* The gradient of a weight or bias in full training; NULL when it is not trained. */
float *optim_grad(const struct optim *o, int layer, enum module m, bool bias);

/* One update with the gradients as they are: clips (factor min(1, c / (norm + 1e-6))), steps, zeroes the gradients.
 * step from 1. *norm: before clipping. A norm that is not finite is ERR_INPUT and changes nothing. */
int optim_step(struct optim *o, const struct adamw_settings *s, double lr, int64_t step, double *norm, struct err *e);

uint64_t optim_memory(size_t elements, bool full); /* bytes: moments and gradients */

#endif
