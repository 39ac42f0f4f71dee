/* SPDX-License-Identifier: MIT
 *
 * Problems are kept in the order in which they were found and shown in the order of their places. One that says the same
 * about the same place is kept once: a node that a sweep multiplies has one mistake, not one a point. Names of files are
 * copied, so that diags outlive the parser and the graph.
 */
#include "engine/diag.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/names.h"
#include "runtime/base/err.h"

enum { MAX_KEPT = 1000, MAX_SHOWN = 50, MAX_VIA = 16, WINDOW = 110 };

struct source {
    const char *file;
    char *text;
    size_t n;
    size_t n_lines, *lines; /* byte offset of every line */
    struct place parent;    /* the `extends:` that named it; file NULL: none */
};

struct entry {
    struct diag d;
    size_t order, file; /* file: index of its source */
};

struct diags {
    struct names files;  /* name -> index of source */
    struct names seen;   /* place and text -> 1 */
    size_t n_sources, n, errors, reports, dropped;
    struct source *sources;
    struct entry *v;
    bool last_kept, sorted;
};

struct diags *diags_new(void)
{
    return calloc(1, sizeof(struct diags));
}

void diags_free(struct diags *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n; i++) {
        struct diag *g = &d->v[i].d;
        free(g->text);
        free(g->hint);
        for (size_t j = 0; j < g->n_via; j++)
            free(g->via[j].text);
        free(g->via);
    }
    for (size_t i = 0; i < d->n_sources; i++) {
        free(d->sources[i].text);
        free(d->sources[i].lines);
    }
    free(d->sources);
    free(d->v);
    names_release(&d->files);
    names_release(&d->seen);
    free(d);
}

/* The entry of a file, made when new; NULL when out of memory. */
static struct source *source_of(struct diags *d, const char *file)
{
    struct str name = str_of(file);
    size_t i = names_get(&d->files, name);
    if (i != NAMES_NONE)
        return &d->sources[i];
    struct source *p = realloc(d->sources, (d->n_sources + 1) * sizeof *p);
    if (!p)
        return NULL;
    d->sources = p;
    const char *copy = names_put(&d->files, name, d->n_sources);
    if (!copy)
        return NULL;
    p[d->n_sources] = (struct source){.file = copy};
    return &p[d->n_sources++];
}

static struct place own_place(struct diags *d, struct place at)
{
    const struct source *s = source_of(d, at.file ? at.file : "");
    at.file = s ? s->file : "";
    return at;
}

int diags_add_source(struct diags *d, const char *file, struct str text)
{
    struct source *s = source_of(d, file);
    if (!s)
        return ERR_NOMEM;
    if (s->text)
        return 0;
    size_t n_lines = 1;
    for (size_t i = 0; i < text.n; i++)
        n_lines += text.p[i] == '\n';
    char *copy = str_dup(text);
    size_t *lines = malloc((n_lines + 1) * sizeof *lines);
    if (!copy || !lines) {
        free(copy);
        free(lines);
        return ERR_NOMEM;
    }
    size_t at = 0;
    lines[at++] = 0;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\n')
            lines[at++] = i + 1;
    lines[n_lines] = text.n + 1; /* as if a newline stood at the end */
    s->text = copy;
    s->n = text.n;
    s->lines = lines;
    s->n_lines = n_lines;
    return 0;
}

int diags_set_parent(struct diags *d, const char *file, struct place from)
{
    from = own_place(d, from);
    struct source *s = source_of(d, file);
    if (!s)
        return ERR_NOMEM;
    if (!s->parent.file)
        s->parent = from;
    return 0;
}

/* Remembers (place, text); false when it was there already. */
static bool is_new(struct diags *d, struct place at, const char *text)
{
    struct buf key = {0};
    buf_printf(&key, "%s\n%d\n%d\n%s", at.file, at.line, at.column, text);
    bool fresh = !key.failed && names_get(&d->seen, buf_view(&key)) == NAMES_NONE;
    if (fresh)
        names_put(&d->seen, buf_view(&key), 1);
    buf_release(&key);
    return fresh;
}

__attribute__((format(printf, 1, 0), nonnull(1)))
static char *format(const char *fmt, va_list ap)
{
    va_list ap2;
    va_copy(ap2, ap);
    int n = vsnprintf(NULL, 0, fmt, ap2);
    va_end(ap2);
    char *z = n < 0 ? NULL : malloc((size_t)n + 1);
    if (z)
        vsnprintf(z, (size_t)n + 1, fmt, ap);
    for (char *c = z; c && *c; c++) /* names from the file must not steer the terminal */
        if (((unsigned char)*c < 0x20 && *c != '\n') || *c == 0x7f)
            *c = '?';
    return z;
}

static bool keep(struct diags *d, struct diag g)
{
    if ((d->n & (d->n + 1)) == 0) { /* n + 1 is a power of two: grow to 2 (n + 1) */
        struct entry *v = realloc(d->v, (d->n + 1) * 2 * sizeof *v);
        if (!v)
            return false;
        d->v = v;
    }
    d->v[d->n] = (struct entry){g, d->n, names_get(&d->files, str_of(g.at.file))};
    d->n++;
    d->sorted = false;
    return true;
}

