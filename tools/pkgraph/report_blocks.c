/* SPDX-License-Identifier: MIT
 *
 * Blocks and factors: each window drawn on its teacher matrix, and the leading singular values of the blocks with the
 * share of energy within the cut at r. Both are grids: student layers down, kinds of matrices across.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/formats/safetensors.h"
#include "tools/pkgraph/report.h"
#include "tools/pkgraph/report_html.h"

enum { KINDS = 24, NAME = 48, CELL = 92, BOX = 60, LEFT = 78, TOP = 24, MAX_BLOCKS = 8, MAX_CELLS = 1200, BINS = 32 };

struct grid {
    char kinds[KINDS][NAME];
    size_t n_kinds;
    long layers; /* the highest + 1; what stands outside the layers is the last row */
    bool outside;
};

static int kind_at(struct grid *g, const char *kind)
{
    for (size_t i = 0; i < g->n_kinds; i++)
        if (strcmp(g->kinds[i], kind) == 0)
            return (int)i;
    if (g->n_kinds == KINDS)
        return -1;
    snprintf(g->kinds[g->n_kinds], NAME, "%s", kind);
    return (int)g->n_kinds++;
}

static void grid_of(struct grid *g, const struct js *tensors)
{
    static const char *const first[] = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
    *g = (struct grid){0};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        kind_at(g, first[i]);
    for (void *it = js_iter(tensors); it; it = js_next(tensors, it)) {
        char kind[NAME];
        long layer = report_split(js_iter_key(it), kind, sizeof kind);
        g->layers = layer >= g->layers && layer < 512 ? layer + 1 : g->layers;
        g->outside |= layer < 0;
        if (layer >= 0)
            kind_at(g, kind);
    }
}

/* Where a tensor's cell is; false: it has none. Outside the layers the columns are taken in turn. */
static bool place(struct grid *g, const char *name, size_t *outside, double *x, double *y)
{
    char kind[NAME];
    long layer = report_split(name, kind, sizeof kind);
    int k = layer < 0 ? (int)(*outside)++ : kind_at(g, kind);
    if (k < 0 || k >= KINDS || layer >= g->layers)
        return false;
    *x = LEFT + k * (double)CELL;
    *y = TOP + (double)(layer < 0 ? g->layers : layer) * CELL;
    return true;
}

static void grid_open(struct buf *b, const struct grid *g)
{
    buf_printf(b, "<figure><div class=\"scroll\"><svg role=\"img\" width=\"%zu\" height=\"%ld\">\n", LEFT + g->n_kinds * CELL,
               TOP + (g->layers + g->outside) * CELL);
    for (size_t k = 0; g->layers && k < g->n_kinds; k++) {
        buf_printf(b, "<text class=\"dim\" x=\"%zu\" y=\"14\">", LEFT + k * CELL);
        html_text(b, g->kinds[k]);
        buf_puts(b, "</text>");
    }
    for (long l = 0; l < g->layers; l++)
        buf_printf(b, "<text x=\"%d\" y=\"%ld\" text-anchor=\"end\">student %ld</text>", LEFT - 8, TOP + l * CELL + 14, l);
    buf_putc(b, '\n');
}

/* ---- windows ---- */

/* Rows or columns as stripes: a range is one, a list is counted into bins. along: the length of the side in pixels. */
static void stripes(const struct js *range, double size, double out[BINS])
{
    memset(out, 0, BINS * sizeof *out);
    int64_t start = js_int(js_get(range, "start"), 0), count = js_int(js_get(range, "count"), 0);
    if (js_kind(range) == JS_ARRAY)
        for (size_t i = 0; i < js_len(range); i++) {
            double at = js_num(js_at(range, i), -1) / size * BINS;
            if (at >= 0 && at < BINS)
                out[(size_t)at] += BINS / size;
        }
    else
        for (size_t i = 0; i < BINS; i++) {
            double low = fmax((double)i, (double)start / size * BINS), high = fmin((double)i + 1, (double)(start + count) / size * BINS);
            out[i] = fmax(0, high - low);
        }
}

static void shade_list(struct buf *b, const struct js *x, const size_t shape[2], double px, double py, double w, double h)
{
    double r[BINS], c[BINS];
    stripes(js_get(x, "rows"), (double)shape[0], r);
    stripes(js_get(x, "cols"), (double)shape[1], c);
    for (size_t i = 0; i < BINS; i++) {
        if (r[i] > 0)
            buf_printf(b, "<rect class=\"heat\" x=\"%.1f\" y=\"%.2f\" width=\"%.1f\" height=\"%.2f\" fill-opacity=\"%.2f\"/>", px,
                       py + (double)i * h / BINS, w, h / BINS, 0.45 * fmin(1, r[i]));
        if (c[i] > 0)
            buf_printf(b, "<rect class=\"heat\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" fill-opacity=\"%.2f\"/>",
                       px + (double)i * w / BINS, py, w / BINS, h, 0.45 * fmin(1, c[i]));
    }
}

