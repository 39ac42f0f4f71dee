/* SPDX-License-Identifier: MIT
 *
 * Opening a model: every file that model.json names is found by digest, mapped once, and each tensor checked against
 * what model.json and the configuration say of it.
 */
#include "runtime/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/fs.h"
#include "runtime/model/gguf_model.h"
#include "runtime/model/weight_file.h"
#include "runtime/text/pieces.h"
#include "runtime/text/tokenizer.h"

struct model {
    struct js *json;
    struct model_config config;
    struct weight_file **files;
    size_t n_files;
    const struct tensor **tensors; /* by name */
    size_t n;
    char *tokenizer_path;
    struct tokenizer *tokenizer;
};

/* ---- what a configuration needs ---- */

static const struct js *find_entry(const struct js *list, const char *name)
{
    size_t lo = 0, hi = js_len(list);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const char *at = js_cstr(js_get(js_at(list, mid), "name"));
        int cmp = at ? strcmp(name, at) : -1;
        if (cmp == 0)
            return js_at(list, mid);
        if (cmp < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

static int check_param(const struct model_config *c, const struct js *list, const char *what, int layer, enum module m,
                       bool bias, struct err *e)
{
    char name[PARAM_NAME_MAX];
    param_name(name, layer, m, bias);
    const struct js *t = find_entry(list, name), *shape = js_get(t, "shape");
    if (!t)
        return err_set(e, ERR_INPUT, "%s: tensor \"%s\" is missing, which config.json asks for", what, name);
    size_t out, in;
    module_shape(c, m, &out, &in);
    bool vector = bias || in == 1;
    bool right = vector ? js_len(shape) == 1 && js_int(js_at(shape, 0), -1) == (int64_t)out
                        : js_len(shape) == 2 && js_int(js_at(shape, 0), -1) == (int64_t)out && js_int(js_at(shape, 1), -1) == (int64_t)in;
    if (!right) {
        struct buf b = {0};
        js_write(&b, shape);
        err_set(e, ERR_INPUT, "%s: tensor \"%s\" has shape %s, config.json asks for [%zu%s%.0zu]", what, name, b.p ? b.p : "?", out,
                vector ? "" : ",", vector ? 0 : in);
        buf_release(&b);
        return e->code;
    }
    const char *dtype = js_cstr(js_get(t, "dtype"));
    enum dtype plain;
    if (!dtype || tensor_type_plain(dtype, &plain) != 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: tensor \"%s\" has type %s; weights in F32, BF16, F16 and GGUF's block types up to Q8_0 and Q6_K are read", what, name,
                       dtype ? dtype : "?");
    return 0;
}

static int check_params(const struct model_config *c, const struct js *list, const char *what, struct err *e)
{
    int rc = check_param(c, list, what, -1, MOD_EMBED, false, e);
    if (rc == 0)
        rc = check_param(c, list, what, -1, MOD_NORM, false, e);
    if (rc == 0 && !c->tie_word_embeddings)
        rc = check_param(c, list, what, -1, MOD_HEAD, false, e);
    for (int l = 0; rc == 0 && l < c->num_hidden_layers; l++) {
        for (int m = 0; rc == 0 && m < MOD_LINEARS; m++) {
            rc = check_param(c, list, what, l, (enum module)m, false, e);
            if (rc == 0 && module_has_bias(c, (enum module)m))
                rc = check_param(c, list, what, l, (enum module)m, true, e);
        }
        if (rc == 0)
            rc = check_param(c, list, what, l, MOD_INPUT_NORM, false, e);
        if (rc == 0)
            rc = check_param(c, list, what, l, MOD_POST_NORM, false, e);
    }
    return rc;
}

/* ---- opening ---- */

static int open_files(struct model *m, const struct js *list, model_resolve_fn *resolve, void *u, struct err *e)
{
    struct file_id {
        const char *digest;
    } *seen = calloc(js_len(list) + 1, sizeof *seen);
    m->files = calloc(js_len(list) + 1, sizeof(struct weight_file *));
    m->tensors = calloc(js_len(list) + 1, sizeof(struct tensor *));
    int rc = seen && m->files && m->tensors ? 0 : err_nomem(e, js_len(list) * 24, "tensor table");
    for (size_t i = 0; rc == 0 && i < js_len(list); i++) {
        const char *digest = js_cstr(js_get(js_at(list, i), "file")), *name = js_cstr(js_get(js_at(list, i), "name"));
        size_t k = 0;
        if (!digest || !name) {
            rc = err_set(e, ERR_DAMAGED, "model.json: tensor %zu has no name or no file", i);
            break;
        }
        while (k < m->n_files && strcmp(seen[k].digest, digest) != 0)
            k++;
        if (k == m->n_files) {
            const char *path;
            rc = resolve(u, digest, &path, e);
            if (rc == 0)
                rc = weight_file_open(path, &m->config, false, &m->files[k], e);
            if (rc != 0)
                break;
            seen[k].digest = digest;
            m->n_files++;
        }
        m->tensors[m->n] = weight_file_find(m->files[k], name);
        if (!m->tensors[m->n])
            rc = err_set(e, ERR_DAMAGED, "%s: tensor \"%s\" is not in the file, although model.json says so", weight_file_path(m->files[k]),
                         name);
        else
            m->n++;
    }
    free(seen);
    return rc;
}

int model_open(const struct js *json, model_resolve_fn *resolve, void *u, struct model **out, struct err *e)
{
    *out = NULL;
    struct model *m = calloc(1, sizeof *m);
    if (!m)
        return err_nomem(e, sizeof *m, "model");
    m->json = js_ref(json);
    const struct js *list = js_get(json, "tensors");
    int rc = model_config_parse(js_get(json, "config"), "config.json", &m->config, e);
    if (rc == 0)
        rc = check_params(&m->config, list, "model", e);
    if (rc == 0)
        rc = open_files(m, list, resolve, u, e);
    const char *tokenizer = js_cstr(js_get(js_get(json, "tokenizer"), "digest"));
    if (rc == 0 && tokenizer) {
        const char *path;
        rc = resolve(u, tokenizer, &path, e);
        if (rc == 0 && !(m->tokenizer_path = strdup(path)))
            rc = err_nomem(e, strlen(path), "path");
    }
    if (rc == 0)
        *out = m;
    else
        model_close(m);
    return rc;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_files; i++)
        weight_file_close(m->files[i]);
    tokenizer_free(m->tokenizer);
    free(m->tokenizer_path);
    free(m->files);
    free(m->tensors);
    js_free(m->json);
    free(m);
}

const struct model_config *model_config(const struct model *m)
{
    return &m->config;
}

const struct js *model_json(const struct model *m)
{
    return m->json;
}

static int by_name(const void *key, const void *at)
{
    return strcmp(key, (*(const struct tensor *const *)at)->name);
}

const struct tensor *model_tensor(const struct model *m, const char *name)
{
    const struct tensor *const *t = m->n ? bsearch(name, m->tensors, m->n, sizeof *m->tensors, by_name) : NULL;
    return t ? *t : NULL;
}

size_t model_tensor_count(const struct model *m)
{
    return m->n;
}

const struct tensor *model_tensor_at(const struct model *m, size_t i)
{
    return m->tensors[i];
}

int model_tokenizer(struct model *m, const struct tokenizer **out, struct err *e)
{
    if (!m->tokenizer && !m->tokenizer_path)
        return err_set(e, ERR_INPUT, "the model has no tokenizer.json, which this step needs; put it beside config.json");
    if (!m->tokenizer) {
        int rc = tokenizer_read(m->tokenizer_path, &m->tokenizer, e);
        if (rc != 0)
            return rc;
        if (tokenizer_size(m->tokenizer) > (size_t)m->config.vocab_size)
            return err_set(e, ERR_INPUT, "%s: the tokenizer has %zu ids, the model a vocabulary of %d; they do not belong together",
                           m->tokenizer_path, tokenizer_size(m->tokenizer), m->config.vocab_size);
    }
    *out = m->tokenizer;
    return 0;
}

/* ---- describing a directory ---- */

static struct js *read_in(const char *dir, const char *name, struct err *e)
{
    char *path = fs_join(dir, name);
    struct js *j = path ? js_read(path, e) : NULL;
    if (!path)
        err_nomem(e, strlen(dir), "path");
    free(path);
    return j;
}

static bool has_file(const char *dir, const char *name)
{
    char *path = fs_join(dir, name);
    bool there = path && fs_exists(path);
    free(path);
    return there;
}

static int push_name(char ***names, size_t *n, const char *name, struct err *e)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp((*names)[i], name) == 0)
            return 0;
    char **more = realloc(*names, (*n + 1) * sizeof *more);
    if (!more || !(more[*n] = strdup(name))) {
        *names = more ? more : *names;
        return err_nomem(e, strlen(name), "file names");
    }
    *names = more;
    ++*n;
    return 0;
}

