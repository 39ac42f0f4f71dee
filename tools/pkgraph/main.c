/* SPDX-License-Identifier: MIT
 *
 * pkgraph: the program. One file a command, each ending in one `const struct command cmd_NAME`; this file lists them,
 * finds the one that is meant, and returns its status: 0 done, 1 a node (or the machine) failed, 2 usage or
 * specification error or pending work (`plan`), 130 interrupted.
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/diag.h"
#include "runtime/base/guard.h"
#include "runtime/kernels/gemm.h"
#include "tools/pkgraph/cli.h"
#include "tools/pkgraph/shipped.h"
#include "tools/pkgraph/term.h"

extern const struct command cmd_run, cmd_plan, cmd_explain, cmd_check, cmd_viz, cmd_show, cmd_export, cmd_runs, cmd_compare, cmd_cache, cmd_ops,
    cmd_inspect, cmd_tokenize, cmd_schema, cmd_doctor, cmd_completions, cmd_report, cmd_man;

static void print_commands(FILE *f)
{
    fputs("pkgraph runs language-model pipelines written as YAML graphs: it transfers knowledge from a large model to a\n"
          "small one, trains and evaluates, and computes again only what changed.\n\n"
          "  pkgraph COMMAND [arguments] [options]\n\n",
          f);
    for (const struct command *const *c = commands; *c; c++)
        fprintf(f, "  %-12s %s\n", (*c)->name, (*c)->summary);
    static const char first[] = "specs/quickstart.yaml";
    char *shipped = access(first, R_OK) == 0 ? NULL : shipped_spec(first);
    fprintf(f, "\npkgraph COMMAND --help describes a command. The first steps: pkgraph run %s\n"
               "Exit status: 0 done, 1 a node failed, 2 usage or specification error, or pending work (plan), 130 interrupted.\n",
            shipped ? shipped : first);
    free(shipped);
}

static int unknown_command(const char *word)
{
    const char *names[64];
    size_t n = 0;
    for (const struct command *const *c = commands; *c && n < 64; c++)
        names[n++] = (*c)->name;
    const char *near = nearest_name(word, names, n);
    if (near)
        say_error("unknown command \"%s\"; did you mean `pkgraph %s`?", word, near);
    else
        say_error("unknown command \"%s\"; `pkgraph --help` lists the commands", word);
    return STATUS_USAGE;
}

static int run_version(const struct args *a)
{
    (void)a;
    printf("pkgraph %s\n%s\n", PKG_VERSION, gemm_version());
    return STATUS_DONE;
}

/* `help` is the command of people who type what other programs taught them. */
static int run_help(const struct args *a)
{
    if (a->n_pos == 0) {
        print_commands(stdout);
        return STATUS_DONE;
    }
    const struct command *c = command_find(a->pos[0]);
    if (!c)
        return unknown_command(a->pos[0]);
    struct buf b = {0};
    command_help(c, &b);
    return print_buf(&b);
}

/* A file that was cut short while a command read it gave zeros. */
static int read_whole(int status)
{
    struct err e = {0};
    if (status == STATUS_FAILED || !guard_end(&e)) /* it has said why */
        return status;
    say_err(&e);
    return STATUS_FAILED;
}

/* What was printed must have reached its file: a full disk is a failure. */
static int flush_output(int status)
{
    if ((fflush(stdout) || ferror(stdout)) && status == STATUS_DONE) {
        say_error("standard output could not be written");
        return STATUS_FAILED;
    }
    return status;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    if (argc < 2) {
        print_commands(stderr);
        return STATUS_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        word = "help";
    else if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        word = "version";
    const struct command *c = command_find(word);
    if (!c)
        return unknown_command(word);
    struct args a;
    int status;
    if (args_parse(&a, c, argc - 1, argv + 1, &status) == 0)
        status = read_whole(c->run(&a));
    args_release(&a);
    return flush_output(status);
}

static const struct option_def only_help[] = {OPTIONS_HELP, {0}};

static const struct command cmd_version = {
    .name = "version",
    .usage = "",
    .summary = "the version of pkgraph and of the libraries that compute",
    .example = "pkgraph version",
    .options = only_help,
    .run = run_version,
};

static const struct command cmd_help = {
    .name = "help",
    .usage = "[COMMAND]",
    .summary = "this list, or the help of one command",
    .example = "pkgraph help run",
    .options = only_help,
    .max_pos = 1,
    .run = run_help,
};

const struct command *const commands[] = {
    &cmd_run,   &cmd_plan,  &cmd_explain, &cmd_check,    &cmd_viz,    &cmd_show,   &cmd_export,      &cmd_runs,    &cmd_compare,     &cmd_report,
    &cmd_cache, &cmd_ops,   &cmd_schema,  &cmd_inspect,  &cmd_tokenize, &cmd_doctor, &cmd_completions, &cmd_man, &cmd_version,
    &cmd_help,  NULL,
};
