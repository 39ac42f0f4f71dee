/* SPDX-License-Identifier: MIT */
#include "runtime/formats/hub.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/buf.h"
#include "runtime/base/fs.h"
#include "runtime/base/watch.h"

static void cache_folder(struct buf *b)
{
    const char *cache = watch_env("HF_HUB_CACHE"), *home = watch_env("HF_HOME"), *user = watch_env("HOME");
    if (cache && *cache)
        buf_puts(b, cache);
    else if (home && *home)
        buf_printf(b, "%s/hub", home);
    else
        buf_printf(b, "%s/.cache/huggingface/hub", user ? user : "");
}

/* Appends models--org--name. */
static void repo_folder(struct buf *b, struct str repo)
{
    buf_puts(b, "/models--");
    for (size_t i = 0; i < repo.n; i++)
        if (repo.p[i] == '/')
            buf_puts(b, "--");
        else
            buf_putc(b, repo.p[i]);
}

/* root/snapshots/COMMIT of a branch, tag or commit; NULL: no memory. */
static char *snapshot(const char *root, const char *rev)
{
    struct buf path = {0}, commit = {0};
    struct err ignored;
    struct str id = str_of(rev);
    buf_printf(&path, "%s/refs/%s", root, rev);
    if (!path.failed && fs_exists(path.p) && fs_read(path.p, 4096, &commit, &ignored) == 0)
        id = str_trim(buf_view(&commit));
    buf_clear(&path);
    buf_printf(&path, "%s/snapshots/%.*s", root, (int)id.n, id.p);
    char *out = path.failed ? NULL : buf_steal(&path);
    buf_release(&path);
    buf_release(&commit);
    return out;
}

int hub_folder(const char *path, char **dir, struct err *e)
{
    char *snapshots = fs_join(path, "snapshots"), *config = fs_join(path, "config.json");
    bool repo = snapshots && config && fs_is_dir(snapshots) && !fs_exists(config);
    *dir = repo ? snapshot(path, "main") : strdup(path);
    free(snapshots);
    free(config);
    return *dir ? 0 : err_nomem(e, strlen(path), "path");
}

int hub_find(const char *name, char **dir, struct err *e)
{
    *dir = NULL;
    const char *at = strchr(name, '@');
    struct str repo = {name, at ? (size_t)(at - name) : strlen(name)};
    const char *rev = at ? at + 1 : "main";
    if (!repo.n || !*rev || strstr(name, "..") || memchr(repo.p, '/', repo.n) == NULL)
        return err_set(e, ERR_INPUT, "\"hf:%s\" is not of the form hf:org/name or hf:org/name@revision", name);
    struct buf root = {0};
    cache_folder(&root);
    repo_folder(&root, repo);
    char *path = root.failed ? NULL : snapshot(root.p, rev);
    int rc = path ? 0 : err_nomem(e, repo.n, "path");
    if (rc == 0 && !fs_is_dir(path))
        rc = err_set(e, ERR_INPUT, "hf:%s is not in the local cache (%s is missing); fetch it with: hf download %.*s%s%s", name, path,
                     (int)repo.n, repo.p, at ? " --revision " : "", at ? rev : "");
    if (rc == 0) {
        *dir = path;
        path = NULL;
    }
    free(path);
    buf_release(&root);
    return rc;
}
