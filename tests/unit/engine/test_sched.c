/* SPDX-License-Identifier: MIT
 *
 * sched: what runs, what does not run again, and what happens when things go wrong, on toy operators.
 */
#include "toy.h"

#include "runtime/exec/par.h"

#include <signal.h>

/* x, y: text; j = x-y; k = the first 3 bytes of j; z = k+x. */
static void diamond(struct toy *t, const char *left, const char *right)
{
    toy_text_node(t, "x", left);
    toy_text_node(t, "y", right);
    struct node *n = toy_add(t, "j", &toy_join);
    toy_str(t, n, "glue", "-");
    n = toy_add(t, "k", &toy_join);
    toy_str(t, n, "glue", "");
    toy_int(n, "keep", 3);
    n = toy_add(t, "z", &toy_join);
    toy_str(t, n, "glue", "+");
    toy_edge(t, "j", "a", "x");
    toy_edge(t, "j", "b", "y");
    toy_edge(t, "k", "a", "j");
    toy_edge(t, "z", "a", "k");
    toy_edge(t, "z", "b", "x");
}

static int run_diamond(struct store *s, const char *left, const char *right, struct buf *out)
{
    struct toy t = {0};
    diamond(&t, left, right);
    int n = toy_run(&t, s, out);
    toy_free(&t);
    return n;
}

struct fixture {
    char *dir;
    struct store *s;
    struct buf out;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->dir = toy_dir();
    f->s = toy_store(f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->s);
    toy_rmdir(f->dir);
    buf_release(&f->out);
    free(f);
    return 0;
}

static void test_twice(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run_diamond(f->s, "left", "right", &f->out), 5);
    assert_string_equal(f->out.p, "lef+left");
    assert_int_equal(run_diamond(f->s, "left", "right", &f->out), 0);
    assert_string_equal(f->out.p, "lef+left");
}

static void test_early_cutoff(void **state)
{
    struct fixture *f = *state;
    run_diamond(f->s, "left", "right", NULL);
    /* y, j and k run; k gives the same bytes, so z does not */
    assert_int_equal(run_diamond(f->s, "left", "wrong", &f->out), 3);
    assert_int_equal(run_diamond(f->s, "left", "right", &f->out), 0);
    /* all but y */
    assert_int_equal(run_diamond(f->s, "loft", "right", &f->out), 4);
    assert_string_equal(f->out.p, "lof+loft");
}

static void test_swapped_inputs(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        struct toy t = {0};
        toy_text_node(&t, "x", "1");
        toy_text_node(&t, "y", "2");
        toy_str(&t, toy_add(&t, "j", &toy_join), "glue", "-");
        toy_edge(&t, "j", "a", i ? "y" : "x");
        toy_edge(&t, "j", "b", i ? "x" : "y");
        assert_int_equal(toy_run(&t, f->s, &f->out), i ? 1 : 3);
        assert_string_equal(f->out.p, i ? "2-1" : "1-2");
        toy_free(&t);
    }
}

static void test_variadic_order_counts(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        struct toy t = {0};
        toy_text_node(&t, "x", "1");
        toy_text_node(&t, "y", "2");
        toy_text_node(&t, "w", "3");
        toy_str(&t, toy_add(&t, "j", &toy_join), "glue", "-");
        toy_edge(&t, "j", "a", "w");
        toy_edge(&t, "j", "more", i ? "y" : "x");
        toy_edge(&t, "j", "more", i ? "x" : "y");
        assert_int_equal(toy_run(&t, f->s, &f->out), i ? 1 : 4);
        assert_string_equal(f->out.p, i ? "3-2-1" : "3-1-2");
        toy_free(&t);
    }
}

