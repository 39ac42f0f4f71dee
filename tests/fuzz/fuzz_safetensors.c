/* SPDX-License-Identifier: MIT
 *
 * fuzz_safetensors: headers of safetensors files, mutated. Every input must be read or refused, never crash; a file that is
 * accepted must keep its promises (tensors inside the file). With a file as argument: that input once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/base/rng.h"
#include "runtime/formats/safetensors.h"

static const char *const corpus[] = {
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
    ("{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"BF16\",\"shape\":[2,2],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[8,16]}}"),
    "{\"a\":{\"dtype\":\"I64\",\"shape\":[0,3],\"data_offsets\":[0,0]}}",
    "{}",
};

static void one(const char *path, const void *p, size_t n)
{
    struct err e = {0};
    struct st_file *f = NULL;
    if (fs_write_atomic(path, p, n, &e) != 0)
        exit(1);
    if (st_open(path, &f, &e) == 0) {
        unsigned char sum = 0;
        for (size_t i = 0; i < st_count(f); i++) {
            const struct tensor *t = st_at(f, i);
            if (t->offset > n || t->bytes > n - t->offset)
                abort();
            for (size_t k = 0; k < t->bytes; k++)
                sum ^= ((const unsigned char *)t->data)[k];
        }
        volatile unsigned char keep = sum;
        (void)keep;
        st_close(f);
    } else if (!e.msg[0])
        abort();
    if (st_open_header(path, &f, &e) == 0)
        st_close(f);
}

static size_t mutate(char *p, size_t n, size_t cap, uint64_t seed)
{
    static const char bits[] = "0123456789[]{},:\"-eF";
    for (uint64_t k = 0; k < 1 + rng_below(seed, 1, 0, 4); k++) {
        size_t at = n ? (size_t)rng_below(seed, 2, k, n) : 0;
        switch (rng_below(seed, 3, k, 4)) {
        case 0:
            if (n)
                p[at] = (char)rng_below(seed, 4, k, 256);
            break;
        case 1:
            if (n)
                p[at] = bits[rng_below(seed, 5, k, sizeof bits - 1)];
            break;
        case 2:
            if (n) {
                memmove(p + at, p + at + 1, n - at - 1);
                n--;
            }
            break;
        default:
            if (n < cap) {
                memmove(p + at + 1, p + at, n - at);
                p[at] = bits[rng_below(seed, 6, k, sizeof bits - 1)];
                n++;
            }
        }
    }
    return n;
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/pkgraph-fuzz-XXXXXX", path[64];
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof path, "%s/x", dir);
    struct err e;
    if (argc > 1) {
        struct buf b = {0};
        if (fs_read(argv[1], 1 << 26, &b, &e) == 0)
            one(path, b.p, b.n);
        buf_release(&b);
    }
    time_t end = time(NULL) + (argc > 1 ? 0 : 3);
    for (uint64_t seed = 0; time(NULL) < end; seed++) {
        const char *text = corpus[rng_below(seed, 0, 0, sizeof corpus / sizeof *corpus)];
        char p[1024] = {0};
        uint64_t n = strlen(text);
        memcpy(p + 8, text, n);
        size_t m = mutate(p + 8, (size_t)n, 512, seed);
        uint64_t len = rng_below(seed, 7, 0, 8) ? m : rng_u64(seed, 8, 0) >> rng_below(seed, 9, 0, 64);
        memcpy(p, &len, 8);
        one(path, p, 8 + m + (size_t)rng_below(seed, 10, 0, 24));
    }
    return fs_remove_tree(dir, &e) == 0 ? 0 : 1;
}
