/* SPDX-License-Identifier: MIT
 *
 * Configuration and tensors. Keys of the metadata: gguf.md of ggml; names of tensors: llama.cpp's tensor_mapping.
 */
#include "runtime/model/gguf_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"

/* ---- names ---- */

char *gguf_param_name(char out[PARAM_NAME_MAX], int layer, enum module m, bool bias)
{
    static const char *const names[MOD_COUNT] = {
        [MOD_Q] = "attn_q",       [MOD_K] = "attn_k",         [MOD_V] = "attn_v",           [MOD_O] = "attn_output",
        [MOD_GATE] = "ffn_gate",  [MOD_UP] = "ffn_up",        [MOD_DOWN] = "ffn_down",      [MOD_EMBED] = "token_embd",
        [MOD_HEAD] = "output",    [MOD_NORM] = "output_norm", [MOD_INPUT_NORM] = "attn_norm", [MOD_POST_NORM] = "ffn_norm",
    };
    bool outside = m == MOD_EMBED || m == MOD_HEAD || m == MOD_NORM;
    if (outside)
        snprintf(out, PARAM_NAME_MAX, "%s.%s", names[m], bias ? "bias" : "weight");
    else
        snprintf(out, PARAM_NAME_MAX, "blk.%d.%s.%s", layer, names[m], bias ? "bias" : "weight");
    return out;
}

/* ---- configuration ---- */

struct meta {
    const struct gguf *g;
    char arch[16];
};

static const char *key(char out[96], const struct meta *m, const char *name)
{
    snprintf(out, 96, "%s.%s", m->arch, name);
    return out;
}

static int64_t meta_int(const struct meta *m, const char *name, int64_t otherwise)
{
    char k[96];
    return gguf_int(m->g, key(k, m, name), otherwise);
}

static double meta_num(const struct meta *m, const char *name, double otherwise)
{
    char k[96];
    return gguf_num(m->g, key(k, m, name), otherwise);
}

/* Integers of config.json that the metadata must have under another name. */
static int set_sizes(struct js *c, const struct meta *m, struct err *e)
{
    static const struct {
        const char *ours, *theirs;
        bool needed;
    } sizes[] = {
        {"hidden_size", "embedding_length", true},
        {"intermediate_size", "feed_forward_length", true},
        {"num_hidden_layers", "block_count", true},
        {"num_attention_heads", "attention.head_count", true},
        {"num_key_value_heads", "attention.head_count_kv", false},
        {"max_position_embeddings", "context_length", true},
        {"head_dim", "attention.key_length", false},
    };
    int bad = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char k[96];
        int64_t v = meta_int(m, sizes[i].theirs, -1);
        if (v < 0 && (sizes[i].needed || gguf_has(m->g, key(k, m, sizes[i].theirs))))
            return err_set(e, ERR_UNSUPPORTED, "%s: the metadata has no single number \"%s\"", gguf_path(m->g), key(k, m, sizes[i].theirs));
        if (v >= 0)
            bad |= js_set(c, sizes[i].ours, js_new_int(v));
    }
    const struct gguf_tensor *embed = gguf_find(m->g, "token_embd.weight");
    int64_t vocab = meta_int(m, "vocab_size", -1);
    if (embed && embed->ndim == 2)
        vocab = (int64_t)embed->shape[0];
    bad |= js_set(c, "vocab_size", js_new_int(vocab));
    return bad ? err_nomem(e, 64, "config.json") : 0;
}

/* Whether the factors that llama.cpp stored are those of rope type llama3 with these settings (n: half the head size). */
static bool is_llama3(const float *stored, size_t n, double base, double factor, double original)
{
    double low = 1, high = 4;
    for (size_t i = 0; i < n; i++) {
        double wave = 2 * 3.14159265358979323846 * pow(base, (double)i / (double)n), want = 1;
        if (wave > original / low)
            want = factor;
        else if (wave >= original / high) {
            double smooth = (original / wave - low) / (high - low);
            want = 1 / ((1 - smooth) / factor + smooth);
        }
        if (!(fabs(stored[i] - want) <= 1e-4 * want))
            return false;
    }
    return true;
}

/* rope_freqs.weight holds the divisors alone; Llama 3.1 to 3.3 all have low 1, high 4 and an original length of 8192 (other
 * powers of two are tried too). */
static int set_llama3(struct js *c, const struct meta *m, const struct gguf_tensor *t, double base, struct err *e)
{
    float f[1024];
    if (!t->type->to_f32 || t->type->block != 1 || t->n == 0 || t->n > 1024)
        return err_set(e, ERR_UNSUPPORTED, "%s: rope_freqs.weight is not a short list of numbers", gguf_path(m->g));
    t->type->to_f32(f, t->data, t->n);
    double factor = f[t->n - 1], original = 8192;
    for (int k = 5; k <= 20 && !is_llama3(f, t->n, base, factor, original); k++)
        original = 1 << k;
    if (!is_llama3(f, t->n, base, factor, original))
        return err_set(e, ERR_UNSUPPORTED, "%s: rope_freqs.weight holds a rotary scaling that is not Llama 3's; use the Hugging Face folder",
                       gguf_path(m->g));
    struct js *r = js_object();
    int bad = js_set(r, "rope_type", js_new_cstr("llama3"));
    bad |= js_set(r, "factor", js_new_num(factor)) | js_set(r, "low_freq_factor", js_new_num(1)) | js_set(r, "high_freq_factor", js_new_num(4));
    bad |= js_set(r, "original_max_position_embeddings", js_new_int((int64_t)original));
    return js_set(c, "rope_scaling", r) | bad ? err_nomem(e, 64, "config.json") : 0;
}