static void test_renamed_and_reordered(void **state)
{
    struct fixture *f = *state;
    run_diamond(f->s, "left", "right", NULL);
    struct toy t = {0};
    toy_text_node(&t, "second", "right");
    toy_text_node(&t, "unrelated", "right");
    toy_text_node(&t, "first", "left");
    toy_str(&t, toy_add(&t, "both", &toy_join), "glue", "-");
    toy_edge(&t, "both", "a", "first");
    toy_edge(&t, "both", "b", "second");
    assert_int_equal(toy_run(&t, f->s, &f->out), 0);
    assert_string_equal(f->out.p, "left-right");
    toy_free(&t);
}

static void test_same_key_once(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof id, "n%d", i);
        toy_num(toy_text_node(&t, id, i % 2 ? "odd" : "even"), "sleep", 0.05);
    }
    toy_str(&t, toy_add(&t, "j", &toy_join), "glue", "-");
    toy_edge(&t, "j", "a", "n18");
    toy_edge(&t, "j", "b", "n19");
    assert_int_equal(toy_run(&t, f->s, &f->out), 3);
    assert_string_equal(f->out.p, "even-odd");
    toy_free(&t);
}

/* The blob that holds `text`. */
static char *blob_of(struct store *s, const char *text)
{
    struct digest d;
    struct err e;
    char *path = NULL;
    sha_bytes(text, strlen(text), &d);
    assert_int_equal(store_blob_path(s, &d, &path, &e), 0);
    assert_true(fs_exists(path));
    return path;
}

static void test_damage_heals(void **state)
{
    struct fixture *f = *state;
    run_diamond(f->s, "left", "right", NULL);
    char *path = blob_of(f->s, "left-right");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(run_diamond(f->s, "left", "right", &f->out), 1);
    assert_string_equal(f->out.p, "lef+left");
    /* same size, other bytes */
    struct err e;
    assert_int_equal(fs_write_atomic(path, "left/right", 10, &e), 0);
    assert_int_equal(run_diamond(f->s, "left", "right", &f->out), 1);
    struct buf b = {0};
    assert_int_equal(fs_read(path, 100, &b, &e), 0);
    assert_string_equal(b.p, "left-right");
    buf_release(&b);
    /* shorter */
    assert_int_equal(fs_write_atomic(path, "left", 4, &e), 0);
    assert_int_equal(run_diamond(f->s, "left", "right", &f->out), 1);
    /* the same bytes with another time are as good */
    assert_int_equal(fs_write_atomic(path, "left-right", 10, &e), 0);
    assert_int_equal(run_diamond(f->s, "left", "right", &f->out), 0);
    free(path);
}

static struct sched_result run_failing(struct fixture *f, bool keep_going, struct err *e, int *rc)
{
    struct toy t = {0};
    struct sched_result res;
    struct sched_options o = {.cpus = 1, .jobs = 1, .mem = 1 << 30, .keep_going = keep_going};
    toy_str(&t, toy_text_node(&t, "bad", "b"), "fail", "the reason");
    toy_text_node(&t, "good", "g");
    toy_str(&t, toy_add(&t, "hangs", &toy_join), "glue", "-");
    toy_str(&t, toy_add(&t, "free", &toy_join), "glue", "-");
    toy_edge(&t, "hangs", "a", "good");
    toy_edge(&t, "hangs", "b", "bad");
    toy_edge(&t, "free", "a", "good");
    *rc = toy_run_with(&t, f->s, &o, &res, NULL, e);
    toy_free(&t);
    return res;
}

static void test_failure(void **state)
{
    struct fixture *f = *state;
    struct err e;
    int rc;
    struct sched_result res = run_failing(f, false, &e, &rc);
    assert_int_equal(rc, ERR_INPUT);
    assert_string_equal(e.msg, "node bad (text): the reason");
    assert_int_equal(res.failed, 1);
    assert_int_equal(res.skipped, 3);
    assert_false(res.cancelled);
    res = run_failing(f, true, &e, &rc);
    assert_int_equal(rc, ERR_INPUT);
    assert_int_equal(res.failed, 1);
    assert_int_equal(res.skipped, 1);
    assert_int_equal(res.ran, 2);
    /* what succeeded stays */
    res = run_failing(f, true, &e, &rc);
    assert_int_equal(res.ran, 0);
    assert_int_equal(res.uptodate, 2);
}

