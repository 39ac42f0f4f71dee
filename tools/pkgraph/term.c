/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/term.h"

#include <langinfo.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tools/pkgraph/cli.h"

bool term_is_tty(FILE *f)
{
    const char *t = getenv("TERM");
    return isatty(fileno(f)) && t && *t && strcmp(t, "dumb") != 0;
}

bool term_colour(FILE *f)
{
    const char *no = getenv("NO_COLOR");
    return term_is_tty(f) && !(no && *no);
}

bool term_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

size_t term_width(FILE *f)
{
    struct winsize w;
    if (ioctl(fileno(f), TIOCGWINSZ, &w) == 0 && w.ws_col > 0)
        return w.ws_col;
    return 80;
}

size_t term_height(FILE *f)
{
    struct winsize w;
    if (ioctl(fileno(f), TIOCGWINSZ, &w) == 0 && w.ws_row > 0)
        return w.ws_row;
    return 24;
}

const char *colour_on(bool use, enum colour c)
{
    static const char *const codes[] = {
        [COLOUR_NONE] = "",           [COLOUR_BOLD] = "\033[1m",    [COLOUR_DIM] = "\033[2m",   [COLOUR_RED] = "\033[31m",
        [COLOUR_GREEN] = "\033[32m",  [COLOUR_YELLOW] = "\033[33m", [COLOUR_BLUE] = "\033[34m", [COLOUR_CYAN] = "\033[36m",
    };
    return use ? codes[c] : "";
}

const char *colour_off(bool use)
{
    return use ? "\033[0m" : "";
}

static void say_as(enum colour c, const char *word, const char *fmt, va_list ap)
{
    bool use = term_colour(stderr);
    fprintf(stderr, "pkgraph: %s%s%s", colour_on(use, c), word, colour_off(use));
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

void say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say_as(COLOUR_NONE, "", fmt, ap);
    va_end(ap);
}

void say_error(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say_as(COLOUR_RED, "error: ", fmt, ap);
    va_end(ap);
}

void say_err(const struct err *e)
{
    say_error("%s", e->msg);
}

char *text_seconds(char out[TEXT_MAX], double s)
{
    if (s < 0.001)
        snprintf(out, TEXT_MAX, "%.1f ms", s * 1e3);
    else if (s < 0.0995)
        snprintf(out, TEXT_MAX, "%.0f ms", s * 1e3);
    else if (s < 9.95)
        snprintf(out, TEXT_MAX, "%.1f s", s);
    else if (s < 59.5)
        snprintf(out, TEXT_MAX, "%.0f s", s);
    else if (s < 3599.5)
        snprintf(out, TEXT_MAX, "%d min %02d s", (int)(lround(s) / 60), (int)(lround(s) % 60));
    else
        snprintf(out, TEXT_MAX, "%.0f h %02d min", floor(s / 3600), (int)(fmod(s, 3600) / 60));
    return out;
}

char *text_bytes(char out[TEXT_MAX], double b)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t i = 0;
    while (b >= 1023.95 && i + 1 < sizeof unit / sizeof *unit) {
        b /= 1024;
        i++;
    }
    snprintf(out, TEXT_MAX, i && b < 99.95 ? "%.1f %s" : "%.0f %s", b, unit[i]);
    return out;
}

char *text_count(char out[TEXT_MAX], double n)
{
    if (n < 10e3)
        snprintf(out, TEXT_MAX, "%.*f", n < 10 && n != floor(n) ? 1 : 0, n);
    else if (n < 999.5e3)
        snprintf(out, TEXT_MAX, "%.1fk", n / 1e3);
    else if (n < 999.5e6)
        snprintf(out, TEXT_MAX, "%.2fM", n / 1e6);
    else
        snprintf(out, TEXT_MAX, "%.2fG", n / 1e9);
    return out;
}

char *text_when(char out[TEXT_MAX], int64_t unix_seconds)
{
    time_t t = (time_t)unix_seconds;
    struct tm tm;
    if (!localtime_r(&t, &tm) || !strftime(out, TEXT_MAX, "%Y-%m-%d %H:%M:%S", &tm))
        snprintf(out, TEXT_MAX, "?");
    return out;
}

size_t text_width(const char *z, size_t n)
{
    size_t w = 0;
    for (size_t i = 0; i < n; i++)
        w += ((unsigned char)z[i] & 0xc0) != 0x80;
    return w;
}

