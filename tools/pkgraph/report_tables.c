/* SPDX-License-Identifier: MIT
 *
 * Two tables: the parameters that differ between nodes of one operator, and where every result comes from (keys, digests,
 * versions).
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/param.h"
#include "runtime/base/fs.h"
#include "runtime/exec/sha_pieces.h"
#include "runtime/kernels/gemm.h"
#include "tools/pkgraph/report.h"
#include "tools/pkgraph/report_html.h"
#include "tools/pkgraph/term.h"

/* ---- parameters ---- */

static bool differs(const struct graph *g, const struct op *op, size_t param)
{
    const struct param_value *first = NULL;
    for (size_t i = 0; i < g->n; i++) {
        if (g->nodes[i].op != op || !g->nodes[i].values)
            continue;
        if (first && !param_equal(&op->params[param], first, &g->nodes[i].values[param]))
            return true;
        first = first ? first : &g->nodes[i].values[param];
    }
    return false;
}

static void value_cell(struct buf *b, const struct param_def *d, const struct param_value *v)
{
    struct js *j = param_json(d, v);
    struct buf text = {0};
    if (d->type == PARAM_PATH && v->set)
        buf_puts(&text, fs_basename(v->s));
    else if (js_cstr(j))
        buf_puts(&text, js_cstr(j));
    else if (js_kind(j) != JS_NULL)
        js_write(&text, j);
    buf_puts(b, "<td>");
    if (text.n > 120)
        html_textf(b, "%.110s ...", text.p);
    else
        html_text(b, text.p ? text.p : "");
    buf_puts(b, "</td>");
    buf_release(&text);
    js_free(j);
}

/* One operator's table; *open: the section has begun. */
static void params_of(struct report *r, const struct op *op, bool *open)
{
    const struct graph *g = r->s->graph;
    size_t n = 0, used = 0, *column;
    while (op->params && op->params[n].name)
        n++;
    column = calloc(n + 1, sizeof *column);
    for (size_t k = 0; column && k < n; k++)
        if (differs(g, op, k))
            column[used++] = k;
    if (column && used && !*open) {
        html_section(&r->b, "parameters", "Parameters that differ");
        *open = true;
    }
    if (column && used) {
        buf_puts(&r->b, "<h3>");
        html_text(&r->b, op->name);
        buf_puts(&r->b, "</h3><div class=\"scroll\"><table><tr><th>node</th>");
        for (size_t k = 0; k < used; k++) {
            buf_puts(&r->b, "<th>");
            html_text(&r->b, op->params[column[k]].name);
            buf_puts(&r->b, "</th>");
        }
        buf_puts(&r->b, "</tr>\n");
        for (size_t i = 0; i < g->n; i++) {
            if (g->nodes[i].op != op || !g->nodes[i].values)
                continue;
            buf_puts(&r->b, "<tr><td>");
            html_text(&r->b, g->nodes[i].id);
            buf_puts(&r->b, "</td>");
            for (size_t k = 0; k < used; k++)
                value_cell(&r->b, &op->params[column[k]], &g->nodes[i].values[column[k]]);
            buf_puts(&r->b, "</tr>\n");
        }
        buf_puts(&r->b, "</table></div>\n");
    }
    free(column);
}

void report_params(struct report *r)
{
    const struct graph *g = r->s->graph;
    bool open = false;
    for (size_t i = 0; i < g->n; i++) {
        bool before = false;
        for (size_t k = 0; k < i && !before; k++)
            before = g->nodes[k].op == g->nodes[i].op;
        if (!before)
            params_of(r, g->nodes[i].op, &open);
    }
    if (open)
        html_section_end(&r->b);
}

/* ---- provenance ---- */

static void digest_code(struct buf *b, const struct digest *d, const char *class)
{
    char hex[DIGEST_HEX];
    digest_hex(d, hex);
    buf_printf(b, "<code class=\"%s\" data-t=\"%s\">%.12s</code>", class, hex, hex);
}

static bool in_pieces(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_size > SHA_PIECE;
}

static void provenance_row(struct report *r, size_t i)
{
    const struct node *n = &r->s->graph->nodes[i];
    const struct planned *p = &r->s->plan->nodes[i];
    const struct record *rec = p->record ? p->record : p->same_as >= 0 ? r->s->plan->nodes[p->same_as].record : NULL;
    struct buf *b = &r->b;
    char when[TEXT_MAX];
    buf_puts(b, "<tr><td>");
    html_text(b, n->id);
    buf_puts(b, "</td><td>");
    html_textf(b, "%s %d", n->op->name, n->op->version);
    buf_puts(b, "</td><td>");
    if (rec)
        digest_code(b, &rec->key, "nodekey");
    else
        html_text(b, p->reason ? p->reason : node_state_name(p->state));
    buf_puts(b, "</td><td>");
    for (size_t k = 0; rec && k < rec->n_out; k++) {
        html_textf(b, "%s ", rec->ports[k]);
        digest_code(b, &rec->out[k].digest, "digest");
        buf_puts(b, "<br/>");
    }
    for (size_t k = 0; k < p->n_sources; k++)
        if (p->sources[k].known) {
            html_textf(b, in_pieces(p->sources[k].path) ? "reads %s (digest by pieces) " : "reads %s ", p->sources[k].label);
            digest_code(b, &p->sources[k].digest, "digest");
            buf_puts(b, "<br/>");
        }
    buf_puts(b, "</td><td>");
    if (rec)
        html_text(b, text_when(when, rec->made_at));
    buf_puts(b, "</td></tr>\n");
}

void report_provenance(struct report *r)
{
    const struct graph *g = r->s->graph;
    struct err e = {0};
    struct digest d;
    html_section(&r->b, "provenance", "Provenance");
    buf_puts(&r->b, "<p class=\"dim\">");
    html_textf(&r->b, "Specification %s", fs_basename(g->file));
    if (store_file_digest(r->s->store, g->file, false, NULL, &d, &e) == 0) {
        buf_puts(&r->b, ", SHA-256 ");
        digest_code(&r->b, &d, "digest");
    }
    html_textf(&r->b, "; pkgraph %s; %s.", PKG_VERSION, gemm_version());
    buf_puts(&r->b, " A key is the SHA-256 of operator, version, parameters and the digests of all inputs: equal keys are equal work. A file that was read, of more than 64 MiB, is known by the SHA-256 over those of its pieces of 64 MiB (docs/store.md), any other by its SHA-256. Touch or point at a digest for all of it.</p>\n"
                    "<details><summary>Every node</summary><div class=\"scroll\"><table><tr><th>node</th><th>operator, version</th><th>key</th>"
                    "<th>outputs and sources</th><th>made</th></tr>\n");
    for (size_t i = 0; i < g->n; i++)
        provenance_row(r, i);
    buf_puts(&r->b, "</table></div></details>\n");
    html_section_end(&r->b);
}
