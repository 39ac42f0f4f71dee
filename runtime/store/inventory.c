/* SPDX-License-Identifier: MIT */
#include "runtime/store/inventory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/store/codec.h"
#include "runtime/store/gc.h"

static int by_digest(const void *a, const void *b)
{
    return digest_cmp(&((const struct held_blob *)a)->digest, &((const struct held_blob *)b)->digest);
}

static int grow(void **p, size_t n, size_t *cap, size_t each, struct err *e)
{
    if (n < *cap)
        return 0;
    size_t more = *cap ? *cap * 2 : 64;
    void *q = realloc(*p, more * each);
    if (!q)
        return err_nomem(e, more * each, "the inventory of the store");
    *p = q;
    *cap = more;
    return 0;
}

static int add_blob(struct inventory *v, size_t *cap, const struct held_blob *b, struct err *e)
{
    void *p = v->blobs;
    int rc = grow(&p, v->n_blobs, cap, sizeof *v->blobs, e);
    v->blobs = p;
    if (rc == 0)
        v->blobs[v->n_blobs++] = *b;
    return rc;
}

static int scan_shelf(struct store *s, const char *root, const char *shelf, struct inventory *v, size_t *cap, struct err *e)
{
    char **names = NULL, *dir = fs_join(root, shelf);
    size_t n = 0;
    int rc = dir ? fs_list(dir, &names, &n, e) : err_nomem(e, 0, "a path");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        char hex[DIGEST_HEX], name[66];
        struct held_blob b = {.present = true};
        struct stat st;
        if (strlen(names[i]) != 62)
            continue;
        memcpy(hex, shelf, 2);
        memcpy(hex + 2, names[i], 63);
        if (digest_parse(hex, &b.digest) < 0)
            continue;
        blob_name(&b.digest, name);
        if (fstatat(s->blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue; /* gone since it was listed */
        b.bytes = (uint64_t)st.st_size;
        b.mtime = st.st_mtim.tv_sec;
        rc = add_blob(v, cap, &b, e);
    }
    fs_list_free(names, n);
    free(dir);
    return rc;
}

static int scan_blobs(struct store *s, struct inventory *v, size_t *cap, struct err *e)
{
    char **shelves = NULL, *root = fs_join(s->dir, "blobs");
    size_t n = 0;
    int rc = root ? fs_list(root, &shelves, &n, e) : err_nomem(e, 0, "a path");
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (strlen(shelves[i]) == 2)
            rc = scan_shelf(s, root, shelves[i], v, cap, e);
    fs_list_free(shelves, n);
    free(root);
    return rc;
}

/* The blobs that a record's artifacts name, by digest, until all records are read. */
struct named {
    size_t record;
    struct digest digest;
    uint64_t bytes;
};

struct names {
    struct named *v;
    size_t n, cap;
};

static int take_body(struct str body, struct held_record *r, size_t index, struct names *names, struct err *e)
{
    struct record *rec = record_decode(body, &r->key); /* NULL: damaged, names nothing */
    struct buf types = {0};
    int rc = 0;
    for (size_t i = 0; rec && i < rec->n_out; i++) {
        const struct artifact *a = &rec->out[i];
        buf_printf(&types, "%s%s", i ? "," : "", a->type);
        for (size_t k = 0; rc == 0 && k < a->n; k++) {
            void *p = names->v;
            rc = grow(&p, names->n, &names->cap, sizeof *names->v, e);
            names->v = p;
            if (rc == 0)
                names->v[names->n++] = (struct named){index, a->files[k].digest, a->files[k].bytes};
            r->bytes += a->files[k].bytes;
        }
    }
    r->damaged = !rec;
    record_free(rec);
    r->types = types.failed ? NULL : types.p ? types.p : strdup("");
    if (rc == 0 && !r->types)
        rc = err_nomem(e, 0, "the inventory of the store");
    return rc;
}

static int read_records(struct store *s, struct inventory *v, struct names *names, struct err *e)
{
    const enum db_query q = Q_RECORD_ALL;
    size_t cap = 0;
    int rc;
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, q);
    while ((rc = db_step(s->db, q, e)) == 1) {
        void *p = v->records;
        rc = grow(&p, v->n_records, &cap, sizeof *v->records, e);
        v->records = p;
        if (rc != 0)
            break;
        struct held_record *r = &v->records[v->n_records];
        *r = (struct held_record){.used = db_col_int(s->db, q, 1), .made = db_col_int(s->db, q, 2), .wall = db_col_num(s->db, q, 3)};
        if (!db_col_digest(s->db, q, 0, &r->key))
            continue;
        rc = take_body(db_col_blob(s->db, q, 4), r, v->n_records++, names, e);
        if (rc != 0)
            break;
    }
    db_end(s->db, q);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

static int by_record(const void *pa, const void *pb)
{
    const struct named *a = pa, *b = pb;
    if (a->record != b->record)
        return a->record < b->record ? -1 : 1;
    return digest_cmp(&a->digest, &b->digest);
}

/* Blobs that are named but not there are added, then names become indexes. */
static int connect_blobs(struct inventory *v, size_t *cap, struct names *names, struct err *e)
{
    size_t on_disk = v->n_blobs;
    if (on_disk)
        qsort(v->blobs, on_disk, sizeof *v->blobs, by_digest);
    for (size_t i = 0; i < names->n; i++) {
        struct held_blob b = {.digest = names->v[i].digest};
        if (!on_disk || !bsearch(&b, v->blobs, on_disk, sizeof b, by_digest)) {
            int rc = add_blob(v, cap, &b, e);
            if (rc != 0)
                return rc;
        }
    }
    if (v->n_blobs)
        qsort(v->blobs, v->n_blobs, sizeof *v->blobs, by_digest);
    size_t w = 0; /* a missing blob may have been added twice */
    for (size_t i = 0; i < v->n_blobs; i++)
        if (!w || digest_cmp(&v->blobs[w - 1].digest, &v->blobs[i].digest) != 0)
            v->blobs[w++] = v->blobs[i];
    v->n_blobs = w;
    if (names->n)
        qsort(names->v, names->n, sizeof *names->v, by_record);
    for (size_t i = 0, end; i < names->n; i = end) {
        struct held_record *r = &v->records[names->v[i].record];
        for (end = i; end < names->n && names->v[end].record == names->v[i].record; end++)
            ;
        r->blobs = malloc((end - i) * sizeof *r->blobs);
        if (!r->blobs)
            return err_nomem(e, end - i, "the inventory of the store");
        for (size_t k = i; k < end; k++) {
            if (k > i && digest_cmp(&names->v[k].digest, &names->v[k - 1].digest) == 0)
                continue;
            struct held_blob b = {.digest = names->v[k].digest}, *found = bsearch(&b, v->blobs, v->n_blobs, sizeof b, by_digest);
            found->uses++;
            r->blobs[r->n_blobs++] = (size_t)(found - v->blobs);
        }
    }
    return 0;
}

static int mark_pins(struct store *s, struct inventory *v, struct err *e)
{
    struct pin_row *pins = NULL;
    size_t n = 0;
    int rc = store_pins(s, &pins, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        for (size_t k = 0; k < v->n_records; k++)
            if (digest_cmp(&pins[i].key, &v->records[k].key) == 0)
                v->records[k].pinned = true;
    store_pins_free(pins, n);
    return rc;
}

int inventory_load(struct store *s, struct inventory *v, struct err *e)
{
    struct names names = {0};
    size_t cap = 0;
    *v = (struct inventory){0};
    int rc = scan_blobs(s, v, &cap, e);
    if (rc == 0)
        rc = read_records(s, v, &names, e);
    if (rc == 0)
        rc = connect_blobs(v, &cap, &names, e);
    if (rc == 0)
        rc = mark_pins(s, v, e);
    free(names.v);
    if (rc != 0)
        inventory_release(v);
    return rc;
}

static int by_key(const void *a, const void *b)
{
    return digest_cmp(&(*(struct held_record *const *)a)->key, &(*(struct held_record *const *)b)->key);
}

int inventory_reach(struct store *s, struct inventory *v, int n, struct err *e)
{
    const enum db_query q = Q_RUN_KEYS;
    struct held_record **sorted = malloc((v->n_records + 1) * sizeof(*sorted));
    if (!sorted)
        return err_nomem(e, v->n_records * sizeof *sorted, "the inventory of the store");
    for (size_t i = 0; i < v->n_records; i++)
        sorted[i] = &v->records[i];
    qsort(sorted, v->n_records, sizeof(*sorted), by_key);
    int rc;
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, q);
    db_int(s->db, q, 1, n);
    while ((rc = db_step(s->db, q, e)) == 1) {
        struct held_record want, *w = &want, **found;
        if (db_col_digest(s->db, q, 0, &want.key) && (found = bsearch(&w, sorted, v->n_records, sizeof(*sorted), by_key)))
            (*found)->reached = true;
    }
    db_end(s->db, q);
    pthread_mutex_unlock(&s->mutex);
    free(sorted);
    return rc;
}

void inventory_release(struct inventory *v)
{
    for (size_t i = 0; i < v->n_records; i++) {
        free(v->records[i].types);
        free(v->records[i].blobs);
    }
    free(v->records);
    free(v->blobs);
    *v = (struct inventory){0};
}