static bool is_shard(const char *name)
{
    return str_ends(str_of(name), ".safetensors") || str_ends(str_of(name), ".bin");
}

/* Weights that are packed in a way of their own are called otherwise, or have types of their own. */
static void name_method(const struct js *config, struct err *e)
{
    const char *method = js_cstr(js_get(js_get(config, "quantization_config"), "quant_method"));
    size_t n = strlen(e->msg);
    if (method && e->code != ERR_NOMEM)
        snprintf(e->msg + n, sizeof e->msg - n, "; config.json says that the weights are quantised (%.40s), which is not read: take the original checkpoint, or a GGUF file", method);
}

/* The files of a folder's weights: one, or those that an index names; safetensors before PyTorch's. */
static int shard_names(const char *dir, char ***names, size_t *n, struct err *e)
{
    static const struct {
        const char *index, *one;
    } forms[] = {{"model.safetensors.index.json", "model.safetensors"}, {"pytorch_model.bin.index.json", "pytorch_model.bin"}};
    const char *index_name = NULL;
    for (size_t i = 0; !index_name && i < sizeof forms / sizeof *forms; i++) {
        if (has_file(dir, forms[i].index))
            index_name = forms[i].index;
        else if (has_file(dir, forms[i].one))
            return push_name(names, n, forms[i].one, e);
    }
    if (!index_name)
        return err_set(e, ERR_INPUT, "%s: no weights: neither model.safetensors, model.safetensors.index.json nor pytorch_model.bin is there", dir);
    struct js *index = read_in(dir, index_name, e);
    if (!index)
        return e->code;
    const struct js *map = js_get(index, "weight_map");
    int rc = js_len(map) ? 0 : err_set(e, ERR_INPUT, "%s/%s: weight_map is missing or empty", dir, index_name);
    for (void *it = js_iter(map); rc == 0 && it; it = js_next(map, it)) {
        const char *file = js_cstr(js_iter_value(it));
        if (!file || strchr(file, '/') || strcmp(file, "..") == 0)
            rc = err_set(e, ERR_INPUT, "%s/%s: \"%s\" names no file of this folder", dir, index_name, js_iter_key(it));
        else if (!is_shard(file))
            rc = err_set(e, ERR_UNSUPPORTED, "%s/%s: \"%s\" is neither a .safetensors nor a .bin file", dir, index_name, file);
        else
            rc = push_name(names, n, file, e);
    }
    js_free(index);
    return rc;
}

