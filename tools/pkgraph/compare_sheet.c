/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/compare_sheet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/pkgraph/metrics.h"
#include "tools/pkgraph/term.h"

enum { MANY_SIDES = 4, CELL_WIDTH = 40 }; /* more sides stand below each other */

static const char *const kind_names[] = {[SHEET_PARAMETER] = "parameter", [SHEET_METRIC] = "metric", [SHEET_TIME] = "time"};
static const char *const headings[] = {
    [SHEET_PARAMETER] = "parameters that differ", [SHEET_METRIC] = "metrics", [SHEET_TIME] = "time"};

void sheet_init(struct sheet *s, const char *const *sides, size_t n)
{
    *s = (struct sheet){.n_sides = n, .sides = calloc(n + 1, sizeof *s->sides)};
    s->failed = !s->sides;
    for (size_t i = 0; i < n && !s->failed; i++)
        s->failed = !(s->sides[i] = strdup(sides[i]));
}

void sheet_release(struct sheet *s)
{
    for (size_t i = 0; i < s->n; i++) {
        for (size_t k = 0; s->rows[i].cells && k < s->n_sides; k++) {
            js_free(s->rows[i].cells[k].value);
            js_free(s->rows[i].cells[k].error);
        }
        free(s->rows[i].cells);
        free(s->rows[i].node);
        free(s->rows[i].field);
    }
    for (size_t i = 0; s->sides && i < s->n_sides; i++)
        free(s->sides[i]);
    free(s->sides);
    free(s->rows);
    names_release(&s->index);
    *s = (struct sheet){0};
}

static size_t find_row(const struct sheet *s, enum sheet_kind kind, const char *node, const char *field)
{
    struct buf key = {0};
    buf_printf(&key, "%d %s\n%s", (int)kind, node, field);
    size_t i = key.failed ? NAMES_NONE : names_get(&s->index, buf_view(&key));
    buf_release(&key);
    return i;
}

static bool add_row(struct sheet *s, enum sheet_kind kind, const char *node, const char *field)
{
    struct buf key = {0};
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        struct sheet_row *v = realloc(s->rows, cap * sizeof *v);
        if (!v)
            return false;
        s->rows = v;
        s->cap = cap;
    }
    struct sheet_row *r = &s->rows[s->n++];
    *r = (struct sheet_row){kind, strdup(node), strdup(field), calloc(s->n_sides + 1, sizeof *r->cells)};
    buf_printf(&key, "%d %s\n%s", (int)kind, node, field);
    bool ok = r->node && r->field && r->cells && !key.failed && names_put(&s->index, buf_view(&key), s->n - 1);
    buf_release(&key);
    return ok;
}

void sheet_put(struct sheet *s, size_t side, enum sheet_kind kind, const char *node, const char *field, struct js *value,
               struct js *error)
{
    size_t i = s->failed ? NAMES_NONE : find_row(s, kind, node, field);
    if (i == NAMES_NONE && !s->failed) {
        s->failed = !add_row(s, kind, node, field);
        i = s->n - 1;
    }
    if (s->failed || s->rows[i].cells[side].value) {
        js_free(value);
        js_free(error);
        return;
    }
    s->rows[i].cells[side] = (struct sheet_cell){value, error};
}

/* ---- which rows ---- */

/* Do the sides that have the node differ here? Or, for the row that says so, have only some of them the node? */
static bool differs(const struct sheet *s, const struct sheet_row *r)
{
    size_t op = strcmp(r->field, "op") == 0 ? NAMES_NONE : find_row(s, SHEET_PARAMETER, r->node, "op");
    const struct js *first = NULL;
    bool any = false;
    for (size_t i = 0; i < s->n_sides; i++) {
        if (op != NAMES_NONE && !s->rows[op].cells[i].value)
            continue;
        const struct js *v = r->cells[i].value;
        if (any && (!v != !first || (v && !js_equal(v, first))))
            return true;
        first = v;
        any = true;
    }
    return false;
}

