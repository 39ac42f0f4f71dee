/* SPDX-License-Identifier: MIT
 *
 * mmlu_set: the folder of MMLU's files (test/SUBJECT_test.csv, dev/SUBJECT_dev.csv) as prompts: which subjects there are, all
 * their questions, and each one's prompt with as many exemplars as fit.
 */
#ifndef PKG_OPS_LIB_MMLU_SET_H
#define PKG_OPS_LIB_MMLU_SET_H

#include <stdint.h>

#include "engine/op.h"
#include "runtime/text/mmlu.h"
#include "runtime/text/tokenizer.h"

/* The parameter `subjects`, or all that the folder has, sorted; free with fs_list_free. Every test file is there, and with n_shot
 * every dev file, else ERR_INPUT. */
int mmlu_subjects(const struct op_args *a, char ***names, size_t *n, struct err *e);
char *mmlu_path(const char *folder, const char *split, const char *subject); /* malloc'ed */

struct mmlu_item {
    uint32_t subject, row; /* row: in the test file */
};

struct mmlu_set {
    size_t n_subjects, n;
    char **subjects;
    struct mmlu_file *test, *dev; /* (n_subjects); dev empty without shots */
    struct mmlu_item *items;      /* (n) by subject, then row */
};
int mmlu_set_read(const struct op_args *a, struct mmlu_set *out, struct err *e);
void mmlu_set_release(struct mmlu_set *s);

struct mmlu_wrap {
    bool reference, chat, train_form;
    size_t n_shot, max_tokens; /* BOS counted */
};
/* The prompt of an item with the most exemplars, at most n_shot, with which it fits: text and ids are set, *shots says how many.
 * -1 in *shots: it does not fit without any; text and ids are those without. */
int mmlu_set_prompt(const struct mmlu_set *s, const struct mmlu_item *x, const struct mmlu_wrap *w, const struct tokenizer *t, struct buf *text,
                    struct ids *ids, int *shots, struct err *e);

#endif
