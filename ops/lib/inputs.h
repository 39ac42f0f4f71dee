/* SPDX-License-Identifier: MIT
 *
 * inputs: what several operators share: opening the artifacts at their ports, facts of descriptors, common parameters.
 */
#ifndef PKG_OPS_LIB_INPUTS_H
#define PKG_OPS_LIB_INPUTS_H

#include "engine/op.h"
#include "runtime/base/dtype.h"
#include "runtime/model/config.h"
#include "runtime/model/lora.h"
#include "runtime/model/model.h"
#include "runtime/model/weights.h"
#include "runtime/text/rows.h"

/* ---- plan time ----
 * Descriptors (all have "type"; the rest as far as infer can tell):
 *   model:     {"architecture", "config": {config.json}, "tokenizer": {...}, "tensors": [{"name","dtype","shape",...}]}
 *   dataset:   {"rows": N, "format": "messages", "template": "open-instruct", "train_on": "last"}; "chat_template": the text of
 *              a template that is a file
 *              "answered": false when its first row has no assistant turn
 *   scores:    {"model": <config of the teacher>, "tensors": {name: [shape]}, "dtype": "f32", "tied": bool}
 *   layer-map: {"teacher_layers", "student_layers", "strategy"}
 *   blocks:    {"student": <config>, "modules": ["q_proj", ...], "structure"}
 *   adapter:   {"student": <config>, "r", "largest_r" (with a rank_pattern), "lora_alpha", "use_rslora", "lora_dropout", "target_modules": [...], "compensated": bool}
 *   metrics, predictions, log: {"task"}
 */
/* The configuration in a model's descriptor at input `port`. */
int op_model_config(const struct op_args *a, const char *port, struct model_config *c, struct err *e);
/* Storage type of the model's matrices: the type of its embedding. */
enum dtype op_model_dtype(const struct op_args *a, const char *port);

/* Can the dataset at port `data` be written as text for the model at port `model`, as far as its template says before any row
 * is read? Blames the dataset's input. */
int op_check_chat(struct op_infer *x, const char *data, const char *model, struct err *e);
/* A dataset's template for a model's tokenizer facts; *out is NULL for the published form. dataset: its descriptor or dataset.json. */
int op_chat_new(const struct js *dataset, const struct js *facts, struct chat **out, struct err *e);

/* The parameter `compute: auto|f32|bf16`, for the params tables: auto resolves to what this processor has in hardware. */
const char *op_resolve_compute(const char *value);
#define PARAM_COMPUTE \
    {.name = "compute", .type = PARAM_ENUM, .fallback = "auto", .choices = "auto|f32|bf16", .resolve = op_resolve_compute, \
     .help = "type of the matrix products: f32 is exact, bf16 accumulates in f32; auto: bf16 where the processor has it"}
#define PARAM_SEED \
    {.name = "seed", .type = PARAM_INT, .fallback = "0", .min = 0, .max = 9007199254740992.0, .help = "seed of the random numbers"}
enum dtype op_compute(const struct op_args *a); /* DT_F32 or DT_BF16 */

/* Bytes of the weights for answering: those of op_answer_weights with room for everything. */
uint64_t op_answer_memory(const struct model_config *c, enum dtype stored, enum dtype compute);

/* ---- run time ---- */
/* Weights for answering: packed where that pays, resident, or streamed, as the node's memory allows. passes: about how often all weights
 * will be read, a step of decoding and WEIGHTS_PASS tokens of prompts being one each; few do not pay for packing. */
enum { WEIGHTS_PASS = 32, WEIGHTS_MANY = 1 << 30 };
int op_answer_weights(struct op_run *r, const struct model *m, enum dtype compute, size_t passes, struct weights **out, struct err *e);
int op_open_model(struct op_run *r, const char *port, struct model **out, struct err *e);
int op_read_lora(struct op_run *r, const char *port, const struct model_config *c, struct lora **out, struct err *e);
/* All rows of a dataset artifact, and what its dataset.json says. */
struct op_dataset {
    struct rows rows;
    enum train_on train_on;
    struct js *facts;  /* dataset.json */
    struct chat *chat; /* NULL: the published form */
};
int op_read_dataset(struct op_run *r, const char *port, struct op_dataset *out, struct err *e);
/* The rows get the dataset's template, with the special tokens (and for `tokenizer` the chat_template) of the model. */
int op_dataset_chat(struct op_dataset *d, const struct model *m, struct err *e);
void op_dataset_release(struct op_dataset *d);
/* EOS text and id of a model, from model.json's tokenizer facts. */
int op_model_eos(const struct model *m, const char **text, int *id, struct err *e);

#endif
