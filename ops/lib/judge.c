/* SPDX-License-Identifier: MIT
 *
 * A question is a pair in one order. Threads take the next question under the lock, ask it until it is answered or given up, and
 * write the answer to the journal under the lock; the node's own thread waits, tells progress and polls for cancellation. The
 * first error ends all: the others stop at their next look at `stop`.
 */
#include "ops/lib/judge.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ops/lib/journal.h"
#include "ops/lib/judge_request.h"
#include "runtime/base/rng.h"
#include "runtime/base/sha.h"
#include "runtime/exec/http.h"

enum { ANSWER_MAX = 1 << 22, FIRST_PAUSE_MS = 1000, LONGEST_PAUSE = 60 /* s */, LONGEST_WAIT = 600 /* s that a server may ask for */, SPEECHLESS = 2 };

struct question {
    size_t pair;
    bool swapped, answered;
    struct buf body;
    char hex[DIGEST_HEX];
    double preference;
    char *text;
};

struct judging {
    const struct judge_options *o;
    const struct progress *progress;
    struct judge_pair *pairs;
    struct question *v;
    size_t n, next, done, running;
    struct http *http;
    const char *secret;
    char *url, *name;
    struct journal *journal;
    struct judge_sums sums; /* of all answers, earlier runs' too */
    size_t counted;         /* answers in the sums */
    double not_before, next_slot; /* when the server, and the rate, allow the next request */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool stop;
    struct err err;
    struct progress cut; /* for the transfers: cancelled by `stop` */
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool stopped(void *u)
{
    return atomic_load(&((struct judging *)u)->stop);
}

static void fail(struct judging *j, const struct err *e)
{
    pthread_mutex_lock(&j->lock);
    if (!j->err.code)
        j->err = *e;
    atomic_store(&j->stop, true);
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

/* Until the moment, or until all ends: false then. */
static bool wait_until(struct judging *j, double moment)
{
    while (!atomic_load(&j->stop)) {
        double left = moment - now();
        if (left <= 0)
            return true;
        struct timespec nap = {0, left < 0.05 ? (long)(left * 1e9) : 50000000};
        nanosleep(&nap, NULL);
    }
    return false;
}

/* Waits for a slot of the rate, and for what the server asked for. */
static bool wait_turn(struct judging *j)
{
    pthread_mutex_lock(&j->lock);
    double slot = j->next_slot > now() ? j->next_slot : now(), at;
    j->next_slot = slot + (j->o->per_minute > 0 ? 60 / j->o->per_minute : 0);
    pthread_mutex_unlock(&j->lock);
    do {
        pthread_mutex_lock(&j->lock);
        at = j->not_before > slot ? j->not_before : slot;
        pthread_mutex_unlock(&j->lock);
        if (!wait_until(j, at))
            return false;
        pthread_mutex_lock(&j->lock);
        slot = j->not_before > at ? j->not_before : 0; /* put off meanwhile */
        pthread_mutex_unlock(&j->lock);
    } while (slot > 0);
    return true;
}

/* ---- one request ---- */

struct exchange {
    const struct buf *body;
    struct buf answer;
};

static long send_body(void *u, uint64_t at, char *p, size_t n, struct err *e)
{
    const struct exchange *x = u;
    (void)e;
    memcpy(p, x->body->p + at, n);
    return (long)n;
}

static int take_body(void *u, long status, const char *p, size_t n, struct err *e)
{
    struct exchange *x = u;
    (void)status;
    if (n > ANSWER_MAX - x->answer.n)
        return err_set(e, ERR_DAMAGED, "the answer is longer than %d MB", ANSWER_MAX >> 20);
    buf_put(&x->answer, p, n);
    return x->answer.failed ? err_nomem(e, n, "an answer") : 0;
}

static int refused(struct judging *j, long status, struct str body, struct err *e)
{
    struct buf why = {0};
    judge_reason(body, j->secret, &why);
    const char *text = why.n && !why.failed ? why.p : "no reason is given";
    if (status == 401 || status == 403)
        err_set(e, ERR_IO, "judge: %s: access refused (status %ld): %.300s; the key is read from $%s, which is %s", j->name, status, text, j->o->key,
                j->secret ? "set" : "not set");
    else
        err_set(e, ERR_IO, "judge: %s: answered with status %ld: %.300s", j->name, status, text);
    buf_release(&why);
    return e->code;
}

static bool passes(long status)
{
    return status == 408 || status == 409 || status == 425 || status == 429 || status >= 500;
}

enum outcome { ANSWERED, AGAIN, NO_ANSWER /* not to be had for this pair */, FATAL };

/* One try. AGAIN and FATAL leave the reason in e. */
static enum outcome try_once(struct judging *j, struct question *q, struct judge_reply *reply, double *asked_for, struct err *e)
{
    struct exchange x = {.body = &q->body};
    struct http_answer a;
    struct http_request r = {.method = HTTP_POST, .url = j->url, .type = "application/json", .n = q->body.n, .seconds = j->o->timeout,
                             .send = send_body, .receive = take_body, .u = &x, .progress = &j->cut};
    int rc = http_perform(j->http, &r, &a, e);
    enum outcome out = FATAL;
    *asked_for = a.retry_after;
    *reply = (struct judge_reply){.preference = NAN, .tokens_in = NAN, .tokens_out = NAN};
    if (rc == ERR_DAMAGED || (rc == ERR_IO && a.again)) {
        err_prefix(e, "judge: %s", j->name);
        out = AGAIN;
    } else if (rc != 0) {
        err_prefix(e, "judge: %s", j->name);
    } else if (a.status >= 200 && a.status < 300) {
        judge_read(j->o, buf_view(&x.answer), q->swapped, reply);
        out = reply->text ? ANSWERED : AGAIN;
        if (!reply->text)
            err_set(e, ERR_IO, "judge: %s: what came is no answer of a chat endpoint: %.80s", j->name, x.answer.n && !x.answer.failed ? x.answer.p : "(nothing)");
    } else {
        refused(j, a.status, buf_view(&x.answer), e);
        bool about_this = a.status == 400 || a.status == 413 || a.status == 422; /* too long, or not to be talked about */
        out = passes(a.status) ? AGAIN : about_this && j->counted >= SPEECHLESS ? NO_ANSWER : FATAL;
    }
    buf_release(&x.answer);
    return out;
}

static double cost_of(const struct judging *j, const struct judge_sums *s)
{
    return (s->tokens_in * j->o->price_in + s->tokens_out * j->o->price_out) / 1e6;
}

/* Under the lock. An endpoint that does not count tokens: four bytes are one. */
static void count(struct judging *j, double in, double out)
{
    j->sums.tokens_in += in;
    j->sums.tokens_out += out;
    j->sums.cost = cost_of(j, &j->sums);
    j->counted++;
}

static int keep(struct judging *j, struct question *q, struct judge_reply *reply, struct err *e)
{
    double in = isnan(reply->tokens_in) ? (double)q->body.n / 4 : reply->tokens_in;
    double out = isnan(reply->tokens_out) ? (double)(reply->text ? strlen(reply->text) : 0) / 4 : reply->tokens_out;
    struct js *line = js_object();
    q->preference = reply->preference;
    q->text = reply->text;
    reply->text = NULL;
    int bad = js_set(line, "asked", js_new_cstr(q->hex)) | js_set(line, "preference", js_new_num(q->preference)) |
              js_set(line, "tokens", js_new_num(in)) | js_set(line, "new_tokens", js_new_num(out)) |
              js_set(line, "text", q->text ? js_new_cstr(q->text) : js_new_null());
    if (bad) {
        js_free(line);
        line = NULL;
    }
    pthread_mutex_lock(&j->lock);
    int rc = journal_add(j->journal, line, e);
    q->answered = true;
    j->done++;
    j->sums.asked++;
    count(j, in, out);
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
    return rc;
}

/* A second, two, four, ... with up to as much again by chance, so that threads do not come back together. */
static double pause_before(const struct judging *j, const struct question *q, size_t attempt)
{
    double s = FIRST_PAUSE_MS / 1000.0 * (double)(1u << (attempt < 6 ? attempt : 6));
    s *= 0.5 + 0.5 * rng_uniform(j->o->seed, rng_stream(0, q->hex), attempt);
    return s < LONGEST_PAUSE ? s : LONGEST_PAUSE;
}

static int hold_back(struct judging *j, double seconds, struct err *e)
{
    if (seconds > LONGEST_WAIT)
        return err_set(e, ERR_IO, "judge: %s: asks to wait %.0f s; %zu of %zu answers are kept, the same command goes on from them", j->name, seconds,
                       j->done, j->n);
    pthread_mutex_lock(&j->lock);
    double until = now() + seconds;
    j->not_before = until > j->not_before ? until : j->not_before;
    pthread_mutex_unlock(&j->lock);
    return 0;
}

/* Asks until there is a verdict. Answers without one are answers: the last of them stands. */
static int ask(struct judging *j, struct question *q, struct err *e)
{
    struct judge_reply reply = {.preference = NAN};
    for (size_t i = 0; i < j->o->tries; i++) {
        double asked_for;
        free(reply.text);
        reply.text = NULL;
        if (!wait_turn(j))
            return err_set(e, ERR_CANCELLED, "cancelled");
        enum outcome out = try_once(j, q, &reply, &asked_for, e);
        if (out == FATAL)
            return e->code;
        if (out == NO_ANSWER || (out == ANSWERED && (!isnan(reply.preference) || i + 1 == j->o->tries)))
            return keep(j, q, &reply, e);
        pthread_mutex_lock(&j->lock);
        j->sums.repeated++;
        pthread_mutex_unlock(&j->lock);
        if (out == AGAIN && asked_for > 0) {
            int rc = hold_back(j, asked_for, e);
            if (rc)
                return rc;
        } else if (i + 1 < j->o->tries && !wait_until(j, now() + pause_before(j, q, i))) {
            free(reply.text);
            return err_set(e, ERR_CANCELLED, "cancelled");
        }
    }
    free(reply.text);
    char why[sizeof e->msg];
    memcpy(why, e->msg, sizeof why);
    return err_set(e, ERR_IO, "%.600s (%zu tries); %zu of %zu answers are kept, the same command goes on from them", why, j->o->tries, j->done, j->n);
}

/* ---- threads ---- */

/* What the requests under way may still cost counts as spent. */
static bool too_dear(const struct judging *j)
{
    double each = j->counted ? j->sums.cost / (double)j->counted : 0;
    return j->o->max_cost > 0 && j->sums.cost + each * (double)(j->running + 1) > j->o->max_cost;
}

static struct question *take(struct judging *j, struct err *e)
{
    struct question *q = NULL;
    pthread_mutex_lock(&j->lock);
    while (j->next < j->n && j->v[j->next].answered)
        j->next++;
    if (j->next < j->n && !j->err.code && !atomic_load(&j->stop)) {
        if (too_dear(j))
            err_set(e, ERR_INPUT, "judge_max_cost: %.4g of %.4g is spent after %zu of %zu answers, which are kept; raise it, and the same command goes on",
                    j->sums.cost, j->o->max_cost, j->done, j->n);
        else
            q = &j->v[j->next++];
    }
    j->running += q != NULL;
    pthread_mutex_unlock(&j->lock);
    return q;
}

static void *asker(void *u)
{
    struct judging *j = u;
    for (;;) {
        struct err e = {0};
        struct question *q = take(j, &e);
        int rc = q ? ask(j, q, &e) : e.code;
        pthread_mutex_lock(&j->lock);
        j->running -= q != NULL;
        pthread_cond_broadcast(&j->changed);
        pthread_mutex_unlock(&j->lock);
        if (rc)
            fail(j, &e);
        if (rc || !q)
            return NULL;
    }
}

/* Progress and cancellation, a few times a second, until nobody is left to wait for. */
static void watch(struct judging *j)
{
    size_t told = SIZE_MAX;
    pthread_mutex_lock(&j->lock);
    while (j->done < j->n && !(j->err.code && j->running == 0)) {
        size_t done = j->done;
        pthread_mutex_unlock(&j->lock);
        struct err e = {0};
        if (done != told)
            progress_update(j->progress, (double)done, (double)j->n, "rows");
        told = done;
        if (progress_poll(j->progress, &e))
            fail(j, &e);
        pthread_mutex_lock(&j->lock);
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += 100000000;
        if (t.tv_nsec >= 1000000000) {
            t.tv_nsec -= 1000000000;
            t.tv_sec++;
        }
        if (j->done < j->n && !(j->err.code && j->running == 0))
            pthread_cond_timedwait(&j->changed, &j->lock, &t);
    }
    pthread_mutex_unlock(&j->lock);
}

static int ask_all(struct judging *j, struct err *e)
{
    size_t n = j->o->threads < j->n - j->done ? j->o->threads : j->n - j->done, started = 0;
    pthread_t *t = calloc(n + 1, sizeof *t);
    if (!t)
        return err_nomem(e, n * sizeof *t, "threads");
    while (started < n && pthread_create(&t[started], NULL, asker, j) == 0)
        started++;
    if (n && !started) {
        struct err none;
        err_set(&none, ERR_NOMEM, "judge: no thread can be started");
        fail(j, &none);
    }
    watch(j);
    for (size_t i = 0; i < started; i++)
        pthread_join(t[i], NULL);
    free(t);
    if (j->err.code)
        *e = j->err;
    return j->err.code;
}

/* ---- all of it ---- */

static bool take_kept(void *u, const struct js *line)
{
    struct judging *j = u;
    const char *hex = js_cstr(js_get(line, "asked")), *text = js_cstr(js_get(line, "text"));
    if (!hex)
        return false;
    count(j, js_num(js_get(line, "tokens"), 0), js_num(js_get(line, "new_tokens"), 0));
    for (size_t i = 0; i < j->n; i++) {
        struct question *q = &j->v[i];
        if (q->answered || strcmp(q->hex, hex) != 0)
            continue;
        q->answered = true;
        q->preference = js_num(js_get(line, "preference"), NAN);
        q->text = text ? strdup(text) : NULL;
        j->done++;
        break; /* equal questions have a line each */
    }
    return true;
}

static int write_questions(struct judging *j, size_t n_pairs, struct err *e)
{
    struct buf template = {0};
    size_t each = j->o->both ? 2 : 1;
    int rc = judge_template(j->o->prompt, &template, e);
    j->v = calloc(n_pairs * each + 1, sizeof *j->v);
    if (rc == 0 && !j->v)
        rc = err_nomem(e, n_pairs * sizeof *j->v, "questions");
    for (size_t i = 0; rc == 0 && i < n_pairs * each; i++) {
        struct question *q = &j->v[j->n++];
        struct digest d;
        *q = (struct question){.pair = i / each, .preference = NAN};
        q->swapped = j->o->both ? i % 2 : rng_u64(j->o->seed, rng_stream(0, "judge.order"), q->pair) & 1;
        rc = judge_body(j->o, buf_view(&template), &j->pairs[q->pair], q->swapped, &q->body, e);
        if (rc == 0) {
            sha_bytes(q->body.p, q->body.n, &d);
            digest_hex(&d, q->hex);
        }
    }
    buf_release(&template);
    return rc;
}

static int set_up(struct judging *j, struct op_run *r, size_t n_pairs, struct err *e)
{
    const struct judge_options *o = j->o;
    static const char path[] = "/chat/completions";
    struct buf url = {0};
    /* no watch may see (and a memo remember) it; no plan depends on it */
    j->secret = getenv(o->key) && *getenv(o->key) ? getenv(o->key) : NULL;
    if (!j->secret && o->need_key)
        return err_set(e, ERR_INPUT, "judge_key: the environment variable $%s is not set", o->key);
    size_t n = strlen(o->url);
    while (n && o->url[n - 1] == '/')
        n--;
    buf_printf(&url, "%.*s", (int)n, o->url);
    if (n < strlen(path) || memcmp(o->url + n - strlen(path), path, strlen(path)) != 0)
        buf_puts(&url, path);
    j->url = buf_steal(&url);
    j->name = j->url ? http_public_name(j->url) : NULL;
    struct http_login login = {.token = j->secret};
    struct js *head = js_object();
    js_set(head, "judge", js_new_int(1));
    int rc = j->name ? write_questions(j, n_pairs, e) : err_nomem(e, n, "an address");
    if (rc == 0) {
        rc = journal_open(r, "judged.jsonl", head, take_kept, j, &j->journal, e);
        head = NULL;
    }
    js_free(head);
    return rc == 0 ? http_new(&login, &j->http, e) : rc;
}

static void release(struct judging *j)
{
    for (size_t i = 0; j->v && i < j->n; i++) {
        buf_release(&j->v[i].body);
        free(j->v[i].text);
    }
    free(j->v);
    free(j->url);
    free(j->name);
    http_free(j->http);
    journal_close(j->journal);
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->changed);
}

/* Both orders: the mean; one without a verdict leaves none. */
static int collect(struct judging *j, struct err *e)
{
    for (size_t i = 0; i < j->n; i++) {
        const struct question *q = &j->v[i];
        struct judge_pair *p = &j->pairs[q->pair];
        struct buf text = {0};
        bool first = i == 0 || j->v[i - 1].pair != q->pair;
        p->preference = first ? q->preference : (p->preference + q->preference) / 2;
        if (p->text)
            buf_printf(&text, "%s\n", p->text);
        buf_puts(&text, q->text ? q->text : "");
        free(p->text);
        if (!(p->text = buf_steal(&text)))
            return err_nomem(e, text.n, "verdicts");
    }
    return 0;
}

int judge_pairs(struct op_run *r, const struct judge_options *o, struct judge_pair *p, size_t n, struct judge_sums *sums, struct err *e)
{
    struct judging j = {.o = o, .pairs = p, .progress = op_progress(r)};
    j.cut = (struct progress){.u = &j, .cancelled = stopped};
    pthread_mutex_init(&j.lock, NULL);
    pthread_cond_init(&j.changed, NULL);
    int rc = set_up(&j, r, n, e);
    if (rc == 0)
        rc = ask_all(&j, e);
    if (rc == 0)
        rc = collect(&j, e);
    *sums = j.sums;
    release(&j);
    return rc;
}
