/* SPDX-License-Identifier: MIT
 *
 * report: one page about a spec and what its runs gave. Each part appends a section to the page (nothing, when there is
 * nothing to show) and reads what it needs from the store; what cannot be read is named in the page, and the rest stands.
 */
#ifndef PKG_TOOLS_REPORT_H
#define PKG_TOOLS_REPORT_H

#include "runtime/base/json.h"
#include "tools/pkgraph/session.h"

struct report {
    struct session *s;
    struct buf b;
    const char *baseline; /* node that differences are taken to; NULL: the first evaluated adapter */
};

void report_graph(struct report *r);    /* report_graph.c */
void report_timeline(struct report *r); /* report_time.c */
void report_metrics(struct report *r);  /* report_metrics.c */
void report_curves(struct report *r);   /* report_curves.c */
void report_scores(struct report *r);   /* report_scores.c: heat map with the kept layers */
void report_windows(struct report *r);  /* report_blocks.c: windows on their matrices */
void report_spectra(struct report *r);  /* report_blocks.c: singular values */
void report_params(struct report *r);   /* report_tables.c */
void report_provenance(struct report *r);

/* The different artifacts of a type in the plan, in the order of the nodes. */
struct found {
    size_t node;
    int port;
    const struct artifact *a;
    size_t same; /* further nodes with the same content */
};
/* At most max of them; *total counts all. free() the list; NULL when out of memory. */
struct found *report_find(const struct report *r, const char *type, const char *op, size_t max, size_t *n, size_t *total);
/* A file of an artifact; NULL with a sentence in the page when it is not there. free() it. */
char *report_file(struct report *r, const struct artifact *a, const char *name);
struct js *report_json(struct report *r, const struct artifact *a, const char *name);
/* "<p class=dim>and 12 more ...": nothing when none are left out. */
void report_left_out(struct report *r, size_t shown, size_t total, const char *what);
/* The node that feeds an input port; -1: none. */
int report_feeder(const struct report *r, size_t node, const char *port);
/* "model.layers.3.self_attn.q_proj.weight" -> 3 and "q_proj" (-1 outside the layers). */
long report_split(const char *name, char *kind, size_t size);

#endif
