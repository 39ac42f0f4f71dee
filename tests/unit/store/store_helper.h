/* SPDX-License-Identifier: MIT
 *
 * store_helper: a store in a fresh folder for each test.
 */
#ifndef PKG_TEST_STORE_HELPER_H
#define PKG_TEST_STORE_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/fs.h"
#include "runtime/store/store.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* each test uses a part */

struct fixture {
    char *dir, *store;
    struct store *s;
    struct err e;
};

static void reopen(struct fixture *f)
{
    store_close(f->s);
    f->s = NULL;
    if (store_open(f->store, &f->s, &f->e) != 0)
        fail_msg("%s", f->e.msg);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->dir = strdup("/tmp/pkgtest-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->store = fs_join(f->dir, "store");
    reopen(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->s);
    fs_remove_tree(f->dir, &f->e);
    free(f->dir);
    free(f->store);
    free(f);
    return 0;
}

static char *write_file(struct fixture *f, const char *name, const char *text)
{
    char *path = fs_join(f->dir, name);
    if (fs_write_atomic(path, text, strlen(text), &f->e) != 0)
        fail_msg("%s", f->e.msg);
    return path;
}

static struct digest put_text(struct fixture *f, const char *text)
{
    struct digest d;
    uint64_t bytes;
    char *path = write_file(f, "put", text);
    if (store_put_file(f->s, path, NULL, &d, &bytes, &f->e) != 0)
        fail_msg("%s", f->e.msg);
    assert_int_equal(bytes, strlen(text));
    assert_false(fs_exists(path));
    free(path);
    return d;
}

static char *blob_path(struct fixture *f, const struct digest *d)
{
    char *path = NULL;
    assert_int_equal(store_blob_path(f->s, d, &path, &f->e), 0);
    return path;
}

/* A record of one artifact with two files. */
static struct record *make_record(struct fixture *f, const char *salt)
{
    struct record *r = calloc(1, sizeof *r);
    char text[64];
    r->n_out = 1;
    r->ports = calloc(1, sizeof *r->ports);
    r->out = calloc(1, sizeof *r->out);
    r->ports[0] = strdup("out");
    struct artifact *a = &r->out[0];
    a->type = strdup("text");
    a->desc = js_object();
    js_set(a->desc, "salt", js_new_cstr(salt));
    a->n = 2;
    a->files = calloc(2, sizeof *a->files);
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "%s %d", salt, i);
        a->files[i].name = strdup(i ? "a.txt" : "b.txt");
        a->files[i].digest = put_text(f, text);
        a->files[i].bytes = strlen(text);
    }
    artifact_seal(a);
    sha_bytes(salt, strlen(salt), &r->key);
    r->expanded = js_object();
    js_set(r->expanded, "op", js_new_cstr(salt));
    r->wall = 1.5;
    r->cpu = 2.5;
    r->peak_memory = 42;
    return r;
}

static bool recorded(struct fixture *f, const struct digest *key)
{
    struct record *r = NULL;
    int rc = store_get_record(f->s, key, &r, &f->e);
    assert_true(rc == 0 || rc == ERR_NOTFOUND);
    record_free(r);
    return rc == 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
