/* SPDX-License-Identifier: MIT
 *
 * model: a checkpoint as the artifact `model` describes it (model.json): configuration, tokenizer, tensors in files that
 * are found by digest and mapped. Weights are never copied here. Immutable after opening; any thread.
 *
 * model.json: {"architecture", "config": <config.json as it stands>, "tokenizer": {"digest", "bos_token", "eos_token",
 * "pad_token", "unk_token", "chat_template"}, "tensors": [{"name", "dtype", "shape", "file", "offset"}]},
 * sorted by name; file = digest of the safetensors file (or GGUF, or PyTorch's .bin: weight_file.h), tokenizer.digest =
 * digest of tokenizer.json. dtype is the stored type: quantised ones by ggml's name ("Q4_K"); their values come from
 * tensor_to_f32 or tensor_plain (formats/quant.h), their data pointer is NULL.
 */
#ifndef PKG_MODEL_MODEL_H
#define PKG_MODEL_MODEL_H

#include "runtime/base/err.h"
#include "runtime/base/json.h"
#include "runtime/formats/safetensors.h"
#include "runtime/model/config.h"

struct model;
struct tokenizer;

/* Finds content: sets *path (valid until the model is closed or longer). */
typedef int model_resolve_fn(void *u, const char *digest_hex, const char **path, struct err *e);

int model_open(const struct js *model_json, model_resolve_fn *resolve, void *u, struct model **out, struct err *e);
void model_close(struct model *m);

const struct model_config *model_config(const struct model *m);
const struct js *model_json(const struct model *m);
const struct tensor *model_tensor(const struct model *m, const char *name);  /* NULL when absent */
size_t model_tensor_count(const struct model *m);
const struct tensor *model_tensor_at(const struct model *m, size_t i);       /* by name, ascending */
/* The tokenizer of the checkpoint, loaded on first use (not thread-safe: first call before sharing). */
int model_tokenizer(struct model *m, const struct tokenizer **out, struct err *e);

/* Plan time: reads a Hugging Face directory's headers (config.json, tokenizer files, safetensors headers) and builds
 * model.json without digests: "file" is the file's name in the directory, tokenizer.digest is absent. Checks that every
 * tensor that the configuration needs is there in the right shape, and that nothing overlaps. */
int model_describe_dir(const char *dir, struct js **out, struct err *e);
/* The same for a GGUF file in place of a directory; its tensors are then in "file": MODEL_GGUF. */
#define MODEL_GGUF "model.gguf"
/* The tokenizer of a folder that has no tokenizer.json (text/pieces.h); `load` makes one of it. */
#define MODEL_SENTENCEPIECE "tokenizer.model"
/* model.json of one safetensors file just written: `file` is its digest, or any name that a resolver understands; config
 * and tokenizer (facts as above) are shared, not copied. */
int model_describe_file(const char *safetensors, const char *file, const struct js *config, const struct js *tokenizer,
                        struct js **out, struct err *e);
/* The files of the directory that make up the model: config.json, tokenizer.json, tokenizer_config.json, chat_template.jinja (if there), shards. */
int model_dir_files(const char *dir, char ***names, size_t *n, struct err *e); /* free with fs_list_free */

#endif
