/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/session.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ops/table.h"
#include "runtime/base/fs.h"
#include "tools/pkgraph/machine.h"
#include "tools/pkgraph/metrics.h"
#include "tools/pkgraph/shipped.h"
#include "tools/pkgraph/term.h"

const char *store_folder(const struct args *a)
{
    const char *dir = args_get(a, "store");
    if (!dir)
        dir = getenv("PKGRAPH_STORE");
    return dir && *dir ? dir : ".pkgraph";
}

static void print_diags(const struct diags *d)
{
    struct buf b = {0};
    diags_print(d, term_colour(stderr), &b);
    if (!b.failed && b.n) {
        fwrite(b.p, 1, b.n, stderr);
        if (b.p[b.n - 1] != '\n')
            fputc('\n', stderr);
    }
    buf_release(&b);
}

/* The options of a->command that choose the graph. False: out of memory. free_options in any case. */
static bool read_options(const struct args *a, struct graph_options *o)
{
    *o = (struct graph_options){.ops = ops_table};
    o->sets = args_all(a, "set", &o->n_sets);
    o->variants = args_all(a, "variant", &o->n_variants);
    o->only = args_all(a, "only", &o->n_only);
    return o->sets && o->variants && o->only;
}

static void free_options(struct graph_options *o)
{
    free((void *)(uintptr_t)o->sets);
    free((void *)(uintptr_t)o->variants);
    free((void *)(uintptr_t)o->only);
}

static int load_graph(struct session *s, const struct args *a, bool no_infer)
{
    struct err e = {0};
    struct graph_options o;
    bool good = read_options(a, &o);
    o.no_infer = no_infer;
    diags_free(s->diags);
    watch_release(&s->watch);
    s->diags = diags_new();
    watch_begin(&s->watch);
    int rc = s->diags && good ? graph_load(a->pos[0], &o, s->diags, &s->graph, &e) : err_set(&e, ERR_NOMEM, "out of memory");
    watch_end();
    free_options(&o);
    if (rc == 0)
        return STATUS_DONE;
    if (s->diags)
        print_diags(s->diags);
    say_err(&e);
    char *shipped = access(a->pos[0], F_OK) == 0 ? NULL : shipped_spec(a->pos[0]);
    if (shipped)
        say("there is %s", shipped);
    free(shipped);
    return rc == ERR_NOMEM ? STATUS_FAILED : STATUS_USAGE;
}

static int open_store(struct session *s, const struct args *a, unsigned what)
{
    const char *dir = store_folder(a);
    if (!(what & (SESSION_STORE | SESSION_STORE_IF_THERE)))
        return STATUS_DONE;
    if (!(what & SESSION_STORE) && !fs_is_dir(dir))
        return STATUS_DONE;
    struct err e = {0};
    if (store_open(dir, &s->store, &e) == 0) {
        if (store_warning(s->store))
            say("warning: %s", store_warning(s->store));
        return STATUS_DONE;
    }
    say_err(&e);
    return STATUS_FAILED;
}

static void recall(struct session *s, const struct args *a, bool graph_alone)
{
    struct graph_options o;
    if (read_options(a, &o))
        memo_find(a->pos[0], &o, store_folder(a), graph_alone ? NULL : s->store, &s->memo);
    free_options(&o);
}

static char *metrics_text(const struct plan *p)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    if (f) {
        metrics_print(p, f);
        fclose(f);
    }
    return text;
}

void session_remember(struct session *s, const struct args *a)
{
    struct graph_options o;
    struct err ignored;
    char *text = s->plan && !args_has(a, "force") && !s->broken && diags_count(s->diags) == 0 ? metrics_text(s->plan) : NULL;
    if (read_options(a, &o) && text)
        memo_save(s->plan, a->pos[0], &o, &s->watch, text, &ignored);
    free_options(&o);
    free(text);
}

/* Damage that shows only when the index is read: opening it anew sets it aside and begins another. */
static int open_again(struct session *s, const struct args *a)
{
    store_close(s->store);
    s->store = NULL;
    return open_store(s, a, SESSION_STORE);
}

