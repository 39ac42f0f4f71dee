/* SPDX-License-Identifier: MIT */
#include "runtime/model/scores_tokens.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/exec/par.h"
#include "runtime/formats/quant.h"
#include "runtime/kernels/sens.h"

struct place {
    int32_t id, seq, pos;
};

static int by_token(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->pos < y->pos ? -1 : x->pos > y->pos; /* sequences ascend with positions */
}

void scores_tokens_release(struct scores_tokens *k)
{
    size_t pairs = k->n_pairs * k->d * sizeof(float), rows = k->n_rows * k->d * sizeof(float);
    free(k->pos);
    free(k->seq);
    free(k->pair_at);
    free(k->row_at);
    free(k->id);
    free(k->rows);
    big_free(k->head, pairs);
    big_free(k->S, rows);
    *k = (struct scores_tokens){0};
}

static int sort_tokens(struct scores_tokens *k, struct err *e)
{
    const struct batch *b = k->b;
    size_t T = (size_t)b->cu[b->n_seqs];
    struct place *p = malloc((T + 1) * sizeof *p);
    k->pos = malloc((T + 1) * sizeof *k->pos);
    k->seq = malloc((T + 1) * sizeof *k->seq);
    k->pair_at = malloc((T + 1) * sizeof *k->pair_at);
    k->row_at = malloc((T + 1) * sizeof *k->row_at);
    k->id = malloc((T + 1) * sizeof *k->id);
    if (!p || !k->pos || !k->seq || !k->pair_at || !k->row_at || !k->id) {
        free(p);
        return err_nomem(e, T * 32, "tokens of the batch");
    }
    for (int s = 0; s < b->n_seqs; s++)
        for (int32_t t = b->cu[s]; t < b->cu[s + 1]; t++)
            p[t] = (struct place){b->ids[t], s, t};
    qsort(p, T, sizeof *p, by_token);
    for (size_t i = 0; i < T; i++) {
        bool row = i == 0 || p[i].id != p[i - 1].id;
        if (row) {
            k->id[k->n_rows] = p[i].id;
            k->row_at[k->n_rows++] = (int32_t)k->n_pairs;
        }
        if (row || p[i].seq != p[i - 1].seq) {
            k->seq[k->n_pairs] = p[i].seq;
            k->pair_at[k->n_pairs++] = (int32_t)i;
        }
        k->pos[i] = p[i].pos;
    }
    k->row_at[k->n_rows] = (int32_t)k->n_pairs;
    k->pair_at[k->n_pairs] = (int32_t)T;
    free(p);
    return 0;
}

int scores_tokens_init(struct scores_tokens *k, const struct batch *b, const struct tensor *w, bool tied, struct err *e)
{
    *k = (struct scores_tokens){.b = b, .w = w, .d = w->shape[1], .tied = tied};
    int rc = sort_tokens(k, e);
    if (rc)
        return rc;
    size_t rows = k->n_rows * k->d * sizeof(float), row = k->d * dtype_size(w->dtype);
    k->S = big_alloc(rows);
    k->head = tied ? big_alloc(k->n_pairs * k->d * sizeof(float)) : NULL;
    k->rows = tied ? malloc(k->n_rows * row) : NULL;
    if (!k->S || (tied && (!k->head || !k->rows)))
        return err_nomem(e, 3 * rows, "rows of the embedding");
    for (size_t i = 0; tied && i < k->n_rows; i++)
        tensor_to_plain((char *)k->rows + i * row, w, (size_t)k->id[i] * k->d, k->d);
    return 0;
}

/* ---- lm_head's share ---- */

static float value(const void *p, enum dtype t, size_t i)
{
    return t == DT_F32 ? ((const float *)p)[i] : bf16_to_f32(((const uint16_t *)p)[i]);
}

static void add_scaled(float *restrict y, const void *x, enum dtype t, float a, size_t n)
{
    if (t == DT_F32) {
        const float *f = x;
        for (size_t j = 0; j < n; j++)
            y[j] += a * f[j];
    } else {
        const uint16_t *h = x;
        for (size_t j = 0; j < n; j++)
            y[j] += a * bf16_to_f32(h[j]);
    }
}

