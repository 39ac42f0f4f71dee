/* SPDX-License-Identifier: MIT
 *
 * opdoc: an operator described from its own tables: as text for a terminal (`pkgraph ops NAME`), as a section of the
 * reference in Markdown, and as JSON. Nothing is written by hand twice. On lack of memory the buffer says so (failed).
 */
#ifndef PKG_ENGINE_OPDOC_H
#define PKG_ENGINE_OPDOC_H

#include "engine/op.h"
#include "runtime/base/buf.h"

void opdoc_list(struct buf *out, const struct op *const *ops);        /* a line an operator: name, ports, summary */
void opdoc_text(struct buf *out, const struct op *op);
void opdoc_markdown(struct buf *out, const struct op *op);
/* The default as a typed value; its text when the table's own text does not parse, or is a path. NULL: none, or no memory. */
struct js *opdoc_default(const struct param_def *p);
struct js *opdoc_json(const struct op *op);                            /* NULL when out of memory */
struct js *opdoc_list_json(const struct op *const *ops);               /* array of opdoc_json */

#endif
