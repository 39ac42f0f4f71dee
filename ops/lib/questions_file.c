/* SPDX-License-Identifier: MIT
 *
 * Files of rows for the tasks of eval: JSONL, or one JSON list, which is told by the first character.
 */
#include <stdio.h>
#include <string.h>

#include "ops/lib/questions.h"
#include "runtime/base/fs.h"

enum { PLACE_MAX = 4200 };

static int list(const struct js *j, const char *path, questions_each *each, void *u, struct err *e)
{
    char place[PLACE_MAX];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < js_len(j); i++) {
        snprintf(place, sizeof place, "%s: element %zu", path, i);
        rc = js_kind(js_at(j, i)) == JS_OBJECT ? each(u, js_at(j, i), place, e) : err_set(e, ERR_INPUT, "%s: not a JSON object", place);
    }
    return rc;
}

/* e holds what the parser said, when it was no JSON at all: "what:line:column: not valid JSON: why". */
static int not_an_object(const char *place, bool json, struct err *e)
{
    char why[200] = "rows are {..}";
    const char *said = json ? NULL : strstr(e->msg, "not valid JSON: ");
    if (said)
        snprintf(why, sizeof why, "%s", said + strlen("not valid JSON: "));
    return err_set(e, ERR_INPUT, "%s: not a JSON object: %s", place, why);
}

static int lines(struct str s, const char *path, questions_each *each, void *u, size_t *n, struct err *e)
{
    char place[PLACE_MAX];
    int rc = 0;
    for (size_t at = 0, number = 1; rc == 0 && at < s.n; number++) {
        const char *end = memchr(s.p + at, '\n', s.n - at);
        size_t len = end ? (size_t)(end - s.p) - at : s.n - at;
        struct str l = str_trim((struct str){s.p + at, len});
        at += len + 1;
        if (l.n == 0)
            continue;
        snprintf(place, sizeof place, "%s:%zu", path, number);
        struct js *j = js_parse(l, "", e);
        if (js_kind(j) == JS_OBJECT)
            rc = each(u, j, place, e);
        else
            rc = not_an_object(place, j != NULL, e);
        js_free(j);
        ++*n;
    }
    return rc;
}

int questions_file(const char *path, questions_each *each, void *u, struct err *e)
{
    struct buf text = {0};
    size_t n = 0;
    int rc = fs_read(path, (size_t)1 << 30, &text, e);
    struct str s = str_trim(buf_view(&text));
    if (rc == 0 && s.n && s.p[0] == '[') {
        struct js *j = js_parse(s, path, e);
        n = js_len(j);
        rc = j ? list(j, path, each, u, e) : e->code;
        js_free(j);
    } else if (rc == 0) {
        rc = lines(buf_view(&text), path, each, u, &n, e);
    }
    if (rc == 0 && n == 0)
        rc = err_set(e, ERR_INPUT, "%s: no rows", path);
    buf_release(&text);
    return rc;
}
