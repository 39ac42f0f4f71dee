/* SPDX-License-Identifier: MIT
 *
 * tok_helper: small tokenizers made in the test, and comparing ids.
 */
#ifndef PKG_TEST_TOK_HELPER_H
#define PKG_TEST_TOK_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/fs.h"
#include "runtime/base/json.h"
#include "runtime/text/bytes.h"
#include "runtime/text/tokenizer.h"

/* A SentencePiece-style tokenizer: <unk> <s> </s>, `▁`, a b c, then pieces of them; parts can be replaced. */
#define SP_MODEL(flags, vocab, merges)                                                                                 \
    "{\"type\":\"BPE\",\"unk_token\":\"<unk>\"," flags                                                                 \
    "\"vocab\":{\"<unk>\":0,\"<s>\":1,\"</s>\":2,\"\xe2\x96\x81\":3,\"a\":4,\"b\":5,\"c\":6,"                          \
    "\"ab\":7,\"\xe2\x96\x81"                                                                                          \
    "a\":8,\"\xe2\x96\x81"                                                                                             \
    "ab\":9,\"abc\":10,\"\xe2\x96\x81\xe2\x96\x81\":11,\"aa\":12,\"aaaa\":13" vocab "},"                               \
    "\"merges\":[\"a b\",\"\xe2\x96\x81 ab\",\"ab c\",\"\xe2\x96\x81 a\",\"\xe2\x96\x81 \xe2\x96\x81\",\"a a\",\"aa "  \
    "aa\"" merges "]}"
#define SP_ADDED(more)                                                                                                 \
    "[{\"id\":0,\"content\":\"<unk>\",\"special\":true,\"normalized\":false},{\"id\":1,\"content\":\"<s>\","           \
    "\"special\":true,\"normalized\":false},"                                                                          \
    "{\"id\":2,\"content\":\"</s>\",\"special\":true,\"normalized\":false}" more "]"
#define METASPACE(scheme, split)                                                                                       \
    "{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"" scheme "\",\"split\":" split "}"
#define SP(model, added, normalizer, pre)                                                                              \
    "{\"version\":\"1.0\",\"added_tokens\":" added ",\"normalizer\":" normalizer ",\"pre_tokenizer\":" pre             \
    ",\"post_processor\":null,"                                                                                        \
    "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"first\"},"              \
    "\"model\":" model "}"

static inline struct tokenizer *parse_ok(const char *json)
{
    struct err e = {0};
    struct tokenizer *t = NULL;
    if (tokenizer_parse(str_of(json), "test", &t, &e) < 0)
        fail_msg("%s", e.msg);
    return t;
}

/* The tokenizer of single bytes, <s> in front. */
static inline struct tokenizer *byte_tokenizer(void)
{
    struct buf b = {0};
    struct js *j = bytes_tokenizer();
    js_write(&b, j);
    js_free(j);
    struct tokenizer *t = parse_ok(b.p);
    buf_release(&b);
    return t;
}

/* The ids of the text as "1 2 3". */
static inline const char *ids_text(const struct tokenizer *t, const char *text, bool special)
{
    static char out[4096];
    struct err e = {0};
    struct ids ids = {0};
    size_t n = 0;
    if (tokenizer_encode(t, str_of(text), special, &ids, &e) < 0)
        fail_msg("%s", e.msg);
    out[0] = 0;
    for (size_t i = 0; i < ids.n && n + 16 < sizeof out; i++)
        n += (size_t)snprintf(out + n, sizeof out - n, i ? " %d" : "%d", ids.v[i]);
    ids_release(&ids);
    return out;
}

static inline void same_ids(const struct js *expected, const int32_t *ids, size_t n, const char *what)
{
    bool same = js_len(expected) == n;
    for (size_t i = 0; same && i < n; i++)
        same = js_int(js_at(expected, i), -1) == ids[i];
    if (!same)
        fail_msg("other ids: %s (%zu for %zu)", what, n, js_len(expected));
}

#endif
