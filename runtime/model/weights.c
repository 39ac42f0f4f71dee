/* SPDX-License-Identifier: MIT
 *
 * Weight sources. A tensor whose stored type is the compute type stays where it is mapped; every other one is converted:
 * once (resident), or a layer at a time into one buffer (streamed; trainable in bf16, from the f32 masters). The head is
 * always whole. Norms and biases are converted once, to f32. Embedding rows are converted when they are looked up.
 */
#include "runtime/model/weights.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/arena.h"
#include "runtime/exec/par.h"
#include "runtime/formats/quant.h"
#include "runtime/kernels/convert.h"
#include "runtime/kernels/gemm.h"

struct slot { /* one parameter */
    const struct tensor *t; /* in the file */
    float *master;          /* trainable: f32 */
    const void *use;        /* compute type (matrices) or f32 (vectors); NULL: converted at acquire */
    struct gemm_packed *fwd, *bwd;
};

struct weights {
    const struct model *m;
    const struct model_config *c;
    enum dtype compute;
    enum weights_kind kind;
    struct slot *w;         /* (L + 1) * MOD_COUNT: layer + 1, module */
    struct slot *b;         /* the same for biases */
    void *block;            /* everything converted once */
    size_t block_bytes;
    void *scratch;          /* one layer */
    size_t scratch_bytes;
    int last;               /* layer acquired before, for the direction of read-ahead; -1: none */
};

static struct slot *slot_at(const struct weights *w, int layer, enum module m, bool bias)
{
    return &(bias ? w->b : w->w)[(size_t)(layer + 1) * MOD_COUNT + m];
}

static bool is_matrix(enum module m)
{
    return (int)m < MOD_LINEARS || m == MOD_EMBED || m == MOD_HEAD;
}

static size_t round64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

static bool in_place(const struct tensor *t, enum dtype want)
{
    return !t->packed && t->dtype == want && (uintptr_t)t->data % dtype_size(want) == 0;
}

/* n elements from type t, or of a packed tensor, to f32 or bf16, in pieces that keep the intermediate in cache. */
struct conversion {
    char *out;
    enum dtype want;
    const char *in;
    enum dtype t;
    const struct tensor *packed; /* NULL: from in */
};

enum { PIECE = 4096 };

static void convert_piece(void *u, size_t first, size_t n)
{
    const struct conversion *v = u;
    char *out = v->out + first * dtype_size(v->want);
    float f[PIECE];
    if (v->packed) {
        tensor_to_f32(v->want == DT_F32 ? (float *)out : f, v->packed, first, n);
        if (v->want != DT_F32)
            dtype_from_f32(out, v->want, f, n);
        return;
    }
    const char *in = v->in + first * dtype_size(v->t);
    if (v->want == v->t) {
        memcpy(out, in, n * dtype_size(v->t));
        return;
    }
    uint64_t aligned[PIECE]; /* mapped data may lie on any byte */
    if ((uintptr_t)in % dtype_size(v->t)) {
        memcpy(aligned, in, n * dtype_size(v->t));
        in = (const char *)aligned;
    }
    dtype_to_f32(v->want == DT_F32 ? (float *)out : f, in, v->t, n);
    if (v->want != DT_F32)
        dtype_from_f32(out, v->want, f, n);
}

static void convert_all(struct conversion *v, size_t n)
{
    if (n <= PIECE)
        convert_piece(v, 0, n);
    else
        par_slabs(n, PIECE, convert_piece, v);
}

static void convert_stored(void *out, enum dtype want, const struct tensor *t)
{
    struct conversion v = {out, want, t->data, t->dtype, t->packed ? t : NULL};
    convert_all(&v, t->n);
}

static void convert_master(void *out, enum dtype want, const struct slot *s)
{
    struct conversion v = {out, want, (const char *)s->master, DT_F32, NULL};
    convert_all(&v, s->t->n);
}

