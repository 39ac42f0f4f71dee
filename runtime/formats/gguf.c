/* SPDX-License-Identifier: MIT
 *
 * Reading: one cursor walks the header; it never moves past the end of the map, and a count is believed only when that many
 * entries of the smallest size would fit into what is left. Keys and tensors are sorted for lookup; tensors may not
 * overlap.
 */
#include "runtime/formats/gguf.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/arena.h"
#include "runtime/base/fs.h"
#include "runtime/base/watch.h"

enum value_type { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64, N_TYPES };

static const uint8_t value_size[N_TYPES] = {[U8] = 1, [I8] = 1, [U16] = 2, [I16] = 2, [U32] = 4, [I32] = 4, [F32] = 4,
                                            [BOOL] = 1, [U64] = 8, [I64] = 8, [F64] = 8};

struct entry {
    struct str key;
    uint32_t type, of; /* of: element type of an array */
    uint64_t n;        /* elements of an array, bytes of a string */
    size_t at;         /* first byte of the value, or of the first element */
};

struct gguf {
    char *path;
    struct fs_map map;
    struct arena arena;
    struct entry *keys; /* by key */
    size_t n_keys;
    struct gguf_tensor *tensors; /* by name */
    size_t n;
};

/* ---- the cursor ---- */

struct cursor {
    const uint8_t *p;
    size_t at, n;
    bool failed;
};