struct watch {
    int ticks, starts, dones, warnings, progress, waiting;
    bool interrupt;
    double interrupted_at;
};

static void watch_event(void *u, const struct sched_event *ev)
{
    struct watch *w = u;
    w->ticks += ev->kind == EVENT_TICK;
    w->starts += ev->kind == EVENT_START;
    w->dones += ev->kind == EVENT_DONE;
    w->warnings += ev->kind == EVENT_WARNING && strcmp(ev->text, "a warning") == 0;
    w->progress += ev->kind == EVENT_PROGRESS;
    w->waiting += ev->kind == EVENT_WAITING;
    if (ev->kind == EVENT_TICK && w->interrupt && w->ticks == 2) {
        w->interrupted_at = ev->now;
        kill(getpid(), SIGINT);
    }
}

static void test_events(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    struct watch w = {0};
    struct err e;
    struct sched_options o = {.cpus = 2, .mem = 1 << 30, .event = watch_event, .u = &w};
    toy_num(toy_text_node(&t, "x", "warn"), "sleep", 0.35);
    assert_int_equal(toy_run_with(&t, f->s, &o, NULL, NULL, &e), 1);
    assert_int_equal(w.starts, 1);
    assert_int_equal(w.dones, 1);
    assert_int_equal(w.warnings, 1);
    assert_true(w.ticks >= 2 && w.progress >= 2);
    toy_free(&t);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_interrupt(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    struct watch w = {.interrupt = true};
    struct err e;
    struct sched_result res;
    struct sched_options o = {.cpus = 2, .mem = 1 << 30, .event = watch_event, .u = &w};
    for (int i = 0; i < 8; i++) {
        char id[16];
        snprintf(id, sizeof id, "n%d", i);
        toy_num(toy_text_node(&t, id, id), "sleep", 30);
    }
    double began = seconds();
    assert_int_equal(toy_run_with(&t, f->s, &o, &res, NULL, &e), ERR_CANCELLED);
    assert_true(seconds() - began < 1.5);
    assert_true(res.cancelled);
    assert_int_equal(res.skipped, 8);
    toy_free(&t);
}

static int run_memory(struct fixture *f, uint64_t need, const char *salt, struct err *e)
{
    struct toy t = {0};
    struct sched_options o = {.cpus = 4, .mem = (uint64_t)1 << 30};
    for (int i = 0; i < 4; i++) {
        char id[16], text[32];
        snprintf(id, sizeof id, "n%d", i);
        snprintf(text, sizeof text, "%s%d", salt, i);
        struct node *n = toy_text_node(&t, id, text);
        toy_num(n, "sleep", 0.2);
        toy_int(n, "memory", (int64_t)need);
        toy_int(n, "threads", 1);
    }
    atomic_store(&toy_most, 0);
    int rc = toy_run_with(&t, f->s, &o, NULL, NULL, e);
    toy_free(&t);
    return rc < 0 ? rc : atomic_load(&toy_most);
}

static void test_memory(void **state)
{
    struct fixture *f = *state;
    struct err e;
    assert_int_equal(run_memory(f, (uint64_t)600 << 20, "a", &e), 1);
    assert_int_equal(run_memory(f, (uint64_t)400 << 20, "b", &e), 2);
    assert_int_equal(run_memory(f, (uint64_t)10 << 20, "c", &e), 4);
    assert_int_equal(run_memory(f, (uint64_t)3 << 30, "d", &e), ERR_NOMEM);
    assert_non_null(strstr(e.msg, "needs 3.0 GiB of memory, the budget is 1.0 GiB; give more with --mem"));
}

/* The order of starts, as one letter a node. */
struct order {
    struct toy *t;
    char z[16];
    size_t n;
};

static void note_start(void *u, const struct sched_event *ev)
{
    struct order *o = u;
    if (ev->kind == EVENT_START && o->n < sizeof o->z - 1)
        o->z[o->n++] = o->t->g.nodes[ev->node].id[0];
}

static int tail_run(struct op_run *r, struct err *e)
{
    toy_sleep(0.3);
    return toy_write(r, "text", "tail", 4, e);
}

static const struct op slow_tail = {.name = "slow-tail", .version = 1, .inputs = join_in, .outputs = toy_out, .infer = toy_infer, .run = tail_run};

/* On one processor: a alone, b with c behind it. Nothing is known at first but that more hangs on b; then what was measured
 * says that c, too, comes before a. */
static void test_longest_path(void **state)
{
    struct fixture *f = *state;
    for (int times = 0; times < 2; times++) {
        struct toy t = {0};
        struct err e;
        struct order order = {.t = &t};
        struct sched_options o = {.cpus = 1, .mem = 1 << 30, .event = note_start, .u = &order};
        toy_num(toy_text_node(&t, "a", times ? "a2" : "a1"), "sleep", 0.2);
        toy_num(toy_text_node(&t, "b", times ? "b2" : "b1"), "sleep", 0.15);
        toy_add(&t, "c", &slow_tail);
        toy_edge(&t, "c", "a", "b");
        struct plan *p = toy_plan(&t, f->s);
        assert_int_equal(sched_run(p, &o, NULL, &e), 0);
        plan_free(p);
        assert_string_equal(order.z, times ? "bca" : "bac");
        toy_free(&t);
    }
}

/* However many run at once, their teams together have no more threads than there are processors. */
static _Atomic int teams, most_teams;

static int team_run(struct op_run *r, struct err *e)
{
    int now = atomic_fetch_add(&teams, op_threads(r)) + op_threads(r), most = atomic_load(&most_teams);
    while (now > most && !atomic_compare_exchange_weak(&most_teams, &most, now))
        ;
    toy_sleep(0.15);
    atomic_fetch_sub(&teams, op_threads(r));
    return toy_write(r, "text", op_str(op_run_args(r), "text"), 2, e);
}

static const struct op team = {.name = "team", .version = 1, .outputs = toy_out, .params = text_params, .infer = toy_infer, .cost = text_cost,
                               .run = team_run};

static void test_teams(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    struct err e;
    struct sched_options o = {.cpus = 5, .mem = (uint64_t)1 << 30};
    for (int i = 0; i < 9; i++) {
        char id[8];
        snprintf(id, sizeof id, "n%d", i);
        struct node *n = toy_add(&t, id, &team);
        toy_str(&t, n, "text", id);
        toy_int(n, "threads", 1 + i % 3);
    }
    struct plan *p = toy_plan(&t, f->s);
    assert_int_equal(sched_run(p, &o, NULL, &e), 0);
    plan_free(p);
    assert_true(atomic_load(&most_teams) <= 5 && atomic_load(&most_teams) >= 3);
    toy_free(&t);
}

static void test_jobs(void **state)
{
    struct fixture *f = *state;
    for (int jobs = 1; jobs <= 2; jobs++) {
        struct toy t = {0};
        struct err e;
        struct sched_options o = {.cpus = 8, .jobs = jobs, .mem = (uint64_t)1 << 30};
        for (int i = 0; i < 6; i++) {
            char id[16];
            snprintf(id, sizeof id, "n%d-%d", jobs, i);
            toy_num(toy_text_node(&t, id, id), "sleep", 0.05);
        }
        atomic_store(&toy_most, 0);
        assert_int_equal(toy_run_with(&t, f->s, &o, NULL, NULL, &e), 6);
        assert_int_equal(atomic_load(&toy_most), jobs);
        toy_free(&t);
    }
}

static void test_source_changes(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    char *path = fs_join(f->dir, "data.txt");
    assert_int_equal(fs_write_atomic(path, "one", 3, &e), 0);
    for (int i = 0; i < 3; i++) {
        struct toy t = {0};
        toy_str(&t, toy_add(&t, "file", &toy_file), "path", path);
        if (i == 2)
            assert_int_equal(fs_write_atomic(path, "two", 3, &e), 0);
        assert_int_equal(toy_run(&t, f->s, &f->out), i == 1 ? 0 : 1);
        assert_string_equal(f->out.p, i == 2 ? "two" : "one");
        toy_free(&t);
    }
    /* a file written while the node runs: not stored */
    struct toy t = {0};
    struct sched_options o = {.cpus = 1, .mem = 1 << 30};
    struct sched_result res;
    struct node *n = toy_add(&t, "file", &toy_file);
    toy_str(&t, n, "path", path);
    toy_value(n, "edit")->b = true;
    assert_int_equal(fs_write_atomic(path, "three", 5, &e), 0);
    assert_int_equal(toy_run_with(&t, f->s, &o, &res, NULL, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "changed while the node ran"));
    toy_free(&t);
    /* and missing */
    unlink(path);
    toy_str(&t, toy_add(&t, "file", &toy_file), "path", path);
    assert_int_equal(toy_run_with(&t, f->s, &o, &res, NULL, &e), ERR_INPUT);
    assert_non_null(strstr(e.msg, "data.txt: no such file"));
    toy_free(&t);
    free(path);
}

static void test_forced(void **state)
{
    struct fixture *f = *state;
    run_diamond(f->s, "left", "right", NULL);
    struct toy t = {0};
    struct err e;
    struct plan *p = NULL;
    struct sched_options o = {.cpus = 2, .mem = 1 << 30};
    struct sched_result res;
    diamond(&t, "left", "right");
    toy_finish(&t);
    const char *force[] = {"j"};
    assert_int_equal(plan_make(&t.g, f->s, true, force, 1, NULL, &p, &e), 0);
    assert_int_equal(sched_run(p, &o, &res, &e), 0);
    assert_int_equal(res.ran, 1);
    assert_int_equal(res.uptodate, 4);
    plan_free(p);
    toy_free(&t);
}

static void thousand(struct toy *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char id[24];
        snprintf(id, sizeof id, "n%zu", i);
        toy_text_node(t, id, id);
    }
}

