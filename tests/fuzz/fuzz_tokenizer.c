/* SPDX-License-Identifier: MIT
 *
 * fuzz_tokenizer: an input is a tokenizer.json, a NUL and a text; without a NUL it is a text for built-in tokenizers.
 * Every file must be read or refused with a message; ids must be tokens, the same each time, and decodable; text that
 * goes through the byte tokenizer comes back.
 */
#include "driver.h"

#include "runtime/base/json.h"
#include "runtime/text/bytes.h"
#include "runtime/text/tokenizer.h"

#define MODEL(flags)                                                                                                   \
    "\"model\":{\"type\":\"BPE\"," flags                                                                               \
    "\"vocab\":{\"<unk>\":0,\"a\":1,\"b\":2,\"ab\":3,\"\xe2\x96\x81\":4,\"\xe2\x96\x81"                                \
    "a\":5,\"\xc4\xa0\":6,\"<0xC3>\":7,"                                                                               \
    "\"aa\":8,\"aab\":9},\"merges\":[\"a b\",[\"\xe2\x96\x81\",\"a\"],\"a a\",\"aa b\"]}"
#define SP                                                                                                             \
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true,\"normalized\":false},{"  \
    "\"id\":10,\"content\":\"<s>\","                                                                                   \
    "\"lstrip\":true,\"rstrip\":true,\"single_word\":true,\"normalized\":true}],\"normalizer\":{\"type\":"             \
    "\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"},"                                                               \
    "{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" "            \
    "\"},\"content\":\"\xe2\x96\x81\"},"                                                                               \
    "{\"type\":\"Strip\",\"strip_left\":false,\"strip_right\":true}]},\"pre_tokenizer\":null,\"post_processor\":{"     \
    "\"type\":\"TemplateProcessing\","                                                                                 \
    "\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<s>\":{"     \
    "\"id\":\"<s>\",\"ids\":[10],\"tokens\":[\"<s>\"]}}},"                                                             \
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xe2\x96\x81\"}" \
    ",\"content\":\" \"},{\"type\":\"ByteFallback\"},"                                                                 \
    "{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":1}]}," MODEL(                      \
        "\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true,") "}"
#define META                                                                                                           \
    "{\"normalizer\":{\"type\":\"Lowercase\"},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":"              \
    "\"\xe2\x96\x81\",\"prepend_scheme\":\"first\",\"split\":true},"                                                   \
    "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\"},\"post_processor\":{\"type\":"              \
    "\"BertProcessing\",\"cls\":[\"a\",1],\"sep\":[\"b\",2]}," MODEL("\"ignore_merges\":true,") "}"
#define SPLIT(behavior, invert)                                                                                        \
    "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":"        \
    "\"Split\",\"pattern\":{\"Regex\":"                                                                                \
    "\"(?i:'s|'t)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":"       \
    "\"" behavior "\",\"invert\":" invert "},"                                                                         \
    "{\"type\":\"Digits\",\"individual_digits\":true},{\"type\":\"Punctuation\"},{\"type\":\"ByteLevel\",\"add_"       \
    "prefix_space\":true,\"use_regex\":true}]},"                                                                       \
    "\"decoder\":{\"type\":\"ByteLevel\"}," MODEL("") "}"
#define TEXT "ab aab\xc3\xa9 <s> a  b'S 123\n<unk>\xe2\x96\x81\xef\xac\x81"

static const struct tokenizer *built_in(void)
{
    static struct tokenizer *t;
    struct err e;
    if (!t) {
        struct js *j = bytes_tokenizer();
        struct buf b = {0};
        js_write(&b, j);
        if (tokenizer_parse(buf_view(&b), "bytes", &t, &e) < 0)
            abort();
        js_free(j);
        buf_release(&b);
    }
    return t;
}

static void use(const struct tokenizer *t, struct str text, bool returns)
{
    struct ids a = {0}, b = {0};
    struct buf out = {0};
    struct err e = {0};
    int rc = tokenizer_encode(t, text, true, &a, &e);
    if (rc < 0 && !e.msg[0])
        abort();
    if (tokenizer_encode(t, text, true, &b, &e) != rc)
        abort();
    if (rc == 0) {
        if (a.n != b.n || (a.n && memcmp(a.v, b.v, a.n * sizeof *a.v) != 0))
            abort();
        for (size_t i = 0; i < a.n; i++) {
            if (!tokenizer_token(t, a.v[i], NULL))
                abort();
        }
        if (tokenizer_decode(t, a.v, a.n, returns, &out, &e) < 0 && !e.msg[0])
            abort();
        bool special = false;
        for (size_t i = 1; i < a.n; i++)
            special |= a.v[i] >= 256;
        if (returns && !special && !str_eq(buf_view(&out), text))
            abort();
    }
    ids_release(&a);
    ids_release(&b);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *end = n ? memchr(data, 0, n) : NULL;
    if (!end) {
        use(built_in(), (struct str){(const char *)data, n}, true);
        return 0;
    }
    struct tokenizer *t = NULL;
    struct err e = {0};
    size_t used = (size_t)(end - data);
    if (tokenizer_parse((struct str){(const char *)data, used}, "fuzz", &t, &e) == 0) {
        use(t, (struct str){(const char *)end + 1, n - used - 1}, false);
        use(t, STR(TEXT), false);
        int32_t ids[300];
        struct buf out = {0};
        for (int i = 0; i < 300; i++)
            ids[i] = i - 20;
        if (tokenizer_decode(t, ids, 300, true, &out, &e) < 0 && !e.msg[0])
            abort();
        buf_release(&out);
        tokenizer_free(t);
    } else if (!e.msg[0] || t) {
        abort();
    }
    return 0;
}

#ifndef PKG_LIBFUZZER
int main(int argc, char **argv)
{
    static const struct str corpus[] = {
        STR(SP "\0" TEXT),
        STR(META "\0" TEXT),
        STR(SPLIT("Isolated", "false") "\0" TEXT),
        STR(SPLIT("MergedWithNext", "true") "\0" TEXT),
        STR(SPLIT("Contiguous", "false") "\0" TEXT),
        STR(TEXT),
        STR("a\xcc\x81\xed\x95\x9c\xf0\x9f\x98\x80 </s>"),
    };
    static const struct str words[] = {
        STR("\"type\":"),
        STR("null"),
        STR("true"),
        STR("false"),
        STR("[]"),
        STR("{}"),
        STR("\"Regex\":"),
        STR("\"String\":"),
        STR("[^"),
        STR("]"),
        STR("(?i:"),
        STR("(?!"),
        STR(")*"),
        STR("\\\\p{L}"),
        STR("\\\\s"),
        STR("\\\\w"),
        STR("+"),
        STR("|"),
        STR("\"Sequence\""),
        STR("\"ByteLevel\""),
        STR("\"Metaspace\""),
        STR("\"NFD\""),
        STR("\"Removed\""),
        STR("\"MergedWithPrevious\""),
        STR("-1"),
        STR("4294967296"),
        STR("<s>"),
        STR("ab"),
        STR("\xe2\x96\x81"),
        STR("\xcc\xa3"),
        STR("\xed\xa0\x80"),
        STR("\xf4\x90"),
        STR("a a"),
        STR("0"),
        STR("16777215"),
        STR("\"bytes\""),
        STR(","),
    };
    return fuzz_main(argc, argv, corpus, sizeof corpus / sizeof *corpus, words, sizeof words / sizeof *words);
}
#endif