static int find(struct weights *w, int layer, enum module m, bool bias, struct err *e)
{
    char name[PARAM_NAME_MAX];
    const struct tensor *t = model_tensor(w->m, param_name(name, layer, m, bias));
    size_t out, in;
    module_shape(w->c, m, &out, &in);
    if (!t)
        return err_set(e, ERR_INPUT, "the model has no tensor \"%s\"", name);
    if (t->n != (bias ? out : out * in) || !tensor_readable(t))
        return err_set(e, ERR_INTERNAL, "tensor \"%s\" has another size than the configuration says", name);
    if (t->dtype != DT_F32 && t->dtype != DT_BF16 && t->dtype != DT_F16 && t->dtype != DT_F64)
        return err_set(e, ERR_UNSUPPORTED, "tensor \"%s\" has type %s; F32, BF16, F16 and F64 are supported", name,
                       dtype_name(t->dtype));
    slot_at(w, layer, m, bias)->t = t;
    return 0;
}

static int find_all(struct weights *w, struct err *e)
{
    for (int l = -1; l < w->c->num_hidden_layers; l++)
        for (int m = 0; m < MOD_COUNT; m++) {
            bool outside = m == MOD_EMBED || m == MOD_HEAD || m == MOD_NORM;
            if (outside != (l < 0) || (m == MOD_HEAD && w->c->tie_word_embeddings))
                continue;
            int rc = find(w, l, (enum module)m, false, e);
            if (rc == 0 && module_has_bias(w->c, (enum module)m))
                rc = find(w, l, (enum module)m, true, e);
            if (rc != 0)
                return rc;
        }
    return 0;
}

/* What each parameter needs of the block; with memory (p), converts it there. */
static size_t place(struct weights *w, struct slot *s, enum module m, bool vector, char *p)
{
    if (!s->t)
        return 0;
    bool trainable = w->kind == WEIGHTS_TRAINABLE, layered = (int)m < MOD_LINEARS && !vector;
    enum dtype want = vector || trainable ? DT_F32 : w->compute;
    bool lookup = m == MOD_EMBED && !trainable && !w->c->tie_word_embeddings; /* rows only: from the file */
    if (!trainable && (lookup || in_place(s->t, want))) {
        s->use = lookup ? NULL : s->t->data;
        return 0;
    }
    if (w->kind == WEIGHTS_STREAMED && layered)
        return 0;
    if (p) {
        convert_stored(p, want, s->t);
        if (trainable)
            s->master = (float *)p;
        if (want == (vector ? DT_F32 : w->compute))
            s->use = p;
    }
    return round64(s->t->n * dtype_size(want));
}

static size_t place_all(struct weights *w, char *p)
{
    size_t at = 0;
    for (size_t i = 0; i < (size_t)(w->c->num_hidden_layers + 1) * MOD_COUNT; i++) {
        enum module m = (enum module)(i % MOD_COUNT);
        at += place(w, &w->w[i], m, !is_matrix(m), p ? p + at : NULL);
        at += place(w, &w->b[i], m, true, p ? p + at : NULL);
    }
    return at;
}

/* One layer's matrices that acquire will convert; trainable in bf16 also needs room for the head. */
static size_t layer_scratch(const struct weights *w)
{
    size_t most = 0;
    for (int l = 0; l < w->c->num_hidden_layers; l++) {
        size_t bytes = 0;
        for (int m = 0; m < MOD_LINEARS; m++) {
            const struct slot *s = slot_at(w, l, (enum module)m, false);
            bytes += s->use ? 0 : round64(s->t->n * dtype_size(w->compute));
        }
        most = bytes > most ? bytes : most;
    }
    return most;
}

struct transposition {
    const char *in;
    char *out;
    size_t rows, cols;
    enum dtype t;
};

