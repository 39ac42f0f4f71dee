/* SPDX-License-Identifier: MIT
 *
 * model_out: an output port that is a model with weights of its own, made from the model at an input port: its descriptor at
 * plan time, its files at run time (model.json, model.safetensors, and the tokenizer.json that it refers to).
 */
#ifndef PKG_OPS_LIB_MODEL_OUT_H
#define PKG_OPS_LIB_MODEL_OUT_H

#include "ops/lib/inputs.h"
#include "runtime/model/model_write.h"

/* "f32", "bf16", "f16"; NULL: otherwise. */
enum dtype model_out_dtype(const char *name, enum dtype otherwise);
/* The base's descriptor without files; dtype NULL: each tensor's own. untie as in model_write. NULL: out of memory. */
struct js *model_out_descriptor(const struct js *base, const char *dtype, bool untie);
int model_out_write(struct op_run *r, const char *port, const struct model_write *w, struct err *e);

#endif
