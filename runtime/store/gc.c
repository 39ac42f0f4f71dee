/* SPDX-License-Identifier: MIT
 *
 * Why it is safe beside living processes. Let T be the second in which the oldest process began that has the store open
 * (this one included).
 * - Records: a process marks each record it means to use (table uses, now >= T) in a write transaction that fails to
 *   find the row when gc has deleted it; gc deletes in one write transaction those not used since T. So either the mark comes
 *   first and the record stays, or the deletion does and the process sees a miss.
 * - Blobs: gc unlinks, under an exclusive lock on locks/gc, blobs that no record names and whose mtime is before T.
 *   Storing a content that is there already sets the blob's mtime under a shared lock, so that it counts as new until
 *   its record is written.
 */
#include "runtime/store/gc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/store/inventory.h"

enum { CHECKPOINT_AGE = 30 * 86400, PARTIAL_AGE = 7 * 86400 };

/* ---- du, ls ---- */

static uint64_t tree_bytes(const char *path)
{
    struct stat st;
    char **names = NULL;
    size_t n = 0;
    struct err ignored;
    uint64_t sum = 0;
    if (lstat(path, &st) < 0)
        return 0;
    if (!S_ISDIR(st.st_mode))
        return (uint64_t)st.st_size;
    if (fs_list(path, &names, &n, &ignored) != 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        char *p = fs_join(path, names[i]);
        sum += p ? tree_bytes(p) : 0;
        free(p);
    }
    fs_list_free(names, n);
    return sum;
}

int store_du(struct store *s, struct store_usage *out, struct err *e)
{
    struct inventory v;
    char **names = NULL, *checkpoints = fs_join(s->dir, "checkpoints"), *index = fs_join(s->dir, "index.sqlite");
    size_t n = 0;
    *out = (struct store_usage){0};
    int rc = checkpoints && index ? inventory_load(s, &v, e) : err_nomem(e, 0, "a path");
    if (rc == 0) {
        out->records = v.n_records;
        for (size_t i = 0; i < v.n_blobs; i++) {
            out->blobs += v.blobs[i].present;
            out->blob_bytes += v.blobs[i].bytes;
            out->unnamed_bytes += v.blobs[i].uses ? 0 : v.blobs[i].bytes;
        }
        inventory_release(&v);
        rc = fs_list(checkpoints, &names, &n, e);
    }
    if (rc == 0) {
        out->checkpoints = n;
        out->checkpoint_bytes = tree_bytes(checkpoints);
        out->index_bytes = tree_bytes(index);
    }
    fs_list_free(names, n);
    free(checkpoints);
    free(index);
    return rc;
}

static char *op_of(struct store *s, const struct digest *key)
{
    struct js *x = NULL;
    struct err ignored;
    const char *op = store_expanded(s, key, &x, &ignored) == 0 ? js_cstr(js_get(x, "op")) : NULL;
    char *z = strdup(op ? op : "?");
    js_free(x);
    return z;
}

static int row_of(struct store *s, const struct held_record *h, struct record_row *r, struct err *e)
{
    *r = (struct record_row){.key = h->key, .op = op_of(s, &h->key), .types = strdup(h->types), .bytes = h->bytes, .made = h->made,
                             .used = h->used, .wall = h->wall, .pinned = h->pinned};
    return r->op && r->types ? 0 : err_nomem(e, 0, "a list");
}

int store_ls(struct store *s, struct record_row **rows, size_t *n, struct err *e)
{
    struct inventory v;
    *rows = NULL;
    *n = 0;
    int rc = inventory_load(s, &v, e);
    if (rc != 0)
        return rc;
    *rows = calloc(v.n_records + 1, sizeof **rows);
    if (!*rows)
        rc = err_nomem(e, v.n_records * sizeof **rows, "a list");
    for (size_t i = v.n_records; rc == 0 && i-- > 0;)
        rc = row_of(s, &v.records[i], &(*rows)[(*n)++], e);
    inventory_release(&v);
    if (rc != 0) {
        store_ls_free(*rows, *n);
        *rows = NULL;
        *n = 0;
    }
    return rc;
}

void store_ls_free(struct record_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(rows[i].op);
        free(rows[i].types);
    }
    free(rows);
}

/* ---- gc ---- */

/* Deletes the row unless it was used at or after `limit`. 1 deleted, 0 kept. */
static int delete_record(struct store *s, const struct digest *key, int64_t limit, struct err *e)
{
    db_start(s->db, Q_RECORD_EVICT);
    db_digest(s->db, Q_RECORD_EVICT, 1, key);
    db_int(s->db, Q_RECORD_EVICT, 2, limit);
    int rc = db_step(s->db, Q_RECORD_EVICT, e);
    db_end(s->db, Q_RECORD_EVICT);
    return rc < 0 ? rc : db_changes(s->db) > 0;
}

