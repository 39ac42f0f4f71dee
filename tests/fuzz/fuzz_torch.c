/* SPDX-License-Identifier: MIT
 *
 * fuzz_torch: files of torch.save, mutated: pickles inside a whole archive, and the archive itself. Every input must be read
 * or refused, never crash; tensors of an accepted file lie inside it.
 */
#include <unistd.h>

#include "runtime/formats/torch.h"
#include "tests/fuzz/driver.h"

static const char dictionary[] = "\x80\x02}q\0(X\1\0\0\0wq\1ctorch._utils\n_rebuild_tensor_v2\nq\2((X\7\0\0\0storageq\3ctorch\nFloatStorage\nq\4X\1\0\0\0"
                                 "0q\5X\3\0\0\0cpuq\6K\6tq\7QK\0K\2K\3\x86q\x8K\3K\1\x86q\x9\x89" "ccollections\nOrderedDict\nq\x0a)Rq\x0btq\x0cRq\x0du.";
static const char ordered[] = "\x80\x02" "ccollections\nOrderedDict\nq\0)Rq\1X\1\0\0\0ah\1s}q\2X\x9\0\0\0_metadataNsb.";
#define LIT(s) {s, sizeof s - 1}
static const struct str corpus[] = {LIT(dictionary), LIT(ordered)};
static const struct str words[] = {LIT("}"), LIT("("), LIT("u"), LIT("R"), LIT("q\0"), LIT("h\1"), LIT("r\xff\xff\xff\x7f"), LIT("X\xff\xff\xff\xff"),
                                   LIT("K\6"), LIT("\x8a\x8\xff\xff\xff\xff\xff\xff\xff\x7f"), LIT("\x85"), LIT("\x86"), LIT("Q"), LIT("PK\5\6"),
                                   LIT("PK\6\7"), LIT("PK\1\2"), LIT("ctorch\nBFloat16Storage\n"), LIT("]"), LIT("e"), LIT("0")};

static void put(struct buf *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        buf_putc(b, (char)(i < 8 ? v >> 8 * i : 0));
}

/* One stored entry, and its line for the list at the end. */
static void entry(struct buf *zip, struct buf *list, struct str name, struct str data)
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
    put(list, 0, 16);
    put(list, data.n, 4);
    put(list, data.n, 4);
    put(list, name.n, 2);
    put(list, 0, 12);
    put(list, at, 4);
    buf_str(list, name);
}

static void archive(struct buf *zip, struct str pickle)
{
    static const char storage[24];
    struct buf list = {0};
    entry(zip, &list, STR("m/data.pkl"), pickle);
    entry(zip, &list, STR("m/data/0"), (struct str){storage, sizeof storage});
    size_t at = zip->n;
    buf_str(zip, buf_view(&list));
    buf_puts(zip, "PK\5\6");
    put(zip, 0, 4);
    put(zip, 2, 2);
    put(zip, 2, 2);
    put(zip, list.n, 4);
    put(zip, at, 4);
    put(zip, 0, 2);
    buf_release(&list);
}

static void one(const char *path, struct str data)
{
    struct err e = {0};
    struct torch_file *t = NULL;
    unlink(path); /* a new file: writing over one would wait for the disk */
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data.p, 1, data.n, f) != data.n || fclose(f) != 0)
        exit(1);
    if (torch_open(path, &t, &e) == 0) {
        unsigned char sum = 0;
        for (size_t i = 0; i < torch_count(t); i++) {
            const struct tensor *x = torch_at(t, i);
            if (x->offset > data.n || x->bytes > data.n - x->offset)
                abort();
            for (size_t k = 0; k < x->bytes; k++)
                sum ^= ((const unsigned char *)x->data)[k];
        }
        volatile unsigned char keep = sum;
        (void)keep;
    } else if (!e.msg[0]) {
        abort();
    }
    torch_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static char path[64];
    struct buf zip = {0};
    struct str pickle = {(const char *)data, n};
    if (!path[0])
        snprintf(path, sizeof path, "/tmp/pkgraph-fuzz-torch-%ld", (long)getpid());
    archive(&zip, pickle);
    one(path, buf_view(&zip));
    for (size_t i = 0; i < n && i < 4; i++) /* the archive, damaged where the input says */
        zip.p[(data[i] * 7919u + i * 104729u) % zip.n] ^= (char)(1 << data[n - 1 - i] % 8);
    one(path, buf_view(&zip));
    one(path, pickle);
    buf_release(&zip);
    unlink(path);
    return 0;
}

#ifndef PKG_LIBFUZZER
int main(int argc, char **argv)
{
    return fuzz_main(argc, argv, corpus, sizeof corpus / sizeof *corpus, words, sizeof words / sizeof *words);
}
#endif