static uint64_t number(const uint8_t *p, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = bytes; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static const uint8_t *take(struct cursor *c, uint64_t n)
{
    if (c->failed || n > c->n - c->at) {
        c->failed = true;
        return NULL;
    }
    c->at += (size_t)n;
    return c->p + c->at - n;
}

static uint64_t take_int(struct cursor *c, size_t bytes)
{
    const uint8_t *p = take(c, bytes);
    return p ? number(p, bytes) : 0;
}

static struct str take_str(struct cursor *c)
{
    uint64_t n = take_int(c, 8);
    const uint8_t *p = take(c, n);
    return p ? (struct str){(const char *)p, (size_t)n} : (struct str){NULL, 0};
}

/* ---- metadata ---- */

static int cut_short(struct err *e, const struct gguf *g, const char *where)
{
    return err_set(e, ERR_INPUT, "%s: ends in %s; the file is truncated or damaged, fetch it again", g->path, where);
}

static int read_value(struct gguf *g, struct cursor *c, struct entry *x, struct err *e)
{
    x->type = (uint32_t)take_int(c, 4);
    uint32_t t = x->type;
    if (t == ARRAY && !c->failed) {
        t = x->of = (uint32_t)take_int(c, 4);
        x->n = take_int(c, 8);
    } else {
        x->n = 1;
    }
    x->at = c->at;
    if (c->failed)
        return cut_short(e, g, "its metadata");
    if (t >= N_TYPES || t == ARRAY)
        return err_set(e, ERR_UNSUPPORTED, "%s: key \"%.*s\": value type %u is not known here", g->path, (int)(x->key.n < 100 ? x->key.n : 100),
                       x->key.p, t);
    if (t == STRING) {
        if (x->n > (c->n - c->at) / 8)
            c->failed = true;
        for (uint64_t i = 0; i < x->n && !c->failed; i++)
            take_str(c);
        if (x->type == STRING && !c->failed) {
            x->n = number(c->p + x->at, 8);
            x->at += 8;
        }
    } else if (x->n > (c->n - c->at) / value_size[t]) {
        c->failed = true;
    } else {
        take(c, x->n * value_size[t]);
    }
    return c->failed ? cut_short(e, g, "its metadata") : 0;
}

static int by_key(const void *a, const void *b)
{
    struct str x = ((const struct entry *)a)->key, y = ((const struct entry *)b)->key;
    size_t n = x.n < y.n ? x.n : y.n;
    int d = n ? memcmp(x.p, y.p, n) : 0;
    return d ? d : x.n < y.n ? -1 : x.n > y.n;
}

static int read_keys(struct gguf *g, struct cursor *c, uint64_t n, struct err *e)
{
    if (n > (c->n - c->at) / 13)
        return cut_short(e, g, "its metadata");
    if (!(g->keys = calloc((size_t)n + 1, sizeof *g->keys)))
        return err_nomem(e, n * sizeof *g->keys, g->path);
    for (uint64_t i = 0; i < n; i++) {
        struct entry *x = &g->keys[i];
        x->key = take_str(c);
        int rc = c->failed ? cut_short(e, g, "its metadata") : read_value(g, c, x, e);
        if (rc != 0)
            return rc;
    }
    g->n_keys = (size_t)n;
    qsort(g->keys, g->n_keys, sizeof *g->keys, by_key);
    for (size_t i = 1; i < g->n_keys; i++)
        if (by_key(&g->keys[i - 1], &g->keys[i]) == 0)
            return err_set(e, ERR_INPUT, "%s: key \"%.*s\" is there twice; the file is damaged", g->path,
                           (int)(g->keys[i].key.n < 100 ? g->keys[i].key.n : 100), g->keys[i].key.p);
    return 0;
}

/* ---- tensors ---- */

static int bad_tensor(struct err *e, const struct gguf *g, const char *name, const char *what)
{
    return err_set(e, ERR_INPUT, "%s: tensor \"%.200s\": %s; the file is damaged, fetch it again", g->path, name, what);
}

static int tensor_size(const struct gguf *g, struct gguf_tensor *t, uint32_t id, struct err *e)
{
    t->type = quant_by_id(id);
    if (!t->type)
        return err_set(e, ERR_UNSUPPORTED, "%s: tensor \"%.200s\" has element type %u, which is not known here", g->path, t->name, id);
    t->n = 1;
    for (int i = 0; i < t->ndim; i++)
        if (t->shape[i] > SIZE_MAX / 16 || __builtin_mul_overflow(t->n, t->shape[i], &t->n))
            return bad_tensor(e, g, t->name, "its shape does not fit this machine");
    if (t->shape[t->ndim - 1] % t->type->block)
        return bad_tensor(e, g, t->name, "its rows are not whole blocks");
    if (__builtin_mul_overflow(t->n / t->type->block, t->type->bytes, &t->bytes))
        return bad_tensor(e, g, t->name, "its shape does not fit this machine");
    return 0;
}

static int read_tensor(struct gguf *g, struct cursor *c, struct gguf_tensor *t, struct err *e)
{
    struct str name = take_str(c);
    uint32_t ndim = (uint32_t)take_int(c, 4);
    if (c->failed)
        return cut_short(e, g, "its list of tensors");
    if (!(t->name = arena_str(&g->arena, name)))
        return err_nomem(e, name.n, g->path);
    if (memchr(name.p, 0, name.n) || name.n == 0)
        return bad_tensor(e, g, t->name, "its name is empty or holds a NUL");
    if (ndim < 1 || ndim > 4)
        return bad_tensor(e, g, t->name, "it needs 1 to 4 dimensions");
    t->ndim = (int)ndim;
    for (int i = t->ndim - 1; i >= 0; i--)
        t->shape[i] = (size_t)take_int(c, 8);
    uint32_t id = (uint32_t)take_int(c, 4);
    t->offset = (size_t)take_int(c, 8);
    return c->failed ? cut_short(e, g, "its list of tensors") : tensor_size(g, t, id, e);
}

static int by_offset(const void *a, const void *b)
{
    const struct gguf_tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct gguf_tensor *)a)->name, ((const struct gguf_tensor *)b)->name);
}

