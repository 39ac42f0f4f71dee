/* SPDX-License-Identifier: MIT
 *
 * alpaca: AlpacaEval's files: instructions in, model outputs out ({dataset, instruction, output, generator}), and the win rate
 * from annotations that a judge made elsewhere ({instruction, output_1, output_2, preference}): 100 * mean(preference - 1), where
 * 1 prefers the reference, 2 the model, and 1.5 (in old files 0) is a tie.
 */
#ifndef PKG_OPS_LIB_ALPACA_H
#define PKG_OPS_LIB_ALPACA_H

#include "ops/lib/questions.h"

/* Rows with "instruction", perhaps "input" and "dataset". Prompts are not wrapped yet. */
int alpaca_questions(const char *path, struct questions *out, struct err *e);
/* Writes the outputs of q. */
int alpaca_write(const struct questions *q, const char *generator, const char *path, struct err *e);
/* Takes the outputs from such a file instead of a model. A question without one is ERR_INPUT. */
int alpaca_outputs(struct questions *q, const char *path, struct err *e);

struct alpaca_judged {
    size_t n, wins, losses, ties, missing, failed, other; /* failed: preference null; other: made for another output than ours */
    double win_rate, std_error;                           /* in per cent; NaN for one row */
};
int alpaca_judge(const struct questions *q, const char *annotations, struct alpaca_judged *out, struct err *e);

/* The instruction, and the input under it, as the model was asked. */
void alpaca_instruction(const struct question *q, struct buf *out);
/* What the outputs are compared with: references (q->n, malloc'ed; each released with js_free) are {output, generator} of the rows of
 * `path` with the same instruction. A question without one is ERR_INPUT. */
int alpaca_references(const struct questions *q, const char *path, struct js ***references, struct err *e);
void alpaca_references_free(struct js **references, size_t n);
/* Counts preferences (q->n; NaN: none) as those of a file, and leaves each in the prediction's line. */
int alpaca_count(const struct questions *q, const double *preference, struct alpaca_judged *out, struct err *e);
/* AlpacaEval's annotations: {instruction, output_1, generator_1, output_2, generator_2, annotator, preference, raw_completion}. */
struct alpaca_verdict {
    double preference;
    const char *text;
};
int alpaca_write_annotations(const struct questions *q, struct js *const *references, const struct alpaca_verdict *v, const char *generator,
                             const char *annotator, const char *path, struct err *e);

#endif
