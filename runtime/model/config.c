/* SPDX-License-Identifier: MIT */
#include "runtime/model/config.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A positive integer field within [1, max]; absent gives `otherwise` unless that is negative (required). */
static int take_int(const struct js *c, const char *what, const char *key, int64_t max, int64_t otherwise, int *out,
                    struct err *e)
{
    const struct js *j = js_get(c, key);
    if (!j || js_kind(j) == JS_NULL) {
        if (otherwise < 0)
            return err_set(e, ERR_INPUT, "%s: %s is missing", what, key);
        *out = (int)otherwise;
        return 0;
    }
    int64_t v = js_int(j, -1);
    if (v < 1 || v > max)
        return err_set(e, ERR_INPUT, "%s: %s must be an integer from 1 to %lld", what, key, (long long)max);
    *out = (int)v;
    return 0;
}

static int take_positive(const struct js *c, const char *what, const char *key, double otherwise, double *out, struct err *e)
{
    const struct js *j = js_get(c, key);
    double v = !j || js_kind(j) == JS_NULL ? otherwise : js_num(j, NAN);
    if (!(v > 0) || !isfinite(v))
        return err_set(e, ERR_INPUT, "%s: %s must be a positive number", what, key);
    *out = v;
    return 0;
}

/* Newer files say rope_parameters {rope_theta, rope_type, ...}; older ones rope_theta and rope_scaling. */
static int parse_rope(const struct js *c, const char *what, struct model_config *o, struct err *e)
{
    const struct js *rp = js_get(c, "rope_parameters");
    const struct js *s = rp && js_kind(rp) == JS_OBJECT ? rp : js_get(c, "rope_scaling");
    int rc = take_positive(js_get(rp, "rope_theta") ? rp : c, what, "rope_theta", 10000.0, &o->rope_theta, e);
    if (rc != 0 || js_kind(s) != JS_OBJECT)
        return rc;
    const char *type = js_cstr(js_get(s, "rope_type"));
    if (!type)
        type = js_cstr(js_get(s, "type"));
    if (!type || strcmp(type, "default") == 0)
        return 0;
    if (strcmp(type, "linear") == 0) {
        o->rope = ROPE_LINEAR;
        return take_positive(s, what, "factor", NAN, &o->rope_factor, e);
    }
    if (strcmp(type, "llama3") != 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: rope type \"%s\" is not supported; default, linear and llama3 are", what, type);
    o->rope = ROPE_LLAMA3;
    rc = take_positive(s, what, "factor", NAN, &o->rope_factor, e);
    if (rc == 0)
        rc = take_positive(s, what, "low_freq_factor", NAN, &o->rope_low_freq_factor, e);
    if (rc == 0)
        rc = take_positive(s, what, "high_freq_factor", NAN, &o->rope_high_freq_factor, e);
    if (rc == 0)
        rc = take_positive(s, what, "original_max_position_embeddings", NAN, &o->rope_original_max_position_embeddings, e);
    if (rc == 0 && o->rope_high_freq_factor <= o->rope_low_freq_factor)
        rc = err_set(e, ERR_INPUT, "%s: high_freq_factor must be larger than low_freq_factor", what);
    return rc;
}

static int parse_eos(const struct js *c, const char *what, struct model_config *o, struct err *e)
{
    const struct js *j = js_get(c, "eos_token_id");
    size_t n = js_kind(j) == JS_ARRAY ? js_len(j) : js_kind(j) == JS_INT ? 1 : 0;
    if (n > sizeof o->eos_token_id / sizeof *o->eos_token_id)
        return err_set(e, ERR_UNSUPPORTED, "%s: more than 8 eos_token_id", what);
    for (size_t i = 0; i < n; i++) {
        int64_t v = js_int(js_kind(j) == JS_ARRAY ? js_at(j, i) : j, -1);
        if (v < 0 || v >= o->vocab_size)
            return err_set(e, ERR_INPUT, "%s: eos_token_id %lld is outside the vocabulary of %d", what, (long long)v, o->vocab_size);
        o->eos_token_id[o->n_eos++] = (int)v;
    }
    int64_t bos = js_int(js_get(c, "bos_token_id"), -1);
    o->bos_token_id = bos >= 0 && bos < o->vocab_size ? (int)bos : -1;
    return 0;
}

