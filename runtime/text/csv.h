/* SPDX-License-Identifier: MIT
 *
 * csv: a reader of RFC 4180: fields in double quotes may hold commas, line ends and doubled quotes; line ends are LF or
 * CRLF; empty lines are skipped. The text belongs to the caller and must outlive the reader.
 */
#ifndef PKG_TEXT_CSV_H
#define PKG_TEXT_CSV_H

#include "runtime/base/buf.h"
#include "runtime/base/err.h"

struct csv {
    struct str text;
    const char *what;  /* for messages */
    size_t pos, line;  /* line: the number of the next line, from 1 */
    size_t first_line; /* where the last record began */
    size_t n, cap;
    struct str *fields; /* of the last record; point into `store` */
    size_t *ends;
    struct buf store;
};

void csv_init(struct csv *c, struct str text, const char *what);
void csv_release(struct csv *c);

/* Reads a record into fields: 1, or 0 at the end of the text. Text that breaks the rules is ERR_INPUT with its line. */
int csv_next(struct csv *c, struct err *e);

#endif
