/* SPDX-License-Identifier: MIT
 *
 * The file: "PKGMEMO1", SHA-256 of what follows, then (pack.h): epoch; digest of the keys; the watch; the blobs, 48 bytes
 * each; names of operators; nodes (id, operator's number); counts and texts.
 */
#include "engine/memo.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/plan_private.h"
#include "runtime/base/fs.h"
#include "runtime/base/pack.h"

static const char magic[] = "PKGMEMO1";
enum { MAGIC = 8, HEAD = MAGIC + (int)sizeof(struct digest), BLOB_BYTES = 48, MEMO_MAX = 1 << 30 };

/* ---- name ---- */

static void pack_list(struct buf *b, const char *const *v, size_t n)
{
    pack_int(b, n, 4);
    for (size_t i = 0; i < n; i++)
        pack_cstr(b, v[i]);
}

/* What each choice of a parameter stands for on this machine. */
static void pack_resolved(struct buf *b, const struct op *op)
{
    for (const struct param_def *d = op->params; d && d->name; d++) {
        char word[64];
        for (const char *c = d->resolve ? d->choices : NULL; c && *c;) {
            size_t n = strcspn(c, "|");
            if (n < sizeof word) {
                memcpy(word, c, n);
                word[n] = 0;
                pack_cstr(b, d->resolve(word));
            }
            c += n + (c[n] == '|');
        }
    }
}

static int memo_name(const char *spec, const struct graph_options *o, struct digest *out)
{
    struct buf b = {0};
    struct stat st;
    char *cwd = getcwd(NULL, 0);
    int rc = cwd && stat("/proc/self/exe", &st) == 0 ? 0 : ERR_NOTFOUND;
    if (rc == 0) {
        pack_cstr(&b, "pkgraph memo " PKG_VERSION);
        pack_int(&b, (uint64_t)st.st_dev, 8);
        pack_int(&b, (uint64_t)st.st_ino, 8);
        pack_int(&b, (uint64_t)st.st_size, 8);
        pack_int(&b, (uint64_t)st.st_mtim.tv_sec, 8);
        pack_int(&b, (uint64_t)st.st_mtim.tv_nsec, 8);
        pack_cstr(&b, cwd);
        pack_cstr(&b, spec);
        pack_list(&b, o->sets, o->n_sets);
        pack_list(&b, o->variants, o->n_variants);
        pack_list(&b, o->only, o->n_only);
        for (const struct op *const *op = o->ops; *op; op++)
            pack_resolved(&b, *op);
        sha_bytes(b.p, b.n, out);
        rc = b.failed ? ERR_NOTFOUND : 0;
    }
    buf_release(&b);
    free(cwd);
    return rc;
}

/* ---- finding ---- */

static bool take_watch(struct unpack *r, struct watch *w)
{
    size_t n = unpack_count(r, 5);
    w->v = calloc(n + 1, sizeof *w->v);
    for (; w->v && !r->bad && w->n < n; w->n++) {
        struct watched *x = &w->v[w->n];
        x->kind = (enum watch_kind)unpack_int(r, 1);
        x->name = unpack_dup(r);
        if (x->kind == WATCH_ENV)
            x->value = unpack_dup(r);
        if (x->kind == WATCH_FILE) {
            x->dev = (int64_t)unpack_int(r, 8);
            x->ino = (int64_t)unpack_int(r, 8);
            x->mode = (int64_t)unpack_int(r, 8);
            x->size = (int64_t)unpack_int(r, 8);
            x->mtime = (int64_t)unpack_int(r, 8);
            x->ctime = (int64_t)unpack_int(r, 8);
        }
    }
    return w->v && !r->bad;
}

static bool watch_stands(struct unpack *r)
{
    struct watch w = {0};
    bool good = take_watch(r, &w) && watch_holds(&w);
    watch_release(&w);
    return good;
}

