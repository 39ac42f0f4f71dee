/* SPDX-License-Identifier: MIT
 *
 * lora: an adapter set: for each target module a pair (B, A) and, where the student was compensated, a second fixed pair
 * (B0, A0) that is subtracted:   y = W x + scale * (B A drop(x) - B0 A0 x).
 * The base is never rewritten nor rounded. The pass computes the bracket as (B - B0) (A x) + B0 ((A - A0) x), so that an
 * untrained adapter is exactly nothing and the small difference of large products keeps its digits in bf16. Names and files are PEFT's (users.md 1.4). Embedding adapters: A (r, V),
 * B (d, r); x is a one-hot id, so A x is a column of A; no dropout there. In a tied model an embed_tokens adapter acts on
 * the input side only and an lm_head adapter on the output side only.
 */
#ifndef PKG_MODEL_LORA_H
#define PKG_MODEL_LORA_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/json.h"
#include "runtime/model/config.h"

struct lora_pair {
    int layer; /* -1 for embed_tokens and lm_head */
    enum module mod;
    int r;
    float scale;          /* alpha / r, or alpha / sqrt(r) with rslora */
    size_t out, in;       /* B (out, r), A (r, in); embeddings: out = d, in = V */
    float *B, *A;         /* owned (malloc), f32 */
    float *B0, *A0;       /* owned; NULL: no compensation. Rank r0, scale as above */
    int r0;
    float *dB, *dA;       /* gradients, same shapes; NULL unless trainable */
};

struct lora {
    size_t n;
    struct lora_pair *pairs;       /* embed_tokens first, then layers ascending (modules in enum order), lm_head last */
    double dropout;
    struct js *config;             /* adapter_config.json */
    int *index;                    /* (layer + 1) * MOD_COUNT + mod -> pair, -1: none; made by lora_index */
};

/* n zeroed pairs, to be filled (layer, mod, r, scale, then lora_pair_alloc), and then indexed by lora_index. */
int lora_new(size_t n, struct lora **out, struct err *e);
/* Sets out and in from the configuration and allocates zeroed B (out, r), A (r, in), and B0, A0 of rank r0 when r0 > 0. */
int lora_pair_alloc(struct lora_pair *p, const struct model_config *c, int r0, struct err *e);
void lora_free(struct lora *l); /* NULL is fine */
struct lora_pair *lora_find(const struct lora *l, int layer, enum module m); /* NULL when there is none */
int lora_index(struct lora *l, int num_hidden_layers, struct err *e);
int lora_make_trainable(struct lora *l, struct err *e);   /* allocates dB, dA, zeroed */

/* Reads adapter_model.safetensors, adapter_config.json and compensation.safetensors (absent: NULL path) and checks every
 * shape against the student's configuration. */
int lora_read(const char *model_path, const char *config_path, const char *compensation_path, const struct model_config *c,
              struct lora **out, struct err *e);
/* Writes the three files (compensation only where there is any; config_path NULL: not that one). */
int lora_write(const struct lora *l, const char *model_path, const char *config_path, const char *compensation_path, struct err *e);

#endif
