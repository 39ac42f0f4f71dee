/* SPDX-License-Identifier: MIT
 *
 * The life of a node in a run: it waits for its inputs; then its key is computed (or was, by the plan) and looked up, so
 * that an upstream rerun with equal bytes stops here; a key that another node of the run computes is followed, one that
 * another process computes is waited for by trying its lock at every tick; else it is ready, is admitted (admit.c), runs
 * on a pool thread (runner.c), which wakes its consumers, is stored together with all that finished meanwhile, and ends.
 */
#include "engine/sched.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/budget.h"
#include "engine/plan_private.h"
#include "engine/sched_private.h"
#include "runtime/exec/pool.h"

enum { TICK_MS = 100, COMMIT_MOST = 256, STATUS_INTERRUPTED = 130 };
static const double retry_seconds = 0.5;
static const uint64_t memory_slack = (uint64_t)64 << 20;

static struct planned *planned_of(const struct task *t)
{
    return &t->s->plan->nodes[t->i];
}

static const struct node *node_of(const struct task *t)
{
    return &t->s->plan->graph->nodes[t->i];
}

static void emit(struct sched *s, struct sched_event ev)
{
    if (!s->o.event)
        return;
    ev.now = pool_now(s->pool);
    s->o.event(s->o.u, &ev);
}

static void emit_text(struct task *t, int kind, const char *text)
{
    struct sched_event ev = {.node = t->i, .text = text};
    ev.kind = kind;
    emit(t->s, ev);
}

/* ---- ending ---- */

static void write_history(struct task *t, const char *status)
{
    struct err ignored; /* the history explains; a run does not fail for it */
    struct planned *p = planned_of(t);
    if (t->s->run && !t->s->plan->seen)
        store_run_node(t->s->plan->store, t->s->run, node_of(t)->id, status, p->keyed ? &p->key : NULL, t->job.wall, t->job.cpu,
                       t->job.peak_memory, &ignored);
}

static void end(struct task *t, enum node_state state)
{
    struct sched *s = t->s;
    planned_of(t)->state = state;
    t->phase = TASK_END;
    s->ended++;
    s->result->ran += state == NODE_DONE;
    s->result->uptodate += state == NODE_UPTODATE;
    s->result->failed += state == NODE_FAILED;
    s->result->skipped += state == NODE_SKIPPED;
    store_unlock(t->lock);
    t->lock = NULL;
    free(t->inputs);
    t->inputs = NULL;
}

/* Hands on what is known now, by a list: recursion would be as deep as the longest chain of nodes that are up to date. */
static void wake_consumers(struct task *t)
{
    struct sched *s = t->s;
    for (size_t k = s->consumer_at[t->i]; k < s->consumer_at[t->i + 1]; k++) {
        struct task *c = &s->tasks[s->consumers[k]];
        if (c->phase == TASK_WAIT && --c->deps == 0)
            s->woken[s->n_woken++] = c->i;
    }
}

/* Nodes with the same key look into the store, so they wait until it is there. */
static void wake_followers(struct task *t)
{
    struct sched *s = t->s;
    for (int f = t->follower; f >= 0; f = s->tasks[f].next)
        s->woken[s->n_woken++] = (size_t)f;
    t->follower = -1;
}

static void end_good(struct task *t, enum node_state state, const char *text)
{
    bool stored = t->phase == TASK_STORING; /* then the history is written and the consumers know */
    struct sched_event ev = {.node = t->i, .text = text};
    ev.kind = state == NODE_DONE ? EVENT_DONE : EVENT_UPTODATE;
    ev.wall = t->job.wall;
    ev.cpu = t->job.cpu;
    ev.peak_memory = t->job.peak_memory;
    ev.bytes_read = t->job.bytes_read;
    ev.bytes_written = t->job.bytes_written;
    ev.threads = atomic_load(&t->job.most_team);
    if (!stored) {
        write_history(t, "cached");
        wake_consumers(t);
    }
    end(t, state);
    emit(t->s, ev);
    wake_followers(t);
}