/* A file of a hub cache that is a link to a blob which is not there: a download that broke off, or was cleaned up. */
static int check_links(const char *dir, struct err *e)
{
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja", MODEL_SENTENCEPIECE,
                                        "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = fs_join(dir, names[i]);
        bool dangles = path && fs_dangles(path);
        int rc = !path ? err_nomem(e, strlen(dir), "path")
                 : dangles ? err_set(e, ERR_INPUT, "%s: a link to a file that is not there; the download is not complete: fetch the checkpoint again (hf download)", path) : 0;
        free(path);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int model_dir_files(const char *dir, char ***names, size_t *n, struct err *e)
{
    *names = NULL;
    *n = 0;
    if (!fs_is_dir(dir))
        return err_set(e, ERR_INPUT, "%s: no such directory; a model is a Hugging Face folder with config.json and model.safetensors, or a .gguf file", dir);
    if (check_links(dir, e) != 0)
        return e->code;
    if (!has_file(dir, "config.json"))
        return err_set(e, ERR_INPUT, "%s: no config.json; a model is a Hugging Face folder with config.json and model.safetensors", dir);
    static const char *const optional[] = {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"};
    int rc = push_name(names, n, "config.json", e);
    for (size_t i = 0; rc == 0 && i < sizeof optional / sizeof *optional; i++)
        if (has_file(dir, optional[i]))
            rc = push_name(names, n, optional[i], e);
    if (rc == 0 && !has_file(dir, "tokenizer.json") && has_file(dir, MODEL_SENTENCEPIECE))
        rc = push_name(names, n, MODEL_SENTENCEPIECE, e);
    if (rc == 0)
        rc = shard_names(dir, names, n, e);
    if (rc == 0)
        qsort(*names, *n, sizeof **names, compare_names);
    if (rc != 0) {
        fs_list_free(*names, *n);
        *names = NULL;
        *n = 0;
    }
    return rc;
}

/* A token is a string or {"content": string, ...}. */
static void copy_token(struct js *to, const struct js *from, const char *key)
{
    const struct js *j = js_get(from, key);
    if (js_kind(j) == JS_OBJECT)
        j = js_get(j, "content");
    if (js_kind(j) == JS_STRING)
        js_set(to, key, js_ref(j));
}

/* The chat template of tokenizer_config.json: a text, or of a list of named ones the one called default. */
static const struct js *chat_template(const struct js *config)
{
    const struct js *t = js_get(config, "chat_template");
    for (size_t i = 0; js_kind(t) == JS_ARRAY && i < js_len(t); i++)
        if (str_is(js_str(js_get(js_at(t, i), "name")), "default"))
            return js_get(js_at(t, i), "template");
    return t;
}

/* chat_template.jinja beside it comes first, as in transformers. */
static int template_file(const char *dir, struct js *facts, struct err *e)
{
    struct buf text = {0};
    char *path = fs_join(dir, "chat_template.jinja");
    int rc = path ? fs_read(path, 1 << 20, &text, e) : err_nomem(e, strlen(dir), "path");
    if (rc == 0 && js_set(facts, "chat_template", js_new_str(buf_view(&text))) < 0)
        rc = err_nomem(e, text.n, path);
    buf_release(&text);
    free(path);
    return rc;
}

/* Names of tokens that tokenizer_config.json does not give. */
static int sentencepiece_tokens(const char *dir, struct js *facts, struct err *e)
{
    struct buf text = {0};
    char *path = fs_join(dir, MODEL_SENTENCEPIECE);
    struct js *own = NULL;
    int rc = path ? fs_read(path, 1 << 28, &text, e) : err_nomem(e, strlen(dir), "path");
    if (rc == 0 && !(own = sentencepiece_facts(buf_view(&text), path, e)))
        rc = e->code;
    for (void *it = js_iter(own); rc == 0 && it; it = js_next(own, it))
        if (!js_get(facts, js_iter_key(it)) && js_set(facts, js_iter_key(it), js_ref(js_iter_value(it))) < 0)
            rc = err_nomem(e, 128, "tokenizer facts");
    js_free(own);
    buf_release(&text);
    free(path);
    return rc;
}

static struct js *tokenizer_facts(const char *dir, struct err *e)
{
    struct js *facts = js_object(), *c = NULL;
    int rc = facts ? 0 : err_nomem(e, 64, "tokenizer facts");
    if (rc == 0 && has_file(dir, "tokenizer_config.json") && !(c = read_in(dir, "tokenizer_config.json", e)))
        rc = e->code;
    static const char *const tokens[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
    for (size_t i = 0; c && i < sizeof tokens / sizeof *tokens; i++)
        copy_token(facts, c, tokens[i]);
    if (c && js_kind(chat_template(c)) == JS_STRING)
        js_set(facts, "chat_template", js_ref(chat_template(c)));
    js_free(c);
    if (rc == 0 && has_file(dir, "chat_template.jinja"))
        rc = template_file(dir, facts, e);
    if (rc == 0 && !has_file(dir, "tokenizer.json") && has_file(dir, MODEL_SENTENCEPIECE))
        rc = sentencepiece_tokens(dir, facts, e);
    if (rc < 0) {
        js_free(facts);
        facts = NULL;
    }
    return facts;
}

struct entry {
    const struct tensor *t;
    const char *file;
};

static int by_tensor_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->t->name, ((const struct entry *)b)->t->name);
}

static struct js *entry_json(const struct entry *x)
{
    struct js *j = js_object(), *shape = js_array();
    for (int d = 0; d < x->t->ndim; d++)
        js_push(shape, js_new_int((int64_t)x->t->shape[d]));
    js_set(j, "name", js_new_cstr(x->t->name));
    js_set(j, "dtype", js_new_cstr(tensor_type_name(x->t)));
    js_set(j, "shape", shape);
    js_set(j, "file", js_new_cstr(x->file));
    js_set(j, "offset", js_new_int((int64_t)x->t->offset));
    return j;
}

/* Every tensor of these architectures in the shards, by name; what belongs to no parameter (inv_freq buffers, the
 * lm_head of a tied model) is left out. */
static struct js *list_tensors(struct weight_file **files, char **names, size_t n_files, const struct model_config *c, struct err *e)
{
    size_t n = 0, total = 0;
    for (size_t i = 0; i < n_files; i++)
        total += weight_file_count(files[i]);
    struct entry *all = calloc(total + 1, sizeof *all);
    struct js *list = js_array();
    if (!all || !list) {
        err_nomem(e, total * sizeof *all, "tensor list");
        free(all);
        js_free(list);
        return NULL;
    }
    for (size_t i = 0; i < n_files; i++)
        for (size_t k = 0; k < weight_file_count(files[i]); k++) {
            const struct tensor *t = weight_file_at(files[i], k);
            int layer;
            enum module m;
            bool bias;
            if (param_name_parse(t->name, &layer, &m, &bias) < 0 || layer >= c->num_hidden_layers)
                continue;
            if (m == MOD_HEAD && c->tie_word_embeddings)
                continue;
            all[n++] = (struct entry){t, names[i]};
        }
    qsort(all, n, sizeof *all, by_tensor_name);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (i && strcmp(all[i - 1].t->name, all[i].t->name) == 0)
            rc = err_set(e, ERR_INPUT, "tensor \"%s\" is in both %s and %s; one of the shards does not belong here", all[i].t->name,
                         all[i - 1].file, all[i].file);
        else if (js_push(list, entry_json(&all[i])) < 0)
            rc = err_nomem(e, 64, "tensor list");
    }
    free(all);
    if (rc != 0) {
        js_free(list);
        list = NULL;
    }
    return list;
}

