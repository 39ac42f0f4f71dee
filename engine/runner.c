/* SPDX-License-Identifier: MIT */
#include "engine/runner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/budget.h"
#include "engine/op_private.h"
#include "runtime/base/arena.h"
#include "runtime/base/fs.h"
#include "runtime/base/guard.h"
#include "runtime/exec/par.h"
#include "runtime/exec/pool.h"

struct run_file {
    int port;
    const char *name, *path; /* in the arena; path NULL: stored already (op_out_bytes) */
    struct digest digest;
    bool known; /* the digest is, of a file that is to be stored */
    uint64_t bytes;
};

struct op_run {
    struct runner_job *job;
    char *tmp, *checkpoint;
    struct arena arena;
    size_t n_files, cap_files;
    struct run_file *files;
    struct js **facts; /* one an output port; NULL: none */
};

/* ---- what operators see ---- */

const struct op_args *op_run_args(const struct op_run *r)
{
    return &r->job->node->args;
}

int op_threads(const struct op_run *r)
{
    return r->job->threads;
}

uint64_t op_memory(const struct op_run *r)
{
    atomic_store(&r->job->asked, true);
    return r->job->memory;
}

const struct progress *op_progress(const struct op_run *r)
{
    return r->job->progress;
}

/* malloc'ed to the arena's life. */
static const char *keep(struct op_run *r, char *z)
{
    char *p = z ? arena_str(&r->arena, str_of(z)) : NULL;
    free(z);
    return p;
}

static const struct artifact *input_at(const struct op_run *r, const char *port, size_t i)
{
    const struct node *n = r->job->node;
    int want = port_index(n->op->inputs, port);
    for (size_t k = 0; want >= 0 && k < n->n_edges; k++)
        if (n->edges[k].port == want && i-- == 0)
            return r->job->inputs[k];
    return NULL;
}

int op_in_file(struct op_run *r, const char *port, size_t i, const char *name, const char **path, struct err *e)
{
    const struct artifact *a = input_at(r, port, i);
    *path = NULL;
    if (!a)
        return err_set(e, ERR_NOTFOUND, "input %s is not connected", port);
    for (size_t k = 0; k < a->n; k++) {
        if (strcmp(a->files[k].name, name) != 0)
            continue;
        char *p = NULL;
        int rc = store_blob_path(r->job->store, &a->files[k].digest, &p, e);
        if (rc == 0 && !(*path = keep(r, p)))
            rc = err_nomem(e, 0, "a path");
        return rc;
    }
    return err_set(e, ERR_NOTFOUND, "input %s (%s) has no file %s", port, a->type, name);
}

static int output_port(const struct op_run *r, const char *port, struct err *e)
{
    const struct node *n = r->job->node;
    int i = port_index(n->op->outputs, port);
    if (i < 0)
        return err_set(e, ERR_INTERNAL, "operator %s has no output %s", n->op->name, port);
    if ((size_t)i >= n->n_out || !n->out[i])
        return err_set(e, ERR_INTERNAL, "operator %s writes output %s, which its infer did not announce", n->op->name, port);
    return i;
}

static int check_name(const struct op_run *r, const char *name, struct err *e)
{
    if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return err_set(e, ERR_INTERNAL, "operator %s: \"%s\" is not the name of a file", r->job->node->op->name, name);
    return 0;
}

static struct run_file *find_file(struct op_run *r, int port, const char *name)
{
    for (size_t k = 0; k < r->n_files; k++)
        if (r->files[k].port == port && strcmp(r->files[k].name, name) == 0)
            return &r->files[k];
    return NULL;
}

static int add_file(struct op_run *r, int port, const char *name, const char *path, struct err *e)
{
    if (r->n_files == r->cap_files) {
        size_t cap = r->cap_files ? r->cap_files * 2 : 8;
        struct run_file *f = realloc(r->files, cap * sizeof *f);
        if (!f)
            return err_nomem(e, cap * sizeof *f, "output files");
        r->files = f;
        r->cap_files = cap;
    }
    struct run_file f = {.port = port, .name = arena_str(&r->arena, str_of(name)), .path = path};
    if (!f.name)
        return err_nomem(e, 0, "a path");
    r->files[r->n_files++] = f;
    return 0;
}

int op_out_file(struct op_run *r, const char *port, const char *name, const char **path, struct err *e)
{
    int i = output_port(r, port, e);
    if (i < 0)
        return i;
    if (check_name(r, name, e))
        return e->code;
    const struct run_file *f = find_file(r, i, name);
    *path = f ? f->path : NULL;
    if (*path)
        return 0;
    if (f)
        return err_set(e, ERR_INTERNAL, "operator %s writes %s twice", r->job->node->op->name, name);
    int rc = r->tmp ? 0 : store_tmp_dir(r->job->store, &r->tmp, e);
    if (rc == 0 && !(*path = arena_printf(&r->arena, "%s/%d-%s", r->tmp, i, name)))
        rc = err_nomem(e, 0, "a path");
    return rc ? rc : add_file(r, i, name, *path, e);
}

