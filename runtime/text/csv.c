/* SPDX-License-Identifier: MIT */
#include "runtime/text/csv.h"

#include <stdlib.h>
#include <string.h>

void csv_init(struct csv *c, struct str text, const char *what)
{
    *c = (struct csv){.text = text, .what = what, .line = 1};
}

void csv_release(struct csv *c)
{
    free(c->fields);
    free(c->ends);
    buf_release(&c->store);
    *c = (struct csv){0};
}

static bool at_line_end(const struct csv *c)
{
    const char *p = c->text.p + c->pos;
    size_t left = c->text.n - c->pos;
    return left == 0 || *p == '\n' || (*p == '\r' && (left == 1 || p[1] == '\n'));
}

static void skip_line_end(struct csv *c)
{
    if (c->pos < c->text.n && c->text.p[c->pos] == '\r')
        c->pos++;
    if (c->pos < c->text.n && c->text.p[c->pos] == '\n')
        c->pos++;
    c->line++;
}

static int quoted(struct csv *c, struct err *e)
{
    size_t opened = c->line;
    for (c->pos++;;) {
        if (c->pos == c->text.n)
            return err_set(e, ERR_INPUT, "%s:%zu: a quoted field has no closing quote", c->what, opened);
        char x = c->text.p[c->pos++];
        if (x == '"') {
            if (c->pos == c->text.n || c->text.p[c->pos] != '"')
                break;
            c->pos++;
        } else if (x == '\n') {
            c->line++;
        }
        buf_putc(&c->store, x);
    }
    if (!at_line_end(c) && c->text.p[c->pos] != ',')
        return err_set(e, ERR_INPUT,
                       "%s:%zu: text after the closing quote of a field; a quote inside a field is written twice",
                       c->what, c->line);
    return 0;
}

static int field(struct csv *c, struct err *e)
{
    if (c->pos < c->text.n && c->text.p[c->pos] == '"') {
        int rc = quoted(c, e);
        if (rc < 0)
            return rc;
    } else {
        size_t from = c->pos;
        while (!at_line_end(c) && c->text.p[c->pos] != ',')
            c->pos++;
        buf_put(&c->store, c->text.p + from, c->pos - from);
    }
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 16;
        size_t *ends = realloc(c->ends, cap * sizeof *ends);
        if (ends)
            c->ends = ends;
        struct str *fields = realloc(c->fields, cap * sizeof *fields);
        if (fields)
            c->fields = fields;
        if (!ends || !fields)
            return err_nomem(e, cap * sizeof *fields, "CSV fields");
        c->cap = cap;
    }
    c->ends[c->n++] = c->store.n;
    return 0;
}

int csv_next(struct csv *c, struct err *e)
{
    while (c->pos < c->text.n && at_line_end(c))
        skip_line_end(c);
    c->n = 0;
    buf_clear(&c->store);
    c->first_line = c->line;
    if (c->pos == c->text.n)
        return 0;
    for (;;) {
        int rc = field(c, e);
        if (rc < 0)
            return rc;
        if (at_line_end(c))
            break;
        c->pos++; /* the comma */
    }
    skip_line_end(c);
    if (c->store.failed)
        return err_nomem(e, c->store.n, "a CSV record");
    for (size_t i = 0; i < c->n; i++) {
        size_t from = i ? c->ends[i - 1] : 0;
        c->fields[i] = (struct str){c->store.p ? c->store.p + from : "", c->ends[i] - from};
    }
    return 1;
}
