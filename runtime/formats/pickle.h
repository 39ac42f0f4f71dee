/* SPDX-License-Identifier: MIT
 *
 * pickle: the dictionary of tensors that torch.save writes (protocols 2 and 3), read by a machine that can do nothing else. It knows
 * numbers, strings, tuples, lists, dictionaries, and these names: collections.OrderedDict, torch._utils._rebuild_tensor_v2
 * and _rebuild_parameter, and torch's storage types. Any other name or instruction ends the reading with an error that
 * says which. Nothing is imported or called.
 */
#ifndef PKG_FORMATS_PICKLE_H
#define PKG_FORMATS_PICKLE_H

#include <stdint.h>

#include "runtime/base/arena.h"
#include "runtime/base/dtype.h"
#include "runtime/base/err.h"

enum { PICKLE_MAX_DIMS = 8 };

struct pickle_tensor {
    struct str name; /* in the pickle */
    enum dtype dtype;
    struct str storage; /* key of the storage */
    uint64_t numel;     /* of the storage */
    uint64_t offset;    /* elements */
    int ndim;
    uint64_t shape[PICKLE_MAX_DIMS], stride[PICKLE_MAX_DIMS];
};

/* The tensors of the outermost dictionary, in its order; memory is the arena's. Values of other kinds are skipped. */
int pickle_tensors(struct str pickle, const char *what, struct arena *a, struct pickle_tensor **out, size_t *n, struct err *e);

#endif
