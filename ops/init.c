/* SPDX-License-Identifier: MIT
 *
 * init: a new model from a configuration: every matrix and the embedding N(0, initializer_range^2), norms one, biases
 * zero. Each parameter draws from its own stream (seed, parameter name), so that a layer more changes no other layer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/op.h"
#include "ops/lib/inputs.h"
#include "runtime/base/arena.h"
#include "runtime/base/fs.h"
#include "runtime/base/rng.h"
#include "runtime/base/sha.h"
#include "runtime/exec/par.h"
#include "runtime/text/bytes.h"
#include "runtime/text/token_facts.h"
#include "runtime/text/tokenizer.h"

/* What the tokenizer contributes: sizes, ids and texts of the special tokens. */
struct token_facts {
    int64_t size, bos, eos;
    const char *bos_text, *eos_text;
};

static int token_facts(const struct op_args *a, struct token_facts *f, struct err *e)
{
    const char *path = op_str(a, "tokenizer");
    *f = (struct token_facts){BYTES_VOCAB, BYTES_BOS, BYTES_EOS, "<s>", "</s>"};
    if (!path)
        return 0;
    struct tokenizer *t = NULL;
    int rc = tokenizer_read(path, &t, e);
    if (rc != 0)
        return rc;
    f->size = (int64_t)tokenizer_size(t);
    f->bos_text = op_str(a, "bos_token");
    f->eos_text = op_str(a, "eos_token");
    f->bos = tokenizer_id(t, str_of(f->bos_text));
    f->eos = tokenizer_id(t, str_of(f->eos_text));
    if (f->eos < 0)
        rc = err_set(e, ERR_INPUT, "%s has no token \"%s\"; name its end-of-sequence token with eos_token", path, f->eos_text);
    tokenizer_free(t);
    return rc;
}

static struct js *config_json(const struct op_args *a, const struct token_facts *f)
{
    static const char *const ints[] = {"hidden_size",         "intermediate_size",   "num_hidden_layers", "num_attention_heads",
                                       "num_key_value_heads", "max_position_embeddings"};
    static const char *const dtypes[][2] = {{"f32", "float32"}, {"bf16", "bfloat16"}, {"f16", "float16"}};
    struct js *c = js_object(), *names = js_array();
    const char *arch = op_str(a, "architecture");
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        if (op_is_set(a, ints[i]))
            js_set(c, ints[i], js_new_int(op_int(a, ints[i])));
    if (!op_is_set(a, "num_key_value_heads"))
        js_set(c, "num_key_value_heads", js_new_int(op_int(a, "num_attention_heads")));
    if (op_is_set(a, "head_dim"))
        js_set(c, "head_dim", js_new_int(op_int(a, "head_dim")));
    js_push(names, js_new_cstr(strcmp(arch, "qwen2") == 0 ? "Qwen2ForCausalLM" : "LlamaForCausalLM"));
    js_set(c, "architectures", names);
    js_set(c, "model_type", js_new_cstr(arch));
    js_set(c, "hidden_act", js_new_cstr("silu"));
    js_set(c, "vocab_size", js_new_int(op_is_set(a, "vocab_size") ? op_int(a, "vocab_size") : f->size));
    js_set(c, "rope_theta", js_new_num(op_float(a, "rope_theta")));
    js_set(c, "rope_scaling", js_new_null());
    js_set(c, "rms_norm_eps", js_new_num(op_float(a, "rms_norm_eps")));
    js_set(c, "initializer_range", js_new_num(op_float(a, "initializer_range")));
    js_set(c, "tie_word_embeddings", js_new_bool(op_bool(a, "tie_word_embeddings")));
    js_set(c, "bos_token_id", f->bos >= 0 ? js_new_int(f->bos) : js_new_null());
    js_set(c, "eos_token_id", js_new_int(f->eos));
    for (int i = 0; i < 3; i++)
        if (strcmp(op_str(a, "dtype"), dtypes[i][0]) == 0)
            js_set(c, "torch_dtype", js_new_cstr(dtypes[i][1]));
    if (strcmp(arch, "llama") == 0) {
        js_set(c, "attention_bias", js_new_bool(false));
        js_set(c, "mlp_bias", js_new_bool(false));
    }
    return c;
}

static enum dtype stored_type(const struct op_args *a)
{
    const char *t = op_str(a, "dtype");
    return strcmp(t, "bf16") == 0 ? DT_BF16 : strcmp(t, "f16") == 0 ? DT_F16 : DT_F32;
}