static bool blobs_stand(struct unpack *r, struct store *s)
{
    size_t n = unpack_count(r, BLOB_BYTES);
    if (!s)
        return unpack_bytes(r, n * BLOB_BYTES) != NULL;
    struct blob_state *v = malloc((n + 1) * sizeof *v);
    for (size_t i = 0; v && i < n; i++) {
        unpack_digest(r, &v[i].digest);
        v[i].size = (int64_t)unpack_int(r, 8);
        v[i].mtime = (int64_t)unpack_int(r, 8);
    }
    bool good = v && !r->bad && store_blobs_hold(s, v, n);
    free(v);
    return good;
}

static bool take_nodes(struct unpack *r, struct memo *m)
{
    size_t n_ops = unpack_count(r, 5);
    const char **ops = calloc(n_ops + 1, sizeof *ops);
    for (size_t i = 0; ops && i < n_ops; i++)
        ops[i] = unpack_cstr(r);
    m->n = unpack_count(r, 7);
    m->nodes = calloc(m->n + 1, sizeof *m->nodes);
    for (size_t i = 0; ops && m->nodes && !r->bad && i < m->n; i++) {
        size_t op = (size_t)unpack_int(r, 2);
        m->nodes[i] = (struct memo_node){unpack_cstr(r), op < n_ops ? ops[op] : ""};
        r->bad = r->bad || op >= n_ops;
    }
    bool good = ops && m->nodes && !r->bad;
    free(ops);
    return good;
}

static bool understand(struct memo *m, struct store *s)
{
    struct digest is;
    struct epoch now;
    struct err ignored;
    if (m->bytes.n < HEAD || memcmp(m->bytes.p, magic, MAGIC) != 0)
        return false;
    sha_bytes(m->bytes.p + HEAD, m->bytes.n - HEAD, &is);
    if (memcmp(is.b, m->bytes.p + MAGIC, sizeof is.b) != 0)
        return false;
    struct unpack r = {(const unsigned char *)m->bytes.p + HEAD, m->bytes.n - HEAD, false};
    const unsigned char *epoch = unpack_bytes(&r, sizeof now.b);
    if (s && (!epoch || store_epoch(s, &now, &ignored) != 0 || memcmp(epoch, now.b, sizeof now.b) != 0))
        return false;
    unpack_digest(&r, &m->keys);
    if (!watch_stands(&r) || !blobs_stand(&r, s) || !take_nodes(&r, m))
        return false;
    m->n_all = (size_t)unpack_int(&r, 8);
    m->n_edges = (size_t)unpack_int(&r, 8);
    m->file = unpack_cstr(&r);
    m->result = unpack_cstr(&r);
    m->text = unpack_cstr(&r);
    return !r.bad && r.n == 0;
}

int memo_find(const char *spec, const struct graph_options *o, const char *dir, struct store *s, struct memo **out)
{
    struct digest name;
    struct err ignored;
    char *path = NULL;
    *out = NULL;
    struct memo *m = calloc(1, sizeof *m);
    int rc = m ? memo_name(spec, o, &name) : ERR_NOTFOUND;
    if (rc == 0)
        rc = store_memo_path(dir, &name, false, &path, &ignored);
    if (rc == 0)
        rc = fs_read(path, MEMO_MAX, &m->bytes, &ignored);
    bool good = rc == 0 && understand(m, s);
    free(path);
    if (good)
        *out = m;
    else
        memo_free(m);
    return good ? 0 : ERR_NOTFOUND;
}

void memo_free(struct memo *m)
{
    if (!m)
        return;
    free(m->nodes);
    buf_release(&m->bytes);
    free(m);
}

/* ---- saving ---- */

/* The record of node i, or of the node that computed it for it. */
static const struct record *record_of(const struct plan *p, size_t i)
{
    const struct planned *n = &p->nodes[i];
    if (!n->record && n->same_as >= 0)
        n = &p->nodes[n->same_as];
    return n->keyed && (n->state == NODE_UPTODATE || n->state == NODE_DONE) ? n->record : NULL;
}

