/* SPDX-License-Identifier: MIT */
#include "runtime/model/scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/fs.h"
#include "runtime/exec/par.h"
#include "runtime/formats/quant.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/sens.h"
#include "runtime/model/scores_private.h"

enum { ROWS = 64, PIECE = 1 << 15, SLAB = 1 << 16 };

static struct scores_slot *slot_at(const struct scores *s, int layer, enum module m, bool bias)
{
    return &s->slots[((size_t)(layer + 1) * MOD_COUNT + m) * 2 + bias];
}

static bool tied(const struct scores *s)
{
    return s->c->tie_word_embeddings;
}

/* lm_head's parameter. */
static struct scores_slot *head_slot(const struct scores *s)
{
    return slot_at(s, -1, tied(s) ? MOD_EMBED : MOD_HEAD, false);
}

static bool wants(const struct scores *s, int layer, enum module m, bool bias)
{
    bool outside = m == MOD_EMBED || m == MOD_HEAD || m == MOD_NORM;
    if (outside != (layer < 0) || !s->o.wanted[m] || (bias && !module_has_bias(s->c, m)))
        return false;
    return m != MOD_HEAD || !tied(s);
}

static int declare(struct scores *s, int layer, enum module m, bool bias, struct err *e)
{
    char name[PARAM_NAME_MAX];
    if (!wants(s, layer, m, bias))
        return 0;
    struct scores_slot *k = slot_at(s, layer, m, bias);
    k->w = model_tensor(s->o.model, param_name(name, layer, m, bias));
    return k->w ? st_declare(s->writer, name, s->o.dtype, k->w->ndim, k->w->shape, e)
                : err_set(e, ERR_INPUT, "the model has no parameter %s", name);
}

/* In the order in which the backward pass finishes them (pass.h), so that the digest can follow. A tied embedding is final with the tokens'
 * rows. */
static int declare_all(struct scores *s, struct err *e)
{
    static const enum module of_layer[] = {MOD_DOWN, MOD_UP, MOD_GATE, MOD_POST_NORM, MOD_O, MOD_V, MOD_K, MOD_Q, MOD_INPUT_NORM};
    const size_t n = sizeof of_layer / sizeof *of_layer;
    int rc = declare(s, -1, MOD_HEAD, false, e);
    if (!rc)
        rc = declare(s, -1, MOD_NORM, false, e);
    for (int l = s->c->num_hidden_layers - 1; l >= 0; l--)
        for (size_t i = 0; i < 2 * n && !rc; i++)
            rc = declare(s, l, of_layer[i / 2], i % 2, e);
    return rc ? rc : declare(s, -1, MOD_EMBED, false, e);
}

/* Where each matrix of a layer lies when all of them are in memory. */
static void place(struct scores *s)
{
    for (int l = 0; l < s->c->num_hidden_layers; l++) {
        size_t at = 0;
        for (int m = 0; m < MOD_LINEARS; m++) {
            struct scores_slot *k = slot_at(s, l, (enum module)m, false);
            size_t n = k->w ? k->w->n : 0;
            k->at = at;
            at += n;
        }
        s->together = at > s->together ? at : s->together;
    }
}

int scores_new(const struct scores_options *o, struct scores **out, struct err *e)
{
    struct scores *s = calloc(1, sizeof *s);
    *out = s;
    if (!s)
        return err_nomem(e, sizeof *s, "scores");
    s->o = *o;
    s->c = model_config(o->model);
    s->n_slots = ((size_t)s->c->num_hidden_layers + 1) * MOD_COUNT * 2;
    s->slots = calloc(s->n_slots, sizeof *s->slots);
    int rc = !s->slots    ? err_nomem(e, s->n_slots * sizeof *s->slots, "scores")
             : o->partial ? st_writer_new_partial(o->path, o->partial, &s->writer, e)
                          : st_writer_new(o->path, &s->writer, e);
    if (!rc) {
        st_writer_unsynced(s->writer);
        st_writer_follow(s->writer);
    }
    if (!rc)
        rc = declare_all(s, e);
    if (!rc && !st_writer_count(s->writer))
        rc = err_set(e, ERR_INPUT, "no parameter is to be scored");
    if (!rc)
        rc = st_write_begin(s->writer, e);
    if (rc) {
        scores_free(s);
        *out = NULL;
        return rc;
    }
    place(s);
    return 0;
}