/* fn(u, name, out, in) for every parameter; in = 0 for vectors. */
static int each_param(const struct model_config *c,
                      int (*fn)(void *u, const char *name, enum module m, bool bias, size_t out, size_t in, struct err *e), void *u,
                      struct err *e)
{
    char name[PARAM_NAME_MAX];
    int rc = 0;
    for (int l = -1; rc == 0 && l < c->num_hidden_layers; l++)
        for (int m = 0; rc == 0 && m < MOD_COUNT; m++) {
            bool outside = m == MOD_EMBED || m == MOD_HEAD || m == MOD_NORM;
            if (outside != (l < 0) || (m == MOD_HEAD && c->tie_word_embeddings))
                continue;
            size_t out, in;
            module_shape(c, (enum module)m, &out, &in);
            rc = fn(u, param_name(name, l, (enum module)m, false), (enum module)m, false, out, in == 1 ? 0 : in, e);
            if (rc == 0 && module_has_bias(c, (enum module)m))
                rc = fn(u, param_name(name, l, (enum module)m, true), (enum module)m, true, out, 0, e);
        }
    return rc;
}

struct listing {
    struct js *tensors;
    enum dtype t;
};

static int list_param(void *u, const char *name, enum module m, bool bias, size_t out, size_t in, struct err *e)
{
    (void)m;
    (void)bias;
    struct listing *l = u;
    struct js *j = js_object(), *shape = js_array();
    js_push(shape, js_new_int((int64_t)out));
    if (in)
        js_push(shape, js_new_int((int64_t)in));
    js_set(j, "name", js_new_cstr(name));
    js_set(j, "dtype", js_new_cstr(dtype_name(l->t)));
    js_set(j, "shape", shape);
    return js_push(l->tensors, j) < 0 ? err_nomem(e, 64, "tensor list") : 0;
}

static struct js *tokenizer_json(const struct token_facts *f, const char *digest)
{
    struct js *t = js_object();
    js_set(t, "bos_token", f->bos >= 0 ? js_new_cstr(f->bos_text) : js_new_null());
    js_set(t, "eos_token", js_new_cstr(f->eos_text));
    if (digest)
        js_set(t, "digest", js_new_cstr(digest));
    return t;
}

/* Which tokens it has, for who compares models before anything runs. */
static struct js *vocabulary(const struct op_args *a, struct err *e)
{
    const char *path = op_str(a, "tokenizer");
    struct js *j = path ? js_read(path, e) : bytes_tokenizer(), *out = j ? token_facts_json(j, path ? path : "tokenizer", e) : NULL;
    if (!j && !path)
        err_nomem(e, 1 << 16, "tokenizer");
    js_free(j);
    return out;
}

static int init_infer(struct op_infer *x, struct err *e)
{
    const struct op_args *a = op_infer_args(x);
    struct token_facts f;
    struct model_config c;
    op_blame_param(x, "tokenizer");
    int rc = token_facts(a, &f, e);
    if (rc != 0)
        return rc;
    struct js *config = config_json(a, &f), *desc = js_object();
    struct listing l = {js_array(), stored_type(a)};
    op_blame_param(x, "vocab_size");
    if (op_is_set(a, "vocab_size") && op_int(a, "vocab_size") < f.size)
        rc = err_set(e, ERR_INPUT, "vocab_size %lld is smaller than the tokenizer's %lld ids", (long long)op_int(a, "vocab_size"),
                     (long long)f.size);
    op_blame_param(x, "num_attention_heads");
    if (rc == 0)
        rc = model_config_parse(config, "configuration", &c, e);
    if (rc == 0)
        rc = each_param(&c, list_param, &l, e);
    if (rc == 0) {
        js_set(desc, "architecture", js_ref(js_get(config, "model_type")));
        js_set(desc, "config", js_ref(config));
        struct js *tokenizer = tokenizer_json(&f, NULL), *facts = vocabulary(a, e);
        rc = facts ? 0 : e->code;
        js_set(tokenizer, "vocabulary", facts);
        js_set(desc, "tokenizer", tokenizer);
        js_set(desc, "tensors", js_ref(l.tensors));
    }
    if (rc == 0) {
        rc = op_set_output(x, "model", js_ref(desc), e);
    }
    js_free(config);
    js_free(desc);
    js_free(l.tensors);
    return rc;
}

struct filling {
    struct st_writer *w;
    enum dtype t;
    double range;
    uint64_t seed;
    struct op_run *run;
    bool declaring;
};

struct slab {
    float *x;
    double range;
    uint64_t seed, stream;
    size_t from; /* of the piece */
};

