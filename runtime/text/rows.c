/* SPDX-License-Identifier: MIT */
#include "runtime/text/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/text/csv.h"
#include "runtime/text/row_parse.h"
#include "runtime/text/utf8.h"

enum kind { KIND_JSONL, KIND_LIST, KIND_CSV };

/* a file that gives one JSON object after the other */
struct reader {
    const char *path;
    struct fs_map map;
    struct str text;
    enum kind kind;
    size_t pos, line; /* KIND_JSONL: the next byte, the number of its line */
    size_t next;      /* KIND_LIST: the next element */
    struct js *list;
    struct csv csv;
    struct js *header; /* KIND_CSV: list of the column names */
    struct buf where;  /* the place of the last row */
};

static int refuse(const char *path, const char *what, const char *remedy, struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED, "%s: %s cannot be read; %s", path, what, remedy);
}

/* Files that are known by their name or their first bytes and not read. */
static int check_kind(const char *path, struct str text, struct err *e)
{
    static const struct {
        const char *suffix, *magic, *what, *remedy;
        size_t n;
    } table[] = {
        {".parquet", "PAR1", "Parquet",
         "convert it to JSONL: python -c \"import datasets; datasets.Dataset.from_parquet('IN').to_json('OUT.jsonl')\"",
         4},
        {".arrow", "ARROW1", "Arrow",
         "convert it to JSONL: python -c \"import datasets; datasets.Dataset.from_file('IN').to_json('OUT.jsonl')\"",
         6},
        {".gz", "\x1f\x8b", "a gzip file", "unpack it first: gunzip FILE", 2},
        {".zst", "\x28\xb5\x2f\xfd", "a zstd file", "unpack it first: zstd -d FILE", 4},
        {".xz",
         "\xfd"
         "7zXZ",
         "an xz file", "unpack it first: unxz FILE", 5},
        {".bz2", "BZh", "a bzip2 file", "unpack it first: bunzip2 FILE", 3},
        {".zip", "PK\x03\x04", "a zip file", "unpack it first: unzip FILE", 4},
        {NULL, "\xff\xfe", "UTF-16 text", "convert it first: iconv -f UTF-16 -t UTF-8 FILE", 2},
        {NULL, "\xfe\xff", "UTF-16 text", "convert it first: iconv -f UTF-16 -t UTF-8 FILE", 2},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if ((table[i].suffix && str_ends(str_of(path), table[i].suffix)) ||
            (text.n >= table[i].n && memcmp(text.p, table[i].magic, table[i].n) == 0))
            return refuse(path, table[i].what, table[i].remedy, e);
    }
    return 0;
}

static bool json_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int open_csv(struct reader *r, struct err *e)
{
    r->kind = KIND_CSV;
    csv_init(&r->csv, r->text, r->path);
    int rc = csv_next(&r->csv, e);
    if (rc < 0)
        return rc;
    if (!(r->header = js_array()))
        return err_nomem(e, 0, "a CSV header");
    for (size_t i = 0; i < r->csv.n; i++) {
        struct str name = str_trim(r->csv.fields[i]);
        if (name.n == 0 || memchr(name.p, 0, name.n) || utf8_valid(name) != name.n)
            return err_set(e, ERR_INPUT, "%s:%zu: column %zu has no proper name; a CSV file starts with a header line",
                           r->path, r->csv.first_line, i + 1);
        for (size_t k = 0; k < i; k++) {
            if (str_eq(js_str(js_at(r->header, k)), name))
                return err_set(e, ERR_INPUT, "%s:%zu: two columns have the name \"%.*s\"", r->path, r->csv.first_line,
                               (int)(name.n < 60 ? name.n : 60), name.p);
        }
        if (js_push(r->header, js_new_str(name)) < 0)
            return err_nomem(e, name.n, "a CSV header");
    }
    return 0;
}