/* Chooses by age and size; what is chosen is `gone` and no longer counts as a user of its blobs. */
static void choose(struct inventory *v, const struct gc_options *o, int64_t began, struct gc_result *out)
{
    uint64_t size = 0;
    int64_t now = time(NULL);
    for (size_t i = 0; i < v->n_blobs; i++)
        size += v->blobs[i].uses ? v->blobs[i].bytes : 0;
    for (size_t i = 0; i < v->n_records; i++) {
        struct held_record *r = &v->records[i];
        bool old = o->max_age > 0 && now - r->used > o->max_age, big = o->max_size > 0 && size > o->max_size;
        bool other = o->keep_runs > 0 && !o->max_age && !o->max_size && !r->reached;
        if (!old && !big && !other)
            continue;
        if (r->pinned || r->reached || r->used >= began) {
            out->protected_records++;
            continue;
        }
        r->gone = true;
        for (size_t k = 0; k < r->n_blobs; k++)
            if (--v->blobs[r->blobs[k]].uses == 0)
                size -= v->blobs[r->blobs[k]].bytes;
    }
}

static int evict_records(struct store *s, struct inventory *v, int64_t began, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    int rc = db_begin(s->db, true, true, e);
    for (size_t i = 0; rc == 0 && i < v->n_records; i++) {
        struct held_record *r = &v->records[i];
        int done = r->gone ? delete_record(s, &r->key, began, e) : 0;
        if (done < 0)
            rc = done;
        else if (r->gone && done == 0) { /* used since the inventory was taken */
            r->gone = false;
            for (size_t k = 0; k < r->n_blobs; k++)
                v->blobs[r->blobs[k]].uses++;
        }
    }
    if (rc == 0)
        rc = db_commit(s->db, e);
    else
        db_rollback(s->db);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

static int remove_blob(struct store *s, const struct held_blob *b, int64_t began, struct err *e)
{
    char name[66];
    struct stat st;
    blob_name(&b->digest, name);
    if (fstatat(s->blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_mtim.tv_sec >= began)
        return 0;
    if (unlinkat(s->blobs_fd, name, 0) < 0)
        return errno == ENOENT ? 0 : err_errno(e, "%s/blobs/%s: cannot remove", s->dir, name);
    struct err ignored;
    blob_forget(s, &b->digest, &ignored);
    return 1;
}

/* A record may have come since the inventory that names the blob: such blobs are new (mtime), see the head. */
static int sweep_blobs(struct store *s, struct inventory *v, const struct gc_options *o, int64_t began, const struct progress *p,
                       struct gc_result *out, struct err *e)
{
    int fd = -1, rc = gate_enter(s, true, &fd, e);
    for (size_t i = 0; rc == 0 && i < v->n_blobs; i++) {
        struct held_blob *b = &v->blobs[i];
        if (!b->present)
            continue;
        int gone = b->uses || b->mtime >= began ? 0 : o->dry_run ? 1 : remove_blob(s, b, began, e);
        if (gone < 0)
            rc = gone;
        out->blobs += gone == 1;
        out->bytes += gone == 1 ? b->bytes : 0;
        out->kept_blobs += gone == 0;
        out->kept_bytes += gone == 0 ? b->bytes : 0;
        if (rc == 0 && i % 1024 == 0)
            rc = progress_poll(p, e);
    }
    gate_leave(fd);
    return rc;
}

static int sweep_checkpoints(struct store *s, const struct gc_options *o, struct gc_result *out, struct err *e)
{
    char **names = NULL, *dir = fs_join(s->dir, "checkpoints");
    size_t n = 0;
    int64_t age = o->max_age > 0 && o->max_age < CHECKPOINT_AGE ? o->max_age : CHECKPOINT_AGE;
    int rc = dir ? fs_list(dir, &names, &n, e) : err_nomem(e, 0, "a path");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct digest key;
        struct store_lock *l = NULL;
        struct stat st;
        bool busy = false;
        char *path = fs_join(dir, names[i]);
        if (path && strlen(names[i]) == 64 && digest_parse(names[i], &key) == 0 && stat(path, &st) == 0 &&
            time(NULL) - st.st_mtim.tv_sec > age && store_lock_key(s, &key, false, &l, &busy, e) == 0 && !busy) {
            out->checkpoints++;
            out->bytes += tree_bytes(path);
            if (!o->dry_run)
                rc = fs_remove_tree(path, e);
        }
        store_unlock(l);
        free(path);
    }
    fs_list_free(names, n);
    free(dir);
    return rc;
}

/* Downloads that nobody went on with. */
static int sweep_partial(struct store *s, const struct gc_options *o, struct gc_result *out, struct err *e)
{
    char **names = NULL, *dir = fs_join(s->dir, "partial");
    size_t n = 0;
    int rc = dir ? fs_list(dir, &names, &n, e) : err_nomem(e, 0, "a path");
    rc = rc == ERR_NOTFOUND ? 0 : rc;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct stat st;
        char *path = fs_join(dir, names[i]);
        if (path && stat(path, &st) == 0 && time(NULL) - st.st_mtim.tv_sec > PARTIAL_AGE) {
            out->bytes += (uint64_t)st.st_size;
            if (!o->dry_run)
                unlink(path);
        }
        free(path);
    }
    fs_list_free(names, n);
    free(dir);
    return rc;
}