static bool shown(const struct sheet *s, const struct sheet_row *r, enum sheet_kind kind)
{
    return r->kind == kind && (kind != SHEET_PARAMETER || differs(s, r));
}

/* In tables the times of work that all sides share go into the sum alone. */
static bool in_table(const struct sheet *s, const struct sheet_row *r, enum sheet_kind kind)
{
    return shown(s, r, kind) && (kind != SHEET_TIME || strcmp(r->node, "(all)") == 0 || differs(s, r));
}

static size_t count(const struct sheet *s, enum sheet_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += in_table(s, &s->rows[i], kind);
    return n;
}

/* ---- for people ---- */

static void put_cell(struct table *t, const struct sheet_row *r, size_t side, const char *none)
{
    const struct js *v = r->cells[side].value;
    struct buf b = {0}, line = {0};
    char x[METRIC_MAX];
    if (!v)
        buf_puts(&b, none);
    else if (r->kind == SHEET_METRIC)
        buf_puts(&b, metric_text(x, r->field, js_num(v, NAN), js_num(r->cells[side].error, NAN)));
    else if (r->kind == SHEET_TIME)
        buf_puts(&b, text_seconds(x, js_num(v, 0)));
    else if (js_kind(v) == JS_STRING)
        buf_str(&b, js_str(v));
    else
        js_write(&b, v);
    text_line(&line, buf_view(&b), CELL_WIDTH);
    table_cell(t, "%s", line.p ? line.p : "");
    t->failed |= b.failed || line.failed;
    buf_release(&b);
    buf_release(&line);
}

static void row_name(struct table *t, const struct sheet_row *r)
{
    if (r->kind == SHEET_TIME)
        table_cell(t, "%s", r->node);
    else
        table_cell(t, "%s%s%s", r->node, r->kind == SHEET_PARAMETER ? "." : " ", r->field);
}

/* One side a column; one side a row when there are many. */
static struct table fill_table(const struct sheet *s, enum sheet_kind kind)
{
    bool down = s->n_sides > MANY_SIDES;
    struct table t = {.cols = down ? count(s, kind) + 1 : s->n_sides + 1};
    table_cell(&t, "%s", "");
    for (size_t i = 0; i < (down ? s->n : s->n_sides); i++)
        if (!down)
            table_cell(&t, "%s", s->sides[i]);
        else if (in_table(s, &s->rows[i], kind))
            row_name(&t, &s->rows[i]);
    for (size_t i = 0; i < (down ? s->n_sides : s->n); i++) {
        if (!down && !in_table(s, &s->rows[i], kind))
            continue;
        if (down)
            table_cell(&t, "%s", s->sides[i]);
        else
            row_name(&t, &s->rows[i]);
        for (size_t k = 0; k < (down ? s->n : s->n_sides); k++)
            if (!down)
                put_cell(&t, &s->rows[i], k, "-");
            else if (in_table(s, &s->rows[k], kind))
                put_cell(&t, &s->rows[k], i, "-");
    }
    return t;
}

static void print_markdown_table(const struct table *t)
{
    for (size_t r = 0; r * t->cols < t->n; r++) {
        for (size_t c = 0; c < t->cols; c++) {
            fputs(c ? " | " : "| ", stdout);
            for (const char *p = table_at(t, r * t->cols + c); *p; p++)
                printf("%s%c", *p == '|' ? "\\" : "", *p);
        }
        fputs(" |\n", stdout);
        for (size_t c = 0; r == 0 && c < t->cols; c++)
            fputs(c + 1 < t->cols ? (c ? "---:|" : "|---|") : (c ? "---:|\n" : "|---|\n"), stdout);
    }
}

static void print_tables(const struct sheet *s, bool markdown)
{
    bool any = false;
    for (enum sheet_kind kind = 0; kind < SHEET_KINDS; kind++) {
        if (count(s, kind) == 0)
            continue;
        struct table t = fill_table(s, kind);
        printf(markdown ? "%s**%s**\n\n" : "%s%s\n", any ? "\n" : "", headings[kind]);
        if (markdown)
            print_markdown_table(&t);
        else
            table_print(&t, true, stdout);
        table_release(&t);
        any = true;
    }
    if (!any)
        puts("nothing differs, and nothing was measured");
}

