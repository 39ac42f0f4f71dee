/* SPDX-License-Identifier: MIT
 *
 * bench checkpoint: a Hugging Face folder in the layer shapes of a large model, with as many of its layers as the disk holds:
 * bf16, one file a layer, an index, and the tokenizer of bytes. For measuring what one layer takes where the whole model
 * does not fit. The weights are normal numbers of deviation 0.02 (one block of them, at another offset in every tensor), norms
 * are one; what such a model says means nothing.
 *
 *   bench FOLDER LAYERS [HIDDEN FFN HEADS KV_HEADS VOCABULARY]      Llama-2-13B: 5120 13824 40 40 32000
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/buf.h"
#include "runtime/base/fs.h"
#include "runtime/base/json.h"
#include "runtime/base/rng.h"
#include "runtime/formats/safetensors.h"
#include "runtime/model/config.h"
#include "runtime/text/bytes.h"

enum { BLOCK = 1 << 22, PIECE = 1 << 20 };

struct work {
    const char *dir;
    struct js *json, *map;
    struct model_config c;
    uint16_t *block; /* 2 * BLOCK: the block twice, so that any offset has BLOCK numbers behind it */
    double bytes;
};

static int fill_block(struct work *w, struct err *e)
{
    float *x = malloc(BLOCK * sizeof *x);
    w->block = malloc(2 * BLOCK * sizeof *w->block);
    if (!x || !w->block) {
        free(x);
        return err_nomem(e, 8 * BLOCK, "random numbers");
    }
    rng_fill_normal(x, BLOCK, 0.02, 13, 1);
    dtype_from_f32(w->block, DT_BF16, x, BLOCK);
    memcpy(w->block + BLOCK, w->block, BLOCK * sizeof *w->block);
    free(x);
    return 0;
}

static int write_tensor(struct work *w, struct st_writer *out, const struct tensor *t, struct err *e)
{
    size_t offset = (size_t)rng_below(13, rng_stream(13, t->name), 0, BLOCK);
    bool norm = t->ndim == 1;
    uint16_t one[PIECE / 64];
    for (size_t i = 0; norm && i < sizeof one / sizeof *one; i++)
        one[i] = 0x3f80;
    size_t step = norm ? sizeof one / sizeof *one : PIECE;
    for (size_t i = 0; i < t->n; i += step) {
        size_t n = t->n - i < step ? t->n - i : step;
        const uint16_t *x = norm ? one : w->block + (offset + i) % BLOCK;
        int rc = st_write(out, x, n * sizeof *x, e);
        if (rc)
            return rc;
    }
    w->bytes += (double)t->bytes;
    return 0;
}

/* The parameters of a layer, or (-1) those outside of the layers, in one file. */
static int write_file(struct work *w, int layer, struct err *e)
{
    char name[PARAM_NAME_MAX], file[64];
    struct st_writer *out = NULL;
    int n = w->c.num_hidden_layers + 1, rc;
    snprintf(file, sizeof file, "model-%05d-of-%05d.safetensors", layer + 2, n);
    char *path = fs_join(w->dir, file);
    rc = path ? st_writer_new(path, &out, e) : err_nomem(e, 4096, "a path");
    for (int m = 0; m < MOD_COUNT && !rc; m++) {
        size_t shape[2];
        bool outside = m == MOD_EMBED || m == MOD_HEAD || m == MOD_NORM;
        if (outside != (layer < 0))
            continue;
        module_shape(&w->c, (enum module)m, &shape[0], &shape[1]);
        param_name(name, layer, (enum module)m, false);
        rc = st_declare(out, name, DT_BF16, shape[1] == 1 ? 1 : 2, shape, e);
        js_set(w->map, name, js_new_cstr(file));
    }
    if (!rc)
        rc = st_write_begin(out, e);
    for (size_t i = 0; !rc && i < st_writer_count(out); i++)
        rc = write_tensor(w, out, st_writer_at(out, i), e);
    if (!rc)
        rc = st_write_end(out, e);
    st_writer_free(out);
    free(path);
    return rc;
}

static int save(const struct work *w, const char *name, struct js *j, struct err *e)
{
    char *path = fs_join(w->dir, name);
    int rc = path && j ? js_save(path, j, e) : err_nomem(e, 4096, name);
    free(path);
    js_free(j);
    return rc;
}

static int config(struct work *w, int argc, char **argv, struct err *e)
{
    static const char *const names[] = {"hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "vocab_size"};
    static const int thirteen[] = {5120, 13824, 40, 40, 32000};
    w->json = js_object();
    w->map = js_object();
    for (int i = 0; i < 5; i++)
        js_set(w->json, names[i], js_new_int(argc > 3 + i ? atoi(argv[3 + i]) : thirteen[i]));
    js_set(w->json, "model_type", js_new_cstr("llama"));
    js_set(w->json, "num_hidden_layers", js_new_int(atoi(argv[2])));
    js_set(w->json, "rms_norm_eps", js_new_num(1e-5));
    js_set(w->json, "max_position_embeddings", js_new_int(4096));
    js_set(w->json, "tie_word_embeddings", js_new_bool(false));
    js_set(w->json, "torch_dtype", js_new_cstr("bfloat16"));
    js_set(w->json, "bos_token_id", js_new_int(BYTES_BOS));
    js_set(w->json, "eos_token_id", js_new_int(BYTES_EOS));
    return model_config_parse(w->json, "the arguments", &w->c, e);
}

static int write_all(struct work *w, struct err *e)
{
    int rc = fs_mkdirs(w->dir, e);
    if (!rc)
        rc = fill_block(w, e);
    for (int l = -1; l < w->c.num_hidden_layers && !rc; l++)
        rc = write_file(w, l, e);
    struct js *index = js_object(), *tokens = js_object(), *total = js_object();
    js_set(total, "total_size", js_new_num(w->bytes));
    js_set(index, "metadata", total);
    js_set(index, "weight_map", js_ref(w->map));
    js_set(tokens, "bos_token", js_new_cstr("<s>"));
    js_set(tokens, "eos_token", js_new_cstr("</s>"));
    js_set(tokens, "add_bos_token", js_new_bool(true));
    rc = rc ? rc : save(w, "config.json", js_ref(w->json), e);
    rc = rc ? rc : save(w, "tokenizer.json", bytes_tokenizer(), e);
    rc = rc ? rc : save(w, "model.safetensors.index.json", js_ref(index), e);
    rc = rc ? rc : save(w, "tokenizer_config.json", js_ref(tokens), e);
    js_free(index);
    js_free(tokens);
    return rc;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    if (argc < 3 || atoi(argv[2]) < 1) {
        fprintf(stderr, "usage: bench FOLDER LAYERS [HIDDEN FFN HEADS KV_HEADS VOCABULARY]\n");
        return 2;
    }
    struct work w = {.dir = argv[1]};
    int rc = config(&w, argc, argv, &e);
    if (!rc)
        rc = write_all(&w, &e);
    if (rc)
        fprintf(stderr, "bench: %s\n", e.msg);
    else
        printf("%s: %d layers, %.2f GB\n", w.dir, w.c.num_hidden_layers, 1e-9 * w.bytes);
    js_free(w.json);
    js_free(w.map);
    free(w.block);
    return rc ? 1 : 0;
}
