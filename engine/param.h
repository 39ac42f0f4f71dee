/* SPDX-License-Identifier: MIT
 *
 * param: from a YAML value to a typed parameter by the operator's table, and back to text. Numbers may carry `_` between
 * digits, sizes and durations a unit; the range, the choices and the unset word of the table are enforced here, so that
 * operators see only values that their table allows.
 */
#ifndef PKG_ENGINE_PARAM_H
#define PKG_ENGINE_PARAM_H

#include "engine/graph.h"
#include "runtime/base/arena.h"

struct ynode;

/* Why a value was refused: "expected an integer from 1 to 64, found "many"", and what to write instead ("" when unknown). */
struct param_fault {
    char text[512];
    char hint[256];
    const struct ynode *at; /* the offending element of a list, or the value itself */
};

/* Parses y as d says. Memory comes from `arena`, except v->map (counted; the caller keeps and frees it). Relative paths
 * become absolute from `dir`; left as they are: `scheme:rest` ("hf:org/name") and, of a PATH, the words in `choices`. Returns 0, ERR_INPUT with *fault filled, or ERR_NOMEM. */
int param_parse(const struct param_def *d, const struct ynode *y, const char *dir, struct arena *arena,
                struct param_value *v, struct param_fault *fault);
/* The default of the table; v->set is false when there is none. ERR_INTERNAL when the table's own text is wrong. */
int param_fallback(const struct param_def *d, const char *dir, struct arena *arena, struct param_value *v, struct err *e);

/* Is s one of "a|b|c"? */
bool param_is_choice(const char *choices, struct str s);
/* Canonical text: equal values give equal text whatever way they were written. Numbers in their shortest form (sizes in
 * bytes, durations in seconds), strings as they are, lists and maps as compact JSON, unset as "null". */
void param_canon(struct buf *out, const struct param_def *d, const struct param_value *v);
/* The same as a JSON value (null when unset); NULL when out of memory. */
struct js *param_json(const struct param_def *d, const struct param_value *v);
bool param_equal(const struct param_def *d, const struct param_value *a, const struct param_value *b);

const char *param_type_name(enum param_type t); /* "integer", "list of strings" */
/* "integer from 1 to 64", "one of svd, default", "size (16GiB)": for messages and documentation. */
void param_describe(struct buf *out, const struct param_def *d);

/* Text to number. True when all of s is one; the units are those of the language reference. */
bool parse_int(struct str s, int64_t *v);
bool parse_float(struct str s, double *v);
bool parse_size(struct str s, int64_t *v);
bool parse_duration(struct str s, double *v);

#endif
