/* SPDX-License-Identifier: MIT
 *
 * distillation: what train and teacher-logits share: a teacher's answers in place of those of the rows, and the teacher asked by whoever holds its model.
 */
#ifndef PKG_OPS_LIB_DISTILLATION_H
#define PKG_OPS_LIB_DISTILLATION_H

#include "ops/lib/data_samples.h"
#include "runtime/model/teacher.h"

/* Asks the model at input port `model` (and, if there is such a port and it is connected, the adapter at `adapter`) about the samples. */
int distillation_ask(struct op_run *r, const char *model, const char *adapter, const struct samples *s, size_t k, struct teacher *out, struct err *e);
uint64_t distillation_memory(const struct op_args *a, const char *model); /* weights and activations of that */

/* The last assistant turn of every row becomes the answer that stands in predictions.jsonl (line i: row i, as generate writes it). Rows
 * beyond the predictions are left out. Empty answers and ones that did not come to an end are counted in a warning. */
int distillation_answers(struct op_dataset *d, const char *predictions, const struct progress *p, struct err *e);

#endif
