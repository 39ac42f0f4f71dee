/* SPDX-License-Identifier: MIT
 *
 * hub: the local cache of the Hugging Face hub, read without any network: $HF_HUB_CACHE, else $HF_HOME/hub, else
 * ~/.cache/huggingface/hub; models--org--name/refs/REV -> commit, snapshots/COMMIT/ is the folder.
 */
#ifndef PKG_FORMATS_HUB_H
#define PKG_FORMATS_HUB_H

#include "runtime/base/err.h"

/* `name` is "org/name" or "org/name@revision" (a branch, tag or commit; main by default). *dir is malloc'ed. What is
 * missing is ERR_INPUT with the command that fetches it. */
int hub_find(const char *name, char **dir, struct err *e);
/* The folder itself, or of a repository of the cache (models--org--name) the snapshot of its main branch. *dir is malloc'ed. */
int hub_folder(const char *path, char **dir, struct err *e);

#endif