void diag_add(struct diags *d, enum diag_level level, struct place at, const char *hint, const char *fmt, ...)
{
    d->last_kept = false;
    d->errors += level == DIAG_ERROR;
    d->reports += level == DIAG_ERROR;
    va_list ap;
    va_start(ap, fmt);
    char *text = format(fmt, ap);
    va_end(ap);
    at = own_place(d, at);
    if (text && !is_new(d, at, text)) {
        d->errors -= level == DIAG_ERROR;
        free(text);
        return;
    }
    char *h = text && hint && *hint ? str_dup(str_of(hint)) : NULL;
    if (!text || d->n >= MAX_KEPT || !keep(d, (struct diag){.level = level, .at = at, .text = text, .hint = h})) {
        d->dropped++;
        free(text);
        free(h);
        return;
    }
    d->last_kept = true;
}

void diag_via(struct diags *d, struct place at, const char *fmt, ...)
{
    if (!d->last_kept)
        return;
    struct diag *g = NULL; /* sorting may have moved it */
    for (size_t i = d->n; i-- && !g;)
        if (d->v[i].order == d->n - 1)
            g = &d->v[i].d;
    if (!g || g->n_via >= MAX_VIA)
        return;
    struct diag_via *v = realloc(g->via, (g->n_via + 1) * sizeof *v);
    if (!v)
        return;
    g->via = v;
    va_list ap;
    va_start(ap, fmt);
    char *text = format(fmt, ap);
    va_end(ap);
    if (text)
        v[g->n_via++] = (struct diag_via){own_place(d, at), text};
}

size_t diags_reports(const struct diags *d)
{
    return d->reports;
}

size_t diags_errors(const struct diags *d)
{
    return d->errors;
}

size_t diags_count(const struct diags *d)
{
    return d->n;
}

static int by_place(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    const struct place *x = &a->d.at, *y = &b->d.at;
    if (a->file != b->file) /* files in the order in which they were read: the user's own first */
        return a->file < b->file ? -1 : 1;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

const struct diag *diags_at(const struct diags *d, size_t i)
{
    if (i >= d->n)
        return NULL;
    if (!d->sorted) {
        struct diags *w = (struct diags *)d;
        qsort(w->v, w->n, sizeof *w->v, by_place);
        w->sorted = true;
    }
    return &d->v[i].d;
}

/* ---- printing ---- */

static const char *paint(bool colour, const char *code)
{
    return colour ? code : "";
}

#define RED "\033[1;31m"
#define YELLOW "\033[1;33m"
#define BOLD "\033[1m"
#define DIM "\033[2m"
#define CYAN "\033[36m"
#define RESET "\033[0m"

static void put_place(struct buf *out, struct place at)
{
    buf_puts(out, at.file && *at.file ? at.file : "spec");
    if (at.line > 0)
        buf_printf(out, ":%d:%d", at.line, at.column > 0 ? at.column : 1);
}

/* Bytes of the character at s, at least 1; *shown: it can go to a terminal as it is. */
static size_t char_len(struct str s, bool *shown)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    *shown = n > 0 && n <= s.n && c >= 0x20 && c != 0x7f && !(c == 0xc2 && s.n > 1 && (unsigned char)s.p[1] < 0xa0);
    for (size_t i = 1; i < n && *shown; i++)
        *shown = ((unsigned char)s.p[i] & 0xc0) == 0x80;
    return *shown ? n : 1;
}

/* Characters [from, to) of a line, and dots for the rest; tabs become blanks and what a terminal would act on becomes `?`.
 * Returns the column at the end. */
static size_t put_slice(struct buf *out, struct str line, size_t from, size_t to)
{
    size_t col = 0, i = 0;
    for (; i < line.n && col < to; col++) {
        bool shown;
        size_t n = char_len((struct str){line.p + i, line.n - i}, &shown);
        if (col >= from && shown)
            buf_put(out, line.p + i, n);
        else if (col >= from)
            buf_putc(out, line.p[i] == '\t' ? ' ' : '?');
        i += n;
    }
    if (i < line.n)
        buf_puts(out, "...");
    return col;
}

static void put_excerpt(const struct diags *d, struct place at, bool colour, const char *tone, struct buf *out)
{
    size_t i = names_get(&d->files, str_of(at.file));
    const struct source *s = i == NAMES_NONE ? NULL : &d->sources[i];
    if (!s || !s->text || at.line < 1 || (size_t)at.line > s->n_lines)
        return;
    struct str line = {s->text + s->lines[at.line - 1], s->lines[at.line] - s->lines[at.line - 1] - 1};
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    size_t col = at.column > 0 ? (size_t)at.column - 1 : 0;
    size_t from = col > WINDOW - 30 ? col - (WINDOW - 30) : 0;
    buf_printf(out, "%s%5d |%s %s", paint(colour, DIM), at.line, paint(colour, RESET), from ? "..." : "");
    size_t end = put_slice(out, line, from, from + WINDOW);
    buf_printf(out, "\n%s      |%s ", paint(colour, DIM), paint(colour, RESET));
    for (size_t k = 0; k < col - from + (from ? 3 : 0); k++)
        buf_putc(out, ' ');
    buf_puts(out, paint(colour, tone));
    size_t len = at.length > 1 ? (size_t)at.length : 1;
    if (col + len > end)
        len = end > col ? end - col : 1;
    for (size_t k = 0; k < len; k++)
        buf_putc(out, k ? '~' : '^');
    buf_printf(out, "%s\n", paint(colour, RESET));
}