void op_out_digest(struct op_run *r, const char *port, const char *name, const struct digest *d)
{
    struct err ignored;
    int i = output_port(r, port, &ignored);
    struct run_file *f = i < 0 ? NULL : find_file(r, i, name);
    if (f) {
        f->digest = *d;
        f->known = true;
    }
}

int op_out_bytes(struct op_run *r, const char *port, const char *name, const void *p, size_t n, struct err *e)
{
    int i = output_port(r, port, e);
    if (i < 0)
        return i;
    if (check_name(r, name, e))
        return e->code;
    if (find_file(r, i, name))
        return err_set(e, ERR_INTERNAL, "operator %s writes %s twice", r->job->node->op->name, name);
    struct digest d;
    int rc = store_put_bytes(r->job->store, p, n, &d, e);
    if (rc == 0)
        rc = add_file(r, i, name, NULL, e);
    if (rc == 0) {
        r->files[r->n_files - 1].digest = d;
        r->files[r->n_files - 1].bytes = n;
    }
    return rc;
}

int op_out_json(struct op_run *r, const char *port, const char *name, const struct js *j, struct err *e)
{
    struct buf b = {0};
    if (j)
        js_write_pretty(&b, j);
    buf_putc(&b, '\n');
    int rc = !j || b.failed ? err_nomem(e, b.n, name) : op_out_bytes(r, port, name, b.p, b.n, e);
    buf_release(&b);
    return rc;
}

int op_out_fact(struct op_run *r, const char *port, const char *key, struct js *v, struct err *e)
{
    int i = output_port(r, port, e);
    if (i < 0) {
        js_free(v);
        return i;
    }
    if (!r->facts[i])
        r->facts[i] = js_object();
    if (!r->facts[i]) {
        js_free(v);
        return err_nomem(e, 0, "a descriptor");
    }
    return js_set(r->facts[i], key, v) == 0 ? 0 : err_nomem(e, 0, "a descriptor");
}

int op_resolve(struct op_run *r, const char *digest_hex_text, const char **path, struct err *e)
{
    struct digest d;
    char *p = NULL;
    *path = NULL;
    if (!digest_hex_text || strlen(digest_hex_text) != 64 || digest_parse(digest_hex_text, &d) < 0)
        return err_set(e, ERR_INPUT, "\"%.80s\" is not a SHA-256 digest", digest_hex_text ? digest_hex_text : "");
    int rc = store_resolve(r->job->store, &d, &p, e);
    if (rc == 0 && !(*path = keep(r, p)))
        rc = err_nomem(e, 0, "a path");
    return rc;
}

int op_source_file(struct op_run *r, const char *label, const char **path, char *hex, struct err *e)
{
    const struct planned *p = r->job->planned;
    for (size_t i = 0; i < p->n_sources; i++)
        if (strcmp(p->sources[i].label, label) == 0) {
            *path = p->sources[i].path;
            if (hex)
                digest_hex(&p->sources[i].digest, hex);
            return 0;
        }
    return err_set(e, ERR_NOTFOUND, "operator %s named no source %s", r->job->node->op->name, label);
}

int op_checkpoint_dir(struct op_run *r, const char **path, struct err *e)
{
    int rc = r->checkpoint ? 0 : store_checkpoint_dir(r->job->store, &r->job->planned->key, &r->checkpoint, e);
    *path = r->checkpoint;
    return rc;
}

/* ---- the run ---- */

/* A source that is not what it was when its digest entered the key makes the result belong to no key. */
static int check_sources(const struct runner_job *job, struct err *e)
{
    const struct planned *p = job->planned;
    struct progress quiet = {.u = job->progress->u, .cancelled = job->progress->cancelled};
    for (size_t i = 0; i < p->n_sources; i++) {
        struct digest now;
        int rc = store_file_digest(job->store, p->sources[i].path, false, &quiet, &now, e);
        if (rc == ERR_CANCELLED)
            return rc;
        if (rc != 0)
            return err_prefix(e, "source %s, read by this node, cannot be checked after the run, which is not stored", p->sources[i].label);
        if (digest_cmp(&now, &p->sources[i].digest) != 0)
            return err_set(e, ERR_INPUT, "%s changed while the node ran; its result is not stored; run again", p->sources[i].path);
    }
    return 0;
}

struct putting {
    struct op_run *r;
    const struct run_file **files; /* one a file of a */
    struct artifact *a;
    struct putting_err { int rc; char *why; } *errs;
};