static int parse_type(const struct js *c, const char *what, struct model_config *o, struct err *e)
{
    const char *type = js_cstr(js_get(c, "model_type"));
    if (!type)
        return err_set(e, ERR_INPUT, "%s: model_type is missing", what);
    if (strcmp(type, "llama") != 0 && strcmp(type, "qwen2") != 0 && strcmp(type, "mistral") != 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: model_type \"%s\" is not supported; llama, qwen2 and mistral are", what, type);
    snprintf(o->model_type, sizeof o->model_type, "%s", type);
    const char *act = js_cstr(js_get(c, "hidden_act"));
    if (act && strcmp(act, "silu") != 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: hidden_act \"%s\" is not supported; silu is", what, act);
    bool qwen = strcmp(type, "qwen2") == 0;
    o->qkv_bias = qwen || js_bool(js_get(c, "attention_bias"), false);
    o->o_bias = !qwen && js_bool(js_get(c, "attention_bias"), false);
    o->mlp_bias = js_bool(js_get(c, "mlp_bias"), false);
    o->tie_word_embeddings = js_bool(js_get(c, "tie_word_embeddings"), false);
    return 0;
}

/* Within its window a model attends as ours do: a shorter window shortens the longest sequence. qwen2 names a window that
 * it only uses when told to. */
