/* SPDX-License-Identifier: MIT */
#include "runtime/model/run.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/kernels/convert.h"
#include "runtime/model/precise.h"

enum { LINE = 64 };
#define HEAD_BYTES ((size_t)384 << 20)
enum { PRECISE_ROOM = 256 };

int pass_work_new(struct pass_work **out, struct err *e)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : err_nomem(e, sizeof **out, "the pass");
}

void pass_work_free(struct pass_work *w)
{
    if (!w)
        return;
    big_free(w->p, w->bytes);
    rope_free(w->rope);
    spill_close(&w->spill);
    free(w);
}

/* A block handed out piece by piece; without memory it only counts. Sizes that overflow stick at SIZE_MAX. */
struct carve {
    char *p;
    size_t used;
};

static void *carve_bytes(struct carve *c, size_t n, size_t each)
{
    size_t bytes, end;
    if (__builtin_mul_overflow(n, each, &bytes) || __builtin_add_overflow(bytes, (size_t)LINE - 1, &bytes) ||
        __builtin_add_overflow(c->used, bytes & ~(size_t)(LINE - 1), &end)) {
        c->used = SIZE_MAX - LINE;
        return NULL;
    }
    void *p = c->p ? c->p + c->used : NULL;
    c->used = end;
    return p;
}

static float *carve_f32(struct carve *c, size_t rows, size_t cols)
{
    return carve_bytes(c, rows, cols * sizeof(float));
}

