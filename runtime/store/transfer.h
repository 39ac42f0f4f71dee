/* SPDX-License-Identifier: MIT
 *
 * transfer: records and their files between a store and a remote. Nothing that arrives is believed: a record must name
 * the key that was asked for and pass its own digest, each file must have the digest and size that the record says. Files
 * are fetched into DIR/partial and go on from there when a transfer broke off. A record is sent after all its files.
 * Any thread.
 */
#ifndef PKG_STORE_TRANSFER_H
#define PKG_STORE_TRANSFER_H

#include "runtime/exec/progress.h"
#include "runtime/store/remote.h"
#include "runtime/store/store.h"

/* How long the files of a record may take: `times` what computing it took, and `least` seconds. After a few seconds a
 * transfer that will take longer is given up: ERR_CANCELLED (though p did not ask for it), and the message says so. What
 * came is kept for the next time. NULL: as long as it takes. */
struct patience {
    double least, times;
};

/* The record of the key, its files in the store; the caller puts the record. ERR_NOTFOUND: the remote has none.
 * ERR_DAMAGED: what it sent is not what it should be. */
int transfer_pull(struct store *s, struct remote *r, const struct digest *key, const struct patience *patience, const struct progress *p,
                  struct record **out, struct err *e);

/* The same without its files: what fetching would give, each file asked for and none read. */
int transfer_look(struct store *s, struct remote *r, const struct digest *key, const struct progress *p, struct record **out, struct err *e);

struct transfer_result {
    size_t records, files; /* that moved; fetching counts the files of its records */
    uint64_t bytes;
};
int transfer_push(struct store *s, struct remote *r, const struct record *rec, const struct patience *patience, const struct progress *p,
                  struct transfer_result *sent, struct err *e);
/* Many keys, several at a time, until the first error. Sending passes over those that are not in the store, fetching (which
 * puts the records) over those that the remote has not. */
int transfer_push_all(struct store *s, struct remote *r, const struct digest *keys, size_t n, struct transfer_result *moved, struct err *e);
int transfer_pull_all(struct store *s, struct remote *r, const struct digest *keys, size_t n, struct transfer_result *moved, struct err *e);

#endif
