/* SPDX-License-Identifier: MIT */
#include "engine/spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/names.h"
#include "engine/param.h"
#include "runtime/base/fs.h"

struct loader {
    struct arena *arena;
    struct diags *d;
    struct names files; /* absolute path -> index of tree; IN_PROGRESS while it is read */
    size_t n_trees;
    const struct ynode *trees[SPEC_EXTENDS * 4];
    int depth;
};

#define IN_PROGRESS ((size_t)1 << 40)

static const char *const top_keys[] = {"pkgraph", "name", "doc", "extends", "vars", "defaults", "nodes", "sweep", "variants"};

/* ---- helpers ---- */

bool is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c >= 0x80;
        if (!word && (c != '-' || i == 0))
            return false;
    }
    return s.n > 0 && s.n <= 128;
}

const char *place_dir(struct arena *a, struct place at)
{
    char *abs = at.file && at.line > 0 ? fs_absolute(at.file) : NULL;
    char *dir = abs ? fs_dirname(abs) : fs_absolute(".");
    const char *out = dir ? arena_str(a, str_of(dir)) : NULL;
    free(abs);
    free(dir);
    return out;
}

const struct ynode *ynode_map(struct diags *d, const struct ynode *y, const char *what)
{
    if (ynode_is_null(y))
        return NULL;
    if (y->kind == Y_MAP)
        return y;
    diag_value(d, DIAG_ERROR, y, NULL, "%s must be a mapping, not a %s", what, ynode_kind_name(y));
    return NULL;
}

void check_keys(struct diags *d, const struct ynode *map, const char *what, const char *const *known, size_t n)
{
    for (size_t i = 0; map && i < map->n; i++) {
        const struct ypair *p = &map->pairs[i];
        bool found = str_starts(p->key, "x-"); /* a place for anchors and notes */
        for (size_t k = 0; k < n && !found; k++)
            found = str_is(p->key, known[k]);
        if (found)
            continue;
        char hint[256] = "";
        const char *near = nearest_name(p->key.p, known, n);
        if (near)
            snprintf(hint, sizeof hint, "did you mean \"%s\"?", near);
        else
            for (size_t k = 0, at = 0; k < n && at < 200; k++)
                at += (size_t)snprintf(hint + at, sizeof hint - at, "%s%s", k ? ", " : "known keys: ", known[k]);
        diag_add(d, DIAG_ERROR, p->at, hint, "unknown key \"%.80s\" in %s", p->key.p, what);
    }
}

/* ---- merging ---- */

static void recount(struct ynode *m)
{
    m->weight = 1;
    m->dollar = false;
    for (size_t i = 0; i < m->n; i++) {
        m->weight += m->pairs[i].value->weight;
        m->dollar |= m->pairs[i].value->dollar;
    }
}

static const struct ynode *removal(struct arena *a, const struct ynode *old, const struct ynode *null)
{
    if (null->removes || (ynode_is_null(old) && !old->removes))
        return null;
    struct ynode *y = arena_alloc(a, sizeof *y);
    if (y) {
        *y = *null;
        y->removes = true;
    }
    return y;
}

static bool merge_pairs(struct arena *a, struct ynode *out, const struct ynode *over, const struct names *where)
{
    for (size_t i = 0; i < over->n; i++) {
        const struct ypair *p = &over->pairs[i];
        size_t at = names_get(where, p->key);
        if (at == NAMES_NONE) {
            out->pairs[out->n++] = *p;
            continue;
        }
        const struct ynode *old = out->pairs[at].value;
        out->pairs[at].value = ynode_is_null(p->value) ? removal(a, old, p->value) : ynode_merge(a, old, p->value);
        if (!out->pairs[at].value)
            return false;
    }
    return true;
}

const struct ynode *ynode_merge(struct arena *a, const struct ynode *base, const struct ynode *over)
{
    if (!base || !over)
        return over ? over : base;
    if (base == over || base->kind != Y_MAP || over->kind != Y_MAP)
        return over;
    if (over->n == 0)
        return base;
    struct names where = {0};
    struct ynode *out = arena_alloc(a, sizeof *out);
    bool ok = out != NULL;
    if (ok) {
        *out = *base;
        out->pairs = arena_array(a, base->n + over->n, sizeof *out->pairs);
        ok = out->pairs != NULL;
    }
    for (size_t i = 0; ok && i < base->n; i++) {
        out->pairs[i] = base->pairs[i];
        ok = names_put(&where, base->pairs[i].key, i) != NULL;
    }
    ok = ok && merge_pairs(a, out, over, &where);
    if (ok)
        recount(out);
    names_release(&where);
    return ok ? out : NULL;
}

/* ---- one file ---- */

