/* SPDX-License-Identifier: MIT
 *
 * check: the spec is read, expanded and inferred; nothing is digested, nothing runs. Milliseconds.
 */
#include "tools/pkgraph/session.h"
#include "tools/pkgraph/term.h"

static void print_good(const char *spec, size_t nodes, size_t edges)
{
    printf("%s: %zu node%s, %zu edge%s, no errors\n", spec, nodes, nodes == 1 ? "" : "s", edges, edges == 1 ? "" : "s");
}

static int run_check(const struct args *a)
{
    static struct session s;
    int status = session_open(&s, a, SESSION_MEMO);
    if (status == STATUS_DONE && s.memo) {
        print_good(a->pos[0], s.memo->n, s.memo->n_edges);
    } else if (status == STATUS_DONE) {
        size_t edges = 0;
        for (size_t i = 0; i < s.graph->n; i++)
            edges += s.graph->nodes[i].n_edges;
        print_good(a->pos[0], s.graph->n, edges);
    }
    session_leave(&s);
    return status;
}

static const struct option_def options[] = {OPTIONS_SPEC, OPTIONS_ONLY, OPTIONS_HELP, {0}};

const struct command cmd_check = {
    .name = "check",
    .usage = "SPEC",
    .summary = "parse a spec and check names, types and shapes; nothing runs",
    .about = "All errors of the file are reported, each with its line, what was expected and the nearest right name.\n"
             "Exit status: 0 without errors, 2 with.",
    .example = "pkgraph check specs/quickstart.yaml\npkgraph check specs/quickstart.yaml --set r=4",
    .options = options,
    .min_pos = 1,
    .max_pos = 1,
    .run = run_check,
};