void scores_free(struct scores *s)
{
    if (!s)
        return;
    for (size_t i = 0; s->slots && i < s->n_slots; i++)
        free(s->slots[i].S);
    big_free(s->layer, s->layer_bytes);
    big_free(s->head, s->head_bytes);
    free(s->head_sums);
    free(s->dres);
    scores_tokens_release(&s->tokens);
    st_writer_free(s->writer);
    free(s->slots);
    free(s);
}

/* ---- finished rows ---- */

static int write_elements(struct scores *s, const struct scores_slot *k, size_t at, const float *x, size_t n, struct err *e)
{
    if (s->o.dtype == DT_F32)
        return st_write_at(s->writer, k->w->name, at * sizeof *x, x, n * sizeof *x, e);
    uint16_t h[PIECE];
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i += PIECE) {
        size_t m = n - i < PIECE ? n - i : PIECE;
        convert_to_bf16_row(h, x + i, m);
        rc = st_write_at(s->writer, k->w->name, (at + i) * sizeof *h, h, m * sizeof *h, e);
    }
    return rc;
}

struct finish {
    struct scores *s;
    const struct scores_slot *k;
    double *sums; /* of rows */
};

/* Summed up and rounded in one go, as many rows at a time as PIECE holds; cols is at most PIECE. */
static int finish_bf16_rows(const struct finish *f, size_t row, size_t n, const float *S, size_t cols, struct err *e)
{
    uint16_t h[PIECE];
    int rc = 0;
    for (size_t i = 0, some; i < n && !rc; i += some) {
        some = PIECE / cols < n - i ? PIECE / cols : n - i;
        for (size_t r = 0; r < some; r++)
            f->sums[row + i + r] = convert_sum_to_bf16_row(h + r * cols, S + (i + r) * cols, cols);
        rc = st_write_at(f->s->writer, f->k->w->name, (row + i) * cols * sizeof *h, h, some * cols * sizeof *h, e);
    }
    return rc;
}

/* S: without gaps, row stride cols. */
static int finish_rows(void *u, size_t row, size_t n, const float *S, size_t cols, struct err *e)
{
    const struct finish *f = u;
    if (f->s->o.dtype == DT_BF16 && cols && cols <= PIECE)
        return finish_bf16_rows(f, row, n, S, cols, e);
    for (size_t i = 0; i < n; i++)
        f->sums[row + i] = convert_sum_row(S + i * cols, cols);
    return write_elements(f->s, f->k, row * cols, S, n * cols, e);
}

/* The sum of a finished parameter, from those of its rows. */
static int take_sum(struct scores *s, struct scores_slot *k, const double *sums, size_t rows, struct err *e)
{
    k->sum = 0;
    for (size_t i = 0; i < rows; i++)
        k->sum += sums[i];
    k->done = true;
    st_writer_final(s->writer, k->w->name);
    return isfinite(k->sum) ? 0 : err_set(e, ERR_INPUT, "the scores of %s are not finite: a gradient overflowed; try compute: f32", k->w->name);
}

/* ---- the sink ---- */

int scores_batch(struct scores *s, const struct batch *b, struct err *e)
{
    const struct scores_slot *k = slot_at(s, -1, MOD_EMBED, false);
    scores_tokens_release(&s->tokens);
    s->b = b;
    return k->w ? scores_tokens_init(&s->tokens, b, k->w, tied(s), e) : 0;
}

