/* SPDX-License-Identifier: MIT
 *
 * Tensors: "p/NAME", "m/NAME", "v/NAME", "best/NAME" (f32), "log", "state" and "sum" (bytes): the SHA-256 of all others in
 * the order in which they are written, so that a checkpoint that a disk has damaged is not gone on from.
 */
#include "runtime/model/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/base/sha.h"
#include "runtime/formats/safetensors.h"

enum { NAME_MAX_ = PARAM_NAME_MAX + 32 };
static const char *const kinds[] = {"p", "m", "v", "best"};

/* The values of parameter i that belong under kind k. */
static float *values(const struct optim *o, size_t i, int k, float *best)
{
    const struct optim_param *p = &o->v[i];
    size_t at = (size_t)(p->m - o->moments);
    return k == 0 ? p->p : k == 1 ? p->m : k == 2 ? p->v : best + at;
}

static char *tensor_name(char out[NAME_MAX_], const struct optim *o, size_t i, int k)
{
    snprintf(out, NAME_MAX_, "%s/%s", kinds[k], o->v[i].name);
    return out;
}

static int declare_all(struct st_writer *w, const struct optim *o, int n_kinds, size_t n_state, size_t n_log, struct err *e)
{
    char name[NAME_MAX_];
    size_t n_sum = sizeof(struct digest);
    int rc = st_declare(w, "log", DT_U8, 1, &n_log, e);
    if (rc == 0)
        rc = st_declare(w, "state", DT_U8, 1, &n_state, e);
    for (size_t i = 0; rc == 0 && i < o->n; i++)
        for (int k = 0; rc == 0 && k < n_kinds; k++)
            rc = st_declare(w, tensor_name(name, o, i, k), DT_F32, 1, &o->v[i].n, e);
    if (rc == 0)
        rc = st_declare(w, "sum", DT_U8, 1, &n_sum, e);
    return rc ? rc : st_write_begin(w, e);
}

static int put(struct st_writer *w, struct sha *sum, const char *name, const void *p, size_t n, struct err *e)
{
    sha_add(sum, p, n);
    return st_write_at(w, name, 0, p, n, e);
}

static int write_all(struct st_writer *w, const struct optim *o, const float *best, struct str state, struct str log, struct err *e)
{
    char name[NAME_MAX_];
    struct digest d;
    int n_kinds = best ? 4 : 3, rc = declare_all(w, o, n_kinds, state.n, log.n, e);
    struct sha *sum = sha_new();
    if (rc == 0 && !sum)
        rc = err_nomem(e, 0, "a checkpoint");
    if (rc == 0)
        rc = put(w, sum, "log", log.p, log.n, e);
    if (rc == 0)
        rc = put(w, sum, "state", state.p, state.n, e);
    for (size_t i = 0; rc == 0 && i < o->n; i++)
        for (int k = 0; rc == 0 && k < n_kinds; k++)
            rc = put(w, sum, tensor_name(name, o, i, k), values(o, i, k, (float *)(uintptr_t)best), o->v[i].n * sizeof(float), e);
    if (sum)
        sha_end(sum, &d);
    if (rc == 0)
        rc = st_write_at(w, "sum", 0, d.b, sizeof d.b, e);
    return rc ? rc : st_write_end(w, e);
}

int checkpoint_write(const char *path, const struct optim *o, const float *best, const struct js *state, struct str log, struct err *e)
{
    struct buf text = {0};
    struct st_writer *w = NULL;
    js_write(&text, state);
    int rc = text.failed ? err_nomem(e, text.n, "a checkpoint") : st_writer_new(path, &w, e);
    if (rc == 0)
        rc = write_all(w, o, best, buf_view(&text), log, e);
    if (w)
        st_writer_free(w);
    buf_release(&text);
    return rc;
}

static int check(const struct st_file *f, const struct optim *o, const char *path, struct err *e)
{
    char name[NAME_MAX_];
    bool has_best = false;
    for (size_t i = 0; i < o->n; i++)
        for (int k = 0; k < 4; k++) {
            const struct tensor *t = st_find(f, tensor_name(name, o, i, k));
            if (!t && k == 3 && !has_best)
                continue;
            has_best |= k == 3;
            if (!t || t->dtype != DT_F32 || t->n != o->v[i].n)
                return err_set(e, ERR_DAMAGED, "%s: not a checkpoint of this training (\"%s\" is missing or has another size)", path, name);
        }
    const struct tensor *log = st_find(f, "log"), *state = st_find(f, "state"), *sum = st_find(f, "sum");
    if (!log || !state || !sum || log->dtype != DT_U8 || state->dtype != DT_U8 || sum->dtype != DT_U8 || sum->n != sizeof(struct digest))
        return err_set(e, ERR_DAMAGED, "%s: not a checkpoint", path);
    return 0;
}

static int check_sum(const struct st_file *f, const struct optim *o, const char *path, struct err *e)
{
    char name[NAME_MAX_];
    struct digest d;
    struct sha *sum = sha_new();
    if (!sum)
        return err_nomem(e, 0, "a checkpoint");
    const struct tensor *log = st_find(f, "log"), *state = st_find(f, "state");
    sha_add(sum, log->data, log->bytes);
    sha_add(sum, state->data, state->bytes);
    for (size_t i = 0; i < o->n; i++)
        for (int k = 0; k < 4; k++) {
            const struct tensor *t = st_find(f, tensor_name(name, o, i, k));
            if (t)
                sha_add(sum, t->data, t->bytes);
        }
    sha_end(sum, &d);
    if (memcmp(d.b, st_find(f, "sum")->data, sizeof d.b) == 0)
        return 0;
    return err_set(e, ERR_DAMAGED, "%s: the checkpoint is damaged", path);
}

int checkpoint_read(const char *path, struct optim *o, float *best, struct js **state, struct buf *log, struct err *e)
{
    char name[NAME_MAX_];
    struct st_file *f = NULL;
    *state = NULL;
    fs_remove_temps(path); /* each kill while one was written leaves as much as a checkpoint */
    if (!fs_exists(path))
        return err_set(e, ERR_NOTFOUND, "%s: no checkpoint", path);
    int rc = st_open(path, &f, e);
    if (rc)
        return rc == ERR_NOMEM ? rc : (e->code = ERR_DAMAGED);
    rc = check(f, o, path, e);
    if (rc == 0)
        rc = check_sum(f, o, path, e);
    if (rc == 0) {
        const struct tensor *t = st_find(f, "state");
        *state = js_parse((struct str){t->data, t->bytes}, path, e);
        if (!*state)
            rc = e->code = ERR_DAMAGED;
    }
    for (size_t i = 0; rc == 0 && i < o->n; i++)
        for (int k = 0; k < 4; k++) {
            const struct tensor *t = st_find(f, tensor_name(name, o, i, k));
            if (t && (k < 3 || best))
                memcpy(values(o, i, k, best), t->data, t->bytes);
        }
    if (rc == 0) {
        const struct tensor *t = st_find(f, "log");
        buf_put(log, t->data, t->bytes);
        if (log->failed)
            rc = err_nomem(e, t->bytes, "the training log");
    }
    st_close(f);
    return rc;
}
