/* SPDX-License-Identifier: MIT */
#include "runtime/base/watch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* How long two changes may leave the same ctime: the kernel's clock of files moves every 1 to 10 ms; a time without a fraction is that
 * of a file system that keeps none. */
static int64_t tick_of(int64_t ctime)
{
    return ctime % 1000000000 ? 20000000 : 2000000000;
}

static _Thread_local struct watch *current;

void watch_begin(struct watch *w)
{
    *w = (struct watch){0};
    current = w;
}

void watch_end(void)
{
    current = NULL;
}

void watch_release(struct watch *w)
{
    for (size_t i = 0; i < w->n; i++) {
        free(w->v[i].name);
        free(w->v[i].value);
    }
    free(w->v);
    *w = (struct watch){0};
}

static int64_t ns(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void look(const char *path, struct watched *out)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        out->kind = WATCH_ABSENT;
        return;
    }
    out->kind = WATCH_FILE;
    out->dev = (int64_t)st.st_dev;
    out->ino = (int64_t)st.st_ino;
    out->mode = (int64_t)st.st_mode;
    out->size = (int64_t)st.st_size;
    out->mtime = ns(st.st_mtim);
    out->ctime = ns(st.st_ctim);
}

static bool same(const struct watched *a, const struct watched *b)
{
    return a->kind == b->kind && a->dev == b->dev && a->ino == b->ino && a->mode == b->mode && a->size == b->size && a->mtime == b->mtime &&
           a->ctime == b->ctime;
}

/* Takes over value. */
static void add(struct watch *w, struct watched x, const char *name)
{
    if (w->n == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 16;
        struct watched *v = realloc(w->v, cap * sizeof *v);
        if (!v) {
            w->unsure = true;
            free(x.value);
            return;
        }
        w->v = v;
        w->cap = cap;
    }
    x.name = strdup(name);
    if (!x.name || (x.kind == WATCH_ENV && !x.value))
        w->unsure = true;
    if (x.name)
        w->v[w->n++] = x;
    else
        free(x.value);
}

void watch_file(const char *path)
{
    struct watched x = {0};
    struct timespec now;
    if (!current)
        return;
    look(path, &x);
    if (current->n && strcmp(current->v[current->n - 1].name, path) == 0 && same(&current->v[current->n - 1], &x))
        return; /* exists, then read: mostly it comes twice in a row */
    clock_gettime(CLOCK_REALTIME, &now);
    if (x.kind == WATCH_FILE && x.ctime + tick_of(x.ctime) > ns(now))
        current->unsure = true;
    add(current, x, path);
}

const char *watch_env(const char *name)
{
    const char *value = getenv(name);
    if (current)
        add(current, (struct watched){.kind = value ? WATCH_ENV : WATCH_NO_ENV, .value = value ? strdup(value) : NULL}, name);
    return value;
}

static bool holds(const struct watched *x)
{
    struct watched is = {0};
    const char *value;
    switch (x->kind) {
    case WATCH_ENV:
    case WATCH_NO_ENV:
        value = getenv(x->name);
        return x->kind == WATCH_ENV ? value && strcmp(value, x->value) == 0 : !value;
    case WATCH_ABSENT:
    case WATCH_FILE:
        look(x->name, &is);
        return same(x, &is);
    }
    return false;
}

bool watch_holds(const struct watch *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (!holds(&w->v[i]))
            return false;
    return !w->unsure;
}
