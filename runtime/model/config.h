/* SPDX-License-Identifier: MIT
 *
 * config: a language model's configuration, as in Hugging Face's config.json (llama, qwen2, mistral without a window
 * shorter than its length), and the names of its parameters.
 */
#ifndef PKG_MODEL_CONFIG_H
#define PKG_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/err.h"
#include "runtime/base/json.h"

enum rope_type { ROPE_DEFAULT, ROPE_LINEAR, ROPE_LLAMA3 };

struct model_config {
    char model_type[32]; /* "llama", "qwen2", "mistral" */
    int hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim;
    int vocab_size, max_position_embeddings;
    double rms_norm_eps, rope_theta;
    enum rope_type rope;
    double rope_factor, rope_low_freq_factor, rope_high_freq_factor, rope_original_max_position_embeddings;
    bool tie_word_embeddings, qkv_bias, o_bias, mlp_bias;
    int bos_token_id;                   /* -1: none */
    int n_eos, eos_token_id[8];         /* eos_token_id may be a list */
};

/* Checks every field (positive, divisible, in range); `what` names the file in errors. Unsupported architectures and
 * rope types are ERR_UNSUPPORTED and name what is supported. */
int model_config_parse(const struct js *config, const char *what, struct model_config *out, struct err *e);

/* The modules of a layer, in the order of the forward pass, then the others. */
enum module {
    MOD_Q, MOD_K, MOD_V, MOD_O, MOD_GATE, MOD_UP, MOD_DOWN,
    MOD_EMBED, MOD_HEAD,
    MOD_INPUT_NORM, MOD_POST_NORM, MOD_NORM,
    MOD_COUNT,
};
enum { MOD_LINEARS = MOD_DOWN + 1 }; /* modules below this are a layer's matrices */

const char *module_name(enum module m);                 /* "q_proj", ..., "embed_tokens", "lm_head", "input_layernorm", ..., "norm" */
int module_parse(const char *name, enum module *m);     /* 0 or -1 */
/* "model.layers.3.self_attn.q_proj" (layer ignored outside a layer); without ".weight". Returns out. */
enum { PARAM_NAME_MAX = 96 };
char *module_path(char out[PARAM_NAME_MAX], int layer, enum module m);
/* with ".weight" or ".bias" */
char *param_name(char out[PARAM_NAME_MAX], int layer, enum module m, bool bias);
/* The reverse: 0, or -1 when the name is not a parameter of these architectures. layer = -1 outside a layer. */
int param_name_parse(const char *name, int *layer, enum module *m, bool *bias);
/* Shape of the weight matrix: out rows, in columns; vectors have in = 1; embeddings and head (V, d). */
void module_shape(const struct model_config *c, enum module m, size_t *out, size_t *in);
bool module_has_bias(const struct model_config *c, enum module m);

#endif
