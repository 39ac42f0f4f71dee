/* SPDX-License-Identifier: MIT
 *
 * export_vllm: whether vLLM will serve an adapter in the portable form, before anybody waits for it to start, and the command that does. Its
 * rules: --max-lora-rank is one of 1, 8, 16, 32, 64, 128, 256, 320, 512 (16 when not given); adapters of the embedding and the head only
 * for llama and mistral models, with at most 258,048 tokens, and not where the two are tied.
 */
#ifndef PKG_TOOLS_EXPORT_VLLM_H
#define PKG_TOOLS_EXPORT_VLLM_H

#include "runtime/base/buf.h"
#include "runtime/model/lora.h"

/* l: portable (peft_export.h); model_type as in config.json. Appends the command line: base (NULL: BASE) with the adapter at dir. ERR_UNSUPPORTED names
 * what vLLM refuses, and the remedy. */
int vllm_command(const struct lora *l, const struct model_config *c, const char *model_type, const char *base, const char *dir, struct buf *out, struct err *e);

#endif