static int set_rope(struct js *c, const struct meta *m, struct err *e)
{
    char k[96];
    double base = meta_num(m, "rope.freq_base", 10000);
    int bad = js_set(c, "rope_theta", js_new_num(base));
    int64_t turned = meta_int(m, "rope.dimension_count", -1), heads = js_int(js_get(c, "num_attention_heads"), 0);
    int64_t head = js_int(js_get(c, "head_dim"), heads > 0 ? js_int(js_get(c, "hidden_size"), 0) / heads : 0);
    struct str type = gguf_str(m->g, key(k, m, "rope.scaling.type"));
    const struct gguf_tensor *freqs = gguf_find(m->g, "rope_freqs.weight");
    if (turned >= 0 && turned != head)
        return err_set(e, ERR_UNSUPPORTED, "%s: rotary embedding turns %lld of %lld dimensions of a head; only all are supported",
                       gguf_path(m->g), (long long)turned, (long long)head);
    if (freqs)
        return set_llama3(c, m, freqs, base, e);
    double factor = type.n ? meta_num(m, "rope.scaling.factor", 1) : meta_num(m, "rope.scale_linear", 1);
    if (type.n && !str_is(type, "none") && !str_is(type, "linear"))
        return err_set(e, ERR_UNSUPPORTED, "%s: rotary scaling \"%.*s\" is not supported; linear and llama3 are", gguf_path(m->g),
                       (int)(type.n < 40 ? type.n : 40), type.p);
    if (factor != 1 && factor != 0 && !str_is(type, "none")) {
        struct js *r = js_object();
        bad |= js_set(r, "rope_type", js_new_cstr("linear")) | js_set(r, "factor", js_new_num(factor));
        bad |= js_set(c, "rope_scaling", r);
    }
    return bad ? err_nomem(e, 64, "config.json") : 0;
}

static bool has(const struct meta *m, enum module mod)
{
    char name[PARAM_NAME_MAX];
    return gguf_find(m->g, gguf_param_name(name, 0, mod, true)) != NULL;
}

static int set_biases(struct js *c, const struct meta *m, struct err *e)
{
    if (strcmp(m->arch, "llama") != 0)
        return 0;
    if (has(m, MOD_Q) != has(m, MOD_O))
        return err_set(e, ERR_UNSUPPORTED, "%s: a llama model with biases on some of q, k, v and o is not supported", gguf_path(m->g));
    int bad = js_set(c, "attention_bias", js_new_bool(has(m, MOD_Q)));
    return bad | js_set(c, "mlp_bias", js_new_bool(has(m, MOD_GATE))) ? err_nomem(e, 64, "config.json") : 0;
}

static int set_tokens(struct js *c, const struct meta *m, struct err *e)
{
    int64_t bos = gguf_int(m->g, "tokenizer.ggml.bos_token_id", -1), eos = gguf_int(m->g, "tokenizer.ggml.eos_token_id", -1);
    int64_t eot = gguf_int(m->g, "tokenizer.ggml.eot_token_id", -1);
    int bad = 0;
    if (bos >= 0)
        bad |= js_set(c, "bos_token_id", js_new_int(bos));
    if (eos >= 0 && eot >= 0 && eot != eos) {
        struct js *list = js_array();
        bad |= js_push(list, js_new_int(eos)) | js_push(list, js_new_int(eot));
        bad |= js_set(c, "eos_token_id", list);
    } else if (eos >= 0) {
        bad |= js_set(c, "eos_token_id", js_new_int(eos));
    }
    return bad ? err_nomem(e, 64, "config.json") : 0;
}

