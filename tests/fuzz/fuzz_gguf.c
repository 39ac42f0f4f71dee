/* SPDX-License-Identifier: MIT
 *
 * fuzz_gguf: GGUF files, mutated. Every input must be read or refused, never crash; a file that is accepted must keep its
 * promises: tensors inside the file, values of every key, tensors of quantised types expanded whole.
 */
#include <unistd.h>

#include "runtime/formats/gguf.h"
#include "runtime/model/gguf_model.h"
#include "tests/fuzz/driver.h"

#define U32(a) a "\0\0\0"
#define U64(a) a "\0\0\0\0\0\0\0"
#define HEAD(version, tensors, keys) "GGUF" U32(version) U64(tensors) U64(keys)
#define S(n, text) U64(n) text

static const char one_tensor[] = HEAD("\3", "\1", "\1") S("\x14", "general.architecture") U32("\x8") S("\5", "llama") S("\1", "w") U32("\1")
    U64("\x20") U32("\2") U64("\0") "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
static const char tokens[] = HEAD("\2", "\0", "\3") S("\x15", "tokenizer.ggml.tokens") U32("\x9") U32("\x8") U64("\3") S("\1", "a") S("\1", "b")
    S("\2", "ab") S("\x14", "tokenizer.ggml.model") U32("\x8") S("\4", "gpt2") S("\x15", "tokenizer.ggml.merges") U32("\x9") U32("\x8")
    U64("\1") S("\3", "a b");
static const char scores[] = HEAD("\3", "\0", "\4") S("\x15", "tokenizer.ggml.tokens") U32("\x9") U32("\x8") U64("\2") S("\1", "a") S("\2", "aa")
    S("\x15", "tokenizer.ggml.scores") U32("\x9") U32("\x6") U64("\2") "\0\0\0\0\0\0\0\0" S("\x14", "tokenizer.ggml.model") U32("\x8")
    S("\5", "llama") S("\1", "k") U32("\xa") "\xff\xff\xff\xff\xff\xff\xff\xff";

#define LIT(s) {s, sizeof s - 1}
static const struct str corpus[] = {LIT(one_tensor), LIT(tokens), LIT(scores)};
static const struct str words[] = {LIT(U32("\1")), LIT(U32("\x8")), LIT(U32("\x9")), LIT(U32("\xc")), LIT(U64("\1")), LIT(U64("\x40")),
                                   LIT("\xff\xff\xff\xff\xff\xff\xff\xff"), LIT("\xff\xff\xff\x7f"), LIT("GGUF"), LIT("general.alignment")};

static void visit(const struct gguf *g, size_t n)
{
    struct err e = {0};
    float x[300];
    for (size_t i = 0; i < gguf_count(g); i++) {
        const struct gguf_tensor *t = gguf_at(g, i);
        if (t->offset > n || t->bytes > n - t->offset || gguf_find(g, t->name) != t)
            abort();
        struct packing p = {t->type, t->data, 0};
        struct tensor u = {.name = t->name, .ndim = 1, .shape = {t->n}, .n = t->n, .packed = &p};
        if (t->type->to_f32 && tensor_to_f32(x, &u, 0, t->n < 300 ? t->n : 300) != 0)
            abort();
    }
    static const char *const keys[] = {"general.architecture", "tokenizer.ggml.tokens", "tokenizer.ggml.scores", "k", "tokenizer.ggml.merges"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct js *j = gguf_value(g, keys[i], &e);
        if (!j && e.code != ERR_NOTFOUND)
            abort();
        js_free(j);
    }
    struct js *j = gguf_tokenizer(g, &e);
    js_free(j);
    j = gguf_config(g, &e);
    js_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static char path[64];
    struct err e = {0};
    struct gguf *g = NULL;
    if (!path[0])
        snprintf(path, sizeof path, "/tmp/pkgraph-fuzz-gguf-%ld", (long)getpid());
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0)
        exit(1);
    if (gguf_open(path, &g, &e) == 0)
        visit(g, n);
    else if (!e.msg[0])
        abort();
    gguf_close(g);
    unlink(path);
    return 0;
}

#ifndef PKG_LIBFUZZER
int main(int argc, char **argv)
{
    return fuzz_main(argc, argv, corpus, sizeof corpus / sizeof *corpus, words, sizeof words / sizeof *words);
}
#endif
