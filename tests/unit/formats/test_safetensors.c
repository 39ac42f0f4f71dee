/* SPDX-License-Identifier: MIT
 * safetensors: what is written reads back; every kind of damage is refused with the file's and the tensor's name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/fs.h"
#include "runtime/formats/hub.h"
#include "runtime/formats/safetensors.h"

static char dir[] = "/tmp/pkgraph-test-XXXXXX";
static char path[256];

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/x.safetensors", mkdtemp(dir));
    return 0;
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
    struct err e = {0};
    struct st_writer *w;
    float b[6] = {1, 2, 3, 4, 5, 6};
    uint16_t a[2] = {0x3f80, 0x4000};
    assert_int_equal(st_writer_new(path, &w, &e), 0);
    assert_int_equal(st_declare(w, "b", DT_F32, 2, (size_t[]){2, 3}, &e), 0);
    assert_int_equal(st_declare(w, "a", DT_BF16, 1, (size_t[]){2}, &e), 0);
    assert_int_equal(st_declare(w, "empty", DT_F32, 2, (size_t[]){0, 3}, &e), 0);
    assert_int_equal(st_write_begin(w, &e), 0);
    assert_false(fs_exists(path));
    assert_int_equal(st_write_at(w, "b", 4, b + 1, 20, &e), 0);
    assert_int_equal(st_write_at(w, "b", 0, b, 4, &e), 0);
    assert_int_equal(st_write_at(w, "b", 20, b, 8, &e), ERR_INTERNAL);
    assert_int_equal(st_write_at(w, "a", 0, a, 4, &e), 0);
    assert_int_equal(st_write_end(w, &e), 0);
    st_writer_free(w);
    struct st_file *f;
    assert_int_equal(st_open(path, &f, &e), 0);
    assert_int_equal(st_count(f), 3);
    assert_string_equal(st_at(f, 0)->name, "a");
    const struct tensor *t = st_find(f, "b");
    assert_memory_equal(t->data, b, 24);
    assert_int_equal(t->shape[1], 3);
    assert_null(st_find(f, "c"));
    st_close(f);
    assert_int_equal(st_open_header(path, &f, &e), 0);
    assert_null(st_find(f, "b")->data);
    st_close(f);
}

/* Pieces of every size, those that are gathered and those that are not, in turn. */
static void pieces(void **state)
{
    (void)state;
    enum { N = 300000 };
    static const size_t sizes[] = {1, 70000, 1000, 65535, 65536, 3, 65537};
    struct err e = {0};
    struct st_writer *w;
    struct st_file *f;
    uint8_t *x = malloc(N);
    for (size_t i = 0; i < N; i++)
        x[i] = (uint8_t)(i * 2654435761u >> 13);
    assert_int_equal(st_writer_new(path, &w, &e), 0);
    st_writer_unsynced(w);
    assert_int_equal(st_declare(w, "x", DT_U8, 1, (size_t[]){N}, &e), 0);
    assert_int_equal(st_write_begin(w, &e), 0);
    for (size_t at = 0, i = 0, n; at < N; at += n, i++) {
        n = sizes[i % (sizeof sizes / sizeof *sizes)];
        n = n < N - at ? n : N - at;
        assert_int_equal(st_write(w, x + at, n, &e), 0);
    }
    assert_int_equal(st_write_end(w, &e), 0);
    st_writer_free(w);
    assert_int_equal(st_open(path, &f, &e), 0);
    assert_int_equal(st_find(f, "x")->bytes, N);
    assert_memory_equal(st_find(f, "x")->data, x, N);
    st_close(f);
    free(x);
}

/* Tensors finished in the order of declaration, in another, and written one after the other: in the file as declared, found by name, and
 * the digest is the file's. */
static void digest_follows(void **state)
{
    (void)state;
    enum { N = 600000 };
    static const char *const names[] = {"z", "m", "a", "q"};
    for (int how = 0; how < 3; how++) {
        struct err e = {0};
        struct st_writer *w;
        struct st_file *f;
        struct digest want, got;
        uint8_t *x = malloc(N);
        assert_int_equal(st_writer_new(path, &w, &e), 0);
        st_writer_follow(w);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(st_declare(w, names[i], DT_U8, 1, (size_t[]){N}, &e), 0);
        assert_int_equal(st_write_begin(w, &e), 0);
        assert_false(st_writer_digest(w, &got));
        for (size_t k = 0; k < 4; k++) {
            size_t i = how == 1 ? 3 - k : k;
            memset(x, (int)i + 1, N);
            assert_string_equal(st_writer_at(w, i)->name, names[i]);
            assert_int_equal(how == 2 ? st_write(w, x, N, &e) : st_write_at(w, names[i], 0, x, N, &e), 0);
            if (how < 2)
                st_writer_final(w, names[i]);
        }
        assert_int_equal(st_write_end(w, &e), 0);
        assert_true(st_writer_digest(w, &got));
        st_writer_free(w);
        assert_int_equal(sha_file(path, &want, NULL, &e), 0);
        assert_int_equal(digest_cmp(&got, &want), 0);
        assert_int_equal(st_open(path, &f, &e), 0);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(((const uint8_t *)st_find(f, names[i])->data)[N - 1], i + 1);
        assert_true(st_find(f, "z")->offset < st_find(f, "a")->offset);
        st_close(f);
        free(x);
    }
}

