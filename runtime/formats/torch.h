/* SPDX-License-Identifier: MIT
 *
 * torch: the tensors of a file written by torch.save since PyTorch 1.6: a zip archive of stored entries, one a pickle of a
 * dictionary from names to tensors, the others the bytes of its storages, read through mmap where they lie. The pickle is
 * read by a machine that knows the few instructions and names that such a dictionary consists of and calls nothing; every
 * other file is refused. Immutable after opening; any thread.
 */
#ifndef PKG_FORMATS_TORCH_H
#define PKG_FORMATS_TORCH_H

#include <stdbool.h>

#include "runtime/formats/safetensors.h"

struct torch_file;

bool torch_is(const char *path); /* a zip archive, or a pickle of torch.save before 1.6 (which torch_open refuses by name) */
int torch_open(const char *path, struct torch_file **out, struct err *e);
void torch_close(struct torch_file *f); /* NULL is fine */
const char *torch_path(const struct torch_file *f);
size_t torch_count(const struct torch_file *f);
const struct tensor *torch_at(const struct torch_file *f, size_t i); /* by name, ascending */

#endif