/* ---- for programs ---- */

static void csv_field(struct buf *b, struct str s)
{
    if (!memchr(s.p, '"', s.n) && !memchr(s.p, ',', s.n) && !memchr(s.p, '\n', s.n) && !memchr(s.p, '\r', s.n)) {
        buf_str(b, s);
        return;
    }
    buf_putc(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            buf_putc(b, '"');
        buf_putc(b, s.p[i]);
    }
    buf_putc(b, '"');
}

static void csv_value(struct buf *b, const struct js *v)
{
    struct buf text = {0};
    if (js_kind(v) == JS_STRING) {
        csv_field(b, js_str(v));
    } else if (v) {
        js_write(&text, v);
        csv_field(b, buf_view(&text));
    }
    b->failed |= text.failed;
    buf_release(&text);
}

static void write_csv(struct buf *b, const struct sheet *s)
{
    buf_puts(b, "kind,node,field");
    for (size_t i = 0; i < s->n_sides; i++) {
        buf_putc(b, ',');
        csv_field(b, str_of(s->sides[i]));
    }
    buf_putc(b, '\n');
    for (enum sheet_kind kind = 0; kind < SHEET_KINDS; kind++)
        for (size_t i = 0; i < s->n; i++) {
            const struct sheet_row *r = &s->rows[i];
            if (!shown(s, r, kind))
                continue;
            buf_printf(b, "%s,", kind_names[kind]);
            csv_field(b, str_of(r->node));
            buf_putc(b, ',');
            csv_field(b, str_of(r->field));
            for (size_t k = 0; k < s->n_sides; k++) {
                buf_putc(b, ',');
                csv_value(b, r->cells[k].value);
            }
            buf_putc(b, '\n');
        }
}

static struct js *row_json(const struct sheet *s, const struct sheet_row *r)
{
    struct js *o = js_object(), *values = js_array(), *errors = js_array();
    bool any = false;
    js_set(o, "node", js_new_cstr(r->node));
    js_set(o, kind_names[r->kind], js_new_cstr(r->field));
    for (size_t k = 0; k < s->n_sides; k++) {
        js_push(values, r->cells[k].value ? js_ref(r->cells[k].value) : js_new_null());
        js_push(errors, r->cells[k].error ? js_ref(r->cells[k].error) : js_new_null());
        any |= r->cells[k].error != NULL;
    }
    js_set(o, "values", values);
    if (any)
        js_set(o, "stderr", errors);
    else
        js_free(errors);
    return o;
}

static void write_json(struct buf *b, const struct sheet *s)
{
    static const char *const lists[] = {[SHEET_PARAMETER] = "parameters", [SHEET_METRIC] = "metrics", [SHEET_TIME] = "times"};
    struct js *o = js_object(), *sides = js_array();
    for (size_t i = 0; i < s->n_sides; i++)
        js_push(sides, js_new_cstr(s->sides[i]));
    js_set(o, "sides", sides);
    for (enum sheet_kind kind = 0; kind < SHEET_KINDS; kind++) {
        struct js *list = js_array();
        for (size_t i = 0; i < s->n; i++)
            if (shown(s, &s->rows[i], kind))
                js_push(list, row_json(s, &s->rows[i]));
        js_set(o, lists[kind], list);
    }
    js_write_pretty(b, o);
    buf_putc(b, '\n');
    js_free(o);
}

int sheet_print(struct sheet *s, const char *format)
{
    struct buf b = {0};
    if (s->failed) {
        say_error("out of memory");
        return 1;
    }
    if (strcmp(format, "csv") == 0) {
        write_csv(&b, s);
        return print_buf(&b);
    }
    if (strcmp(format, "json") == 0) {
        write_json(&b, s);
        return print_buf(&b);
    }
    print_tables(s, strcmp(format, "markdown") == 0);
    return 0;
}