static void check_version(struct loader *l, const struct ynode *root, const char *file)
{
    const struct ynode *v = ynode_get(root, "pkgraph");
    int64_t n = 0;
    if (!v) {
        if (ynode_is_null(ynode_get(root, "extends")))
            diag_add(l->d, DIAG_ERROR, (struct place){file, root->at.line, root->at.column, 0}, "begin the file with `pkgraph: 1`",
                     "the version of the language is missing");
    } else if (v->kind != Y_SCALAR || !parse_int(v->text, &n) || n != SPEC_VERSION) {
        diag_value(l->d, DIAG_ERROR, v, "write `pkgraph: 1`", "this program reads version %d of the language, not %s", SPEC_VERSION,
                   v->kind == Y_SCALAR ? v->text.p : "this");
    }
}

/* Sections must be mappings, so that merging two files meets like with like. */
static bool check_sections(struct loader *l, const struct ynode *root)
{
    size_t before = diags_errors(l->d);
    check_keys(l->d, root, "a spec", top_keys, sizeof top_keys / sizeof *top_keys);
    static const char *const maps[] = {"vars", "defaults", "nodes", "sweep", "variants"};
    bool ok = true;
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        const struct ynode *y = ynode_get(root, maps[i]);
        ok &= ynode_is_null(y) || ynode_map(l->d, y, maps[i]) != NULL;
    }
    static const char *const texts[] = {"name", "doc"};
    for (size_t i = 0; i < 2; i++) {
        const struct ynode *y = ynode_get(root, texts[i]);
        if (y && y->kind != Y_SCALAR)
            diag_value(l->d, DIAG_ERROR, y, NULL, "%s must be text", texts[i]);
    }
    return ok || before == diags_errors(l->d);
}

static int load_file(struct loader *l, const char *file, const struct ynode *from, const struct ynode **out, struct err *e);

/* specs/qwen/../base.yaml as specs/base.yaml, where that is the same file (a link to a folder makes it another). */
static void shorten(char *path)
{
    struct stat was, is;
    for (char *up = strstr(path, "/../"); up; up = strstr(path, "/../")) {
        char *name = up;
        while (name > path && name[-1] != '/')
            name--;
        char *old = strdup(path);
        if (!old)
            return;
        memmove(name, up + 4, strlen(up + 4) + 1);
        bool same = name < up && strncmp(old + (name - path), "../", 3) != 0 && strncmp(old + (name - path), "./", 2) != 0 &&
                    stat(old, &was) == 0 && stat(path, &is) == 0 && was.st_dev == is.st_dev && was.st_ino == is.st_ino;
        if (!same)
            memcpy(path, old, strlen(old) + 1);
        free(old);
        if (!same)
            return;
    }
}

static int extend_one(struct loader *l, const char *file, const struct ynode *y, const struct ynode **base, struct err *e)
{
    if (y->kind != Y_SCALAR || y->text.n == 0) {
        diag_value(l->d, DIAG_ERROR, y, NULL, "extends takes the path of another spec, or a list of them");
        return ERR_INPUT;
    }
    if (y->dollar) {
        diag_value(l->d, DIAG_ERROR, y, "variables are known only after the files are merged", "extends takes a plain path, without ${}");
        return ERR_INPUT;
    }
    char *dir = fs_dirname(file), *joined = NULL;
    if (dir)
        joined = strcmp(dir, ".") == 0 && !strchr(file, '/') ? str_dup(y->text) : fs_join(dir, y->text.p);
    if (joined)
        shorten(joined);
    const char *path = joined ? arena_str(l->arena, str_of(joined)) : NULL;
    free(dir);
    free(joined);
    if (!path)
        return err_nomem(e, 0, "a path");
    const struct ynode *tree = NULL;
    int rc = load_file(l, path, y, &tree, e);
    if (rc)
        return rc;
    if (tree && !(*base = ynode_merge(l->arena, *base, tree)))
        return err_nomem(e, 0, "merged specs");
    return 0;
}

static int extend(struct loader *l, const char *file, const struct ynode *root, const struct ynode **out, struct err *e)
{
    const struct ynode *y = ynode_get(root, "extends"), *base = NULL;
    int rc = 0;
    if (!ynode_is_null(y)) {
        size_t n = y->kind == Y_LIST ? y->n : 1;
        for (size_t i = 0; i < n && rc == 0; i++)
            rc = extend_one(l, file, y->kind == Y_LIST ? y->v[i] : y, &base, e);
    }
    if (rc == 0 && !(*out = ynode_merge(l->arena, base, root)))
        rc = err_nomem(e, 0, "merged specs");
    return rc;
}

__attribute__((format(printf, 5, 6)))
static int refuse(struct loader *l, const char *file, const struct ynode *from, const char *hint, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (from)
        diag_value(l->d, DIAG_ERROR, from, hint, "%s", text);
    else
        diag_add(l->d, DIAG_ERROR, (struct place){.file = file}, hint, "%s", text);
    return ERR_INPUT;
}