struct head_job {
    struct scores_tokens *k;
    const struct grad_linear *g;
    size_t first, count; /* touched rows within the range of g */
    char *dy;            /* (n, count): their columns of dY, zero for the pairs */
};

/* One touched row: its column of dY; the pairs' gradients are taken out of it. */
static void head_row(void *u, size_t i)
{
    const struct head_job *h = u;
    struct scores_tokens *k = h->k;
    const struct grad_linear *g = h->g;
    size_t size = dtype_size(g->t), row = h->first + i, col = (size_t)k->id[row] - g->row0;
    for (size_t t = 0; t < g->n; t++)
        memcpy(h->dy + (t * h->count + i) * size, (const char *)g->dy + (t * g->ldy + col) * size, size);
    for (int32_t p = k->row_at[row]; p < k->row_at[row + 1]; p++) {
        int s = k->seq[p] - g->first_seq;
        if (s < 0 || s >= g->n_seqs)
            continue;
        for (int32_t t = g->seq_cu[s]; t < g->seq_cu[s + 1]; t++) {
            float a = value(g->dy, g->t, (size_t)t * g->ldy + col);
            add_scaled(k->head + (size_t)p * k->d, (const char *)g->x + (size_t)t * g->ldx * size, g->t, a, k->d);
            memset(h->dy + ((size_t)t * h->count + i) * size, 0, size);
        }
    }
}

static size_t first_at_least(const int32_t *id, size_t n, size_t v)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if ((size_t)id[mid] < v)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int scores_tokens_head(struct scores_tokens *k, const struct grad_linear *g, struct err *e)
{
    struct head_job h = {k, g, first_at_least(k->id, k->n_rows, g->row0), 0, NULL};
    h.count = first_at_least(k->id, k->n_rows, g->row0 + g->rows) - h.first;
    if (!h.count || !g->n)
        return 0;
    size_t bytes = g->n * h.count * dtype_size(g->t);
    h.dy = big_alloc(bytes);
    if (!h.dy)
        return err_nomem(e, bytes, "logit gradients of the tied embedding");
    par_for(h.count, head_row, &h);
    int rc = sens_accumulate(k->S + h.first * k->d, k->d,
                             (const char *)k->rows + h.first * k->d * dtype_size(k->w->dtype), k->w->dtype, k->d, h.dy,
                             h.count, g->x, g->ldx, g->t, h.count, k->d, g->n_seqs, g->seq_cu, e);
    big_free(h.dy, bytes);
    return rc;
}

/* ---- the input side ---- */

struct embed_job {
    struct scores_tokens *k;
    const float *dx;
    int *failed;
};

static void embed_row(void *u, size_t i)
{
    const struct embed_job *j = u;
    struct scores_tokens *k = j->k;
    size_t d = k->d;
    float *S = k->S + i * d, *w = malloc(2 * d * sizeof *w), *g = w + d;
    if (!w) {
        __atomic_store_n(j->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    tensor_to_f32(w, k->w, (size_t)k->id[i] * d, d);
    for (int32_t p = k->row_at[i]; p < k->row_at[i + 1]; p++) {
        if (k->tied)
            memcpy(g, k->head + (size_t)p * d, d * sizeof *g);
        else
            memset(g, 0, d * sizeof *g);
        for (int32_t t = k->pair_at[p]; t < k->pair_at[p + 1]; t++)
            add_scaled(g, j->dx + (size_t)k->pos[t] * d, DT_F32, 1, d);
        for (size_t c = 0; c < d; c++)
            S[c] += fabsf(w[c] * g[c]);
    }
    free(w);
}

int scores_tokens_embed(struct scores_tokens *k, const float *dx, struct err *e)
{
    int failed = 0;
    struct embed_job j = {k, dx, &failed};
    par_for(k->n_rows, embed_row, &j);
    return failed ? err_nomem(e, 2 * k->d * sizeof(float), "a row of the embedding") : 0;
}
