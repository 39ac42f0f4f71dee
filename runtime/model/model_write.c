/* SPDX-License-Identifier: MIT */
#include "runtime/model/model_write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/sha.h"
#include "runtime/exec/par.h"
#include "runtime/formats/quant.h"
#include "runtime/kernels/gemm.h"

enum { CHUNK = 1 << 22 }; /* elements in hand */
static const char head_name[] = "lm_head.weight", embed_name[] = "model.embed_tokens.weight";

static bool is_float(enum dtype t)
{
    return t == DT_F32 || t == DT_BF16 || t == DT_F16;
}

static enum dtype written_type(const struct model_write *w, const struct tensor *t)
{
    return w->set_dtype && is_float(t->dtype) ? w->dtype : t->dtype;
}

struct convert {
    void *out;
    const struct tensor *from;
    size_t at; /* first element */
    float *x;
    enum dtype to;
    int *bad; /* a slab each: values that are not finite after rounding */
};

enum { SLAB = 1 << 16 };

static void load_slab(void *u, size_t first, size_t n)
{
    const struct convert *c = u;
    tensor_to_f32(c->x + first, c->from, c->at + first, n);
}

static void store_slab(void *u, size_t first, size_t n)
{
    const struct convert *c = u;
    for (size_t i = first; i < first + n; i++)
        if (!isfinite(c->to == DT_F16 ? f16_to_f32(f16_from_f32(c->x[i])) : c->x[i]))
            c->bad[first / SLAB] = 1;
    dtype_from_f32((char *)c->out + first * dtype_size(c->to), c->to, c->x + first, n);
}

/* One parameter: rows in pieces of at most CHUNK elements. from: the base's tensor. */
static int write_tensor(const struct model_write *w, struct st_writer *out, const char *name, const struct tensor *from, float *x, void *y,
                        int *bad, size_t room, struct err *e)
{
    size_t rows = from->ndim ? from->shape[0] : 1, cols = rows ? from->n / rows : 0, step = cols ? room / cols : 0;
    enum dtype to = written_type(w, from);
    if (!is_float(from->dtype) || from->n == 0)
        return st_write(out, from->data, from->bytes, e);
    int rc = 0;
    for (size_t row = 0; rc == 0 && row < rows; row += step) {
        size_t n = rows - row < step ? rows - row : step;
        struct convert c = {y, from, row * cols, x, to, bad};
        par_slabs(n * cols, SLAB, load_slab, &c);
        rc = w->edit(w->u, name, row, n, cols, x, e);
        memset(bad, 0, (room / SLAB + 1) * sizeof *bad);
        if (rc == 0)
            par_slabs(n * cols, SLAB, store_slab, &c);
        for (size_t i = 0; rc == 0 && i <= room / SLAB; i++)
            if (bad[i])
                rc = err_set(e, ERR_INPUT, "%s: a value is not finite in %s, rows %zu to %zu; write another dtype (bf16, f32)", name,
                             dtype_name(to), row, row + n - 1);
        if (rc == 0)
            rc = st_write(out, y, n * cols * dtype_size(to), e);
        if (rc == 0)
            rc = progress_poll(w->progress, e);
    }
    return rc;
}

static int write_all(const struct model_write *w, struct st_writer *out, struct err *e)
{
    size_t room = CHUNK, done = 0, n = st_writer_count(out);
    for (size_t i = 0; i < model_tensor_count(w->base); i++) {
        const struct tensor *t = model_tensor_at(w->base, i);
        size_t cols = t->ndim && t->shape[0] ? t->n / t->shape[0] : 1;
        room = cols > room ? cols : room;
    }
    float *x = big_alloc(room * sizeof *x);
    void *y = big_alloc(room * sizeof *x);
    int *bad = calloc(room / SLAB + 1, sizeof *bad);
    int rc = x && y && bad ? 0 : err_nomem(e, room * 8, "writing a model");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct tensor *t = st_writer_at(out, i), *from = model_tensor(w->base, t->name);
        bool head = w->untie && strcmp(t->name, head_name) == 0;
        rc = write_tensor(w, out, t->name, head ? model_tensor(w->base, embed_name) : from, x, y, bad, room, e);
        progress_update(w->progress, (double)++done, (double)n, "tensors");
    }
    big_free(x, room * sizeof *x);
    big_free(y, room * sizeof *x);
    free(bad);
    return rc;
}

static int write_weights(const struct model_write *w, const char *path, struct err *e)
{
    struct st_writer *out = NULL;
    const struct tensor *embed = model_tensor(w->base, embed_name);
    int rc = st_writer_new(path, &out, e);
    if (rc == 0)
        st_writer_unsynced(out);
    for (size_t i = 0; rc == 0 && i < model_tensor_count(w->base); i++) {
        const struct tensor *t = model_tensor_at(w->base, i);
        if (!w->untie || strcmp(t->name, head_name) != 0)
            rc = st_declare(out, t->name, written_type(w, t), t->ndim, t->shape, e);
    }
    if (rc == 0 && w->untie)
        rc = st_declare(out, head_name, written_type(w, embed), embed->ndim, embed->shape, e);
    if (rc == 0)
        rc = st_write_begin(out, e);
    if (rc == 0)
        rc = write_all(w, out, e);
    if (rc == 0)
        rc = st_write_end(out, e);
    if (out)
        st_writer_free(out);
    return rc;
}

