/* SPDX-License-Identifier: MIT
 *
 * show: the stored artifact of a node, for a person or (--json) its descriptor for a program.
 */
#include "tools/pkgraph/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/pkgraph/term.h"

enum { CONTENT_MAX = 1 << 20 };

/* A file that is one JSON value and not large: NULL when it is not. */
static struct js *content_of(const struct session *s, const struct artifact *a, const struct artifact_file *f)
{
    struct err ignored;
    char *path = f->bytes <= CONTENT_MAX && str_ends(str_of(f->name), ".json") ? session_file(s, a, f->name) : NULL;
    struct js *j = path ? js_read(path, &ignored) : NULL;
    free(path);
    return j;
}

int show_descriptor(const struct session *s, const struct artifact *a)
{
    struct buf b = {0};
    struct js *j = s->folder ? js_object() : js_copy(artifact_desc(a)), *files = js_array();
    char hex[DIGEST_HEX];
    for (size_t i = 0; i < a->n; i++) {
        struct js *f = js_object(), *content = content_of(s, a, &a->files[i]);
        js_set(f, "name", js_new_cstr(a->files[i].name));
        js_set(f, "bytes", js_new_int((int64_t)a->files[i].bytes));
        if (!s->folder) {
            digest_hex(&a->files[i].digest, hex);
            js_set(f, "sha256", js_new_cstr(hex));
        }
        if (content)
            js_set(f, "content", content);
        js_push(files, f);
    }
    js_set(j, "type", js_new_cstr(a->type));
    if (!s->folder) {
        digest_hex(&a->digest, hex);
        js_set(j, "digest", js_new_cstr(hex));
    }
    js_set(j, "files", files);
    js_write_pretty(&b, j);
    buf_putc(&b, '\n');
    js_free(j);
    return print_buf(&b);
}

/* The model whose tokens a dataset is seen in: that of the first node that takes both. -1: none. */
static int consumer_model(const struct graph *g, size_t data)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct node *n = &g->nodes[i];
        int model = -1;
        bool takes = false;
        for (size_t k = 0; k < n->n_edges; k++) {
            takes |= n->edges[k].from == (int)data;
            if (strcmp(n->op->inputs[n->edges[k].port].name, "model") == 0)
                model = n->edges[k].from;
        }
        if (takes && model >= 0)
            return model;
    }
    return -1;
}

static int tokens(struct session *s, const struct args *a, size_t node, const struct artifact *data, size_t rows)
{
    const char *name = args_get(a, "model");
    const struct artifact *model;
    size_t from = 0;
    int port = 0, status, found = name ? 0 : consumer_model(s->graph, node);
    if (strcmp(data->type, "dataset") != 0)
        return usage_error(a->command, "--tokens is for datasets; %s is of type %s", a->pos[1], data->type);
    if (found < 0)
        return usage_error(a->command, "no node takes %s together with a model: name a model with --model NODE", a->pos[1]);
    from = (size_t)found;
    status = name ? session_find(s, name, &from, &port) : STATUS_DONE;
    if (status == STATUS_DONE)
        status = session_artifact(s, a, from, port, &model);
    return status == STATUS_DONE ? show_tokens(s, data, model, rows) : status;
}

static int run_show(const struct args *a)
{
    struct session s = {0};
    size_t node;
    int port;
    const struct artifact *artifact;
    long rows = 10;
    if (args_int(a, "rows", 1, 1000000000, &rows) < 0)
        return STATUS_USAGE;
    int status = session_open(&s, a, SESSION_STORE | SESSION_PLAN);
    if (status == STATUS_DONE)
        status = session_find(&s, a->pos[1], &node, &port);
    if (status == STATUS_DONE)
        status = session_artifact(&s, a, node, port, &artifact);
    if (status != STATUS_DONE)
        goto out;
    struct show_options o = {.rows = (size_t)rows, .max_list = args_has(a, "all") ? SIZE_MAX : 0};
    if (args_has(a, "json"))
        status = show_descriptor(&s, artifact);
    else if (args_has(a, "tokens"))
        status = tokens(&s, a, node, artifact, (size_t)rows);
    else
        status = show_artifact(&s, artifact, &o);
out:
    session_close(&s);
    return status;
}

static const struct option_def options[] = {
    OPTIONS_JSON,
    {.name = "rows", .arg = "N", .help = "rows of datasets, predictions and logs (default 10)"},
    {.name = "all", .help = "list every tensor, not one line for each kind; the heat map of scores above 4 GiB, too"},
    {.name = "tokens", .help = "datasets: the rows as tokens, {{trained ones}} marked (green on a terminal)"},
    {.name = "model", .arg = "NODE", .help = "with --tokens: the model whose tokenizer is used (default: of a node that takes this dataset)"},
    OPTIONS_SPEC,
    OPTIONS_HELP,
    {0},
};

const struct command cmd_show = {
    .name = "show",
    .usage = "SPEC NODE[.PORT]",
    .summary = "a stored artifact: tensors, metrics, layer map, windows, first rows",
    .about = "The main output unless a port is named. --json prints the descriptor: what the plan knows of the artifact, its\n"
             "files with their digests, and the content of those that are JSON (metrics, scores by layer, layer map, windows).",
    .example = "pkgraph show specs/quickstart.yaml layers\n"
               "pkgraph show specs/quickstart.yaml svd.log --rows 20\n"
               "pkgraph show specs/quickstart.yaml rows --tokens --rows 2",
    .options = options,
    .min_pos = 2,
    .max_pos = 2,
    .run = run_show,
};
