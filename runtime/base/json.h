/* SPDX-License-Identifier: MIT
 *
 * json: JSON values (a thin face of jansson, the only file that includes it) and our writer: UTF-8, keys sorted,
 * integers as they are, reals in the shortest form that reads back to the same double, so that equal values give
 * equal bytes. `struct js` is opaque and counted: js_ref/js_free are safe from any thread as long as nobody
 * changes the value. Getters borrow; setters with `_new` in their doc steal their argument.
 */
#ifndef PKG_BASE_JSON_H
#define PKG_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"

struct js;

enum js_kind { JS_NONE, JS_NULL, JS_BOOL, JS_INT, JS_REAL, JS_STRING, JS_ARRAY, JS_OBJECT };

/* Parses exactly one value. Duplicate keys, trailing text, NUL characters in strings are allowed only where noted:
 * duplicates are refused. Errors name `what` (a file name), line and column. NULL on error. */
struct js *js_parse(struct str text, const char *what, struct err *e);
struct js *js_read(const char *path, struct err *e); /* a whole file, at most 1 GiB */

struct js *js_ref(const struct js *j); /* NULL gives NULL */
void js_free(struct js *j);              /* drops one reference; NULL is fine */
struct js *js_copy(const struct js *j); /* deep; NULL when out of memory */

enum js_kind js_kind(const struct js *j); /* JS_NONE for NULL */
bool js_equal(const struct js *a, const struct js *b);

/* Reading. A NULL or wrong-kind j is fine: the answer is NULL, 0 or the default. */
const struct js *js_get(const struct js *j, const char *key);
const struct js *js_at(const struct js *j, size_t i);
size_t js_len(const struct js *j); /* of an array or object; 0 else */
struct str js_str(const struct js *j); /* {NULL, 0} unless a string */
const char *js_cstr(const struct js *j); /* NULL unless a string; NUL-terminated */
int64_t js_int(const struct js *j, int64_t otherwise);   /* a real with an integral value counts */
double js_num(const struct js *j, double otherwise);     /* integers count */
bool js_bool(const struct js *j, bool otherwise);
/* Keys in file order: for (it = js_iter(o); it; it = js_next(o, it)) js_iter_key(it), js_iter_value(it). */
void *js_iter(const struct js *j);
void *js_next(const struct js *j, void *it);
const char *js_iter_key(void *it);
const struct js *js_iter_value(void *it);

/* Building. Constructors return NULL when out of memory; js_set and js_push take over `v` (a _new reference),
 * also on failure, and treat v == NULL as failure. Strings that are not UTF-8 are stored with U+FFFD. */
struct js *js_object(void);
struct js *js_array(void);
struct js *js_new_str(struct str s);
struct js *js_new_cstr(const char *z);
struct js *js_new_int(int64_t v);
struct js *js_new_num(double v); /* nan and infinities become null */
struct js *js_new_bool(bool v);
struct js *js_new_null(void);
int js_set(struct js *obj, const char *key, struct js *v);
int js_push(struct js *arr, struct js *v);
int js_del(struct js *obj, const char *key);

/* Writing. compact: one line, no spaces after the separators `,` and `:` ("{"a":1,"b":[1,2]}").
 * pretty: one key a line for objects that hold containers, one-space indent; short leaves on one line. */
void js_write(struct buf *out, const struct js *j);
void js_write_ordered(struct buf *out, const struct js *j); /* compact, but keys stand as they were put in, not sorted */
void js_write_pretty(struct buf *out, const struct js *j);
void js_write_str(struct buf *out, struct str s);  /* one quoted, escaped string */
void js_write_num(struct buf *out, double v);      /* shortest round trip: "1.0", "0.0003"; "1e-06" below 1e-5 and from 1e16 on */
int js_save(const char *path, const struct js *j, struct err *e); /* pretty plus newline; by fs_write */

/* How often memory was refused to any JSON value of this process. Values are built without looking at each js_set:
 * while this is not 0, one that lacks a field may be taken for a good one, so what is made of it is not to be kept. */
unsigned long js_refusals(void);

const char *js_library_version(void); /* of Jansson */

#endif
