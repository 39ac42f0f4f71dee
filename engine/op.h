/* SPDX-License-Identifier: MIT
 *
 * op: what an operator is and all that it sees of the engine. An operator is one file ops/NAME.c that ends in one
 * `const struct op op_NAME` (dashes become underscores); the build collects them into a table. The engine knows
 * operators only through this header and is handed the table as an argument.
 *
 * Life of a node: parameters are parsed and defaulted from the table; `sources` names the user's files it reads, whose
 * digests enter the key; `infer` checks types and shapes and says what comes out, from descriptors alone; `cost`
 * estimates; `run` does the work on a pool thread, with constant inputs, and writes its files into a scratch folder
 * which the engine digests and stores.
 */
#ifndef PKG_ENGINE_OP_H
#define PKG_ENGINE_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/dtype.h"
#include "runtime/base/err.h"
#include "runtime/base/json.h"
#include "runtime/exec/progress.h"

/* ---- tables ---- */

enum param_type {
    PARAM_BOOL,     /* true, false */
    PARAM_INT,      /* 64-bit; 1_000 and 1e3 are accepted when integral */
    PARAM_FLOAT,    /* 3e-4 */
    PARAM_STRING,
    PARAM_ENUM,     /* one of choices */
    PARAM_PATH,     /* a string; relative to the spec file it stands in, made absolute by the engine; never in the key:
                       the digests that `sources` names are */
    PARAM_SIZE,     /* bytes: 16GiB, 512MB, 1000 */
    PARAM_DURATION, /* seconds: 30min, 90s, 2h, 45 */
    PARAM_INTS,     /* list of integers; one integer stands for a list of one */
    PARAM_STRINGS,  /* list of strings; one string stands for a list of one; `choices`, if given, limits the elements */
    PARAM_MAP,      /* any YAML mapping, as JSON */
};

enum {
    PARAM_REQUIRED = 1, /* no default, must be given */
    PARAM_NOKEY = 2,    /* does not change the output bytes: not part of the key */
};

struct param_def {
    const char *name;
    enum param_type type;
    const char *fallback; /* default, as one would write it in YAML ("0.05", "[attention, ffn]"); NULL: unset */
    double min, max;      /* PARAM_INT, FLOAT, SIZE, DURATION, INTS: inclusive range when min < max */
    const char *choices;  /* "a|b|c" */
    const char *unset;    /* a word that means "not set" ("all" for a limit, "none") and is accepted as a value; may be NULL */
    const char *help;
    unsigned flags;
    const char *(*resolve)(const char *value); /* PARAM_ENUM: the value that enters the key and that the op sees
                                                  (compute: auto -> bf16); may be NULL */
};

enum { PORT_OPTIONAL = 1, PORT_VARIADIC = 2 };

struct port_def {
    const char *name;
    const char *type; /* artifact type: "model", "dataset", "scores", ...; "a|b" on an input accepts either.
                         On an output "a|b" means that infer decides and sets "type" through op_set_output_type */
    const char *help; /* what and in which shape, in words */
    unsigned flags;
};

struct op_args;
struct op_sources;
struct op_infer;
struct op_run;

/* Another way to the same bytes that needs less memory and more time: run takes it when op_memory is less than peak_memory. */
struct op_less {
    uint64_t memory; /* bytes; 0: there is no such way */
    const char *how; /* constant, for the plan: "recomputes activations" */
};

/* Estimate for scheduling and for the plan; zero means unknown. */
enum { OP_LESS_MAX = 2 };
struct op_cost {
    double flops;
    enum dtype products; /* of what flops counts: DT_F32, or DT_BF16 */
    double bytes_read, bytes_written;
    uint64_t peak_memory; /* bytes, beyond the process itself */
    int max_threads;      /* 0: as many as there are */
    struct op_less less[OP_LESS_MAX]; /* descending */
};

enum { OP_RETRYABLE = 1, OP_PURE_IO = 2 };

struct op {
    const char *name;
    int version;                    /* in every key; bumped when output bytes change */
    const char *summary;            /* one line */
    const char *doc;                /* paragraphs for `ops NAME` and the reference; may be NULL */
    const struct port_def *inputs;  /* each table ends with {0}; NULL means none */
    const struct port_def *outputs; /* the first is the main output */
    const struct param_def *params;
    unsigned flags;
    int (*sources)(const struct op_args *a, struct op_sources *s, struct err *e); /* may be NULL */
    int (*infer)(struct op_infer *x, struct err *e);                              /* required */
    void (*cost)(const struct op_args *a, struct op_cost *c);                     /* may be NULL */
    int (*run)(struct op_run *r, struct err *e);                                  /* required */
};

