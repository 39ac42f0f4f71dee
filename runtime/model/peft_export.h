/* SPDX-License-Identifier: MIT
 *
 * peft_export: an adapter in the one form that PEFT, llama.cpp, vLLM and Ollama load on the original base and that computes the
 * trained function (artifacts.md): scale * (B A - B0 A0) re-factorised in f64 as B' A' with B' = U S^1/2, A' = S^1/2 V^T, the
 * scale folded into B', one rank for all modules (zero-padded), lora_alpha = r.
 */
#ifndef PKG_MODEL_PEFT_EXPORT_H
#define PKG_MODEL_PEFT_EXPORT_H

#include "runtime/model/lora.h"

struct peft_module {
    int layer;
    enum module mod;
    double norm;  /* Frobenius norm of the change of the weight */
    double error; /* what truncation and rounding to f32 lose of it, relative; 0 for a change of zero */
};

/* The largest rank that loses nothing: r + r0 of the widest pair. */
int peft_full_rank(const struct lora *l);

/* rank 0: peft_full_rank. *out is a set of its own without compensation, with its adapter_config.json in config (base_model:
 * what stands there as base_model_name_or_path; NULL: null). errors (l->n entries) may be NULL. */
int peft_portable(const struct lora *l, const struct model_config *c, int rank, const char *base_model, struct lora **out,
                  struct peft_module *errors, struct err *e);

#endif