static void put_via(const struct diags *d, const struct diag *g, bool colour, struct buf *out)
{
    for (size_t j = 0; j < g->n_via; j++) {
        buf_printf(out, "      %s=%s ", paint(colour, DIM), paint(colour, RESET));
        put_place(out, g->via[j].at);
        buf_printf(out, ": %s\n", g->via[j].text);
    }
    struct place at = g->n_via ? g->via[g->n_via - 1].at : g->at;
    for (int depth = 0; depth < MAX_VIA; depth++) {
        size_t i = names_get(&d->files, str_of(at.file));
        if (i == NAMES_NONE || !d->sources[i].parent.file)
            return;
        at = d->sources[i].parent;
        buf_printf(out, "      %s=%s ", paint(colour, DIM), paint(colour, RESET));
        put_place(out, at);
        buf_puts(out, ": extended here\n");
    }
}

static void put_diag(const struct diags *d, const struct diag *g, bool colour, struct buf *out)
{
    const char *tone = g->level == DIAG_ERROR ? RED : YELLOW;
    buf_puts(out, paint(colour, BOLD));
    put_place(out, g->at);
    buf_printf(out, ":%s %s%s:%s %s\n", paint(colour, RESET), paint(colour, tone),
               g->level == DIAG_ERROR ? "error" : "warning", paint(colour, RESET), g->text);
    put_excerpt(d, g->at, colour, tone, out);
    if (g->hint)
        buf_printf(out, "      %s= hint:%s %s\n", paint(colour, CYAN), paint(colour, RESET), g->hint);
    put_via(d, g, colour, out);
}

/* In the order of their places; of too many, errors before warnings. */
void diags_print(const struct diags *d, bool colour, struct buf *out)
{
    size_t left[2] = {MAX_SHOWN, MAX_SHOWN}, errors = 0, more = d->dropped;
    for (size_t i = 0; i < d->n; i++)
        errors += d->v[i].d.level == DIAG_ERROR;
    left[DIAG_WARNING] -= errors < MAX_SHOWN ? errors : MAX_SHOWN;
    for (size_t i = 0; i < d->n; i++) {
        const struct diag *g = diags_at(d, i);
        if (left[g->level]) {
            put_diag(d, g, colour, out);
            left[g->level]--;
        } else {
            more++;
        }
    }
    if (more)
        buf_printf(out, "... and %zu more\n", more);
}

/* ---- nearest name ---- */

enum { WORD = 128 };

static unsigned char fold(char c)
{
    return c == '-' ? '_' : c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : (unsigned char)c;
}

/* Optimal string alignment: insert, delete, replace, swap of neighbours; case and -/_ count as equal. */
static size_t distance(const char *a, size_t na, const char *b, size_t nb)
{
    size_t row[3][WORD + 1];
    for (size_t j = 0; j <= nb; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *now = row[i % 3], *up = row[(i - 1) % 3], *up2 = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned char x = fold(a[i - 1]), y = fold(b[j - 1]);
            size_t best = up[j - 1] + (x != y);
            best = up[j] + 1 < best ? up[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && x == fold(b[j - 2]) && fold(a[i - 2]) == y && up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[na % 3][nb];
}

void nearest_see(struct nearest *x, const char *name)
{
    size_t na = strlen(x->word), nb = strlen(name);
    if (na == 0 || na > WORD || nb == 0)
        return;
    if (na >= 4 && (strstr(name, x->word) || (nb >= 4 && strstr(x->word, name))) && (!x->holder || nb < x->holder_len)) {
        x->holder = name;
        x->holder_len = nb;
    }
    size_t longer = na > nb ? na : nb, apart = na > nb ? na - nb : nb - na;
    if (nb > WORD || apart * 3 > longer || (x->best && apart >= x->distance))
        return;
    size_t d = distance(x->word, na, name, nb);
    if ((!x->best || d < x->distance) && d * 3 <= longer && d < longer) {
        x->distance = d;
        x->best = name;
    }
}

const char *nearest_found(const struct nearest *x)
{
    return x->best ? x->best : x->holder;
}

const char *nearest_name(const char *word, const char *const *names, size_t n)
{
    struct nearest x = {.word = word};
    for (size_t i = 0; i < n; i++)
        nearest_see(&x, names[i]);
    return nearest_found(&x);
}
