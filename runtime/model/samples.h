/* SPDX-License-Identifier: MIT
 *
 * samples: data rows as token ids, ready for training or for the loss: encoded in parallel, checked against the model's
 * vocabulary, and what is too long refused, dropped or cut, always counted and named. Rows are counted from 0, as in
 * scores.json. Packing: rows end to end as one `struct batch` of the pass; no padding.
 */
#ifndef PKG_MODEL_SAMPLES_H
#define PKG_MODEL_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/exec/progress.h"
#include "runtime/model/pass.h"
#include "runtime/text/rows.h"

enum too_long { TOO_LONG_ERROR, TOO_LONG_DROP, TOO_LONG_TRUNCATE };

struct sample {
    struct encoded x;
    size_t row;     /* in the dataset */
    const char *id; /* the row's id or NULL; belongs to the rows */
    size_t soft;    /* with soft targets: the row of them that its first target has */
};

struct samples {
    size_t n;
    struct sample *v;
    size_t tokens, targets;
    size_t dropped, cut; /* rows longer than max_length */
    const struct soft_targets *soft; /* borrowed; NULL: none */
};

struct samples_options {
    const struct tokenizer *tokenizer;
    const char *eos_text;
    int32_t eos_id;
    enum text_form form;
    enum train_on on;
    size_t max_length;
    enum too_long too_long;
    size_t limit;      /* rows; 0: all */
    int vocab_size;
    const char *what;  /* "data", "validation": for messages */
    const struct progress *progress;
};

/* The rows must outlive the samples (ids). Nothing left is ERR_INPUT. Released with samples_release, also after an error. */
int samples_encode(const struct rows *rows, const struct samples_options *o, struct samples *out, struct err *e);
void samples_release(struct samples *s);

/* Appends `row 7 (id "x"), row 9, ...` for the samples which[0..n), at most a dozen, then how many more. */
struct buf;
void samples_name(const struct samples *s, const uint32_t *which, size_t n, struct buf *out);

/* A packed batch of samples. Those without targets take part in `tokens` only. */
struct packed {
    struct batch b;
    size_t tokens, targets;
    size_t n_seqs;
    uint32_t *sample; /* n_seqs: which sample each sequence is */
    void *memory;
};
/* weight: of every target in the loss. No target at all gives b.n_targets = 0. */
int packed_make(const struct samples *s, const uint32_t *which, size_t n, double weight, struct packed *out, struct err *e);
void packed_release(struct packed *p);

/* Sum of the cross entropies of each sample's targets (loss[n]), in evaluation mode; packed up to `budget` tokens a pass (at
 * least one sample). In f32 the sums do not depend on the packing beyond rounding. */
struct loss_options {
    const struct weights *weights;
    struct lora *lora;
    size_t budget;                   /* tokens; 0: 4096 */
    const struct progress *progress; /* in tokens */
    bool quiet;                      /* polls progress for cancellation only */
    struct pass_work *work;          /* may be NULL */
    /* losses of samples [0, upto) stand; an error ends the work. May be NULL */
    int (*answered)(void *u, size_t upto, struct err *e);
    void *answered_u;
    size_t first;                    /* go on from here, an `upto` of an earlier call: losses of the samples before are left alone */
};
int samples_loss(const struct samples *s, const struct loss_options *o, double *loss, struct err *e);

#endif
