/* SPDX-License-Identifier: MIT
 *
 * PEFT's files of an adapter set (lora.h). Names: base_model.model.<module>.lora_A.weight (r, in), .lora_B.weight (out, r);
 * embeddings .lora_embedding_A (r, V), .lora_embedding_B (d, r). Rank comes from the tensors and must be what the
 * configuration says (r, rank_pattern), alpha from lora_alpha and alpha_pattern. What would compute another function than
 * ours (DoRA, trained biases, saved modules, transposed weights) is refused by name.
 */
#include "runtime/model/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/formats/safetensors.h"

#define PREFIX "base_model.model."
enum { NAME_MAX_ = PARAM_NAME_MAX + 64 };

static char *tensor_name(char out[NAME_MAX_], int layer, enum module m, char which)
{
    char path[PARAM_NAME_MAX];
    module_path(path, layer, m);
    if (m == MOD_EMBED)
        snprintf(out, NAME_MAX_, PREFIX "%s.lora_embedding_%c", path, which);
    else
        snprintf(out, NAME_MAX_, PREFIX "%s.lora_%c.weight", path, which);
    return out;
}

/* Splits a name of ours: 0, or -1. which: 'A' or 'B'. */
static int parse_name(const char *name, int *layer, enum module *m, char *which)
{
    static const char *const tails[] = {".lora_A.weight", ".lora_B.weight", ".lora_embedding_A", ".lora_embedding_B"};
    size_t n = strlen(name), skip = sizeof PREFIX - 1;
    if (strncmp(name, PREFIX, skip) != 0)
        return -1;
    for (int i = 0; i < 4; i++) {
        size_t k = strlen(tails[i]);
        if (n <= skip + k || strcmp(name + n - k, tails[i]) != 0 || n - skip - k >= PARAM_NAME_MAX - 8)
            continue;
        char param[PARAM_NAME_MAX];
        bool bias;
        snprintf(param, sizeof param, "%.*s.weight", (int)(n - skip - k), name + skip);
        if (param_name_parse(param, layer, m, &bias) != 0)
            return -1;
        *which = i % 2 ? 'B' : 'A';
        bool embed = *m == MOD_EMBED;
        return embed == (i >= 2) && (embed || *m == MOD_HEAD || (int)*m < MOD_LINEARS) ? 0 : -1;
    }
    return -1;
}

/* PEFT keys patterns by module name or regular expression; plain suffixes of the path are understood. */
static const struct js *pattern(const struct js *config, const char *key, const char *path)
{
    const struct js *o = js_get(config, key);
    if (js_kind(o) != JS_OBJECT)
        return NULL;
    size_t n = strlen(path);
    for (void *it = js_iter(o); it; it = js_next(o, it)) {
        const char *k = js_iter_key(it);
        k += *k == '^';
        size_t len = strlen(k);
        if (len && k[len - 1] == '$')
            len--;
        if (len && len <= n && memcmp(path + n - len, k, len) == 0 && (len == n || path[n - len - 1] == '.'))
            return js_iter_value(it);
    }
    return NULL;
}

static int check_config(const struct js *c, const char *what, struct err *e)
{
    if (js_kind(c) != JS_OBJECT)
        return err_set(e, ERR_INPUT, "%s: an adapter configuration must be a JSON object", what);
    const char *type = js_cstr(js_get(c, "peft_type")), *bias = js_cstr(js_get(c, "bias"));
    if (type && strcmp(type, "LORA") != 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: peft_type \"%s\" is not supported; LORA is", what, type);
    if (bias && strcmp(bias, "none") != 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: bias \"%s\" is not supported; \"none\" is", what, bias);
    if (js_bool(js_get(c, "use_dora"), false) || js_bool(js_get(c, "fan_in_fan_out"), false))
        return err_set(e, ERR_UNSUPPORTED, "%s: use_dora and fan_in_fan_out are not supported", what);
    if (js_len(js_get(c, "modules_to_save")))
        return err_set(e, ERR_UNSUPPORTED, "%s: modules_to_save is not supported; merge those modules into the base model", what);
    int64_t r = js_int(js_get(c, "r"), 0);
    double alpha = js_num(js_get(c, "lora_alpha"), NAN), p = js_num(js_get(c, "lora_dropout"), 0);
    if (r < 1 || r > 1 << 16)
        return err_set(e, ERR_INPUT, "%s: r must be an integer from 1 to 65536", what);
    if (!isfinite(alpha))
        return err_set(e, ERR_INPUT, "%s: lora_alpha must be a number", what);
    if (!(p >= 0 && p < 1))
        return err_set(e, ERR_INPUT, "%s: lora_dropout must be at least 0 and below 1", what);
    return 0;
}

