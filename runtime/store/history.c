/* SPDX-License-Identifier: MIT
 *
 * History: one row a run, one a node of a run. It explains and estimates; no result depends on it, so its commits need
 * not reach the disk at once.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/store/store_private.h"

/* With the mutex held. */
enum { SEEN_SECONDS = 3600 };

static int spec_id(struct db *db, const char *spec, int64_t *id, struct err *e)
{
    db_start(db, Q_SPEC_PUT);
    db_text(db, Q_SPEC_PUT, 1, str_of(spec));
    int rc = db_step(db, Q_SPEC_PUT, e);
    db_end(db, Q_SPEC_PUT);
    if (rc < 0)
        return rc;
    db_start(db, Q_SPEC_GET);
    db_text(db, Q_SPEC_GET, 1, str_of(spec));
    rc = db_step(db, Q_SPEC_GET, e);
    if (rc == 1)
        *id = db_col_int(db, Q_SPEC_GET, 0);
    db_end(db, Q_SPEC_GET);
    return rc == 1 ? 0 : rc < 0 ? rc : err_set(e, ERR_INTERNAL, "history: the spec was not written");
}

int store_run_begin(struct store *s, const char *spec, const char *command, int64_t *run, struct err *e)
{
    int64_t id = 0;
    pthread_mutex_lock(&s->mutex);
    int rc = spec_id(s->db, spec, &id, e);
    if (rc == 0) {
        db_start(s->db, Q_RUN_PUT);
        db_int(s->db, Q_RUN_PUT, 1, id);
        db_text(s->db, Q_RUN_PUT, 2, str_of(command));
        db_int(s->db, Q_RUN_PUT, 3, time(NULL));
        rc = db_step(s->db, Q_RUN_PUT, e);
        db_end(s->db, Q_RUN_PUT);
        *run = db_last_id(s->db);
    }
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

int put_run_node_row(struct db *db, int64_t run, const struct node_run *n, struct err *e)
{
    const enum db_query q = Q_RUN_NODE;
    db_start(db, q);
    db_int(db, q, 1, run);
    db_text(db, q, 2, str_of(n->node));
    db_int(db, q, 3, time(NULL));
    db_text(db, q, 4, str_of(n->status));
    if (n->key)
        db_digest(db, q, 5, n->key);
    db_num(db, q, 6, n->wall);
    db_num(db, q, 7, n->cpu);
    db_int(db, q, 8, (int64_t)n->peak_memory);
    db_int(db, q, 9, (int64_t)n->bytes_read);
    db_int(db, q, 10, (int64_t)n->bytes_written);
    int rc = db_step(db, q, e);
    db_end(db, q);
    return rc;
}

int store_run_node(struct store *s, int64_t run, const char *node, const char *status, const struct digest *key, double wall,
                   double cpu, uint64_t peak_memory, struct err *e)
{
    struct node_run n = {.node = node, .status = status, .key = key, .wall = wall, .cpu = cpu, .peak_memory = peak_memory};
    pthread_mutex_lock(&s->mutex);
    int rc = put_run_node_row(s->db, run, &n, e);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

bool store_seen(struct store *s, const char *spec, const struct digest *keys)
{
    struct digest seen;
    struct err ignored;
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, Q_SPEC_SEEN);
    db_text(s->db, Q_SPEC_SEEN, 1, str_of(spec));
    db_int(s->db, Q_SPEC_SEEN, 2, time(NULL) - SEEN_SECONDS);
    bool yes = db_step(s->db, Q_SPEC_SEEN, &ignored) == 1 && db_col_digest(s->db, Q_SPEC_SEEN, 0, &seen) && digest_cmp(&seen, keys) == 0;
    db_end(s->db, Q_SPEC_SEEN);
    pthread_mutex_unlock(&s->mutex);
    return yes;
}

int store_see(struct store *s, const char *spec, const struct digest *keys, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, Q_SPEC_SEE);
    db_text(s->db, Q_SPEC_SEE, 1, str_of(spec));
    if (keys)
        db_digest(s->db, Q_SPEC_SEE, 2, keys);
    db_int(s->db, Q_SPEC_SEE, 3, time(NULL));
    int rc = db_step(s->db, Q_SPEC_SEE, e);
    db_end(s->db, Q_SPEC_SEE);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

int store_run_end(struct store *s, int64_t run, const char *status, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, Q_RUN_END);
    db_int(s->db, Q_RUN_END, 1, run);
    db_int(s->db, Q_RUN_END, 2, time(NULL));
    db_text(s->db, Q_RUN_END, 3, str_of(status));
    int rc = db_step(s->db, Q_RUN_END, e);
    db_end(s->db, Q_RUN_END);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

/* Reads the columns of the row that the query stands at; -1: no memory. */
typedef int row_fn(struct db *db, enum db_query q, void *row);

static int read_node(struct db *db, enum db_query q, void *row)
{
    struct history_row *h = row;
    *h = (struct history_row){.run = db_col_int(db, q, 0), .at = db_col_int(db, q, 1), .spec = str_dup(db_col_text(db, q, 2)),
                              .node = str_dup(db_col_text(db, q, 3)), .status = str_dup(db_col_text(db, q, 4)), .wall = db_col_num(db, q, 6),
                              .cpu = db_col_num(db, q, 7), .peak_memory = (uint64_t)db_col_int(db, q, 8),
                              .bytes_read = (uint64_t)db_col_int(db, q, 9), .bytes_written = (uint64_t)db_col_int(db, q, 10)};
    if (!db_col_digest(db, q, 5, &h->key))
        memset(&h->key, 0, sizeof h->key);
    return h->spec && h->node && h->status ? 0 : -1;
}

static int read_run(struct db *db, enum db_query q, void *row)
{
    struct run_row *r = row;
    *r = (struct run_row){.run = db_col_int(db, q, 0), .began = db_col_int(db, q, 1), .ended = db_col_int(db, q, 2),
                          .status = str_dup(db_col_text(db, q, 3)), .command = str_dup(db_col_text(db, q, 4)),
                          .spec = str_dup(db_col_text(db, q, 5)), .nodes = db_col_int(db, q, 6)};
    return r->status && r->command && r->spec ? 0 : -1;
}

/* All rows of a query that has its parameters into an array of elements of `size` bytes, to be freed whatever comes back. */
static int read_rows(struct db *db, enum db_query q, row_fn *read, size_t size, char **rows, size_t *n, struct err *e)
{
    size_t cap = 0;
    int rc;
    while ((rc = db_step(db, q, e)) == 1) {
        if (*n == cap) {
            size_t more = cap ? cap * 2 : 8;
            void *p = realloc(*rows, more * size);
            if (!p)
                return err_nomem(e, more * size, "history");
            *rows = p;
            cap = more;
        }
        if (read(db, q, *rows + (*n)++ * size) < 0)
            return err_nomem(e, 0, "history");
    }
    return rc;
}

int store_history(struct store *s, const char *spec, const char *node, size_t limit, struct history_row **rows, size_t *n, struct err *e)
{
    const enum db_query q = node ? Q_HISTORY : Q_HISTORY_ALL;
    char *p = NULL;
    *n = 0;
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, q);
    db_text(s->db, q, 1, str_of(spec));
    if (node)
        db_text(s->db, q, 2, str_of(node));
    db_int(s->db, q, 3, limit ? (int64_t)limit : -1);
    int rc = read_rows(s->db, q, read_node, sizeof **rows, &p, n, e);
    db_end(s->db, q);
    pthread_mutex_unlock(&s->mutex);
    *rows = (struct history_row *)p;
    if (rc < 0) {
        store_history_free(*rows, *n);
        *rows = NULL;
        *n = 0;
    }
    return rc;
}

void store_history_free(struct history_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(rows[i].spec);
        free(rows[i].node);
        free(rows[i].status);
    }
    free(rows);
}

int store_runs(struct store *s, const char *spec, size_t limit, struct run_row **rows, size_t *n, struct err *e)
{
    const enum db_query q = Q_RUN_LIST;
    char *p = NULL;
    *n = 0;
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, q);
    db_text(s->db, q, 1, str_of(spec));
    db_int(s->db, q, 2, limit ? (int64_t)limit : -1);
    int rc = read_rows(s->db, q, read_run, sizeof **rows, &p, n, e);
    db_end(s->db, q);
    pthread_mutex_unlock(&s->mutex);
    *rows = (struct run_row *)p;
    if (rc < 0) {
        store_runs_free(*rows, *n);
        *rows = NULL;
        *n = 0;
    }
    return rc;
}

void store_runs_free(struct run_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(rows[i].spec);
        free(rows[i].status);
        free(rows[i].command);
    }
    free(rows);
}