/* All that hang on a failed node, breadth first. */
static void skip_from(struct task *t)
{
    struct sched *s = t->s;
    size_t first = s->n_skip, k;
    s->skip[s->n_skip++] = t->i;
    for (k = first; k < s->n_skip; k++) {
        struct task *u = &s->tasks[s->skip[k]];
        char text[512];
        snprintf(text, sizeof text, "needs %s, which %s", node_of(u)->id, u == t ? "failed" : "was skipped");
        for (size_t j = s->consumer_at[u->i]; j < s->consumer_at[u->i + 1]; j++) {
            struct task *c = &s->tasks[s->consumers[j]];
            if (c->phase != TASK_WAIT)
                continue;
            end(c, NODE_SKIPPED);
            emit_text(c, EVENT_SKIPPED, text);
            s->skip[s->n_skip++] = c->i;
        }
        for (int f = u->follower; f >= 0; f = s->tasks[f].next) {
            struct task *c = &s->tasks[f];
            snprintf(text, sizeof text, "same work as %s, which failed", node_of(u)->id);
            end(c, NODE_SKIPPED);
            emit_text(c, EVENT_SKIPPED, text);
            s->skip[s->n_skip++] = c->i;
        }
        u->follower = -1;
    }
    s->n_skip = first;
}

static void locate(struct task *t, const struct err *why, struct err *e)
{
    const struct node *n = node_of(t);
    *e = *why;
    err_prefix(e, "node %s (%s)", n->id, n->op->name);
    if (n->at.file && n->at.line)
        err_prefix(e, "%s:%d:%d", n->at.file, n->at.line, n->at.column);
}

void task_fail(struct sched *s, struct task *t, int rc, const struct err *why)
{
    struct err e, ignored;
    struct planned *p = planned_of(t);
    locate(t, why, &e);
    e.code = rc;
    if (p->keyed && s->run)
        store_put_expanded(s->plan->store, &p->key, p->expanded, &ignored);
    write_history(t, "failed");
    end(t, NODE_FAILED);
    if (!s->first_rc) {
        s->first_rc = rc;
        s->first = e;
    }
    emit_text(t, EVENT_FAILED, e.msg);
    skip_from(t);
    if (!s->o.keep_going)
        atomic_store(&s->cancel, true);
}

static void end_cancelled(struct task *t, const char *text)
{
    write_history(t, "cancelled");
    end(t, NODE_SKIPPED);
    emit_text(t, EVENT_SKIPPED, text);
}

/* ---- before running ---- */

static bool found_in_store(struct task *t, struct err *e, int *rc)
{
    struct planned *p = planned_of(t);
    if (p->forced)
        return false;
    *rc = store_get_record(t->s->plan->store, &p->key, &p->record, e);
    if (*rc == 0 && (*rc = store_use_record(t->s->plan->store, &p->key, e)) != 0) {
        record_free(p->record);
        p->record = NULL;
    }
    if (*rc == 0)
        p->record->expanded = js_ref(p->expanded);
    return *rc == 0;
}

/* The key, now that all inputs are known. */
static int make_key(struct task *t, struct err *e)
{
    struct planned *p = planned_of(t);
    const struct node *g = node_of(t);
    int rc = 0;
    t->inputs = calloc(g->n_edges + 1, sizeof *t->inputs);
    if (!t->inputs)
        return err_nomem(e, g->n_edges, "inputs");
    for (size_t k = 0; k < g->n_edges; k++) {
        size_t from = (size_t)g->edges[k].from;
        t->inputs[k] = plan_output(t->s->plan, from, g->edges[k].from_port);
        if (!t->inputs[k])
            return err_set(e, ERR_INTERNAL, "%s gave no output %s", t->s->plan->graph->nodes[from].id,
                           t->s->plan->graph->nodes[from].op->outputs[g->edges[k].from_port].name);
    }
    for (size_t k = 0; rc == 0 && k < p->n_sources; k++)
        if (!p->sources[k].known) {
            rc = store_file_digest(t->s->plan->store, p->sources[k].path, false, NULL, &p->sources[k].digest, e);
            p->sources[k].known = rc == 0;
        }
    if (rc == 0 && !p->keyed)
        rc = plan_key(t->s->plan, t->i, t->inputs, e);
    return rc;
}

