/* SPDX-License-Identifier: MIT
 *
 * zip: where the stored (uncompressed) entries of a zip archive lie in its map; 64-bit archives included (APPNOTE.TXT of
 * PKWARE). Every offset is checked; compressed and encrypted entries are refused when asked for.
 */
#ifndef PKG_FORMATS_ZIP_H
#define PKG_FORMATS_ZIP_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"

struct zip_entry {
    struct str name; /* in the map */
    uint64_t header; /* offset of the local header */
    uint64_t size, packed;
    uint16_t method, flags;
};

struct zip {
    const uint8_t *p;
    size_t n;
    struct zip_entry *v; /* by name */
    size_t n_entries;
};

/* `what` names the file in errors. The map p[0..n) outlives z. */
int zip_read(struct zip *z, const uint8_t *p, size_t n, const char *what, struct err *e);
void zip_release(struct zip *z);
const struct zip_entry *zip_find(const struct zip *z, struct str name); /* NULL when absent */
/* The bytes of an entry. */
int zip_data(const struct zip *z, const struct zip_entry *x, const char *what, size_t *offset, size_t *size, struct err *e);

#endif
