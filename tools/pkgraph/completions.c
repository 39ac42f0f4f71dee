/* SPDX-License-Identifier: MIT
 *
 * completions: scripts for bash, zsh and fish, written from the option tables.
 */
#include <stdio.h>
#include <string.h>

#include "tools/pkgraph/cli.h"
#include "tools/pkgraph/term.h"

static void words(struct buf *b, const char *choices)
{
    for (const char *p = choices; *p; p++)
        buf_putc(b, *p == '|' ? ' ' : *p);
}

/* Text inside single quotes of a shell. */
static void quoted(struct buf *b, const char *z, const char *escape)
{
    for (; *z; z++) {
        if (*z == '\'')
            buf_puts(b, "'\\''");
        else if (strchr(escape, *z))
            buf_printf(b, "\\%c", *z);
        else
            buf_putc(b, *z);
    }
}

static void bash(struct buf *b)
{
    buf_puts(b, "# pkgraph completions bash >> ~/.bash_completion\n"
                "_pkgraph() {\n"
                "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                "    local cmd=${COMP_WORDS[1]} options='' values='' first='' commands='");
    for (const struct command *const *c = commands; *c; c++)
        buf_printf(b, "%s%s", c == commands ? "" : " ", (*c)->name);
    buf_puts(b, "'\n    case $cmd in\n");
    for (const struct command *const *c = commands; *c; c++) {
        buf_printf(b, "    %s)\n        options='", (*c)->name);
        for (const struct option_def *o = (*c)->options; o->name; o++)
            buf_printf(b, "%s--%s", o == (*c)->options ? "" : " ", o->name);
        buf_puts(b, "'\n");
        if ((*c)->pos_choices) {
            buf_puts(b, "        first='");
            words(b, (*c)->pos_choices);
            buf_puts(b, "'\n");
        }
        buf_puts(b, "        case $prev in\n");
        for (const struct option_def *o = (*c)->options; o->name; o++)
            if (o->choices) {
                buf_printf(b, "        --%s) values='", o->name);
                words(b, o->choices);
                buf_puts(b, "' ;;\n");
            }
        buf_puts(b, "        esac ;;\n");
    }
    buf_puts(b, "    esac\n"
                "    if [ \"$COMP_CWORD\" -eq 1 ]; then COMPREPLY=($(compgen -W \"$commands\" -- \"$cur\"))\n"
                "    elif [ -n \"$values\" ]; then COMPREPLY=($(compgen -W \"$values\" -- \"$cur\"))\n"
                "    elif [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
                "    elif [ -n \"$first\" ]; then COMPREPLY=($(compgen -W \"$first\" -- \"$cur\"))\n"
                "    else COMPREPLY=($(compgen -f -- \"$cur\")); fi\n"
                "}\n"
                "complete -o filenames -F _pkgraph pkgraph\n");
}

static void zsh(struct buf *b)
{
    buf_puts(b, "#compdef pkgraph\n"
                "# pkgraph completions zsh > a file _pkgraph in a folder of $fpath\n"
                "_pkgraph() {\n    local -a commands\n    commands=(\n");
    for (const struct command *const *c = commands; *c; c++) {
        buf_printf(b, "        '%s:", (*c)->name);
        quoted(b, (*c)->summary, "");
        buf_puts(b, "'\n");
    }
    buf_puts(b, "    )\n    if (( CURRENT == 2 )); then _describe command commands; return; fi\n    case $words[2] in\n");
    for (const struct command *const *c = commands; *c; c++) {
        buf_printf(b, "    %s) shift words; (( CURRENT-- )); _arguments", (*c)->name);
        for (const struct option_def *o = (*c)->options; o->name; o++) {
            buf_printf(b, " \\\n        '*--%s[", o->name);
            quoted(b, o->help, "[]:");
            buf_puts(b, "]");
            if (o->arg)
                buf_printf(b, ":%s:", o->arg);
            if (o->arg && o->choices) {
                buf_puts(b, "(");
                words(b, o->choices);
                buf_puts(b, ")");
            } else if (o->arg) {
                buf_puts(b, "_files");
            }
            buf_puts(b, "'");
        }
        if ((*c)->pos_choices) {
            buf_puts(b, " '1:what:(");
            words(b, (*c)->pos_choices);
            buf_puts(b, ")'");
        } else if ((*c)->max_pos) {
            buf_puts(b, " '*:file:_files'");
        }
        buf_puts(b, " ;;\n");
    }
    buf_puts(b, "    esac\n}\n_pkgraph \"$@\"\n");
}

static void fish(struct buf *b)
{
    buf_puts(b, "# pkgraph completions fish > ~/.config/fish/completions/pkgraph.fish\n");
    for (const struct command *const *c = commands; *c; c++) {
        buf_printf(b, "complete -c pkgraph -n __fish_use_subcommand -f -a %s -d '", (*c)->name);
        quoted(b, (*c)->summary, "");
        buf_puts(b, "'\n");
        for (const struct option_def *o = (*c)->options; o->name; o++) {
            buf_printf(b, "complete -c pkgraph -n '__fish_seen_subcommand_from %s' -l %s", (*c)->name, o->name);
            if (o->letter)
                buf_printf(b, " -s %c", o->letter);
            if (o->arg)
                buf_puts(b, " -r");
            if (o->choices) {
                buf_puts(b, " -f -a '");
                words(b, o->choices);
                buf_puts(b, "'");
            }
            buf_puts(b, " -d '");
            quoted(b, o->help, "");
            buf_puts(b, "'\n");
        }
        if ((*c)->pos_choices) {
            buf_printf(b, "complete -c pkgraph -n '__fish_seen_subcommand_from %s' -f -a '", (*c)->name);
            words(b, (*c)->pos_choices);
            buf_puts(b, "'\n");
        }
    }
}

static int run_completions(const struct args *a)
{
    struct buf b = {0};
    if (strcmp(a->pos[0], "bash") == 0)
        bash(&b);
    else if (strcmp(a->pos[0], "zsh") == 0)
        zsh(&b);
    else if (strcmp(a->pos[0], "fish") == 0)
        fish(&b);
    else
        return usage_error(a->command, "no completions for \"%s\"; there are bash, zsh and fish", a->pos[0]);
    return print_buf(&b);
}

static const struct option_def options[] = {OPTIONS_HELP, {0}};

const struct command cmd_completions = {
    .name = "completions",
    .usage = "bash|zsh|fish",
    .summary = "print completions for a shell",
    .about = "bash: pkgraph completions bash >> ~/.bash_completion\n"
             "zsh:  pkgraph completions zsh > a file named _pkgraph in a folder of $fpath\n"
             "fish: pkgraph completions fish > ~/.config/fish/completions/pkgraph.fish",
    .example = "eval \"$(pkgraph completions bash)\"",
    .options = options,
    .min_pos = 1,
    .max_pos = 1,
    .pos_choices = "bash|zsh|fish",
    .run = run_completions,
};