int session_open(struct session *s, const struct args *a, unsigned what)
{
    *s = (struct session){0};
    if ((what & SESSION_MEMO) && !args_has(a, "force") && fs_is_dir(store_folder(a))) {
        bool graph_alone = !(what & SESSION_PLAN);
        int opened = graph_alone ? STATUS_DONE : open_store(s, a, what);
        if (opened != STATUS_DONE)
            return opened;
        recall(s, a, graph_alone);
        if (s->memo)
            return STATUS_DONE;
    }
    int status = load_graph(s, a, false);
    if (status != STATUS_DONE && (what & SESSION_NO_INFER)) {
        s->broken = true;
        status = load_graph(s, a, true);
    }
    if (status != STATUS_DONE)
        return status;
    if (diags_count(s->diags) && !s->broken)
        print_diags(s->diags);
    if (s->broken)
        return STATUS_DONE;
    status = s->store ? STATUS_DONE : open_store(s, a, what);
    if (status == STATUS_DONE && s->store && (what & SESSION_PLAN))
        machine_estimates(store_dir(s->store), what & SESSION_SPEED);
    if (status == STATUS_DONE && s->store && (what & SESSION_PLAN))
        status = session_plan(s, a, what & SESSION_READ);
    return status;
}

/* Digesting gigabytes takes a while: one line on a terminal. */
static void digest_progress(void *u, double done, double total, const char *unit)
{
    char x[TEXT_MAX], y[TEXT_MAX];
    bool *shown = u;
    if (strcmp(unit, "bytes") != 0 || total < 1e8)
        return;
    fprintf(stderr, "\r\033[Kreading the source files: %s of %s", text_bytes(x, done), text_bytes(y, total));
    *shown = true;
}

int session_plan(struct session *s, const struct args *a, bool read_sources)
{
    struct err e = {0};
    bool shown = false;
    struct progress p = {.u = &shown, .update = term_is_tty(stderr) ? digest_progress : NULL};
    size_t n_force;
    const char **force = args_all(a, "force", &n_force);
    plan_free(s->plan);
    s->plan = NULL;
    int rc = ERR_DAMAGED;
    for (int tries = 0; force && rc == ERR_DAMAGED && tries < 2; tries++) {
        if (tries && open_again(s, a) != STATUS_DONE)
            break;
        rc = plan_make(s->graph, s->store, read_sources, force, n_force, &p, &s->plan, &e);
    }
    if (!force)
        rc = err_set(&e, ERR_NOMEM, "out of memory");
    free(force);
    if (!s->store) /* what is wrong was said */
        return STATUS_FAILED;
    if (shown)
        fputs("\r\033[K", stderr);
    if (rc == 0)
        return STATUS_DONE;
    say_err(&e);
    return rc == ERR_INPUT || rc == ERR_NOTFOUND ? STATUS_USAGE : STATUS_FAILED;
}

void session_close(struct session *s)
{
    plan_free(s->plan);
    memo_free(s->memo);
    watch_release(&s->watch);
    if (s->store)
        store_close(s->store);
    graph_free(s->graph);
    diags_free(s->diags);
    *s = (struct session){0};
}

void session_leave(struct session *s)
{
    if (s->store)
        store_close(s->store);
    s->store = NULL;
}

static int unknown_port(const struct node *n, const char *port)
{
    struct buf b = {0};
    for (const struct port_def *p = n->op->outputs; p && p->name; p++)
        buf_printf(&b, "%s%s", b.n ? ", " : "", p->name);
    say_error("%s (%s) has no output \"%s\"; it has %s", n->id, n->op->name, port, b.p ? b.p : "none");
    buf_release(&b);
    return STATUS_USAGE;
}

static int unknown_node(const struct session *s, const char *text)
{
    const struct graph *g = s->graph;
    const char **names = calloc(g->n + 1, sizeof *names);
    struct buf same = {0};
    enum { LISTED = 12 };
    size_t n = 0, n_same = 0, base = strcspn(text, ".@");
    for (size_t i = 0; names && i < g->n; i++) {
        names[n++] = g->nodes[i].id;
        if (strlen(g->nodes[i].base) == base && memcmp(g->nodes[i].base, text, base) == 0 && n_same++ < LISTED)
            buf_printf(&same, "%s%s", same.n ? ", " : "", g->nodes[i].id);
    }
    if (n_same > LISTED)
        buf_printf(&same, " and %zu more", n_same - LISTED);
    const char *near = names ? nearest_name(text, names, n) : NULL;
    if (same.n)
        say_error("no node \"%s\"; there are %s", text, same.p);
    else if (near)
        say_error("no node \"%s\"; did you mean \"%s\"?", text, near);
    else
        say_error("no node \"%s\" in %s", text, g->file);
    buf_release(&same);
    free(names);
    return STATUS_USAGE;
}