/* |W * dW| of g into out. Quantised weights are expanded. */
static int fold_linear(const struct scores_slot *k, const struct grad_linear *g, const struct sens_out *out, struct err *e)
{
    const size_t bytes = k->w->packed ? g->rows * g->in * dtype_size(k->w->dtype) : 0;
    void *plain = bytes ? big_alloc(bytes) : NULL;
    if (bytes && !plain)
        return err_nomem(e, bytes, k->w->name);
    if (plain)
        tensor_to_plain(plain, k->w, g->row0 * g->in, g->rows * g->in);
    const char *w = plain ? plain : (const char *)k->w->data + g->row0 * g->in * dtype_size(k->w->dtype);
    int rc = sens_fold(out, w, k->w->dtype, g->in, g->dy, g->ldy, g->x, g->ldx, g->t, g->rows, g->in, g->n_seqs, g->seq_cu, e);
    big_free(plain, bytes);
    return rc;
}

/* Room for sums that finish_head will add up, and that take_embed corrects when the embedding is tied. */
static int head_sums(struct scores *s, struct err *e)
{
    size_t bytes = head_slot(s)->w->shape[0] * sizeof *s->head_sums;
    if (!s->head_sums && !(s->head_sums = malloc(bytes)))
        return err_nomem(e, bytes, "sums");
    return 0;
}

static int take_head(struct scores *s, const struct grad_linear *g, struct err *e)
{
    struct scores_slot *k = head_slot(s);
    bool whole = g->rows == k->w->shape[0] && g->n_seqs == s->b->n_seqs; /* in one chunk: rows are final at once */
    int rc = whole ? head_sums(s, e) : 0;
    if (rc)
        return rc;
    if (!whole && !s->head) {
        s->head_bytes = k->w->n * sizeof *s->head;
        s->head = big_alloc(s->head_bytes);
        s->head_first = g->first_seq;
        if (!s->head)
            return err_nomem(e, s->head_bytes, k->w->name);
    }
    struct finish f = {s, k, s->head_sums};
    struct sens_out out = {.S = whole ? NULL : s->head + g->row0 * g->in, .lds = g->in, .fresh = whole || g->first_seq == s->head_first,
                           .done = whole ? finish_rows : NULL, .u = &f};
    rc = fold_linear(k, g, &out, e);
    return !rc && tied(s) ? scores_tokens_head(&s->tokens, g, e) : rc;
}

struct head_rows {
    struct finish f;
    const float *S;
    size_t cols;
    _Atomic int rc;
    struct err e; /* of whoever set rc */
};

static void finish_head_rows(void *u, size_t first, size_t count)
{
    struct head_rows *h = u;
    struct err e;
    int rc = finish_rows(&h->f, first, count, h->S + first * h->cols, h->cols, &e), none = 0;
    if (rc && atomic_compare_exchange_strong(&h->rc, &none, rc))
        h->e = e;
}

/* lm_head is complete, but for a tied model's touched rows. */
static int finish_head(struct scores *s, struct err *e)
{
    struct scores_slot *k = head_slot(s);
    size_t rows = k->w ? k->w->shape[0] : 0;
    int rc = 0;
    if (s->head && !(rc = head_sums(s, e))) {
        struct head_rows h = {.f = {s, k, s->head_sums}, .S = s->head, .cols = k->w->shape[1]};
        par_slabs(rows, ROWS, finish_head_rows, &h);
        if ((rc = h.rc) != 0)
            *e = h.e;
        big_free(s->head, s->head_bytes);
        s->head = NULL;
    }
    if (rc || !s->head_sums || tied(s))
        return rc;
    rc = take_sum(s, k, s->head_sums, rows, e);
    free(s->head_sums);
    s->head_sums = NULL;
    return rc;
}

/* Room for the scores of a layer's matrices: reused by all, so that its pages are made once. */
static int take_room(struct scores *s, struct err *e)
{
    size_t bytes = s->together * sizeof *s->layer;
    if (s->layer)
        return 0;
    s->layer = big_alloc(bytes);
    s->layer_bytes = bytes;
    return s->layer ? 0 : err_nomem(e, bytes, "a layer's scores");
}

