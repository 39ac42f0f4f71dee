/* SPDX-License-Identifier: MIT
 *
 * Tensors and the model's own metadata. Rows go through f32 in pieces; values that a 16-bit type cannot hold are an error.
 */
#include "runtime/model/gguf_export.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/model/gguf_model.h"
#include "runtime/text/tokenizer.h"

enum { PIECE = 1 << 18 }; /* elements in hand */

static const char *arch_of(const struct model_config *c)
{
    return strcmp(c->model_type, "qwen2") == 0 ? "qwen2" : "llama";
}

/* Heads whose rows are interleaved in the file; 0: none. */
static size_t interleaved(const struct model_config *c, enum module m)
{
    if (strcmp(arch_of(c), "llama") != 0)
        return 0;
    return m == MOD_Q ? (size_t)c->num_attention_heads : m == MOD_K ? (size_t)c->num_key_value_heads : 0;
}

/* The row of the tensor that stands at row `at` of the file. */
static size_t row_for(size_t at, size_t rows, size_t heads)
{
    size_t size = heads ? rows / heads : rows;
    return heads ? at / size * size + at % size / 2 + at % 2 * (size / 2) : at;
}

/* ---- values ---- */

static int put_values(struct gguf_writer *w, const struct quant_type *q, const float *x, size_t n, void *room, const char *name, struct err *e)
{
    if (q->id == 0)
        return gguf_write(w, x, n * sizeof *x, e);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]) || (q->plain == DT_F16 && fabsf(x[i]) > 65504))
            return err_set(e, ERR_INPUT, "%s: a value (%g) that %s cannot hold; export with --dtype bf16 or f32", name, (double)x[i], q->name);
    if (q->block == 1)
        dtype_from_f32(room, q->plain, x, n);
    else
        quant_q8_0(room, x, n / q->block);
    return gguf_write(w, room, n / q->block * q->bytes, e);
}

/* x: rows (rows, cols) of a tensor in f32, or t's own. */
struct rows {
    const struct tensor *t;
    const float *x;
    size_t n, cols, heads;
};

static int put_rows(struct gguf_writer *w, const struct quant_type *q, const struct rows *r, const char *name, struct err *e)
{
    size_t step = r->cols < PIECE ? PIECE / (r->cols ? r->cols : 1) : 1, room = step * r->cols;
    float *x = big_alloc((room + 1) * sizeof *x);
    void *y = big_alloc((room + 1) * sizeof *x);
    int rc = x && y ? 0 : err_nomem(e, room * 8, name);
    for (size_t at = 0; rc == 0 && at < r->n; at += step) {
        size_t n = r->n - at < step ? r->n - at : step;
        for (size_t i = 0; i < n; i++) {
            size_t row = row_for(at + i, r->n, r->heads);
            if (r->t)
                tensor_to_f32(x + i * r->cols, r->t, row * r->cols, r->cols);
            else
                memcpy(x + i * r->cols, r->x + row * r->cols, r->cols * sizeof *x);
        }
        rc = put_values(w, q, x, n * r->cols, y, name, e);
    }
    big_free(x, (room + 1) * sizeof *x);
    big_free(y, (room + 1) * sizeof *x);
    return rc;
}

/* ---- models ---- */

static const struct quant_type *stored_as(const struct tensor *t, const struct quant_type *want)
{
    if (t->ndim < 2)
        return quant_of(DT_F32);
    if (!want)
        return quant_of(t->dtype) ? quant_of(t->dtype) : quant_of(DT_F32);
    return t->shape[t->ndim - 1] % want->block ? quant_of(DT_F16) : want;
}

struct visit {
    struct gguf_writer *w;
    const struct model *m;
    const struct quant_type *want;
    bool declare;
};

static int one_param(const struct visit *v, int layer, enum module m, bool bias, struct err *e)
{
    char ours[PARAM_NAME_MAX], theirs[PARAM_NAME_MAX];
    const struct tensor *t = model_tensor(v->m, param_name(ours, layer, m, bias));
    if (!t)
        return err_set(e, ERR_INPUT, "the model has no tensor \"%s\"", ours);
    gguf_param_name(theirs, layer, m, bias);
    const struct quant_type *q = stored_as(t, v->want);
    if (v->declare)
        return gguf_declare(v->w, theirs, q, t->ndim, t->shape, e);
    struct rows r = {.t = t, .n = t->shape[0], .cols = t->ndim > 1 ? t->shape[1] : 1, .heads = interleaved(model_config(v->m), m)};
    return put_rows(v->w, q, &r, theirs, e);
}