static int check_window(const struct js *c, const char *what, struct model_config *o, struct err *e)
{
    int64_t window = js_int(js_get(c, "sliding_window"), 0);
    bool used = strcmp(o->model_type, "mistral") == 0 || js_bool(js_get(c, "use_sliding_window"), false);
    if (!used || window <= 0 || window >= o->max_position_embeddings)
        return 0;
    if (strcmp(o->model_type, "mistral") != 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: sliding window attention (%lld) is not supported", what, (long long)window);
    o->max_position_embeddings = (int)window;
    return 0;
}

int model_config_parse(const struct js *c, const char *what, struct model_config *o, struct err *e)
{
    *o = (struct model_config){0};
    if (js_kind(c) != JS_OBJECT)
        return err_set(e, ERR_INPUT, "%s: a model configuration must be a JSON object", what);
    int rc = parse_type(c, what, o, e);
    const struct {
        const char *key;
        int64_t max;
        int *out;
    } fields[] = {
        {"hidden_size", 1 << 20, &o->hidden_size},
        {"intermediate_size", 1 << 22, &o->intermediate_size},
        {"num_hidden_layers", 4096, &o->num_hidden_layers},
        {"num_attention_heads", 65536, &o->num_attention_heads},
        {"vocab_size", 1 << 24, &o->vocab_size},
    };
    for (size_t i = 0; rc == 0 && i < sizeof fields / sizeof *fields; i++)
        rc = take_int(c, what, fields[i].key, fields[i].max, -1, fields[i].out, e);
    if (rc == 0)
        rc = take_int(c, what, "num_key_value_heads", 65536, o->num_attention_heads, &o->num_key_value_heads, e);
    if (rc == 0)
        rc = take_int(c, what, "max_position_embeddings", 1 << 26, 2048, &o->max_position_embeddings, e);
    if (rc == 0 && !js_get(c, "head_dim") && o->hidden_size % o->num_attention_heads)
        rc = err_set(e, ERR_INPUT, "%s: hidden_size %d is not a multiple of num_attention_heads %d, and head_dim is not given", what,
                     o->hidden_size, o->num_attention_heads);
    if (rc == 0)
        rc = take_int(c, what, "head_dim", 65536, o->hidden_size / o->num_attention_heads, &o->head_dim, e);
    if (rc == 0 && (o->head_dim < 2 || o->head_dim % 2))
        rc = err_set(e, ERR_INPUT, "%s: head size %d must be even (rotary embedding turns pairs)", what, o->head_dim);
    if (rc == 0 && o->num_attention_heads % o->num_key_value_heads)
        rc = err_set(e, ERR_INPUT, "%s: num_attention_heads %d is not a multiple of num_key_value_heads %d", what, o->num_attention_heads,
                     o->num_key_value_heads);
    if (rc == 0)
        rc = take_positive(c, what, "rms_norm_eps", 1e-6, &o->rms_norm_eps, e);
    if (rc == 0)
        rc = parse_rope(c, what, o, e);
    if (rc == 0)
        rc = parse_eos(c, what, o, e);
    return rc == 0 ? check_window(c, what, o, e) : rc;
}

static const char *const names[MOD_COUNT] = {
    [MOD_Q] = "q_proj",       [MOD_K] = "k_proj",           [MOD_V] = "v_proj",
    [MOD_O] = "o_proj",       [MOD_GATE] = "gate_proj",     [MOD_UP] = "up_proj",
    [MOD_DOWN] = "down_proj", [MOD_EMBED] = "embed_tokens", [MOD_HEAD] = "lm_head",
    [MOD_NORM] = "norm",      [MOD_INPUT_NORM] = "input_layernorm", [MOD_POST_NORM] = "post_attention_layernorm",
};

const char *module_name(enum module m)
{
    return names[m];
}

int module_parse(const char *name, enum module *m)
{
    for (int i = 0; i < MOD_COUNT; i++)
        if (strcmp(names[i], name) == 0) {
            *m = (enum module)i;
            return 0;
        }
    return -1;
}

char *module_path(char out[PARAM_NAME_MAX], int layer, enum module m)
{
    switch (m) {
    case MOD_EMBED:
    case MOD_NORM:
        snprintf(out, PARAM_NAME_MAX, "model.%s", names[m]);
        break;
    case MOD_HEAD:
        snprintf(out, PARAM_NAME_MAX, "lm_head");
        break;
    case MOD_INPUT_NORM:
    case MOD_POST_NORM:
        snprintf(out, PARAM_NAME_MAX, "model.layers.%d.%s", layer, names[m]);
        break;
    default:
        snprintf(out, PARAM_NAME_MAX, "model.layers.%d.%s.%s", layer, m <= MOD_O ? "self_attn" : "mlp", names[m]);
    }
    return out;
}

char *param_name(char out[PARAM_NAME_MAX], int layer, enum module m, bool bias)
{
    module_path(out, layer, m);
    strcat(out, bias ? ".bias" : ".weight");
    return out;
}

int param_name_parse(const char *name, int *layer, enum module *m, bool *bias)
{
    static const char prefix[] = "model.layers.";
    *layer = -1;
    if (strncmp(name, prefix, sizeof prefix - 1) == 0) {
        char *end;
        long l = strtol(name + sizeof prefix - 1, &end, 10);
        if (*end != '.' || l < 0 || l > INT_MAX)
            return -1;
        *layer = (int)l;
    }
    char full[PARAM_NAME_MAX];
    for (int i = 0; i < MOD_COUNT; i++)
        for (int b = 0; b < 2; b++) {
            bool outside = i == MOD_EMBED || i == MOD_HEAD || i == MOD_NORM;
            if (outside == (*layer < 0) && strcmp(param_name(full, *layer, (enum module)i, b), name) == 0) {
                *m = (enum module)i;
                *bias = b;
                return 0;
            }
        }
    return -1;
}

void module_shape(const struct model_config *c, enum module m, size_t *out, size_t *in)
{
    size_t d = (size_t)c->hidden_size, f = (size_t)c->intermediate_size, hd = (size_t)c->head_dim;
    size_t q = (size_t)c->num_attention_heads * hd, kv = (size_t)c->num_key_value_heads * hd, v = (size_t)c->vocab_size;
    const struct {
        size_t out, in;
    } shape[MOD_COUNT] = {
        [MOD_Q] = {q, d},    [MOD_K] = {kv, d},   [MOD_V] = {kv, d},    [MOD_O] = {d, q},          [MOD_GATE] = {f, d},
        [MOD_UP] = {f, d},   [MOD_DOWN] = {d, f}, [MOD_EMBED] = {v, d}, [MOD_HEAD] = {v, d},       [MOD_NORM] = {d, 1},
        [MOD_INPUT_NORM] = {d, 1}, [MOD_POST_NORM] = {d, 1},
    };
    *out = shape[m].out;
    *in = shape[m].in;
}

bool module_has_bias(const struct model_config *c, enum module m)
{
    switch (m) {
    case MOD_Q:
    case MOD_K:
    case MOD_V:
        return c->qkv_bias;
    case MOD_O:
        return c->o_bias;
    case MOD_GATE:
    case MOD_UP:
    case MOD_DOWN:
        return c->mlp_bias;
    default:
        return false;
    }
}
