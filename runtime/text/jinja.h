/* SPDX-License-Identifier: MIT
 *
 * jinja: the templates that checkpoints bring for their chat form (chat_template), read and rendered as transformers
 * does: Jinja 3 with trim_blocks, lstrip_blocks, break and continue, {% generation %}, tojson without escapes,
 * raise_exception (https://jinja.palletsprojects.com/en/stable/templates/). The whole expression language, if, for, set
 * and namespaces, macros, raw, and the filters, tests and methods that such templates use. What is not known is
 * ERR_UNSUPPORTED and named with its line: by jinja_parse for tags, filters and tests, by jinja_render for methods.
 * The time of day is unknown on purpose (strftime_now is undefined): the same template and data give the same text.
 *
 * A template is immutable after parsing and may be rendered by any thread. Work, depth, memory and output of one
 * rendering are bounded; beyond them it is an error (ERR_INPUT).
 */
#ifndef PKG_TEXT_JINJA_H
#define PKG_TEXT_JINJA_H

#include "runtime/base/err.h"
#include "runtime/base/json.h"

struct jinja;

/* what: the name in messages ("tokenizer_config.json: chat_template"). */
int jinja_parse(struct str text, const char *what, struct jinja **out, struct err *e);
void jinja_free(struct jinja *t);

/* Bytes of the output that {% generation %} blocks wrote, in order. */
struct jinja_spans {
    size_t n, cap;
    struct jinja_span {
        size_t from, to;
    } * v;
};
void jinja_spans_release(struct jinja_spans *s);

/* Appends the text. vars: an object, the template's global names. spans may be NULL. raise_exception in the template is
 * ERR_INPUT with its message. */
int jinja_render(const struct jinja *t, const struct js *vars, struct buf *out, struct jinja_spans *spans, struct err *e);

#endif