static int all_params(const struct visit *v, struct err *e)
{
    const struct model_config *c = model_config(v->m);
    int rc = 0;
    for (int l = -1; rc == 0 && l < c->num_hidden_layers; l++)
        for (int m = 0; rc == 0 && m < MOD_COUNT; m++) {
            bool outside = m == MOD_EMBED || m == MOD_HEAD || m == MOD_NORM;
            if (outside != (l < 0) || (m == MOD_HEAD && c->tie_word_embeddings))
                continue;
            rc = one_param(v, l, (enum module)m, false, e);
            if (rc == 0 && module_has_bias(c, (enum module)m))
                rc = one_param(v, l, (enum module)m, true, e);
        }
    return rc;
}

/* What rope type llama3 divides the frequencies by. */
static void llama3_factors(const struct model_config *c, float *f, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double wave = 2 * 3.14159265358979323846 * pow(c->rope_theta, (double)i / (double)n);
        double original = c->rope_original_max_position_embeddings, low = c->rope_low_freq_factor, high = c->rope_high_freq_factor;
        double smooth = (original / wave - low) / (high - low);
        f[i] = wave < original / high  ? 1
               : wave > original / low ? (float)c->rope_factor
                                       : (float)(1 / ((1 - smooth) / c->rope_factor + smooth));
    }
}

static void put_u32(struct gguf_writer *w, const char *arch, const char *key, int v)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", arch, key);
    gguf_put_u32(w, name, (uint32_t)v);
}

static void put_f32(struct gguf_writer *w, const char *arch, const char *key, double v)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", arch, key);
    gguf_put_f32(w, name, (float)v);
}

static void put_config(struct gguf_writer *w, const struct model_config *c)
{
    const char *arch = arch_of(c);
    char name[96];
    put_u32(w, arch, "block_count", c->num_hidden_layers);
    put_u32(w, arch, "context_length", c->max_position_embeddings);
    put_u32(w, arch, "embedding_length", c->hidden_size);
    put_u32(w, arch, "feed_forward_length", c->intermediate_size);
    put_u32(w, arch, "attention.head_count", c->num_attention_heads);
    put_u32(w, arch, "attention.head_count_kv", c->num_key_value_heads);
    put_u32(w, arch, "attention.key_length", c->head_dim);
    put_u32(w, arch, "attention.value_length", c->head_dim);
    put_u32(w, arch, "rope.dimension_count", c->head_dim);
    put_u32(w, arch, "vocab_size", c->vocab_size);
    put_f32(w, arch, "rope.freq_base", c->rope_theta);
    put_f32(w, arch, "attention.layer_norm_rms_epsilon", c->rms_norm_eps);
    if (c->rope == ROPE_LINEAR) {
        snprintf(name, sizeof name, "%s.rope.scaling.type", arch);
        gguf_put_str(w, name, STR("linear"));
        put_f32(w, arch, "rope.scaling.factor", c->rope_factor);
    }
}

/* llama.cpp's llama_ftype of files that are mostly this. */
static uint32_t file_type(const struct quant_type *q)
{
    return q->id == 0 ? 0 : q->id == 1 ? 1 : q->id == 8 ? 7 : 32;
}

static int put_metadata(struct gguf_writer *w, struct model *m, const char *tokenizer, const struct quant_type *type, struct err *e)
{
    const struct model_config *c = model_config(m);
    const struct tensor *first = model_tensor(m, "model.embed_tokens.weight");
    const struct tokenizer *t = NULL;
    gguf_put_str(w, "general.architecture", str_of(arch_of(c)));
    gguf_put_str(w, "general.type", STR("model"));
    gguf_put_u32(w, "general.file_type", file_type(stored_as(first, type)));
    gguf_put_u32(w, "general.quantization_version", 2);
    put_config(w, c);
    if (!tokenizer)
        return 0;
    struct js *j = js_read(tokenizer, e);
    int rc = j ? model_tokenizer(m, &t, e) : e->code;
    if (rc == 0)
        rc = gguf_put_tokenizer(w, j, js_get(model_json(m), "tokenizer"), c, t, e);
    js_free(j);
    return rc;
}

