/* SPDX-License-Identifier: MIT
 *
 * Loss curves. Trainings of one model (nodes of one name: its variants, too) share a panel. The loss of every step is a
 * faint line, or from 2,000 points on a band from the lowest to the highest of each pixel column; over it lies a running mean.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "tools/pkgraph/report.h"
#include "tools/pkgraph/report_html.h"

enum { WIDTH = 760, HEIGHT = 300, LEFT = 56, RIGHT = 12, TOP = 12, BOTTOM = 34, COLUMNS = 320, DENSE = 2000, MEAN_POINTS = 160, MAX_CURVES = 120, COLOURS = 8 };

struct curve {
    const struct node *node;
    const char *panel;
    double *step, *loss;
    size_t n;
};

/* train.jsonl; what cannot be parsed ends the curve. */
static void read_curve(struct report *r, const struct artifact *a, struct curve *c)
{
    struct buf text = {0};
    struct err e = {0};
    char *path = report_file(r, a, "train.jsonl");
    size_t lines = 0;
    if (path && fs_read(path, (size_t)1 << 30, &text, &e) == 0) {
        for (size_t i = 0; i < text.n; i++)
            lines += text.p[i] == '\n';
        c->step = calloc(lines + 2, sizeof *c->step);
        c->loss = calloc(lines + 2, sizeof *c->loss);
    }
    for (size_t at = 0; c->step && c->loss && at < text.n && c->n <= lines;) {
        size_t n = strcspn(text.p + at, "\n");
        struct js *j = js_parse((struct str){text.p + at, n}, "train.jsonl", &e);
        double loss = js_num(js_get(j, "loss"), NAN);
        if (!isnan(loss)) {
            c->step[c->n] = js_num(js_get(j, "step"), (double)c->n + 1);
            c->loss[c->n++] = loss;
        }
        js_free(j);
        at += n + 1;
    }
    buf_release(&text);
    free(path);
}

struct axes {
    double x1, y0, y1; /* x from 0; y in the scale's units */
    bool log;
};

static double px(const struct axes *a, double step)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * step / a->x1;
}

static double py(const struct axes *a, double loss)
{
    double v = a->log ? log10(fmax(loss, 1e-12)) : loss;
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (v - a->y0) / (a->y1 - a->y0));
}

static struct axes axes_of(const struct curve *v, size_t n)
{
    double low = INFINITY, high = -INFINITY;
    struct axes a = {.x1 = 1};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < v[i].n; k++) {
            a.x1 = fmax(a.x1, v[i].step[k]);
            low = fmin(low, v[i].loss[k]);
            high = fmax(high, v[i].loss[k]);
        }
    a.log = low > 0 && high / low > 12;
    double room = fmax((high - low) / 8, high / 100);
    a.y0 = a.log ? floor(4 * log10(low)) / 4 : low > 0.6 * high ? low - room : fmin(0, low);
    a.y1 = a.log ? ceil(4 * log10(high)) / 4 : high + room;
    if (!(a.y1 > a.y0))
        a.y1 = a.y0 + 1;
    return a;
}