void text_line(struct buf *out, struct str s, size_t width)
{
    size_t w = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c & 0xc0) != 0x80 && ++w > width) {
            buf_puts(out, "...");
            return;
        }
        if (c == '\n')
            buf_puts(out, "\\n");
        else if (c == '\t')
            buf_puts(out, "\\t");
        else if (c < 0x20 || c == 0x7f)
            buf_putc(out, ' ');
        else
            buf_putc(out, (char)c);
    }
}

const char *table_at(const struct table *t, size_t i)
{
    return t->text.p + t->cells[i];
}

void table_cell(struct table *t, const char *fmt, ...)
{
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        size_t *p = realloc(t->cells, cap * sizeof *p);
        if (!p) {
            t->failed = true;
            return;
        }
        t->cells = p;
        t->cap = cap;
    }
    size_t at = t->text.n;
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    if (strcmp(fmt, "%s") == 0) {
        buf_puts(&t->text, va_arg(ap, const char *));
    } else {
        int n = vsnprintf(NULL, 0, fmt, ap);
        if (n < 0 || !buf_reserve(&t->text, (size_t)n + 1))
            t->failed = true;
        else
            t->text.n += (size_t)vsnprintf(t->text.p + at, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    va_end(ap);
    buf_putc(&t->text, 0);
    t->failed = t->failed || t->text.failed;
    if (!t->failed)
        t->cells[t->n++] = at;
}

static bool is_number(const char *z)
{
    if (*z == '-' || *z == '+' || *z == '<')
        z++;
    return *z >= '0' && *z <= '9';
}

/* A column stands to the right when every cell, its head left out, is empty, a dash or a number. */
static bool right_column(const struct table *t, size_t col, bool head)
{
    bool any = false;
    for (size_t i = (head ? t->cols : 0) + col; i < t->n; i += t->cols) {
        const char *z = table_at(t, i);
        if (!*z || strcmp(z, "-") == 0)
            continue;
        if (!is_number(z))
            return false;
        any = true;
    }
    return any;
}

static void put_spaces(struct buf *b, size_t n)
{
    static const char spaces[] = "                                ";
    for (size_t k; n; n -= k) {
        k = n < sizeof spaces - 1 ? n : sizeof spaces - 1;
        buf_put(b, spaces, k);
    }
}

static void put_row(const struct table *t, size_t row, const size_t *width, const bool *right, struct buf *b)
{
    size_t last = t->cols;
    while (last > 0 && !*table_at(t, row * t->cols + last - 1))
        last--;
    for (size_t c = 0; c < last; c++) {
        const char *z = table_at(t, row * t->cols + c);
        size_t n = strlen(z), pad = width[c] - text_width(z, n);
        put_spaces(b, right[c] ? pad : 0);
        buf_put(b, z, n);
        put_spaces(b, !right[c] && c + 1 < last ? pad : 0);
        if (c + 1 < last)
            buf_puts(b, "  ");
    }
    buf_putc(b, '\n');
}

void table_print(const struct table *t, bool head, FILE *f)
{
    if (t->failed || !t->cols || t->n < t->cols)
        return;
    size_t *width = calloc(t->cols, sizeof *width);
    bool *right = calloc(t->cols, sizeof *right), use = head && term_colour(f);
    size_t rows = t->n / t->cols;
    struct buf b = {0};
    if (!width || !right)
        goto out;
    for (size_t c = 0; c < t->cols; c++) {
        right[c] = right_column(t, c, head);
        for (size_t r = 0; r < rows; r++) {
            const char *z = table_at(t, r * t->cols + c);
            size_t w = text_width(z, strlen(z));
            width[c] = w > width[c] ? w : width[c];
        }
    }
    for (size_t r = 0; r < rows; r++) {
        buf_puts(&b, colour_on(use && r == 0, COLOUR_BOLD));
        put_row(t, r, width, right, &b);
        buf_puts(&b, colour_off(use && r == 0));
    }
    if (!b.failed)
        fwrite(b.p, 1, b.n, f);
out:
    buf_release(&b);
    free(width);
    free(right);
}

void table_release(struct table *t)
{
    buf_release(&t->text);
    free(t->cells);
    *t = (struct table){0};
}

int print_buf(struct buf *b)
{
    int status = STATUS_DONE;
    if (b->failed) {
        say_error("out of memory");
        status = STATUS_FAILED;
    } else if (b->n) {
        fwrite(b->p, 1, b->n, stdout);
    }
    buf_release(b);
    return status;
}