int gguf_export_model(struct model *m, const char *tokenizer, const struct quant_type *type, const char *path, struct err *e)
{
    const struct model_config *c = model_config(m);
    struct gguf_writer *w = NULL;
    size_t n = (size_t)c->head_dim / 2;
    float *factors = c->rope == ROPE_LLAMA3 ? calloc(n, sizeof *factors) : NULL;
    int rc = c->rope == ROPE_LLAMA3 && !factors ? err_nomem(e, n * sizeof *factors, path) : gguf_writer_new(path, &w, e);
    struct visit v = {w, m, type, true};
    if (rc == 0)
        rc = put_metadata(w, m, tokenizer, type, e);
    if (rc == 0 && factors) {
        llama3_factors(c, factors, n);
        rc = gguf_declare(w, "rope_freqs.weight", quant_of(DT_F32), 1, &n, e);
    }
    if (rc == 0)
        rc = all_params(&v, e);
    if (rc == 0)
        rc = gguf_write_begin(w, e);
    if (rc == 0 && factors)
        rc = gguf_write(w, factors, n * sizeof *factors, e);
    v.declare = false;
    if (rc == 0)
        rc = all_params(&v, e);
    if (rc == 0)
        rc = gguf_write_end(w, e);
    gguf_writer_free(w);
    free(factors);
    return rc;
}

/* ---- adapters ---- */

static int check_adapter(const struct lora *l, const struct model_config *c, struct err *e)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct lora_pair *p = &l->pairs[i];
        if (p->B0 || p->r != l->pairs[0].r || p->scale != l->pairs[0].scale)
            return err_set(e, ERR_INTERNAL, "an adapter with several ranks or scales, or with compensation, was to be written as GGUF");
        if (c->tie_word_embeddings && (p->mod == MOD_EMBED || p->mod == MOD_HEAD))
            return err_set(e, ERR_UNSUPPORTED,
                           "the adapter changes %s of a model whose embedding and head are one matrix; llama.cpp's adapters cannot hold that. "
                           "Merge it (operator merge) and export the model --as gguf",
                           module_name(p->mod));
    }
    return l->n ? 0 : err_set(e, ERR_INPUT, "the adapter has no matrices");
}

/* A (r, in) as (in, r): how llama.cpp looks up rows for ids. */
static float *transposed(const float *x, size_t rows, size_t cols)
{
    float *y = malloc((rows * cols + 1) * sizeof *y);
    for (size_t i = 0; y && i < rows; i++)
        for (size_t j = 0; j < cols; j++)
            y[j * rows + i] = x[i * cols + j];
    return y;
}

static int one_pair(struct gguf_writer *w, const struct lora_pair *p, const struct model_config *c, bool declare, struct err *e)
{
    char base[PARAM_NAME_MAX], a[PARAM_NAME_MAX + 8], b[PARAM_NAME_MAX + 8];
    bool embed = p->mod == MOD_EMBED;
    size_t r = (size_t)p->r, sa[2] = {embed ? p->in : r, embed ? r : p->in}, sb[2] = {p->out, r};
    gguf_param_name(base, p->layer, p->mod, false);
    snprintf(a, sizeof a, "%s.lora_a", base);
    snprintf(b, sizeof b, "%s.lora_b", base);
    if (declare) {
        int rc = gguf_declare(w, a, quant_of(DT_F32), 2, sa, e);
        return rc ? rc : gguf_declare(w, b, quant_of(DT_F32), 2, sb, e);
    }
    float *turned = embed ? transposed(p->A, r, p->in) : NULL;
    if (embed && !turned)
        return err_nomem(e, r * p->in * sizeof *turned, a);
    struct rows ra = {.x = turned ? turned : p->A, .n = sa[0], .cols = sa[1]};
    struct rows rb = {.x = p->B, .n = sb[0], .cols = sb[1], .heads = interleaved(c, p->mod)};
    int rc = put_rows(w, quant_of(DT_F32), &ra, a, e);
    if (rc == 0)
        rc = put_rows(w, quant_of(DT_F32), &rb, b, e);
    free(turned);
    return rc;
}

int gguf_export_adapter(const struct lora *l, const struct model_config *c, const char *path, struct err *e)
{
    struct gguf_writer *w = NULL;
    int rc = check_adapter(l, c, e);
    if (rc == 0)
        rc = gguf_writer_new(path, &w, e);
    if (rc != 0)
        return rc;
    gguf_put_str(w, "general.architecture", str_of(arch_of(c)));
    gguf_put_str(w, "general.type", STR("adapter"));
    gguf_put_u32(w, "general.file_type", 0);
    gguf_put_str(w, "adapter.type", STR("lora"));
    gguf_put_f32(w, "adapter.lora.alpha", l->pairs[0].scale * (float)l->pairs[0].r);
    for (size_t i = 0; rc == 0 && i < l->n; i++)
        rc = one_pair(w, &l->pairs[i], c, true, e);
    if (rc == 0)
        rc = gguf_write_begin(w, e);
    for (size_t i = 0; rc == 0 && i < l->n; i++)
        rc = one_pair(w, &l->pairs[i], c, false, e);
    if (rc == 0)
        rc = gguf_write_end(w, e);
    gguf_writer_free(w);
    return rc;
}
