/* SPDX-License-Identifier: MIT
 *
 * watch: on what outside a computation depended: every file and folder it looked at, with what stat said at that moment
 * (or that there was none), and every environment variable it asked for. Whoever keeps a result keeps its watch, and the
 * result holds as long as watch_holds. One watch a thread; fs_read, fs_map, fs_exists and their kind report by themselves,
 * what opens a file by other means calls watch_file first.
 */
#ifndef PKG_BASE_WATCH_H
#define PKG_BASE_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum watch_kind { WATCH_ABSENT, WATCH_FILE, WATCH_ENV, WATCH_NO_ENV };

struct watched {
    enum watch_kind kind;
    char *name;                                /* path as it was given, or the variable */
    char *value;                               /* WATCH_ENV */
    int64_t dev, ino, mode, size, mtime, ctime; /* WATCH_FILE; times in ns */
};

struct watch {
    struct watched *v;
    size_t n, cap;
    bool unsure; /* a file changed just now, so that its times may not show the next change; or out of memory */
};

void watch_begin(struct watch *w); /* this thread reports to w, which is zeroed, until watch_end */
void watch_end(void);
void watch_release(struct watch *w);

void watch_file(const char *path);          /* does nothing when nobody watches */
const char *watch_env(const char *name);    /* getenv; what it gives is as short-lived as getenv's */

bool watch_holds(const struct watch *w);    /* all is as it was */

#endif
