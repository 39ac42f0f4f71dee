/* SPDX-License-Identifier: MIT */
#include "runtime/text/bytes.h"

#include <stdio.h>

/* GPT-2's printable stand-in of a byte, as UTF-8: itself where it is printable Latin-1, else U+0100 and up in order. */
static void stand_in(int byte, char out[4])
{
    int next = 256, c = byte;
    for (int b = 0; b <= byte; b++) {
        bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        c = printable ? b : next++;
    }
    if (c < 0x80)
        snprintf(out, 4, "%c", c);
    else
        snprintf(out, 4, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
}

static struct js *parse(const char *text)
{
    struct err e;
    return js_parse(str_of(text), "byte tokenizer", &e);
}

struct js *bytes_tokenizer(void)
{
    static const char frame[] =
        "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"normalizer\":null,\"added_tokens\":["
        "{\"id\":256,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true},"
        "{\"id\":257,\"content\":\"</s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true},"
        "{\"id\":258,\"content\":\"<pad>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}],"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false},"
        "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
        "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
        "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":1}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],"
        "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[256],\"tokens\":[\"<s>\"]}}},"
        "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true}}";
    static const char model_frame[] =
        "{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
        "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,\"merges\":[]}";
    struct js *j = parse(frame), *model = parse(model_frame), *vocab = js_object();
    int rc = j && model && vocab ? 0 : -1;
    for (int b = 0; rc == 0 && b < 256; b++) {
        char key[4];
        stand_in(b, key);
        rc = js_set(vocab, key, js_new_int(b));
    }
    if (rc == 0)
        rc = js_set(model, "vocab", js_ref(vocab));
    if (rc == 0)
        rc = js_set(j, "model", js_ref(model));
    js_free(vocab);
    js_free(model);
    if (rc != 0) {
        js_free(j);
        j = NULL;
    }
    return j;
}
