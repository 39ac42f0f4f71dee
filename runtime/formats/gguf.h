/* SPDX-License-Identifier: MIT
 *
 * gguf: reading llama.cpp's GGUF files, versions 2 and 3, little endian, through mmap
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), and writing version 3. Opening checks every size, count and
 * offset against the file; values of the metadata are built when they are asked for. Immutable after opening; any thread.
 */
#ifndef PKG_FORMATS_GGUF_H
#define PKG_FORMATS_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"
#include "runtime/base/json.h"
#include "runtime/formats/quant.h"

struct gguf;

struct gguf_tensor {
    const char *name; /* owned by the file */
    const struct quant_type *type;
    int ndim;
    size_t shape[4];  /* outermost first: rows, columns (the file has them the other way round) */
    size_t n, bytes;
    size_t offset;    /* from the start of the file */
    const uint8_t *data;
};

bool gguf_is(const char *path); /* starts like one */
int gguf_open(const char *path, struct gguf **out, struct err *e);
void gguf_close(struct gguf *g);
const char *gguf_path(const struct gguf *g);
size_t gguf_count(const struct gguf *g);
const struct gguf_tensor *gguf_at(const struct gguf *g, size_t i); /* by name, ascending */
const struct gguf_tensor *gguf_find(const struct gguf *g, const char *name); /* NULL when absent */

bool gguf_has(const struct gguf *g, const char *key);
/* A new reference; NULL with e->code ERR_NOTFOUND when the key is absent. Floats are the shortest decimals that read back
 * to the same float. */
struct js *gguf_value(const struct gguf *g, const char *key, struct err *e);
int64_t gguf_int(const struct gguf *g, const char *key, int64_t otherwise);
double gguf_num(const struct gguf *g, const char *key, double otherwise);
bool gguf_bool(const struct gguf *g, const char *key, bool otherwise);
struct str gguf_str(const struct gguf *g, const char *key);       /* in the map; {NULL, 0} unless a string */
size_t gguf_len(const struct gguf *g, const char *key);           /* of an array */

/* Writing: metadata and declarations in any order, begin, then the bytes of each tensor in the order of declaration. */
struct gguf_writer;
int gguf_writer_new(const char *path, struct gguf_writer **out, struct err *e);
void gguf_put_str(struct gguf_writer *w, const char *key, struct str v);
void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v);
void gguf_put_f32(struct gguf_writer *w, const char *key, float v);
void gguf_put_bool(struct gguf_writer *w, const char *key, bool v);
void gguf_put_strs(struct gguf_writer *w, const char *key, const struct str *v, size_t n);
void gguf_put_i32s(struct gguf_writer *w, const char *key, const int32_t *v, size_t n);
void gguf_put_f32s(struct gguf_writer *w, const char *key, const float *v, size_t n);
/* shape outermost first; the last size must be a multiple of the type's block. */
int gguf_declare(struct gguf_writer *w, const char *name, const struct quant_type *type, int ndim, const size_t *shape, struct err *e);
int gguf_write_begin(struct gguf_writer *w, struct err *e);
int gguf_write(struct gguf_writer *w, const void *p, size_t bytes, struct err *e); /* consecutive; pads between tensors */
int gguf_write_end(struct gguf_writer *w, struct err *e);
void gguf_writer_free(struct gguf_writer *w); /* removes the file unless ended */

#endif
