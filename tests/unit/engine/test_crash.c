/* SPDX-License-Identifier: MIT
 *
 * Several processes on one store: a key is computed once, a killed process leaves nothing behind that matters, and after
 * a kill at any moment the same command gives the same bytes. The children are this program run again.
 */
#include "toy.h"

#include <signal.h>
#include <sys/wait.h>

/* A chain of six joins over eight slow texts; `salt` makes the work new. */
static void chain(struct toy *t, const char *salt)
{
    for (int i = 0; i < 8; i++) {
        char id[16], text[64];
        snprintf(id, sizeof id, "t%d", i);
        snprintf(text, sizeof text, "%s-%d", salt, i);
        toy_num(toy_text_node(t, id, text), "sleep", 0.02);
    }
    for (int i = 0; i < 6; i++) {
        char id[16];
        snprintf(id, sizeof id, "j%d", i);
        toy_str(t, toy_add(t, id, &toy_join), "glue", "|");
    }
    for (int i = 0; i < 6; i++) {
        char id[16], a[16], b[16];
        snprintf(id, sizeof id, "j%d", i);
        snprintf(a, sizeof a, i ? "j%d" : "t%d", i ? i - 1 : 7);
        snprintf(b, sizeof b, "t%d", i);
        toy_edge(t, id, "a", a);
        toy_edge(t, id, "b", b);
    }
}

static int child(const char *dir, const char *salt)
{
    struct toy t = {0};
    struct buf out = {0};
    struct store *s = toy_store(dir);
    chain(&t, salt);
    int n = toy_run(&t, s, &out);
    buf_release(&out);
    toy_free(&t);
    store_close(s);
    return n;
}

static pid_t spawn(const char *dir, const char *salt)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/proc/self/exe", "test_crash", "child", dir, salt, (char *)NULL);
        _exit(99);
    }
    return pid;
}

static void test_two_processes(void **state)
{
    (void)state;
    char *dir = toy_dir();
    pid_t pid[3];
    int sum = 0;
    for (int i = 0; i < 3; i++)
        pid[i] = spawn(dir, "shared");
    for (int i = 0; i < 3; i++) {
        int status;
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_true(WIFEXITED(status));
        assert_true(WEXITSTATUS(status) <= 14);
        sum += WEXITSTATUS(status);
    }
    assert_int_equal(sum, 14);
    toy_rmdir(dir);
}

static size_t entries(const char *dir, const char *sub)
{
    char *path = fs_join(dir, sub), **names;
    struct err e;
    size_t n = 0;
    assert_int_equal(fs_list(path, &names, &n, &e), 0);
    fs_list_free(names, n);
    free(path);
    return n;
}

static void test_kill(void **state)
{
    (void)state;
    char *dir = toy_dir();
    srand(1);
    int unfinished = 0;
    for (int i = 0; i < 50; i++) {
        char salt[16], want[256];
        int status;
        snprintf(salt, sizeof salt, "s%d", i);
        pid_t pid = spawn(dir, salt);
        toy_sleep(0.001 * (rand() % 250));
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        unfinished += !WIFEXITED(status);
        struct toy t = {0};
        struct buf out = {0};
        struct store *s = toy_store(dir);
        chain(&t, salt);
        toy_run(&t, s, &out);
        snprintf(want, sizeof want, "%s-7|%s-0|%s-1|%s-2|%s-3|%s-4|%s-5", salt, salt, salt, salt, salt, salt, salt);
        assert_string_equal(out.p, want);
        assert_int_equal(toy_run(&t, s, &out), 0);
        buf_release(&out);
        toy_free(&t);
        store_close(s);
        assert_int_equal(entries(dir, "store/tmp"), 0);
        assert_true(entries(dir, "store/locks") <= 3); /* "open", "gc" and "nodes" */
    }
    print_message("50 kills, %d of them before the end\n", unfinished);
    toy_rmdir(dir);
}

struct holder {
    const char *dir;
    pid_t pid;
    int waiting;
};

static void count_waiting(void *u, const struct sched_event *ev)
{
    struct holder *h = u;
    if (ev->kind == EVENT_WAITING) {
        h->waiting++;
        assert_non_null(strstr(ev->text, "process "));
        kill(h->pid, SIGKILL); /* the lock goes with its holder */
    }
}

/* A child that takes the lock of node x's key and holds it. */
static int hold(const char *dir, const char *fifo)
{
    struct toy t = {0};
    struct store *s = toy_store(dir);
    struct store_lock *l;
    struct err e;
    bool busy;
    toy_text_node(&t, "x", "held");
    struct plan *p = toy_plan(&t, s);
    if (store_lock_key(s, &p->nodes[0].key, true, &l, &busy, &e) != 0)
        return 1;
    fs_write_atomic(fifo, "x", 1, &e);
    toy_sleep(60);
    return 0;
}

static void test_waits_for_dead(void **state)
{
    (void)state;
    char *dir = toy_dir(), *sign = fs_join(dir, "sign");
    struct holder h = {.dir = dir, .pid = fork()};
    if (h.pid == 0) {
        execl("/proc/self/exe", "test_crash", "hold", dir, sign, (char *)NULL);
        _exit(99);
    }
    while (!fs_exists(sign))
        toy_sleep(0.01);
    struct toy t = {0};
    struct store *s = toy_store(dir);
    struct sched_options o = {.cpus = 1, .mem = 1 << 30, .event = count_waiting, .u = &h};
    struct err e;
    toy_text_node(&t, "x", "held");
    assert_int_equal(toy_run_with(&t, s, &o, NULL, NULL, &e), 1);
    assert_int_equal(h.waiting, 1);
    waitpid(h.pid, NULL, 0);
    toy_free(&t);
    store_close(s);
    free(sign);
    toy_rmdir(dir);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "child") == 0)
        return child(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "hold") == 0)
        return hold(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_processes),
        cmocka_unit_test(test_waits_for_dead),
        cmocka_unit_test(test_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