static void put_one(void *u, size_t i)
{
    struct putting *p = u;
    struct artifact_file *f = &p->a->files[i];
    struct err e;
    if (!p->files[i]->path) /* stored already */
        return;
    p->errs[i].rc = p->files[i]->known ? store_put_digested(p->r->job->store, p->files[i]->path, &f->digest, &f->bytes, &e)
                                       : store_put_file(p->r->job->store, p->files[i]->path, p->r->job->progress, &f->digest, &f->bytes, &e);
    if (p->errs[i].rc != 0)
        p->errs[i].why = strdup(e.msg);
}

/* Digests and moves in all files of an artifact at once; the first failure by order of the files is told. */
static int put_all(struct op_run *r, const struct run_file **files, struct artifact *a, struct err *e)
{
    struct putting p = {r, files, a, calloc(a->n + 1, sizeof *p.errs)};
    int rc = 0;
    if (!p.errs)
        return err_nomem(e, a->n * sizeof *p.errs, "an artifact");
    par_for(a->n, put_one, &p);
    for (size_t i = 0; i < a->n; i++) {
        if (rc == 0 && p.errs[i].rc != 0)
            rc = err_set(e, p.errs[i].rc, "%s", p.errs[i].why ? p.errs[i].why : "out of memory");
        free(p.errs[i].why);
    }
    free(p.errs);
    return rc;
}

static int list_files(struct op_run *r, int port, struct artifact *a, const struct run_file **files, struct err *e)
{
    const char *op = r->job->node->op->name, *out = r->job->node->op->outputs[port].name;
    for (size_t k = 0; k < r->n_files; k++) {
        if (r->files[k].port != port)
            continue;
        struct artifact_file *f = &a->files[a->n];
        files[a->n++] = &r->files[k];
        f->name = strdup(r->files[k].name);
        if (!f->name)
            return err_nomem(e, 0, "an artifact");
        f->digest = r->files[k].digest;
        f->bytes = r->files[k].bytes;
        if (r->files[k].path && !fs_exists(r->files[k].path))
            return err_set(e, ERR_INTERNAL, "operator %s did not write %s of its output %s", op, f->name, out);
    }
    return a->n ? 0 : err_set(e, ERR_INTERNAL, "operator %s wrote nothing to its output %s", op, out);
}

static int store_files(struct op_run *r, int port, struct artifact *a, struct err *e)
{
    const struct run_file **files = calloc(r->n_files + 1, sizeof *files);
    a->files = calloc(r->n_files + 1, sizeof *a->files);
    int rc = a->files && files ? list_files(r, port, a, files, e) : err_nomem(e, r->n_files * sizeof *a->files, "an artifact");
    if (rc == 0)
        rc = put_all(r, files, a, e);
    free(files);
    return rc;
}

static int describe(struct op_run *r, int port, struct artifact *a, struct err *e)
{
    const struct js *facts = r->facts[port];
    const char *type = js_cstr(js_get(r->job->node->out[port], "type"));
    a->desc = js_copy(r->job->node->out[port]);
    a->type = strdup(type ? type : r->job->node->op->outputs[port].type);
    int bad = !a->desc || !a->type;
    for (void *it = js_iter(facts); !bad && it; it = js_next(facts, it))
        bad = js_set(a->desc, js_iter_key(it), js_ref(js_iter_value(it))) != 0;
    return bad ? err_nomem(e, 0, "a descriptor") : 0;
}

static int collect(struct op_run *r, struct record *rec, struct err *e)
{
    const struct node *n = r->job->node;
    rec->ports = calloc(n->n_out + 1, sizeof *rec->ports);
    rec->out = calloc(n->n_out + 1, sizeof *rec->out);
    if (!rec->ports || !rec->out)
        return err_nomem(e, n->n_out, "a record");
    for (size_t i = 0; i < n->n_out; i++) {
        if (!n->out[i])
            continue;
        struct artifact *a = &rec->out[rec->n_out];
        rec->ports[rec->n_out++] = strdup(n->op->outputs[i].name);
        int rc = rec->ports[rec->n_out - 1] ? describe(r, (int)i, a, e) : err_nomem(e, 0, "a record");
        if (rc == 0)
            rc = store_files(r, (int)i, a, e);
        if (rc != 0)
            return rc;
        artifact_seal(a);
    }
    return 0;
}

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct start {
    double wall, thread, process;
};

static void measure(struct runner_job *job, const struct start *begin)
{
    uint64_t peak = atomic_load(&job->rss_peak), rss = budget_rss();
    if (rss > peak)
        peak = rss;
    double process = pool_process_seconds() - begin->process, thread = pool_thread_seconds() - begin->thread;
    double team = thread * atomic_load(&job->most_team);
    job->wall = now_seconds() - begin->wall;
    job->cpu = !atomic_load(&job->shared) || team > process ? process : team;
    uint64_t at_first = atomic_load(&job->rss_begin);
    job->peak_memory = peak > at_first ? peak - at_first : 0;
}

