/* SPDX-License-Identifier: MIT
 *
 * cli: one const table of options a command drives getopt_long, --help and the shell completions. Option names are
 * compared in full: an abbreviation is an unknown option, and the nearest right name is told. Positional arguments and
 * options may stand in any order; `--` ends the options.
 */
#ifndef PKG_TOOLS_CLI_H
#define PKG_TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/buf.h"

enum { STATUS_DONE = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_INTERRUPTED = 130 };

struct option_def {
    const char *name;    /* "set"; the table ends with a NULL name */
    char letter;         /* 0: long form only */
    const char *arg;     /* "K=V"; NULL: a flag */
    const char *help;
    const char *choices; /* "dot|svg": checked, and offered by the completions; NULL: anything */
};

struct given {
    const struct option_def *def;
    const char *value;
};

struct command;

struct args {
    const struct command *command;
    size_t n_pos;
    const char **pos;
    size_t n_given;
    struct given *given;
};

struct command {
    const char *name;
    const char *usage;   /* "SPEC [NODE]": what follows the name, without the options */
    const char *summary; /* one line, for the list of commands */
    const char *about;   /* paragraphs of --help; may be NULL */
    const char *example; /* whole command lines, one a line */
    const struct option_def *options;
    size_t min_pos, max_pos;
    const char *pos_choices; /* what the first argument can be, for the completions: "bash|zsh"; NULL: a file */
    int (*run)(const struct args *a);
};

/* Entries that many tables share. */
#define OPTIONS_STORE {.name = "store", .arg = "DIR", .help = "the store (default: $PKGRAPH_STORE, else .pkgraph here)"}
#define OPTIONS_SPEC                                                                                                     \
    {.name = "set", .arg = "K=V", .help = "a variable (r=4) or a parameter of a node (layers.strategy=random); repeatable"}, \
        {.name = "variant", .arg = "V", .help = "only this variant (`base`: the graph without variants); repeatable"}, OPTIONS_STORE
#define OPTIONS_ONLY {.name = "only", .arg = "NODE", .help = "only this node and what it needs; repeatable"}
#define OPTIONS_JSON {.name = "json", .help = "print JSON"}
#define OPTIONS_HELP {.name = "help", .letter = 'h', .help = "this text"}

extern const struct command *const commands[]; /* ends with NULL; main.c */

/* Fills a (args_release frees it). 0: go on; else *status is what the program returns (help shown, or usage error told). */
int args_parse(struct args *a, const struct command *c, int argc, char **argv, int *status);
void args_release(struct args *a);

bool args_has(const struct args *a, const char *option);
const char *args_get(const struct args *a, const char *option); /* the last value; NULL when absent */
/* All values in order; a flag has none. free() the array; NULL when out of memory. */
const char **args_all(const struct args *a, const char *option, size_t *n);
/* A whole number in [low, high]: 0, or -1 with the complaint told. Leaves *out when the option is absent. */
int args_int(const struct args *a, const char *option, long low, long high, long *out);

void command_help(const struct command *c, struct buf *out);
const struct command *command_find(const char *name);
int usage_error(const struct command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* tells; STATUS_USAGE */

#endif
