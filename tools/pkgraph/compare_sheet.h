/* SPDX-License-Identifier: MIT
 *
 * compare_sheet: what `compare` prints. Rows are facts about nodes (a parameter, a metric, a time), columns the sides that
 * are compared. Prints text, Markdown, CSV and JSON; of the parameters only those that differ.
 */
#ifndef PKG_TOOLS_COMPARE_SHEET_H
#define PKG_TOOLS_COMPARE_SHEET_H

#include "engine/names.h"
#include "runtime/base/json.h"

enum sheet_kind { SHEET_PARAMETER, SHEET_METRIC, SHEET_TIME, SHEET_KINDS };

struct sheet_cell {
    struct js *value, *error; /* NULL: none; error: the standard error of a metric */
};

struct sheet_row {
    enum sheet_kind kind;
    char *node, *field;
    struct sheet_cell *cells; /* one a side */
};

struct sheet {
    size_t n_sides, n, cap;
    char **sides;
    struct sheet_row *rows;
    struct names index;
    bool failed; /* out of memory */
};

/* Takes copies of the labels. */
void sheet_init(struct sheet *s, const char *const *sides, size_t n);
void sheet_release(struct sheet *s);
/* Takes over value and error. The field "op" of a node says that the node is there at all. */
void sheet_put(struct sheet *s, size_t side, enum sheet_kind kind, const char *node, const char *field, struct js *value,
               struct js *error);

/* Prints to standard output in "text", "markdown", "csv" or "json"; returns the status of the command. */
int sheet_print(struct sheet *s, const char *format);

#endif
