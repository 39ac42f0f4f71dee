/* SPDX-License-Identifier: MIT
 *
 * diag: problems found in a specification. All of a file are collected and reported together, each with
 * file:line:column, the source line with a caret, what was expected, the nearest right name, and the chain of places
 * (extends, vars, sweep) through which a value came.
 */
#ifndef PKG_ENGINE_DIAG_H
#define PKG_ENGINE_DIAG_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/buf.h"

/* A place in a text file. line and column start at 1 (column in characters); line 0: no place (for instance --set). */
struct place {
    const char *file; /* as the user would name it; lives as long as the diags */
    int line, column, length; /* length in characters for the underline; 0: one caret */
};

enum diag_level { DIAG_ERROR, DIAG_WARNING };

struct diag {
    enum diag_level level;
    struct place at;
    char *text;       /* "unknown parameter \"rank\" of lora-init" */
    char *hint;       /* "did you mean \"r\"?" or NULL */
    size_t n_via;
    struct diag_via { struct place at; char *text; } *via; /* "\"${r}\" is given here", outermost last */
};

struct diags;

struct diags *diags_new(void);
void diags_free(struct diags *d);
/* Source text for showing lines; copied. */
int diags_add_source(struct diags *d, const char *file, struct str text);
/* `file` is read because of the `extends:` at `from`: every problem in it shows that too. */
int diags_set_parent(struct diags *d, const char *file, struct place from);
/* The file name is copied. The same text about the same place is kept once; after 1000 the rest is only counted. */
void diag_add(struct diags *d, enum diag_level level, struct place at, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void diag_via(struct diags *d, struct place at, const char *fmt, ...) __attribute__((format(printf, 3, 4))); /* for the last one */
size_t diags_reports(const struct diags *d); /* calls of diag_add with DIAG_ERROR, repeated ones included */
size_t diags_errors(const struct diags *d);
size_t diags_count(const struct diags *d);
const struct diag *diags_at(const struct diags *d, size_t i); /* sorted by place */
void diags_print(const struct diags *d, bool colour, struct buf *out);

/* The nearest of n names to `word` by edit distance (insert, delete, replace, swap), or NULL when none is near enough. */
const char *nearest_name(const char *word, const char *const *names, size_t n);

/* The same for names that come one by one: begin with {.word = ...}, show it every name (kept by address), and ask. */
struct nearest {
    const char *word;
    const char *best, *holder; /* by distance; the shortest that holds the word or is held by it */
    size_t distance, holder_len;
};
void nearest_see(struct nearest *x, const char *name);
const char *nearest_found(const struct nearest *x);

#endif
