/* SPDX-License-Identifier: MIT
 *
 * Pictures for the terminal: the heat map of sensitivity (layers down, kinds of parameters across) and the curve of a loss
 * as one line of blocks. Shades are logarithmic; without UTF-8 they are ASCII characters.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/pkgraph/score_map.h"
#include "tools/pkgraph/show.h"
#include "tools/pkgraph/term.h"

static const char *const shades_utf8[] = {" ", "\xe2\x96\x91", "\xe2\x96\x92", "\xe2\x96\x93", "\xe2\x96\x88"};
static const char *const shades_ascii[] = {" ", ".", "+", "#", "@"};
static const char *const bars_utf8[] = {"\xe2\x96\x81", "\xe2\x96\x82", "\xe2\x96\x83", "\xe2\x96\x84",
                                        "\xe2\x96\x85", "\xe2\x96\x86", "\xe2\x96\x87", "\xe2\x96\x88"};
static const char *const bars_ascii[] = {"_", ".", ",", "-", "=", "+", "*", "#"};

/* A short head for a column: q, k, v, o, gate, up, down, norm1, norm2. */
static const char *head_of(const char *kind, char out[SCORE_NAME])
{
    if (strcmp(kind, "input_layernorm") == 0)
        return "norm1";
    if (strcmp(kind, "post_attention_layernorm") == 0)
        return "norm2";
    snprintf(out, SCORE_NAME, "%.*s", (int)strcspn(kind, "_"), kind);
    return out;
}

void show_heat(const struct score_map *m, FILE *f)
{
    enum { W = 6 };
    const char *const *shades = term_utf8() ? shades_utf8 : shades_ascii;
    double high = 0, low = INFINITY;
    for (size_t l = 0; l < m->n_layers; l++)
        for (size_t k = 0; k < m->n_kinds; k++)
            if (score_at(m, l, k) > 0) {
                high = fmax(high, score_at(m, l, k));
                low = fmin(low, score_at(m, l, k));
            }
    if (!(high > 0))
        return;
    low = fmax(low, high * 1e-4);
    fprintf(f, "\nby layer and module, from %.3g (%s) to %.3g (%s)\n%5s", low, "blank", high, shades[4], "");
    for (size_t k = 0; k < m->n_kinds; k++) {
        char name[SCORE_NAME];
        fprintf(f, " %-*.*s", W, W, head_of(m->kinds[k], name));
    }
    fputc('\n', f);
    for (size_t l = 0; l < m->n_layers; l++) {
        fprintf(f, "%4zu ", l);
        for (size_t k = 0; k < m->n_kinds; k++) {
            double v = score_at(m, l, k), a = v > low && high > low ? log(v / low) / log(high / low) : v >= high;
            int shade = a <= 0 ? 0 : (int)fmin(4, 1 + floor(a * 4));
            fputc(' ', f);
            for (int i = 0; i < W; i++)
                fputs(shades[shade], f);
        }
        fputc('\n', f);
    }
}

void show_spark(const double *v, size_t n, FILE *f)
{
    const char *const *bars = term_utf8() ? bars_utf8 : bars_ascii;
    size_t width = term_is_tty(f) ? term_width(f) : 80, columns;
    double low = INFINITY, high = -INFINITY;
    columns = width > 40 ? width - 24 : 16;
    columns = columns < n ? columns : n;
    double *mean = calloc(columns + 1, sizeof *mean);
    for (size_t i = 0; mean && i < columns; i++) {
        size_t from = i * n / columns, to = (i + 1) * n / columns;
        for (size_t k = from; k < to; k++)
            mean[i] += v[k] / (double)(to - from);
        low = fmin(low, mean[i]);
        high = fmax(high, mean[i]);
    }
    if (mean && n > 1 && isfinite(low) && isfinite(high)) {
        fprintf(f, "loss %-8.4g ", mean[0]);
        for (size_t i = 0; i < columns; i++)
            fputs(bars[high > low ? (int)fmin(7, floor((mean[i] - low) / (high - low) * 8)) : 0], f);
        fprintf(f, " %.4g\n\n", mean[columns - 1]);
    }
    free(mean);
}