/* Another node of this run has the same key: it computes, this one takes what it gave. */
static bool follow(struct task *t, int other)
{
    struct sched *s = t->s;
    struct task *o = &s->tasks[other];
    planned_of(t)->same_as = other;
    if (o->phase == TASK_END) {
        if (planned_of(o)->state == NODE_FAILED || planned_of(o)->state == NODE_SKIPPED) {
            char text[512];
            snprintf(text, sizeof text, "same work as %s, which failed", node_of(o)->id);
            end(t, NODE_SKIPPED);
            emit_text(t, EVENT_SKIPPED, text);
            skip_from(t);
            return true;
        }
        return false; /* it is in the store */
    }
    t->phase = TASK_FOLLOW;
    t->next = o->follower;
    o->follower = (int)t->i;
    return true;
}

static void inputs_ready(struct task *t)
{
    struct sched *s = t->s;
    struct err e = {0};
    if (t->phase == TASK_END)
        return;
    if (planned_of(t)->state == NODE_UPTODATE) {
        end_good(t, NODE_UPTODATE, NULL);
        return;
    }
    bool was_following = t->phase == TASK_FOLLOW, forced = planned_of(t)->forced;
    int rc = t->inputs ? 0 : make_key(t, &e);
    if (rc == 0 && !was_following) {
        int other = keymap_claim(&s->keys, &planned_of(t)->key, (int)t->i);
        if (other != (int)t->i) {
            if (follow(t, other))
                return;
            was_following = true;
        }
    }
    if (was_following) /* computed in this run: good enough for a forced node */
        planned_of(t)->forced = false;
    bool found = rc == 0 && found_in_store(t, &e, &rc);
    planned_of(t)->forced = forced;
    if (found)
        end_good(t, NODE_UPTODATE, NULL);
    else if (rc != 0 && rc != ERR_NOTFOUND)
        task_fail(s, t, rc, &e);
    else
        ready_push(s, t->i);
}

/* ---- running ---- */

static void on_update(void *u, double done, double total, const char *unit)
{
    struct task *t = u;
    pthread_mutex_lock(&t->s->mutex);
    t->news.fresh = true;
    t->news.done = done;
    t->news.total = total;
    t->news.unit = unit;
    pthread_mutex_unlock(&t->s->mutex);
}

static void on_warn(void *u, const char *text)
{
    struct task *t = u;
    struct warning *w = malloc(sizeof *w);
    if (!w || !(w->text = strdup(text))) {
        free(w);
        return;
    }
    w->next = NULL;
    pthread_mutex_lock(&t->s->mutex);
    *t->news.last = w;
    t->news.last = &w->next;
    pthread_mutex_unlock(&t->s->mutex);
}

static bool on_cancelled(void *u)
{
    const struct task *t = u;
    return atomic_load_explicit(&t->s->cancel, memory_order_relaxed) || atomic_load_explicit(&t->timed_out, memory_order_relaxed);
}

static void deliver_news(struct task *t)
{
    struct sched *s = t->s;
    pthread_mutex_lock(&s->mutex);
    struct sched_event ev = {.kind = EVENT_PROGRESS, .node = t->i, .done = t->news.done, .total = t->news.total, .unit = t->news.unit};
    struct warning *w = t->news.first;
    bool fresh = t->news.fresh;
    t->news.fresh = false;
    t->news.first = NULL;
    t->news.last = &t->news.first;
    pthread_mutex_unlock(&s->mutex);
    uint64_t peak = atomic_load(&t->job.rss_peak), at_first = atomic_load(&t->job.rss_begin);
    ev.peak_memory = peak > at_first ? peak - at_first : 0;
    if (fresh)
        emit(s, ev);
    while (w) {
        struct warning *next = w->next;
        emit_text(t, EVENT_WARNING, w->text);
        free(w->text);
        free(w);
        w = next;
    }
}