static void light_cost(const struct op_args *a, struct op_cost *c)
{
    (void)a;
    c->bytes_written = 1e6; /* a millisecond: light */
}

/* More light tasks than the pool takes ahead of time. */
static void test_many_light(void **state)
{
    struct fixture *f = *state;
    struct op light = toy_text;
    struct toy t = {0};
    light.cost = light_cost;
    for (int i = 0; i < 600; i++) {
        char id[24];
        snprintf(id, sizeof id, "n%d", i);
        toy_str(&t, toy_add(&t, id, &light), "text", id);
    }
    assert_int_equal(toy_run(&t, f->s, NULL), 600);
    toy_free(&t);
}

static void test_thousand(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    thousand(&t, 1000);
    double a = seconds();
    assert_int_equal(toy_run(&t, f->s, NULL), 1000);
    double b = seconds();
    assert_int_equal(toy_run(&t, f->s, NULL), 0);
    double c = seconds();
    struct plan *p = toy_plan(&t, f->s);
    double d = seconds();
    assert_int_equal(p->n_uptodate, 1000);
    plan_free(p);
    print_message("1000 trivial nodes: first run %.2f s, second %.3f s, plan alone %.1f ms\n", b - a, c - b, (d - c) * 1e3);
    toy_free(&t);
}

