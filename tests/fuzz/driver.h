/* SPDX-License-Identifier: MIT
 *
 * driver: runs LLVMFuzzerTestOneInput over a built-in corpus and mutations of it for three seconds: bytes, words of the
 * format, pieces of other inputs. Compiled with -fsanitize=fuzzer -DPKG_LIBFUZZER there is no main, and libFuzzer
 * drives. With files as arguments: those inputs once. NAME -s SEED [SECONDS]: another run of mutations; NAME -n SEED COUNT:
 * so many inputs. No input may make the parser ask for more memory at once than four times its size and FUZZ_ROOM: sizes that
 * stand in a file are not to be believed.
 */
#ifndef PKG_TEST_FUZZ_DRIVER_H
#define PKG_TEST_FUZZ_DRIVER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/fs.h"
#include "runtime/base/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#ifndef PKG_LIBFUZZER
enum { FUZZ_MAX = 8192 };
#ifndef FUZZ_ROOM
#define FUZZ_ROOM ((size_t)1 << 20) /* tables of a fixed size */
#endif

static size_t fuzz_cap; /* 0: not watching */

static void fuzz_watch(const volatile void *p, size_t bytes)
{
    (void)p;
    if (fuzz_cap && bytes > fuzz_cap) {
        size_t cap = fuzz_cap;
        fuzz_cap = 0;
        fprintf(stderr, "an allocation of %zu bytes for an input that allows %zu\n", bytes, cap);
        abort();
    }
}

#if defined(__has_feature)
#define FUZZ_CLANG_ASAN __has_feature(address_sanitizer)
#else
#define FUZZ_CLANG_ASAN 0
#endif
#if defined(__SANITIZE_ADDRESS__) || (FUZZ_CLANG_ASAN)
int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void *, size_t), void (*freed)(const volatile void *));
static void fuzz_freed(const volatile void *p)
{
    (void)p;
}
static void fuzz_hooks(void)
{
    __sanitizer_install_malloc_and_free_hooks(fuzz_watch, fuzz_freed);
}
#elif defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
static void fuzz_hooks(void)
{
}
#else /* in place of the C library's, for all libraries of the process */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t each);
void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n)
{
    fuzz_watch(NULL, n);
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t each)
{
    fuzz_watch(NULL, each && n > SIZE_MAX / each ? SIZE_MAX : n * each);
    return __libc_calloc(n, each);
}
void *realloc(void *p, size_t n)
{
    fuzz_watch(NULL, n);
    return __libc_realloc(p, n);
}
static void fuzz_hooks(void)
{
}
#endif

static void fuzz_one(const char *p, size_t n)
{
    fuzz_cap = 4 * n + FUZZ_ROOM;
    LLVMFuzzerTestOneInput((const uint8_t *)p, n);
    fuzz_cap = 0;
}

/* Replaces p[at, at + gone) by s; returns the new length. */
static size_t splice(char *p, size_t n, size_t at, size_t gone, const char *s, size_t k)
{
    if (n - gone + k > FUZZ_MAX)
        return n;
    memmove(p + at + k, p + at + gone, n - at - gone);
    memcpy(p + at, s, k);
    return n - gone + k;
}

static size_t mutate(char *p, size_t n, const struct str *corpus, size_t n_corpus, const struct str *words,
                     size_t n_words, uint64_t seed)
{
    for (uint64_t k = 0; k < 1 + rng_below(seed, 1, 0, 4); k++) {
        size_t at = (size_t)rng_below(seed, 2, k, n + 1), left = n - at;
        size_t gone = left ? (size_t)rng_below(seed, 3, k, left < 16 ? left + 1 : 16) : 0;
        char byte = (char)rng_below(seed, 4, k, 256);
        struct str s = {&byte, 1};
        switch (rng_below(seed, 5, k, 5)) {
        case 0:
            gone = left > 0;
            break;
        case 1:
            s.n = 0;
            break;
        case 2:
            s = words[rng_below(seed, 6, k, n_words)];
            break;
        case 3:
            s = words[rng_below(seed, 7, k, n_words)];
            gone = 0;
            break;
        default: {
            struct str other = corpus[rng_below(seed, 8, k, n_corpus)];
            size_t from = (size_t)rng_below(seed, 9, k, other.n + 1);
            s = (struct str){other.p + from, (size_t)rng_below(seed, 10, k, other.n - from + 1)};
            gone = rng_below(seed, 11, k, 2) ? left : gone;
        }
        }
        n = splice(p, n, at, gone, s.p, s.n);
    }
    return n;
}

static int fuzz_main(int argc, char **argv, const struct str *corpus, size_t n_corpus, const struct str *words,
                     size_t n_words)
{
    static char p[FUZZ_MAX];
    fuzz_hooks();
    bool counted = argc > 3 && strcmp(argv[1], "-n") == 0, seeded = counted || (argc > 2 && strcmp(argv[1], "-s") == 0);
    uint64_t seed = seeded ? strtoull(argv[2], NULL, 10) << 32 : 0, runs = 0;
    for (int i = 1; i < argc && !seeded; i++) {
        struct buf b = {0};
        struct err e;
        if (fs_read(argv[i], (size_t)1 << 26, &b, &e) < 0)
            return 1;
        fuzz_one(b.p, b.n);
        buf_release(&b);
    }
    if (argc > 1 && !seeded)
        return 0;
    for (size_t i = 0; i < n_corpus; i++)
        fuzz_one(corpus[i].p, corpus[i].n);
    time_t end = time(NULL) + (seeded && argc > 3 ? atoi(argv[3]) : 3);
    uint64_t most = counted ? strtoull(argv[3], NULL, 10) : UINT64_MAX;
    for (; runs < most && (counted || time(NULL) < end); seed++, runs++) {
        struct str s = corpus[rng_below(seed, 0, 0, n_corpus)];
        memcpy(p, s.p, s.n);
        size_t n = mutate(p, s.n, corpus, n_corpus, words, n_words, seed);
        char *exact = malloc(n ? n : 1); /* so that reading past the end is seen */
        if (!exact)
            return 1;
        memcpy(exact, p, n);
        fuzz_one(exact, n);
        free(exact);
    }
    printf("%llu inputs\n", (unsigned long long)runs);
    return 0;
}
#endif

#endif
