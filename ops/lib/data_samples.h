/* SPDX-License-Identifier: MIT
 *
 * data_samples: a dataset artifact as samples of a model (token ids and targets), and the parameters about length that
 * train and eval share.
 */
#ifndef PKG_OPS_LIB_DATA_SAMPLES_H
#define PKG_OPS_LIB_DATA_SAMPLES_H

#include "ops/lib/inputs.h"
#include "runtime/model/samples.h"

struct data_samples {
    struct op_dataset data;
    struct samples samples;
};

/* In the training form. max_length is lowered to the model's max_position_embeddings. limit 0: all rows. */
int data_samples_read(struct op_run *r, const char *port, struct model *m, size_t limit, struct data_samples *out, struct err *e);
/* The second half of that: out->data is read already (and perhaps changed). */
int data_samples_encode(struct op_run *r, const char *port, struct model *m, size_t limit, struct data_samples *out, struct err *e);
void data_samples_release(struct data_samples *d);

/* Plan time: the dataset at `port` is in a form that this version encodes. Blames the port. */
int data_samples_infer(struct op_infer *x, const char *port, struct err *e);
/* The same, and its rows have something to train on, as far as `data` could see. */
int data_samples_trainable(struct op_infer *x, const char *port, struct err *e);
int64_t data_samples_rows(const struct op_args *a, const char *port); /* -1: not known at plan time */

#define PARAM_MAX_LENGTH \
    {.name = "max_length", .type = PARAM_INT, .fallback = "2048", .min = 2, .max = 1 << 24, \
     .help = "tokens of a row at most; never more than the model's max_position_embeddings"}
#define PARAM_TOO_LONG \
    {.name = "too_long", .type = PARAM_ENUM, .fallback = "error", .choices = "error|drop|truncate", \
     .help = "rows longer than max_length: an error that names them, left out, or cut at the end; always counted and named"}

#endif