/* A buffer of the compute type; in f32 there is none. */
static void *carve_c(struct carve *c, const struct run *r, size_t rows, size_t cols)
{
    return r->t == DT_F32 ? NULL : carve_bytes(c, rows, cols * r->esz);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Layers first .. last share this memory. */
static void lay_saved(struct run *r, struct carve *c, struct saved *s, int first, int last)
{
    size_t T = r->T;
    *s = (struct saved){
        .rstd1 = carve_f32(c, T, 1),
        .rstd2 = carve_f32(c, T, 1),
        .q = carve_f32(c, T, r->qd),
        .k = carve_f32(c, T, r->kd),
        .v = carve_f32(c, T, r->kd),
        .attn = carve_f32(c, T, r->qd),
        .lse = carve_f32(c, T, (size_t)r->c->num_attention_heads),
        .h = r->backward ? carve_f32(c, T, r->d) : NULL,
        .gate = carve_f32(c, T, r->f),
        .up = carve_f32(c, T, r->f),
    };
    if (r->o->lora && r->o->lora->n)
        for (int m = 0; m < MOD_LINEARS; m++) {
            size_t K = 0;
            for (int l = first; l <= last; l++) {
                const struct lora_pair *p = lora_find(r->o->lora, l, (enum module)m);
                if (p)
                    K = larger(K, p->B0 ? 2 * larger((size_t)p->r, (size_t)p->r0) : (size_t)p->r);
            }
            s->uc[m] = carve_bytes(c, T, K * r->esz);
        }
}

static void lay_adapters(struct run *r, struct carve *c)
{
    const struct lora *lora = r->o->lora;
    if (!lora || !lora->n)
        return;
    r->prep = carve_bytes(c, (size_t)(r->L + 1) * MOD_COUNT, sizeof *r->prep);
    for (size_t i = 0; i < lora->n; i++) {
        const struct lora_pair *p = &lora->pairs[i];
        size_t ae, bd, K = prep_bytes(p, r->esz, &ae, &bd);
        void *pa = carve_bytes(c, ae, 1), *pb = carve_bytes(c, bd, 1);
        if (r->prep && c->p)
            r->prep[(size_t)(p->layer + 1) * MOD_COUNT + p->mod] = (struct prep){.pair = &lora->pairs[i], .ae = pa, .bd = pb};
        r->u_max = larger(r->u_max, K);
        if (p->mod != MOD_EMBED)
            r->x_max = larger(r->x_max, p->in);
    }
    r->u = carve_f32(c, r->T, r->u_max);
    r->v = carve_f32(c, r->T, r->u_max);
    r->xd = r->p > 0 ? carve_f32(c, r->T, r->x_max) : NULL;
    r->vc = carve_c(c, r, r->T, r->u_max);
    r->puc = carve_c(c, r, r->T, r->u_max);
    r->xdc = r->p > 0 ? carve_c(c, r, r->T, r->x_max) : NULL;
}

size_t pass_head_rows(const struct model_config *c)
{
    return larger(HEAD_BYTES / sizeof(float) / (size_t)c->vocab_size, 1);
}

static void lay_head(struct run *r, struct carve *c)
{
    size_t N = r->N, cap = (r->o->head_bytes ? r->o->head_bytes : HEAD_BYTES) / sizeof(float);
    const struct lora_pair *p = r->o->lora && r->o->lora->n ? lora_find(r->o->lora, -1, MOD_HEAD) : NULL;
    r->chunk = larger(cap / r->V, 1) * r->V;
    if (N < r->chunk / r->V)
        r->chunk = N * r->V;
    r->tid = carve_bytes(c, N, sizeof *r->tid);
    r->seq_cu = carve_bytes(c, r->S + 1, sizeof *r->seq_cu);
    r->tw = carve_f32(c, N, 1);
    r->tloss = carve_bytes(c, N, sizeof *r->tloss);
    r->lse_max = carve_bytes(c, N, sizeof *r->lse_max);
    r->lse_sum = carve_bytes(c, N, sizeof *r->lse_sum);
    r->hrstd = carve_f32(c, N, 1);
    r->hx = carve_f32(c, N, r->d);
    r->hn = carve_f32(c, N, r->d);
    r->hc = carve_c(c, r, N, r->d);
    r->huc = p ? carve_bytes(c, N, 2 * larger((size_t)p->r, (size_t)p->r0) * r->esz) : NULL;
    r->logits = carve_f32(c, r->chunk, 1);
    r->dh = r->backward ? carve_f32(c, N, r->d) : NULL;
    r->logitsc = r->backward ? carve_c(c, r, r->chunk, 1) : NULL;
}

static void lay_precise(struct run *r, struct carve *c)
{
    size_t width = larger(larger(r->f, r->qd), r->d);
    r->precise_room = r->T < PRECISE_ROOM ? r->T : PRECISE_ROOM;
    r->precise = carve_bytes(c, r->S, sizeof *r->precise);
    r->precise_token = carve_bytes(c, r->T, sizeof *r->precise_token);
    r->precise_slot = carve_bytes(c, r->T, sizeof *r->precise_slot);
    r->precise_c = carve_bytes(c, r->precise_room * width, sizeof *r->precise_c);
    r->precise_y = carve_f32(c, r->precise_room, width);
}

static void lay_out(struct run *r, struct carve *c)
{
    size_t T = r->T, wide = larger(r->f, r->qd + 2 * r->kd);
    r->pos = carve_bytes(c, r->all, sizeof *r->pos);
    r->part_cu = carve_bytes(c, r->S + 1, sizeof *r->part_cu);
    r->x = r->spill ? NULL : carve_f32(c, r->all * (r->backward ? (size_t)r->L + 1 : 1), r->d);
    r->saved = carve_bytes(c, (size_t)r->kept, sizeof *r->saved);
    for (int i = 0; i < r->kept; i++) {
        struct saved s;
        lay_saved(r, c, &s, i ? r->L - r->kept + i : 0, r->L - r->kept + i);
        if (r->saved)
            r->saved[i] = s;
    }
    r->n = carve_f32(c, T, r->d);
    r->fa = carve_f32(c, T, wide);
    r->nc = carve_c(c, r, T, r->d);
    r->fc = carve_c(c, r, T, wide);
    if (r->backward) {
        r->fb = carve_f32(c, T, wide);
        r->dres = carve_f32(c, r->all, r->d);
        r->dn = carve_f32(c, T, r->d);
        r->dc = carve_c(c, r, T, r->d);
    }
    if (r->o->precise && r->t == DT_BF16)
        lay_precise(r, c);
    lay_adapters(r, c);
    lay_head(r, c);
}

static void run_sizes(struct run *r, const struct model_config *c, enum dtype t, const struct run_shape *s)
{
    r->c = c;
    r->t = t;
    r->esz = dtype_size(t);
    r->all = s->T;
    r->T = r->part_room = s->part ? s->part : s->T;
    r->N = s->N;
    r->S = s->n_seqs;
    r->d = (size_t)c->hidden_size;
    r->f = (size_t)c->intermediate_size;
    r->qd = (size_t)c->num_attention_heads * (size_t)c->head_dim;
    r->kd = (size_t)c->num_key_value_heads * (size_t)c->head_dim;
    r->V = (size_t)c->vocab_size;
    r->L = c->num_hidden_layers;
    r->backward = s->backward;
    r->kept = s->kept < 1 ? 1 : s->kept < r->L ? s->kept : r->L;
}

uint64_t run_memory(const struct model_config *c, enum dtype t, const struct run_shape *s)
{
    struct run r = {0};
    struct pass_options none = {.precise = s->precise};
    struct carve count = {0};
    struct spill spill = {0};
    run_sizes(&r, c, t, s);
    r.o = &none;
    r.spill = s->spill ? &spill : NULL;
    lay_out(&r, &count);
    return count.used + (s->spill ? 4 * r.all * r.d * sizeof(float) : 0); /* the layers at hand; read-ahead and write-back */
}

static bool same_rope(const struct model_config *a, const struct model_config *b)
{
    return a->head_dim == b->head_dim && a->rope == b->rope && a->rope_theta == b->rope_theta && a->rope_factor == b->rope_factor &&
           a->rope_low_freq_factor == b->rope_low_freq_factor && a->rope_high_freq_factor == b->rope_high_freq_factor &&
           a->rope_original_max_position_embeddings == b->rope_original_max_position_embeddings;
}

static int take_rope(struct run *r, struct pass_work *w, size_t positions, struct err *e)
{
    const struct model_config *c = r->c;
    if (!w->rope || rope_positions(w->rope) < positions || !same_rope(&w->rope_of, c)) {
        rope_free(w->rope);
        w->rope = NULL;
        w->rope_of = *c;
        positions = (positions + 255) & ~(size_t)255;
        int rc = rope_new(c->head_dim, c->rope_theta, (int)c->rope, c->rope_factor, c->rope_low_freq_factor,
                          c->rope_high_freq_factor, c->rope_original_max_position_embeddings, positions, &w->rope, e);
        if (rc != 0)
            return rc;
    }
    r->rope = w->rope;
    return 0;
}

static int take_memory(struct run *r, struct pass_work *w, struct err *e)
{
    struct run probe = *r; /* laying out without memory counts the bytes */
    struct carve c = {0};
    lay_out(&probe, &c);
    if (w->bytes < c.used) {
        big_free(w->p, w->bytes);
        w->p = NULL;
        w->bytes = 0;
        void *p = c.used >= SIZE_MAX - LINE ? NULL : big_alloc(c.used);
        if (!p)
            return err_nomem(e, c.used, "activations; use smaller batches, or recompute");
        w->p = p;
        w->bytes = c.used;
    }
    struct carve real = {.p = w->p};
    lay_out(r, &real);
    return 0;
}

int pass_work_reserve(struct pass_work *w, const struct pass_options *o, size_t tokens, size_t targets, bool backward, struct err *e)
{
    struct run r = {.o = o, .p = o->lora && o->training ? o->lora->dropout : 0};
    struct run_shape s = {.T = tokens, .N = targets, .n_seqs = tokens, .backward = backward, .kept = backward ? pass_kept(o) : 1};
    run_sizes(&r, weights_config(o->weights), weights_compute(o->weights), &s);
    return take_memory(&r, w, e);
}

/* Readies every pair; finds the lowest layer that backward has to enter (-1: the embedding). */
static int take_adapters(struct run *r, struct err *e)
{
    r->lowest = r->sink ? 0 : r->L;
    const struct lora *lora = r->o->lora;
    for (size_t i = 0; lora && i < lora->n; i++) {
        const struct lora_pair *p = &lora->pairs[i];
        int rc = prep_fill(r, &r->prep[(size_t)(p->layer + 1) * MOD_COUNT + p->mod], p->layer, p->mod, e);
        if (rc != 0)
            return rc;
        if (!p->dB)
            continue;
        r->trainable = true;
        int at = p->mod == MOD_EMBED ? 0 : p->mod == MOD_HEAD ? r->L : p->layer;
        if (at < r->lowest)
            r->lowest = at;
    }
    return 0;
}

int run_begin(struct run *r, const struct pass_options *o, const struct run_shape *s, struct pass_work *work, struct err *e)
{
    r->o = o;
    r->w = o->weights;
    r->head = weights_head(o->weights);
    r->p = o->lora && o->training ? o->lora->dropout : 0;
    run_sizes(r, weights_config(o->weights), weights_compute(o->weights), s);
    int rc = 0;
    if (o->spill && s->backward) {
        spill_close(&work->spill);
        rc = spill_open(&work->spill, o->spill, (size_t)r->L + 1, r->all * r->d * sizeof(float), e);
        r->spill = &work->spill;
    }
    if (rc == 0)
        rc = take_memory(r, work, e);
    r->T = r->all; /* until parts begin */
    if (rc == 0 && r->prep) {
        struct prep *p = r->prep;
        size_t n = (size_t)(r->L + 1) * MOD_COUNT;
        for (size_t i = 0; i < n; i++) {
            const struct lora_pair *found = lora_find(o->lora, (int)(i / MOD_COUNT) - 1, (enum module)(i % MOD_COUNT));
            if (!found)
                p[i] = (struct prep){0}; /* reused memory is not zero */
        }
    }
    if (rc == 0)
        rc = take_rope(r, work, s->max_seq, e);
    return rc == 0 ? take_adapters(r, e) : rc;
}

const void *run_compute(const struct run *r, const float *x, void *scratch, size_t n)
{
    if (r->t == DT_F32)
        return x;
    to_bf16(scratch, x, n);
    return scratch;
}

const struct saved *run_saved(const struct run *r, int layer)
{
    int first = r->L - r->kept;
    return &r->saved[layer < first ? 0 : layer - first];
}

float *run_layer_input(const struct run *r, int layer)
{
    if (r->spill)
        return (float *)spill_at(r->spill, (size_t)layer) + r->off * r->d;
    return r->x + (r->backward ? (size_t)layer * r->all * r->d : 0) + r->off * r->d;
}

/* Where the part from sequence s on ends. */
static int part_end(const int32_t *cu, int n_seqs, int s, size_t most)
{
    int end = s + 1;
    while (end < n_seqs && (!most || (size_t)(cu[end + 1] - cu[s]) <= most))
        end++;
    return end;
}

size_t pass_part(const int32_t *cu, int n_seqs, size_t most)
{
    size_t largest = 0;
    for (int s = 0, end; s < n_seqs; s = end) {
        end = part_end(cu, n_seqs, s, most);
        largest = larger(largest, (size_t)(cu[end] - cu[s]));
    }
    return largest;
}

/* pos, dres and the batch are moved to token `off` from the one in hand. */
static void move_to(struct run *r, size_t off)
{
    r->pos += off - r->off;
    if (r->dres)
        r->dres += (off - r->off) * r->d;
    r->off = off;
}

static int take_part(struct run *r, int s)
{
    const struct batch *b = r->whole;
    int end = part_end(b->cu, b->n_seqs, s, r->o->part_tokens);
    move_to(r, (size_t)b->cu[s]);
    for (int i = s; i <= end; i++)
        r->part_cu[i - s] = b->cu[i] - b->cu[s];
    r->part = (struct batch){.n_seqs = end - s, .cu = r->part_cu, .ids = b->ids + b->cu[s]};
    r->b = &r->part;
    r->T = (size_t)(b->cu[end] - b->cu[s]);
    r->part_seq = s;
    return end;
}

static void take_whole(struct run *r)
{
    move_to(r, 0);
    r->b = r->whole;
    r->T = r->all;
    r->part_seq = 0;
}

int run_parts(struct run *r, int (*fn)(struct run *r, int layer, struct err *e), int layer, struct err *e)
{
    int rc = progress_poll(r->o->progress, e);
    if (r->part_room == r->all)
        return rc ? rc : fn(r, layer, e);
    for (int s = 0; rc == 0 && s < r->whole->n_seqs; rc = rc ? rc : progress_poll(r->o->progress, e)) {
        s = take_part(r, s);
        rc = fn(r, layer, e);
    }
    take_whole(r);
    return rc;
}
