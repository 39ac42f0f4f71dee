/* SPDX-License-Identifier: MIT
 * gguf_model, gguf_export: a model written as GGUF and read again has the same tensors under the same names, the same
 * configuration and the same token ids; adapters have llama.cpp's names and shapes; what cannot be held is refused. */
#include "tiny.h"

#include <unistd.h>

#include "runtime/model/gguf_export.h"
#include "runtime/model/gguf_model.h"
#include "runtime/text/tokenizer.h"

static char dir[] = "/tmp/pkgraph-test-XXXXXX";
static char path[256];

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/model.gguf", mkdtemp(dir));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    struct err e;
    return fs_remove_tree(dir, &e);
}

static int resolve_path(void *u, const char *name, const char **out, struct err *e)
{
    (void)name;
    (void)e;
    *out = u;
    return 0;
}

/* The tiny model in type `want`, through a GGUF file; the largest difference of a value. */
static double through(const char *want, bool tied, enum dtype stored)
{
    struct opened o;
    struct err e;
    struct js *j;
    struct model *m;
    double most = 0;
    tiny_open(&o, tied, stored);
    OK(gguf_export_model(o.m, NULL, want ? quant_by_name(want) : NULL, path, &e), e);
    OK(model_describe_dir(path, &j, &e), e);
    OK(model_open(j, resolve_path, path, &m, &e), e);
    assert_int_equal(model_tensor_count(m), model_tensor_count(o.m));
    const struct model_config *a = model_config(o.m), *b = model_config(m);
    assert_int_equal(a->head_dim, b->head_dim);
    assert_int_equal(a->vocab_size, b->vocab_size);
    assert_int_equal(a->num_key_value_heads, b->num_key_value_heads);
    assert_int_equal(a->tie_word_embeddings, b->tie_word_embeddings);
    assert_int_equal(a->o_bias, b->o_bias);
    assert_int_equal(a->mlp_bias, b->mlp_bias);
    assert_true(a->rms_norm_eps == b->rms_norm_eps && a->rope_theta == b->rope_theta);
    for (size_t i = 0; i < model_tensor_count(m); i++) {
        const struct tensor *x = model_tensor_at(o.m, i), *y = model_tensor(m, x->name);
        float u[2048], v[2048];
        assert_non_null(y);
        assert_int_equal(x->n, y->n);
        assert_int_equal(tensor_to_f32(u, x, 0, x->n), 0);
        assert_int_equal(tensor_to_f32(v, y, 0, x->n), 0);
        for (size_t k = 0; k < x->n; k++)
            most = fabs((double)u[k] - (double)v[k]) > most ? fabs((double)u[k] - (double)v[k]) : most;
    }
    model_close(m);
    js_free(j);
    close_dir(&o);
    return most;
}

static void the_same_values(void **state)
{
    (void)state;
    assert_true(through(NULL, true, DT_F32) == 0);
    assert_true(through(NULL, false, DT_BF16) == 0);
    assert_true(through("F32", false, DT_BF16) == 0);
    double f16 = through("F16", false, DT_F32);
    assert_true(f16 > 0 && f16 < 2e-3);
    assert_true(through("Q8_0", false, DT_F32) == f16); /* rows of 20 are no whole blocks: F16 */
}

