/* SPDX-License-Identifier: MIT
 *
 * Reading: the header is parsed with the JSON room and every entry checked (type, shape product, length, bounds), then
 * the entries are sorted by offset and must tile the data without holes or overlap.
 */
#include "runtime/formats/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/arena.h"
#include "runtime/base/fs.h"
#include "runtime/base/json.h"
#include "runtime/base/watch.h"

enum { HEADER_MAX = 100000000 };

struct st_file {
    char *path;
    struct fs_map map;
    struct arena arena;
    struct tensor *tensors; /* by name */
    size_t n;
};

static int bad_tensor(struct err *e, const struct st_file *f, const char *name, const char *what)
{
    return err_set(e, ERR_INPUT, "%s: tensor \"%s\": %s; the file is damaged, fetch or write it again", f->path, name, what);
}

static int parse_shape(const struct js *shape, struct tensor *t)
{
    if (js_kind(shape) != JS_ARRAY || js_len(shape) > TENSOR_MAX_DIMS)
        return -1;
    t->ndim = (int)js_len(shape);
    t->n = 1;
    for (int i = 0; i < t->ndim; i++) {
        int64_t d = js_int(js_at(shape, (size_t)i), -1);
        if (d < 0 || (uint64_t)d > SIZE_MAX / 16)
            return -1;
        t->shape[i] = (size_t)d;
        if (__builtin_mul_overflow(t->n, (size_t)d, &t->n))
            return -1;
    }
    return __builtin_mul_overflow(t->n, dtype_size(t->dtype), &t->bytes) ? -1 : 0;
}

static int parse_tensor(struct st_file *f, const char *name, const struct js *j, size_t data_at, uint64_t data_n,
                        struct tensor *t, struct err *e)
{
    const char *dtype = js_cstr(js_get(j, "dtype"));
    const struct js *off = js_get(j, "data_offsets");
    if (js_kind(j) != JS_OBJECT || !dtype || js_len(off) != 2)
        return bad_tensor(e, f, name, "its entry needs dtype, shape and two data_offsets");
    if (dtype_parse(dtype, &t->dtype) < 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: tensor \"%s\" has type %s; F32, BF16, F16, F64 and integers are read", f->path, name, dtype);
    if (parse_shape(js_get(j, "shape"), t) < 0)
        return bad_tensor(e, f, name, "its shape is not a list of at most 8 sizes that fit this machine");
    int64_t a = js_int(js_at(off, 0), -1), b = js_int(js_at(off, 1), -1);
    if (a < 0 || b < a || (uint64_t)b > data_n)
        return err_set(e, ERR_INPUT, "%s: tensor \"%s\" lies at bytes %lld..%lld of %llu; the file is truncated, fetch it again", f->path,
                       name, (long long)a, (long long)b, (unsigned long long)data_n);
    if ((uint64_t)(b - a) != t->bytes)
        return bad_tensor(e, f, name, "its length is not the product of its shape and type");
    t->name = arena_str(&f->arena, str_of(name));
    if (!t->name)
        return err_nomem(e, strlen(name), f->path);
    t->offset = data_at + (size_t)a;
    t->data = f->map.p ? f->map.p + t->offset : NULL;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

/* Sorted by offset, the tensors must follow each other from data_at to the end of the file. */
static int check_tiling(struct st_file *f, size_t data_at, uint64_t file_n, struct err *e)
{
    size_t at = data_at;
    if (f->n)
        qsort(f->tensors, f->n, sizeof *f->tensors, by_offset);
    for (size_t i = 0; i < f->n; i++) {
        if (f->tensors[i].offset < at)
            return bad_tensor(e, f, f->tensors[i].name, "it overlaps another tensor");
        if (f->tensors[i].offset > at)
            return bad_tensor(e, f, f->tensors[i].name, "there is a hole before it");
        at += f->tensors[i].bytes;
    }
    if (at != file_n)
        return err_set(e, ERR_INPUT, "%s: %llu bytes follow the last tensor; the file is damaged, fetch it again", f->path,
                       (unsigned long long)(file_n - at));
    if (f->n)
        qsort(f->tensors, f->n, sizeof *f->tensors, by_name);
    return 0;
}

static int parse_header(struct st_file *f, struct str header, uint64_t file_n, struct err *e)
{
    if (header.n == 0 || header.p[0] != '{')
        return err_set(e, ERR_INPUT, "%s: not a safetensors file (its header does not start with {)", f->path);
    struct js *j = js_parse(header, f->path, e);
    if (!j)
        return err_prefix(e, "safetensors header");
    int rc = 0;
    size_t data_at = 8 + header.n;
    f->tensors = calloc(js_len(j) + 1, sizeof *f->tensors);
    if (!f->tensors)
        rc = err_nomem(e, js_len(j), f->path);
    for (void *it = js_iter(j); rc == 0 && it; it = js_next(j, it)) {
        if (strcmp(js_iter_key(it), "__metadata__") == 0)
            continue;
        rc = parse_tensor(f, js_iter_key(it), js_iter_value(it), data_at, file_n - data_at, &f->tensors[f->n], e);
        f->n += rc == 0;
    }
    if (rc == 0)
        rc = check_tiling(f, data_at, file_n, e);
    js_free(j);
    return rc;
}

static int check_length(const char *path, uint64_t file_n, const uint8_t head[8], uint64_t *n, struct err *e)
{
    uint64_t len = 0;
    for (int i = 7; i >= 0; i--)
        len = len << 8 | head[i];
    if (len > HEADER_MAX || len > file_n - 8)
        return err_set(e, ERR_INPUT, "%s: not a safetensors file, or truncated: header of %llu bytes in a file of %llu", path,
                       (unsigned long long)len, (unsigned long long)file_n);
    *n = len;
    return 0;
}

static struct st_file *file_new(const char *path, struct err *e)
{
    struct st_file *f = calloc(1, sizeof *f);
    if (!f || !(f->path = strdup(path))) {
        free(f);
        err_nomem(e, sizeof *f, path);
        return NULL;
    }
    return f;
}

int st_open(const char *path, struct st_file **out, struct err *e)
{
    *out = NULL;
    struct st_file *f = file_new(path, e);
    if (!f)
        return e->code;
    uint64_t n = 0;
    int rc = fs_map(path, &f->map, e);
    if (rc == 0 && f->map.n < 8)
        rc = err_set(e, ERR_INPUT, "%s: %zu bytes are too few for a safetensors file", path, f->map.n);
    if (rc == 0)
        rc = check_length(path, f->map.n, f->map.p, &n, e);
    if (rc == 0)
        rc = parse_header(f, (struct str){(const char *)f->map.p + 8, (size_t)n}, f->map.n, e);
    if (rc == 0)
        *out = f;
    else
        st_close(f);
    return rc;
}

static int read_exactly(int fd, void *p, size_t n, const char *path, struct err *e)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = read(fd, (char *)p + at, n - at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_errno(e, "%s: read", path);
        if (k == 0)
            return err_set(e, ERR_INPUT, "%s: ends in its header; the file is truncated, fetch it again", path);
        at += (size_t)k;
    }
    return 0;
}

