/* SPDX-License-Identifier: MIT
 *
 * safetensors: reading through mmap and writing. Format: u64 little-endian header length, JSON header, data; offsets
 * must cover the data exactly, without holes or overlap (https://github.com/huggingface/safetensors). Every size is
 * checked before use; errors name file and tensor.
 */
#ifndef PKG_FORMATS_SAFETENSORS_H
#define PKG_FORMATS_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/dtype.h"
#include "runtime/base/err.h"
#include "runtime/base/sha.h"

enum { TENSOR_MAX_DIMS = 8 };

struct packing;

struct tensor {
    const char *name; /* owned by the file */
    enum dtype dtype;
    int ndim;
    size_t shape[TENSOR_MAX_DIMS];
    size_t n;         /* elements */
    size_t bytes;
    size_t offset;    /* of the data, from the start of the file */
    const void *data; /* in the map; NULL when only the header was read, or packed */
    const struct packing *packed; /* NULL, or how the values are stored (quant.h); dtype and bytes: what they become when plain */
};

struct st_file;

int st_open(const char *path, struct st_file **out, struct err *e);      /* maps the file */
int st_open_header(const char *path, struct st_file **out, struct err *e); /* reads and checks the header only */
void st_close(struct st_file *f);
size_t st_count(const struct st_file *f);
const struct tensor *st_at(const struct st_file *f, size_t i); /* by name, ascending */
const struct tensor *st_find(const struct st_file *f, const char *name); /* NULL when absent */
const char *st_path(const struct st_file *f);

/* Writing: declare every tensor, begin, then give the data of each in ascending order of name, in pieces if wanted.
 * Metadata {"format": "pt"}. The file appears under its name only when st_write_end succeeds (temporary name, rename).*/
struct st_writer;
int st_writer_new(const char *path, struct st_writer **out, struct err *e);
/* The same, but the unfinished file is `partial`, on the same file system: it stays there when the writer is freed early, and a
 * writer of the same declarations goes on in it: st_write_begin then leaves the data that it holds and says so. */
int st_writer_new_partial(const char *path, const char *partial, struct st_writer **out, struct err *e);
bool st_writer_goes_on(const struct st_writer *w);
int st_write_sync(struct st_writer *w, struct err *e); /* what was written so far is on the disk */
/* Before st_write_begin: the file's digest is wanted, and read behind the writing (follow.h). Tensors then lie in the file in the order of
 * their declarations instead of by name; that of finishing them is best. */
void st_writer_follow(struct st_writer *w);
/* The data of tensor `name` are final, and no st_write_at of this writer is under way. Only helps the digest; st_write needs none. */
void st_writer_final(struct st_writer *w, const char *name);
bool st_writer_digest(const struct st_writer *w, struct digest *out); /* after st_write_end; false: it was not wanted, or could not be had */
int st_declare(struct st_writer *w, const char *name, enum dtype t, int ndim, const size_t *shape, struct err *e);
int st_write_begin(struct st_writer *w, struct err *e);             /* sorts by name (but see st_writer_follow), writes the header */
size_t st_writer_count(const struct st_writer *w);
const struct tensor *st_writer_at(const struct st_writer *w, size_t i); /* after begin: in the order of writing */
int st_write(struct st_writer *w, const void *p, size_t bytes, struct err *e); /* consecutive data */
/* Or any order: the bytes of tensor `name` from `at` on. Not mixed with st_write. Any thread; when all calls
 * have returned all is written, or one of them has returned the error. */
int st_write_at(struct st_writer *w, const char *name, size_t at, const void *p, size_t bytes, struct err *e);
int st_write_end(struct st_writer *w, struct err *e); /* synced */
void st_writer_unsynced(struct st_writer *w); /* st_write_end need not wait for the disk: the file is scratch, or the caller syncs it */
void st_writer_free(struct st_writer *w); /* removes the temporary file unless ended */

#endif
