/* SPDX-License-Identifier: MIT
 *
 * term: what the terminal can show, messages on standard error, and the plain things a person reads: aligned tables,
 * durations, sizes, counts. Colour only on a terminal and without NO_COLOR; nothing but ASCII unless the locale is UTF-8.
 */
#ifndef PKG_TOOLS_TERM_H
#define PKG_TOOLS_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"

enum colour { COLOUR_NONE, COLOUR_BOLD, COLOUR_DIM, COLOUR_RED, COLOUR_GREEN, COLOUR_YELLOW, COLOUR_BLUE, COLOUR_CYAN };

bool term_is_tty(FILE *f);      /* a terminal that understands cursor movement (TERM is not "dumb") */
bool term_colour(FILE *f);
bool term_utf8(void);           /* after setlocale(LC_CTYPE, "") */
size_t term_width(FILE *f);     /* columns now; 80 when unknown */
size_t term_height(FILE *f);    /* rows now; 24 when unknown */
const char *colour_on(bool use, enum colour c); /* the escape sequence, or "" */
const char *colour_off(bool use);

/* "pkgraph: text" on standard error. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void say_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void say_err(const struct err *e);

/* Fixed buffers: the text is short. Returns out. */
enum { TEXT_MAX = 32 };
char *text_seconds(char out[TEXT_MAX], double s);      /* "0.4 s", "58 s", "3 min 20 s", "2 h 5 min" */
char *text_bytes(char out[TEXT_MAX], double bytes);    /* "12 B", "3.4 MiB" */
char *text_count(char out[TEXT_MAX], double n);        /* "870", "12.3k", "1.15M" */
char *text_when(char out[TEXT_MAX], int64_t unix_seconds); /* "2026-03-01 12:00:05", local time */

size_t text_width(const char *z, size_t n); /* characters of UTF-8 text */

/* Printable on one line: control characters become spaces or are escaped, cut to `width` characters. */
void text_line(struct buf *out, struct str s, size_t width);

/* Rows of cells, printed with aligned columns. Cells that look like numbers stand to the right. */
struct table {
    size_t cols, n, cap;
    size_t *cells;   /* n, row by row: where each begins in text */
    struct buf text; /* NUL after each */
    bool failed;
};
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *table_at(const struct table *t, size_t i); /* cell i, until the next table_cell */
void table_print(const struct table *t, bool head, FILE *f); /* head: the first row is underlined (bold) */
void table_release(struct table *t);

/* Writes a buffer to standard output; STATUS of the command. */
int print_buf(struct buf *b);

#endif
