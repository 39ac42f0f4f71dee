/* SPDX-License-Identifier: MIT */
#include "ops/lib/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/base/guard.h"

enum { SYNC_SECONDS = 5 };
#define JOURNAL_MAX ((size_t)1 << 32)

struct journal {
    int fd;
    char *path;
    time_t synced;
};

static time_t seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* The bytes of the journal that hold: 0 when it belongs to something else. */
static size_t replay(struct str text, const struct js *head, journal_each *each, void *u)
{
    size_t good = 0;
    for (bool first = true; good < text.n; first = false) {
        const char *end = memchr(text.p + good, '\n', text.n - good);
        struct err ignored;
        if (!end)
            break;
        size_t n = (size_t)(end - text.p) - good;
        struct js *line = js_parse((struct str){text.p + good, n}, "", &ignored);
        bool fine = first ? js_equal(line, head) : js_kind(line) == JS_OBJECT && each(u, line);
        js_free(line);
        if (!fine)
            break;
        good += n + 1;
    }
    return good;
}

static int put(struct journal *j, const char *p, size_t n, struct err *e)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = write(j->fd, p + done, n - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_errno(e, "%s", j->path);
        done += (size_t)k;
    }
    return 0;
}

int journal_add(struct journal *j, struct js *line, struct err *e)
{
    struct buf b = {0};
    if (line && guard_check(e)) { /* an answer that was made of zeros is none */
        js_free(line);
        return e->code;
    }
    if (line)
        js_write(&b, line);
    buf_putc(&b, '\n');
    int rc = !line || b.failed ? err_nomem(e, b.n, "a line of a journal") : put(j, b.p, b.n, e);
    time_t now = seconds();
    if (rc == 0 && now - j->synced >= SYNC_SECONDS) {
        j->synced = now;
        rc = fdatasync(j->fd) ? err_errno(e, "%s", j->path) : 0;
    }
    js_free(line);
    buf_release(&b);
    return rc;
}

static int begin(struct journal *j, struct js *head, journal_each *each, void *u, struct err *e)
{
    struct buf text = {0};
    int rc = fs_exists(j->path) ? fs_read(j->path, JOURNAL_MAX, &text, e) : 0;
    size_t good = rc == 0 ? replay(buf_view(&text), head, each, u) : 0;
    buf_release(&text);
    j->fd = rc == 0 ? open(j->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
    if (rc == 0 && (j->fd < 0 || ftruncate(j->fd, (off_t)good) < 0))
        rc = err_errno(e, "%s", j->path);
    return rc == 0 && good == 0 ? journal_add(j, js_ref(head), e) : rc;
}

int journal_open(struct op_run *r, const char *name, struct js *head, journal_each *each, void *u, struct journal **out, struct err *e)
{
    struct journal *j = calloc(1, sizeof *j);
    const char *dir;
    int rc = j && head ? op_checkpoint_dir(r, &dir, e) : err_nomem(e, sizeof *j, "a journal");
    if (j)
        j->fd = -1;
    if (rc == 0 && !(j->path = fs_join(dir, name)))
        rc = err_nomem(e, 0, "a journal");
    if (rc == 0) {
        j->synced = seconds();
        rc = begin(j, head, each, u, e);
    }
    js_free(head);
    *out = j;
    if (rc) {
        journal_close(j);
        *out = NULL;
    }
    return rc;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    if (j->fd >= 0)
        close(j->fd);
    free(j->path);
    free(j);
}
