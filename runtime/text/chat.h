/* SPDX-License-Identifier: MIT
 *
 * chat: how the turns of a conversation become text when it is not the published form (rows.h): by a Jinja template
 * (jinja.h), the checkpoint's own, one of a file, or one of the common ones that are built in. Immutable after chat_new.
 */
#ifndef PKG_TEXT_CHAT_H
#define PKG_TEXT_CHAT_H

#include <stdbool.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"
#include "runtime/base/json.h"

struct chat;
struct message;
struct tokenizer;
struct ids;

#define CHAT_OPEN_INSTRUCT "open-instruct" /* the published form: no struct chat */
#define CHAT_TOKENIZER "tokenizer"         /* the checkpoint's chat_template */

/* The text of a built-in template (chatml, llama2, llama3); {NULL, 0}: no such name. */
struct str chat_builtin(const char *name);

/* name: "tokenizer", a built-in one, or the name of a file whose text is given. text: the template, empty for built-in ones.
 * facts: model.json's "tokenizer" (bos_token, eos_token, ... are what the template sees); NULL: stand-ins, for checking. */
int chat_new(const char *name, struct str text, const struct js *facts, struct chat **out, struct err *e);
void chat_free(struct chat *c);

/* Appends the text of the turns, with the beginning of an answer behind them when `prompt`, as transformers'
 * apply_chat_template(messages, tools=tools, add_generation_prompt=prompt) does. tools: a list, or NULL. What a template would leave out
 * without a word (tools, or calls of them, of which it knows nothing) is ERR_UNSUPPORTED. */
int chat_render(const struct chat *c, const struct message *m, size_t n, const struct js *tools, bool prompt, struct buf *out, struct err *e);

/* Renders a question and an answer: what the template uses and this version does not know is ERR_UNSUPPORTED. A template that
 * refuses that conversation is fine. */
int chat_check(const struct chat *c, struct err *e);

bool chat_adds_bos(const struct chat *c); /* BOS where the tokenizer adds it: a built-in template */
/* Appends the ids of a text. c == NULL, or a built-in template: BOS where the tokenizer adds it, but never twice. Otherwise the
 * template alone says what stands at the ends, as in transformers. */
int chat_encode(const struct chat *c, const struct tokenizer *t, struct str text, struct ids *out, struct err *e);

#endif
