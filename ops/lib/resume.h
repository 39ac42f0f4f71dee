/* SPDX-License-Identifier: MIT
 *
 * resume: answers and numbers of an evaluation that was interrupted, kept in a journal of the node.
 */
#ifndef PKG_OPS_LIB_RESUME_H
#define PKG_OPS_LIB_RESUME_H

#include "ops/lib/journal.h"
#include "ops/lib/questions.h"

/* Fills ids of the questions that were answered before. Hand `out` and resume_answer to generate() (answered_u, answered);
 * journal_close() ends it. The journal belongs to these prompts: other ones begin anew. */
int resume_answers(struct op_run *r, struct questions *q, struct journal **out, struct err *e);
int resume_answer(void *journal, size_t question, const struct ids *ids, struct err *e);

/* Numbers that are found in order: x (n, width). *upto: rows that were found before and are filled. */
struct resume_rows {
    struct journal *journal;
    double *x;
    size_t n, width, upto;
};
/* of: what the rows belong to (a digest's text). x must outlive it. NaN is kept as such. */
int resume_rows_open(struct op_run *r, const char *name, const char *of, struct resume_rows *s, struct err *e);
int resume_rows_upto(void *rows, size_t upto, struct err *e); /* x is filled up to here */
void resume_rows_close(struct resume_rows *s);

#endif