/* ---- retries, limits, loans ---- */

struct seen {
    int warnings;
    char last[512];
};

static void note_warning(void *u, const struct sched_event *ev)
{
    struct seen *w = u;
    if (ev->kind != EVENT_WARNING && ev->kind != EVENT_FAILED)
        return;
    w->warnings += ev->kind == EVENT_WARNING;
    snprintf(w->last, sizeof w->last, "%s", ev->text);
}

static _Atomic int flaky_left;

static int flaky_run(struct op_run *r, struct err *e)
{
    atomic_fetch_add(&toy_runs, 1);
    if (atomic_fetch_sub(&flaky_left, 1) > 0)
        return err_set(e, ERR_IO, "the network is away");
    return toy_write(r, "text", "at last", 7, e);
}

static const struct op flaky = {.name = "flaky", .version = 1, .outputs = toy_out, .flags = OP_RETRYABLE, .infer = toy_infer, .run = flaky_run};

static void test_retries(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    struct seen w = {0};
    struct err e;
    struct sched_options o = {.cpus = 1, .mem = 1 << 30, .event = note_warning, .u = &w};
    toy_add(&t, "x", &flaky);
    atomic_store(&flaky_left, 2);
    assert_int_equal(toy_run_with(&t, f->s, &o, NULL, &f->out, &e), 3);
    assert_string_equal(f->out.p, "at last");
    assert_int_equal(w.warnings, 2);
    toy_free(&t);
    struct toy again = {0};
    toy_add(&again, "x", &flaky);
    struct plan *p = toy_plan(&again, f->s);
    p->nodes[0].forced = true;
    p->nodes[0].state = NODE_RUN;
    atomic_store(&flaky_left, 2);
    o.retries = -1; /* none: the first failure is the end */
    record_free(p->nodes[0].record);
    p->nodes[0].record = NULL;
    assert_int_equal(sched_run(p, &o, NULL, &e), ERR_IO);
    plan_free(p);
    toy_free(&again);
}