int st_open_header(const char *path, struct st_file **out, struct err *e)
{
    *out = NULL;
    watch_file(path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_set(e, ERR_NOTFOUND, "%s: no such file", path) : err_errno(e, "%s", path);
    struct st_file *f = file_new(path, e);
    int rc = f ? 0 : e->code;
    struct stat st;
    uint8_t head[8];
    uint64_t n = 0;
    char *text = NULL;
    if (rc == 0 && fstat(fd, &st) < 0)
        rc = err_errno(e, "%s", path);
    if (rc == 0 && st.st_size < 8)
        rc = err_set(e, ERR_INPUT, "%s: %lld bytes are too few for a safetensors file", path, (long long)st.st_size);
    if (rc == 0)
        rc = read_exactly(fd, head, 8, path, e);
    if (rc == 0)
        rc = check_length(path, (uint64_t)st.st_size, head, &n, e);
    if (rc == 0 && !(text = malloc((size_t)n + 1)))
        rc = err_nomem(e, n, path);
    if (rc == 0)
        rc = read_exactly(fd, text, (size_t)n, path, e);
    if (rc == 0)
        rc = parse_header(f, (struct str){text, (size_t)n}, (uint64_t)st.st_size, e);
    free(text);
    close(fd);
    if (rc == 0)
        *out = f;
    else
        st_close(f);
    return rc;
}

void st_close(struct st_file *f)
{
    if (!f)
        return;
    fs_unmap(&f->map);
    arena_release(&f->arena);
    free(f->tensors);
    free(f->path);
    free(f);
}

size_t st_count(const struct st_file *f)
{
    return f->n;
}

const struct tensor *st_at(const struct st_file *f, size_t i)
{
    return &f->tensors[i];
}

const struct tensor *st_find(const struct st_file *f, const char *name)
{
    struct tensor key = {.name = name};
    return f->n ? bsearch(&key, f->tensors, f->n, sizeof key, by_name) : NULL;
}

const char *st_path(const struct st_file *f)
{
    return f->path;
}
