/* SPDX-License-Identifier: MIT */
#include "runtime/model/weight_file.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/buf.h"
#include "runtime/base/fs.h"
#include "runtime/formats/torch.h"
#include "runtime/model/gguf_model.h"

struct weight_file {
    struct st_file *st;
    struct gguf *gguf;
    struct gguf_weights *gw;
    struct torch_file *torch;
};

/* What git leaves in place of a large file. */
static void name_pointer(const char *path, int rc, struct err *e)
{
    static const char first[] = "version https://git-lfs.github.com/spec/";
    struct fs_map map = {0};
    struct err ignored;
    if (rc == ERR_NOMEM || fs_map(path, &map, &ignored) != 0)
        return;
    if (str_starts((struct str){(const char *)map.p, map.n}, first))
        err_set(e, ERR_INPUT, "%s: a pointer of Git LFS, not the weights; fetch them: git lfs pull, or hf download", path);
    fs_unmap(&map);
}

int weight_file_open(const char *path, const struct model_config *c, bool header, struct weight_file **out, struct err *e)
{
    *out = NULL;
    struct weight_file *f = calloc(1, sizeof *f);
    if (!f)
        return err_nomem(e, sizeof *f, path);
    int rc;
    if (gguf_is(path)) {
        rc = gguf_open(path, &f->gguf, e);
        if (rc == 0)
            rc = gguf_weights_new(f->gguf, c, &f->gw, e);
    } else if (torch_is(path) || str_ends(str_of(path), ".bin")) {
        rc = torch_open(path, &f->torch, e);
    } else {
        rc = header ? st_open_header(path, &f->st, e) : st_open(path, &f->st, e);
    }
    if (rc == 0) {
        *out = f;
    } else {
        weight_file_close(f);
        name_pointer(path, rc, e);
    }
    return rc;
}

void weight_file_close(struct weight_file *f)
{
    if (!f)
        return;
    st_close(f->st);
    gguf_weights_free(f->gw);
    gguf_close(f->gguf);
    torch_close(f->torch);
    free(f);
}

const char *weight_file_path(const struct weight_file *f)
{
    return f->st ? st_path(f->st) : f->gguf ? gguf_path(f->gguf) : torch_path(f->torch);
}

size_t weight_file_count(const struct weight_file *f)
{
    return f->st ? st_count(f->st) : f->gw ? gguf_weights_count(f->gw) : torch_count(f->torch);
}

const struct tensor *weight_file_at(const struct weight_file *f, size_t i)
{
    return f->st ? st_at(f->st, i) : f->gw ? gguf_weights_at(f->gw, i) : torch_at(f->torch, i);
}

const struct tensor *weight_file_find(const struct weight_file *f, const char *name)
{
    size_t lo = 0, hi = weight_file_count(f);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int d = strcmp(name, weight_file_at(f, mid)->name);
        if (d == 0)
            return weight_file_at(f, mid);
        if (d < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

const char *tensor_type_name(const struct tensor *t)
{
    return t->packed ? t->packed->type->name : dtype_name(t->dtype);
}

int tensor_type_plain(const char *name, enum dtype *t)
{
    const struct quant_type *q;
    if (dtype_parse(name, t) == 0)
        return *t == DT_F32 || *t == DT_BF16 || *t == DT_F16 ? 0 : -1;
    if (!(q = quant_by_name(name)) || !q->to_f32)
        return -1;
    *t = q->plain;
    return 0;
}
