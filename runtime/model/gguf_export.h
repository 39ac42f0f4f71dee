/* SPDX-License-Identifier: MIT
 *
 * gguf_export: models and LoRA adapters as llama.cpp and Ollama load them. llama's q and k are interleaved again; norms and
 * biases are F32, as llama.cpp wants them; matrices whose rows are not whole blocks stay in F16. The tokenizer goes into the
 * metadata with the name of its way to cut text; one that has no such name is refused. Same input, same bytes.
 */
#ifndef PKG_MODEL_GGUF_EXPORT_H
#define PKG_MODEL_GGUF_EXPORT_H

#include "runtime/formats/gguf.h"
#include "runtime/model/lora.h"
#include "runtime/model/model.h"

/* tokenizer: path of its tokenizer.json, or NULL for none. type: F32, F16, BF16 or Q8_0; NULL: of each tensor its own (BF16 where
 * that is quantised). */
int gguf_export_model(struct model *m, const char *tokenizer, const struct quant_type *type, const char *path, struct err *e);
/* l as peft_portable makes it (one rank, no compensation), for the model with configuration c. Refuses adapters of the
 * embedding or the head of tied models, which llama.cpp cannot hold. */
int gguf_export_adapter(const struct lora *l, const struct model_config *c, const char *path, struct err *e);

/* The tokenizer's share of the metadata (gguf_export_tokenizer.c). facts: model.json's "tokenizer". */
struct tokenizer;
int gguf_put_tokenizer(struct gguf_writer *w, const struct js *json, const struct js *facts, const struct model_config *c,
                       const struct tokenizer *t, struct err *e);

#endif