static int take_linear(void *u, const struct grad_linear *g, struct err *e)
{
    struct scores *s = u;
    if (g->mod == MOD_HEAD)
        return head_slot(s)->w ? take_head(s, g, e) : 0;
    struct scores_slot *k = slot_at(s, g->layer, g->mod, false);
    if (!k->w)
        return 0;
    bool first = g->first_seq == 0, last = g->first_seq + g->n_seqs == s->b->n_seqs, parts = !first || !last;
    double *sums = malloc(g->rows * sizeof *sums);
    int rc = !sums ? err_nomem(e, g->rows * sizeof *sums, "sums") : parts ? take_room(s, e) : 0;
    if (!rc) {
        struct finish f = {s, k, sums};
        struct sens_out out = {.S = parts ? s->layer + k->at : NULL, .lds = g->in, .fresh = first, .done = last ? finish_rows : NULL, .u = &f};
        rc = fold_linear(k, g, &out, e);
    }
    if (!rc && last)
        rc = take_sum(s, k, sums, g->rows, e);
    free(sums);
    return rc;
}

struct vector_job {
    const struct grad_vector *g;
    const float *w;
    float *S;
};

/* One stripe of columns, all sequences in order. */
static void vector_stripe(void *u, size_t first, size_t count)
{
    const struct vector_job *v = u;
    const struct grad_vector *g = v->g;
    double sum[64];
    for (int s = 0; s < g->n_seqs; s++) {
        memset(sum, 0, sizeof sum);
        for (int32_t t = g->seq_cu[s]; t < g->seq_cu[s + 1]; t++) {
            const float *dy = g->dy + (size_t)t * g->n + first,
                        *xhat = g->xhat ? g->xhat + (size_t)t * g->n + first : NULL;
            for (size_t j = 0; j < count; j++)
                sum[j] += xhat ? (double)dy[j] * (double)xhat[j] : (double)dy[j];
        }
        for (size_t j = 0; j < count; j++)
            v->S[first + j] += (float)fabs((double)v->w[first + j] * sum[j]);
    }
}

static int finish_vector(struct scores *s, struct scores_slot *k, struct err *e)
{
    double sum = convert_sum_row(k->S, k->w->n);
    int rc = write_elements(s, k, 0, k->S, k->w->n, e);
    free(k->S);
    k->S = NULL;
    return rc ? rc : take_sum(s, k, &sum, 1, e);
}

static int take_vector(void *u, const struct grad_vector *g, struct err *e)
{
    struct scores *s = u;
    struct scores_slot *k = slot_at(s, g->layer, g->mod, g->bias);
    int rc = g->mod == MOD_NORM ? finish_head(s, e) : 0;
    if (rc || !k->w)
        return rc;
    if (!k->S)
        k->S = calloc(k->w->n, sizeof *k->S);
    float *w = malloc(g->n * sizeof *w);
    if (!k->S || !w)
        rc = err_nomem(e, g->n * sizeof *w, k->w->name);
    if (!rc && (g->n != k->w->n || tensor_to_f32(w, k->w, 0, g->n)))
        rc = err_set(e, ERR_UNSUPPORTED, "%s is of type %s", k->w->name, dtype_name(k->w->dtype));
    if (!rc) {
        struct vector_job v = {g, w, k->S};
        par_slabs(g->n, 64, vector_stripe, &v);
    }
    if (!rc && g->first_seq + g->n_seqs == s->b->n_seqs)
        rc = finish_vector(s, k, e);
    free(w);
    return rc;
}

/* ---- damaged weights ---- */

struct finite {
    const struct tensor *t;
    _Atomic size_t bad;
};

static void count_bad(void *u, size_t first, size_t count)
{
    struct finite *f = u;
    float x[1024];
    size_t bad = 0;
    for (size_t i = 0; i < count; i += 1024) {
        size_t n = count - i < 1024 ? count - i : 1024;
        if (tensor_to_f32(x, f->t, first + i, n))
            return;
        for (size_t j = 0; j < n; j++)
            bad += !isfinite(x[j]);
    }
    f->bad += bad;
}