int session_find(const struct session *s, const char *text, size_t *node, int *port)
{
    int i = graph_find(s->graph, text);
    if (i >= 0) {
        *node = (size_t)i;
        *port = 0;
        return STATUS_DONE;
    }
    const char *dot = strrchr(text, '.');
    char *id = dot ? str_dup((struct str){text, (size_t)(dot - text)}) : NULL;
    i = id ? graph_find(s->graph, id) : -1;
    free(id);
    if (i < 0)
        return unknown_node(s, text);
    *node = (size_t)i;
    *port = node_port(&s->graph->nodes[i], dot + 1);
    return *port >= 0 ? STATUS_DONE : unknown_port(&s->graph->nodes[i], dot + 1);
}

const struct artifact *plan_artifact(const struct plan *p, size_t node, int port)
{
    const struct planned *n = &p->nodes[node];
    if (!n->record && n->same_as >= 0)
        n = &p->nodes[n->same_as];
    const struct op *op = p->graph->nodes[node].op;
    if (!n->record || port < 0 || !op->outputs)
        return NULL;
    for (size_t i = 0; i < n->record->n_out; i++)
        if (strcmp(n->record->ports[i], op->outputs[port].name) == 0)
            return &n->record->out[i];
    return NULL;
}

static bool has_record(const struct plan *p, size_t node)
{
    const struct planned *n = &p->nodes[node];
    return n->record || (n->same_as >= 0 && p->nodes[n->same_as].record);
}

int session_artifact(struct session *s, const struct args *a, size_t node, int port, const struct artifact **out)
{
    const struct node *n = &s->graph->nodes[node];
    if (!has_record(s->plan, node)) {
        int status = session_plan(s, a, true);
        if (status != STATUS_DONE)
            return status;
    }
    *out = plan_artifact(s->plan, node, port);
    if (*out)
        return STATUS_DONE;
    if (has_record(s->plan, node))
        say_error("%s gave no output \"%s\" with these parameters", n->id, n->op->outputs[port].name);
    else
        say_error("%s has no stored result for this specification (%s)\n  pkgraph run %s --only %s makes it", n->id,
                  s->plan->nodes[node].reason ? s->plan->nodes[node].reason : "it has not run", a->pos[0], n->id);
    return STATUS_FAILED;
}

char *session_file(const struct session *s, const struct artifact *a, const char *name)
{
    struct err e = {0};
    char *path = NULL;
    const struct artifact_file *f = NULL;
    for (size_t i = 0; i < a->n && !f; i++)
        f = strcmp(a->files[i].name, name) == 0 ? &a->files[i] : NULL;
    if (!f)
        say_error("the artifact has no file %s", name);
    else if (s->folder)
        path = fs_join(s->folder, name);
    else if (store_resolve(s->store, &f->digest, &path, &e) != 0) {
        say_err(&e);
        path = NULL;
    }
    return path;
}

int resolver_find(void *u, const char *digest_hex, const char **path, struct err *e)
{
    struct resolver *r = u;
    struct digest d;
    char *p = NULL;
    if (digest_parse(digest_hex, &d) < 0)
        return err_set(e, ERR_DAMAGED, "\"%s\" is not a digest", digest_hex);
    int rc = store_resolve(r->store, &d, &p, e);
    if (rc)
        return rc;
    char **paths = realloc(r->paths, (r->n + 1) * sizeof *paths);
    if (!paths) {
        free(p);
        return err_nomem(e, (r->n + 1) * sizeof *paths, "paths");
    }
    r->paths = paths;
    r->paths[r->n++] = p;
    *path = p;
    return 0;
}

void resolver_release(struct resolver *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->paths[i]);
    free(r->paths);
    *r = (struct resolver){.store = r->store};
}
