/* SPDX-License-Identifier: MIT
 *
 * trainer: the training loop (method.md 5) over plain structs: full training of trainable weights, or of an adapter on
 * frozen ones. AdamW, linear warm-up and decay, clipping, two reductions of the loss, evaluation on held-out samples, early
 * stopping, checkpoints. Stopped anywhere and started again with the same settings it gives the same bytes.
 */
#ifndef PKG_MODEL_TRAINER_H
#define PKG_MODEL_TRAINER_H

#include "runtime/base/buf.h"
#include "runtime/exec/progress.h"
#include "runtime/model/batches.h"
#include "runtime/model/optim.h"
#include "runtime/model/schedule.h"

enum loss_reduction {
    REDUCE_TOKEN,      /* mean over all target tokens of the step */
    REDUCE_MICROBATCH, /* mean inside each micro-batch, then mean over micro-batches: the published training */
};

struct train_settings {
    double epochs;
    int64_t max_steps;     /* 0: none; else in place of epochs, as in transformers */
    struct batch_settings batch;
    double learning_rate, warmup_ratio;
    enum schedule schedule;
    struct adamw_settings adamw;
    enum loss_reduction reduction;
    uint64_t dropout_seed;
    bool recompute;
    int64_t eval_steps;    /* 0: at the end of each epoch; only with validation. The last step is always evaluated */
    int64_t patience;      /* evaluations without a smaller loss before training stops; 0: never */
    bool load_best;        /* end with the parameters of the smallest validation loss */
    int64_t save_steps;    /* checkpoint every so many steps; 0: by time alone */
    double save_seconds;   /* and every so many seconds; 0: by steps alone */
    const char *checkpoint; /* file; NULL: none. Also written when the work is cancelled */
};

struct train_job {
    struct train_settings s;
    struct weights *weights;         /* trainable when lora is NULL */
    struct lora *lora;
    const struct samples *data, *validation; /* validation may be NULL */
    const struct progress *progress;
};

struct train_eval {
    int64_t step;
    double loss; /* mean over target tokens */
};

struct train_result {
    struct buf log;          /* train.jsonl */
    int64_t steps, planned;  /* done; planned (more after early stopping) */
    double tokens, targets;  /* trained on */
    double loss, mean_loss;  /* of the last step; mean over steps */
    size_t n_evals;
    struct train_eval *evals;
    int64_t best_step;       /* 0: no evaluation */
    double best_loss;
    int64_t resumed_from;    /* step of the checkpoint; 0: from the beginning */
};

/* A loss or gradient that is not finite and a micro-batch without targets are ERR_INPUT and name the step. res is
 * released with train_result_release, also after an error. */
int train_run(const struct train_job *job, struct train_result *res, struct err *e);
void train_result_release(struct train_result *res);

#endif