/* Sources are what was digested: as the stat cache has them now, under the digest that is in the key. */
static int watch_sources(const struct plan *p, struct watch *w)
{
    struct watch sources;
    struct err ignored;
    bool good = true;
    watch_begin(&sources);
    for (size_t i = 0; i < p->graph->n; i++)
        for (size_t k = 0; k < p->nodes[i].n_sources; k++) {
            const struct plan_source *s = &p->nodes[i].sources[k];
            struct digest is;
            watch_file(s->path);
            good = good && s->known && store_file_digest(p->store, s->path, true, NULL, &is, &ignored) == 0 && digest_cmp(&is, &s->digest) == 0;
        }
    watch_end();
    struct watched *v = realloc(w->v, (w->n + sources.n + 1) * sizeof *v);
    if (!v || !good || sources.unsure) {
        w->v = v ? v : w->v;
        watch_release(&sources);
        return ERR_NOTFOUND;
    }
    w->v = v;
    if (sources.n)
        memcpy(w->v + w->n, sources.v, sources.n * sizeof *v);
    w->n = w->cap = w->n + sources.n;
    free(sources.v);
    return 0;
}

static int watched_cmp(const void *pa, const void *pb)
{
    const struct watched *a = pa, *b = pb;
    int c = strcmp(a->name, b->name);
    return c ? c : (a->kind > b->kind) - (a->kind < b->kind);
}

/* Each name once; one that was seen in two states is no basis for anything. */
static bool pack_watch(struct buf *b, struct watch *w)
{
    size_t n = 0, at = b->n;
    if (w->n > 1)
        qsort(w->v, w->n, sizeof *w->v, watched_cmp);
    pack_int(b, 0, 4);
    for (size_t i = 0; i < w->n; i++) {
        const struct watched *x = &w->v[i], *last = i ? x - 1 : NULL;
        bool env = x->kind == WATCH_ENV || x->kind == WATCH_NO_ENV;
        if (last && strcmp(last->name, x->name) == 0 && env == (last->kind == WATCH_ENV || last->kind == WATCH_NO_ENV)) {
            if (last->kind != x->kind || last->ino != x->ino || last->dev != x->dev || last->size != x->size || last->mtime != x->mtime ||
                last->ctime != x->ctime || last->mode != x->mode)
                return false;
            continue;
        }
        n++;
        pack_int(b, (uint64_t)x->kind, 1);
        pack_str(b, str_of(x->name));
        if (x->kind == WATCH_ENV)
            pack_str(b, str_of(x->value));
        if (x->kind == WATCH_FILE)
            for (const int64_t *v = &x->dev; v <= &x->ctime; v++)
                pack_int(b, (uint64_t)*v, 8);
    }
    for (int k = 0; k < 4 && !b->failed; k++)
        b->p[at + (size_t)k] = (char)(n >> (8 * k));
    return !w->unsure && !b->failed;
}

static int digests_cmp(const void *a, const void *b)
{
    return digest_cmp(a, b);
}

static int pack_blobs(struct buf *b, const struct plan *p, struct err *e)
{
    size_t most = 0, n = 0, unique = 0;
    for (size_t i = 0; i < p->graph->n; i++)
        for (size_t k = 0; k < record_of(p, i)->n_out; k++)
            most += record_of(p, i)->out[k].n;
    struct digest *v = malloc((most + 1) * sizeof *v);
    if (!v)
        return err_nomem(e, most * sizeof *v, "a memo");
    for (size_t i = 0; i < p->graph->n; i++)
        for (size_t k = 0; k < record_of(p, i)->n_out; k++)
            for (size_t f = 0; f < record_of(p, i)->out[k].n; f++)
                v[n++] = record_of(p, i)->out[k].files[f].digest;
    if (n > 1)
        qsort(v, n, sizeof *v, digests_cmp);
    for (size_t i = 0; i < n; i++)
        if (!i || digest_cmp(&v[i], &v[i - 1]) != 0)
            v[unique++] = v[i];
    pack_int(b, unique, 4);
    int rc = store_begin(p->store, false, e);
    for (size_t i = 0; rc == 0 && i < unique; i++) {
        struct blob_state st;
        rc = store_blob_state(p->store, &v[i], &st, e);
        if (rc != 0)
            break;
        buf_put(b, st.digest.b, sizeof st.digest.b);
        pack_int(b, (uint64_t)st.size, 8);
        pack_int(b, (uint64_t)st.mtime, 8);
    }
    struct err ignored;
    store_finish(p->store, &ignored);
    free(v);
    return rc;
}

