/* SPDX-License-Identifier: MIT
 * gguf: what is written reads back; a file cut anywhere is refused; sizes and offsets that lie are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/fs.h"
#include "runtime/formats/gguf.h"

static char dir[] = "/tmp/pkgraph-test-XXXXXX";
static char path[256], other[256];

static int setup(void **state)
{
    (void)state;
    struct err e;
    struct gguf_writer *w;
    uint8_t q[2 * 34];
    float x[64], v[3] = {1, 2, 3};
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof path, "%s/x.gguf", dir);
    snprintf(other, sizeof other, "%s/y.gguf", dir);
    for (int i = 0; i < 64; i++)
        x[i] = (float)i;
    quant_q8_0(q, x, 2);
    int bad = gguf_writer_new(path, &w, &e);
    gguf_put_str(w, "general.architecture", STR("llama"));
    gguf_put_u32(w, "n", 7);
    gguf_put_f32(w, "eps", 1e-5f);
    gguf_put_bool(w, "yes", true);
    gguf_put_strs(w, "names", (struct str[]){STR("a"), STR(""), STR("\xc3\xa9")}, 3);
    gguf_put_i32s(w, "types", (int32_t[]){1, -3}, 2);
    gguf_put_f32s(w, "scores", (float[]){-0.5f, 0.1f}, 2);
    bad |= gguf_declare(w, "m", quant_by_name("Q8_0"), 2, (size_t[]){2, 32}, &e);
    bad |= gguf_declare(w, "v", quant_by_name("F32"), 1, (size_t[]){3}, &e);
    bad |= gguf_write_begin(w, &e);
    bad |= gguf_write(w, q, 10, &e);
    bad |= gguf_write(w, q + 10, sizeof q - 10, &e);
    bad |= gguf_write(w, v, sizeof v, &e);
    bad |= gguf_write_end(w, &e);
    gguf_writer_free(w);
    return bad;
}

static int teardown(void **state)
{
    (void)state;
    struct err e;
    return fs_remove_tree(dir, &e);
}

static void round_trip(void **state)
{
    (void)state;
    struct err e;
    struct gguf *g;
    assert_true(gguf_is(path));
    assert_int_equal(gguf_open(path, &g, &e), 0);
    assert_true(str_is(gguf_str(g, "general.architecture"), "llama"));
    assert_int_equal(gguf_int(g, "n", 0), 7);
    assert_true(gguf_num(g, "eps", 0) == 1e-5); /* not 9.99999974738e-06 */
    assert_true(gguf_bool(g, "yes", false));
    assert_int_equal(gguf_len(g, "names"), 3);
    struct js *j = gguf_value(g, "names", &e);
    assert_string_equal(js_cstr(js_at(j, 2)), "\xc3\xa9");
    js_free(j);
    j = gguf_value(g, "types", &e);
    assert_int_equal(js_int(js_at(j, 1), 0), -3);
    js_free(j);
    j = gguf_value(g, "scores", &e);
    assert_true(js_num(js_at(j, 1), 0) == 0.1);
    js_free(j);
    assert_null(gguf_value(g, "nothing", &e));
    assert_int_equal(e.code, ERR_NOTFOUND);
    assert_int_equal(gguf_count(g), 2);
    const struct gguf_tensor *t = gguf_find(g, "m");
    assert_int_equal(t->ndim, 2);
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->shape[1], 32);
    assert_int_equal(t->bytes, 68);
    assert_int_equal(t->offset % 32, 0);
    float x[64];
    t->type->to_f32(x, t->data, 2);
    assert_true(x[63] > 62.5f && x[63] < 63.5f);
    t = gguf_find(g, "v");
    assert_int_equal(t->shape[0], 3);
    gguf_close(g);
}

static int opens(const char *p, size_t n, struct err *e)
{
    struct gguf *g = NULL;
    assert_int_equal(fs_write_atomic(other, p, n, e), 0);
    memset(e, 0, sizeof *e);
    int rc = gguf_open(other, &g, e);
    gguf_close(g);
    if (rc != 0)
        assert_non_null(strstr(e->msg, other));
    return rc;
}

static void cut_anywhere(void **state)
{
    (void)state;
    struct err e;
    struct buf b = {0};
    assert_int_equal(fs_read(path, 1 << 20, &b, &e), 0);
    size_t needed = b.n - 20; /* the padding behind the last tensor is not missed */
    for (size_t n = 0; n < needed; n += n < 64 ? 1 : 13)
        assert_int_not_equal(opens(b.p, n, &e), 0);
    assert_int_equal(opens(b.p, b.n, &e), 0);
    buf_release(&b);
}

static void replace(struct buf *b, const char *word, size_t skip, uint64_t v, int bytes)
{
    char *at = memmem(b->p, b->n, word, strlen(word));
    assert_non_null(at);
    for (int i = 0; i < bytes; i++)
        at[strlen(word) + skip + (size_t)i] = (char)(v >> 8 * i);
}

static void lies(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        size_t skip;
        uint64_t v;
        int bytes;
        const char *says;
    } cases[] = {
        {"GGUF", 0, 1, 4, "version 1"},
        {"GGUF", 0, 3u << 24, 4, "big-endian"},
        {"GGUF", 4, 1ull << 60, 8, "list of tensors"},
        {"GGUF", 12, 1ull << 60, 8, "metadata"},
        {"names", 8, 1ull << 61, 8, "metadata"},
        {"names", 0, 99, 4, "value type 99"},
        {"names", 4, 9, 4, "value type 9"},
        {"\1\0\0\0\0\0\0\0m", 0, 9, 4, "1 to 4 dimensions"},
        {"\1\0\0\0\0\0\0\0m", 4, 31, 8, "whole blocks"},
        {"\1\0\0\0\0\0\0\0m", 12, 1ull << 62, 8, "does not fit"},
        {"\1\0\0\0\0\0\0\0m", 12, 1 << 20, 8, "beyond the end"},
        {"\1\0\0\0\0\0\0\0m", 20, 4711, 4, "element type 4711"},
        {"\1\0\0\0\0\0\0\0m", 24, 32, 8, "overlaps"},
        {"\1\0\0\0\0\0\0\0m", 24, 7, 8, "alignment"},
        {"\1\0\0\0\0\0\0\0m", 24, 1ull << 63, 8, "beyond the end"},
        {"\1\0\0\0\0\0\0\0", 0, 'v', 1, "twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e;
        struct buf b = {0};
        assert_int_equal(fs_read(path, 1 << 20, &b, &e), 0);
        /* lengths hold NULs: find the name of the tensor by hand */
        if (cases[i].word[0] == 1) {
            char *at = NULL;
            for (char *p = b.p; p + 9 < b.p + b.n; p++)
                if (memcmp(p, "\1\0\0\0\0\0\0\0m\2\0\0\0", 13) == 0)
                    at = p;
            assert_non_null(at);
            for (int k = 0; k < cases[i].bytes; k++)
                at[(cases[i].bytes == 1 ? 8 : 9) + (int)cases[i].skip + k] = (char)(cases[i].v >> 8 * k);
        } else {
            replace(&b, cases[i].word, cases[i].skip, cases[i].v, cases[i].bytes);
        }
        assert_int_not_equal(opens(b.p, b.n, &e), 0);
        if (!strstr(e.msg, cases[i].says))
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, e.msg, cases[i].says);
        buf_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(lies),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