static int reader_open(struct reader *r, const char *path, struct err *e)
{
    *r = (struct reader){.path = path, .line = 1};
    /* by name first: such a file is refused even when it is not there or not readable */
    int rc = check_kind(path, (struct str){"", 0}, e);
    if (rc < 0 || (rc = fs_map(path, &r->map, e)) < 0)
        return rc;
    r->text = (struct str){(const char *)r->map.p, r->map.n};
    if ((rc = check_kind(path, r->text, e)) < 0)
        return rc;
    if (str_starts(r->text, "\xef\xbb\xbf")) {
        r->text.p += 3;
        r->text.n -= 3;
    }
    size_t i = 0;
    while (i < r->text.n && json_space(r->text.p[i]))
        i++;
    if (i == r->text.n)
        return err_set(e, ERR_INPUT, "%s: no rows: the file is empty", path);
    if (str_ends(str_of(path), ".csv") || str_ends(str_of(path), ".CSV"))
        return open_csv(r, e);
    if (r->text.p[i] == '[') {
        r->kind = KIND_LIST;
        r->list = js_parse(r->text, path, e);
        return r->list ? 0 : e->code;
    }
    if (r->text.p[i] != '{')
        return err_set(
            e, ERR_INPUT,
            "%s: neither JSONL (one object a line) nor a JSON list; a CSV file needs a name that ends in .csv", path);
    r->kind = KIND_JSONL;
    return 0;
}

static void reader_close(struct reader *r)
{
    fs_unmap(&r->map);
    js_free(r->list);
    js_free(r->header);
    csv_release(&r->csv);
    buf_release(&r->where);
}

static int place(struct reader *r, const char *between, size_t n, struct err *e)
{
    buf_clear(&r->where);
    buf_printf(&r->where, "%s%s%zu", r->path, between, n);
    return r->where.failed ? err_nomem(e, r->where.n, "a message") : 0;
}

/* One line of JSON: js_parse counts lines from 1, ours is known. */
static struct js *parse_line(struct reader *r, struct str line, struct err *e)
{
    struct js *j = js_parse(line, "", e);
    if (j || e->code != ERR_INPUT)
        return j;
    int column = 0, used = 0;
    char text[512];
    if (sscanf(e->msg, ":%*d:%d: %n", &column, &used) != 1 || !used)
        used = 0;
    snprintf(text, sizeof text, "%.500s", e->msg + used);
    size_t bad = utf8_valid(line);
    if (bad < line.n)
        err_set(e, ERR_INPUT, "%s: not UTF-8 at byte %zu of the line; convert the file first (iconv -t UTF-8)",
                r->where.p, bad + 1);
    else
        err_set(e, ERR_INPUT, "%s:%d: %s (JSONL has one whole object a line)", r->where.p, column, text);
    return NULL;
}

static int next_line(struct reader *r, bool parse, struct js **out, struct err *e)
{
    while (r->pos < r->text.n) {
        const char *p = r->text.p + r->pos, *end = memchr(p, '\n', r->text.n - r->pos);
        struct str line = {p, end ? (size_t)(end - p) : r->text.n - r->pos};
        size_t number = r->line++;
        r->pos += line.n + (end != NULL);
        while (line.n && json_space(line.p[0])) {
            line.p++;
            line.n--;
        }
        while (line.n && json_space(line.p[line.n - 1]))
            line.n--;
        if (!line.n)
            continue;
        if (!parse)
            return 1;
        int rc = place(r, ":", number, e);
        if (rc < 0)
            return rc;
        *out = parse_line(r, line, e);
        return *out ? 1 : e->code;
    }
    return 0;
}

static int next_record(struct reader *r, bool parse, struct js **out, struct err *e)
{
    int rc = csv_next(&r->csv, e);
    if (rc <= 0 || !parse)
        return rc;
    if ((rc = place(r, ":", r->csv.first_line, e)) < 0)
        return rc;
    if (r->csv.n != js_len(r->header))
        return err_set(e, ERR_INPUT, "%s: %zu fields, but the header has %zu columns", r->where.p, r->csv.n,
                       js_len(r->header));
    struct js *j = js_object();
    for (size_t i = 0; i < r->csv.n; i++) {
        struct str f = r->csv.fields[i];
        const char *name = js_cstr(js_at(r->header, i));
        if (utf8_valid(f) != f.n) {
            js_free(j);
            return err_set(e, ERR_INPUT, "%s: the field \"%s\" is not UTF-8; convert the file first (iconv -t UTF-8)",
                           r->where.p, name);
        }
        if (!j || js_set(j, name, js_new_str(f)) < 0) {
            js_free(j);
            return err_nomem(e, f.n, "a CSV record");
        }
    }
    *out = j;
    return 1;
}