static void pack_nodes(struct buf *b, const struct graph *g, const struct op *const *ops)
{
    size_t n_ops = 0;
    while (ops[n_ops])
        n_ops++;
    pack_int(b, n_ops, 4);
    for (size_t i = 0; i < n_ops; i++)
        pack_cstr(b, ops[i]->name);
    pack_int(b, g->n, 4);
    for (size_t i = 0; i < g->n; i++) {
        size_t k = 0;
        while (ops[k] && ops[k] != g->nodes[i].op)
            k++;
        pack_int(b, k, 2);
        pack_cstr(b, g->nodes[i].id);
    }
}

static int pack_body(struct buf *b, const struct plan *p, const struct graph_options *o, struct watch *w, const char *text, struct err *e)
{
    const struct graph *g = p->graph;
    struct digest keys;
    struct epoch epoch;
    size_t edges = 0;
    int rc = store_epoch(p->store, &epoch, e); /* before the blobs are looked up: what is lost meanwhile shows */
    if (rc != 0 || !plan_digest(p, &keys))
        return rc ? rc : ERR_NOTFOUND;
    for (size_t i = 0; i < g->n; i++)
        edges += g->nodes[i].n_edges;
    buf_put(b, epoch.b, sizeof epoch.b);
    buf_put(b, keys.b, sizeof keys.b);
    if (!pack_watch(b, w))
        return ERR_NOTFOUND;
    rc = pack_blobs(b, p, e);
    if (rc != 0)
        return rc;
    pack_nodes(b, g, o->ops);
    pack_int(b, g->n_all > g->n ? g->n_all : g->n, 8);
    pack_int(b, edges, 8);
    pack_cstr(b, g->file ? g->file : "");
    int result = graph_result(g);
    pack_cstr(b, result >= 0 ? g->nodes[result].id : "");
    pack_cstr(b, text);
    return b->failed ? err_nomem(e, b->n, "a memo") : 0;
}

static int write_memo(const struct plan *p, const struct digest *name, struct buf *b, struct err *e)
{
    struct digest is;
    char *path = NULL;
    sha_bytes(b->p + HEAD, b->n - HEAD, &is);
    memcpy(b->p + MAGIC, is.b, sizeof is.b);
    int rc = store_memo_path(store_dir(p->store), name, true, &path, e);
    if (rc == 0)
        rc = fs_write_atomic(path, b->p, b->n, e);
    free(path);
    return rc;
}

int memo_save(const struct plan *p, const char *spec, const struct graph_options *o, struct watch *w, const char *text, struct err *e)
{
    static const struct digest blank;
    struct digest name;
    struct buf b = {0};
    err_set(e, ERR_NOTFOUND, "not everything is up to date and at rest");
    for (size_t i = 0; i < p->graph->n; i++)
        if (!record_of(p, i))
            return ERR_NOTFOUND;
    int rc = w->unsure ? ERR_NOTFOUND : memo_name(spec, o, &name);
    if (rc == 0)
        rc = watch_sources(p, w);
    buf_put(&b, magic, MAGIC);
    buf_put(&b, blank.b, sizeof blank.b);
    if (rc == 0)
        rc = pack_body(&b, p, o, w, text, e);
    if (rc == 0)
        rc = write_memo(p, &name, &b, e);
    buf_release(&b);
    return rc;
}
