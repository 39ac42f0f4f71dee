/* SPDX-License-Identifier: MIT
 *
 * model_write: a model derived from another one, with weights of its own: the base's tensors under the same names, their values
 * edited on the way, in one safetensors file, and a model.json that names that file by its digest and the same tokenizer.
 * Tensors are read, edited in f32 and rounded once, a few rows at a time.
 *
 * lora_add_delta: the change that an adapter makes to a weight: scale * (B A - B0 A0), as (B - B0) A + B0 (A - A0).
 */
#ifndef PKG_MODEL_MODEL_WRITE_H
#define PKG_MODEL_MODEL_WRITE_H

#include "runtime/exec/progress.h"
#include "runtime/model/lora.h"
#include "runtime/model/model.h"

struct model_write {
    const struct model *base;
    bool set_dtype;      /* write matrices and vectors in `dtype` instead of each tensor's own type */
    enum dtype dtype;
    bool untie;          /* write lm_head.weight (from the embedding) and tie_word_embeddings: false */
    /* Changes rows row0 .. row0 + rows of the parameter (columns: 1 for vectors), x (rows, cols) f32. name: as written. */
    int (*edit)(void *u, const char *name, size_t row0, size_t rows, size_t cols, float *x, struct err *e);
    void *u;
    const struct progress *progress;
};

/* Writes model.safetensors and model.json. A value that does not fit the type (f16) or is not finite is ERR_INPUT. */
int model_write(const struct model_write *w, const char *safetensors_path, const char *json_path, struct err *e);

/* Adds the pair's change to rows of the parameter in the parameter's shape: (out, in), embeddings (V, d). */
int lora_add_delta(const struct lora_pair *p, size_t row0, size_t rows, float *x, struct err *e);

/* model_write's edit for merging: u is a const struct lora *. merge_unties: a tied base needs a head of its own. */
int merge_edit(void *u, const char *name, size_t row0, size_t rows, size_t cols, float *x, struct err *e);
bool merge_unties(const struct lora *l, const struct model_config *c);

#endif
