/* SPDX-License-Identifier: MIT */
#include "runtime/store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DB_VERSION = 5, BUSY_MS = 60000 };

struct db {
    sqlite3 *h;
    char *path;
    sqlite3_stmt *q[Q_COUNT];
    bool durable; /* this transaction runs with synchronous=FULL */
};

/* The epoch moves when a record or a blob that was there is no more, or a record says something else: whoever remembers what
 * the index said (engine/memo) compares it. In triggers, so that no way of removing can forget it. REPLACE fires no delete
 * trigger, hence the third. */
#define EPOCH \
    "CREATE TABLE epoch (nonce BLOB, losses INTEGER); INSERT INTO epoch VALUES (randomblob(16), 0);" \
    "CREATE TRIGGER record_gone AFTER DELETE ON records BEGIN UPDATE epoch SET losses=losses+1; END;" \
    "CREATE TRIGGER blob_gone AFTER DELETE ON blobs BEGIN UPDATE epoch SET losses=losses+1; END;" \
    "CREATE TRIGGER record_changed BEFORE INSERT ON records WHEN EXISTS (SELECT 1 FROM records WHERE key=NEW.key AND" \
    " body<>NEW.body) BEGIN UPDATE epoch SET losses=losses+1; END;"

static const char schema[] =
    /* the user's files: digest by identity and times */
    "CREATE TABLE IF NOT EXISTS files (dev INTEGER, ino INTEGER, size INTEGER, mtime INTEGER, ctime INTEGER, digest BLOB,"
    " path TEXT, sum INTEGER, PRIMARY KEY (dev, ino)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS files_digest ON files (digest);"
    /* size and time of a blob when its content was last known to be right */
    "CREATE TABLE IF NOT EXISTS blobs (digest BLOB PRIMARY KEY, size INTEGER, mtime INTEGER) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS records (key BLOB PRIMARY KEY, made INTEGER, used INTEGER, wall REAL, cpu REAL,"
    " peak INTEGER, body BLOB) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS uses (key BLOB PRIMARY KEY, at INTEGER) WITHOUT ROWID;" /* apart: small rows to rewrite */
    "CREATE TABLE IF NOT EXISTS expanded (key BLOB PRIMARY KEY, body TEXT) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS specs (id INTEGER PRIMARY KEY, path TEXT UNIQUE, seen BLOB, at INTEGER);"
    "CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY AUTOINCREMENT, spec INTEGER, command TEXT, began INTEGER,"
    " ended INTEGER, status TEXT);"
    "CREATE TABLE IF NOT EXISTS run_nodes (spec INTEGER, node TEXT, run INTEGER, at INTEGER, status TEXT, key BLOB,"
    " wall REAL, cpu REAL, peak INTEGER, nread INTEGER, nwritten INTEGER, PRIMARY KEY (spec, node, run)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS pins (name TEXT, key BLOB, at INTEGER, PRIMARY KEY (name, key)) WITHOUT ROWID;"
    EPOCH;

/* Compiles only when everything is there. */
static const char tables[] =
    "SELECT f.sum, b.mtime, r.body, u.at, x.body, s.seen, t.status, n.nwritten, p.at, e.losses"
    " FROM files f, blobs b, records r, uses u, expanded x, specs s, runs t, run_nodes n, pins p, epoch e";

static const char *const upgrades[DB_VERSION] = { /* from version 1, 2, 3, 4 */
    [1] = "ALTER TABLE run_nodes ADD COLUMN nread INTEGER; ALTER TABLE run_nodes ADD COLUMN nwritten INTEGER;",
    [2] = "ALTER TABLE specs ADD COLUMN seen BLOB; ALTER TABLE specs ADD COLUMN at INTEGER;",
    [3] = EPOCH,
    [4] = "ALTER TABLE files ADD COLUMN sum INTEGER;",
};

