/* SPDX-License-Identifier: MIT
 *
 * Pins: (name, key) rows that gc respects.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/store/gc.h"
#include "runtime/store/store_private.h"

int store_pin(struct store *s, const char *name, const struct digest *keys, size_t n, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    int rc = db_begin(s->db, true, true, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        db_start(s->db, Q_PIN_PUT);
        db_text(s->db, Q_PIN_PUT, 1, str_of(name));
        db_digest(s->db, Q_PIN_PUT, 2, &keys[i]);
        db_int(s->db, Q_PIN_PUT, 3, time(NULL));
        rc = db_step(s->db, Q_PIN_PUT, e);
        db_end(s->db, Q_PIN_PUT);
    }
    if (rc == 0)
        rc = db_commit(s->db, e);
    else
        db_rollback(s->db);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

int store_unpin(struct store *s, const char *name, size_t *removed, struct err *e)
{
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, Q_PIN_DEL);
    db_text(s->db, Q_PIN_DEL, 1, str_of(name));
    int rc = db_step(s->db, Q_PIN_DEL, e);
    if (rc == 0)
        *removed = (size_t)db_changes(s->db);
    db_end(s->db, Q_PIN_DEL);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

int store_pins(struct store *s, struct pin_row **rows, size_t *n, struct err *e)
{
    const enum db_query q = Q_PIN_ALL;
    size_t cap = 0;
    int rc;
    *rows = NULL;
    *n = 0;
    pthread_mutex_lock(&s->mutex);
    db_start(s->db, q);
    while ((rc = db_step(s->db, q, e)) == 1) {
        if (*n == cap) {
            size_t more = cap ? cap * 2 : 16;
            void *p = realloc(*rows, more * sizeof **rows);
            if (!p) {
                rc = err_nomem(e, more * sizeof **rows, "pins");
                break;
            }
            *rows = p;
            cap = more;
        }
        struct pin_row *r = &(*rows)[*n];
        *r = (struct pin_row){.name = str_dup(db_col_text(s->db, q, 0)), .at = db_col_int(s->db, q, 2)};
        if (!r->name) {
            rc = err_nomem(e, 0, "pins");
            break;
        }
        ++*n;
        if (!db_col_digest(s->db, q, 1, &r->key))
            free((*rows)[--*n].name);
    }
    db_end(s->db, q);
    pthread_mutex_unlock(&s->mutex);
    if (rc < 0) {
        store_pins_free(*rows, *n);
        *rows = NULL;
        *n = 0;
    }
    return rc;
}

void store_pins_free(struct pin_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(rows[i].name);
    free(rows);
}