/* The divisors alone are in the file; the settings are found again. */
static void llama3_rotation(void **state)
{
    (void)state;
    struct err e;
    struct model_config c, back;
    struct gguf_writer *w;
    struct gguf *g;
    char tiny[] = "/tmp/pkgraph-test-XXXXXX";
    struct js *j = tiny_config(true), *r = js_object(), *read;
    struct opened o;
    js_set(r, "rope_type", js_new_cstr("llama3"));
    js_set(r, "factor", js_new_num(8));
    js_set(r, "low_freq_factor", js_new_num(1));
    js_set(r, "high_freq_factor", js_new_num(4));
    js_set(r, "original_max_position_embeddings", js_new_int(64));
    js_set(j, "rope_scaling", r);
    assert_non_null(mkdtemp(tiny));
    tiny_write(tiny, j, DT_F32);
    open_dir(&o, tiny);
    c = *model_config(o.m);
    OK(gguf_export_model(o.m, NULL, NULL, path, &e), e);
    OK(gguf_open(path, &g, &e), e);
    read = gguf_config(g, &e);
    if (!read)
        fail_msg("%s", e.msg);
    OK(model_config_parse(read, "read", &back, &e), e);
    assert_int_equal(back.rope, ROPE_LLAMA3);
    assert_true(back.rope_factor == c.rope_factor && back.rope_high_freq_factor == 4 && back.rope_low_freq_factor == 1);
    double original = back.rope_original_max_position_embeddings; /* of so few frequencies 32 says the same as 64 */
    assert_true(original == 64 || original == 32);
    gguf_close(g);
    js_free(read);
    /* divisors of another kind */
    OK(gguf_writer_new(path, &w, &e), e);
    gguf_put_str(w, "general.architecture", STR("llama"));
    gguf_put_u32(w, "llama.embedding_length", 20);
    gguf_put_u32(w, "llama.feed_forward_length", 20);
    gguf_put_u32(w, "llama.block_count", 1);
    gguf_put_u32(w, "llama.attention.head_count", 2);
    gguf_put_u32(w, "llama.context_length", 64);
    OK(gguf_declare(w, "rope_freqs.weight", quant_by_name("F32"), 1, (size_t[]){3}, &e), e);
    OK(gguf_write_begin(w, &e), e);
    OK(gguf_write(w, (float[]){3, 2, 5}, 12, &e), e);
    OK(gguf_write_end(w, &e), e);
    gguf_writer_free(w);
    OK(gguf_open(path, &g, &e), e);
    assert_null(gguf_config(g, &e));
    assert_non_null(strstr(e.msg, "rope_freqs"));
    gguf_close(g);
    js_free(j);
    close_dir(&o);
    OK(fs_remove_tree(tiny, &e), e);
}

/* ---- tokenizers ---- */

static struct js *parse(const char *text)
{
    struct err e;
    struct js *j = js_parse(str_of(text), "test", &e);
    if (!j)
        fail_msg("%s", e.msg);
    return j;
}

#define HELLO "{\"id\":8,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}"
#define BOS "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]," \
            "\"pair\":[],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[8],\"tokens\":[\"<s>\"]}}}"

/* json -> metadata -> json: the ids of the texts stay. Gives the pre-tokeniser's name in pre. */
static void same_ids(const char *json, char pre[32], const char *const *texts, size_t n)
{
    struct err e;
    struct js *a = parse(json), *facts = parse("{\"bos_token\":\"<s>\",\"chat_template\":\"{{x}}\"}"), *b;
    struct model_config c = {.vocab_size = 12, .bos_token_id = -1};
    struct tokenizer *ta, *tb;
    struct gguf_writer *w;
    struct gguf *g;
    struct buf text = {0};
    OK(tokenizer_parse(str_of(json), "a", &ta, &e), e);
    OK(gguf_writer_new(path, &w, &e), e);
    OK(gguf_put_tokenizer(w, a, facts, &c, ta, &e), e);
    OK(gguf_write_begin(w, &e), e);
    OK(gguf_write_end(w, &e), e);
    gguf_writer_free(w);
    OK(gguf_open(path, &g, &e), e);
    assert_int_equal(gguf_len(g, "tokenizer.ggml.tokens"), 12); /* filled up */
    assert_int_equal(gguf_int(g, "tokenizer.ggml.bos_token_id", -1), 8);
    assert_true(gguf_bool(g, "tokenizer.ggml.add_bos_token", false));
    assert_true(str_is(gguf_str(g, "tokenizer.chat_template"), "{{x}}"));
    struct str name = gguf_str(g, "tokenizer.ggml.pre");
    snprintf(pre, 32, "%.*s", (int)name.n, name.p);
    b = gguf_tokenizer(g, &e);
    if (!b)
        fail_msg("%s", e.msg);
    js_write(&text, b);
    OK(tokenizer_parse(buf_view(&text), "b", &tb, &e), e);
    for (size_t i = 0; i < n; i++) {
        struct ids x = {0}, y = {0};
        OK(tokenizer_encode(ta, str_of(texts[i]), true, &x, &e), e);
        OK(tokenizer_encode(tb, str_of(texts[i]), true, &y, &e), e);
        assert_int_equal(x.n, y.n);
        assert_memory_equal(x.v, y.v, x.n * sizeof *x.v);
        ids_release(&x);
        ids_release(&y);
    }
    tokenizer_free(ta);
    tokenizer_free(tb);
    gguf_close(g);
    buf_release(&text);
    js_free(a);
    js_free(b);
    js_free(facts);
}