static void work(void *u)
{
    struct task *t = u;
    t->rc = 0;
    if (atomic_load(&t->s->cancel))
        t->rc = err_set(&t->err, ERR_CANCELLED, "cancelled");
    else if ((t->job.record = share_fetch(&t->s->share, node_of(t), planned_of(t), &t->progress)))
        t->fetched = true;
    else
        t->rc = runner_run(&t->job, &t->err);
}

static void let_go(struct task *t)
{
    struct sched *s = t->s;
    s->running--;
    s->mem_used -= t->mem;
    s->cpus_used -= t->light ? 0 : t->share;
    s->lights -= t->light;
}

static void pump(struct sched *s);

static void deactivate(struct task *t)
{
    struct sched *s = t->s;
    for (size_t k = 0; k < s->n_active; k++)
        if (s->active[k] == t)
            s->active[k--] = s->active[--s->n_active];
}

/* ---- storing: all that finished while the last commit was under way, in one ---- */

static void commit_work(void *u)
{
    struct sched *s = u;
    struct err ignored;
    s->commit_rc = store_put_records(s->plan->store, s->puts, s->n_committing, s->run, &s->commit_err);
    for (size_t k = 0; s->commit_rc == 0 && k < s->n_committing; k++) /* what is left of a checkpoint, gc removes */
        store_drop_checkpoint(s->plan->store, &s->puts[k].record->key, &ignored);
}

static void commit_done(void *u)
{
    struct sched *s = u;
    size_t n = s->n_committing;
    s->n_committing = 0;
    for (size_t k = 0; k < n; k++) {
        struct task *t = &s->tasks[s->committing[k]];
        if (s->commit_rc == 0) {
            if (!t->fetched && share_sends(&s->share))
                s->sends[s->n_sends++] = t->i;
            end_good(t, t->fetched ? NODE_UPTODATE : NODE_DONE, t->fetched ? "from the remote cache" : NULL);
        } else
            task_fail(s, t, s->commit_rc, &s->commit_err);
    }
    pump(s);
}

/* A commit costs two waits for the disk, whatever is in it: while nodes run it waits for more, at most until a tick. */
static bool commit_now(const struct sched *s)
{
    bool followed = false;
    for (size_t k = 0; !followed && k < s->n_storing; k++)
        followed = s->tasks[s->storing[k]].follower >= 0;
    return s->commit_due || followed || s->n_active == 0 || s->n_storing >= COMMIT_MOST;
}

static void commit_next(struct sched *s)
{
    struct err e;
    if (s->n_committing || !s->n_storing || !commit_now(s))
        return;
    s->commit_due = false;
    for (size_t k = 0; k < s->n_storing; k++) {
        struct task *t = &s->tasks[s->storing[k]];
        s->committing[k] = t->i;
        s->puts[k] = (struct store_put){t->job.record, node_of(t)->id, t->fetched ? "cached" : "ran", t->job.bytes_read, t->job.bytes_written};
    }
    s->n_committing = s->n_storing;
    s->n_storing = 0;
    if (pool_submit(s->pool, commit_work, commit_done, s, &e) == 0)
        return;
    size_t n = s->n_committing;
    s->n_committing = 0;
    for (size_t k = 0; k < n; k++)
        task_fail(s, &s->tasks[s->committing[k]], e.code, &e);
}

/* ---- the remote cache ---- */

static void send_work(void *u)
{
    struct task *t = u;
    share_send(&t->s->share, planned_of(t)->record, &t->progress);
}

static void send_done(void *u)
{
    struct task *t = u;
    deliver_news(t);
    t->s->sending--;
    pump(t->s);
}

static void send_next(struct sched *s)
{
    struct err ignored;
    if (atomic_load(&s->cancel) || !share_sends(&s->share))
        s->n_sends = s->sent;
    while (s->sent < s->n_sends && s->sending < SCHED_SENDERS) {
        s->sending++;
        if (pool_submit(s->pool, send_work, send_done, &s->tasks[s->sends[s->sent++]], &ignored) != 0)
            s->sending--;
    }
}

/* ---- after running ---- */

/* A node that took much more memory than it may spoils the budget of all: said while it is known whose it was. What it may:
 * what it declared, or what it was granted when it asked for that. */