/* Columns first .. of (rows, cols) become rows of the output. */
static void transpose_cols(void *u, size_t first, size_t count)
{
    const struct transposition *x = u;
    for (size_t i = 0; i < x->rows; i++)
        for (size_t j = first; j < first + count; j++) {
            if (x->t == DT_F32)
                ((float *)x->out)[j * x->rows + i] = ((const float *)x->in)[i * x->cols + j];
            else
                ((uint16_t *)x->out)[j * x->rows + i] = ((const uint16_t *)x->in)[i * x->cols + j];
        }
}

static int pack_slot(const struct weights *w, struct slot *s, enum module m, char *scratch, struct err *e)
{
    size_t out, in;
    module_shape(w->c, m, &out, &in);
    int rc = gemm_pack(s->use, out, in, w->compute, &s->fwd, e);
    if (rc != 0 || !scratch || (int)m >= MOD_LINEARS)
        return rc;
    struct transposition x = {s->use, scratch, out, in, w->compute};
    par_slabs(in, 64, transpose_cols, &x);
    return gemm_pack(scratch, in, out, w->compute, &s->bwd, e);
}

static const struct slot *head_slot(const struct weights *w)
{
    return slot_at(w, -1, w->c->tie_word_embeddings ? MOD_EMBED : MOD_HEAD, false);
}

static void advise(const struct weights *w, int layer, int advice);

/* After this the mapped pages of the layers are not needed, unless something asks for rows of W. */
static int pack_all(struct weights *w, struct err *e)
{
    size_t most = 0;
    for (int m = 0; m < MOD_LINEARS; m++) {
        size_t n = slot_at(w, 0, (enum module)m, false)->t->n * dtype_size(w->compute);
        most = n > most ? n : most;
    }
    char *scratch = w->kind == WEIGHTS_PACKED_BOTH ? big_alloc(most) : NULL;
    int rc = w->kind == WEIGHTS_PACKED_BOTH && !scratch ? err_nomem(e, most, "packing weights") : 0;
    for (int l = 0; rc == 0 && l < w->c->num_hidden_layers; l++) {
        for (int m = 0; rc == 0 && m < MOD_LINEARS; m++)
            rc = pack_slot(w, slot_at(w, l, (enum module)m, false), (enum module)m, scratch, e);
        advise(w, l, MADV_DONTNEED);
    }
    big_free(scratch, most);
    enum module head = w->c->tie_word_embeddings ? MOD_EMBED : MOD_HEAD;
    return rc == 0 ? pack_slot(w, slot_at(w, -1, head, false), head, NULL, e) : rc;
}

int weights_new(const struct model *m, enum dtype compute, enum weights_kind kind, struct weights **out, struct err *e)
{
    *out = NULL;
    if (compute != DT_F32 && compute != DT_BF16)
        return err_set(e, ERR_INTERNAL, "weights in %s", dtype_name(compute));
    struct weights *w = calloc(1, sizeof *w);
    if (!w)
        return err_nomem(e, sizeof *w, "weights");
    w->m = m;
    w->c = model_config(m);
    w->compute = compute;
    w->kind = kind;
    w->last = -1;
    size_t n = (size_t)(w->c->num_hidden_layers + 1) * MOD_COUNT;
    w->w = calloc(n, sizeof *w->w);
    w->b = calloc(n, sizeof *w->b);
    int rc = w->w && w->b ? find_all(w, e) : err_nomem(e, n * sizeof *w->w, "weights");
    if (rc != 0)
        goto out;
    w->block_bytes = place_all(w, NULL);
    if (w->block_bytes && !(w->block = big_alloc(w->block_bytes))) {
        rc = err_nomem(e, w->block_bytes, "the model's weights");
        goto out;
    }
    if (w->block)
        place_all(w, w->block);
    w->scratch_bytes = layer_scratch(w);
    size_t head = head_slot(w)->use ? 0 : round64(head_slot(w)->t->n * dtype_size(compute));
    w->scratch_bytes += head; /* the head lies behind the layer */
    if (w->scratch_bytes && !(w->scratch = big_alloc(w->scratch_bytes)))
        rc = err_nomem(e, w->scratch_bytes, "one layer's weights");
    if (rc == 0 && (kind == WEIGHTS_PACKED || kind == WEIGHTS_PACKED_BOTH))
        rc = pack_all(w, e);
out:
    if (rc != 0)
        weights_free(w);
    else
        *out = w;
    return rc;
}