/* Offsets count from the first multiple of the alignment behind the header. */
static int place_tensors(struct gguf *g, size_t header, struct err *e)
{
    int64_t align = gguf_int(g, "general.alignment", 32);
    if (align < 1 || align > 1 << 20 || (align & (align - 1)))
        return err_set(e, ERR_INPUT, "%s: general.alignment %lld is not a power of two", g->path, (long long)align);
    size_t data = header + (size_t)(-header & (size_t)(align - 1)), end = 0;
    if (data > g->map.n)
        data = g->map.n; /* no data at all */
    size_t left = g->map.n - data;
    qsort(g->tensors, g->n, sizeof *g->tensors, by_offset);
    for (size_t i = 0; i < g->n; i++) {
        struct gguf_tensor *t = &g->tensors[i];
        if (t->offset % (size_t)align)
            return bad_tensor(e, g, t->name, "its offset is not a multiple of the alignment");
        if (t->offset > left || t->bytes > left - t->offset)
            return err_set(e, ERR_INPUT, "%s: tensor \"%.200s\" lies beyond the end of the file; the file is truncated, fetch it again", g->path,
                           t->name);
        if (t->offset < end)
            return bad_tensor(e, g, t->name, "it overlaps another tensor");
        end = t->offset + t->bytes;
        t->offset += data;
        t->data = g->map.p + t->offset;
    }
    qsort(g->tensors, g->n, sizeof *g->tensors, by_name);
    for (size_t i = 1; i < g->n; i++)
        if (by_name(&g->tensors[i - 1], &g->tensors[i]) == 0)
            return bad_tensor(e, g, g->tensors[i].name, "it is there twice");
    return 0;
}

static int read_tensors(struct gguf *g, struct cursor *c, uint64_t n, struct err *e)
{
    if (n > (c->n - c->at) / 33)
        return cut_short(e, g, "its list of tensors");
    if (!(g->tensors = calloc((size_t)n + 1, sizeof *g->tensors)))
        return err_nomem(e, n * sizeof *g->tensors, g->path);
    for (g->n = 0; g->n < n; g->n++) {
        int rc = read_tensor(g, c, &g->tensors[g->n], e);
        if (rc != 0)
            return rc;
    }
    return place_tensors(g, c->at, e);
}

/* ---- the file ---- */

bool gguf_is(const char *path)
{
    char magic[4] = {0};
    watch_file(path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is = fd >= 0 && read(fd, magic, 4) == 4 && memcmp(magic, "GGUF", 4) == 0;
    if (fd >= 0)
        close(fd);
    return is;
}

static int read_header(struct gguf *g, struct err *e)
{
    struct cursor c = {.p = g->map.p, .n = g->map.n};
    const uint8_t *magic = take(&c, 4);
    if (!magic || memcmp(magic, "GGUF", 4) != 0)
        return err_set(e, ERR_INPUT, "%s: not a GGUF file", g->path);
    uint32_t version = (uint32_t)take_int(&c, 4);
    uint64_t n_tensors = take_int(&c, 8), n_keys = take_int(&c, 8);
    if (c.failed)
        return cut_short(e, g, "its header");
    if (version == 2u << 24 || version == 3u << 24)
        return err_set(e, ERR_UNSUPPORTED, "%s: a big-endian GGUF file; write it again on a little-endian machine", g->path);
    if (version != 2 && version != 3)
        return err_set(e, ERR_UNSUPPORTED, "%s: GGUF version %u; versions 2 and 3 are read, convert it with a current llama.cpp", g->path, version);
    int rc = read_keys(g, &c, n_keys, e);
    return rc ? rc : read_tensors(g, &c, n_tensors, e);
}

int gguf_open(const char *path, struct gguf **out, struct err *e)
{
    *out = NULL;
    struct gguf *g = calloc(1, sizeof *g);
    if (!g || !(g->path = strdup(path))) {
        free(g);
        return err_nomem(e, sizeof *g, path);
    }
    int rc = fs_map(path, &g->map, e);
    if (rc == 0)
        rc = read_header(g, e);
    if (rc == 0)
        *out = g;
    else
        gguf_close(g);
    return rc;
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    fs_unmap(&g->map);
    arena_release(&g->arena);
    free(g->keys);
    free(g->tensors);
    free(g->path);
    free(g);
}

const char *gguf_path(const struct gguf *g)
{
    return g->path;
}

size_t gguf_count(const struct gguf *g)
{
    return g->n;
}

const struct gguf_tensor *gguf_at(const struct gguf *g, size_t i)
{
    return &g->tensors[i];
}

const struct gguf_tensor *gguf_find(const struct gguf *g, const char *name)
{
    struct gguf_tensor key = {.name = name};
    return g->n ? bsearch(&key, g->tensors, g->n, sizeof key, by_name) : NULL;
}

/* ---- values ---- */

static const struct entry *find(const struct gguf *g, const char *key)
{
    struct entry k = {.key = str_of(key)};
    return g->n_keys ? bsearch(&k, g->keys, g->n_keys, sizeof k, by_key) : NULL;
}

static double shortest(float f)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)f);
        if (strtof(text, NULL) == f)
            break;
    }
    return strtod(text, NULL);
}

