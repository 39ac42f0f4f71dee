/* SPDX-License-Identifier: MIT */
#include "ops/lib/resume.h"

#include <math.h>
#include <string.h>

#include "runtime/base/sha.h"

/* ---- answers ---- */

static bool take_answer(void *u, const struct js *line)
{
    struct questions *q = u;
    const struct js *ids = js_get(line, "ids");
    int64_t at = js_int(js_get(line, "question"), -1);
    if (at < 0 || (size_t)at >= q->n || js_len(ids) == 0 || q->v[at].ids.n)
        return false;
    for (size_t i = 0; i < js_len(ids); i++) {
        int64_t id = js_int(js_at(ids, i), -1);
        if (id < 0 || id > INT32_MAX || ids_push(&q->v[at].ids, (int32_t)id)) {
            ids_release(&q->v[at].ids);
            return false;
        }
    }
    return true;
}

int resume_answers(struct op_run *r, struct questions *q, struct journal **out, struct err *e)
{
    struct sha *h = sha_new();
    struct digest d;
    char hex[DIGEST_HEX];
    *out = NULL;
    if (!h)
        return err_nomem(e, 0, "a digest");
    for (size_t i = 0; i < q->n; i++) {
        sha_add(h, &q->v[i].prompt.n, sizeof q->v[i].prompt.n);
        sha_add(h, q->v[i].prompt.p, q->v[i].prompt.n);
    }
    sha_end(h, &d);
    digest_hex(&d, hex);
    struct js *head = js_object();
    js_set(head, "answers", js_new_cstr(hex));
    return journal_open(r, "answers.jsonl", head, take_answer, q, out, e);
}

int resume_answer(void *journal, size_t question, const struct ids *ids, struct err *e)
{
    struct js *line = js_object(), *list = js_array();
    int bad = js_set(line, "question", js_new_int((int64_t)question));
    for (size_t i = 0; i < ids->n; i++)
        bad |= js_push(list, js_new_int(ids->v[i]));
    bad |= js_set(line, "ids", list);
    if (bad) {
        js_free(line);
        line = NULL;
    }
    return journal_add(journal, line, e);
}

/* ---- rows of numbers ---- */

static bool take_rows(void *u, const struct js *line)
{
    struct resume_rows *s = u;
    const struct js *x = js_get(line, "rows");
    size_t n = js_len(x);
    if (n == 0 || n % s->width || n > (s->n - s->upto) * s->width)
        return false;
    for (size_t i = 0; i < n; i++)
        s->x[s->upto * s->width + i] = js_num(js_at(x, i), NAN);
    s->upto += n / s->width;
    return true;
}

int resume_rows_open(struct op_run *r, const char *name, const char *of, struct resume_rows *s, struct err *e)
{
    struct js *head = js_object();
    s->upto = 0;
    js_set(head, "of", js_new_cstr(of));
    return journal_open(r, name, head, take_rows, s, &s->journal, e);
}

int resume_rows_upto(void *rows, size_t upto, struct err *e)
{
    struct resume_rows *s = rows;
    struct js *line = js_object(), *list = js_array();
    int bad = 0;
    for (size_t i = s->upto * s->width; i < upto * s->width; i++)
        bad |= js_push(list, js_new_num(s->x[i]));
    bad |= js_set(line, "rows", list);
    s->upto = upto;
    if (bad) {
        js_free(line);
        line = NULL;
    }
    return journal_add(s->journal, line, e);
}

void resume_rows_close(struct resume_rows *s)
{
    journal_close(s->journal);
    s->journal = NULL;
}