static void byte_level(void **state)
{
    (void)state;
    static const char *const texts[] = {"abab", "a1 b", "<s>ba", "", "aab"};
    char pre[32];
    same_ids("{\"added_tokens\":[" HELLO "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","
             "\"individual_digits\":true},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}]},"
             "\"post_processor\":" BOS ",\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,"
             "\"\xc4\xa0\":3,\"1\":4,\"aab\":5,\"x\":6,\"y\":7},\"merges\":[\"a b\",\"a ab\"]}}", pre, texts, 5);
    assert_string_equal(pre, "smollm");
}

static void pieces(void **state)
{
    (void)state;
    static const char *const texts[] = {"ab", "a b ab", "<s>b", "", "aab"};
    char pre[32];
    same_ids("{\"added_tokens\":[" HELLO "],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},"
             "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}]},\"pre_tokenizer\":null,\"post_processor\":" BOS
             ",\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"vocab\":{\"<unk>\":0,\"a\":1,"
             "\"b\":2,\"\xe2\x96\x81\":3,\"ab\":4,\"\xe2\x96\x81" "ab\":5,\"\xe2\x96\x81" "a\":6,\"x\":7},\"merges\":[\"a b\",\"\xe2\x96\x81 ab\",\"\xe2\x96\x81 a\"]}}",
             pre, texts, 5);
    assert_string_equal(pre, "default");
}

static void an_unknown_cut_is_refused(void **state)
{
    (void)state;
    struct js *j = parse("{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x+\"},\"behavior\":\"Isolated\",\"invert\":false},"
                         "\"model\":{\"merges\":[\"a b\"]}}");
    assert_null(gguf_pre_name(j));
    js_free(j);
    struct err e;
    struct gguf_writer *w;
    struct gguf *g;
    OK(gguf_writer_new(path, &w, &e), e);
    gguf_put_str(w, "tokenizer.ggml.model", STR("gpt2"));
    gguf_put_str(w, "tokenizer.ggml.pre", STR("brand-new"));
    OK(gguf_write_begin(w, &e), e);
    OK(gguf_write_end(w, &e), e);
    gguf_writer_free(w);
    OK(gguf_open(path, &g, &e), e);
    assert_int_equal(gguf_tokenizer_check(g, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "brand-new"));
    assert_null(gguf_config(g, &e));
    gguf_close(g);
}

/* ---- adapters ---- */

static void adapters(void **state)
{
    (void)state;
    struct err e;
    struct opened o;
    struct gguf *g;
    tiny_open(&o, false, DT_F32);
    struct lora *l = tiny_lora(model_config(o.m), 0, false, 0);
    OK(gguf_export_adapter(l, model_config(o.m), path, &e), e);
    OK(gguf_open(path, &g, &e), e);
    assert_true(str_is(gguf_str(g, "adapter.type"), "lora"));
    assert_true(gguf_num(g, "adapter.lora.alpha", 0) == 1.5); /* scale 0.5, rank 3 */
    assert_int_equal(gguf_count(g), 2 * l->n);
    const struct gguf_tensor *a = gguf_find(g, "token_embd.weight.lora_a"), *b = gguf_find(g, "blk.1.attn_q.weight.lora_b");
    const struct lora_pair *embed = lora_find(l, -1, MOD_EMBED), *q = lora_find(l, 1, MOD_Q);
    assert_int_equal(a->shape[0], 37); /* turned: a row an id */
    assert_int_equal(a->shape[1], 3);
    assert_true(((const float *)a->data)[5 * 3 + 2] == embed->A[2 * 37 + 5]);
    /* rows of a head of six: 0 3 1 4 2 5 */
    assert_int_equal(b->shape[0], 24);
    assert_true(((const float *)b->data)[1 * 3] == q->B[3 * 3]);
    assert_true(((const float *)b->data)[(6 + 4) * 3 + 1] == q->B[(6 + 2) * 3 + 1]);
    gguf_close(g);
    assert_int_equal(model_describe_dir(path, &(struct js *){NULL}, &e), ERR_INPUT); /* an adapter is no model */
    lora_free(l);
    close_dir(&o);
    tiny_open(&o, true, DT_F32);
    l = tiny_lora(model_config(o.m), 0, false, 0);
    assert_int_equal(gguf_export_adapter(l, model_config(o.m), path, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "merge"));
    lora_free(l);
    close_dir(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_values), cmocka_unit_test(llama3_rotation), cmocka_unit_test(byte_level), cmocka_unit_test(pieces),
        cmocka_unit_test(an_unknown_cut_is_refused), cmocka_unit_test(adapters),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