static struct js *scalar(const uint8_t *p, uint32_t t)
{
    uint64_t v = number(p, value_size[t]);
    float f;
    double d;
    switch (t) {
    case I8:
        return js_new_int((int8_t)v);
    case I16:
        return js_new_int((int16_t)v);
    case I32:
        return js_new_int((int32_t)v);
    case F32:
        memcpy(&f, p, 4);
        return js_new_num(shortest(f));
    case F64:
        memcpy(&d, p, 8);
        return js_new_num(d);
    case BOOL:
        return js_new_bool(v != 0);
    case U64:
        return v > INT64_MAX ? js_new_num((double)v) : js_new_int((int64_t)v);
    default:
        return js_new_int((int64_t)v);
    }
}

static struct js *array(const struct gguf *g, const struct entry *x)
{
    struct js *list = js_array();
    const uint8_t *p = g->map.p + x->at;
    int bad = list ? 0 : -1;
    for (uint64_t i = 0; i < x->n && bad == 0; i++) {
        if (x->of == STRING) {
            size_t n = (size_t)number(p, 8);
            bad = js_push(list, js_new_str((struct str){(const char *)p + 8, n}));
            p += 8 + n;
        } else {
            bad = js_push(list, scalar(p, x->of));
            p += value_size[x->of];
        }
    }
    if (bad) {
        js_free(list);
        list = NULL;
    }
    return list;
}

struct js *gguf_value(const struct gguf *g, const char *key, struct err *e)
{
    const struct entry *x = find(g, key);
    if (!x) {
        err_set(e, ERR_NOTFOUND, "%s: the metadata has no key \"%s\"", g->path, key);
        return NULL;
    }
    struct js *j = x->type == ARRAY    ? array(g, x)
                   : x->type == STRING ? js_new_str((struct str){(const char *)g->map.p + x->at, (size_t)x->n})
                                       : scalar(g->map.p + x->at, x->type);
    if (!j)
        err_nomem(e, x->n * 16, key);
    return j;
}

bool gguf_has(const struct gguf *g, const char *key)
{
    return find(g, key) != NULL;
}

static struct js *plain(const struct gguf *g, const char *key)
{
    const struct entry *x = find(g, key);
    return x && x->type != ARRAY && x->type != STRING ? scalar(g->map.p + x->at, x->type) : NULL;
}

int64_t gguf_int(const struct gguf *g, const char *key, int64_t otherwise)
{
    struct js *j = plain(g, key);
    int64_t v = js_int(j, otherwise);
    js_free(j);
    return v;
}

double gguf_num(const struct gguf *g, const char *key, double otherwise)
{
    struct js *j = plain(g, key);
    double v = js_num(j, otherwise);
    js_free(j);
    return v;
}

bool gguf_bool(const struct gguf *g, const char *key, bool otherwise)
{
    struct js *j = plain(g, key);
    bool v = js_bool(j, otherwise);
    js_free(j);
    return v;
}

struct str gguf_str(const struct gguf *g, const char *key)
{
    const struct entry *x = find(g, key);
    return x && x->type == STRING ? (struct str){(const char *)g->map.p + x->at, (size_t)x->n} : (struct str){NULL, 0};
}

size_t gguf_len(const struct gguf *g, const char *key)
{
    const struct entry *x = find(g, key);
    return x && x->type == ARRAY ? (size_t)x->n : 0;
}
