/* SPDX-License-Identifier: MIT
 *
 * questions: evaluation by generation: a list of prompts with references, what the model wrote to each, and whether that is
 * right. Knows no engine: files and rows in, predictions out.
 */
#ifndef PKG_OPS_LIB_QUESTIONS_H
#define PKG_OPS_LIB_QUESTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/buf.h"
#include "runtime/model/generate.h"
#include "runtime/text/rows.h"
#include "runtime/text/tokenizer.h"

enum compare_as {
    COMPARE_NUMBER,    /* the last number, numerically; a reference without a number: the whole text, stripped */
    COMPARE_REFERENCE, /* the published comparison: the last number (else the text) as strings */
    COMPARE_TEXT,      /* exact match of normalised text and ROUGE-L, the best over the references */
    COMPARE_NOTHING,   /* an output for a judge */
};

struct question {
    size_t row;        /* in the source */
    char *id;          /* of the row; NULL: its number stands for it */
    struct buf prompt; /* as it is tokenized */
    char *reference;   /* NULL: none */
    struct js *references; /* more than one is right: a list of strings, the first of them `reference`; else NULL */
    struct js *extra;  /* further members of the row's prediction line; NULL: none */
    char *task;        /* the group that the row is counted in; NULL: none */
    double rouge;      /* COMPARE_TEXT: 0..1 */
    struct ids ids;    /* generated */
    struct buf output, prediction;
    bool has_prediction, correct;
    bool bare;         /* no BOS in front: the template of the row says what stands there */
};

struct questions {
    size_t n;
    struct question *v;
    bool line_stop;    /* a newline ends the answer */
    bool plain_reference; /* a reference that is a number is taken as it stands, its sign too (GSM8K) */
    enum compare_as compare;
};

/* The last assistant turn of each row in the training form. limit 0: all. Rows of plain text are ERR_INPUT. */
int questions_rows(const struct rows *rows, const char *eos_text, size_t limit, struct questions *out, struct err *e);

/* GSM8K: a JSONL file of {question, answer}; shots_path (NULL when n_shot is 0): its first n_shot rows are the exemplars. chat: as
 * a user turn in the published wrapping, or in the form of the training data when train_form. */
struct gsm8k_options {
    const char *path, *shots_path;
    size_t n_shot, limit;
    bool chat, train_form;
    bool direct; /* exemplars without their reasoning */
};
int questions_gsm8k(const struct gsm8k_options *o, struct questions *out, struct err *e);

void questions_release(struct questions *q);

/* n zeroed questions; rows numbered. */
int questions_new(struct questions *q, size_t n, struct err *e);
/* Keeps the questions rows[0..n), ascending, and releases the others. */
void questions_keep(struct questions *q, const uint32_t *rows, size_t n);
/* Wraps a prompt as the user turn of the published evaluation, or in the form of the training data, or (neither) not at all. */
void question_wrap(struct question *q, bool chat, bool train_form);
/* Lines of a JSONL file, or the elements of a JSON list, parsed one at a time: each(u, row, place, e) with place "file:line" or
 * "file: element 3". No row at all is ERR_INPUT. */
typedef int questions_each(void *u, const struct js *row, const char *place, struct err *e);
int questions_file(const char *path, questions_each *each, void *u, struct err *e);
/* Appends a question. NULL: out of memory. */
struct question *questions_add(struct questions *q);

/* Fills ids, output, prediction, correct; a question that has ids is answered already (resume.h). o: everything but the prompts and the stop test. */
int questions_answer(struct questions *q, const struct tokenizer *t, const struct generate_options *o, struct err *e);

/* Judges an output: prediction, has_prediction, correct. */
void question_judge(struct question *q, enum compare_as compare, bool plain_reference);

/* predictions.jsonl */
int questions_write(const struct questions *q, const char *path, struct err *e);

#endif