static struct js *assemble(const struct js *config, const struct js *tokenizer, const struct js *tensors, struct err *e)
{
    struct js *j = js_object();
    int rc = j ? 0 : -1;
    if (rc == 0)
        rc = js_set(j, "architecture", js_ref(js_get(config, "model_type")));
    if (rc == 0)
        rc = js_set(j, "config", js_ref(config));
    if (rc == 0)
        rc = js_set(j, "tokenizer", js_ref(tokenizer));
    if (rc == 0)
        rc = js_set(j, "tensors", js_ref(tensors));
    if (rc != 0) {
        err_nomem(e, 64, "model.json");
        js_free(j);
        j = NULL;
    }
    return j;
}

int model_describe_file(const char *safetensors, const char *file, const struct js *config, const struct js *tokenizer,
                        struct js **out, struct err *e)
{
    struct model_config c;
    struct weight_file *st = NULL;
    struct js *tensors = NULL;
    char *name = strdup(file);
    *out = NULL;
    int rc = name ? model_config_parse(config, "config.json", &c, e) : err_nomem(e, strlen(file), "name");
    if (rc == 0)
        rc = weight_file_open(safetensors, &c, true, &st, e);
    if (rc == 0 && !(tensors = list_tensors(&st, &name, 1, &c, e)))
        rc = e->code;
    if (rc == 0)
        rc = check_params(&c, tensors, safetensors, e);
    if (rc == 0 && !(*out = assemble(config, tokenizer, tensors, e)))
        rc = e->code;
    js_free(tensors);
    weight_file_close(st);
    free(name);
    return rc;
}