static void check_memory(struct task *t)
{
    bool asked = atomic_load(&t->job.asked);
    uint64_t said = asked ? t->mem : planned_of(t)->cost.peak_memory, took = t->job.peak_memory;
    if (!said || atomic_load(&t->job.shared) || took < memory_slack || took - memory_slack < said + said / 4)
        return;
    struct buf b = {0};
    buf_puts(&b, "took ");
    budget_text(&b, took);
    buf_puts(&b, asked ? " of memory, but had been granted " : " of memory, but had declared ");
    budget_text(&b, said);
    buf_puts(&b, "; beside other nodes this can exceed the budget: lower --jobs or --mem if memory runs out");
    if (!b.failed)
        emit_text(t, EVENT_WARNING, b.p);
    buf_release(&b);
}

/* Of nodes that run side by side nobody can tell whose the memory is, only that it is more than all may take. Once a run. */
static void check_budget(struct sched *s, uint64_t rss)
{
    uint64_t took = rss > s->rss_begin ? rss - s->rss_begin : 0;
    if (s->said_budget || s->n_active < 2 || took < memory_slack || took - memory_slack < s->o.mem)
        return;
    struct buf b = {0};
    s->said_budget = true;
    buf_puts(&b, "the nodes that run now take ");
    budget_text(&b, took);
    buf_puts(&b, " of memory, the budget is ");
    budget_text(&b, s->o.mem);
    for (size_t k = 0; k < s->n_active; k++) {
        buf_printf(&b, "%s%s was granted ", k ? ", " : ": ", node_of(s->active[k])->id);
        budget_text(&b, s->active[k]->mem);
    }
    buf_puts(&b, "; one of them takes more: -j 1 shows which");
    if (!b.failed)
        emit_text(s->active[0], EVENT_WARNING, b.p);
    buf_release(&b);
}

/* True: the failed node will be tried again after a pause. */
static bool try_again(struct task *t)
{
    struct sched *s = t->s;
    int most = s->o.retries ? s->o.retries : SCHED_RETRIES;
    bool passing = t->rc == ERR_IO || t->rc == ERR_NOMEM || t->rc == ERR_CANCELLED;
    if (!(node_of(t)->op->flags & OP_RETRYABLE) || !passing || t->attempt >= most || atomic_load(&s->cancel))
        return false;
    char text[2200];
    double pause = retry_seconds * (double)(1 << t->attempt);
    t->attempt++;
    snprintf(text, sizeof text, "%s; will be tried again in %g s (%d of %d)", t->err.msg, pause, t->attempt, most);
    emit_text(t, EVENT_WARNING, text);
    store_unlock(t->lock);
    t->lock = NULL;
    t->not_before = pool_now(s->pool) + pause;
    t->phase = TASK_REST;
    planned_of(t)->state = NODE_PENDING;
    t->next = s->resting;
    s->resting = (int)t->i;
    return true;
}

static void work_done(void *u)
{
    struct task *t = u;
    struct sched *s = t->s;
    deactivate(t);
    deliver_news(t);
    let_go(t);
    if (t->rc == ERR_CANCELLED && atomic_load(&t->timed_out) && !atomic_load(&s->cancel))
        err_set(&t->err, ERR_CANCELLED, "stopped: it ran longer than the limit of %g s", s->o.timeout);
    if (t->rc == 0) {
        if (!t->fetched)
            check_memory(t);
        planned_of(t)->record = t->job.record;
        t->phase = TASK_STORING;
        s->storing[s->n_storing++] = t->i;
        wake_consumers(t);
    } else if (t->rc == ERR_CANCELLED && atomic_load(&s->cancel))
        end_cancelled(t, "cancelled");
    else if (!try_again(t))
        task_fail(s, t, t->rc, &t->err);
    pump(s);
}

