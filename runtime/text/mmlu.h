/* SPDX-License-Identifier: MIT
 *
 * mmlu: the multiple-choice questions of MMLU (Hendrycks et al. 2021): CSV files without a header line, one a subject
 * (question, four choices, letter), the prompts of the published evaluation (method.md 6), and the table that puts the 57
 * subjects into four categories.
 */
#ifndef PKG_TEXT_MMLU_H
#define PKG_TEXT_MMLU_H

#include <stdbool.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"

struct mmlu_question {
    char *question, *choice[4];
    int answer; /* 0..3 */
};

struct mmlu_file {
    size_t n;
    struct mmlu_question *v;
};

/* At most `limit` rows (0: all). A row without its six columns, a letter outside A to D, and a file without rows are ERR_INPUT
 * with file, line and row. Release it also after an error. */
int mmlu_read(const char *path, size_t limit, struct mmlu_file *out, struct err *e);
void mmlu_release(struct mmlu_file *f);

/* "STEM", "humanities", "social sciences", "other"; NULL for a subject that is not of the benchmark. */
const char *mmlu_category(const char *subject);

/* Head, the first n_shot questions of `shots` with their letters, then q up to "Answer:". Underscores of the subject become
 * spaces. reference: two spaces after "about", as the published code has. */
void mmlu_prompt(const char *subject, bool reference, const struct mmlu_file *shots, size_t n_shot, const struct mmlu_question *q,
                 struct buf *out);

#endif
