/* SPDX-License-Identifier: MIT
 *
 * export_dir: a folder that is filled with care. Every file is written under a temporary name in the folder; only when all
 * are there do they get their names. A file that is already there with the same content is left alone; one with another
 * content stops the export before anything is renamed, unless force.
 */
#ifndef PKG_TOOLS_EXPORT_DIR_H
#define PKG_TOOLS_EXPORT_DIR_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"

struct export_dir {
    char *path;
    bool force;
    bool link; /* hard links to what lies in the store instead of copies */
    size_t n;
    struct export_file {
        char *name, *tmp;
        bool same; /* the file that is there has this content */
    } *files;
};

int export_begin(struct export_dir *d, const char *path, bool force, struct err *e); /* makes the folder */
/* The temporary path to which file `name` is to be written; lives as long as d. */
int export_add(struct export_dir *d, const char *name, const char **tmp, struct err *e);
/* d->link: as a hard link when the file is one of the store's (read-only) and on the same file system; else a copy, which
 * shares its blocks where the file system can. */
int export_copy(struct export_dir *d, const char *name, const char *from, struct err *e);
int export_text(struct export_dir *d, const char *name, struct str text, struct err *e);
int export_end(struct export_dir *d, struct err *e);  /* checks, then renames */
void export_release(struct export_dir *d);            /* removes what has no name yet */

#endif