/* The tensor (rows, cols), f32, malloc'ed; rank is the free dimension: 0 takes what is there. */
static int take(const struct st_file *f, const char *name, size_t rows, size_t cols, float **out, struct err *e)
{
    const struct tensor *t = st_find(f, name);
    if (!t)
        return err_set(e, ERR_INPUT, "%s: tensor \"%s\" is missing; the other factor of the module is there", st_path(f), name);
    if (t->ndim != 2 || t->shape[0] != rows || t->shape[1] != cols)
        return err_set(e, ERR_INPUT, "%s: tensor \"%s\" has shape (%zu, %zu); this model needs (%zu, %zu): is the adapter for another model?",
                       st_path(f), name, t->ndim > 0 ? t->shape[0] : 0, t->ndim > 1 ? t->shape[1] : 0, rows, cols);
    *out = malloc(t->n ? t->n * sizeof(float) : 1);
    if (!*out)
        return err_nomem(e, t->n * sizeof(float), name);
    if (dtype_to_f32(*out, t->data, t->dtype, t->n) != 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: tensor \"%s\" has type %s; F32, BF16 and F16 are supported", st_path(f), name,
                       dtype_name(t->dtype));
    return 0;
}

/* B and A of one module; the rank is the first dimension of A. */
static int take_pair(const struct st_file *f, const struct lora_pair *p, int *r, float **B, float **A, struct err *e)
{
    char name[NAME_MAX_];
    const struct tensor *t = st_find(f, tensor_name(name, p->layer, p->mod, 'A'));
    size_t rank = t && t->ndim == 2 ? t->shape[0] : 1;
    if (rank < 1 || rank > 1 << 16)
        return err_set(e, ERR_INPUT, "%s: tensor \"%s\": rank %zu is not from 1 to 65536", st_path(f), name, rank);
    *r = (int)rank;
    int rc = take(f, name, rank, p->in, A, e);
    return rc == 0 ? take(f, tensor_name(name, p->layer, p->mod, 'B'), p->out, rank, B, e) : rc;
}

static int take_scale(struct lora_pair *p, const struct js *config, const char *what, struct err *e)
{
    char path[PARAM_NAME_MAX];
    module_path(path, p->layer, p->mod);
    const struct js *rank = pattern(config, "rank_pattern", path), *alpha = pattern(config, "alpha_pattern", path);
    int64_t r = js_int(rank ? rank : js_get(config, "r"), 0);
    if (r != p->r)
        return err_set(e, ERR_INPUT, "%s: the tensors of %s have rank %d, the configuration says %lld", what, path, p->r, (long long)r);
    double a = js_num(alpha ? alpha : js_get(config, "lora_alpha"), NAN);
    if (!isfinite(a))
        return err_set(e, ERR_INPUT, "%s: alpha_pattern of %s must be a number", what, path);
    p->scale = (float)(js_bool(js_get(config, "use_rslora"), false) ? a / sqrt((double)r) : a / (double)r);
    return 0;
}

/* Marks in `seen` ((L + 1) * MOD_COUNT) the modules that the file has factors of; counts them. */
static int scan(const struct st_file *f, const struct model_config *c, bool *seen, size_t *n, struct err *e)
{
    *n = 0;
    for (size_t i = 0; i < st_count(f); i++) {
        const char *name = st_at(f, i)->name;
        int layer;
        enum module m;
        char which;
        if (str_ends(str_of(name), ".base_layer.weight"))
            continue; /* PEFT copies the untouched base beside adapters of the embedding */
        if (parse_name(name, &layer, &m, &which) != 0)
            return err_set(e, ERR_INPUT, "%s: tensor \"%s\" is not a LoRA factor of a module that is supported", st_path(f), name);
        if (layer >= c->num_hidden_layers)
            return err_set(e, ERR_INPUT, "%s: tensor \"%s\" belongs to a layer that the model (%d layers) does not have", st_path(f),
                           name, c->num_hidden_layers);
        bool *at = &seen[(size_t)(layer + 1) * MOD_COUNT + m];
        *n += !*at;
        *at = true;
    }
    return 0;
}

/* Pairs in the order of lora.h: embed_tokens, layers, lm_head. */
static void list_pairs(const bool *seen, const struct model_config *c, struct lora *l)
{
    size_t n = 0;
    if (seen[MOD_EMBED])
        l->pairs[n++] = (struct lora_pair){.layer = -1, .mod = MOD_EMBED};
    for (int layer = 0; layer < c->num_hidden_layers; layer++)
        for (int m = 0; m < MOD_LINEARS; m++)
            if (seen[(size_t)(layer + 1) * MOD_COUNT + (size_t)m])
                l->pairs[n++] = (struct lora_pair){.layer = layer, .mod = (enum module)m};
    if (seen[MOD_HEAD])
        l->pairs[n++] = (struct lora_pair){.layer = -1, .mod = MOD_HEAD};
}

