/* SPDX-License-Identifier: MIT
 *
 * db: the store's index, one SQLite database in WAL mode; db.c is the only file that includes sqlite3.h and holds the
 * schema and the text of every statement. A db has one connection and no mutex of its own: the store's mutex is held
 * around every call. Statements are prepared once and named by enum db_query.
 *
 * Durability: the connection runs with synchronous=NORMAL (a commit survives the process, the last ones may be lost with
 * the power); db_begin with `durable` makes its commit reach the disk before db_commit returns, and with it all before it.
 */
#ifndef PKG_STORE_DB_H
#define PKG_STORE_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"
#include "runtime/base/sha.h"

enum db_query {
    Q_BEGIN, Q_BEGIN_WRITE, Q_COMMIT, Q_ROLLBACK, Q_SYNC_FULL, Q_SYNC_NORMAL,
    Q_FILE_GET, Q_FILE_PUT, Q_FILE_BY_DIGEST,
    Q_BLOB_GET, Q_BLOB_PUT, Q_BLOB_DEL, Q_BLOB_ALL,
    Q_RECORD_GET, Q_RECORD_PUT, Q_RECORD_DEL, Q_RECORD_EVICT, Q_RECORD_USE, Q_RECORD_ALL, Q_USE_PRUNE,
    Q_EXPANDED_GET, Q_EXPANDED_PUT, Q_EXPANDED_PRUNE,
    Q_SPEC_GET, Q_SPEC_PUT, Q_SPEC_SEEN, Q_SPEC_SEE, Q_RUN_PUT, Q_RUN_END, Q_RUN_NODE, Q_HISTORY, Q_HISTORY_ALL, Q_RUN_LIST, Q_RUN_SPEC,
    Q_RUN_KEYS,
    Q_PIN_PUT, Q_PIN_DEL, Q_PIN_ALL, Q_EPOCH,
    Q_COUNT
};

struct db;

/* Opens or makes the database. ERR_DAMAGED: not a database, or broken (the caller sets it aside and tries again);
 * ERR_UNSUPPORTED: of a newer pkgraph. Opening reads little: a call that later meets damage leaves the empty file
 * PATH.broken, and who opens the index next looks with db_check. */
int db_open(const char *path, struct db **out, struct err *e);
void db_close(struct db *d);

int db_begin(struct db *d, bool write, bool durable, struct err *e);
int db_commit(struct db *d, struct err *e); /* rolls back when it fails */
void db_rollback(struct db *d);
bool db_in_transaction(struct db *d);

/* db_start resets a statement; bind from 1; db_step: 1 a row, 0 the end, negative an error. Text and blobs are borrowed
 * until the next db_start of the same query. Columns count from 0 and live until the next db_step. */
void db_start(struct db *d, enum db_query q);
void db_int(struct db *d, enum db_query q, int i, int64_t v);
void db_num(struct db *d, enum db_query q, int i, double v);
void db_text(struct db *d, enum db_query q, int i, struct str v);
void db_blob(struct db *d, enum db_query q, int i, struct str v);
void db_digest(struct db *d, enum db_query q, int i, const struct digest *v);
int db_step(struct db *d, enum db_query q, struct err *e);
void db_end(struct db *d, enum db_query q); /* after the last step: lets go of locks and borrowed memory */
int64_t db_col_int(struct db *d, enum db_query q, int i);
double db_col_num(struct db *d, enum db_query q, int i);
struct str db_col_text(struct db *d, enum db_query q, int i);
struct str db_col_blob(struct db *d, enum db_query q, int i);
bool db_col_digest(struct db *d, enum db_query q, int i, struct digest *out); /* false: not 32 bytes */
/* Reads every page (PRAGMA integrity_check). 0 sound; ERR_DAMAGED with the first thing that is wrong. */
int db_check(struct db *d, struct err *e);
int64_t db_last_id(struct db *d);
int64_t db_changes(struct db *d);

const char *db_library_version(void); /* of SQLite */

#endif