/* 1: a row (in *out, owned by the caller, when parse), 0: no more */
static int reader_next(struct reader *r, bool parse, struct js **out, struct err *e)
{
    *out = NULL;
    if (r->kind == KIND_JSONL)
        return next_line(r, parse, out, e);
    if (r->kind == KIND_CSV)
        return next_record(r, parse, out, e);
    if (r->next >= js_len(r->list))
        return 0;
    int rc = parse ? place(r, ": row ", r->next + 1, e) : 0;
    if (rc < 0)
        return rc;
    if (parse)
        *out = js_ref(js_at(r->list, r->next));
    r->next++;
    return 1;
}

static int push(struct rows *rows, size_t *cap, const struct row *row, struct err *e)
{
    if (rows->n == *cap) {
        size_t want = *cap ? 2 * *cap : 64;
        struct row *v = realloc(rows->v, want * sizeof *v);
        if (!v)
            return err_nomem(e, want * sizeof *v, "rows");
        rows->v = v;
        *cap = want;
    }
    rows->v[rows->n++] = *row;
    return 0;
}

static int read_rows(struct reader *r, size_t start, size_t limit, struct rows *out, struct err *e)
{
    size_t cap = 0;
    int rc = 0;
    for (size_t i = 0; out->n < limit; i++) {
        struct js *j;
        struct row row = {0};
        bool wanted = i >= start;
        rc = reader_next(r, wanted || (i == 0 && out->format == ROW_AUTO), &j, e);
        if (rc == 0) {
            if (out->n)
                return 0;
            return i == 0
                       ? err_set(e, ERR_INPUT, "%s: no rows in the file", r->path)
                       : err_set(e, ERR_INPUT, "%s: no rows from row %zu on: the file has %zu rows", r->path, start, i);
        }
        if (rc > 0 && out->format == ROW_AUTO)
            rc = row_detect(j, r->where.p, &out->format, e);
        if (rc >= 0 && wanted) {
            rc = row_parse(j, out->format, r->where.p, &out->mem, &row, e);
            if (rc == 0)
                rc = push(out, &cap, &row, e);
            if (rc == 0)
                j = NULL; /* the row's */
        }
        js_free(j);
        if (rc < 0) {
            js_free(row.made);
            return rc;
        }
    }
    return 0;
}

int rows_read(const char *path, enum row_format format, size_t start, size_t limit, struct rows *out, struct err *e)
{
    struct reader r;
    *out = (struct rows){.format = format};
    if (limit == 0)
        return err_set(e, ERR_INPUT, "%s: a limit of 0 leaves no rows", path);
    int rc = reader_open(&r, path, e);
    if (rc == 0)
        rc = read_rows(&r, start, limit, out, e);
    reader_close(&r);
    if (rc < 0)
        rows_release(out);
    return rc;
}

void rows_release(struct rows *r)
{
    for (size_t i = 0; i < r->n; i++) {
        js_free(r->v[i].source);
        js_free(r->v[i].made);
    }
    free(r->v);
    arena_release(&r->mem);
    *r = (struct rows){0};
}

void rows_set_chat(struct rows *r, const struct chat *chat)
{
    for (size_t i = 0; i < r->n; i++)
        r->v[i].chat = chat;
}

int rows_peek(const char *path, enum row_format format, size_t *n, enum row_format *found, struct err *e)
{
    struct reader r;
    struct arena mem = {0};
    struct row row = {0};
    struct js *j = NULL;
    *n = 0;
    *found = format;
    int rc = reader_open(&r, path, e);
    if (rc == 0)
        rc = reader_next(&r, true, &j, e);
    if (rc == 0) /* not an error of the reader: nothing came */
        rc = err_set(e, ERR_INPUT, "%s: no rows in the file", path);
    if (rc > 0 && format == ROW_AUTO)
        rc = row_detect(j, r.where.p, found, e);
    if (rc >= 0)
        rc = row_parse(j, *found, r.where.p, &mem, &row, e);
    js_free(row.made);
    js_free(j);
    if (rc == 0) {
        do
            ++*n;
        while ((rc = reader_next(&r, false, &j, e)) > 0);
    }
    reader_close(&r);
    arena_release(&mem);
    return rc;
}
