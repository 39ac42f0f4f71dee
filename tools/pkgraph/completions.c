/* SPDX-License-Identifier: MIT
 *
 * completions: scripts for bash, zsh and fish, written from the option tables. Names that a spec gives (nodes, variants,
 * what --set takes) the scripts ask from this program while one types: `completions names KIND SPEC`.
 */
#include <stdio.h>
#include <string.h>

#include "engine/graph.h"
#include "engine/names.h"
#include "ops/table.h"
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

/* What the shell asks `completions names` for at an option; NULL: files, or nothing. */
static const char *kind_of(const struct option_def *o)
{
    static const char *const kinds[][2] = {{"set", "settings"}, {"variant", "variants"}, {"only", "nodes"}, {"force", "nodes"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(o->name, kinds[i][0]) == 0)
            return kinds[i][1];
    return NULL;
}

/* Of the argument after SPEC, and of the first where it is none. */
static const char *second_kind(const struct command *c)
{
    return strncmp(c->usage, "SPEC NODE", 9) == 0 || strncmp(c->usage, "SPEC [NODE", 10) == 0 ? "ids" : NULL;
}

static const char *first_kind(const struct command *c)
{
    return strcmp(c->usage, "[NAME]") == 0 ? "operators" : strcmp(c->usage, "[COMMAND]") == 0 ? "commands" : NULL;
}

static void bash_command(struct buf *b, const struct command *c)
{
    buf_printf(b, "    %s)\n        options='", c->name);
    for (const struct option_def *o = c->options; o->name; o++)
        buf_printf(b, "%s--%s", o == c->options ? "" : " ", o->name);
    buf_puts(b, "'\n");
    if (c->pos_choices) {
        buf_puts(b, "        first='");
        words(b, c->pos_choices);
        buf_puts(b, "'\n");
    }
    if (first_kind(c))
        buf_printf(b, "        first=$(pkgraph completions names %s 2>/dev/null)\n", first_kind(c));
    if (second_kind(c))
        buf_printf(b, "        second=%s\n", second_kind(c));
    buf_puts(b, "        case $prev in\n");
    for (const struct option_def *o = c->options; o->name; o++) {
        if (o->choices) {
            buf_printf(b, "        --%s) values='", o->name);
            words(b, o->choices);
            buf_puts(b, "' ;;\n");
        } else if (kind_of(o)) {
            buf_printf(b, "        --%s) kind=%s ;;\n", o->name, kind_of(o));
        } else if (o->arg) {
            buf_printf(b, "        --%s) files=1 ;;\n", o->name);
        }
    }
    buf_puts(b, "        esac ;;\n");
}

/* COMP_WORDS is cut at = and @, of which names of nodes are full: the words are read from the line instead, and what stands
 * before the last such character is taken off the answers, as readline wants them (it leaves an @ with the word behind it). */
static void bash(struct buf *b)
{
    buf_puts(b, "# pkgraph completions bash >> ~/.bash_completion\n"
                "_pkgraph() {\n"
                "    local line=${COMP_LINE:0:COMP_POINT} cur='' prev='' lead='' cmd spec='' w options='' values='' first='' second='' kind='' files='' before='' done=''\n"
                "    local -a typed\n"
                "    read -ra typed <<<\"$line\"\n"
                "    case $line in *[[:space:]]) ;; *) cur=${typed[-1]}; unset 'typed[-1]' ;; esac\n"
                "    cmd=${typed[1]-} prev=${typed[-1]-}\n"
                "    for w in \"${typed[@]}\"; do\n"
                "        case $w in -*) ;; *.yaml|*.yml) spec=$w ;; *) case $before in --*) ;; *) [ -z \"$spec\" ] || done=1 ;; esac ;; esac\n"
                "        before=$w\n"
                "    done\n"
                "    case $cur in --*=*) prev=${cur%%=*} lead=$prev=; cur=${cur#*=} ;; esac\n"
                "    COMPREPLY=()\n"
                "    case $cmd in\n    '') first='");
    for (const struct command *const *c = commands; *c; c++)
        buf_printf(b, "%s%s", c == commands ? "" : " ", (*c)->name);
    buf_puts(b, "' ;;\n");
    for (const struct command *const *c = commands; *c; c++)
        bash_command(b, *c);
    buf_puts(b, "    esac\n"
                "    if [ -n \"$kind\" ]; then values=$(pkgraph completions names \"$kind\" \"$spec\" 2>/dev/null)\n"
                "    elif [ -n \"$values$files\" ] || [[ $cur == -* ]]; then :\n"
                "    elif [ ${#typed[@]} -le 2 ] && [ -n \"$first\" ]; then values=$first\n"
                "    elif [ -n \"$second\" ] && [ -n \"$spec\" ] && [ -z \"$done\" ]; then kind=$second values=$(pkgraph completions names \"$second\" \"$spec\" 2>/dev/null); fi\n"
                "    if [ -n \"$values\" ]; then while IFS= read -r w; do [[ $w == \"$cur\"* ]] && COMPREPLY+=(\"$w\"); done <<<\"${values// /$'\\n'}\"\n"
                "    elif [ -n \"$kind\" ]; then return\n"
                "    elif [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
                "    else compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$cur\")); fi\n"
                "    case ${COMPREPLY[0]-} in *=) compopt -o nospace 2>/dev/null ;; esac\n"
                "    lead=$lead$cur; lead=${lead%\"${lead##*[=@:]}\"}; lead=${lead#--*=}; lead=${lead%@}\n"
                "    COMPREPLY=(\"${COMPREPLY[@]#\"$lead\"}\")\n"
                "}\n"
                "complete -F _pkgraph pkgraph\n");
}

static void zsh_command(struct buf *b, const struct command *c)
{
    buf_printf(b, "    %s) shift words; (( CURRENT-- )); _arguments", c->name);
    for (const struct option_def *o = c->options; o->name; o++) {
        buf_printf(b, " \\\n        '*--%s[", o->name);
        quoted(b, o->help, "[]:");
        buf_puts(b, "]");
        if (o->arg)
            buf_printf(b, ":%s:", o->arg);
        if (o->arg && o->choices) {
            buf_puts(b, "(");
            words(b, o->choices);
            buf_puts(b, ")");
        } else if (kind_of(o)) {
            buf_printf(b, " _pkgraph_names %s", kind_of(o)); /* the blank: no arguments of zsh's between */
        } else if (o->arg) {
            buf_puts(b, "_files");
        }
        buf_puts(b, "'");
    }
    if (c->pos_choices) {
        buf_puts(b, " '1:what:(");
        words(b, c->pos_choices);
        buf_puts(b, ")' '*:file:_files'");
    } else if (first_kind(c)) {
        buf_printf(b, " '1:%s: _pkgraph_names %s'", first_kind(c), first_kind(c));
    } else if (second_kind(c)) {
        buf_printf(b, " '1:file:_files' '2:node: _pkgraph_names %s' '*:file:_files'", second_kind(c));
    } else if (c->max_pos) {
        buf_puts(b, " '*:file:_files'");
    }
    buf_puts(b, " ;;\n");
}

static void zsh(struct buf *b)
{
    buf_puts(b, "#compdef pkgraph\n"
                "# pkgraph completions zsh > a file _pkgraph in a folder of $fpath\n"
                "_pkgraph_names() {\n"
                "    local -a specs names open\n"
                "    specs=(${(M)words:#[^-]*.(yaml|yml)})\n"
                "    names=(${(f)\"$(pkgraph completions names $1 ${specs[1]} 2>/dev/null)\"})\n"
                "    open=(${(M)names:#*=}) names=(${names:#*=})\n"
                "    compadd -S '' -a open\n"
                "    compadd -a names\n"
                "}\n"
                "_pkgraph() {\n    local -a commands\n    commands=(\n");
    for (const struct command *const *c = commands; *c; c++) {
        buf_printf(b, "        '%s:", (*c)->name);
        quoted(b, (*c)->summary, "");
        buf_puts(b, "'\n");
    }
    buf_puts(b, "    )\n    if (( CURRENT == 2 )); then _describe command commands; return; fi\n    case $words[2] in\n");
    for (const struct command *const *c = commands; *c; c++)
        zsh_command(b, *c);
    buf_puts(b, "    esac\n}\n_pkgraph \"$@\"\n");
}

static void fish_option(struct buf *b, const struct command *c, const struct option_def *o)
{
    buf_printf(b, "complete -c pkgraph -n '__fish_seen_subcommand_from %s' -l %s", c->name, o->name);
    if (o->letter)
        buf_printf(b, " -s %c", o->letter);
    if (o->arg)
        buf_puts(b, " -r");
    if (o->choices) {
        buf_puts(b, " -f -a '");
        words(b, o->choices);
        buf_puts(b, "'");
    } else if (kind_of(o)) {
        buf_printf(b, " -f -a '(__pkgraph_names %s)'", kind_of(o));
    }
    buf_puts(b, " -d '");
    quoted(b, o->help, "");
    buf_puts(b, "'\n");
}

static void fish(struct buf *b)
{
    buf_puts(b, "# pkgraph completions fish > ~/.config/fish/completions/pkgraph.fish\n"
                "function __pkgraph_names\n"
                "    set -l spec (string match -r -- '^[^-].*\\.ya?ml$' (commandline -opc))\n"
                "    pkgraph completions names $argv[1] $spec[1] 2>/dev/null\n"
                "end\n"
                "function __pkgraph_has_spec\n"
                "    string match -qr -- '^[^-].*\\.ya?ml$' (commandline -opc)\n"
                "end\n");
    for (const struct command *const *c = commands; *c; c++) {
        buf_printf(b, "complete -c pkgraph -n __fish_use_subcommand -f -a %s -d '", (*c)->name);
        quoted(b, (*c)->summary, "");
        buf_puts(b, "'\n");
        for (const struct option_def *o = (*c)->options; o->name; o++)
            fish_option(b, *c, o);
        if ((*c)->pos_choices) {
            buf_printf(b, "complete -c pkgraph -n '__fish_seen_subcommand_from %s' -f -a '", (*c)->name);
            words(b, (*c)->pos_choices);
            buf_puts(b, "'\n");
        } else if (first_kind(*c)) {
            buf_printf(b, "complete -c pkgraph -n '__fish_seen_subcommand_from %s' -f -a '(__pkgraph_names %s)'\n", (*c)->name, first_kind(*c));
        } else if (second_kind(*c)) {
            buf_printf(b, "complete -c pkgraph -n '__fish_seen_subcommand_from %s; and __pkgraph_has_spec' -f -a '(__pkgraph_names %s)'\n",
                       (*c)->name, second_kind(*c));
        }
    }
}

/* ---- names ---- */

static void put_line(struct buf *b, struct names *seen, const char *format, const char *x, const char *y)
{
    struct buf line = {0};
    buf_printf(&line, format, x, y);
    if (!line.failed && names_get(seen, buf_view(&line)) == NAMES_NONE && names_put(seen, buf_view(&line), 1)) {
        buf_str(b, buf_view(&line));
        buf_putc(b, '\n');
    }
    buf_release(&line);
}

/* Names of a spec, as far as it can be read; nothing of one that is broken. */
static void spec_names(struct buf *b, const char *kind, const char *path)
{
    struct graph_options o = {.ops = ops_table, .no_infer = true};
    struct diags *d = diags_new();
    struct graph *g = NULL;
    struct names seen = {0};
    struct err e = {0};
    if (!d || graph_load(path, &o, d, &g, &e) != 0)
        goto out;
    for (size_t i = 0; i < g->n_variables && strcmp(kind, "settings") == 0; i++)
        put_line(b, &seen, "%s%s", g->variables[i], "=");
    for (size_t i = 0; i < g->n_variants && strcmp(kind, "variants") == 0; i++)
        put_line(b, &seen, "%s%s", g->variants[i] ? g->variants[i] : "base", "");
    for (size_t i = 0; i < g->n; i++) {
        const struct node *n = &g->nodes[i];
        if (strcmp(kind, "nodes") == 0 || strcmp(kind, "ids") == 0)
            put_line(b, &seen, "%s%s", n->id, "");
        if (strcmp(kind, "nodes") == 0)
            put_line(b, &seen, "%s%s", n->base, "");
        for (const struct param_def *p = n->op->params; strcmp(kind, "settings") == 0 && p && p->name; p++)
            put_line(b, &seen, "%s.%s=", n->base, p->name);
    }
out:
    names_release(&seen);
    graph_free(g);
    diags_free(d);
}

static int print_names(const struct args *a)
{
    static const char *const kinds[] = {"nodes", "ids", "variants", "settings"};
    const char *kind = a->n_pos > 1 ? a->pos[1] : "";
    struct buf b = {0};
    bool known = strcmp(kind, "operators") == 0 || strcmp(kind, "commands") == 0;
    for (const struct op *const *o = ops_table; *o && strcmp(kind, "operators") == 0; o++)
        buf_printf(&b, "%s\n", (*o)->name);
    for (const struct command *const *c = commands; *c && strcmp(kind, "commands") == 0; c++)
        buf_printf(&b, "%s\n", (*c)->name);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kind, kinds[i]) == 0) {
            known = true;
            if (a->n_pos > 2)
                spec_names(&b, kind, a->pos[2]);
        }
    if (!known)
        return usage_error(a->command, "names of what? operators, commands, or nodes, ids, variants, settings of a SPEC");
    return print_buf(&b);
}

static int run_completions(const struct args *a)
{
    struct buf b = {0};
    if (strcmp(a->pos[0], "names") == 0)
        return print_names(a);
    if (a->n_pos > 1)
        return usage_error(a->command, "`%s` takes nothing more", a->pos[0]);
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
    .usage = "bash|zsh|fish|names KIND [SPEC]",
    .summary = "print completions for a shell",
    .about = "bash: pkgraph completions bash >> ~/.bash_completion\n"
             "zsh:  pkgraph completions zsh > a file named _pkgraph in a folder of $fpath\n"
             "fish: pkgraph completions fish > ~/.config/fish/completions/pkgraph.fish\n"
             "They offer commands, options and their values, and ask for the names in a spec while one types:\n"
             "pkgraph completions names nodes|ids|variants|settings SPEC, names operators, names commands.",
    .example = "eval \"$(pkgraph completions bash)\"",
    .options = options,
    .min_pos = 1,
    .max_pos = 3,
    .pos_choices = "bash|zsh|fish",
    .run = run_completions,
};