static void fill_slab(void *u, size_t first, size_t n)
{
    const struct slab *s = u;
    for (size_t i = s->from + first; i < s->from + first + n; i++)
        s->x[i] = (float)(s->range * rng_normal(s->seed, s->stream, i));
}

/* In pieces, so that a large matrix can be cancelled; a number depends on its place alone. */
static int fill_normal(struct slab *s, size_t n, const struct progress *p, struct err *e)
{
    const size_t piece = (size_t)1 << 22;
    int rc = 0;
    for (; rc == 0 && s->from < n; s->from += piece) {
        par_slabs(n - s->from < piece ? n - s->from : piece, 65536, fill_slab, s);
        rc = progress_poll(p, e);
    }
    return rc;
}

static int fill_param(void *u, const char *name, enum module m, bool bias, size_t out, size_t in, struct err *e)
{
    struct filling *f = u;
    size_t shape[2] = {out, in}, n = in ? out * in : out;
    if (f->declaring)
        return st_declare(f->w, name, f->t, in ? 2 : 1, shape, e);
    int rc = progress_poll(op_progress(f->run), e);
    if (rc != 0)
        return rc;
    float *x = big_alloc(n * 4);
    void *y = big_alloc(n * 4);
    if (!x || !y)
        rc = err_nomem(e, n * 8, name);
    bool norm = m == MOD_NORM || m == MOD_INPUT_NORM || m == MOD_POST_NORM;
    if (rc == 0 && norm)
        for (size_t i = 0; i < n; i++)
            x[i] = 1;
    struct slab s = {x, f->range, f->seed, rng_stream(f->seed, name), 0};
    if (rc == 0 && !norm && !bias)
        rc = fill_normal(&s, n, op_progress(f->run), e);
    if (rc == 0) {
        dtype_from_f32(y, f->t, x, n);
        rc = st_write_at(f->w, name, 0, y, n * dtype_size(f->t), e);
    }
    big_free(x, n * 4);
    big_free(y, n * 4);
    return rc;
}

static int write_weights(struct op_run *r, const struct model_config *c, const char *path, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    struct filling f = {NULL, stored_type(a), op_float(a, "initializer_range"), (uint64_t)op_int(a, "seed"), r, true};
    int rc = st_writer_new(path, &f.w, e);
    if (rc == 0)
        st_writer_unsynced(f.w);
    if (rc == 0)
        rc = each_param(c, fill_param, &f, e);
    if (rc == 0)
        rc = st_write_begin(f.w, e);
    f.declaring = false;
    if (rc == 0)
        rc = each_param(c, fill_param, &f, e);
    if (rc == 0)
        rc = st_write_end(f.w, e);
    st_writer_free(f.w);
    return rc;
}

static int write_tokenizer(struct op_run *r, const char *path, struct err *e)
{
    const char *from = op_str(op_run_args(r), "tokenizer");
    if (from)
        return fs_copy(from, path, e);
    struct js *j = bytes_tokenizer();
    int rc = j ? js_save(path, j, e) : err_nomem(e, 1 << 16, "tokenizer");
    js_free(j);
    return rc;
}

static int write_model_json(struct op_run *r, const struct token_facts *f, const struct js *config, const char *weights,
                            const char *tokenizer, struct err *e)
{
    struct digest d;
    char hex[DIGEST_HEX];
    struct js *j = NULL, *t = NULL;
    int rc = sha_file(tokenizer, &d, NULL, e);
    if (rc == 0) {
        digest_hex(&d, hex);
        t = tokenizer_json(f, hex);
        rc = progress_sha_file(op_progress(r), weights, &d, NULL, e);
    }
    if (rc == 0) {
        digest_hex(&d, hex);
        rc = model_describe_file(weights, hex, config, t, &j, e);
    }
    if (rc == 0)
        rc = op_out_json(r, "model", "model.json", j, e);
    js_free(j);
    js_free(t);
    return rc;
}

static int init_run(struct op_run *r, struct err *e)
{
    const struct op_args *a = op_run_args(r);
    struct token_facts f;
    struct model_config c;
    const char *weights, *tokenizer;
    struct js *config = NULL;
    int rc = token_facts(a, &f, e);
    if (rc == 0) {
        config = config_json(a, &f);
        rc = model_config_parse(config, "configuration", &c, e);
    }
    if (rc == 0)
        rc = op_out_file(r, "model", "model.safetensors", &weights, e);
    if (rc == 0)
        rc = op_out_file(r, "model", "tokenizer.json", &tokenizer, e);
    if (rc == 0)
        rc = write_weights(r, &c, weights, e);
    if (rc == 0)
        rc = write_tokenizer(r, tokenizer, e);
    if (rc == 0)
        rc = write_model_json(r, &f, config, weights, tokenizer, e);
    js_free(config);
    return rc;
}

