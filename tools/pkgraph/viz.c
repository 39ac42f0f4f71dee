/* SPDX-License-Identifier: MIT
 *
 * viz: the graph as DOT or Mermaid text, or as a picture made by Graphviz's `dot`.
 */
#include "engine/viz.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "tools/pkgraph/session.h"
#include "tools/pkgraph/term.h"

extern char **environ;

/* The text goes through a file, not a pipe: dot reads all before it writes, but nothing says so. */
static int run_dot(const struct buf *text, const char *format, const char *path, struct err *e)
{
    char in[] = "/tmp/pkgraph-viz-XXXXXX", flag[16];
    int fd = mkstemp(in), status = 0, rc = 0;
    if (fd < 0)
        return err_errno(e, "%s", in);
    if (write(fd, text->p, text->n) != (ssize_t)text->n)
        rc = err_errno(e, "%s", in);
    close(fd);
    snprintf(flag, sizeof flag, "-T%s", format);
    char *argv[] = {"dot", flag, "-o", (char *)(path ? path : "/dev/stdout"), in, NULL};
    pid_t pid;
    int no = rc ? 0 : posix_spawnp(&pid, "dot", NULL, NULL, argv, environ);
    if (!rc && no == ENOENT)
        rc = err_set(e, ERR_UNSUPPORTED, "--format %s needs Graphviz's `dot` (Debian: apt install graphviz); dot and mermaid need nothing", format);
    else if (!rc && no)
        rc = err_set(e, ERR_IO, "dot could not be started: %s", strerror(no));
    else if (!rc && (waitpid(pid, &status, 0) != pid || status != 0))
        rc = err_set(e, ERR_IO, "dot failed");
    unlink(in);
    return rc;
}

static int write_out(struct buf *text, const char *format, const char *path)
{
    struct err e = {0};
    int rc = text->failed ? err_set(&e, ERR_NOMEM, "out of memory") : 0;
    fflush(stdout);
    if (!rc && (strcmp(format, "svg") == 0 || strcmp(format, "png") == 0))
        rc = run_dot(text, format, path, &e);
    else if (!rc && path)
        rc = fs_write_atomic(path, text->p, text->n, &e);
    else if (!rc)
        fwrite(text->p, 1, text->n, stdout);
    if (rc)
        say_err(&e);
    return rc ? STATUS_FAILED : STATUS_DONE;
}

/* What renders Mermaid has limits that a diagram cannot raise itself; Graphviz lays out thousands of arrows for minutes. */
static void warn_size(const struct buf *b, const char *format)
{
    enum { MERMAID_EDGES = 500, MERMAID_TEXT = 50000, DOT_EDGES = 2000 };
    bool mermaid = strcmp(format, "mermaid") == 0;
    const char *arrow = mermaid ? " --> " : " -> ";
    size_t edges = 0;
    for (const char *p = b->p; p && (p = strstr(p, arrow)); p++)
        edges++;
    if (mermaid && (edges > MERMAID_EDGES || b->n > MERMAID_TEXT))
        say("note: %zu arrows, %zu bytes: Mermaid draws %d and %d unless its configuration raises maxEdges and maxTextSize; --only NODE draws less", edges,
            b->n, MERMAID_EDGES, MERMAID_TEXT);
    else if (!mermaid && strcmp(format, "dot") != 0 && edges > DOT_EDGES)
        say("note: %zu arrows: Graphviz takes minutes for so many; --only NODE draws less", edges);
}

static int run_viz(const struct args *a)
{
    const char *format = args_get(a, "format"), *path = args_get(a, "output");
    struct session s;
    struct buf b = {0};
    format = format ? format : "dot";
    if (strcmp(format, "png") == 0 && !path && isatty(STDOUT_FILENO))
        return usage_error(a->command, "a picture would spoil the terminal: give --output FILE");
    unsigned what = SESSION_NO_INFER | (args_has(a, "no-state") ? 0 : SESSION_STORE_IF_THERE | SESSION_PLAN);
    int status = session_open(&s, a, what);
    if (status == STATUS_DONE) {
        struct viz_options o = {.plan = s.plan, .top_down = args_has(a, "top-down"), .fold = !args_has(a, "unfold")};
        if (strcmp(format, "mermaid") == 0)
            viz_mermaid(&b, s.graph, &o);
        else
            viz_dot(&b, s.graph, &o);
        warn_size(&b, format);
        status = write_out(&b, format, path);
    }
    if (status == STATUS_DONE && s.broken)
        status = STATUS_USAGE;
    buf_release(&b);
    session_close(&s);
    return status;
}

static const struct option_def options[] = {
    {.name = "format", .letter = 'f', .arg = "F", .help = "dot (default), mermaid, or svg and png through Graphviz", .choices = "dot|mermaid|svg|png"},
    {.name = "output", .letter = 'o', .arg = "FILE", .help = "write to a file instead of standard output"},
    {.name = "top-down", .help = "from top to bottom instead of left to right"},
    {.name = "unfold", .help = "a box for every point of the sweep, instead of one with their number (x12)"},
    {.name = "no-state", .help = "do not look into the store: no colours of states"},
    OPTIONS_SPEC,
    OPTIONS_ONLY,
    OPTIONS_HELP,
    {0},
};

const struct command cmd_viz = {
    .name = "viz",
    .usage = "SPEC",
    .summary = "the graph as DOT, Mermaid, SVG or PNG, coloured by state",
    .about = "Green: up to date; orange: to run; yellow: runs if something upstream changes; red: blocked. A spec with errors\n"
             "is drawn as far as its shape goes, with status 2.",
    .example = "pkgraph viz specs/quickstart.yaml --format svg -o quickstart.svg",
    .options = options,
    .min_pos = 1,
    .max_pos = 1,
    .run = run_viz,
};
