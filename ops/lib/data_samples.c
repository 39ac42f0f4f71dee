/* SPDX-License-Identifier: MIT */
#include "ops/lib/data_samples.h"

#include <string.h>

int data_samples_read(struct op_run *r, const char *port, struct model *m, size_t limit, struct data_samples *out, struct err *e)
{
    *out = (struct data_samples){0};
    int rc = op_read_dataset(r, port, &out->data, e);
    return rc ? rc : data_samples_encode(r, port, m, limit, out, e);
}

int data_samples_encode(struct op_run *r, const char *port, struct model *m, size_t limit, struct data_samples *out, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    const struct model_config *c = model_config(m);
    const char *eos_text = NULL, *too_long = op_str(a, "too_long");
    const struct tokenizer *t = NULL;
    int eos_id = -1;
    size_t max_length = (size_t)op_int(a, "max_length");
    if (max_length > (size_t)c->max_position_embeddings)
        max_length = (size_t)c->max_position_embeddings;
    int rc = op_dataset_chat(&out->data, m, e);
    if (rc == 0)
        rc = model_tokenizer(m, &t, e);
    if (rc == 0)
        rc = op_model_eos(m, &eos_text, &eos_id, e);
    if (rc)
        return rc;
    struct samples_options o = {.tokenizer = t, .eos_text = eos_text, .eos_id = eos_id, .form = FORM_TRAIN, .on = out->data.train_on,
                                .max_length = max_length, .limit = limit, .vocab_size = c->vocab_size, .what = port, .progress = op_progress(r)};
    o.too_long = strcmp(too_long, "drop") == 0 ? TOO_LONG_DROP : strcmp(too_long, "truncate") == 0 ? TOO_LONG_TRUNCATE : TOO_LONG_ERROR;
    return samples_encode(&out->data.rows, &o, &out->samples, e);
}

void data_samples_release(struct data_samples *d)
{
    samples_release(&d->samples);
    op_dataset_release(&d->data);
}

int data_samples_infer(struct op_infer *x, const char *port, struct err *e)
{
    return op_check_chat(x, port, "model", e);
}

int data_samples_trainable(struct op_infer *x, const char *port, struct err *e)
{
    int rc = data_samples_infer(x, port, e);
    if (rc == 0 && !js_bool(js_get(op_input(op_infer_args(x), port), "answered"), true))
        rc = err_set(e, ERR_INPUT, "the first row has no assistant turn, so nothing in it can be trained on; leave such rows out, or set train_on: all at the data node");
    return rc;
}

int64_t data_samples_rows(const struct op_args *a, const char *port)
{
    return js_int(js_get(op_input(a, port), "rows"), -1);
}