void weights_free(struct weights *w)
{
    if (!w)
        return;
    for (size_t i = 0; w->w && i < (size_t)(w->c->num_hidden_layers + 1) * MOD_COUNT; i++) {
        gemm_packed_free(w->w[i].fwd);
        gemm_packed_free(w->w[i].bwd);
    }
    big_free(w->block, w->block_bytes);
    big_free(w->scratch, w->scratch_bytes);
    free(w->w);
    free(w->b);
    free(w);
}

const struct model_config *weights_config(const struct weights *w)
{
    return w->c;
}

enum dtype weights_compute(const struct weights *w)
{
    return w->compute;
}

/* Advice to the kernel about the mapped pages of a layer; only whole pages are dropped. Failure is harmless. */
static void advise(const struct weights *w, int layer, int advice)
{
    if (layer < 0 || layer >= w->c->num_hidden_layers)
        return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int m = 0; m < MOD_LINEARS; m++) {
        const struct tensor *t = slot_at(w, layer, (enum module)m, false)->t;
        size_t bytes;
        uintptr_t from = (uintptr_t)tensor_stored(t, &bytes), to = from + bytes;
        if (advice == MADV_WILLNEED)
            from &= ~(page - 1);
        else {
            from = (from + page - 1) & ~(page - 1);
            to &= ~(page - 1);
        }
        if (to > from)
            madvise((void *)from, to - from, advice);
    }
}

int weights_acquire(const struct weights *cw, int layer, struct layer_weights *out, struct err *e)
{
    struct weights *w = (struct weights *)(uintptr_t)cw; /* scratch and direction: one layer at a time per source */
    if (layer < 0 || layer >= w->c->num_hidden_layers)
        return err_set(e, ERR_INTERNAL, "layer %d asked of a model of %d", layer, w->c->num_hidden_layers);
    if (w->kind == WEIGHTS_STREAMED) {
        advise(w, layer < w->last ? layer - 1 : layer + 1, MADV_WILLNEED);
        w->last = layer;
    }
    char *p = w->scratch;
    *out = (struct layer_weights){
        .input_norm = slot_at(w, layer, MOD_INPUT_NORM, false)->use,
        .post_norm = slot_at(w, layer, MOD_POST_NORM, false)->use,
    };
    for (int m = 0; m < MOD_LINEARS; m++) {
        const struct slot *s = slot_at(w, layer, (enum module)m, false);
        out->w[m] = s->use;
        out->fwd[m] = s->fwd;
        out->bwd[m] = s->bwd;
        out->b[m] = slot_at(w, layer, (enum module)m, true)->use;
        if (s->use)
            continue;
        if (s->master)
            convert_master(p, w->compute, s);
        else
            convert_stored(p, w->compute, s->t);
        out->w[m] = p;
        p += round64(s->t->n * dtype_size(w->compute));
    }
    return 0;
}

void weights_release(const struct weights *w, int layer)
{
    if (w->kind == WEIGHTS_STREAMED)
        advise(w, layer, MADV_DONTNEED);
}

const void *weights_head(const struct weights *w)
{
    const struct slot *s = head_slot(w);
    if (s->use)
        return s->use;
    char *p = (char *)w->scratch + w->scratch_bytes - round64(s->t->n * dtype_size(w->compute));
    convert_master(p, w->compute, s); /* trainable in bf16: the masters may have moved */
    return p;
}

const struct gemm_packed *weights_head_packed(const struct weights *w)
{
    return head_slot(w)->fwd;
}

const float *weights_norm(const struct weights *w)
{
    return slot_at(w, -1, MOD_NORM, false)->use;
}

