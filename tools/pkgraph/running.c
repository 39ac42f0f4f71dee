/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/running.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tools/pkgraph/term.h"

enum { NAME_MAX_WIDTH = 32, NAME_MIN_WIDTH = 8 };

size_t running_room(const struct running *r)
{
    size_t rows = r->height > 3 ? r->height - 2 : 1; /* the last line, and the one that the cursor stands in */
    return rows < RUNNING_MAX ? rows : RUNNING_MAX;
}

/* The terminal may have become narrower since: a line then fills several rows. */
void running_clear(struct running *r, struct buf *out)
{
    size_t rows = 0;
    for (size_t i = 0; i < r->n_drawn; i++)
        rows += r->drawn[i] ? (r->drawn[i] - 1) / r->width + 1 : 1;
    if (rows)
        buf_printf(out, "\033[%zuA\r\033[J", rows);
    r->n_drawn = 0;
}

void running_name(const struct running *r, const char *name, size_t width, struct buf *out)
{
    size_t n = strlen(name), gap = r->utf8 ? 1 : 2; /* names are ASCII */
    if (n <= width || width < 2 * gap + 2) {
        buf_printf(out, "%-*.*s", (int)width, (int)width, name);
        return;
    }
    size_t tail = (width - gap) / 2, head = width - gap - tail;
    buf_printf(out, "%.*s%s%s", (int)head, name, r->utf8 ? "\u2026" : "..", name + n - tail);
}

static void put_bar(struct buf *b, bool utf8, double share, size_t cells)
{
    static const char *const eighths[] = {"", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a", "\u2589"};
    size_t full = (size_t)(share * (double)cells), used = full;
    size_t rest = (size_t)(share * (double)cells * 8) - 8 * full;
    if (!utf8)
        buf_putc(b, '[');
    for (size_t i = 0; i < full; i++)
        buf_puts(b, utf8 ? "\u2588" : "=");
    if (utf8 && full < cells && rest) {
        buf_puts(b, eighths[rest]);
        used++;
    }
    for (size_t i = used; i < cells; i++)
        buf_putc(b, ' ');
    if (!utf8)
        buf_putc(b, ']');
    buf_putc(b, ' ');
}

enum { FACT_MEMORY = 1, FACT_RATE = 2, FACT_LEFT = 4, FACT_BAR = 8 };

/* "13 steps/s, 40 s left, 44.2 MiB": those of `facts` that are known, `comma` before the first. */
static void put_facts(struct buf *b, const struct running_line *l, unsigned facts, const char *comma)
{
    char x[TEXT_MAX];
    if (facts & FACT_RATE && l->rate > 0) {
        if (strcmp(l->unit, "bytes") == 0)
            buf_printf(b, "%s%s/s", comma, text_bytes(x, l->rate));
        else
            buf_printf(b, "%s%s %s/s", comma, text_count(x, l->rate), l->unit);
        comma = ", ";
    }
    if (facts & FACT_LEFT && l->left > 0) {
        buf_printf(b, "%s%s left", comma, text_seconds(x, l->left));
        comma = ", ";
    }
    if (facts & FACT_MEMORY && l->memory > 0)
        buf_printf(b, "%s%s", comma, text_bytes(x, l->memory));
}

void running_facts(const struct running_line *l, struct buf *out)
{
    put_facts(out, l, FACT_RATE | FACT_LEFT | FACT_MEMORY, "");
}

static void put_line(const struct running *r, const struct running_line *l, size_t name_width, unsigned facts, struct buf *b)
{
    char x[TEXT_MAX];
    buf_clear(b);
    buf_puts(b, "  ");
    running_name(r, l->name, name_width, b);
    buf_putc(b, ' ');
    if (l->waits_for) {
        buf_printf(b, "waits for %s", l->waits_for);
        return;
    }
    if (l->share >= 0) {
        if (facts & FACT_BAR)
            put_bar(b, r->utf8, l->share, r->width < 60 ? 10 : 20);
        buf_printf(b, "%3.0f%%", floor(100 * l->share));
    } else {
        buf_puts(b, text_seconds(x, l->seconds));
    }
    put_facts(b, l, facts, "  ");
}

/* The first `width` characters. */
static size_t cut_at(const char *z, size_t n, size_t width)
{
    size_t w = 0, i = 0;
    for (; i < n; i++)
        if (((unsigned char)z[i] & 0xc0) != 0x80 && ++w > width)
            break;
    return i;
}

/* Appends the line in b, cut to the terminal, and remembers its width. */
static void put(struct running *r, const struct buf *b, struct buf *out)
{
    if (b->failed || !b->p || r->n_drawn > RUNNING_MAX)
        return;
    size_t n = cut_at(b->p, b->n, r->width > 1 ? r->width - 1 : 1);
    buf_put(out, b->p, n);
    buf_putc(out, '\n');
    r->drawn[r->n_drawn++] = text_width(b->p, n);
}

void running_draw(struct running *r, const struct running_line *l, struct buf *out)
{
    static const unsigned choices[] = {FACT_BAR | FACT_LEFT | FACT_RATE | FACT_MEMORY, FACT_BAR | FACT_LEFT | FACT_RATE, FACT_BAR | FACT_LEFT,
                                       FACT_LEFT, 0};
    size_t third = r->width / 3 > NAME_MIN_WIDTH ? r->width / 3 : NAME_MIN_WIDTH, name = r->name_width;
    struct buf b = {0};
    name = name > NAME_MAX_WIDTH ? NAME_MAX_WIDTH : name;
    name = name > third ? third : name;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        put_line(r, l, name, choices[i], &b);
        if (b.failed || text_width(b.p, b.n) < r->width)
            break;
    }
    put(r, &b, out);
    buf_release(&b);
}

void running_total(struct running *r, size_t done, size_t of, size_t more, struct buf *out)
{
    struct buf b = {0};
    buf_printf(&b, "  %zu of %zu done", done, of);
    if (more)
        buf_printf(&b, ", %zu more running", more);
    buf_puts(out, colour_on(r->colour, COLOUR_DIM));
    put(r, &b, out);
    buf_puts(out, colour_off(r->colour));
    buf_release(&b);
}
