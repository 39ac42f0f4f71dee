/* SPDX-License-Identifier: MIT
 *
 * The heat map of sensitivity: layers down, kinds of parameters across, with the layers that a layer map keeps.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/pkgraph/report.h"
#include "tools/pkgraph/report_html.h"
#include "tools/pkgraph/score_map.h"

enum { CELL_W = 66, CELL_H = 20, LEFT = 70, TOP = 62, BAR = 120, MAX_MAPS = 8 };

/* 0..1 on a logarithmic scale of at most four decades: modules differ by orders of magnitude. */
struct scale {
    double low, high;
};

static struct scale scale_of(const struct score_map *m)
{
    struct scale s = {INFINITY, 0};
    for (size_t l = 0; l < m->n_layers; l++)
        for (size_t k = 0; k < m->n_kinds; k++) {
            double v = score_at(m, l, k);
            if (v > 0) {
                s.low = fmin(s.low, v);
                s.high = fmax(s.high, v);
            }
        }
    s.low = fmax(s.low, s.high * 1e-4);
    return s;
}

static double shade(const struct scale *s, double v)
{
    if (!(v > s->low) || !(s->high > s->low))
        return 0.03;
    return 0.03 + 0.97 * log(v / s->low) / log(s->high / s->low);
}

static void cell(struct buf *b, const struct score_map *m, const struct scale *s, size_t l, size_t k)
{
    double v = score_at(m, l, k), x = LEFT + (double)k * CELL_W, y = TOP + (double)l * CELL_H, a = shade(s, v);
    buf_puts(b, "<g data-t=\"");
    html_textf(b, "layer %zu, %s: S = %.6g", l, m->kinds[k], v);
    buf_printf(b, "\"><rect class=\"heat\" x=\"%.0f\" y=\"%.0f\" width=\"%d\" height=\"%d\" fill-opacity=\"%.2f\"/>", x, y, CELL_W - 2, CELL_H - 2, a);
    buf_printf(b, "<text%s x=\"%.0f\" y=\"%.0f\" text-anchor=\"middle\" font-size=\"11\">%.2g</text></g>", a > 0.55 ? " class=\"inv\"" : "",
               x + CELL_W / 2.0 - 1, y + 13, v);
}

static void column_heads(struct buf *b, const struct score_map *m)
{
    for (size_t k = 0; k < m->n_kinds; k++) {
        double x = LEFT + (double)k * CELL_W + 14;
        buf_printf(b, "<text class=\"dim\" x=\"%.0f\" y=\"%d\" font-size=\"11\" transform=\"rotate(-32 %.0f %d)\">", x, TOP - 6, x, TOP - 6);
        html_textf(b, "%.14s", strcmp(m->kinds[k], "post_attention_layernorm") == 0 ? "post_norm"
                               : strcmp(m->kinds[k], "input_layernorm") == 0        ? "input_norm"
                                                                                    : m->kinds[k]);
        buf_puts(b, "</text>");
    }
}

/* Student layers that teacher layer l feeds: "-> 0, 3". */
static void fed(struct buf *b, const struct js *map, size_t l, double x, double y)
{
    bool any = false;
    for (size_t i = 0; i < js_len(map); i++) {
        if (js_int(js_at(map, i), -1) != (int64_t)l)
            continue;
        if (any)
            buf_printf(b, ", %zu", i);
        else
            buf_printf(b, "<text class=\"kept\" x=\"%.0f\" y=\"%.0f\">\xe2\x86\x92 student %zu", x, y, i);
        any = true;
    }
    if (any)
        buf_puts(b, "</text>");
}

