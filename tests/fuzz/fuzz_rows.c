/* SPDX-License-Identifier: MIT
 *
 * fuzz_rows: files of rows. The first byte of an input chooses the name (.jsonl, .json, .csv), the rest is the file. It
 * must be read or refused with a message; what is read has a form and labels that keep their promises, and reads back
 * the same after it was written as JSON lines.
 */
#include "driver.h"

#include <unistd.h>

#include "runtime/text/bytes.h"
#include "runtime/text/rows.h"

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

static const char *file(const char *suffix, const void *p, size_t n)
{
    static char dir[] = "/tmp/pkgraph-fuzz-XXXXXX", path[80];
    static bool made;
    if (!made && !mkdtemp(dir))
        exit(1);
    made = true;
    snprintf(path, sizeof path, "%s/x%s", dir, suffix);
    remove(path); /* truncating would make some file systems write the old contents out first */
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0)
        exit(1);
    return path;
}

static void check_row(const struct row *r, struct buf *lines)
{
    struct err e = {0};
    js_write(lines, r->source);
    buf_putc(lines, '\n');
    for (int form = 0; form < 2; form++) {
        for (int on = 0; on < 3; on++) {
            struct encoded x;
            size_t target = 0, max = on == 1 ? 16 : 4096;
            if (row_encode(built_in(), r, (enum text_form)form, (enum train_on)on, max, "</s>", BYTES_EOS, &x, &e) <
                0) {
                if (!e.msg[0])
                    abort();
                continue;
            }
            for (size_t i = 1; i < x.n; i++)
                target += x.trained[i];
            if (x.n > max || x.n_prompt > x.n || target != x.n_target)
                abort();
            encoded_release(&x);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const suffixes[] = {".jsonl", ".json", ".csv", ".txt"};
    struct err e = {0};
    struct rows rows, again;
    struct buf lines = {0};
    size_t count = 0;
    enum row_format found = ROW_AUTO;
    if (n == 0)
        return 0;
    const char *path = file(suffixes[data[0] % 4], data + 1, n - 1);
    int peek = rows_peek(path, ROW_AUTO, &count, &found, &e);
    if (peek < 0 && !e.msg[0])
        abort();
    if (rows_read(path, ROW_AUTO, 0, SIZE_MAX, &rows, &e) < 0) {
        if (!e.msg[0] || rows.n)
            abort();
        return 0;
    }
    if (peek < 0 || count != rows.n || found != rows.format)
        abort();
    for (size_t i = 0; i < rows.n; i++)
        check_row(&rows.v[i], &lines);
    path = file(".jsonl", lines.p, lines.n);
    if (rows_read(path, rows.format, 0, SIZE_MAX, &again, &e) < 0 || again.n != rows.n)
        abort();
    for (size_t i = 0; i < rows.n; i++) {
        if (!js_equal(rows.v[i].source, again.v[i].source))
            abort();
    }
    rows_release(&again);
    rows_release(&rows);
    buf_release(&lines);
    return 0;
}

#ifndef PKG_LIBFUZZER
int main(int argc, char **argv)
{
    static const struct str corpus[] = {
        STR("\0{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
            "\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}],\"id\":\"x\"}\n"),
        STR("\0\xef\xbb\xbf{\"text\":\"one\"}\r\n\r\n{\"text\":\"two\\n\\u0000\xc3\xa9\",\"id\":7}"),
        STR("\1[{\"conversations\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"a\"}],"
            "\"system\":\"S\"}]"),
        STR("\0{\"instruction\":\"i\",\"input\":\"x\",\"output\":\"o\",\"history\":[[\"p\",\"q\"]]}\n{\"instruction\":"
            "\"i\",\"output\":\"o\"}\n"),
        STR("\0{\"prompt\":\"p\",\"completion\":\"c\"}\n"),
        STR("\2instruction,input,output\r\n\"a \"\"b\"\"\",,\"c,\nd\"\r\n\r\nx,y,z"),
        STR("\2text\n\"\"\na\n"),
    };
    static const struct str words[] = {
        STR("\""),
        STR("\"\""),
        STR(","),
        STR("\n"),
        STR("\r\n"),
        STR("{"),
        STR("}"),
        STR("["),
        STR("]"),
        STR(":"),
        STR("null"),
        STR("1e999"),
        STR("-0.0"),
        STR("\\u0000"),
        STR("\\ud800"),
        STR("\"text\":"),
        STR("\"role\":"),
        STR("\"content\":"),
        STR("\"assistant\""),
        STR("\"history\":"),
        STR("</s>"),
        STR("<s>"),
        STR("\xef\xbb\xbf"),
        STR("\xe2\x80\xa8"),
        STR("\xff"),
        STR("text"),
        STR(" "),
        STR("[[[[[[[["),
    };
    int rc = fuzz_main(argc, argv, corpus, sizeof corpus / sizeof *corpus, words, sizeof words / sizeof *words);
    struct err e;
    char *dir = fs_dirname(file("", "", 0));
    int removed = fs_remove_tree(dir, &e);
    free(dir);
    return rc ? rc : removed < 0;
}
#endif