/* 1, 2 or 5 times a power of ten, so that about n steps fit. */
static double tick_step(double range, int n)
{
    double raw = range / n, p = pow(10, floor(log10(raw))), m = raw / p;
    return p * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

static void y_tick(struct buf *b, const struct axes *a, double v)
{
    double y = py(a, v);
    if (y < TOP - 1 || y > HEIGHT - BOTTOM + 1)
        return;
    buf_printf(b, "<path class=\"axis\" d=\"M%d %.1fH%d\"/><text class=\"dim\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n", LEFT, y,
               WIDTH - RIGHT, LEFT - 6, y + 4, v);
}

static void draw_axes(struct buf *b, const struct axes *a)
{
    double sx = tick_step(a->x1, 8);
    if (a->log) {
        static const double at[] = {1, 2, 5};
        for (double p = floor(a->y0); p <= a->y1; p += 1)
            for (size_t i = 0; i < 3; i++)
                y_tick(b, a, pow(10, p) * at[i]);
    } else {
        double sy = tick_step(a->y1 - a->y0, 5);
        for (double v = ceil(a->y0 / sy) * sy; v <= a->y1; v += sy)
            y_tick(b, a, v);
    }
    for (double v = 0; v <= a->x1; v += fmax(sx, 1))
        buf_printf(b, "<text class=\"dim\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>", px(a, v), HEIGHT - BOTTOM + 16, v);
    buf_printf(b, "<text class=\"dim\" x=\"%d\" y=\"%d\" text-anchor=\"end\">optimiser step</text><text class=\"dim\" x=\"%d\" y=\"%d\">loss%s</text>\n",
               WIDTH - RIGHT, HEIGHT - 4, LEFT + 4, TOP + 2, a->log ? ", logarithmic" : "");
}

static void draw_raw(struct buf *b, const struct axes *a, const struct curve *c, size_t colour)
{
    if (c->n <= DENSE) {
        buf_printf(b, "<path class=\"raw\" style=\"stroke:var(--c%zu)\" d=\"", colour);
        for (size_t k = 0; k < c->n; k++)
            buf_printf(b, "%c%.1f %.1f", k ? 'L' : 'M', px(a, c->step[k]), py(a, c->loss[k]));
        buf_puts(b, "\"/>");
        return;
    }
    double low[COLUMNS], high[COLUMNS];
    for (size_t i = 0; i < COLUMNS; i++) {
        low[i] = INFINITY;
        high[i] = -INFINITY;
    }
    for (size_t k = 0; k < c->n; k++) {
        size_t i = (size_t)fmin(COLUMNS - 1, fmax(0, c->step[k] / a->x1 * COLUMNS));
        low[i] = fmin(low[i], c->loss[k]);
        high[i] = fmax(high[i], c->loss[k]);
    }
    buf_printf(b, "<path class=\"band\" style=\"fill:var(--c%zu)\" d=\"", colour);
    char with = 'M';
    for (size_t i = 0; i < COLUMNS; i++)
        if (high[i] >= low[i]) {
            buf_printf(b, "%c%.1f %.1f", with, px(a, ((double)i + .5) / COLUMNS * a->x1), py(a, high[i]));
            with = 'L';
        }
    for (size_t i = COLUMNS; i-- > 0;)
        if (high[i] >= low[i])
            buf_printf(b, "L%.1f %.1f", px(a, ((double)i + .5) / COLUMNS * a->x1), py(a, low[i]));
    buf_puts(b, "Z\"/>");
}

/* Mean over a fiftieth of the curve, centred, so that it does not lag behind a fast descent. */
static void draw_mean(struct buf *b, const struct axes *a, const struct curve *c, size_t colour, size_t dash)
{
    static const char *const dashes[] = {"", "6 3", "2 3", "9 3 2 3"};
    size_t every = (c->n + MEAN_POINTS - 1) / MEAN_POINTS, half = c->n / 100;
    buf_printf(b, "<path class=\"mean\" style=\"stroke:var(--c%zu)\" stroke-dasharray=\"%s\" d=\"", colour, dashes[dash % 4]);
    for (size_t k = 0; k < c->n; k++) {
        double sum = 0;
        if (k % every && k + 1 < c->n)
            continue;
        size_t reach = k < half ? k : half;
        reach = c->n - 1 - k < reach ? c->n - 1 - k : reach;
        for (size_t i = k - reach; i <= k + reach; i++)
            sum += c->loss[i];
        buf_printf(b, "%c%.1f %.1f", k ? 'L' : 'M', px(a, c->step[k]), py(a, sum / (double)(2 * reach + 1)));
    }
    buf_puts(b, "\"/>");
}

static void draw_curve(struct buf *b, const struct axes *a, const struct curve *c, size_t id, size_t at)
{
    buf_printf(b, "<g class=\"k%zu\" data-t=\"", id);
    html_textf(b, "%s: loss %.5g at step %.0f, %.5g at step %.0f", c->node->id, c->loss[0], c->step[0], c->loss[c->n - 1], c->step[c->n - 1]);
    buf_puts(b, "\">");
    draw_raw(b, a, c, at % COLOURS);
    draw_mean(b, a, c, at % COLOURS, at / COLOURS);
    buf_puts(b, "</g>\n");
}

static void draw_key(struct buf *b, const struct curve *c, size_t id, size_t at)
{
    buf_printf(b, "<label class=\"key\"><input type=\"checkbox\" checked=\"checked\" data-s=\"k%zu\"/><i style=\"background:var(--c%zu)\"></i>", id,
               at % COLOURS);
    html_text(b, c->node->id);
    buf_puts(b, " <span class=\"dim\">last loss <span class=\"last\" data-v=\"");
    html_num(b, c->loss[c->n - 1]);
    buf_printf(b, "\">%.4f</span></span></label>\n", c->loss[c->n - 1]);
}

static void panel(struct report *r, const struct curve *v, size_t n, size_t first_id)
{
    struct axes a = axes_of(v, n);
    buf_puts(&r->b, "<h3>");
    html_textf(&r->b, "Training of %s", v[0].panel);
    buf_printf(&r->b, "</h3><figure><div class=\"scroll\"><svg role=\"img\" width=\"%d\" height=\"%d\">\n", WIDTH, HEIGHT);
    draw_axes(&r->b, &a);
    for (size_t i = 0; i < n; i++)
        draw_curve(&r->b, &a, &v[i], first_id + i, i);
    buf_puts(&r->b, "</svg></div><figcaption>");
    for (size_t i = 0; i < n; i++)
        draw_key(&r->b, &v[i], first_id + i, i);
    buf_puts(&r->b, "</figcaption></figure>\n");
}

static int by_panel(const void *a, const void *b)
{
    const struct curve *x = a, *y = b;
    int d = strcmp(x->panel, y->panel);
    return d ? d : x->node < y->node ? -1 : x->node > y->node;
}

void report_curves(struct report *r)
{
    size_t n, total, curves = 0;
    struct found *f = report_find(r, "log", NULL, MAX_CURVES, &n, &total);
    struct curve *v = calloc(n + 1, sizeof *v);
    r->b.failed |= !f || !v;
    for (size_t i = 0; f && v && i < n; i++) {
        struct curve c = {.node = &r->s->graph->nodes[f[i].node]};
        int model = report_feeder(r, f[i].node, "model");
        c.panel = model >= 0 ? r->s->graph->nodes[model].base : c.node->base;
        read_curve(r, f[i].a, &c);
        if (c.n > 0) {
            v[curves++] = c;
        } else {
            free(c.step);
            free(c.loss);
        }
    }
    if (curves) {
        qsort(v, curves, sizeof *v, by_panel);
        html_section(&r->b, "loss", "Loss in training");
        buf_puts(&r->b, "<p class=\"dim\">Thick: a running mean. Faint: every step, or where there are more than 2,000 the lowest and the highest of "
                        "each column.</p>\n");
        report_left_out(r, n, total, "training logs");
    }
    for (size_t i = 0, k; i < curves; i = k) {
        for (k = i + 1; k < curves && strcmp(v[k].panel, v[i].panel) == 0;)
            k++;
        panel(r, v + i, k - i, i);
    }
    if (curves)
        html_section_end(&r->b);
    for (size_t i = 0; i < curves; i++) {
        free(v[i].step);
        free(v[i].loss);
    }
    free(v);
    free(f);
}