static int prune_rows(struct store *s, struct err *e)
{
    static const enum db_query prunes[] = {Q_EXPANDED_PRUNE, Q_USE_PRUNE};
    int rc = 0;
    pthread_mutex_lock(&s->mutex);
    for (int i = 0; rc == 0 && i < 2; i++) {
        db_start(s->db, prunes[i]);
        rc = db_step(s->db, prunes[i], e);
        db_end(s->db, prunes[i]);
    }
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

static int tell_gone(struct store *s, const struct inventory *v, const struct gc_options *o, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < v->n_records; i++) {
        struct record_row r = {0};
        if (!v->records[i].gone)
            continue;
        rc = row_of(s, &v->records[i], &r, e);
        if (rc == 0)
            o->gone(o->u, &r);
        free(r.op);
        free(r.types);
    }
    return rc;
}

int store_gc(struct store *s, const struct gc_options *o, const struct progress *p, struct gc_result *out, struct err *e)
{
    struct inventory v;
    *out = (struct gc_result){0};
    int64_t began = presence_oldest(s);
    int rc = inventory_load(s, &v, e);
    if (rc != 0)
        return rc;
    if (o->keep_runs > 0)
        rc = inventory_reach(s, &v, o->keep_runs, e);
    if (rc == 0)
        choose(&v, o, began, out);
    if (rc == 0 && !o->dry_run)
        rc = evict_records(s, &v, began, e);
    for (size_t i = 0; i < v.n_records; i++) {
        out->records += v.records[i].gone;
        out->kept_records += !v.records[i].gone;
    }
    if (rc == 0 && o->gone)
        rc = tell_gone(s, &v, o, e);
    if (rc == 0)
        rc = sweep_blobs(s, &v, o, began, p, out, e);
    if (rc == 0)
        rc = sweep_checkpoints(s, o, out, e);
    if (rc == 0)
        rc = sweep_partial(s, o, out, e);
    if (rc == 0 && !o->dry_run)
        rc = prune_rows(s, e);
    inventory_release(&v);
    return rc;
}

/* ---- verify ---- */

static int verify_one(struct store *s, struct held_blob *b, bool dry_run, const char **what, struct err *e)
{
    int good = b->present ? blob_check(s, &b->digest, UINT64_MAX, true, what, e) : 0;
    char name[66];
    if (!b->present)
        *what = "is missing";
    if (good != 0 || dry_run || !b->present)
        return good;
    struct err ignored;
    blob_name(&b->digest, name);
    blob_forget(s, &b->digest, &ignored);
    if (unlinkat(s->blobs_fd, name, 0) < 0 && errno != ENOENT)
        return err_errno(e, "%s/blobs/%s: cannot remove", s->dir, name);
    return 0;
}

int store_verify(struct store *s, bool dry_run, void (*found)(void *u, const char *name, const char *what), void *u,
                 const struct progress *p, struct verify_result *out, struct err *e)
{
    struct inventory v;
    uint64_t total = 0;
    *out = (struct verify_result){0};
    pthread_mutex_lock(&s->mutex);
    int rc = db_check(s->db, e);
    pthread_mutex_unlock(&s->mutex);
    out->index_damaged = rc == ERR_DAMAGED;
    if (rc == ERR_DAMAGED && found)
        found(u, "index", e->msg);
    if (rc == 0)
        rc = inventory_load(s, &v, e);
    if (rc == ERR_DAMAGED)
        return 0;
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < v.n_blobs; i++)
        total += v.blobs[i].bytes;
    for (size_t i = 0; rc >= 0 && i < v.n_blobs; i++) {
        struct held_blob *b = &v.blobs[i];
        const char *what = "";
        char hex[DIGEST_HEX];
        rc = progress_poll(p, e);
        if (rc == 0)
            rc = verify_one(s, b, dry_run, &what, e);
        if (rc == 0) {
            digest_hex(&b->digest, hex);
            b->present = false;
            out->damaged++;
            if (found)
                found(u, hex, what);
        }
        out->blobs++;
        out->bytes += b->bytes;
        progress_update(p, (double)out->bytes, (double)total, "bytes");
    }
    for (size_t i = 0; rc >= 0 && i < v.n_records; i++) {
        bool bad = v.records[i].damaged;
        for (size_t k = 0; k < v.records[i].n_blobs; k++)
            bad = bad || !v.blobs[v.records[i].blobs[k]].present;
        out->dropped += bad;
        if (bad && !dry_run) {
            pthread_mutex_lock(&s->mutex);
            rc = delete_record(s, &v.records[i].key, INT64_MAX, e);
            pthread_mutex_unlock(&s->mutex);
        }
    }
    inventory_release(&v);
    return rc < 0 ? rc : 0;
}
