/* SPDX-License-Identifier: MIT */
#include "runtime/base/dso.h"

#include <dlfcn.h>
#include <string.h>

static int missing(const struct dso *d, struct err *e)
{
    const char *why = dlerror();
    return err_set(e, ERR_UNSUPPORTED, "%s cannot be loaded: %s%s%s", d->what, why ? why : d->file,
                   *d->package ? "; install the package " : "; install it", d->package);
}

static int fill(struct dso *d, struct err *e)
{
    const char *name = strrchr(d->file, '/');
    void *lib = dlopen(d->file, RTLD_NOW | RTLD_LOCAL);
    if (!lib && name)
        lib = dlopen(name + 1, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return missing(d, e);
    for (size_t i = 0; i < d->n; i++) {
        void *f = dlsym(lib, d->names[i]);
        if (!f) {
            int rc = missing(d, e);
            dlclose(lib);
            return rc;
        }
        memcpy((char *)d->table + i * sizeof f, &f, sizeof f);
    }
    return 0;
}

int dso_load(struct dso *d, struct err *e)
{
    if (atomic_load_explicit(&d->loaded, memory_order_acquire))
        return 0;
    pthread_mutex_lock(&d->lock);
    int rc = atomic_load_explicit(&d->loaded, memory_order_relaxed) ? 0 : fill(d, e);
    if (rc == 0)
        atomic_store_explicit(&d->loaded, true, memory_order_release);
    pthread_mutex_unlock(&d->lock);
    return rc;
}
