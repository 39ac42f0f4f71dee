/* SPDX-License-Identifier: MIT
 *
 * The user's files that nodes read: named by the operators, looked up in the stat cache in one transaction, and those
 * that it does not know digested, each once however many nodes read it: those that have several pieces one after the other with all
 * processors, then the others side by side.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/op_private.h"
#include "engine/plan_private.h"
#include "runtime/exec/par.h"
#include "runtime/exec/sha_pieces.h"

/* One (node, source) pair; sorted by path, so that equal paths lie together. */
struct want {
    struct planned *node;
    struct plan_source *source;
    const char *path;
};

struct reading {
    struct store *store;
    const struct progress *progress;
    size_t n;
    struct read_job {
        struct reading *all;
        const char *path;
        struct digest digest;
        uint64_t bytes, told; /* of it */
        int rc;
        char *why;
    } *jobs;
    pthread_mutex_t mutex; /* guards what follows, and calls of the progress */
    uint64_t done, total;
};

static int ask(struct plan *p, size_t i, struct err *e)
{
    const struct node *g = &p->graph->nodes[i];
    struct planned *n = &p->nodes[i];
    struct op_sources s = {0};
    struct err why = {0};
    if (g->bad || !g->op->sources)
        return 0;
    int rc = g->op->sources(&g->args, &s, &why);
    if (rc != 0 && rc != ERR_NOMEM) {
        n->state = NODE_BLOCKED;
        rc = plan_set_reason(n, e, "%s", why.msg);
    } else if (rc == 0 && s.n) {
        n->sources = calloc(s.n, sizeof *n->sources);
        rc = n->sources ? 0 : err_nomem(e, s.n, "sources");
        for (size_t k = 0; rc == 0 && k < s.n; k++) {
            n->sources[k] = (struct plan_source){.label = s.v[k].label, .path = s.v[k].path};
            s.v[k].label = s.v[k].path = NULL;
            n->n_sources++;
        }
    } else if (rc == ERR_NOMEM)
        *e = why;
    op_sources_release(&s);
    return rc;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct want *)a)->path, ((const struct want *)b)->path);
}

static int block(struct planned *n, const char *label, const char *why, struct err *e)
{
    n->state = NODE_BLOCKED;
    return plan_set_reason(n, e, "source %s: %s", label, why);
}

/* Those in the stat cache; `wants` gets the others. */
static int look_up(struct plan *p, struct want *wants, size_t *n_wants, struct err *e)
{
    int rc = store_begin(p->store, false, e);
    for (size_t i = 0; rc == 0 && i < p->graph->n; i++) {
        struct planned *n = &p->nodes[i];
        for (size_t k = 0; rc == 0 && k < n->n_sources; k++) {
            struct plan_source *s = &n->sources[k];
            struct err why;
            int got = store_file_digest(p->store, s->path, true, NULL, &s->digest, &why);
            s->known = got == 0;
            if (got == ERR_NOTFOUND)
                wants[(*n_wants)++] = (struct want){n, s, s->path};
            else if (got == ERR_NOMEM || got == ERR_DAMAGED) {
                rc = got;
                *e = why;
            } else if (got != 0)
                rc = block(n, s->label, why.msg, e);
        }
    }
    struct err second;
    int fin = store_finish(p->store, &second);
    if (rc == 0 && fin != 0) {
        rc = fin;
        *e = second;
    }
    return rc;
}

/* Several files are read at once: what is done of each adds up. */
static void add_done(void *u, double done, double total, const char *unit)
{
    struct read_job *j = u;
    struct reading *r = j->all;
    (void)total;
    pthread_mutex_lock(&r->mutex);
    r->done += (uint64_t)done - j->told; /* a file that changes is read again: then this goes back */
    j->told = (uint64_t)done;
    progress_update(r->progress, (double)r->done, (double)r->total, unit);
    pthread_mutex_unlock(&r->mutex);
}

static bool read_cancelled(void *u)
{
    const struct read_job *j = u;
    return progress_cancelled(j->all->progress);
}

static void read_one(void *u, size_t i)
{
    struct reading *r = u;
    struct read_job *j = &r->jobs[i];
    struct progress p = {.u = j, .update = add_done, .cancelled = read_cancelled};
    struct err why;
    if (read_cancelled(j)) {
        j->rc = ERR_CANCELLED;
        return;
    }
    j->rc = store_file_digest(r->store, j->path, false, &p, &j->digest, &why);
    if (j->rc != 0)
        j->why = strdup(why.msg);
    add_done(j, (double)j->bytes, 0, "bytes");
}

static void read_small(void *u, size_t i)
{
    const struct reading *r = u;
    if (r->jobs[i].bytes <= SHA_PIECE)
        read_one(u, i);
}

static int hand_out(struct reading *r, struct want *wants, size_t n, struct err *e)
{
    size_t j = 0;
    for (size_t i = 0; i < n; i++) {
        while (strcmp(r->jobs[j].path, wants[i].path) != 0)
            j++;
        const struct read_job *job = &r->jobs[j];
        int rc = 0;
        if (job->rc == ERR_CANCELLED)
            return err_set(e, ERR_CANCELLED, "cancelled");
        if (job->rc == ERR_NOMEM || job->rc == ERR_NOSPACE)
            return err_set(e, job->rc, "%s", job->why ? job->why : "out of memory");
        wants[i].source->digest = job->digest;
        wants[i].source->known = job->rc == 0;
        if (job->rc != 0)
            rc = block(wants[i].node, wants[i].source->label, job->why ? job->why : "cannot be read", e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int read_all(struct plan *p, struct want *wants, size_t n, const struct progress *progress, struct err *e)
{
    struct reading r = {.store = p->store, .progress = progress};
    r.jobs = calloc(n, sizeof *r.jobs);
    if (!r.jobs)
        return err_nomem(e, n * sizeof *r.jobs, "sources");
    qsort(wants, n, sizeof *wants, by_path);
    for (size_t i = 0; i < n; i++) {
        struct stat st;
        if (i && strcmp(wants[i].path, wants[i - 1].path) == 0)
            continue;
        r.jobs[r.n] = (struct read_job){.all = &r, .path = wants[i].path, .bytes = stat(wants[i].path, &st) == 0 ? (uint64_t)st.st_size : 0};
        r.total += r.jobs[r.n++].bytes;
    }
    pthread_mutex_init(&r.mutex, NULL);
    for (size_t i = 0; i < r.n; i++)
        if (r.jobs[i].bytes > SHA_PIECE)
            read_one(&r, i);
    par_for(r.n, read_small, &r);
    pthread_mutex_destroy(&r.mutex);
    int rc = hand_out(&r, wants, n, e);
    for (size_t i = 0; i < r.n; i++)
        free(r.jobs[i].why);
    free(r.jobs);
    return rc;
}

int plan_sources(struct plan *p, bool read, const struct progress *progress, struct err *e)
{
    size_t n = 0, n_wants = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < p->graph->n; i++) {
        rc = ask(p, i, e);
        n += p->nodes[i].n_sources;
    }
    if (rc != 0 || n == 0)
        return rc;
    struct want *wants = malloc(n * sizeof *wants);
    if (!wants)
        return err_nomem(e, n * sizeof *wants, "sources");
    rc = look_up(p, wants, &n_wants, e);
    if (rc == 0 && read && n_wants)
        rc = read_all(p, wants, n_wants, progress, e);
    free(wants);
    return rc;
}
