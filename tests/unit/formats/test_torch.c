/* SPDX-License-Identifier: MIT
 * torch: archives as torch.save writes them, made here byte by byte; what is not a dictionary of tensors is refused, and
 * says what it asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/buf.h"
#include "runtime/base/fs.h"
#include "runtime/formats/torch.h"

static char dir[] = "/tmp/pkgraph-test-XXXXXX";
static char path[256];

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/x.bin", mkdtemp(dir));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    struct err e;
    return fs_remove_tree(dir, &e);
}

static void put(struct buf *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        buf_putc(b, (char)(i < 8 ? v >> 8 * i : 0));
}

static void entry(struct buf *zip, struct buf *list, struct str name, struct str data, int method)
{
    size_t at = zip->n;
    buf_puts(zip, "PK\3\4");
    put(zip, 0, 14);
    put(zip, data.n, 4);
    put(zip, data.n, 4);
    put(zip, name.n, 2);
    put(zip, 0, 2);
    buf_str(zip, name);
    buf_str(zip, data);
    buf_puts(list, "PK\1\2");
    put(list, 0, 6);
    put(list, (uint64_t)method, 2);
    put(list, 0, 8);
    put(list, data.n, 4);
    put(list, data.n, 4);
    put(list, name.n, 2);
    put(list, 0, 12);
    put(list, at, 4);
    buf_str(list, name);
}

/* An archive with this pickle and one storage of six floats, 1 to 6. */
static int open_with(struct str pickle, int method, struct torch_file **t, struct err *e)
{
    static const float six[6] = {1, 2, 3, 4, 5, 6};
    struct buf zip = {0}, list = {0};
    entry(&zip, &list, STR("archive/data.pkl"), pickle, 0);
    entry(&zip, &list, STR("archive/byteorder"), STR("little"), 0);
    entry(&zip, &list, STR("archive/data/0"), (struct str){(const char *)six, sizeof six}, method);
    size_t at = zip.n;
    buf_str(&zip, buf_view(&list));
    buf_puts(&zip, "PK\5\6");
    put(&zip, 0, 4);
    put(&zip, 3, 2);
    put(&zip, 3, 2);
    put(&zip, list.n, 4);
    put(&zip, at, 4);
    put(&zip, 0, 2);
    assert_int_equal(fs_write_atomic(path, zip.p, zip.n, e), 0);
    buf_release(&zip);
    buf_release(&list);
    *t = NULL;
    return torch_open(path, t, e);
}

#define LIT(s) ((struct str){s, sizeof s - 1})
#define STORAGE "((X\7\0\0\0storageq\3ctorch\nFloatStorage\nq\4X\1\0\0\0" "0q\5X\3\0\0\0cpuq\6K\6tq\7Q"
#define REST "\x89" "ccollections\nOrderedDict\nq\x0a)Rq\x0btq\x0cR"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\nq\2"
#define NAME "X\1\0\0\0wq\1"

static void tensors(void **state)
{
    (void)state;
    struct err e;
    struct torch_file *t;
    /* {"w": 2 x 2 from the third element on, "n": 3} in an OrderedDict with _metadata */
    int rc = open_with(LIT("\x80\x02" "ccollections\nOrderedDict\nq\0)R(" NAME REBUILD STORAGE "K\2K\2K\2\x86K\2K\1\x86" REST
                           "X\1\0\0\0nK\3u}q\x20X\x9\0\0\0_metadata}sb."), 0, &t, &e);
    if (rc != 0)
        fail_msg("%s", e.msg);
    assert_true(torch_is(path));
    assert_int_equal(torch_count(t), 1);
    const struct tensor *w = torch_at(t, 0);
    float x[4];
    assert_string_equal(w->name, "w");
    assert_int_equal(w->dtype, DT_F32);
    assert_int_equal(w->ndim, 2);
    assert_int_equal(w->n, 4);
    memcpy(x, w->data, sizeof x);
    assert_true(x[0] == 3 && x[3] == 6);
    torch_close(t);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        struct str pickle;
        int method;
        const char *says;
    } cases[] = {
        {LIT("\x80\x02}" NAME "cos\nsystem\nX\2\0\0\0ls\x85Rs."), 0, "os.system"},
        {LIT("\x80\x02}" NAME REBUILD STORAGE "K\0K\2K\3\x86K\1K\2\x86" REST "s."), 0, "row by row"},
        {LIT("\x80\x02}" NAME REBUILD STORAGE "K\1K\2K\3\x86K\3K\1\x86" REST "s."), 0, "beyond its storage"},
        {LIT("\x80\x02}" NAME REBUILD STORAGE "K\0K\2K\3\x86K\3K\1\x86" REST "s."), 8, "compressed"},
        {LIT("\x80\x02}" NAME REBUILD STORAGE "K\0K\2K\3\x86K\3" "\x85" REST "s."), 0, "differ in length"},
        {LIT("\x80\x02K\1."), 0, "no dictionary"},
        {LIT("\x80\x02}h\7."), 0, "never set"},
        {LIT("\x80\x02}q"), 0, "ends in the middle"},
        {LIT("\x80\x04}."), 0, "another protocol"},
        {LIT("\x80\x02I1\n."), 0, "instruction 0x49"},
        {LIT("\x80\x02R."), 0, "stack is empty"},
        {LIT("\x80\x02}(u(t."), 0, "no dictionary"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e;
        struct torch_file *t;
        assert_int_not_equal(open_with(cases[i].pickle, cases[i].method, &t, &e), 0);
        if (!strstr(e.msg, cases[i].says) || !strstr(e.msg, path))
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, e.msg, cases[i].says);
    }
}

static void the_old_form_is_named(void **state)
{
    (void)state;
    static const char old[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
    struct err e;
    struct torch_file *t;
    assert_int_equal(fs_write_atomic(path, old, sizeof old - 1, &e), 0);
    assert_true(torch_is(path));
    assert_int_equal(torch_open(path, &t, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "before PyTorch 1.6"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors),
        cmocka_unit_test(refused),
        cmocka_unit_test(the_old_form_is_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