static void test_timeout(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    struct seen w = {0};
    struct err e;
    struct sched_options o = {.cpus = 1, .mem = 1 << 30, .timeout = 0.2, .event = note_warning, .u = &w};
    toy_num(toy_text_node(&t, "x", "slow"), "sleep", 60);
    double a = seconds();
    assert_int_equal(toy_run_with(&t, f->s, &o, NULL, NULL, &e), ERR_CANCELLED);
    assert_true(seconds() - a < 30);
    assert_non_null(strstr(w.last, "longer than the limit"));
    toy_free(&t);
}

static int hungry_run(struct op_run *r, struct err *e)
{
    enum { BYTES = 200 << 20 };
    char *p = malloc(BYTES);
    if (!p)
        return err_nomem(e, BYTES, "a test");
    for (size_t i = 0; i < BYTES; i += 4096)
        p[i] = (char)(i >> 12);
    toy_sleep(0.5); /* some ticks see it */
    int rc = toy_write(r, "text", p, 1, e);
    free(p);
    return rc;
}

static void hungry_cost(const struct op_args *a, struct op_cost *c)
{
    (void)a;
    c->peak_memory = 1 << 20;
}

static const struct op hungry = {.name = "hungry", .version = 1, .outputs = toy_out, .infer = toy_infer, .cost = hungry_cost, .run = hungry_run};

static const struct op hungry_too = {.name = "hungry-too", .version = 1, .outputs = toy_out, .infer = toy_infer, .cost = hungry_cost, .run = hungry_run};

static void test_memory_liar(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    struct seen w = {0};
    struct err e;
    struct sched_options o = {.cpus = 1, .mem = 1 << 30, .event = note_warning, .u = &w};
    toy_add(&t, "x", &hungry);
    struct plan *p = toy_plan(&t, f->s);
    assert_int_equal(sched_run(p, &o, NULL, &e), 0);
    plan_free(p);
    assert_int_equal(w.warnings, 1);
    assert_non_null(strstr(w.last, "had declared 1.0 MiB"));
    toy_free(&t);
}