static struct js *changed_config(const struct model_write *w)
{
    static const char *const keys[] = {"torch_dtype", "dtype"};
    const char *name = w->dtype == DT_BF16 ? "bfloat16" : w->dtype == DT_F16 ? "float16" : "float32";
    struct js *c = js_copy(js_get(model_json(w->base), "config"));
    bool bad = !c;
    if (c && w->untie)
        bad |= js_set(c, "tie_word_embeddings", js_new_bool(false)) < 0;
    for (int i = 0; c && w->set_dtype && i < 2; i++)
        if (js_get(c, keys[i]))
            bad |= js_set(c, keys[i], js_new_cstr(name)) < 0;
    if (bad) {
        js_free(c);
        return NULL;
    }
    return c;
}

int model_write(const struct model_write *w, const char *safetensors_path, const char *json_path, struct err *e)
{
    struct digest d;
    char hex[DIGEST_HEX];
    struct js *config = changed_config(w), *json = NULL;
    int rc = config ? write_weights(w, safetensors_path, e) : err_nomem(e, 0, "config.json");
    if (rc == 0)
        rc = progress_sha_file(w->progress, safetensors_path, &d, NULL, e);
    if (rc == 0) {
        digest_hex(&d, hex);
        rc = model_describe_file(safetensors_path, hex, config, js_get(model_json(w->base), "tokenizer"), &json, e);
    }
    if (rc == 0)
        rc = js_save(json_path, json, e);
    js_free(config);
    js_free(json);
    return rc;
}

/* ---- adapters ---- */

/* x (rows of the parameter) += y */
static int add_product(const struct lora_pair *p, size_t row0, size_t rows, const float *B, const float *A, size_t r, float *x, struct err *e)
{
    if (p->mod != MOD_EMBED)
        return gemm(GEMM_NN, rows, p->in, r, DT_F32, B + row0 * r, r, A, p->in, true, x, p->in, e);
    float *bt = malloc(r * p->out * sizeof *bt); /* (r, d) */
    if (!bt)
        return err_nomem(e, r * p->out * sizeof *bt, "merging");
    for (size_t i = 0; i < p->out; i++)
        for (size_t k = 0; k < r; k++)
            bt[k * p->out + i] = B[i * r + k];
    int rc = gemm(GEMM_TN, rows, p->out, r, DT_F32, A + row0, p->in, bt, p->out, true, x, p->out, e);
    free(bt);
    return rc;
}

/* out = a - b, or -b without a; n elements */
static float *minus(const float *a, const float *b, size_t n)
{
    float *out = malloc(n * sizeof *out);
    for (size_t i = 0; out && i < n; i++)
        out[i] = (a ? a[i] : 0) - b[i];
    return out;
}

int lora_add_delta(const struct lora_pair *p, size_t row0, size_t rows, float *x, struct err *e)
{
    size_t r = (size_t)p->r, r0 = (size_t)p->r0, cols = p->mod == MOD_EMBED ? p->out : p->in;
    float *y = calloc(rows * cols + 1, sizeof *y), *left = NULL, *right = NULL;
    int rc = y ? 0 : err_nomem(e, rows * cols * sizeof *y, "merging");
    if (rc == 0 && !p->B0) {
        rc = add_product(p, row0, rows, p->B, p->A, r, y, e);
    } else if (rc == 0 && r == r0) {
        left = minus(p->B, p->B0, p->out * r);
        right = minus(p->A, p->A0, r * p->in);
        rc = left && right ? add_product(p, row0, rows, left, p->A, r, y, e) : err_nomem(e, r * (p->in + p->out) * 4, "merging");
        if (rc == 0)
            rc = add_product(p, row0, rows, p->B0, right, r, y, e);
    } else if (rc == 0) {
        left = minus(NULL, p->B0, p->out * r0);
        rc = left ? add_product(p, row0, rows, p->B, p->A, r, y, e) : err_nomem(e, r0 * p->out * 4, "merging");
        if (rc == 0)
            rc = add_product(p, row0, rows, left, p->A0, r0, y, e);
    }
    for (size_t i = 0; rc == 0 && i < rows * cols; i++)
        x[i] += p->scale * y[i];
    free(y);
    free(left);
    free(right);
    return rc;
}

int merge_edit(void *u, const char *name, size_t row0, size_t rows, size_t cols, float *x, struct err *e)
{
    int layer;
    enum module m;
    bool bias;
    (void)cols;
    if (param_name_parse(name, &layer, &m, &bias) || bias)
        return 0;
    const struct lora_pair *p = lora_find(u, layer, m);
    return p ? lora_add_delta(p, row0, rows, x, e) : 0;
}

bool merge_unties(const struct lora *l, const struct model_config *c)
{
    return c->tie_word_embeddings && (lora_find(l, -1, MOD_EMBED) || lora_find(l, -1, MOD_HEAD));
}