static void range_text(struct buf *b, const char *what, const struct js *range)
{
    int64_t start = js_int(js_get(range, "start"), -1), count = js_int(js_get(range, "count"), 0);
    if (js_kind(range) == JS_ARRAY)
        html_textf(b, "\n%s: %zu chosen", what, js_len(range));
    else if (start >= 0)
        html_textf(b, "\n%s %lld..%lld", what, (long long)start, (long long)(start + count - 1));
}

/* How many rows or columns were chosen. */
static double side(const struct js *range)
{
    return js_kind(range) == JS_ARRAY ? (double)js_len(range) : js_num(js_get(range, "count"), 0);
}

static void window(struct buf *b, const char *name, const struct js *x, const size_t shape[2], double px, double py)
{
    double big = (double)(shape[0] > shape[1] ? shape[0] : shape[1]), w = fmax(10, BOX * (double)shape[1] / big), h = fmax(10, BOX * (double)shape[0] / big);
    const struct js *rows = js_get(x, "rows"), *cols = js_get(x, "cols");
    double score = js_num(js_get(x, "score"), NAN), total = js_num(js_get(x, "total"), NAN);
    buf_puts(b, "<g class=\"window\" data-t=\"");
    html_textf(b, "%s\nfrom %s, %zu x %zu", name, js_cstr(js_get(x, "source")) ? js_cstr(js_get(x, "source")) : "?", shape[0], shape[1]);
    range_text(b, "rows", rows);
    range_text(b, "columns", cols);
    if (total > 0)
        html_textf(b, "\n%.2f %% of the matrix's sensitivity", 100 * score / total);
    if (total > 0 && rows && cols)
        html_textf(b, " in %.2f %% of its weights", 100 * side(rows) / (double)shape[0] * side(cols) / (double)shape[1]);
    buf_printf(b, "\"><rect class=\"box\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", px, py, w, h);
    if (js_get(rows, "count") && js_get(cols, "count"))
        buf_printf(b, "<rect class=\"heat\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill-opacity=\".75\"/>",
                   px + w * js_num(js_get(cols, "start"), 0) / (double)shape[1], py + h * js_num(js_get(rows, "start"), 0) / (double)shape[0],
                   w * js_num(js_get(cols, "count"), 0) / (double)shape[1], h * js_num(js_get(rows, "count"), 0) / (double)shape[0]);
    else if (rows && cols)
        shade_list(b, x, shape, px, py, w, h);
    if (total > 0)
        buf_printf(b, "<text class=\"dim\" x=\"%.1f\" y=\"%.1f\" font-size=\"11\">%.0f %%</text>", px, py + BOX + 13, 100 * score / total);
    buf_puts(b, "</g>\n");
}

static void windows_of(struct report *r, const struct found *f)
{
    struct err e = {0};
    struct grid g;
    struct st_file *scores = NULL;
    struct js *j = report_json(r, f->a, "blocks.json");
    const struct js *tensors = js_get(j, "tensors");
    int from = report_feeder(r, f->node, "scores");
    const struct artifact *s = from >= 0 ? plan_artifact(r->s->plan, (size_t)from, 0) : NULL;
    char *path = s ? report_file(r, s, "scores.safetensors") : NULL;
    size_t outside = 0, cells = 0;
    if (!path || st_open_header(path, &scores, &e) != 0 || !tensors)
        goto out;
    buf_puts(&r->b, "<h3>");
    html_textf(&r->b, "%s, %s", r->s->graph->nodes[f->node].id, js_cstr(js_get(j, "structure")) ? js_cstr(js_get(j, "structure")) : "");
    buf_puts(&r->b, "</h3>");
    grid_of(&g, tensors);
    grid_open(&r->b, &g);
    for (void *it = js_iter(tensors); it && cells < MAX_CELLS; it = js_next(tensors, it)) {
        const struct js *x = js_iter_value(it);
        const char *source = js_cstr(js_get(x, "source"));
        const struct tensor *t = source ? st_find(scores, source) : NULL;
        double px, py;
        if (!t || t->ndim != 2 || !t->shape[0] || !t->shape[1] || !place(&g, js_iter_key(it), &outside, &px, &py))
            continue;
        window(&r->b, js_iter_key(it), x, t->shape, px, py);
        cells++;
    }
    if (g.outside)
        buf_printf(&r->b, "<text x=\"%d\" y=\"%ld\" text-anchor=\"end\">vocabulary</text>", LEFT - 8, TOP + g.layers * CELL + 14);
    buf_puts(&r->b, "</svg></div></figure>\n");
out:
    if (scores)
        st_close(scores);
    free(path);
    js_free(j);
}