static int read_pairs(struct lora *l, const struct st_file *f, const struct st_file *comp, const bool *has_comp,
                      const struct model_config *c, const char *what, struct err *e)
{
    for (size_t i = 0; i < l->n; i++) {
        struct lora_pair *p = &l->pairs[i];
        size_t out, in;
        module_shape(c, p->mod, &out, &in);
        p->out = p->mod == MOD_EMBED ? in : out;
        p->in = p->mod == MOD_EMBED ? out : in;
        int rc = take_pair(f, p, &p->r, &p->B, &p->A, e);
        if (rc == 0 && comp && has_comp[(size_t)(p->layer + 1) * MOD_COUNT + p->mod])
            rc = take_pair(comp, p, &p->r0, &p->B0, &p->A0, e);
        if (rc == 0)
            rc = take_scale(p, l->config, what, e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The compensation must not speak of modules that the adapter does not have: they would be lost. */
static int check_compensation(const struct st_file *comp, const struct model_config *c, const bool *seen, bool *has, struct err *e)
{
    size_t n;
    int rc = scan(comp, c, has, &n, e);
    for (size_t i = 0; rc == 0 && i < ((size_t)c->num_hidden_layers + 1) * MOD_COUNT; i++)
        if (has[i] && !seen[i]) {
            char path[PARAM_NAME_MAX];
            rc = err_set(e, ERR_INPUT, "%s compensates %s, which the adapter does not have", st_path(comp),
                         module_path(path, (int)(i / MOD_COUNT) - 1, (enum module)(i % MOD_COUNT)));
        }
    return rc;
}

int lora_read(const char *model_path, const char *config_path, const char *compensation_path, const struct model_config *c,
              struct lora **out, struct err *e)
{
    struct st_file *f = NULL, *comp = NULL;
    struct lora *l = NULL;
    struct js *config = js_read(config_path, e);
    size_t n = 0, slots = ((size_t)c->num_hidden_layers + 1) * MOD_COUNT;
    bool *seen = calloc(slots * 2, sizeof *seen);
    *out = NULL;
    int rc = !config ? e->code : !seen ? err_nomem(e, slots * 2, "an adapter") : check_config(config, config_path, e);
    if (rc == 0)
        rc = st_open(model_path, &f, e);
    if (rc == 0)
        rc = scan(f, c, seen, &n, e);
    if (rc == 0 && n == 0)
        rc = err_set(e, ERR_INPUT, "%s: no LoRA factors", model_path);
    if (rc == 0 && compensation_path)
        rc = st_open(compensation_path, &comp, e);
    if (rc == 0 && comp)
        rc = check_compensation(comp, c, seen, seen + slots, e);
    if (rc == 0)
        rc = lora_new(n, &l, e);
    if (rc != 0)
        goto out;
    l->config = js_ref(config);
    l->dropout = js_num(js_get(config, "lora_dropout"), 0);
    list_pairs(seen, c, l);
    rc = read_pairs(l, f, comp, seen + slots, c, config_path, e);
    if (rc == 0)
        rc = lora_index(l, c->num_hidden_layers, e);
out:
    if (rc != 0)
        lora_free(l);
    else
        *out = l;
    st_close(f);
    st_close(comp);
    js_free(config);
    free(seen);
    return rc;
}

static int write_factors(const struct lora *l, const char *path, bool compensation, struct err *e)
{
    struct st_writer *w = NULL;
    char name[NAME_MAX_];
    int rc = st_writer_new(path, &w, e);
    if (rc == 0)
        st_writer_unsynced(w);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        const struct lora_pair *p = &l->pairs[i];
        if (compensation && !p->B0)
            continue;
        size_t r = (size_t)(compensation ? p->r0 : p->r);
        rc = st_declare(w, tensor_name(name, p->layer, p->mod, 'A'), DT_F32, 2, (size_t[]){r, p->in}, e);
        if (rc == 0)
            rc = st_declare(w, tensor_name(name, p->layer, p->mod, 'B'), DT_F32, 2, (size_t[]){p->out, r}, e);
    }
    if (rc == 0)
        rc = st_write_begin(w, e);
    for (size_t i = 0; rc == 0 && i < st_writer_count(w); i++) {
        const struct tensor *t = st_writer_at(w, i);
        int layer;
        enum module m;
        char which;
        const struct lora_pair *p = parse_name(t->name, &layer, &m, &which) == 0 ? lora_find(l, layer, m) : NULL;
        if (!p)
            rc = err_set(e, ERR_INTERNAL, "adapter tensor %s", t->name);
        else
            rc = st_write(w, which == 'A' ? (compensation ? p->A0 : p->A) : (compensation ? p->B0 : p->B), t->bytes, e);
    }
    if (rc == 0)
        rc = st_write_end(w, e);
    st_writer_free(w);
    return rc;
}

int lora_write(const struct lora *l, const char *model_path, const char *config_path, const char *compensation_path, struct err *e)
{
    bool any = false;
    for (size_t i = 0; i < l->n; i++)
        any = any || l->pairs[i].B0;
    int rc = write_factors(l, model_path, false, e);
    if (rc == 0 && any && compensation_path)
        rc = write_factors(l, compensation_path, true, e);
    return rc == 0 && config_path ? js_save(config_path, l->config, e) : rc;
}
