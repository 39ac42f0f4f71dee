/* SPDX-License-Identifier: MIT
 *
 * rows: data rows in the formats that people have (users.md 1.2), as chat messages, and their text as the method writes
 * it (method.md 1, 5, 6), as token ids with the trained positions marked. A row is parsed from one JSON object.
 */
#ifndef PKG_TEXT_ROWS_H
#define PKG_TEXT_ROWS_H

#include "runtime/base/arena.h"
#include "runtime/base/json.h"
#include "runtime/exec/progress.h"
#include "runtime/text/chat.h"
#include "runtime/text/tokenizer.h"

enum row_format { ROW_AUTO, ROW_MESSAGES, ROW_SHAREGPT, ROW_ALPACA, ROW_PROMPT_COMPLETION, ROW_TEXT };
const char *row_format_name(enum row_format f); /* "messages", "sharegpt", "alpaca", "prompt-completion", "text" */

enum role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL };

struct message {
    enum role role;
    struct str content;      /* as in the source, not trimmed; .p NULL: none (a turn that calls tools) */
    const struct js *calls;  /* tool_calls of an assistant turn (row_tools.h), or NULL */
    const struct js *fields; /* the turn in the source, for a tool's name and tool_call_id, or NULL */
};

struct row {
    size_t n;
    struct message *messages; /* ROW_TEXT: one assistant message */
    bool plain;               /* ROW_TEXT: no chat wrapping */
    char *id;                 /* "id" of the source, or NULL */
    const struct chat *chat;  /* how turns become text; NULL: the published form. Set by rows_set_chat */
    struct js *source;        /* owns the text */
    const struct js *tools;   /* what may be called: a list (row_tools.h), or NULL */
    struct js *made;          /* owns tools and calls; NULL: there are none */
};
/* Tools, calls of tools or their answers: only a template of the checkpoint, or of a file, can say how these are written. */
bool row_uses_tools(const struct row *r);

struct rows {
    size_t n;
    struct row *v;
    enum row_format format;
    struct arena mem; /* messages, ids and composed text */
};

/* A JSONL file, a JSON list, or CSV with a header line; .parquet is refused by name with the remedy. Errors say
 * file:line, what was expected and what was found. start and limit (SIZE_MAX: all) choose rows; rows beyond them are not
 * parsed. No rows at all is an error. */
int rows_read(const char *path, enum row_format format, size_t start, size_t limit, struct rows *out, struct err *e);
void rows_release(struct rows *r);
/* For all rows from now on; chat outlives them. */
void rows_set_chat(struct rows *r, const struct chat *chat);
/* Counts rows and detects the format from the first: what `infer` needs. */
int rows_peek(const char *path, enum row_format format, size_t *n, enum row_format *found, struct err *e);

enum text_form {
    FORM_SEED,  /* assistant content + EOS text                (method.md 1) */
    FORM_TRAIN, /* assistant content + "\n\n", then the EOS id (method.md 5) */
};
enum train_on { TRAIN_LAST, TRAIN_ASSISTANT, TRAIN_ALL };

struct encoded {
    int32_t *ids;       /* malloc'ed */
    uint8_t *trained;   /* n flags: ids[t] is a target (its label is not -100) */
    size_t n, n_prompt; /* n_prompt: masked labels at the front (for TRAIN_LAST) */
    size_t n_target;    /* trained positions that enter the loss after the shift: trained[t] with t >= 1 */
    bool cut;           /* longer than max_length */
};
void encoded_release(struct encoded *x);

/* The published form (template open-instruct): BOS if the tokenizer adds it, turns as in method.md, labels masked by
 * encoding the text before the last assistant content. Cut at max_length ids (x->cut). eos_text and eos_id from the
 * model. The mask of TRAIN_ASSISTANT and TRAIN_ALL is by prefix rendering (users.md 3, #4).
 * With a row's own template: the text of chat_render, the same for both forms; EOS is added in FORM_TRAIN only when the
 * template writes none behind the last answer. An answer that the template writes differently once turns follow, so that
 * its place cannot be found by prefixes, is ERR_UNSUPPORTED with TRAIN_ASSISTANT. Calls of tools are answers of the assistant. */
int row_encode(const struct tokenizer *t, const struct row *r, enum text_form form, enum train_on on, size_t max_length,
               const char *eos_text, int32_t eos_id, struct encoded *out, struct err *e);

/* The text of the row in the form, up to and with "<|assistant|>\n" of the last assistant turn when prompt_only. */
int row_text(const struct row *r, enum text_form form, const char *eos_text, bool prompt_only, struct buf *out, struct err *e);

/* `<|user|>\n` prompt `\n<|assistant|>\n`, the wrapping of the published evaluation (method.md 6). */
void eval_prompt(struct buf *out, struct str prompt);

#endif
