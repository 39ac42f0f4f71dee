/* SPDX-License-Identifier: MIT
 *
 * weight_file: a file with tensors, whatever its format: safetensors, GGUF, or PyTorch's zip with a pickle. The format is
 * seen from the first bytes. Tensors have Hugging Face's names. Immutable after opening; any thread.
 */
#ifndef PKG_MODEL_WEIGHT_FILE_H
#define PKG_MODEL_WEIGHT_FILE_H

#include "runtime/formats/safetensors.h"
#include "runtime/model/config.h"

struct weight_file;

/* c: needed for GGUF only (heads of q and k); may be NULL for the others. header: of safetensors only the header is read (data is NULL there); the others are mapped, which reads nothing more. */
int weight_file_open(const char *path, const struct model_config *c, bool header, struct weight_file **out, struct err *e);
void weight_file_close(struct weight_file *f); /* NULL is fine */
const char *weight_file_path(const struct weight_file *f);
size_t weight_file_count(const struct weight_file *f);
const struct tensor *weight_file_at(const struct weight_file *f, size_t i); /* by name, ascending */
const struct tensor *weight_file_find(const struct weight_file *f, const char *name); /* NULL when absent */

/* model.json's "dtype" of a tensor: safetensors' or ggml's name of the type that is stored. */
const char *tensor_type_name(const struct tensor *t);
/* The dtype of a tensor of model.json as the rest of the program sees it: of quantised types what they become (BF16). 0, or
 * -1 for a type that is not read. */
int tensor_type_plain(const char *name, enum dtype *t);

#endif
