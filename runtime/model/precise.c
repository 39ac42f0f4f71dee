/* SPDX-License-Identifier: MIT */
#include "runtime/model/precise.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/exec/par.h"
#include "runtime/kernels/convert.h"
#include "runtime/model/run.h"

static int32_t common(const struct precise_row *a, const struct precise_row *b)
{
    int32_t n = 0, most = a->n < b->n ? a->n : b->n;
    while (n < most && a->ids[n] == b->ids[n])
        n++;
    return n;
}

static int by_tokens(const void *pa, const void *pb)
{
    const struct precise_row *a = pa, *b = pb;
    int32_t n = common(a, b);
    if (n < a->n && n < b->n)
        return a->ids[n] < b->ids[n] ? -1 : 1;
    return a->n != b->n ? (a->n < b->n ? -1 : 1) : (a->seq > b->seq) - (a->seq < b->seq);
}

void precise_rows(const struct batch *b, struct precise_row *rows)
{
    int n = b->n_seqs;
    for (int s = 0; s < n; s++)
        rows[s] = (struct precise_row){.ids = b->ids + b->cu[s], .n = b->cu[s + 1] - b->cu[s], .seq = s};
    qsort(rows, (size_t)n, sizeof *rows, by_tokens);
    for (int i = 0; i < n; i++) {
        int32_t before = i > 0 ? common(&rows[i], &rows[i - 1]) : 0, after = i + 1 < n ? common(&rows[i], &rows[i + 1]) : 0;
        rows[i].lead = before > after ? before : after;
        if (!rows[i].lead && rows[i].n)
            rows[i].lead = 1;
    }
}

/* Rows of x that go through the product together, and the tokens that take them. */
struct gather {
    struct run *r;
    enum module m;
    size_t in, out;
    const uint16_t *xc;
    const float *xf;
    float *y;
    size_t slots, n; /* n: entries of r->precise_token, r->precise_slot */
};

static void add_one(void *u, size_t i)
{
    const struct gather *g = u;
    convert_add_row(g->y + (size_t)g->r->precise_token[i] * g->out, g->r->precise_y + (size_t)g->r->precise_slot[i] * g->out, g->out);
}

static int flush(struct gather *g, struct err *e)
{
    if (!g->n)
        return 0;
    int rc = run_product(g->r, g->m, g->slots, g->r->precise_c, false, g->r->precise_y, e);
    if (rc == 0)
        par_for(g->n, add_one, g);
    g->slots = g->n = 0;
    return rc;
}

static bool equal(const struct gather *g, int32_t a, int32_t b)
{
    return memcmp(g->xc + (size_t)a * g->in, g->xc + (size_t)b * g->in, g->in * sizeof *g->xc) == 0;
}

/* Token t. like: a hint, the entry of a token that should have the same input; whatever is no entry will do. */
static int take(struct gather *g, int32_t t, size_t like, struct err *e)
{
    struct run *r = g->r;
    int32_t slot;
    if (like < g->n && equal(g, r->precise_token[like], t)) {
        slot = r->precise_slot[like];
    } else {
        int rc = g->slots == r->precise_room ? flush(g, e) : 0;
        if (rc)
            return rc;
        size_t at = (size_t)t * g->in;
        convert_bf16_rest_row(r->precise_c + g->slots * g->in, g->xf + at, g->xc + at, g->in);
        slot = (int32_t)g->slots++;
    }
    r->precise_token[g->n] = t;
    r->precise_slot[g->n++] = slot;
    return 0;
}

int precise_linear(struct run *r, enum module m, const uint16_t *xc, const float *xf, float *y, struct err *e)
{
    struct gather g = {.r = r, .m = m, .xc = xc, .xf = xf, .y = y};
    module_shape(r->c, m, &g.out, &g.in);
    size_t before = 0, lead = 0; /* the row before: its first entry, modulo 2^64 when that has gone */
    for (size_t i = 0; i < r->S; i++) {
        const struct precise_row *row = &r->precise[i];
        int s = row->seq - r->part_seq;
        if (s < 0 || s >= r->b->n_seqs)
            continue;
        for (size_t p = 0; p < (size_t)row->lead; p++) {
            int rc = take(&g, r->b->cu[s] + (int32_t)p, p < lead ? before + p : SIZE_MAX, e);
            if (rc)
                return rc;
        }
        lead = (size_t)row->lead;
        before = g.n - lead;
    }
    return flush(&g, e);
}