/* Whether another process made the record, or holds the key. True: this task does not run now. */
static bool taken_elsewhere(struct task *t)
{
    struct sched *s = t->s;
    struct err e = {0};
    bool busy = false;
    int rc = store_lock_key(s->plan->store, &planned_of(t)->key, false, &t->lock, &busy, &e);
    if (rc == 0 && busy) {
        if (strncmp(t->whom, e.msg, sizeof t->whom - 1) != 0) { /* also when another has taken the lock of one that died */
            emit_text(t, EVENT_WAITING, e.msg);
            snprintf(t->whom, sizeof t->whom, "%.*s", (int)sizeof t->whom - 1, e.msg);
        }
        t->phase = TASK_LOCKED;
        t->next = s->locked;
        s->locked = (int)t->i;
        return true;
    }
    if (rc == 0 && found_in_store(t, &e, &rc)) {
        end_good(t, NODE_UPTODATE, NULL);
        return true;
    }
    if (rc != 0 && rc != ERR_NOTFOUND) {
        task_fail(s, t, rc, &e);
        return true;
    }
    return false;
}

void task_start(struct sched *s, struct task *t)
{
    struct err e = {0};
    if (taken_elsewhere(t)) {
        let_go(t);
        return;
    }
    t->phase = TASK_RUNNING;
    planned_of(t)->state = NODE_RUNNING;
    t->progress = (struct progress){.u = t, .update = on_update, .warn = on_warn, .cancelled = on_cancelled};
    atomic_store(&t->timed_out, false);
    t->began = pool_now(s->pool);
    memset(&t->err, 0, sizeof t->err);
    atomic_store(&t->job.rss_peak, 0);
    atomic_store(&t->job.shared, false);
    atomic_store(&t->job.asked, false);
    t->job.bytes_read = t->job.bytes_written = 0;
    t->job.node = node_of(t);
    t->job.planned = planned_of(t);
    t->job.store = s->plan->store;
    t->job.inputs = t->inputs;
    t->job.threads = t->share;
    atomic_store(&t->job.team, t->share);
    atomic_store(&t->job.most_team, t->share);
    t->job.memory = t->mem;
    t->job.progress = &t->progress;
    s->active[s->n_active++] = t;
    for (size_t k = 0; s->n_active > 1 && k < s->n_active; k++) /* their processor times mix */
        atomic_store(&s->active[k]->job.shared, true);
    struct sched_event ev = {.kind = EVENT_START, .node = t->i, .text = planned_of(t)->reason, .threads = t->share};
    emit(s, ev);
    int rc = pool_submit(s->pool, work, work_done, t, &e);
    if (rc != 0) {
        deactivate(t);
        let_go(t);
        task_fail(s, t, rc, &e);
    }
}

/* ---- the loop ---- */

static void drop_waiting(struct sched *s)
{
    const char *why = s->interrupted ? "interrupted" : "another node failed";
    for (size_t i = 0; i < s->n; i++) {
        struct task *t = &s->tasks[i];
        if (t->phase == TASK_END || t->phase == TASK_RUNNING || t->phase == TASK_STORING)
            continue;
        end(t, NODE_SKIPPED);
        emit_text(t, EVENT_SKIPPED, why);
    }
    s->n_heap = s->n_woken = 0;
    s->locked = s->resting = -1;
}

/* Carries everything forward that can go forward without waiting. */
static void pump(struct sched *s)
{
    size_t before;
    do {
        before = s->ended;
        while (s->n_woken && !atomic_load(&s->cancel))
            inputs_ready(&s->tasks[s->woken[--s->n_woken]]);
        admit(s);
    } while (s->ended != before);
    commit_next(s);
    send_next(s);
    if (atomic_load(&s->cancel) && s->ended + s->running + s->n_storing + s->n_committing < s->n)
        drop_waiting(s);
    if (s->ended == s->n && s->sending == 0)
        pool_stop(s->pool);
}

static void retry_locked(struct sched *s)
{
    int k = s->locked;
    s->locked = -1;
    while (k >= 0) {
        struct task *t = &s->tasks[k];
        k = t->next;
        ready_push(s, t->i);
    }
}

static void retry_rested(struct sched *s)
{
    int k = s->resting;
    double now = pool_now(s->pool);
    s->resting = -1;
    while (k >= 0) {
        struct task *t = &s->tasks[k];
        k = t->next;
        if (now >= t->not_before)
            ready_push(s, t->i);
        else {
            t->next = s->resting;
            s->resting = (int)t->i;
        }
    }
}