void report_windows(struct report *r)
{
    size_t n, total;
    struct found *f = report_find(r, "blocks", NULL, MAX_BLOCKS, &n, &total);
    r->b.failed |= !f;
    if (f && n) {
        html_section(&r->b, "windows", "Windows on the teacher's matrices");
        buf_puts(&r->b, "<p class=\"dim\">The outline is the teacher's matrix (rows down, columns across), the filled part what the student receives; "
                        "below, its share of the matrix's sensitivity.</p>\n");
        report_left_out(r, n, total, "sets of blocks");
        for (size_t i = 0; i < n; i++)
            windows_of(r, &f[i]);
        html_section_end(&r->b);
    }
    free(f);
}

/* ---- spectra ---- */

static void spectrum(struct buf *b, const char *name, const struct js *m, double px, double py)
{
    const struct js *s = js_get(m, "singular_values");
    size_t n = js_len(s), every = n > 64 ? n / 64 : 1;
    double top = js_num(js_at(s, 0), 0), w = CELL - 20, h = BOX - 8, kept = js_num(js_get(m, "energy_kept"), NAN);
    if (n == 0 || !(top > 0))
        return;
    buf_puts(b, "<g data-t=\"");
    html_textf(b, "%s\n%zu singular values from %.4g to %.4g\n%.1f %% of the energy within r = %zu", name, n, top, js_num(js_at(s, n - 1), 0), 100 * kept, n);
    buf_printf(b, "\"><path class=\"axis\" d=\"M%.1f %.1fV%.1fH%.1f\"/><path class=\"mean\" style=\"stroke:var(--c0)\" d=\"", px, py, py + h, px + w);
    for (size_t i = 0; i < n; i += i + every < n || i + 1 == n ? every : n - 1 - i)
        buf_printf(b, "%c%.1f %.1f", i ? 'L' : 'M', px + w * (n > 1 ? (double)i / (double)(n - 1) : 0), py + h * (1 - js_num(js_at(s, i), 0) / top));
    buf_printf(b, "\"/><path d=\"M%.1f %.1fV%.1f\" style=\"stroke:var(--c1)\" stroke-dasharray=\"3 2\"/>", px + w, py, py + h);
    buf_printf(b, "<text class=\"dim\" x=\"%.1f\" y=\"%.1f\" font-size=\"11\">%.0f %% in r=%zu</text></g>\n", px, py + BOX + 6, 100 * kept, n);
}

static bool spectra_of(struct report *r, const struct found *f, bool first)
{
    struct grid g;
    struct js *j = report_json(r, f->a, "pkgraph.json");
    const struct js *modules = js_get(j, "modules");
    size_t outside = 0, cells = 0, have = 0;
    for (void *it = js_iter(modules); it; it = js_next(modules, it))
        have += js_len(js_get(js_iter_value(it), "singular_values")) > 0;
    if (have && first) {
        html_section(&r->b, "spectra", "Singular values of the blocks");
        buf_puts(&r->b, "<p class=\"dim\">From the largest down to the cut at r (dashed); below, the share of the block's energy (squared singular values) "
                        "that the adapter keeps.</p>\n");
    }
    if (have) {
        buf_puts(&r->b, "<h3>");
        html_text(&r->b, r->s->graph->nodes[f->node].id);
        buf_puts(&r->b, "</h3>");
        grid_of(&g, modules);
        grid_open(&r->b, &g);
    }
    for (void *it = have ? js_iter(modules) : NULL; it && cells < MAX_CELLS; it = js_next(modules, it), cells++) {
        double px, py;
        if (place(&g, js_iter_key(it), &outside, &px, &py))
            spectrum(&r->b, js_iter_key(it), js_iter_value(it), px, py);
    }
    if (have && g.outside)
        buf_printf(&r->b, "<text x=\"%d\" y=\"%ld\" text-anchor=\"end\">vocabulary</text>", LEFT - 8, TOP + g.layers * CELL + 14);
    if (have)
        buf_puts(&r->b, "</svg></div></figure>\n");
    js_free(j);
    return have > 0;
}

void report_spectra(struct report *r)
{
    size_t n, total, shown = 0;
    struct found *f = report_find(r, "adapter", "lora-init", 64, &n, &total);
    r->b.failed |= !f;
    for (size_t i = 0; f && i < n && shown < MAX_BLOCKS; i++)
        shown += spectra_of(r, &f[i], shown == 0);
    if (shown)
        html_section_end(&r->b);
    free(f);
}
