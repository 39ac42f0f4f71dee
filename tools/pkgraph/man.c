/* SPDX-License-Identifier: MIT
 *
 * man: the manual page in roff, written from the tables that drive the commands themselves.
 */
#include <string.h>

#include "tools/pkgraph/cli.h"
#include "tools/pkgraph/term.h"

/* Text for roff: no requests at the start of a line, hyphens and backslashes as themselves. */
static void text(struct buf *b, const char *z)
{
    for (const char *p = z; *p; p++) {
        bool start = p == z || p[-1] == '\n';
        if (start && (*p == '.' || *p == '\''))
            buf_puts(b, "\\&");
        if (*p == '\\')
            buf_puts(b, "\\e");
        else if (*p == '-')
            buf_puts(b, "\\-");
        else
            buf_putc(b, *p);
    }
}

static void option(struct buf *b, const struct option_def *o)
{
    buf_puts(b, ".TP\n\\fB");
    if (o->letter)
        buf_printf(b, "\\-%c\\fR, \\fB", o->letter);
    buf_puts(b, "\\-\\-");
    text(b, o->name);
    buf_puts(b, "\\fR");
    if (o->arg) {
        buf_puts(b, " \\fI");
        text(b, o->arg);
        buf_puts(b, "\\fR");
    }
    buf_putc(b, '\n');
    text(b, o->help);
    buf_putc(b, '\n');
}

static void command(struct buf *b, const struct command *c)
{
    buf_puts(b, ".SS \"pkgraph ");
    text(b, c->name);
    if (*c->usage) {
        buf_putc(b, ' ');
        text(b, c->usage);
    }
    buf_puts(b, "\"\n");
    text(b, c->summary);
    buf_puts(b, "\n");
    if (c->about) {
        buf_puts(b, ".PP\n");
        text(b, c->about);
        buf_putc(b, '\n');
    }
    for (const struct option_def *o = c->options; o->name; o++)
        if (strcmp(o->name, "help") != 0)
            option(b, o);
    buf_puts(b, ".PP\nFor example:\n.PP\n.nf\n.RS\n");
    text(b, c->example);
    buf_puts(b, "\n.RE\n.fi\n");
}

static int run_man(const struct args *a)
{
    struct buf b = {0};
    (void)a;
    buf_puts(&b, ".TH PKGRAPH 1 \"\" \"pkgraph " PKG_VERSION "\" \"User Commands\"\n.nh\n.ad l\n.SH NAME\n"
                 "pkgraph \\- language\\-model pipelines as graphs that compute again only what changed\n"
                 ".SH SYNOPSIS\n\\fBpkgraph\\fR \\fICOMMAND\\fR [\\fIarguments\\fR] [\\fIoptions\\fR]\n.SH DESCRIPTION\n"
                 "A specification in YAML names operators and how they are connected. pkgraph checks types and shapes before anything\n"
                 "runs, keeps every result under the digest of what it was made from, and runs what is not there yet.\n"
                 ".SH COMMANDS\n");
    for (const struct command *const *c = commands; *c; c++)
        command(&b, *c);
    buf_puts(&b, ".SH EXIT STATUS\n0 done; 1 a node or the machine failed; 2 usage or specification error, or pending work (\\fBplan\\fR); 130 interrupted.\n"
                 ".SH ENVIRONMENT\n.TP\n\\fBPKGRAPH_STORE\\fR\nThe store, where \\fB\\-\\-store\\fR does not name one.\n"
                 ".TP\n\\fBPKGRAPH_REMOTE\\fR\nAn HTTP(S) server that keeps results: asked before a node runs, sent to after it.\n"
                 "\\fBPKGRAPH_REMOTE_TOKEN\\fR, or \\fB_USER\\fR and \\fB_PASSWORD\\fR: credentials; \\fB_CA\\fR: a certificate authority to trust;\n"
                 "\\fB_READONLY=1\\fR: only fetch.\n"
                 ".TP\n\\fBHF_HUB_CACHE\\fR, \\fBHF_HOME\\fR\nWhere \\fBhf:org/name\\fR is looked for.\n"
                 ".TP\n\\fBNO_COLOR\\fR\nNo colours.\n"
                 ".SH FILES\n.TP\n\\fI.pkgraph\\fR\nThe store of the current folder.\n"
                 ".TP\n\\fIPREFIX/share/pkgraph/specs\\fR\nThe quickstart and the published experiments as specifications.\n"
                 ".TP\n\\fIPREFIX/share/doc/pkgraph\\fR\nTutorial, reference and method: README.md leads through them.\n");
    return print_buf(&b);
}

static const struct option_def options[] = {OPTIONS_HELP, {0}};

const struct command cmd_man = {
    .name = "man",
    .usage = "",
    .summary = "print the manual page (roff)",
    .example = "pkgraph man | man -l -",
    .options = options,
    .run = run_man,
};
