/* SPDX-License-Identifier: MIT
 *
 * row_tools: tools and their calls as rows have them, in the form that chat templates of transformers expect (OpenAI's): a list of
 * {"type": "function", "function": {...}}. Lists may be given as JSON text (LLaMA-Factory, and what a data set's columns make of
 * them), functions bare, arguments as JSON text. New references; NULL on error, which names `where` and `key`.
 */
#ifndef PKG_TEXT_ROW_TOOLS_H
#define PKG_TEXT_ROW_TOOLS_H

#include "runtime/base/err.h"
#include "runtime/base/json.h"

struct js *tools_list(const struct js *j, const char *where, const char *key, struct err *e);
/* One call or a list of them: {"function": {"name", "arguments"}, "id", ...} or {"name", "arguments"}. Arguments become a value. */
struct js *tool_calls(const struct js *j, const char *where, const char *key, struct err *e);

/* A row whose lists of tools and calls are JSON text, in which the order of keys is kept: templates write it. NULL: no memory. */
struct js *tools_as_text(const struct js *row);

#endif
