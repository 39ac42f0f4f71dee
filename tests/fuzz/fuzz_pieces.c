/* SPDX-License-Identifier: MIT
 *
 * fuzz_pieces: tokenizer.model files of SentencePiece, mutated: read or refused with a message; a tokenizer.json that is made of
 * one is one that the reader of tokenizer.json takes or refuses in its turn.
 */
#include "runtime/text/pieces.h"
#include "runtime/text/tokenizer.h"
#include "tests/fuzz/driver.h"

#define LIT(s) {s, sizeof s - 1}
#define PIECE(n, text, score, type) "\x0a" n "\x0a" text "\x15" score "\x18" type
#define ONE "\0\0\x80\xbf"
#define TWO "\0\0\0\xc0"
static const struct str corpus[] = {
    LIT(PIECE("\x0e", "\x05<unk>", "\0\0\0\0", "\x02") PIECE("\x0c", "\x03<s>", "\0\0\0\0", "\x03") PIECE("\x0d", "\x04</s>", "\0\0\0\0", "\x03")
        PIECE("\x0a", "\x01" "a", ONE, "\x01") PIECE("\x0a", "\x01" "b", ONE, "\x01") PIECE("\x0b", "\x02" "ab", TWO, "\x01") PIECE("\x0c", "\x03\xe2\x96\x81", TWO, "\x01")
        "\x12\x02\x18\x02" "\x1a\x0e\x0a\x08identity\x18\x01\x20\x00"),
    LIT("\x0a\x05\x0a\x03" "abc" "\x12\x08\x18\x02\xc8\x02\x01\xd0\x02\x02" "\x1a\x02\x20\x00"),
};
static const struct str words[] = {LIT("\x0a"), LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), LIT("\x12"), LIT("\x1a"), LIT("\x18\x02"), LIT("\x20\x00"), LIT("\x15"), LIT(ONE),
                                   LIT("\x0a\x0a\x0a\x01" "c\x15" ONE "\x18\x01"), LIT("<0x00>"), LIT("\xe2\x96\x81"), LIT("\0"), LIT("\x80"), LIT("\x7f")};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err e = {0};
    struct str file = {(const char *)data, n};
    struct js *j = sentencepiece_json(file, "tokenizer.model", NULL, &e), *facts = NULL;
    struct tokenizer *t = NULL;
    struct ids ids = {0};
    struct buf text = {0};
    if (!j && !e.msg[0])
        abort();
    js_write(&text, j);
    if (j && tokenizer_parse(buf_view(&text), "made", &t, &e) == 0)
        tokenizer_encode(t, STR("ab a  b"), true, &ids, &e);
    facts = sentencepiece_facts(file, "tokenizer.model", &e);
    sentencepiece_is(file);
    tokenizer_free(t);
    ids_release(&ids);
    buf_release(&text);
    js_free(facts);
    js_free(j);
    return 0;
}

#ifndef PKG_LIBFUZZER
int main(int argc, char **argv)
{
    return fuzz_main(argc, argv, corpus, sizeof corpus / sizeof *corpus, words, sizeof words / sizeof *words);
}
#endif
