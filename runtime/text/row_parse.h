/* SPDX-License-Identifier: MIT
 *
 * row_parse: one JSON object as a row: the formats of users.md 1.2. Private to rows.c (and its tests). `where` is the
 * place for messages ("file:12" or "file: row 3"). Texts point into the object or into mem.
 */
#ifndef PKG_TEXT_ROW_PARSE_H
#define PKG_TEXT_ROW_PARSE_H

#include "runtime/text/rows.h"

/* The format of an object, from its keys; ERR_INPUT names the keys found and the formats known. */
int row_detect(const struct js *j, const char *where, enum row_format *out, struct err *e);

/* out->source is set to j without taking a reference; out->made is the caller's to free, after an error too. */
int row_parse(struct js *j, enum row_format format, const char *where, struct arena *mem, struct row *out,
              struct err *e);

#endif
