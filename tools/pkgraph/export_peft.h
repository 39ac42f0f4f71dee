/* SPDX-License-Identifier: MIT
 *
 * export_peft: an adapter artifact in the one portable form (runtime/model/peft_export.h): adapter_model.safetensors and
 * adapter_config.json for the original base.
 */
#ifndef PKG_TOOLS_EXPORT_PEFT_H
#define PKG_TOOLS_EXPORT_PEFT_H

#include "runtime/model/lora.h"
#include "runtime/store/store.h"
#include "tools/pkgraph/export_dir.h"

/* rank 0: nothing is lost. With a rank the relative error of each module is printed. base: what stands in the file as the
 * base model's name; NULL: null. vllm: its command line is appended there (export_vllm.h); NULL: not asked for. */
int export_peft(struct export_dir *d, struct store *s, const struct artifact *adapter, int rank, const char *base, struct buf *vllm, struct err *e);

/* The adapter of an artifact, with its compensation. lora_free. */
struct resolver;
int adapter_read(struct resolver *r, const struct artifact *a, const struct model_config *c, struct lora **out, struct err *e);

#endif