static void rows(struct buf *b, const struct score_map *m, const struct js *layers, const struct js *map)
{
    struct scale s = scale_of(m);
    double best = 0, right = LEFT + (double)m->n_kinds * CELL_W + 8;
    for (size_t l = 0; l < m->n_layers; l++)
        best = fmax(best, js_num(js_at(layers, l), 0));
    for (size_t l = 0; l < m->n_layers; l++) {
        double y = TOP + (double)l * CELL_H, v = js_num(js_at(layers, l), NAN);
        buf_printf(b, "<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">layer %zu</text>", LEFT - 8, y + 13, l);
        for (size_t k = 0; k < m->n_kinds; k++)
            cell(b, m, &s, l, k);
        if (v >= 0 && best > 0) {
            buf_printf(b, "<g data-t=\"score of layer %zu: %.6g\"><rect x=\"%.0f\" y=\"%.0f\" width=\"%.1f\" height=\"%d\" style=\"fill:var(--c1)\"/>", l, v,
                       right, y + 3, BAR * v / best, CELL_H - 8);
            buf_printf(b, "<text x=\"%.0f\" y=\"%.0f\" font-size=\"11\"><tspan class=\"layer\" data-v=\"", right + BAR * v / best + 4, y + 13);
            html_num(b, v);
            buf_printf(b, "\">%.4g</tspan></text></g>", v);
        }
        fed(b, map, l, right + BAR + 52, y + 13);
        buf_putc(b, '\n');
    }
}

static const char *id_of(const struct report *r, size_t node)
{
    return r->s->graph->nodes[node].id;
}

/* A layer map made from these scores (of this node or of one with the same content): its place in the list. */
static int map_of(const struct report *r, const struct artifact *scores, const struct found *maps, size_t n, size_t after)
{
    for (size_t i = after; i < n; i++) {
        int from = report_feeder(r, maps[i].node, "scores");
        const struct artifact *a = from >= 0 ? plan_artifact(r->s->plan, (size_t)from, 0) : NULL;
        if (a && memcmp(&a->digest, &scores->digest, sizeof a->digest) == 0)
            return (int)i;
    }
    return -1;
}

static void rest(struct buf *b, const struct score_map *m, const struct js *facts)
{
    html_textf(b, "%lld samples, %lld target tokens. Colour is logarithmic. Outside the layers: ", (long long)js_int(js_get(facts, "samples"), 0),
               (long long)js_int(js_get(facts, "target_tokens"), 0));
    for (size_t i = 0; i < m->n_rest; i++)
        html_textf(b, "%s%s %.4g", i ? ", " : "", m->rest[i], m->rest_sum[i]);
    buf_puts(b, ".");
}

static void one(struct report *r, const struct found *f, const struct found *maps, size_t n_maps)
{
    struct err e = {0};
    struct score_map m = {0};
    char *path = report_file(r, f->a, "scores.safetensors");
    struct js *facts = report_json(r, f->a, "scores.json"), *layers = NULL;
    struct buf *b = &r->b;
    int map = map_of(r, f->a, maps, n_maps, 0);
    if (!path || !facts || score_map_read(path, &m, &e) != 0) {
        buf_puts(b, "<p class=\"dim\">");
        html_text(b, e.msg);
        buf_puts(b, "</p>\n");
        goto out;
    }
    layers = map >= 0 ? report_json(r, maps[map].a, "layers.json") : NULL;
    buf_puts(b, "<h3>");
    html_text(b, id_of(r, f->node));
    buf_printf(b, "</h3><figure><div class=\"scroll\"><svg role=\"img\" width=\"%zu\" height=\"%zu\">\n", LEFT + m.n_kinds * CELL_W + BAR + 170,
               TOP + m.n_layers * CELL_H + 4);
    column_heads(b, &m);
    rows(b, &m, js_get(facts, "layers"), js_get(layers, "map"));
    buf_puts(b, "</svg></div><figcaption>");
    rest(b, &m, facts);
    for (; map >= 0; map = map_of(r, f->a, maps, n_maps, (size_t)map + 1)) {
        struct js *j = report_json(r, maps[map].a, "layers.json");
        html_textf(b, " %s (%s) keeps", id_of(r, maps[map].node), js_cstr(js_get(j, "strategy")) ? js_cstr(js_get(j, "strategy")) : "?");
        for (size_t i = 0; i < js_len(js_get(j, "map")); i++)
            html_textf(b, "%s %lld", i ? "," : "", (long long)js_int(js_at(js_get(j, "map"), i), -1));
        buf_puts(b, ".");
        js_free(j);
    }
    buf_puts(b, "</figcaption></figure>\n");
out:
    score_map_release(&m);
    js_free(facts);
    js_free(layers);
    free(path);
}

void report_scores(struct report *r)
{
    size_t n, total, n_maps, all_maps;
    struct found *f = report_find(r, "scores", NULL, MAX_MAPS, &n, &total);
    struct found *maps = report_find(r, "layer-map", NULL, 64, &n_maps, &all_maps);
    r->b.failed |= !f || !maps;
    if (f && maps && n) {
        html_section(&r->b, "sensitivity", "Sensitivity by layer and module");
        report_left_out(r, n, total, "scores");
        for (size_t i = 0; i < n; i++)
            one(r, &f[i], maps, n_maps);
        html_section_end(&r->b);
    }
    free(f);
    free(maps);
}