static int check_finite(const struct tensor *t, struct err *e)
{
    struct finite f = {.t = t};
    par_slabs(t->n, SLAB, count_bad, &f);
    return f.bad == 0 ? 0
                      : err_set(e, ERR_INPUT,
                                "%s holds %zu weights that are not finite (NaN or infinite) among %zu: the checkpoint is "
                                "damaged; fetch it again",
                                t->name, (size_t)f.bad, t->n);
}

int scores_check_weights(const struct model *m, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < model_tensor_count(m) && !rc; i++)
        rc = check_finite(model_tensor_at(m, i), e);
    return rc;
}

/* The touched rows are final: to the file, and their sums among those of the others, which are zero or lm_head's. */
static int take_embed(void *u, const struct batch *b, const float *dx, struct err *e)
{
    struct scores *s = u;
    struct scores_tokens *t = &s->tokens;
    struct scores_slot *k = slot_at(s, -1, MOD_EMBED, false);
    (void)b; /* the batch of scores_batch */
    if (!k->w)
        return 0;
    int rc = scores_tokens_embed(t, dx, e);
    size_t rows = k->w->shape[0];
    double *sums = s->head_sums ? s->head_sums : calloc(rows, sizeof *sums);
    s->head_sums = sums;
    if (!rc && !sums)
        rc = err_nomem(e, rows * sizeof *sums, "sums");
    for (size_t i = 0; i < t->n_rows && !rc; i++) {
        sums[t->id[i]] = convert_sum_row(t->S + i * t->d, t->d);
        rc = write_elements(s, k, (size_t)t->id[i] * t->d, t->S + i * t->d, t->d, e);
    }
    if (!rc && !tied(s)) /* the rows that nothing has read */
        rc = check_finite(k->w, e);
    return rc ? rc : take_sum(s, k, sums, rows, e);
}

struct grad_sink scores_sink(struct scores *s)
{
    return (struct grad_sink){s, take_linear, take_vector, take_embed};
}

int scores_end(struct scores *s, double *layers, double *modules, struct err *e)
{
    memset(layers, 0, (size_t)s->c->num_hidden_layers * sizeof *layers);
    memset(modules, 0, MOD_COUNT * sizeof *modules);
    for (size_t i = 0; i < s->n_slots; i++) {
        struct scores_slot *k = &s->slots[i];
        if (!k->w)
            continue;
        if (!k->done)
            return err_set(e, ERR_INTERNAL, "%s got no gradient", k->w->name);
        size_t layer = i / (MOD_COUNT * 2);
        modules[i / 2 % MOD_COUNT] += k->sum;
        if (layer)
            layers[layer - 1] += k->sum;
    }
    return st_write_end(s->writer, e);
}

bool scores_digest(const struct scores *s, struct digest *out)
{
    return st_writer_digest(s->writer, out);
}

uint64_t scores_memory(const struct model_config *c, enum dtype compute, size_t tokens, size_t part, size_t n_seqs, size_t targets)
{
    uint64_t d = (uint64_t)c->hidden_size, v = (uint64_t)c->vocab_size, together = 0, fold = sens_memory(compute, part, n_seqs, (size_t)v, (size_t)d, par_cpus());
    for (int m = 0; m < MOD_LINEARS; m++) {
        size_t out, in;
        module_shape(c, (enum module)m, &out, &in);
        uint64_t one = sens_memory(compute, part, n_seqs, out, in, par_cpus());
        together += (uint64_t)out * in;
        fold = one > fold ? one : fold;
    }
    uint64_t layer = part < tokens ? together : 0, head = targets > pass_head_rows(c) ? v * d : 0;
    uint64_t one = layer > head ? layer : head; /* lm_head's go before a layer's come */
    return 4 * (one + (c->tie_word_embeddings ? 2 : 1) * (uint64_t)tokens * d) + 8 * v + fold;
}
