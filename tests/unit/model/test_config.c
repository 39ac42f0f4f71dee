/* SPDX-License-Identifier: MIT
 * config and model: fields, defaults, refusals, parameter names, directories that lack something. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/fs.h"
#include "runtime/model/model.h"

#define BASE "\"hidden_size\":8,\"intermediate_size\":12,\"num_hidden_layers\":1,\"num_attention_heads\":2,\"vocab_size\":10"

static int parse(const char *text, struct model_config *c, struct err *e)
{
    struct js *j = js_parse(str_of(text), "t", e);
    assert_non_null(j);
    int rc = model_config_parse(j, "config.json", c, e);
    js_free(j);
    return rc;
}

static void accepts(void **state)
{
    (void)state;
    struct err e = {0};
    struct model_config c;
    assert_int_equal(parse("{\"model_type\":\"llama\"," BASE ",\"eos_token_id\":[1,2]}", &c, &e), 0);
    assert_int_equal(c.head_dim, 4);
    assert_int_equal(c.num_key_value_heads, 2);
    assert_int_equal(c.n_eos, 2);
    assert_false(c.qkv_bias);
    assert_int_equal(parse("{\"model_type\":\"qwen2\"," BASE ",\"sliding_window\":4,\"use_sliding_window\":false}", &c, &e), 0);
    assert_true(c.qkv_bias && !c.o_bias);
    assert_int_equal(parse("{\"model_type\":\"mistral\"," BASE ",\"sliding_window\":64,\"max_position_embeddings\":128}", &c, &e), 0);
    assert_int_equal(c.max_position_embeddings, 64);
    assert_int_equal(parse("{\"model_type\":\"llama\"," BASE ",\"rope_parameters\":{\"rope_theta\":5e5,\"rope_type\":\"linear\",\"factor\":4}}",
                           &c, &e), 0);
    assert_true(c.rope == ROPE_LINEAR && c.rope_theta == 5e5 && c.rope_factor == 4);
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"{\"model_type\":\"gpt2\"," BASE "}", "gpt2"},
        {"{" BASE "}", "model_type"},
        {"{\"model_type\":\"llama\",\"hidden_size\":8}", "missing"},
        {"{\"model_type\":\"llama\"," BASE ",\"num_key_value_heads\":3}", "num_key_value_heads"},
        {"{\"model_type\":\"llama\"," BASE ",\"head_dim\":3}", "even"},
        {"{\"model_type\":\"llama\"," BASE ",\"rope_scaling\":{\"type\":\"yarn\"}}", "yarn"},
        {"{\"model_type\":\"llama\"," BASE ",\"eos_token_id\":10}", "eos_token_id"},
        {"{\"model_type\":\"llama\"," BASE ",\"rms_norm_eps\":-1}", "rms_norm_eps"},
        {"{\"model_type\":\"llama\"," BASE ",\"hidden_act\":\"gelu\"}", "gelu"},
        {"{\"model_type\":\"qwen2\"," BASE ",\"sliding_window\":4,\"use_sliding_window\":true}", "sliding"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        struct model_config c;
        assert_true(parse(cases[i].json, &c, &e) < 0);
        if (!strstr(e.msg, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", e.msg, cases[i].says);
    }
}

static void names_go_both_ways(void **state)
{
    (void)state;
    for (int m = 0; m < MOD_COUNT; m++)
        for (int b = 0; b < 2; b++) {
            bool outside = m == MOD_EMBED || m == MOD_HEAD || m == MOD_NORM;
            char name[PARAM_NAME_MAX];
            int layer;
            enum module back;
            bool bias;
            param_name(name, outside ? -1 : 17, (enum module)m, b);
            assert_int_equal(param_name_parse(name, &layer, &back, &bias), 0);
            assert_true(layer == (outside ? -1 : 17) && (int)back == m && bias == b);
        }
    int layer;
    enum module m;
    bool bias;
    assert_int_equal(param_name_parse("model.layers.3.self_attn.rotary_emb.inv_freq", &layer, &m, &bias), -1);
    assert_int_equal(param_name_parse("model.layers.x.mlp.up_proj.weight", &layer, &m, &bias), -1);
    assert_int_equal(param_name_parse("model.layers.1.lm_head.weight", &layer, &m, &bias), -1);
}

static int resolve_in(void *u, const char *name, const char **path, struct err *e)
{
    static char z[512];
    (void)e;
    snprintf(z, sizeof z, "%s/%s", (const char *)u, name);
    *path = z;
    return 0;
}

static void write(const char *dir, const char *name, const char *text)
{
    struct err e = {0};
    char *path = fs_join(dir, name);
    assert_int_equal(fs_write_atomic(path, text, strlen(text), &e), 0);
    free(path);
}

static void write_weights(const char *dir, bool with_norm)
{
    struct err e = {0};
    struct st_writer *w;
    char *path = fs_join(dir, "model.safetensors"), name[PARAM_NAME_MAX];
    struct model_config c;
    assert_int_equal(parse("{\"model_type\":\"llama\"," BASE ",\"tie_word_embeddings\":true}", &c, &e), 0);
    assert_int_equal(st_writer_new(path, &w, &e), 0);
    for (int m = 0; m < MOD_COUNT; m++) {
        size_t shape[2];
        module_shape(&c, (enum module)m, &shape[0], &shape[1]);
        bool outside = m == MOD_EMBED || m == MOD_HEAD || m == MOD_NORM;
        if (m != MOD_HEAD && (with_norm || m != MOD_NORM))
            assert_int_equal(st_declare(w, param_name(name, outside ? -1 : 0, (enum module)m, false), DT_F32, shape[1] == 1 ? 1 : 2, shape, &e), 0);
    }
    assert_int_equal(st_write_begin(w, &e), 0);
    for (size_t i = 0; i < st_writer_count(w); i++) {
        float x[256] = {0};
        assert_int_equal(st_write(w, x, st_writer_at(w, i)->bytes, &e), 0);
    }
    assert_int_equal(st_write_end(w, &e), 0);
    st_writer_free(w);
    free(path);
}

static void directories(void **state)
{
    (void)state;
    char dir[] = "/tmp/pkgraph-test-XXXXXX";
    struct err e = {0};
    struct js *j = NULL;
    assert_non_null(mkdtemp(dir));
    assert_true(model_describe_dir("/nowhere/model", &j, &e) < 0 && strstr(e.msg, "no such directory"));
    assert_true(model_describe_dir(dir, &j, &e) < 0 && strstr(e.msg, "config.json"));
    write(dir, "config.json", "{\"model_type\":\"llama\"," BASE ",\"tie_word_embeddings\":true}");
    assert_true(model_describe_dir(dir, &j, &e) < 0 && strstr(e.msg, "no weights"));
    write(dir, "pytorch_model.bin", "x");
    assert_true(model_describe_dir(dir, &j, &e) < 0 && strstr(e.msg, "safe_serialization"));
    write_weights(dir, false);
    assert_true(model_describe_dir(dir, &j, &e) < 0 && strstr(e.msg, "model.norm.weight"));
    write_weights(dir, true);
    assert_int_equal(model_describe_dir(dir, &j, &e), 0);
    struct model *m = NULL;
    assert_int_equal(model_open(j, resolve_in, dir, &m, &e), 0);
    assert_int_equal(model_tensor_count(m), 11);
    assert_int_equal(model_tensor(m, "model.layers.0.mlp.down_proj.weight")->shape[1], 12);
    assert_null(model_tensor(m, "lm_head.weight"));
    const struct tokenizer *t;
    assert_true(model_tokenizer(m, &t, &e) < 0);
    model_close(m);
    js_free(j);
    write(dir, "config.json", "{\"model_type\":\"llama\"," BASE "}");
    assert_true(model_describe_dir(dir, &j, &e) < 0 && strstr(e.msg, "lm_head.weight"));
    write(dir, "model.safetensors.index.json", "{\"weight_map\":{\"a\":\"../../etc/passwd\"}}");
    assert_true(model_describe_dir(dir, &j, &e) < 0 && strstr(e.msg, "names no file"));
    fs_remove_tree(dir, &e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts), cmocka_unit_test(refuses), cmocka_unit_test(names_go_both_ways), cmocka_unit_test(directories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