static int init_sources(const struct op_args *a, struct op_sources *s, struct err *e)
{
    const char *path = op_str(a, "tokenizer");
    return path && op_source(s, "tokenizer.json", path) != 0 ? err_nomem(e, strlen(path), "sources") : 0;
}

static void init_cost(const struct op_args *a, struct op_cost *c)
{
    double d = (double)op_int(a, "hidden_size"), f = (double)op_int(a, "intermediate_size"), l = (double)op_int(a, "num_hidden_layers");
    double v = op_is_set(a, "vocab_size") ? (double)op_int(a, "vocab_size") : BYTES_VOCAB, n = l * (4 * d * d + 3 * d * f) + 2 * v * d;
    double largest = d * (f > v ? f : v);
    *c = (struct op_cost){.flops = 100 * n, .bytes_written = 4 * n, .peak_memory = (uint64_t)(8 * largest) + (16 << 20)};
}

static const struct port_def outputs[] = {
    {.name = "model", .type = "model", .help = "the new model: weights, configuration, tokenizer"},
    {0},
};

static const struct param_def params[] = {
    {.name = "architecture", .type = PARAM_ENUM, .fallback = "llama", .choices = "llama|qwen2", .help = "as model_type in config.json"},
    {.name = "hidden_size", .type = PARAM_INT, .min = 2, .max = 1 << 20, .flags = PARAM_REQUIRED, .help = "width d of the residual stream"},
    {.name = "intermediate_size", .type = PARAM_INT, .min = 1, .max = 1 << 22, .flags = PARAM_REQUIRED, .help = "width f of the feed-forward layer"},
    {.name = "num_hidden_layers", .type = PARAM_INT, .min = 1, .max = 4096, .flags = PARAM_REQUIRED, .help = "layers"},
    {.name = "num_attention_heads", .type = PARAM_INT, .min = 1, .max = 65536, .flags = PARAM_REQUIRED, .help = "query heads"},
    {.name = "num_key_value_heads", .type = PARAM_INT, .min = 1, .max = 65536, .help = "key and value heads; num_attention_heads when not given"},
    {.name = "head_dim", .type = PARAM_INT, .min = 2, .max = 65536, .help = "size of a head; hidden_size / num_attention_heads when not given"},
    {.name = "max_position_embeddings", .type = PARAM_INT, .fallback = "2048", .min = 1, .max = 1 << 26, .help = "longest sequence"},
    {.name = "rope_theta", .type = PARAM_FLOAT, .fallback = "10000", .min = 1, .max = 1e12, .help = "base of the rotary frequencies"},
    {.name = "rms_norm_eps", .type = PARAM_FLOAT, .fallback = "1e-5", .min = 1e-12, .max = 1, .help = "epsilon of RMSNorm"},
    {.name = "tie_word_embeddings", .type = PARAM_BOOL, .fallback = "false", .help = "lm_head is the embedding"},
    {.name = "initializer_range", .type = PARAM_FLOAT, .fallback = "0.02", .min = 1e-9, .max = 10, .help = "standard deviation of the matrices and the embedding"},
    {.name = "tokenizer", .type = PARAM_PATH, .fallback = "bytes", .unset = "bytes", .help = "bytes (256 bytes, <s>, </s>, <pad>), or a tokenizer.json"},
    {.name = "vocab_size", .type = PARAM_INT, .min = 1, .max = 1 << 24, .help = "rows of the embedding; the tokenizer's ids when not given"},
    {.name = "bos_token", .type = PARAM_STRING, .fallback = "<s>", .help = "of a tokenizer given by path"},
    {.name = "eos_token", .type = PARAM_STRING, .fallback = "</s>", .help = "of a tokenizer given by path"},
    {.name = "dtype", .type = PARAM_ENUM, .fallback = "f32", .choices = "f32|bf16|f16", .help = "type of the stored weights"},
    PARAM_SEED,
    {0},
};

const struct op op_init = {
    .name = "init",
    .version = 1,
    .summary = "Make a new model from a configuration",
    .doc = "Matrices and the embedding are N(0, initializer_range^2), norms one, biases zero. Parameters carry the names of Hugging Face's "
           "config.json. The result exports as a Hugging Face folder (`pkgraph export SPEC NODE DIR --as hf`).",
    .outputs = outputs,
    .params = params,
    .sources = init_sources,
    .infer = init_infer,
    .cost = init_cost,
    .run = init_run,
};