static int parse_file(struct loader *l, const char *file, const struct ynode *from, const struct ynode **root, struct err *e)
{
    struct buf text = {0};
    struct err why = {0};
    int rc = fs_is_dir(file) ? err_set(&why, ERR_INPUT, "%s is a folder, not a spec", file) : fs_read(file, YAML_BYTES, &text, &why);
    if (rc == ERR_NOMEM) {
        *e = why;
    } else if (rc) {
        rc = refuse(l, file, from, NULL, "%s", why.msg);
    } else {
        rc = diags_add_source(l->d, file, buf_view(&text));
        if (rc == 0 && from)
            rc = diags_set_parent(l->d, file, from->at);
        if (rc == 0)
            rc = yaml_parse(buf_view(&text), file, l->arena, l->d, root);
        if (rc == ERR_NOMEM)
            err_nomem(e, text.n, file);
    }
    buf_release(&text);
    if (rc == 0 && (!*root || (*root)->kind != Y_MAP))
        rc = refuse(l, file, *root, "a spec begins with `pkgraph: 1`", *root ? "a spec is a mapping" : "the file is empty");
    return rc;
}

/* Reads, checks and merges one file; a file that several others extend is read once. */
static int load_file(struct loader *l, const char *file, const struct ynode *from, const struct ynode **out, struct err *e)
{
    char *abs = fs_absolute(file);
    if (!abs)
        return err_nomem(e, 0, "a path");
    size_t seen = names_get(&l->files, str_of(abs));
    int rc = 0;
    const struct ynode *root = NULL;
    if (seen == IN_PROGRESS) {
        rc = refuse(l, file, from, NULL, "%s extends itself", file);
    } else if (seen != NAMES_NONE) {
        *out = l->trees[seen];
    } else if (l->n_trees == SPEC_EXTENDS * 4 || l->depth == SPEC_EXTENDS) {
        rc = refuse(l, file, from, NULL, "more than %d specs extend each other", SPEC_EXTENDS);
    } else if (!names_put(&l->files, str_of(abs), IN_PROGRESS)) {
        rc = err_nomem(e, 0, "a path");
    } else {
        l->depth++;
        rc = parse_file(l, file, from, &root, e);
        if (rc == 0) {
            check_version(l, root, file);
            rc = check_sections(l, root) ? extend(l, file, root, out, e) : ERR_INPUT;
        }
        if (rc == 0) {
            l->trees[l->n_trees] = *out;
            names_put(&l->files, str_of(abs), l->n_trees++);
        }
        l->depth--;
    }
    free(abs);
    return rc;
}

/* ---- the whole ---- */

static const char *spec_name(struct arena *a, const struct ynode *root, const char *path)
{
    const struct ynode *y = ynode_get(root, "name");
    if (y && y->kind == Y_SCALAR && !ynode_is_null(y))
        return y->text.p;
    struct str base = str_of(fs_basename(path));
    if (str_ends(base, ".yaml"))
        base.n -= 5;
    else if (str_ends(base, ".yml"))
        base.n -= 4;
    return arena_str(a, base);
}

static int fill(struct arena *a, const struct ynode *root, const char *path, struct spec *s, struct err *e)
{
    char *abs = fs_absolute(path), *dir = abs ? fs_dirname(abs) : NULL;
    *s = (struct spec){.file = arena_str(a, str_of(path)), .path = abs ? arena_str(a, str_of(abs)) : NULL,
                       .dir = dir ? arena_str(a, str_of(dir)) : NULL, .name = spec_name(a, root, path)};
    free(abs);
    free(dir);
    if (!s->file || !s->path || !s->dir || !s->name)
        return err_nomem(e, 0, "a path");
    const struct ynode **to[] = {&s->vars, &s->defaults, &s->nodes, &s->sweep, &s->variants};
    static const char *const key[] = {"vars", "defaults", "nodes", "sweep", "variants"};
    for (int i = 0; i < 5; i++) {
        const struct ynode *y = ynode_get(root, key[i]);
        *to[i] = y && y->kind == Y_MAP ? y : NULL;
    }
    return 0;
}

int spec_load(const char *path, struct arena *arena, struct diags *d, struct spec *out, struct err *e)
{
    struct loader l = {.arena = arena, .d = d};
    const struct ynode *root = NULL;
    const char *file = arena_str(arena, str_of(path));
    int rc = file ? load_file(&l, file, NULL, &root, e) : err_nomem(e, 0, "a path");
    if (rc == 0)
        rc = fill(arena, root, path, out, e);
    names_release(&l.files);
    return rc;
}
