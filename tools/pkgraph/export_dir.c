/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/export_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/base/guard.h"
#include "runtime/base/sha.h"

int export_begin(struct export_dir *d, const char *path, bool force, struct err *e)
{
    *d = (struct export_dir){.path = strdup(path), .force = force};
    if (!d->path)
        return err_nomem(e, strlen(path), "a path");
    return fs_mkdirs(path, e);
}

int export_add(struct export_dir *d, const char *name, const char **tmp, struct err *e)
{
    struct export_file *p = realloc(d->files, (d->n + 1) * sizeof *p);
    if (!p)
        return err_nomem(e, (d->n + 1) * sizeof *p, "file names");
    d->files = p;
    p += d->n;
    *p = (struct export_file){.name = strdup(name)};
    if (!p->name || asprintf(&p->tmp, "%s/.%s.tmp-%ld", d->path, name, (long)getpid()) < 0) {
        free(p->name);
        return err_nomem(e, strlen(name), "file names");
    }
    d->n++;
    *tmp = p->tmp;
    return 0;
}

int export_copy(struct export_dir *d, const char *name, const char *from, struct err *e)
{
    const char *tmp;
    struct stat st;
    int rc = export_add(d, name, &tmp, e);
    if (rc)
        return rc;
    unlink(tmp); /* of a process that died with our number */
    if (d->link && stat(from, &st) == 0 && !(st.st_mode & 0222) && link(from, tmp) == 0)
        return 0;
    return fs_copy(from, tmp, e);
}

int export_text(struct export_dir *d, const char *name, struct str text, struct err *e)
{
    const char *tmp;
    int rc = export_add(d, name, &tmp, e);
    return rc ? rc : fs_write_atomic(tmp, text.p, text.n, e);
}

/* Sets f->same; a foreign file without force is ERR_INPUT. */
static int check(struct export_dir *d, struct export_file *f, struct err *e)
{
    struct digest a, b;
    uint64_t na, nb;
    char *path = fs_join(d->path, f->name);
    int rc = path ? 0 : err_nomem(e, strlen(f->name), "a path");
    if (rc || !fs_exists(path))
        goto out;
    rc = fs_size(path, &na, e);
    if (!rc)
        rc = fs_size(f->tmp, &nb, e);
    if (!rc && na == nb) {
        rc = sha_file(path, &a, NULL, e);
        if (!rc)
            rc = sha_file(f->tmp, &b, NULL, e);
        f->same = !rc && digest_cmp(&a, &b) == 0;
    }
    if (!rc && !f->same && !d->force)
        rc = err_set(e, ERR_INPUT, "%s is there already with another content; --force replaces it", path);
out:
    free(path);
    return rc;
}

int export_end(struct export_dir *d, struct err *e)
{
    int rc = guard_end(e);
    for (size_t i = 0; !rc && i < d->n; i++)
        rc = check(d, &d->files[i], e);
    for (size_t i = 0; !rc && i < d->n; i++) {
        struct export_file *f = &d->files[i];
        char *path = f->same ? NULL : fs_join(d->path, f->name);
        if (!f->same)
            rc = fs_sync_file(f->tmp, e);
        if (!rc && !f->same && (!path || rename(f->tmp, path) != 0))
            rc = err_errno(e, "%s/%s", d->path, f->name);
        free(path);
    }
    return rc ? rc : fs_sync_dir(d->path, e);
}

void export_release(struct export_dir *d)
{
    for (size_t i = 0; i < d->n; i++) {
        unlink(d->files[i].tmp); /* gone when it was renamed */
        free(d->files[i].name);
        free(d->files[i].tmp);
    }
    free(d->files);
    free(d->path);
    *d = (struct export_dir){0};
}
