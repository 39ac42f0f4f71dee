/* SPDX-License-Identifier: MIT
 *
 * For tests: a tiny case of the oracle opened for training: the student, its training rows as samples (from the golden token
 * ids, so that no tokenizer is needed), the settings of the case, the golden start of the adapter.
 */
#ifndef TEST_TRAIN_CASE_H
#define TEST_TRAIN_CASE_H

#include "open_dir.h"

#include "runtime/model/lora.h"
#include "runtime/model/trainer.h"

struct train_case {
    char dir[600];
    struct opened student;
    struct samples samples;
    struct train_settings settings;
    bool tied;
};

static inline struct js *case_json(const struct train_case *c, const char *name)
{
    char path[800];
    struct err e = {0};
    snprintf(path, sizeof path, "%s/%s", c->dir, name);
    struct js *j = js_read(path, &e);
    if (!j)
        fail_msg("%s", e.msg);
    return j;
}

static inline void case_samples(struct train_case *c)
{
    struct js *j = case_json(c, "tokens.json");
    const struct js *rows = js_get(j, "train");
    struct samples *s = &c->samples;
    s->n = js_len(rows);
    s->v = calloc(s->n, sizeof *s->v);
    for (size_t i = 0; i < s->n; i++) {
        const struct js *ids = js_get(js_at(rows, i), "ids");
        struct encoded *x = &s->v[i].x;
        s->v[i].row = i;
        x->n = js_len(ids);
        x->n_prompt = (size_t)js_int(js_get(js_at(rows, i), "n_prompt"), 0);
        x->n_target = (size_t)js_int(js_get(js_at(rows, i), "n_target"), 0);
        x->ids = malloc(x->n * sizeof *x->ids);
        x->trained = calloc(x->n, 1);
        for (size_t t = 0; t < x->n; t++) {
            x->ids[t] = (int32_t)js_int(js_at(ids, t), -1);
            x->trained[t] = t >= x->n_prompt;
        }
        s->tokens += x->n;
        s->targets += x->n_target;
    }
    js_free(j);
}

static inline void open_train_case(struct train_case *c, const char *name)
{
    char path[800];
    const char *shared = getenv("PKG_SHARED");
    memset(c, 0, sizeof *c);
    snprintf(c->dir, sizeof c->dir, "%s/oracle/golden/%s", shared ? shared : TEST_SHARED, name);
    if (!fs_is_dir(c->dir)) {
        print_message("SKIPPED: no golden vectors at %s; set PKG_SHARED\n", c->dir);
        skip();
    }
    struct js *j = case_json(c, "case.json");
    snprintf(path, sizeof path, "%s/../models/%s", c->dir, js_cstr(js_get(j, "student")));
    open_dir(&c->student, path);
    c->tied = model_config(c->student.m)->tie_word_embeddings;
    c->settings = (struct train_settings){
        .epochs = js_num(js_get(j, "epochs"), 0),
        .batch = {.rows = (size_t)js_int(js_get(j, "micro"), 0), .accumulate = (size_t)js_int(js_get(j, "accumulate"), 0)},
        .learning_rate = js_num(js_get(j, "lr"), 0),
        .warmup_ratio = js_num(js_get(j, "warmup"), 0),
        .adamw = {0.9, 0.999, 1e-8, 0, 1.0},
    };
    js_free(j);
    case_samples(c);
}

static inline void close_train_case(struct train_case *c)
{
    samples_release(&c->samples);
    close_dir(&c->student);
}

static inline struct lora *case_lora(const struct train_case *c)
{
    char m[700], g[700], k[700];
    struct err e = {0};
    struct lora *l = NULL;
    snprintf(m, sizeof m, "%s/lora-init/adapter_model.safetensors", c->dir);
    snprintf(g, sizeof g, "%s/lora-init/adapter_config.json", c->dir);
    snprintf(k, sizeof k, "%s/lora-init/compensation.safetensors", c->dir);
    OK(lora_read(m, g, k, model_config(c->student.m), &l, &e), e);
    return l;
}

static inline struct weights *case_weights(const struct train_case *c, enum weights_kind kind)
{
    struct err e = {0};
    struct weights *w = NULL;
    OK(weights_new(c->student.m, DT_F32, kind, &w, &e), e);
    return w;
}

#endif