/* ---- parameters and plan-time inputs; available in all four functions ---- */

bool op_is_set(const struct op_args *a, const char *param); /* given, or has a default that is not the unset word */
bool op_is_given(const struct op_args *a, const char *param); /* stands in the spec (defaults: section included) or --set */
bool op_bool(const struct op_args *a, const char *param);
int64_t op_int(const struct op_args *a, const char *param);      /* INT, SIZE; 0 when unset */
double op_float(const struct op_args *a, const char *param);     /* FLOAT, INT, DURATION; 0 when unset */
const char *op_str(const struct op_args *a, const char *param);  /* STRING, ENUM, PATH (absolute); NULL when unset */
size_t op_count(const struct op_args *a, const char *param);     /* elements of INTS or STRINGS */
int64_t op_int_at(const struct op_args *a, const char *param, size_t i);
const char *op_str_at(const struct op_args *a, const char *param, size_t i);
const struct js *op_map(const struct op_args *a, const char *param); /* NULL when unset */

/* The plan-time descriptor of an input artifact: what its producer's infer gave. NULL when the port is not connected.
 * Every descriptor is an object; its "type" is the artifact type. */
const struct js *op_input(const struct op_args *a, const char *port);
size_t op_input_count(const struct op_args *a, const char *port); /* variadic ports; 0 or 1 else */
const struct js *op_input_at(const struct op_args *a, const char *port, size_t i);
const char *op_spec_dir(const struct op_args *a);

/* ---- sources ---- */

/* The node reads the file at `path` (absolute); its content's digest enters the key under `label`, which must not hold a
 * path or host ("config.json", "model-00001-of-00002.safetensors"). Returns 0 or ERR_NOMEM. */
int op_source(struct op_sources *s, const char *label, const char *path);

/* ---- infer ---- */

const struct op_args *op_infer_args(const struct op_infer *x);
/* Sets the descriptor of an output (takes over `desc`, an object; "type" is added by the engine). Every output that the
 * node will produce must be set; one left out is not produced. */
int op_set_output(struct op_infer *x, const char *port, struct js *desc, struct err *e);
int op_set_output_type(struct op_infer *x, const char *port, const char *type);
/* Where the coming error belongs, for file:line:column and the caret: a parameter's value, an input's connection. */
void op_blame_param(struct op_infer *x, const char *param);
void op_blame_input(struct op_infer *x, const char *port);

/* ---- run ---- */

const struct op_args *op_run_args(const struct op_run *r);
int op_threads(const struct op_run *r);         /* this node's share; par_set_threads is already called */
uint64_t op_memory(const struct op_run *r);     /* bytes this node may use */
const struct progress *op_progress(const struct op_run *r);

/* Absolute path of file `name` of the input artifact at `port` (element i of a variadic port; 0 else). *path is owned by
 * the run. ERR_NOTFOUND when the artifact has no such file (or the port is not connected). */
int op_in_file(struct op_run *r, const char *port, size_t i, const char *name, const char **path, struct err *e);
/* Absolute path to which the op writes file `name` of output `port`. The file must be closed when run returns. */
int op_out_file(struct op_run *r, const char *port, const char *name, const char **path, struct err *e);
/* The SHA-256 of such a file, closed by now, if the op knows it from writing it: then nobody reads it again. */
struct digest;
void op_out_digest(struct op_run *r, const char *port, const char *name, const struct digest *d);
/* A whole file of an output at once. For what is small: content that the store has already (the same configuration in many
 * nodes) touches no disk. */
int op_out_bytes(struct op_run *r, const char *port, const char *name, const void *p, size_t n, struct err *e);
int op_out_json(struct op_run *r, const char *port, const char *name, const struct js *j, struct err *e); /* pretty; j NULL: ERR_NOMEM */
/* Adds a fact to the stored descriptor of an output (takes over v). Not for times, paths or hosts. */
int op_out_fact(struct op_run *r, const char *port, const char *key, struct js *v, struct err *e);
/* A readable path of the content with this digest: one of the user's files (checked by stat) or a blob of the store. */
int op_resolve(struct op_run *r, const char *digest_hex, const char **path, struct err *e);
/* The path and digest of a source that `sources` named. digest_hex: 65 bytes. */
int op_source_file(struct op_run *r, const char *label, const char **path, char *digest_hex, struct err *e);
/* A folder that survives a kill and belongs to this node's key: checkpoints of long work. Removed when the node is stored. */
int op_checkpoint_dir(struct op_run *r, const char **path, struct err *e);

#endif