static int describe(const char *dir, char **names, size_t n, const struct js *config, struct js **out, struct err *e)
{
    struct model_config c;
    struct weight_file **files = calloc(n + 1, sizeof(struct weight_file *));
    char **shards = calloc(n + 1, sizeof *shards);
    struct js *tensors = NULL, *facts = NULL;
    size_t k = 0;
    char what[512];
    snprintf(what, sizeof what, "%s/config.json", dir);
    int rc = files && shards ? model_config_parse(config, what, &c, e) : err_nomem(e, n * 16, "shards");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (!is_shard(names[i]))
            continue;
        char *path = fs_join(dir, names[i]);
        rc = path ? weight_file_open(path, &c, true, &files[k], e) : err_nomem(e, strlen(dir), "path");
        free(path);
        if (rc == 0)
            shards[k++] = names[i];
    }
    if (rc == 0 && !(tensors = list_tensors(files, shards, k, &c, e)))
        rc = e->code;
    if (rc == 0 && (rc = check_params(&c, tensors, dir, e)) != 0)
        name_method(config, e);
    if (rc == 0 && !(facts = tokenizer_facts(dir, e)))
        rc = e->code;
    if (rc == 0 && !(*out = assemble(config, facts, tensors, e)))
        rc = e->code;
    for (size_t i = 0; i < k; i++)
        weight_file_close(files[i]);
    js_free(tensors);
    js_free(facts);
    free(files);
    free(shards);
    return rc;
}

/* One GGUF file: configuration and tokenizer facts from its metadata. */
static int describe_gguf(const char *path, struct js **out, struct err *e)
{
    struct gguf *g = NULL;
    struct js *config = NULL, *facts = NULL;
    int rc = gguf_open(path, &g, e);
    if (rc == 0 && !(config = gguf_config(g, e)))
        rc = e->code;
    if (rc == 0 && !(facts = gguf_tokenizer_facts(g, e)))
        rc = e->code;
    if (rc == 0)
        rc = model_describe_file(path, MODEL_GGUF, config, facts, out, e);
    js_free(config);
    js_free(facts);
    gguf_close(g);
    return rc;
}

int model_describe_dir(const char *dir, struct js **out, struct err *e)
{
    *out = NULL;
    if (gguf_is(dir))
        return describe_gguf(dir, out, e);
    char **names = NULL;
    size_t n = 0;
    struct js *config = NULL;
    int rc = model_dir_files(dir, &names, &n, e);
    if (rc == 0 && !(config = read_in(dir, "config.json", e)))
        rc = e->code;
    if (rc == 0)
        rc = describe(dir, names, n, config, out, e);
    js_free(config);
    fs_list_free(names, n);
    return rc;
}
