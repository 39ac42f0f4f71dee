/* SPDX-License-Identifier: MIT
 *
 * Records: what the run under a key gave, one row each (codec.h). Reading one checks that its blobs are
 * there; a record that cannot be used is dropped and its key is a miss. Expanded keys are kept when records go, so that
 * a later run can say what changed.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/store/codec.h"
#include "runtime/store/store_private.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct artifact_file *)a)->name, ((const struct artifact_file *)b)->name);
}

static void add_field(struct sha *s, const void *p, size_t n)
{
    uint8_t len[8];
    for (int i = 0; i < 8; i++)
        len[i] = (uint8_t)((uint64_t)n >> (8 * i));
    sha_add(s, len, sizeof len);
    sha_add(s, p, n);
}

/* Every field with its length in front: "artifact 1", type, then name and digest of each file in order of names. */
void artifact_seal(struct artifact *a)
{
    if (a->n > 1)
        qsort(a->files, a->n, sizeof *a->files, by_name);
    struct sha *s = sha_new();
    memset(&a->digest, 0, sizeof a->digest);
    if (!s)
        return;
    add_field(s, "artifact 1", 10);
    add_field(s, a->type, strlen(a->type));
    for (size_t i = 0; i < a->n; i++) {
        add_field(s, a->files[i].name, strlen(a->files[i].name));
        add_field(s, a->files[i].digest.b, sizeof a->files[i].digest.b);
    }
    sha_end(s, &a->digest);
}

const struct js *artifact_desc(const struct artifact *a)
{
    struct err ignored;
    struct artifact *own = (struct artifact *)(uintptr_t)a; /* what it is stays the same */
    if (!a->desc && a->desc_text)
        own->desc = js_parse(str_of(a->desc_text), "descriptor", &ignored);
    return a->desc;
}

void artifact_release(struct artifact *a)
{
    for (size_t i = 0; i < a->n; i++)
        free(a->files[i].name);
    free(a->files);
    free(a->type);
    js_free(a->desc);
    *a = (struct artifact){0};
}

void record_free(struct record *r)
{
    if (!r)
        return;
    for (size_t i = 0; r->one_block && i < r->n_out; i++)
        js_free(r->out[i].desc);
    for (size_t i = 0; !r->one_block && i < r->n_out; i++) {
        if (r->out)
            artifact_release(&r->out[i]);
        if (r->ports)
            free(r->ports[i]);
    }
    if (!r->one_block) {
        free(r->out);
        free(r->ports);
    }
    js_free(r->expanded);
    free(r);
}

/* 1 found, 0 not; a row that cannot be understood counts as not found. */
static int load(struct store *s, const struct digest *key, struct record **out, struct err *why)
{
    struct record *r = NULL;
    pthread_mutex_lock(&s->mutex);
    struct db *db = s->db;
    db_start(db, Q_RECORD_GET);
    db_digest(db, Q_RECORD_GET, 1, key);
    int rc = db_step(db, Q_RECORD_GET, why);
    if (rc == 1 && (r = record_decode(db_col_blob(db, Q_RECORD_GET, 4), key))) {
        r->made_at = db_col_int(db, Q_RECORD_GET, 0);
        r->wall = db_col_num(db, Q_RECORD_GET, 1);
        r->cpu = db_col_num(db, Q_RECORD_GET, 2);
        r->peak_memory = (uint64_t)db_col_int(db, Q_RECORD_GET, 3);
    }
    db_end(db, Q_RECORD_GET);
    pthread_mutex_unlock(&s->mutex);
    *out = r;
    return rc < 0 ? rc : r != NULL;
}

/* Best effort: a record that stays will be refused again. */
static void drop(struct store *s, const struct digest *key)
{
    struct err ignored;
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, Q_RECORD_DEL);
    db_digest(s->db, Q_RECORD_DEL, 1, key);
    db_step(s->db, Q_RECORD_DEL, &ignored);
    db_end(s->db, Q_RECORD_DEL);
    pthread_mutex_unlock(&s->mutex);
}

/* ---- blobs that were looked at a moment ago ---- */

static const struct digest no_digest; /* an empty place; were it a content, it would be looked at each time */

static size_t fresh_place(const struct store *s, const struct digest *d)
{
    size_t i, mask = s->fresh.cap - 1;
    memcpy(&i, d->b, sizeof i);
    for (i &= mask; digest_cmp(&s->fresh.v[i], &no_digest) != 0 && digest_cmp(&s->fresh.v[i], d) != 0; i = (i + 1) & mask)
        ;
    return i;
}

static bool is_fresh(const struct store *s, const struct digest *d)
{
    return s->fresh.open && s->fresh.cap && digest_cmp(d, &no_digest) != 0 && digest_cmp(&s->fresh.v[fresh_place(s, d)], d) == 0;
}