static void what_is_not_written_is_zero(void **state)
{
    (void)state;
    struct err e = {0};
    struct st_writer *w;
    struct st_file *f;
    assert_int_equal(st_writer_new(path, &w, &e), 0);
    st_writer_follow(w);
    assert_int_equal(st_declare(w, "x", DT_U8, 1, (size_t[]){4}, &e), 0);
    assert_int_equal(st_declare(w, "a", DT_U8, 1, (size_t[]){3}, &e), 0);
    assert_int_equal(st_write_begin(w, &e), 0);
    assert_int_equal(st_write_at(w, "x", 0, "full", 4, &e), 0);
    assert_int_equal(st_write_end(w, &e), 0);
    st_writer_free(w);
    assert_int_equal(st_open(path, &f, &e), 0);
    assert_memory_equal(st_find(f, "a")->data, "\0\0\0", 3);
    st_close(f);
}

static void an_unfinished_writer_leaves_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    struct st_writer *w;
    unlink(path);
    assert_int_equal(st_writer_new(path, &w, &e), 0);
    assert_int_equal(st_declare(w, "a", DT_F32, 1, (size_t[]){4}, &e), 0);
    assert_int_equal(st_write_begin(w, &e), 0);
    assert_int_equal(st_write_end(w, &e), ERR_INTERNAL);
    st_writer_free(w);
    char **names;
    size_t n;
    assert_int_equal(fs_list(dir, &names, &n, &e), 0);
    assert_int_equal(n, 0);
    fs_list_free(names, n);
}

static void refuse(const char *header, size_t data, const char *expected)
{
    struct err e = {0};
    struct buf b = {0};
    uint64_t n = strlen(header);
    buf_put(&b, &n, 8);
    buf_puts(&b, header);
    for (size_t i = 0; i < data; i++)
        buf_putc(&b, 0);
    assert_int_equal(fs_write_atomic(path, b.p, b.n, &e), 0);
    buf_release(&b);
    struct st_file *f = NULL, *g = NULL;
    assert_true(st_open(path, &f, &e) < 0);
    if (!strstr(e.msg, expected) || !strstr(e.msg, "x.safetensors"))
        fail_msg("\"%s\" does not say \"%s\"", e.msg, expected);
    assert_true(st_open_header(path, &g, &e) < 0);
    assert_null(f);
    assert_null(g);
}

static void damage_is_refused(void **state)
{
    (void)state;
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "truncated");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 12, "follow the last tensor");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "product");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
           12, "overlaps");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}",
           16, "hole");
    refuse("{\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "F4");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "shape");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "shape");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "shape");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "bytes 8..0");
    refuse("{\"a\":[1]}", 0, "entry");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},", 8, "JSON");
    refuse("  {}", 0, "not a safetensors file");
    struct err e = {0};
    struct st_file *f;
    assert_int_equal(fs_write_atomic(path, "\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10, &e), 0);
    assert_int_equal(st_open(path, &f, &e), ERR_INPUT);
    assert_int_equal(fs_write_atomic(path, "abc", 3, &e), 0);
    assert_int_equal(st_open(path, &f, &e), ERR_INPUT);
    assert_int_equal(st_open_header(path, &f, &e), ERR_INPUT);
}

static void hub_names(void **state)
{
    (void)state;
    struct err e = {0};
    char *found = NULL, cache[300], snapshot[400], ref[400];
    snprintf(cache, sizeof cache, "%s/hub", dir);
    snprintf(snapshot, sizeof snapshot, "%s/models--org--name/snapshots/abc123", cache);
    snprintf(ref, sizeof ref, "%s/models--org--name/refs", cache);
    setenv("HF_HUB_CACHE", cache, 1);
    assert_int_equal(fs_mkdirs(snapshot, &e), 0);
    assert_int_equal(fs_mkdirs(ref, &e), 0);
    strcat(ref, "/main");
    assert_int_equal(fs_write_atomic(ref, "abc123\n", 7, &e), 0);
    assert_int_equal(hub_find("org/name", &found, &e), 0);
    assert_string_equal(found, snapshot);
    free(found);
    assert_int_equal(hub_find("org/name@abc123", &found, &e), 0);
    free(found);
    assert_int_equal(hub_find("org/other", &found, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "hf download org/other"));
    assert_int_equal(hub_find("name", &found, &e), ERR_INPUT);
    assert_int_equal(hub_find("a/../../b", &found, &e), ERR_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(pieces), cmocka_unit_test(digest_follows), cmocka_unit_test(what_is_not_written_is_zero),
        cmocka_unit_test(an_unfinished_writer_leaves_nothing), cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(hub_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
