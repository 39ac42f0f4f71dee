/* SPDX-License-Identifier: MIT
 *
 * export_hf: a model artifact as a Hugging Face folder: config.json, tokenizer.json, tokenizer_config.json,
 * model.safetensors. The tensors come from wherever they lie, by digest.
 */
#ifndef PKG_TOOLS_EXPORT_HF_H
#define PKG_TOOLS_EXPORT_HF_H

#include "runtime/store/store.h"
#include "tools/pkgraph/export_dir.h"

/* limit: bytes of tensors in one file; more become shards with model.safetensors.index.json. */
int export_hf(struct export_dir *d, struct store *s, const struct artifact *model, uint64_t limit, struct err *e);

#endif
