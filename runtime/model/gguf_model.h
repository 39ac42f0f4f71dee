/* SPDX-License-Identifier: MIT
 *
 * gguf_model: a GGUF file (llama, qwen2) seen as the Hugging Face checkpoint that it was made from: config.json and
 * tokenizer.json from its metadata, its tensors under Hugging Face's names, the rows of llama's q and k in Hugging Face's
 * order (half-split rotation; the file has them interleaved, method.md 8).
 */
#ifndef PKG_MODEL_GGUF_MODEL_H
#define PKG_MODEL_GGUF_MODEL_H

#include "runtime/formats/gguf.h"
#include "runtime/model/config.h"

/* New references; NULL on error. What this program does not compute is ERR_UNSUPPORTED and named. */
struct js *gguf_config(const struct gguf *g, struct err *e);
/* tokenizer.json: byte-level BPE (tokenizer.ggml.model gpt2, cut as tokenizer.ggml.pre says) or SentencePiece (llama: merges
 * are made from the scores). NULL with ERR_NOTFOUND when the file has no tokenizer. */
struct js *gguf_tokenizer(const struct gguf *g, struct err *e);
/* Which tokens it has (text/token_facts.h). NULL: an error; ERR_NOTFOUND when the file has no tokenizer. */
struct js *gguf_vocabulary(const struct gguf *g, struct err *e);
/* Whether gguf_tokenizer can do it, from the metadata's names alone. */
int gguf_tokenizer_check(const struct gguf *g, struct err *e);
/* model.json's "tokenizer": bos_token, eos_token, pad_token, chat_template as far as the metadata has them. */
struct js *gguf_tokenizer_facts(const struct gguf *g, struct err *e);

/* The tensors of an open file. */
struct gguf_weights;
int gguf_weights_new(const struct gguf *g, const struct model_config *c, struct gguf_weights **out, struct err *e);
void gguf_weights_free(struct gguf_weights *w);
size_t gguf_weights_count(const struct gguf_weights *w);
const struct tensor *gguf_weights_at(const struct gguf_weights *w, size_t i); /* by name, ascending */

/* "blk.3.attn_q.weight". Returns out. */
char *gguf_param_name(char out[PARAM_NAME_MAX], int layer, enum module m, bool bias);

/* ---- pre-tokenisers by name (tokenizer.ggml.pre) ---- */

/* The name under which llama.cpp knows the cut of this tokenizer.json (byte-level BPE); NULL when it is none of ours. */
const char *gguf_pre_name(const struct js *tokenizer);
extern const char gguf_pre_known[]; /* for messages */

#endif