static uint64_t artifact_bytes(const struct artifact *a)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < a->n; i++)
        sum += a->files[i].bytes;
    return sum;
}

static void add_bytes(struct runner_job *job, const struct record *rec)
{
    const struct planned *p = job->planned;
    for (size_t i = 0; i < job->node->n_edges; i++)
        job->bytes_read += artifact_bytes(job->inputs[i]);
    for (size_t i = 0; i < p->n_sources; i++) {
        struct stat st;
        job->bytes_read += stat(p->sources[i].path, &st) == 0 ? (uint64_t)st.st_size : 0;
    }
    for (size_t i = 0; i < rec->n_out; i++)
        job->bytes_written += artifact_bytes(&rec->out[i]);
}

static int save(struct op_run *r, struct runner_job *job, const struct start *begin, struct err *e)
{
    struct record *rec = calloc(1, sizeof *rec);
    int rc = rec ? collect(r, rec, e) : err_nomem(e, sizeof *rec, "a record");
    if (rc == 0) {
        measure(job, begin);
        rec->key = job->planned->key;
        rec->expanded = js_ref(job->planned->expanded);
        rec->wall = job->wall;
        rec->cpu = job->cpu;
        rec->peak_memory = job->peak_memory;
        rec->made_at = time(NULL);
        add_bytes(job, rec);
        job->record = rec;
        rec = NULL;
    }
    record_free(rec);
    return rc;
}

static void release(struct op_run *r)
{
    store_tmp_done(r->job->store, r->tmp);
    for (size_t i = 0; r->facts && i < r->job->node->n_out; i++)
        js_free(r->facts[i]);
    free(r->facts);
    free(r->files);
    free(r->checkpoint);
    arena_release(&r->arena);
}

/* A node that fails may have read what a disk has damaged since it was stored: seen by the cheap check only when size or
 * time changed. Such a blob goes, and the next run makes it again. */
static void suspect_inputs(const struct runner_job *job, struct err *e)
{
    const struct node *n = job->node;
    for (size_t k = 0; k < n->n_edges; k++)
        for (size_t i = 0; i < job->inputs[k]->n; i++)
            if (!store_verify_blob(job->store, &job->inputs[k]->files[i].digest))
                err_prefix(e, "its input %s was damaged in the store (%s) and has been removed: run again; until then",
                           n->op->inputs[n->edges[k].port].name, job->inputs[k]->files[i].name);
}

/* What was made while memory was refused: neither the result is kept nor a checkpoint to go on from. */
static int discard(struct runner_job *job, int rc, struct err *e)
{
    struct err ignored;
    store_drop_checkpoint(job->store, &job->planned->key, &ignored);
    record_free(job->record);
    job->record = NULL;
    return rc ? rc : err_set(e, ERR_NOMEM, "memory was refused to this process; the result may lack something and is not stored; run again");
}

int runner_run(struct runner_job *job, struct err *e)
{
    struct op_run r = {.job = job};
    par_set_threads(job->threads);
    par_follow_threads(&job->team);
    struct start begin = {now_seconds(), pool_thread_seconds(), pool_process_seconds()};
    atomic_store(&job->rss_begin, budget_rss());
    r.facts = calloc(job->node->n_out + 1, sizeof *r.facts);
    int rc = r.facts ? 0 : err_nomem(e, 0, "a run");
    if (rc == 0) {
        e->code = 0;
        e->msg[0] = 0;
        guard_begin();
        rc = job->node->op->run(&r, e);
        if (guard_end(e)) { /* what it read was not there: neither its result nor its error means anything */
            rc = e->code;
            suspect_inputs(job, e);
        }
        if (rc < 0 && !e->msg[0])
            err_set(e, rc, "operator %s failed without saying why", job->node->op->name);
        else if (rc > 0)
            rc = err_set(e, ERR_INTERNAL, "operator %s returned %d", job->node->op->name, rc);
        if (rc == ERR_INPUT || rc == ERR_DAMAGED || rc == ERR_UNSUPPORTED || rc == ERR_INTERNAL || rc == ERR_NOTFOUND)
            suspect_inputs(job, e);
    }
    if (rc == 0)
        rc = check_sources(job, e);
    if (rc == 0)
        rc = save(&r, job, &begin, e);
    else
        measure(job, &begin);
    if (js_refusals() > 0) /* a file or descriptor, made now or while planning, may lack a field */
        rc = discard(job, rc, e);
    release(&r);
    par_follow_threads(NULL);
    par_set_threads(0);
    return rc;
}
