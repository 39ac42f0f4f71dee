/* SPDX-License-Identifier: MIT
 *
 * running: the lines at the bottom of a terminal, one for each node that runs: name, bar, share, rate, time left, memory. They are
 * cleared and drawn again as text is written above them. What does not fit is left out, least needed first: memory, rate, time
 * left, bar; a long name loses its middle. No line is wider than the terminal, and all of them are lower.
 */
#ifndef PKG_TOOLS_RUNNING_H
#define PKG_TOOLS_RUNNING_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/buf.h"

enum { RUNNING_MAX = 16 };

struct running {
    bool utf8, colour;
    size_t name_width;                     /* of the longest name */
    size_t width, height;                  /* of the terminal, for the lines that are drawn next */
    size_t drawn[RUNNING_MAX + 1], n_drawn; /* widths of the lines on the screen */
};

struct running_line {
    const char *name;
    const char *waits_for; /* not NULL: it does not compute, and this is whom it waits for */
    double share;          /* 0 to 1; negative: not known */
    double seconds;        /* since it began */
    double rate, left;     /* units and seconds; 0: not known */
    const char *unit;      /* of the rate; "bytes": shown as sizes */
    double memory;         /* bytes; 0: not known */
};

/* How many lines running_draw can be given: the rest is counted by running_total. */
size_t running_room(const struct running *r);
/* Escape sequences that remove the lines from the screen; the cursor is where the first stood. */
void running_clear(struct running *r, struct buf *out);
void running_draw(struct running *r, const struct running_line *l, struct buf *out);
/* The last line: "12 of 28 done, 3 more running". */
void running_total(struct running *r, size_t done, size_t of, size_t more, struct buf *out);
/* "13 steps/s, 40 s left, 44.2 MiB": what is known of it. */
void running_facts(const struct running_line *l, struct buf *out);
/* A name in `width` columns, padded; the middle of a longer one is cut out. */
void running_name(const struct running *r, const char *name, size_t width, struct buf *out);

#endif
