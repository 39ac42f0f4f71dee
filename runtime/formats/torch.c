/* SPDX-License-Identifier: MIT
 *
 * The archive holds NAME/data.pkl, NAME/byteorder and NAME/data/KEY for each storage. Several tensors may share a storage
 * (tied weights); each must lie in it row by row.
 */
#include "runtime/formats/torch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/arena.h"
#include "runtime/base/fs.h"
#include "runtime/base/watch.h"
#include "runtime/formats/pickle.h"
#include "runtime/formats/zip.h"

struct torch_file {
    char *path;
    struct fs_map map;
    struct arena arena;
    struct zip zip;
    struct str folder; /* NAME/ */
    struct tensor *t;  /* by name */
    size_t n;
};

static const uint8_t old_magic[] = {0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

bool torch_is(const char *path)
{
    uint8_t head[14] = {0};
    watch_file(path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, head, sizeof head) : -1;
    if (fd >= 0)
        close(fd);
    return (n >= 4 && memcmp(head, "PK\3\4", 4) == 0) || (n == (ssize_t)sizeof head && memcmp(head, old_magic, sizeof head) == 0);
}

static int bad_tensor(struct err *e, const struct torch_file *f, const struct pickle_tensor *t, const char *why)
{
    return err_set(e, ERR_INPUT, "%s: tensor \"%.*s\" %s", f->path, (int)(t->name.n < 200 ? t->name.n : 200), t->name.p, why);
}

/* The elements follow each other in the order of the shape; sizes of 1 may have any stride. */
static bool contiguous(const struct pickle_tensor *t, uint64_t n)
{
    uint64_t step = 1;
    for (int i = t->ndim - 1; n && i >= 0; i--) {
        if (t->shape[i] != 1 && t->stride[i] != step)
            return false;
        step *= t->shape[i];
    }
    return true;
}

static int place(struct torch_file *f, const struct pickle_tensor *p, struct tensor *t, struct err *e)
{
    uint64_t n = 1;
    size_t offset, size, esz = dtype_size(p->dtype);
    for (int i = 0; i < p->ndim; i++)
        if (__builtin_mul_overflow(n, p->shape[i], &n))
            return bad_tensor(e, f, p, "has a shape that does not fit this machine");
    if (p->offset > p->numel || n > p->numel - p->offset || p->numel > SIZE_MAX / 8)
        return bad_tensor(e, f, p, "reaches beyond its storage; the file is damaged, fetch it again");
    if (!contiguous(p, n))
        return bad_tensor(e, f, p, "is not stored row by row (a transposed or sliced view); save it again after .contiguous()");
    struct buf name = {0};
    buf_str(&name, f->folder);
    buf_puts(&name, "data/");
    buf_str(&name, p->storage);
    const struct zip_entry *x = name.failed ? NULL : zip_find(&f->zip, buf_view(&name));
    buf_release(&name);
    if (!x)
        return bad_tensor(e, f, p, "has no storage in the archive; the file is damaged, fetch it again");
    int rc = zip_data(&f->zip, x, f->path, &offset, &size, e);
    if (rc != 0)
        return rc;
    if (p->numel * esz > size)
        return bad_tensor(e, f, p, "has a storage shorter than it should be; the file is damaged, fetch it again");
    *t = (struct tensor){.dtype = p->dtype, .ndim = p->ndim, .n = (size_t)n, .bytes = (size_t)n * esz, .offset = offset + (size_t)p->offset * esz};
    t->data = f->map.p + t->offset;
    for (int i = 0; i < p->ndim; i++)
        t->shape[i] = (size_t)p->shape[i];
    if (p->name.n == 0 || memchr(p->name.p, 0, p->name.n))
        return bad_tensor(e, f, p, "has an empty name or a NUL in it");
    t->name = arena_str(&f->arena, p->name);
    return t->name ? 0 : err_nomem(e, p->name.n, f->path);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static int find_pickle(struct torch_file *f, struct str *pickle, struct err *e)
{
    static const char tail[] = "/data.pkl";
    const struct zip_entry *found = NULL;
    size_t at, n;
    for (size_t i = 0; i < f->zip.n_entries && !found; i++)
        if (str_ends(f->zip.v[i].name, tail))
            found = &f->zip.v[i];
    if (!found)
        return err_set(e, ERR_INPUT, "%s: a zip archive without data.pkl: not a file of torch.save", f->path);
    f->folder = (struct str){found->name.p, found->name.n - sizeof tail + 2};
    int rc = zip_data(&f->zip, found, f->path, &at, &n, e);
    if (rc == 0)
        *pickle = (struct str){(const char *)f->map.p + at, n};
    return rc;
}

static int check_order(struct torch_file *f, struct err *e)
{
    struct buf name = {0};
    size_t at, n;
    buf_str(&name, f->folder);
    buf_puts(&name, "byteorder");
    const struct zip_entry *x = name.failed ? NULL : zip_find(&f->zip, buf_view(&name));
    buf_release(&name);
    int rc = x ? zip_data(&f->zip, x, f->path, &at, &n, e) : 0;
    if (rc == 0 && x && n >= 3 && memcmp(f->map.p + at, "big", 3) == 0)
        rc = err_set(e, ERR_UNSUPPORTED, "%s: written on a big-endian machine; save it again on a little-endian one", f->path);
    return rc;
}

static int read_all(struct torch_file *f, struct err *e)
{
    struct str pickle;
    struct pickle_tensor *p;
    size_t n;
    if (f->map.n >= sizeof old_magic && memcmp(f->map.p, old_magic, sizeof old_magic) == 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: a file of torch.save before PyTorch 1.6, which is not read; write it again: x = torch.load(FILE, "
                       "weights_only=True); torch.save(x, FILE), or better as safetensors",
                       f->path);
    if (f->map.n < 4 || memcmp(f->map.p, "PK\3\4", 4) != 0)
        return err_set(e, ERR_INPUT, "%s: not a file of torch.save; save the model with safe_serialization=True", f->path);
    int rc = zip_read(&f->zip, f->map.p, f->map.n, f->path, e);
    if (rc == 0)
        rc = find_pickle(f, &pickle, e);
    if (rc == 0)
        rc = check_order(f, e);
    if (rc == 0)
        rc = pickle_tensors(pickle, f->path, &f->arena, &p, &n, e);
    if (rc == 0 && !(f->t = calloc(n + 1, sizeof *f->t)))
        rc = err_nomem(e, n * sizeof *f->t, f->path);
    for (; rc == 0 && f->n < n; f->n++)
        if ((rc = place(f, &p[f->n], &f->t[f->n], e)) != 0)
            break;
    if (rc != 0)
        return rc;
    qsort(f->t, f->n, sizeof *f->t, by_name);
    for (size_t i = 1; i < f->n; i++)
        if (by_name(&f->t[i - 1], &f->t[i]) == 0)
            return err_set(e, ERR_INPUT, "%s: tensor \"%.200s\" is there twice", f->path, f->t[i].name);
    return 0;
}

int torch_open(const char *path, struct torch_file **out, struct err *e)
{
    *out = NULL;
    struct torch_file *f = calloc(1, sizeof *f);
    if (!f || !(f->path = strdup(path))) {
        free(f);
        return err_nomem(e, sizeof *f, path);
    }
    int rc = fs_map(path, &f->map, e);
    if (rc == 0)
        rc = read_all(f, e);
    if (rc == 0)
        *out = f;
    else
        torch_close(f);
    return rc;
}

void torch_close(struct torch_file *f)
{
    if (!f)
        return;
    zip_release(&f->zip);
    arena_release(&f->arena);
    fs_unmap(&f->map);
    free(f->t);
    free(f->path);
    free(f);
}

const char *torch_path(const struct torch_file *f)
{
    return f->path;
}

size_t torch_count(const struct torch_file *f)
{
    return f->n;
}

const struct tensor *torch_at(const struct torch_file *f, size_t i)
{
    return &f->t[i];
}
