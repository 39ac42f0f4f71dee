/* SPDX-License-Identifier: MIT */
#include "ops/lib/mmlu_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/text/rows.h"

char *mmlu_path(const char *folder, const char *split, const char *subject)
{
    char *p = NULL;
    return asprintf(&p, "%s/%s/%s_%s.csv", folder, split, subject, split) < 0 ? NULL : p;
}

/* ---- subjects ---- */

static int add(char ***names, size_t *n, struct str name, struct err *e)
{
    char **v = realloc(*names, (*n + 1) * sizeof *v);
    if (!v)
        return err_nomem(e, (*n + 1) * sizeof *v, "subjects");
    *names = v;
    v[*n] = str_dup(name);
    if (!v[*n])
        return err_nomem(e, name.n, "subjects");
    ++*n;
    return 0;
}

static int all_of(const char *folder, char ***names, size_t *n, struct err *e)
{
    static const char end[] = "_test.csv";
    char **files = NULL, *dir = fs_join(folder, "test");
    size_t n_files = 0;
    if (!dir)
        return err_nomem(e, 0, "a path");
    int rc = fs_is_dir(dir) ? fs_list(dir, &files, &n_files, e)
                            : err_set(e, ERR_INPUT, "%s: no such folder; path is the folder of MMLU, with test/SUBJECT_test.csv and dev/SUBJECT_dev.csv", dir);
    for (size_t i = 0; rc == 0 && i < n_files; i++)
        if (str_ends(str_of(files[i]), end))
            rc = add(names, n, (struct str){files[i], strlen(files[i]) - strlen(end)}, e);
    if (rc == 0 && *n == 0)
        rc = err_set(e, ERR_INPUT, "%s: no file SUBJECT_test.csv", dir);
    fs_list_free(files, n_files);
    free(dir);
    return rc;
}

static int check_file(const char *folder, const char *split, const char *subject, struct err *e)
{
    char *p = mmlu_path(folder, split, subject);
    int rc = !p ? err_nomem(e, 0, "a path") : fs_exists(p) ? 0 : err_set(e, ERR_INPUT, "%s: no such file", p);
    free(p);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int mmlu_subjects(const struct op_args *a, char ***names, size_t *n, struct err *e)
{
    const char *folder = op_str(a, "path");
    int rc = 0;
    *names = NULL;
    *n = 0;
    if (op_is_set(a, "subjects"))
        for (size_t i = 0; rc == 0 && i < op_count(a, "subjects"); i++)
            rc = add(names, n, str_of(op_str_at(a, "subjects", i)), e);
    else
        rc = all_of(folder, names, n, e);
    if (rc == 0)
        qsort(*names, *n, sizeof **names, by_name);
    for (size_t i = 0; rc == 0 && i < *n; i++) {
        if (i && strcmp((*names)[i], (*names)[i - 1]) == 0)
            rc = err_set(e, ERR_INPUT, "subjects: %s stands there twice", (*names)[i]);
        if (rc == 0)
            rc = check_file(folder, "test", (*names)[i], e);
        if (rc == 0 && op_int(a, "n_shot"))
            rc = check_file(folder, "dev", (*names)[i], e);
    }
    return rc;
}

/* ---- questions ---- */

void mmlu_set_release(struct mmlu_set *s)
{
    for (size_t i = 0; i < s->n_subjects; i++) {
        if (s->test)
            mmlu_release(&s->test[i]);
        if (s->dev)
            mmlu_release(&s->dev[i]);
    }
    fs_list_free(s->subjects, s->n_subjects);
    free(s->test);
    free(s->dev);
    free(s->items);
    *s = (struct mmlu_set){0};
}

static int read_subject(const struct op_args *a, struct mmlu_set *s, size_t i, struct err *e)
{
    size_t shots = (size_t)op_int(a, "n_shot");
    char *test = mmlu_path(op_str(a, "path"), "test", s->subjects[i]), *dev = mmlu_path(op_str(a, "path"), "dev", s->subjects[i]);
    int rc = test && dev ? mmlu_read(test, 0, &s->test[i], e) : err_nomem(e, 0, "a path");
    if (rc == 0 && shots)
        rc = mmlu_read(dev, shots, &s->dev[i], e);
    if (rc == 0 && shots && s->dev[i].n < shots)
        rc = err_set(e, ERR_INPUT, "%s: %zu rows; n_shot: %zu asks for more", dev, s->dev[i].n, shots);
    s->n += s->test[i].n;
    free(test);
    free(dev);
    return rc;
}

int mmlu_set_read(const struct op_args *a, struct mmlu_set *s, struct err *e)
{
    *s = (struct mmlu_set){0};
    int rc = mmlu_subjects(a, &s->subjects, &s->n_subjects, e);
    if (rc == 0) {
        s->test = calloc(s->n_subjects, sizeof *s->test);
        s->dev = calloc(s->n_subjects, sizeof *s->dev);
        rc = s->test && s->dev ? 0 : err_nomem(e, s->n_subjects * sizeof *s->test, "subjects");
    }
    for (size_t i = 0; rc == 0 && i < s->n_subjects; i++)
        rc = read_subject(a, s, i, e);
    if (rc == 0 && !(s->items = calloc(s->n, sizeof *s->items)))
        rc = err_nomem(e, s->n * sizeof *s->items, "questions");
    for (size_t i = 0, k = 0; rc == 0 && i < s->n_subjects; i++)
        for (size_t j = 0; j < s->test[i].n; j++)
            s->items[k++] = (struct mmlu_item){(uint32_t)i, (uint32_t)j};
    return rc;
}

/* ---- prompts ---- */

static void put_text(const struct mmlu_set *s, const struct mmlu_item *x, const struct mmlu_wrap *w, size_t shots, struct buf *out)
{
    struct buf b = {0};
    mmlu_prompt(s->subjects[x->subject], w->reference, &s->dev[x->subject], shots, &s->test[x->subject].v[x->row], &b);
    if (!w->chat) {
        buf_str(out, buf_view(&b));
    } else if (w->train_form) {
        buf_puts(out, "<|user|>\n");
        buf_str(out, buf_view(&b));
        buf_puts(out, "\n\n<|assistant|>\nThe answer is:");
    } else {
        eval_prompt(out, buf_view(&b));
        buf_puts(out, "The answer is:");
    }
    out->failed |= b.failed;
    buf_release(&b);
}

int mmlu_set_prompt(const struct mmlu_set *s, const struct mmlu_item *x, const struct mmlu_wrap *w, const struct tokenizer *t, struct buf *text,
                    struct ids *ids, int *shots, struct err *e)
{
    for (*shots = (int)w->n_shot;; --*shots) {
        buf_clear(text);
        ids->n = 0;
        put_text(s, x, w, (size_t)*shots, text);
        int rc = text->failed ? err_nomem(e, text->n, "prompts") : tokenizer_encode(t, buf_view(text), true, ids, e);
        if (rc || ids->n <= w->max_tokens)
            return rc;
        if (*shots == 0) {
            *shots = -1;
            return 0;
        }
    }
}
