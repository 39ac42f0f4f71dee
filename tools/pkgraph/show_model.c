/* SPDX-License-Identifier: MIT
 *
 * Checkpoints for a person: configuration, tokenizer, and tensors, those of the layers folded into one line for each kind.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/dtype.h"
#include "runtime/formats/quant.h"
#include "tools/pkgraph/show.h"
#include "tools/pkgraph/term.h"

static double elements(const struct js *tensor)
{
    const struct js *shape = js_get(tensor, "shape");
    double n = 1;
    for (size_t i = 0; i < js_len(shape); i++)
        n *= (double)js_int(js_at(shape, i), 0);
    return n;
}

static double bytes_of(const struct js *tensor)
{
    enum dtype t;
    const char *name = js_cstr(js_get(tensor, "dtype"));
    const struct quant_type *q = name ? quant_by_name(name) : NULL;
    if (q)
        return elements(tensor) / (double)q->block * (double)q->bytes;
    return name && dtype_parse(name, &t) == 0 ? elements(tensor) * (double)dtype_size(t) : 0;
}

/* "model.layers.12.mlp.up_proj.weight" -> "model.layers.*.mlp.up_proj.weight". */
static char *folded(const char *name)
{
    struct buf b = {0};
    for (const char *p = name; *p;) {
        if (p > name && p[-1] == '.' && isdigit((unsigned char)*p)) {
            p += strspn(p, "0123456789");
            buf_putc(&b, '*');
        } else {
            buf_putc(&b, *p++);
        }
    }
    return buf_steal(&b);
}

static char *shape_text(const struct js *tensor)
{
    struct buf b = {0};
    const struct js *shape = js_get(tensor, "shape");
    buf_putc(&b, '(');
    for (size_t i = 0; i < js_len(shape); i++)
        buf_printf(&b, "%s%lld", i ? ", " : "", (long long)js_int(js_at(shape, i), 0));
    buf_putc(&b, ')');
    return buf_steal(&b);
}

struct kind {
    char *name, *shape;
    const char *dtype;
    size_t n;
};

static bool same_kind(const struct kind *k, const char *name, const char *shape, const char *dtype)
{
    return strcmp(k->name, name) == 0 && strcmp(k->shape, shape) == 0 && strcmp(k->dtype, dtype) == 0;
}

/* Kinds of tensors in the order of their first member. */
static void print_kinds(const struct js *tensors)
{
    size_t n = 0;
    struct kind *v = calloc(js_len(tensors) + 1, sizeof *v);
    struct table t = {.cols = 4};
    for (size_t i = 0; v && i < js_len(tensors); i++) {
        const char *dtype = js_cstr(js_get(js_at(tensors, i), "dtype")), *full = js_cstr(js_get(js_at(tensors, i), "name"));
        char *name = folded(full ? full : "?"), *shape = shape_text(js_at(tensors, i));
        size_t k = 0;
        if (!name || !shape) {
            free(name);
            free(shape);
            break;
        }
        while (k < n && !same_kind(&v[k], name, shape, dtype ? dtype : "?"))
            k++;
        if (k == n) {
            v[n++] = (struct kind){name, shape, dtype ? dtype : "?", 1};
            continue;
        }
        v[k].n++;
        free(name);
        free(shape);
    }
    table_cell(&t, "tensor");
    table_cell(&t, "count");
    table_cell(&t, "shape");
    table_cell(&t, "type");
    for (size_t k = 0; k < n; k++) {
        table_cell(&t, "%s", v[k].name);
        table_cell(&t, "%zu", v[k].n);
        table_cell(&t, "%s", v[k].shape);
        table_cell(&t, "%s", v[k].dtype);
        free(v[k].name);
        free(v[k].shape);
    }
    table_print(&t, true, stdout);
    table_release(&t);
    free(v);
}

static void print_tensors(const struct js *tensors, size_t max)
{
    struct table t = {.cols = 3};
    table_cell(&t, "tensor");
    table_cell(&t, "shape");
    table_cell(&t, "type");
    for (size_t i = 0; i < js_len(tensors) && i < max; i++) {
        const char *dtype = js_cstr(js_get(js_at(tensors, i), "dtype")), *name = js_cstr(js_get(js_at(tensors, i), "name"));
        char *shape = shape_text(js_at(tensors, i));
        table_cell(&t, "%s", name ? name : "?");
        table_cell(&t, "%s", shape ? shape : "?");
        table_cell(&t, "%s", dtype ? dtype : "?");
        free(shape);
    }
    table_print(&t, true, stdout);
    table_release(&t);
}

static void print_config(const struct js *c)
{
    static const char *const keys[] = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                                       "head_dim", "vocab_size", "max_position_embeddings", "rope_theta", "rope_scaling",
                                       "tie_word_embeddings"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct js *v = js_get(c, keys[i]);
        struct buf b = {0};
        if (!v || js_kind(v) == JS_NULL)
            continue;
        js_write(&b, v);
        printf("  %-24s %s\n", keys[i], b.failed ? "" : b.p);
        buf_release(&b);
    }
}

static void print_tokenizer(const struct js *t)
{
    const char *bos = js_cstr(js_get(t, "bos_token")), *eos = js_cstr(js_get(t, "eos_token"));
    printf("tokenizer: BOS %s, EOS %s%s\n", bos ? bos : "none", eos ? eos : "none",
           js_cstr(js_get(t, "chat_template")) ? ", with a chat template" : "");
}

void show_model(const struct js *model, size_t max_list)
{
    const struct js *tensors = js_get(model, "tensors");
    const char *arch = js_cstr(js_get(model, "architecture"));
    double n = 0, bytes = 0;
    char x[TEXT_MAX];
    for (size_t i = 0; i < js_len(tensors); i++) {
        n += elements(js_at(tensors, i));
        bytes += bytes_of(js_at(tensors, i));
    }
    printf("%s%s%.0f parameters in %zu tensors, %s\n", arch ? arch : "", arch ? ", " : "", n, js_len(tensors), text_bytes(x, bytes));
    if (js_get(model, "config"))
        print_config(js_get(model, "config"));
    if (js_get(model, "tokenizer"))
        print_tokenizer(js_get(model, "tokenizer"));
    putchar('\n');
    if (max_list)
        print_tensors(tensors, max_list);
    else
        print_kinds(tensors);
}