static const char *const sql[Q_COUNT] = {
    [Q_BEGIN] = "BEGIN",
    [Q_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [Q_COMMIT] = "COMMIT",
    [Q_ROLLBACK] = "ROLLBACK",
    [Q_SYNC_FULL] = "PRAGMA synchronous=FULL",
    [Q_SYNC_NORMAL] = "PRAGMA synchronous=NORMAL",
    [Q_FILE_GET] = "SELECT size, mtime, ctime, digest, path, sum FROM files WHERE dev=? AND ino=?",
    [Q_FILE_PUT] = "INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?)",
    [Q_FILE_BY_DIGEST] = "SELECT dev, ino, size, mtime, ctime, path, sum FROM files WHERE digest=?",
    [Q_BLOB_GET] = "SELECT size, mtime FROM blobs WHERE digest=?",
    [Q_BLOB_PUT] = "INSERT OR REPLACE INTO blobs VALUES (?,?,?)",
    [Q_BLOB_DEL] = "DELETE FROM blobs WHERE digest=?",
    [Q_BLOB_ALL] = "SELECT digest, size, mtime FROM blobs",
    [Q_RECORD_GET] = "SELECT made, wall, cpu, peak, body FROM records WHERE key=?",
    [Q_RECORD_PUT] = "INSERT OR REPLACE INTO records VALUES (?,?,?,?,?,?,?)",
    [Q_RECORD_DEL] = "DELETE FROM records WHERE key=?",
    [Q_RECORD_EVICT] = "DELETE FROM records WHERE key=?1 AND used<?2 AND NOT EXISTS"
                       " (SELECT 1 FROM uses WHERE key=?1 AND at>=?2)",
    [Q_RECORD_USE] = "INSERT OR REPLACE INTO uses SELECT key, ?2 FROM records WHERE key=?1",
    [Q_RECORD_ALL] = "SELECT r.key, max(r.used, ifnull(u.at, 0)), r.made, r.wall, r.body FROM records r LEFT JOIN uses u"
                     " ON u.key=r.key ORDER BY 2, 1",
    [Q_USE_PRUNE] = "DELETE FROM uses WHERE key NOT IN (SELECT key FROM records)",
    [Q_EXPANDED_GET] = "SELECT body FROM expanded WHERE key=?",
    [Q_EXPANDED_PUT] = "INSERT OR IGNORE INTO expanded VALUES (?,?)",
    [Q_EXPANDED_PRUNE] = "DELETE FROM expanded WHERE key NOT IN (SELECT key FROM records UNION SELECT key FROM run_nodes)",
    [Q_SPEC_GET] = "SELECT id FROM specs WHERE path=?",
    [Q_SPEC_PUT] = "INSERT OR IGNORE INTO specs (path) VALUES (?)",
    [Q_SPEC_SEEN] = "SELECT seen FROM specs WHERE path=?1 AND at>?2",
    [Q_SPEC_SEE] = "UPDATE specs SET seen=?2, at=?3 WHERE path=?1",
    [Q_RUN_PUT] = "INSERT INTO runs (spec, command, began, status) VALUES (?,?,?,'running')",
    [Q_RUN_END] = "UPDATE runs SET ended=?2, status=?3 WHERE id=?1",
    [Q_RUN_NODE] = "INSERT OR REPLACE INTO run_nodes SELECT spec, ?2, ?1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 FROM runs WHERE id=?1",
    [Q_HISTORY] = "SELECT n.run, n.at, s.path, n.node, n.status, n.key, n.wall, n.cpu, n.peak, n.nread, n.nwritten FROM specs s JOIN run_nodes n"
                  " ON n.spec=s.id WHERE s.path=?1 AND n.node=?2 ORDER BY n.run DESC LIMIT ?3",
    [Q_HISTORY_ALL] = "SELECT n.run, n.at, s.path, n.node, n.status, n.key, n.wall, n.cpu, n.peak, n.nread, n.nwritten FROM specs s JOIN run_nodes n"
                      " ON n.spec=s.id WHERE s.path=?1 ORDER BY n.run DESC, n.node LIMIT ?3",
    [Q_RUN_LIST] = "SELECT r.id, r.began, r.ended, r.status, r.command, s.path, CASE r.status WHEN 'done' THEN max(o.run) OVER"
                   " (PARTITION BY r.spec ORDER BY r.id) ELSE r.id END FROM runs r JOIN specs s ON s.id=r.spec LEFT JOIN (SELECT DISTINCT"
                   " spec, run FROM run_nodes) o ON o.spec=r.spec AND o.run=r.id WHERE ?1 = '' OR s.path=?1 ORDER BY r.id DESC LIMIT ?2",
    [Q_RUN_SPEC] = "SELECT spec FROM runs WHERE id=?",
    [Q_RUN_KEYS] = "SELECT DISTINCT key FROM run_nodes n WHERE key IS NOT NULL AND run IN (SELECT run FROM (SELECT DISTINCT run,"
                   " dense_rank() OVER (PARTITION BY spec ORDER BY run DESC) AS place FROM run_nodes) WHERE place<=?1)",
    [Q_PIN_PUT] = "INSERT OR REPLACE INTO pins VALUES (?,?,?)",
    [Q_PIN_DEL] = "DELETE FROM pins WHERE name=?",
    [Q_PIN_ALL] = "SELECT name, key, at FROM pins ORDER BY name, key",
    [Q_EPOCH] = "SELECT nonce, losses FROM epoch",
};

/* For who opens it next. Best effort. */
static void mark_broken(const struct db *d)
{
    struct buf b = {0};
    buf_printf(&b, "%s.broken", d->path);
    int fd = b.failed ? -1 : open(b.p, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0)
        close(fd);
    buf_release(&b);
}

static int fail(struct db *d, struct err *e, const char *what)
{
    int rc = sqlite3_errcode(d->h), sys = sqlite3_system_errno(d->h);
    const char *text = sqlite3_errmsg(d->h);
    switch (rc) {
    case SQLITE_FULL:
        return err_set(e, ERR_NOSPACE, "%s: disk full while %s", d->path, what);
    case SQLITE_NOMEM:
        return err_set(e, ERR_NOMEM, "%s: out of memory while %s", d->path, what);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        mark_broken(d);
        return err_set(e, ERR_DAMAGED, "%s: the index is damaged (%s) while %s; run again, and it is set aside and made anew",
                       d->path, text, what);
    case SQLITE_BUSY:
        return err_set(e, ERR_IO, "%s: another process has kept the index locked for %d s while %s", d->path, BUSY_MS / 1000, what);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return err_set(e, ERR_IO, "%s: cannot be written (%s); choose another store with --store DIR or $PKGRAPH_STORE", d->path, text);
    default:
        if (sys == ENOSPC || sys == EDQUOT)
            return err_set(e, ERR_NOSPACE, "%s: disk full while %s", d->path, what);
        return err_set(e, ERR_IO, "%s: %s while %s", d->path, text, what);
    }
}

static int exec(struct db *d, const char *text, struct err *e)
{
    return sqlite3_exec(d->h, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(d, e, "it was being opened");
}

static int read_version(struct db *d, int *version, struct err *e)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(d->h, "PRAGMA user_version", -1, &q, NULL);
    if (rc == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        *version = sqlite3_column_int(q, 0);
    else
        rc = SQLITE_ERROR;
    int out = rc == SQLITE_OK ? 0 : fail(d, e, "its version was being read");
    sqlite3_finalize(q);
    return out;
}

static bool has_tables(struct db *d)
{
    sqlite3_stmt *q = NULL;
    bool all = sqlite3_prepare_v2(d->h, tables, -1, &q, NULL) == SQLITE_OK;
    sqlite3_finalize(q);
    return all;
}

static int prepare(struct db *d, struct err *e)
{
    int version = 0;
    sqlite3_busy_timeout(d->h, BUSY_MS);
    int rc = exec(d, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16000", e);
    if (rc == 0)
        rc = read_version(d, &version, e);
    if (rc == 0 && version > DB_VERSION)
        rc = err_set(e, ERR_UNSUPPORTED, "%s: index version %d, this pkgraph knows up to %d; use a newer pkgraph or another --store",
                     d->path, version, DB_VERSION);
    if (rc == 0 && version < DB_VERSION) {
        rc = exec(d, "BEGIN IMMEDIATE", e);
        if (rc == 0) /* another process may have been faster */
            rc = read_version(d, &version, e);
        if (rc == 0 && version == 0)
            rc = exec(d, schema, e);
        for (int v = version; rc == 0 && v > 0 && v < DB_VERSION; v++)
            rc = exec(d, upgrades[v], e);
        if (rc == 0)
            rc = exec(d, "PRAGMA user_version=5; COMMIT", e);
    }
    if (rc == 0 && !has_tables(d))
        rc = sqlite3_errcode(d->h) == SQLITE_ERROR ? err_set(e, ERR_DAMAGED, "%s: not the tables of pkgraph (%s)", d->path, sqlite3_errmsg(d->h))
                                                   : fail(d, e, "it was being opened");
    return rc;
}

int db_open(const char *path, struct db **out, struct err *e)
{
    *out = NULL;
    struct db *d = calloc(1, sizeof *d);
    if (!d || !(d->path = strdup(path))) {
        free(d);
        return err_nomem(e, sizeof *d, "the index");
    }
    int rc = 0;
    if (sqlite3_open_v2(path, &d->h, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        rc = d->h ? fail(d, e, "it was being opened") : err_nomem(e, 0, "the index");
    if (rc == 0)
        rc = prepare(d, e);
    if (rc != 0)
        db_close(d);
    else
        *out = d;
    return rc;
}

void db_close(struct db *d)
{
    if (!d)
        return;
    for (int i = 0; i < Q_COUNT; i++)
        sqlite3_finalize(d->q[i]);
    sqlite3_close(d->h);
    free(d->path);
    free(d);
}

static int once(struct db *d, enum db_query q, struct err *e)
{
    db_start(d, q);
    int rc = db_step(d, q, e);
    db_end(d, q);
    return rc < 0 ? rc : 0;
}

int db_begin(struct db *d, bool write, bool durable, struct err *e)
{
    int rc = durable ? once(d, Q_SYNC_FULL, e) : 0;
    d->durable = durable;
    return rc == 0 ? once(d, write ? Q_BEGIN_WRITE : Q_BEGIN, e) : rc;
}

static void relax(struct db *d)
{
    struct err ignored;
    if (d->durable)
        once(d, Q_SYNC_NORMAL, &ignored);
    d->durable = false;
}

int db_commit(struct db *d, struct err *e)
{
    int rc = once(d, Q_COMMIT, e);
    if (rc != 0)
        db_rollback(d);
    relax(d);
    return rc;
}

void db_rollback(struct db *d)
{
    struct err ignored;
    if (db_in_transaction(d))
        once(d, Q_ROLLBACK, &ignored);
    relax(d);
}

bool db_in_transaction(struct db *d)
{
    return !sqlite3_get_autocommit(d->h);
}

/* Statements are compiled when they are first needed: most commands use a few. A refused one is NULL, on which SQLite's calls do
 * nothing, and db_step tells. */
void db_start(struct db *d, enum db_query q)
{
    if (!d->q[q] && sqlite3_prepare_v3(d->h, sql[q], -1, SQLITE_PREPARE_PERSISTENT, &d->q[q], NULL) != SQLITE_OK)
        return;
    sqlite3_reset(d->q[q]);
    sqlite3_clear_bindings(d->q[q]);
}

void db_int(struct db *d, enum db_query q, int i, int64_t v)
{
    sqlite3_bind_int64(d->q[q], i, v);
}

void db_num(struct db *d, enum db_query q, int i, double v)
{
    sqlite3_bind_double(d->q[q], i, v);
}

void db_text(struct db *d, enum db_query q, int i, struct str v)
{
    sqlite3_bind_text64(d->q[q], i, v.p ? v.p : "", v.n, SQLITE_STATIC, SQLITE_UTF8);
}

void db_blob(struct db *d, enum db_query q, int i, struct str v)
{
    sqlite3_bind_blob64(d->q[q], i, v.p ? v.p : "", v.n, SQLITE_STATIC);
}

void db_digest(struct db *d, enum db_query q, int i, const struct digest *v)
{
    sqlite3_bind_blob(d->q[q], i, v->b, sizeof v->b, SQLITE_STATIC);
}

int db_step(struct db *d, enum db_query q, struct err *e)
{
    if (!d->q[q])
        return fail(d, e, "a query was being compiled");
    int rc = sqlite3_step(d->q[q]);
    if (rc == SQLITE_ROW)
        return 1;
    return rc == SQLITE_DONE ? 0 : fail(d, e, sqlite3_stmt_readonly(d->q[q]) ? "reading it" : "writing to it");
}

void db_end(struct db *d, enum db_query q)
{
    if (!d->q[q])
        return;
    sqlite3_reset(d->q[q]);
    sqlite3_clear_bindings(d->q[q]);
}

int64_t db_col_int(struct db *d, enum db_query q, int i)
{
    return sqlite3_column_int64(d->q[q], i);
}

double db_col_num(struct db *d, enum db_query q, int i)
{
    return sqlite3_column_double(d->q[q], i);
}

struct str db_col_text(struct db *d, enum db_query q, int i)
{
    const char *p = (const char *)sqlite3_column_text(d->q[q], i);
    return p ? (struct str){p, (size_t)sqlite3_column_bytes(d->q[q], i)} : (struct str){"", 0};
}

struct str db_col_blob(struct db *d, enum db_query q, int i)
{
    const char *p = sqlite3_column_blob(d->q[q], i);
    return p ? (struct str){p, (size_t)sqlite3_column_bytes(d->q[q], i)} : (struct str){"", 0};
}

bool db_col_digest(struct db *d, enum db_query q, int i, struct digest *out)
{
    const void *p = sqlite3_column_blob(d->q[q], i);
    if (!p || sqlite3_column_bytes(d->q[q], i) != (int)sizeof out->b)
        return false;
    memcpy(out->b, p, sizeof out->b);
    return true;
}

int db_check(struct db *d, struct err *e)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(d->h, "PRAGMA integrity_check(1)", -1, &q, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(q);
    if (rc == SQLITE_ROW) {
        const char *z = (const char *)sqlite3_column_text(q, 0);
        rc = z && strcmp(z, "ok") == 0 ? 0 : err_set(e, ERR_DAMAGED, "%s: the index is damaged: %.500s", d->path, z ? z : "");
        if (rc != 0)
            mark_broken(d);
    } else
        rc = fail(d, e, "it was being checked");
    sqlite3_finalize(q);
    return rc;
}

int64_t db_last_id(struct db *d)
{
    return sqlite3_last_insert_rowid(d->h);
}

int64_t db_changes(struct db *d)
{
    return sqlite3_changes(d->h);
}

const char *db_library_version(void)
{
    return sqlite3_libversion();
}
