/* SPDX-License-Identifier: MIT
 *
 * For tests: a random tiny model written to a temporary directory and opened, a packed random batch, a random adapter.
 */
#ifndef TEST_TINY_H
#define TEST_TINY_H

#include "open_dir.h"

#include "runtime/base/rng.h"
#include "runtime/model/lora.h"
#include "runtime/model/pass.h"

/* 3 layers, 4 query heads on 2 key heads, q width not d; biases on q, k, v, o and the feed-forward part. */
static inline struct js *tiny_config(bool tied)
{
    struct err e;
    char z[512];
    snprintf(z, sizeof z,
             "{\"model_type\":\"llama\",\"hidden_size\":20,\"intermediate_size\":28,\"num_hidden_layers\":3,\"num_attention_heads\":4,"
             "\"num_key_value_heads\":2,\"head_dim\":6,\"vocab_size\":37,\"attention_bias\":true,\"mlp_bias\":true,\"rms_norm_eps\":1e-5,"
             "\"max_position_embeddings\":64,\"tie_word_embeddings\":%s}", tied ? "true" : "false");
    return js_parse(str_of(z), "config.json", &e);
}

static inline void tiny_write(const char *dir, const struct js *config, enum dtype t)
{
    struct err e;
    struct model_config c;
    struct st_writer *w;
    char *path = fs_join(dir, "config.json"), name[PARAM_NAME_MAX];
    OK(model_config_parse(config, "config.json", &c, &e), e);
    OK(js_save(path, config, &e), e);
    free(path);
    path = fs_join(dir, "model.safetensors");
    OK(st_writer_new(path, &w, &e), e);
    for (int l = -1; l < c.num_hidden_layers; l++)
        for (int m = 0; m < MOD_COUNT; m++)
            for (int b = 0; b < 2; b++) {
                bool outside = m == MOD_EMBED || m == MOD_HEAD || m == MOD_NORM;
                size_t shape[2];
                module_shape(&c, (enum module)m, &shape[0], &shape[1]);
                if (outside != (l < 0) || (b && !module_has_bias(&c, (enum module)m)) || (m == MOD_HEAD && c.tie_word_embeddings))
                    continue;
                OK(st_declare(w, param_name(name, l, (enum module)m, b), t, b || shape[1] == 1 ? 1 : 2, shape, &e), e);
            }
    OK(st_write_begin(w, &e), e);
    for (size_t i = 0; i < st_writer_count(w); i++) {
        const struct tensor *x = st_writer_at(w, i);
        float v[2048];
        uint16_t h[2048];
        bool norm = strstr(x->name, "norm") != NULL;
        assert_true(x->n <= 2048);
        rng_fill_normal(v, x->n, norm ? 0.2 : 0.3, 7, rng_stream(7, x->name));
        for (size_t j = 0; norm && j < x->n; j++)
            v[j] += 1;
        if (t != DT_F32)
            dtype_from_f32(h, t, v, x->n);
        OK(st_write(w, t == DT_F32 ? (const void *)v : h, x->bytes, &e), e);
    }
    OK(st_write_end(w, &e), e);
    st_writer_free(w);
    free(path);
}

static inline void tiny_open(struct opened *o, bool tied, enum dtype t)
{
    struct err e;
    char dir[] = "/tmp/pkgraph-test-XXXXXX";
    struct js *c = tiny_config(tied);
    assert_non_null(mkdtemp(dir));
    tiny_write(dir, c, t);
    open_dir(o, dir);
    OK(fs_remove_tree(dir, &e), e); /* the mapping stays */
    js_free(c);
}

/* Three sequences of 9, 5 and 7 tokens; targets are the last 5, 3 and 4. */
struct tiny_batch {
    struct batch b;
    int32_t cu[4], tcu[4], ids[21], pos[12], tid[12];
};

static inline void tiny_fill(struct tiny_batch *p, int vocab)
{
    static const int len[] = {9, 5, 7}, targets[] = {5, 3, 4};
    *p = (struct tiny_batch){0};
    int t = 0, k = 0;
    for (int s = 0; s < 3; s++) {
        for (int i = 0; i < len[s]; i++)
            p->ids[t + i] = (int32_t)rng_below(3, 1, (uint64_t)(t + i), (uint64_t)vocab);
        p->ids[t + 2] = p->ids[t + 1]; /* the same id twice */
        for (int i = len[s] - targets[s]; i < len[s]; i++, k++) {
            p->pos[k] = t + i - 1;
            p->tid[k] = p->ids[t + i];
        }
        t += len[s];
        p->cu[s + 1] = t;
        p->tcu[s + 1] = k;
    }
    p->b = (struct batch){.n_seqs = 3, .cu = p->cu, .ids = p->ids, .n_targets = k, .target_cu = p->tcu, .target_pos = p->pos,
                          .target_id = p->tid};
}

/* Adapters of every module; ranks 3 with compensation of rank r0 (0: none). same: the pair equals its compensation. */
static inline struct lora *tiny_lora(const struct model_config *c, int r0, bool same, double dropout)
{
    struct err e;
    struct lora *l;
    size_t n = (size_t)c->num_hidden_layers * MOD_LINEARS + 2, i = 0;
    OK(lora_new(n, &l, &e), e);
    l->pairs[i++] = (struct lora_pair){.layer = -1, .mod = MOD_EMBED};
    for (int layer = 0; layer < c->num_hidden_layers; layer++)
        for (int m = 0; m < MOD_LINEARS; m++)
            l->pairs[i++] = (struct lora_pair){.layer = layer, .mod = (enum module)m};
    l->pairs[i++] = (struct lora_pair){.layer = -1, .mod = MOD_HEAD};
    for (i = 0; i < n; i++) {
        struct lora_pair *p = &l->pairs[i];
        p->r = 3;
        p->scale = 0.5f;
        OK(lora_pair_alloc(p, c, r0, &e), e);
        rng_fill_normal(p->B, p->out * 3, 0.5, 11, i);
        rng_fill_normal(p->A, p->in * 3, 0.5, 12, i);
        if (!r0)
            continue;
        if (same) {
            memcpy(p->B0, p->B, p->out * 3 * sizeof(float));
            memcpy(p->A0, p->A, p->in * 3 * sizeof(float));
        } else {
            rng_fill_normal(p->B0, p->out * (size_t)r0, 0.5, 13, i);
            rng_fill_normal(p->A0, p->in * (size_t)r0, 0.5, 14, i);
        }
    }
    OK(lora_index(l, c->num_hidden_layers, &e), e);
    OK(lora_make_trainable(l, &e), e);
    l->dropout = dropout;
    return l;
}

#endif