struct lookup {
    const struct weights *w;
    const int32_t *ids;
    float *out;
};

static void look_up(void *u, size_t first, size_t n)
{
    const struct lookup *k = u;
    const struct slot *s = slot_at(k->w, -1, MOD_EMBED, false);
    size_t d = (size_t)k->w->c->hidden_size;
    enum dtype t = s->master ? DT_F32 : s->t->dtype;
    const char *from = s->master ? (const char *)s->master : s->t->data;
    for (size_t i = first; i < first + n; i++) {
        if (!s->master && s->t->packed) {
            tensor_to_f32(k->out + i * d, s->t, (size_t)k->ids[i] * d, d);
            continue;
        }
        const char *row = from + (size_t)k->ids[i] * d * dtype_size(t);
        for (size_t j = 0; j < d; j += PIECE) {
            struct conversion v = {(char *)(k->out + i * d), DT_F32, row, t, NULL};
            convert_piece(&v, j, d - j < PIECE ? d - j : PIECE);
        }
    }
}

void weights_embed(const struct weights *w, const int32_t *ids, size_t n, float *out)
{
    struct lookup k = {w, ids, out};
    par_slabs(n, 64, look_up, &k);
}

float *weights_param(struct weights *w, const char *name, size_t *n)
{
    int layer;
    enum module m;
    bool bias;
    *n = 0;
    if (w->kind != WEIGHTS_TRAINABLE || param_name_parse(name, &layer, &m, &bias) != 0 || layer >= w->c->num_hidden_layers)
        return NULL;
    if (m == MOD_HEAD && w->c->tie_word_embeddings)
        m = MOD_EMBED;
    const struct slot *s = slot_at(w, layer, m, bias);
    *n = s->t ? s->t->n : 0;
    return s->master;
}

bool weights_pack_pays(const struct model_config *c, enum dtype compute)
{
    for (int m = 0; m < MOD_LINEARS; m++) {
        size_t out, in;
        module_shape(c, (enum module)m, &out, &in);
        if (!gemm_pack_joins(compute, in))
            return false;
    }
    return gemm_pack_joins(compute, (size_t)c->hidden_size);
}

uint64_t weights_memory(const struct model_config *c, enum dtype stored, enum dtype compute, enum weights_kind kind)
{
    uint64_t layer = 0, vectors = (uint64_t)c->hidden_size, V = (uint64_t)c->vocab_size * (uint64_t)c->hidden_size;
    uint64_t L = (uint64_t)c->num_hidden_layers, esz = dtype_size(compute), ssz = dtype_size(stored);
    for (int m = 0; m < MOD_LINEARS; m++) {
        size_t out, in;
        module_shape(c, (enum module)m, &out, &in);
        layer += (uint64_t)out * in;
        vectors += module_has_bias(c, (enum module)m) ? L * out : 0;
    }
    vectors += 2 * L * (uint64_t)c->hidden_size;
    bool same = stored == compute, tied = c->tie_word_embeddings;
    if (kind == WEIGHTS_TRAINABLE)
        return 4 * (L * layer + (tied ? 1 : 2) * V + vectors) + (compute == DT_F32 ? 0 : esz * (layer + V));
    uint64_t head = V * (same ? ssz : esz) + (tied && same ? 0 : V * ssz); /* mapped pages count as well: they are touched */
    if (kind == WEIGHTS_STREAMED)
        return head + 4 * vectors + layer * ssz * 2 + (same ? 0 : layer * esz);
    if (kind == WEIGHTS_PACKED || kind == WEIGHTS_PACKED_BOTH) /* mapped layers are dropped after packing, converted ones stay */
        return head + V * esz + 4 * vectors + L * layer * esz * ((kind == WEIGHTS_PACKED_BOTH ? 2 : 1) + (same ? 0 : 1));
    return head + 4 * vectors + L * layer * esz;
}
