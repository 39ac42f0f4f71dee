/* SPDX-License-Identifier: MIT
 *
 * super_ni: the test instances of Super-NaturalInstructions: a checkout of the benchmark's repository (tasks/NAME.json and
 * splits/SPLIT/test_tasks.txt), or JSONL rows in one of three shapes: {definition, input, output, task}, the benchmark's
 * {Task, Definition, Instance: {id, input, output}}, chat rows whose last turns are question and answer.
 */
#ifndef PKG_OPS_LIB_SUPER_NI_H
#define PKG_OPS_LIB_SUPER_NI_H

#include "ops/lib/questions.h"

struct super_ni_options {
    const char *path, *split;
    size_t per_task; /* the first instances of each task; 0: all */
    bool reference;  /* full stops as in the published code (answers.h) */
};

/* The paths of a checkout's files: test_tasks.txt first, then a file a task, in the list's order; a list of strings. */
int super_ni_files(const char *folder, const char *split, struct js **out, struct err *e);

/* Prompts are not wrapped and not cut yet. */
int super_ni_questions(const struct super_ni_options *o, struct questions *out, struct err *e);

/* Cuts every prompt to its first max_length ids (BOS counted), as text; *cut counts them. */
int super_ni_cut(struct questions *q, const struct tokenizer *t, size_t max_length, size_t *cut, struct err *e);

#endif
