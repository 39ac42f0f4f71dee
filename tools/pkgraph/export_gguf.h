/* SPDX-License-Identifier: MIT
 *
 * export_gguf: models (model.gguf, with a Modelfile for Ollama) and adapters (adapter.gguf) as llama.cpp loads them.
 */
#ifndef PKG_TOOLS_EXPORT_GGUF_H
#define PKG_TOOLS_EXPORT_GGUF_H

#include "runtime/store/store.h"
#include "tools/pkgraph/export_dir.h"

/* dtype: f32, f16, bf16, q8_0, or NULL: as the model is stored. Of adapters: rank as in peft_portable (0: full); dtype is NULL. */
int export_gguf(struct export_dir *d, struct store *s, const struct artifact *a, const char *dtype, int rank, struct err *e);

#endif
