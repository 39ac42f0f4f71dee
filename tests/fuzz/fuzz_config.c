/* SPDX-License-Identifier: MIT
 *
 * fuzz_config: config.json, mutated: read or refused with a message; what is accepted has sizes that can be computed with.
 */
#include "runtime/model/config.h"
#include "tests/fuzz/driver.h"

#define LIT(s) {s, sizeof s - 1}
static const struct str corpus[] = {
    LIT("{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":128,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
        "\"vocab_size\":256,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,\"max_position_embeddings\":512,\"tie_word_embeddings\":true,\"eos_token_id\":[1,2],"
        "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}}"),
    LIT("{\"model_type\":\"qwen2\",\"architectures\":[\"Qwen2ForCausalLM\"],\"hidden_size\":8,\"intermediate_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":1,"
        "\"vocab_size\":9,\"rms_norm_eps\":1e-06,\"use_sliding_window\":false,\"sliding_window\":4096,\"hidden_act\":\"silu\",\"torch_dtype\":\"bfloat16\"}"),
    LIT("{\"model_type\":\"mistral\",\"hidden_size\":8,\"intermediate_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":1,\"vocab_size\":9,\"sliding_window\":null,"
        "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2.0,\"rope_theta\":1e6}}"),
};
static const struct str words[] = {LIT("0"), LIT("-1"), LIT("1e308"), LIT("9223372036854775807"), LIT("2147483648"), LIT("null"), LIT("true"), LIT("[]"), LIT("{}"),
                                   LIT("\"head_dim\":"), LIT("\"num_key_value_heads\":"), LIT("\"hidden_size\":"), LIT("\"gemma\""), LIT(","), LIT("\""), LIT("0.5"), LIT("1e-300")};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err e = {0};
    struct model_config c;
    struct js *j = js_parse((struct str){(const char *)data, n}, "config.json", &e);
    if (j && model_config_parse(j, "config.json", &c, &e) == 0) {
        if (c.hidden_size <= 0 || c.num_hidden_layers <= 0 || c.num_attention_heads <= 0 || c.head_dim <= 0 || c.vocab_size <= 0 ||
            c.num_attention_heads % c.num_key_value_heads != 0)
            abort();
    } else if (!e.msg[0]) {
        abort();
    }
    js_free(j);
    return 0;
}

#ifndef PKG_LIBFUZZER
int main(int argc, char **argv)
{
    return fuzz_main(argc, argv, corpus, sizeof corpus / sizeof *corpus, words, sizeof words / sizeof *words);
}
#endif