/* Best effort: what is not remembered is looked at again. */
static void fresh_add(struct store *s, const struct digest *d)
{
    if (!s->fresh.open)
        return;
    if (2 * (s->fresh.n + 1) > s->fresh.cap) {
        struct digest *old = s->fresh.v;
        size_t was = s->fresh.cap, cap = was ? 2 * was : 256;
        struct digest *v = calloc(cap, sizeof *v);
        if (!v)
            return;
        s->fresh.v = v;
        s->fresh.cap = cap;
        for (size_t i = 0; i < was; i++)
            if (digest_cmp(&old[i], &no_digest) != 0)
                v[fresh_place(s, &old[i])] = old[i];
        free(old);
    }
    s->fresh.v[fresh_place(s, d)] = *d;
    s->fresh.n++;
}

void fresh_close(struct store *s)
{
    free(s->fresh.v);
    memset(&s->fresh, 0, sizeof s->fresh);
}

static int check_blobs(struct store *s, const struct record *r, struct err *why)
{
    for (size_t i = 0; i < r->n_out; i++)
        for (size_t k = 0; k < r->out[i].n; k++) {
            const struct artifact_file *f = &r->out[i].files[k];
            const char *what = "";
            if (is_fresh(s, &f->digest))
                continue;
            int rc = blob_check(s, &f->digest, f->bytes, false, &what, why);
            if (rc == 1)
                fresh_add(s, &f->digest);
            if (rc < 0)
                return rc;
            if (rc == 0)
                return err_set(why, ERR_NOTFOUND, "its stored file %s %s", f->name, what);
        }
    return 0;
}

int store_get_record(struct store *s, const struct digest *key, struct record **out, struct err *why)
{
    struct err own;
    struct err *w = why ? why : &own;
    *out = NULL;
    struct record *r = NULL;
    int rc = load(s, key, &r, w);
    if (rc == 0)
        return err_set(w, ERR_NOTFOUND, "not in the store");
    if (rc < 0)
        return rc;
    rc = check_blobs(s, r, w);
    if (rc != 0) {
        if (rc == ERR_NOTFOUND)
            drop(s, key);
        record_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

int store_use_record(struct store *s, const struct digest *key, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, Q_RECORD_USE);
    db_digest(s->db, Q_RECORD_USE, 1, key);
    db_int(s->db, Q_RECORD_USE, 2, time(NULL));
    int rc = db_step(s->db, Q_RECORD_USE, e);
    if (rc == 0 && db_changes(s->db) == 0)
        rc = err_set(e, ERR_NOTFOUND, "not in the store");
    db_end(s->db, Q_RECORD_USE);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

int put_expanded_row(struct db *db, const struct digest *key, const struct js *expanded, struct err *e)
{
    struct buf b = {0};
    if (!expanded)
        return 0;
    js_write(&b, expanded);
    if (b.failed) {
        buf_release(&b);
        return err_nomem(e, 0, "a key");
    }
    db_start(db, Q_EXPANDED_PUT);
    db_digest(db, Q_EXPANDED_PUT, 1, key);
    db_text(db, Q_EXPANDED_PUT, 2, buf_view(&b));
    int rc = db_step(db, Q_EXPANDED_PUT, e);
    db_end(db, Q_EXPANDED_PUT);
    buf_release(&b);
    return rc;
}

int store_put_expanded(struct store *s, const struct digest *key, const struct js *expanded, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    int rc = put_expanded_row(s->db, key, expanded, e);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

int put_record_row(struct db *db, const struct record *r, struct str body, struct err *e)
{
    int64_t now = time(NULL);
    db_start(db, Q_RECORD_PUT);
    db_digest(db, Q_RECORD_PUT, 1, &r->key);
    db_int(db, Q_RECORD_PUT, 2, r->made_at ? r->made_at : now);
    db_int(db, Q_RECORD_PUT, 3, now);
    db_num(db, Q_RECORD_PUT, 4, r->wall);
    db_num(db, Q_RECORD_PUT, 5, r->cpu);
    db_int(db, Q_RECORD_PUT, 6, (int64_t)r->peak_memory);
    db_blob(db, Q_RECORD_PUT, 7, body);
    int rc = db_step(db, Q_RECORD_PUT, e);
    db_end(db, Q_RECORD_PUT);
    return rc;
}

int store_expanded(struct store *s, const struct digest *key, struct js **out, struct err *e)
{
    *out = NULL;
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, Q_EXPANDED_GET);
    db_digest(s->db, Q_EXPANDED_GET, 1, key);
    int rc = db_step(s->db, Q_EXPANDED_GET, e);
    if (rc == 1) {
        *out = js_parse(db_col_text(s->db, Q_EXPANDED_GET, 0), "expanded key", e);
        rc = *out ? 0 : err_set(e, ERR_NOTFOUND, "the expanded key cannot be read");
    } else if (rc == 0)
        rc = err_set(e, ERR_NOTFOUND, "no such key was recorded");
    db_end(s->db, Q_EXPANDED_GET);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}