/* It asks what it may use, and uses that: more than it declared, and no lie. */
static int greedy_run(struct op_run *r, struct err *e)
{
    return op_memory(r) > 512 << 20 ? hungry_run(r, e) : err_set(e, ERR_INTERNAL, "granted %llu only", (unsigned long long)op_memory(r));
}

static const struct op greedy = {.name = "greedy", .version = 1, .outputs = toy_out, .infer = toy_infer, .cost = hungry_cost, .run = greedy_run};

static void test_memory_granted(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    struct seen w = {0};
    struct err e;
    struct sched_options o = {.cpus = 1, .mem = 1 << 30, .event = note_warning, .u = &w};
    toy_add(&t, "x", &greedy);
    struct plan *p = toy_plan(&t, f->s);
    assert_int_equal(sched_run(p, &o, NULL, &e), 0);
    plan_free(p);
    assert_int_equal(w.warnings, 0);
    toy_free(&t);
}

/* One that takes no time has a small part of the budget, whatever it declared. */
static int modest_run(struct op_run *r, struct err *e)
{
    return op_memory(r) >= 16 << 20 && op_memory(r) < 64 << 20 ? toy_write(r, "text", "x", 1, e)
                                                               : err_set(e, ERR_INTERNAL, "granted %llu", (unsigned long long)op_memory(r));
}

static const struct op modest = {
    .name = "modest", .version = 1, .flags = OP_PURE_IO, .outputs = toy_out, .infer = toy_infer, .cost = hungry_cost, .run = modest_run};

static void test_memory_light(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    struct err e;
    struct sched_options o = {.cpus = 1, .mem = 1 << 30};
    toy_add(&t, "x", &modest);
    struct plan *p = toy_plan(&t, f->s);
    assert_int_equal(sched_run(p, &o, NULL, &e), 0);
    plan_free(p);
    toy_free(&t);
}

/* Side by side nobody can tell which of them it is: told of all, once. */
static void test_memory_liars(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    struct seen w = {0};
    struct err e;
    struct sched_options o = {.cpus = 2, .mem = 128 << 20, .event = note_warning, .u = &w};
    toy_add(&t, "x", &hungry);
    toy_add(&t, "y", &hungry_too);
    struct plan *p = toy_plan(&t, f->s);
    assert_int_equal(sched_run(p, &o, NULL, &e), 0);
    plan_free(p);
    assert_int_equal(w.warnings, 1);
    assert_non_null(strstr(w.last, "the budget is 128.0 MiB"));
    assert_non_null(strstr(w.last, "y was granted"));
    toy_free(&t);
}

/* Gives when it has been lent the processor of its neighbour, which ends. */
static int lent_run(struct op_run *r, struct err *e)
{
    for (int i = 0; i < 3000 && par_threads() < 2; i++)
        toy_sleep(0.01);
    return par_threads() == 2 ? toy_write(r, "text", "two", 3, e) : err_set(e, ERR_INTERNAL, "still %d", par_threads());
}

static const struct op lent = {.name = "lent", .version = 1, .outputs = toy_out, .infer = toy_infer, .run = lent_run};

static void test_lends(void **state)
{
    struct fixture *f = *state;
    struct toy t = {0};
    toy_num(toy_text_node(&t, "short", "short"), "sleep", 0.2);
    toy_add(&t, "long", &lent);
    assert_int_equal(toy_run(&t, f->s, &f->out), 1);
    assert_string_equal(f->out.p, "two");
    toy_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_early_cutoff, setup, teardown),
        cmocka_unit_test_setup_teardown(test_swapped_inputs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_variadic_order_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_renamed_and_reordered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_key_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_interrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_jobs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_longest_path, setup, teardown),
        cmocka_unit_test_setup_teardown(test_teams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_source_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retries, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_liar, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_granted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_light, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_liars, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_light, setup, teardown),
        cmocka_unit_test_setup_teardown(test_thousand, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