static int set_kind(struct js *c, struct meta *m, struct err *e)
{
    struct str arch = gguf_str(m->g, "general.architecture"), type = gguf_str(m->g, "general.type");
    if (type.n && !str_is(type, "model"))
        return err_set(e, ERR_INPUT, "%s: holds a \"%.*s\", not a model", gguf_path(m->g), (int)(type.n < 40 ? type.n : 40), type.p);
    if (!str_is(arch, "llama") && !str_is(arch, "qwen2"))
        return err_set(e, ERR_UNSUPPORTED, "%s: architecture \"%.*s\" is not supported; llama and qwen2 are", gguf_path(m->g),
                       (int)(arch.n < 40 ? arch.n : 40), arch.p ? arch.p : "");
    snprintf(m->arch, sizeof m->arch, "%.*s", (int)arch.n, arch.p);
    if (meta_int(m, "expert_count", 0) > 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: mixtures of experts are not supported", gguf_path(m->g));
    struct js *names = js_array();
    int bad = js_push(names, js_new_cstr(str_is(arch, "llama") ? "LlamaForCausalLM" : "Qwen2ForCausalLM"));
    bad |= js_set(c, "architectures", names) | js_set(c, "model_type", js_new_cstr(m->arch));
    bad |= js_set(c, "hidden_act", js_new_cstr("silu")) | js_set(c, "torch_dtype", js_new_cstr("bfloat16"));
    bad |= js_set(c, "tie_word_embeddings", js_new_bool(!gguf_find(m->g, "output.weight")));
    bad |= js_set(c, "rms_norm_eps", js_new_num(meta_num(m, "attention.layer_norm_rms_epsilon", 1e-6)));
    return bad ? err_nomem(e, 64, "config.json") : 0;
}

struct js *gguf_config(const struct gguf *g, struct err *e)
{
    struct meta m = {.g = g};
    struct js *c = js_object();
    int rc = c ? set_kind(c, &m, e) : err_nomem(e, 64, "config.json");
    if (rc == 0)
        rc = set_sizes(c, &m, e);
    if (rc == 0)
        rc = set_rope(c, &m, e);
    if (rc == 0)
        rc = set_biases(c, &m, e);
    if (rc == 0)
        rc = set_tokens(c, &m, e);
    if (rc != 0) {
        js_free(c);
        c = NULL;
    }
    return c;
}

/* ---- tensors ---- */

struct gguf_weights {
    size_t n;
    struct tensor *t; /* by name */
    struct packing *p;
    struct arena names;
};

/* Under Hugging Face's name; interleaved: the heads whose rows the file holds as pairs. */
static int add(struct gguf_weights *w, const struct gguf_tensor *t, const char *name, size_t interleaved, struct err *e)
{
    struct tensor *x = &w->t[w->n];
    *x = (struct tensor){.dtype = t->type->plain, .ndim = t->ndim, .n = t->n, .offset = t->offset, .data = t->data};
    x->bytes = t->n * dtype_size(x->dtype);
    for (int i = 0; i < t->ndim; i++)
        x->shape[i] = t->shape[i];
    if (!(x->name = arena_str(&w->names, str_of(name))))
        return err_nomem(e, strlen(name), name);
    bool odd = interleaved && (t->shape[0] % interleaved || t->shape[0] / interleaved % 2);
    if (odd)
        return err_set(e, ERR_INPUT, "tensor \"%s\" has %zu rows for %zu heads", t->name, t->shape[0], interleaved);
    if (t->type->block > 1 || interleaved) {
        w->p[w->n] = (struct packing){t->type, t->data, interleaved};
        x->packed = &w->p[w->n];
        x->data = NULL;
    }
    w->n++;
    return 0;
}

static int add_param(struct gguf_weights *w, const struct gguf *g, const struct model_config *c, int layer, enum module m, bool bias,
                     struct err *e)
{
    char theirs[PARAM_NAME_MAX], ours[PARAM_NAME_MAX];
    const struct gguf_tensor *t = gguf_find(g, gguf_param_name(theirs, layer, m, bias));
    bool turned = strcmp(c->model_type, "llama") == 0 && (m == MOD_Q || m == MOD_K);
    if (!t)
        return 0;
    if (!t->type->to_f32)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: tensor \"%s\" has type %s; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K and IQ4_NL are read",
                       gguf_path(g), t->name, t->type->name);
    return add(w, t, param_name(ours, layer, m, bias),
               !turned ? 0 : (size_t)(m == MOD_Q ? c->num_attention_heads : c->num_key_value_heads), e);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

int gguf_weights_new(const struct gguf *g, const struct model_config *c, struct gguf_weights **out, struct err *e)
{
    *out = NULL;
    struct gguf_weights *w = calloc(1, sizeof *w);
    size_t most = gguf_count(g) + 1;
    int rc = 0;
    if (!w || !(w->t = calloc(most, sizeof *w->t)) || !(w->p = calloc(most, sizeof *w->p)))
        rc = err_nomem(e, most * sizeof *w->t, "tensors");
    for (int l = -1; rc == 0 && l < c->num_hidden_layers; l++)
        for (int m = 0; rc == 0 && m < MOD_COUNT; m++) {
            bool outside = m == MOD_EMBED || m == MOD_HEAD || m == MOD_NORM;
            if (outside != (l < 0))
                continue;
            rc = add_param(w, g, c, l, (enum module)m, false, e);
            if (rc == 0 && !outside)
                rc = add_param(w, g, c, l, (enum module)m, true, e);
        }
    if (rc == 0 && w->n)
        qsort(w->t, w->n, sizeof *w->t, by_name);
    if (rc == 0)
        *out = w;
    else
        gguf_weights_free(w);
    return rc;
}

void gguf_weights_free(struct gguf_weights *w)
{
    if (!w)
        return;
    arena_release(&w->names);
    free(w->t);
    free(w->p);
    free(w);
}

size_t gguf_weights_count(const struct gguf_weights *w)
{
    return w->n;
}

const struct tensor *gguf_weights_at(const struct gguf_weights *w, size_t i)
{
    return &w->t[i];
}
