/* SPDX-License-Identifier: MIT
 *
 * evaluation: what the tasks of the operator eval share while they run: the opened model, the choice of rows, the metrics. A
 * task is a function that reads its questions, asks the model and writes metrics.json and predictions.jsonl.
 */
#ifndef PKG_OPS_LIB_EVALUATION_H
#define PKG_OPS_LIB_EVALUATION_H

#include "ops/lib/inputs.h"
#include "ops/lib/metrics.h"
#include "runtime/model/weights.h"

enum task { TASK_LOSS, TASK_PERPLEXITY, TASK_EXACT, TASK_GSM8K, TASK_MMLU, TASK_SUPER_NI, TASK_ALPACA };
const char *task_name(enum task t);
enum task task_of(const struct op_args *a);
size_t task_new_tokens(const struct op_args *a); /* max_new_tokens, or the protocol's */
bool task_train_form(const struct op_args *a);   /* template: train */

enum { EVALUATION_BUDGET = 4096 }; /* tokens of a pass, loss tasks */

struct evaluation {
    struct op_run *r;
    const struct op_args *a;
    enum task task;
    struct model *model;
    struct weights *weights;
    struct lora *lora;
    const struct tokenizer *tokenizer;
    const char *eos_text;
    int eos_id;
};

int evaluation_open(struct evaluation *v, struct err *e);
void evaluation_release(struct evaluation *v);

/* The rows that `limit` and `sample` choose of n, ascending: malloc'ed, *count of them. */
int evaluation_pick(const struct op_args *a, size_t n, uint32_t **rows, size_t *count, struct err *e);
/* Names the limit, if there is one, in metrics.json (`limit`: rows, of, sample, seed) and appends it to the protocol. */
void evaluation_limit(const struct evaluation *v, size_t count, size_t n, struct buf *protocol, struct metrics *m);

/* A group's accuracy or mean: by[what][key] = value, by_stderr[what][key] = its standard error unless NaN. */
void evaluation_group(struct metrics *m, const char *what, const char *key, double value, double std_error);
/* Mean of x[0..n) and the standard error of the mean (NaN for one value), both times 100. */
void evaluation_mean(const double *x, size_t n, double *mean, double *std_error);
int evaluation_save(struct evaluation *v, struct metrics *m, struct err *e); /* frees m */

/* ---- tasks ---- */
int evaluate_loss(struct evaluation *v, struct err *e); /* eval_loss.c: loss, perplexity */
int evaluate_text(struct evaluation *v, struct err *e); /* eval_text.c: exact, gsm8k, super_ni, alpaca */
int evaluate_mmlu(struct evaluation *v, struct err *e); /* eval_mmlu.c */

#endif
