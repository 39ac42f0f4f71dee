/* SPDX-License-Identifier: MIT
 *
 * judge_request: what is sent to a judge and what comes back, without the sending (judge.h).
 */
#ifndef PKG_OPS_LIB_JUDGE_REQUEST_H
#define PKG_OPS_LIB_JUDGE_REQUEST_H

#include "ops/lib/judge.h"

/* The template of the prompt: ours, or the file's. ERR_INPUT: it lacks one of the three places. */
int judge_template(const char *path, struct buf *out, struct err *e);
/* The body of the request. swapped: the output stands first. */
int judge_body(const struct judge_options *o, struct str template, const struct judge_pair *p, bool swapped, struct buf *out, struct err *e);

struct judge_reply {
    char *text;        /* malloc'ed; NULL: not an answer of a chat endpoint */
    double preference; /* for the order that was asked, turned back; NaN: neither verdict */
    double tokens_in, tokens_out; /* NaN: not said */
};
void judge_read(const struct judge_options *o, struct str body, bool swapped, struct judge_reply *out);
/* The server's reason in an error's body, at most 300 bytes on one line, with `secret` (may be NULL) blotted out. */
void judge_reason(struct str body, const char *secret, struct buf *out);

#endif