static void on_tick(void *u)
{
    struct sched *s = u;
    uint64_t rss = s->n_active ? budget_rss() : 0;
    for (size_t k = 0; k < s->n_active; k++) {
        struct task *t = s->active[k];
        if (rss > atomic_load(&t->job.rss_peak))
            atomic_store(&t->job.rss_peak, rss);
        if (s->o.timeout > 0 && pool_now(s->pool) - t->began > s->o.timeout)
            atomic_store(&t->timed_out, true);
        deliver_news(t);
    }
    check_budget(s, rss);
    struct sched_event ev = {.kind = EVENT_TICK};
    emit(s, ev);
    s->commit_due = true;
    retry_locked(s);
    retry_rested(s);
    pump(s);
}

static void on_interrupt(void *u, int signal, int times)
{
    struct sched *s = u;
    (void)signal;
    if (times > 1)
        _exit(STATUS_INTERRUPTED);
    s->interrupted = true;
    atomic_store(&s->cancel, true);
    pump(s);
}

/* ---- a run ---- */

/* Blocked nodes and those that need more memory than there is fail first: a run that cannot come to its end does not begin. */
static void begin(struct sched *s)
{
    struct err why, ignored;
    for (size_t i = 0; i < s->n; i++) {
        struct planned *p = &s->plan->nodes[i];
        if (p->state != NODE_BLOCKED || s->tasks[i].phase == TASK_END)
            continue;
        err_set(&why, ERR_INPUT, "%s", p->reason ? p->reason : "blocked");
        task_fail(s, &s->tasks[i], ERR_INPUT, &why);
    }
    refuse_too_big(s);
    int batch = s->plan->seen ? -1 : store_begin(s->plan->store, true, &ignored);
    for (size_t i = 0; i < s->n; i++)
        if (s->tasks[i].phase == TASK_WAIT && s->plan->nodes[i].state == NODE_UPTODATE)
            end_good(&s->tasks[i], NODE_UPTODATE, NULL);
    if (batch == 0)
        store_finish(s->plan->store, &ignored);
    for (size_t i = 0; i < s->n; i++)
        if (s->tasks[i].phase == TASK_WAIT && s->plan->graph->nodes[i].n_edges == 0)
            s->woken[s->n_woken++] = i;
    pump(s);
}

static int outcome(struct sched *s, struct err *e)
{
    s->result->cancelled = s->interrupted;
    if (s->interrupted && !s->first_rc)
        return err_set(e, ERR_CANCELLED, "interrupted; what is done is stored, the same command goes on from it");
    if (s->first_rc)
        *e = s->first;
    return s->first_rc;
}

int sched_run(struct plan *p, const struct sched_options *o, struct sched_result *out, struct err *e)
{
    struct sched_result unused;
    struct sched s = {.plan = p, .o = *o, .result = out ? out : &unused};
    struct err ignored;
    *s.result = (struct sched_result){0};
    pthread_mutex_init(&s.mutex, NULL);
    struct pool_calls calls = {.u = &s, .tick = on_tick, .interrupted = on_interrupt, .tick_ms = TICK_MS};
    int rc = sched_setup(&s, &calls, e);
    if (rc == 0) {
        if (store_run_begin(p->store, p->graph->file ? p->graph->file : "", o->command ? o->command : "run", &s.run, &ignored) != 0)
            s.run = 0;
        s.result->run = s.run;
        s.rss_begin = budget_rss();
        begin(&s);
        pool_run(s.pool);
        rc = outcome(&s, e);
        struct digest keys;
        if (s.run && !p->seen)
            store_see(p->store, p->graph->file ? p->graph->file : "", rc == 0 && plan_digest(p, &keys) ? &keys : NULL, &ignored);
        if (s.run)
            store_run_end(p->store, s.run, rc == 0 ? "done" : rc == ERR_CANCELLED ? "cancelled" : "failed", &ignored);
    }
    sched_teardown(&s);
    return rc;
}
