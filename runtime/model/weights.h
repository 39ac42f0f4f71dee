/* SPDX-License-Identifier: MIT
 *
 * weights: where the pass gets its matrices from. Acquire a layer, use it, release it: a resident source keeps
 * everything in the compute type; a streamed source maps, converts one layer at a time and drops what is behind; a
 * trainable source is resident, f32 and writable (full training). Matrices are (out, in) row-major in the compute type;
 * norms and biases are f32 always. A packed source is a resident one that also holds its matrices in the order that the
 * kernels like best (gemm_pack), for frozen models that are used many times: about a third faster in bf16, hardly in f32;
 * WEIGHTS_PACKED for the forward pass (evaluation, generation), WEIGHTS_PACKED_BOTH for backward as well (adapters).
 * Packed products differ from the others in the last bits.
 */
#ifndef PKG_MODEL_WEIGHTS_H
#define PKG_MODEL_WEIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/dtype.h"
#include "runtime/base/err.h"
#include "runtime/model/model.h"

enum weights_kind { WEIGHTS_RESIDENT, WEIGHTS_STREAMED, WEIGHTS_TRAINABLE, WEIGHTS_PACKED, WEIGHTS_PACKED_BOTH };

struct gemm_packed;

struct weights;

struct layer_weights {
    const void *w[MOD_LINEARS];    /* compute type */
    const float *b[MOD_LINEARS];   /* NULL: no bias */
    const float *input_norm, *post_norm;
    const struct gemm_packed *fwd[MOD_LINEARS], *bwd[MOD_LINEARS]; /* W and W^T packed; NULL unless such a source */
};

int weights_new(const struct model *m, enum dtype compute, enum weights_kind kind, struct weights **out, struct err *e);
void weights_free(struct weights *w);
const struct model_config *weights_config(const struct weights *w);
enum dtype weights_compute(const struct weights *w);

/* One layer at a time per source for streamed ones. */
int weights_acquire(const struct weights *w, int layer, struct layer_weights *out, struct err *e);
void weights_release(const struct weights *w, int layer);

const void *weights_head(const struct weights *w);   /* (V, d) compute type; the embedding when tied */
const struct gemm_packed *weights_head_packed(const struct weights *w); /* NULL unless a packed source */
const float *weights_norm(const struct weights *w);  /* (d) */
/* out (n, d) f32 = the embedding rows of ids; every id is already checked against vocab_size. */
void weights_embed(const struct weights *w, const int32_t *ids, size_t n, float *out);

/* WEIGHTS_TRAINABLE: the f32 parameter, writable; NULL when there is none. A tied lm_head is the embedding. */
float *weights_param(struct weights *w, const char *name, size_t *n);

/* For answering (generation, choices): a packed source serves one row as well as many, and is much faster than a resident one. */
bool weights_pack_pays(const struct model_config *c, enum dtype compute);
uint64_t weights_memory(const struct model_config *c, enum dtype stored, enum dtype compute, enum weights_kind kind); /* bytes resident */

#endif
