/* SPDX-License-Identifier: MIT
 *
 * key: the name under which a node's result is stored: SHA-256 over everything that decides its bytes, and nothing else.
 *
 * Encoding: a sequence of fields, each with its length in front (8 bytes, little-endian), so that no two different lists
 * of fields give the same bytes:
 *   "pkgraph key 1", op name, op version, number of parameters, then for each, by name: name, kind letter, canonical value;
 *   number of inputs, then for each, by port name (a variadic port in the order of the spec): port, artifact digest;
 *   number of sources, then for each, by label and digest: label, digest.
 * Left out: PARAM_NOKEY parameters, PARAM_PATH ones (but a word of the table in place of a path is a text), those without a value. Never in it: paths, node names, order in the
 * file, threads, times, host. The expanded key is a JSON object of the same fields: op, version, params, inputs, sources.
 * Pure functions; any thread.
 */
#ifndef PKG_ENGINE_KEY_H
#define PKG_ENGINE_KEY_H

#include "engine/plan.h"

/* inputs: one artifact an edge of n, in edge order. expanded may be NULL. ERR_NOMEM; ERR_INTERNAL when a value cannot be
 * written. */
int key_compute(const struct node *n, const struct artifact *const *inputs, const struct plan_source *sources, size_t n_sources,
                struct digest *out, struct js **expanded, struct err *e);

/* What differs between two expanded keys, in the order op, version, params, inputs, sources, each by name. */
enum key_part { KEY_OP, KEY_VERSION, KEY_PARAM, KEY_INPUT, KEY_SOURCE };
struct key_change {
    enum key_part part;
    char *name;      /* of the parameter, port or source; "" for op and version */
    char *was, *now; /* as text (parameters as JSON without quotes, digests in hex); NULL: was not, is not there */
};
int key_changes(const struct js *was, const struct js *now, struct key_change **out, size_t *n, struct err *e);
void key_changes_free(struct key_change *c, size_t n);
/* "learning_rate 0.0003 -> 0.001, input lora changed", at most `most` of them, then "and N more". */
void key_changes_text(struct buf *out, const struct key_change *c, size_t n, size_t most);

#endif
