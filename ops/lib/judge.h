/* SPDX-License-Identifier: MIT
 *
 * judge: which of two outputs a model behind an OpenAI-compatible endpoint (POST .../chat/completions) prefers. Pairs are asked
 * about by several threads at once. What passes is tried again with growing pauses (no connection, time out, 408, 409, 425, 429, 5xx,
 * an answer that is no such answer), or after what the server asks for (Retry-After), which holds back all threads. Every answer goes to
 * a journal as it comes, under the digest of what was asked: an interrupted judging goes on and pays for nothing twice.
 *
 * The key is read from the environment when judging begins; it is in no file, key, message or event of ours.
 */
#ifndef PKG_OPS_LIB_JUDGE_H
#define PKG_OPS_LIB_JUDGE_H

#include "engine/op.h"
#include "runtime/base/buf.h"

struct judge_options {
    const char *url;           /* of the API (".../v1"), or all of it up to /chat/completions */
    const char *model;         /* as the endpoint calls it */
    const char *key;           /* name of the environment variable that holds the key */
    bool need_key;             /* it must be set */
    const char *prompt;        /* a file with {instruction}, {output_1}, {output_2}; NULL: ours */
    const char *verdict[3];    /* the last word of an answer: the first output, the second, a tie */
    const struct js *more;     /* further members of the request; null takes one away; NULL: none */
    bool both;                 /* ask in both orders; else in one, drawn for each pair */
    uint64_t seed;
    size_t threads, tries;
    double per_minute;         /* requests; 0: no limit */
    double timeout;            /* seconds of a try */
    double max_cost;           /* 0: no limit */
    double price_in, price_out; /* of a million tokens */
};

struct judge_pair {
    struct str instruction, reference, output;
    double preference; /* out: 1 the reference, 2 the output, 1.5 a tie, between in both orders; NaN: no verdict */
    char *text;        /* out: what was answered, malloc'ed; in both orders with a line between */
};

struct judge_sums {
    double tokens_in, tokens_out, cost;
    size_t asked, repeated; /* requests that were answered in this run; tries beyond the first */
};

/* ERR_IO with the server's words when it refuses or stays silent; ERR_INPUT when the cost limit is reached. */
int judge_pairs(struct op_run *r, const struct judge_options *o, struct judge_pair *p, size_t n, struct judge_sums *sums, struct err *e);

#endif
