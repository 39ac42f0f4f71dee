/* SPDX-License-Identifier: MIT */
#include "runtime/text/normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "runtime/text/bpe.h"
#include "runtime/text/utf8.h"

/* ---- reading ---- */

int pattern_read(const struct js *j, const char *where, struct regex **out, struct err *e)
{
    const struct js *p = js_get(j, "pattern"), *s = js_get(p, "String"), *r = js_get(p, "Regex");
    if (js_kind(s) == JS_STRING)
        return regex_new(js_str(s), true, where, out, e);
    if (js_kind(r) == JS_STRING)
        return regex_new(js_str(r), false, where, out, e);
    return err_set(e, ERR_INPUT, "%s: \"pattern\" should be {\"String\": ...} or {\"Regex\": ...}", where);
}

static int append(struct normalizers *l, struct normalizer x, struct err *e)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 4;
        struct normalizer *v = realloc(l->v, cap * sizeof *v);
        if (!v) {
            regex_free(x.regex);
            return err_nomem(e, cap * sizeof *v, "normalisers");
        }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = x;
    return 0;
}

static int read_one(struct normalizers *l, const struct js *j, const char *where, int depth, struct err *e);

static int read_list(struct normalizers *l, const struct js *j, const char *where, int depth, struct err *e)
{
    const struct js *list = js_get(j, "normalizers");
    if (js_kind(list) != JS_ARRAY || depth > 16)
        return err_set(e, ERR_INPUT, "%s: a Sequence needs a list \"normalizers\", at most 16 deep", where);
    for (size_t i = 0; i < js_len(list); i++) {
        int rc = read_one(l, js_at(list, i), where, depth + 1, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int need_string(const struct js *j, const char *key, const char *where, struct str *out, struct err *e)
{
    const struct js *s = js_get(j, key);
    if (js_kind(s) != JS_STRING)
        return err_set(e, ERR_INPUT, "%s: \"%s\" should be a string", where, key);
    *out = js_str(s);
    return 0;
}

static int read_one(struct normalizers *l, const struct js *j, const char *where, int depth, struct err *e)
{
    static const struct {
        const char *type;
        enum norm_kind kind;
    } kinds[] = {{"NFC", NORM_NFC},         {"NFD", NORM_NFD},         {"NFKC", NORM_NFKC},
                 {"NFKD", NORM_NFKD},       {"Prepend", NORM_PREPEND}, {"Lowercase", NORM_LOWERCASE},
                 {"Replace", NORM_REPLACE}, {"Strip", NORM_STRIP},     {"ByteLevel", NORM_BYTES}};
    const char *type = js_cstr(js_get(j, "type"));
    if (!type)
        return err_set(e, ERR_INPUT, "%s: a normaliser needs a \"type\"", where);
    if (strcmp(type, "Sequence") == 0)
        return read_list(l, j, where, depth, e);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(type, kinds[i].type) != 0)
            continue;
        struct normalizer x = {.kind = kinds[i].kind};
        int rc = 0;
        if (x.kind == NORM_PREPEND) {
            rc = need_string(j, "prepend", where, &x.text, e);
        } else if (x.kind == NORM_REPLACE) {
            rc = need_string(j, "content", where, &x.text, e);
            if (rc == 0)
                rc = pattern_read(j, where, &x.regex, e);
        } else if (x.kind == NORM_STRIP) {
            x.left = js_bool(js_get(j, "strip_left"), true);
            x.right = js_bool(js_get(j, "strip_right"), true);
        }
        return rc < 0 ? rc : append(l, x, e);
    }
    return err_set(e, ERR_UNSUPPORTED,
                   "%s: the normaliser %.60s is not supported; known are NFC, NFD, NFKC, NFKD, Lowercase, Prepend, "
                   "Replace, Strip, "
                   "ByteLevel, Sequence",
                   where, type);
}

int normalizers_read(struct normalizers *l, const struct js *j, const char *where, struct err *e)
{
    return j == NULL || js_kind(j) == JS_NULL ? 0 : read_one(l, j, where, 0, e);
}

void normalizers_release(struct normalizers *l)
{
    for (size_t i = 0; i < l->n; i++)
        regex_free(l->v[i].regex);
    free(l->v);
    *l = (struct normalizers){0};
}

/* ---- running ---- */

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    }
    return true;
}

/* Characters that the `tokenizers` library does not know yet and leaves alone: they are younger than its tables. None
 * of them composes with or is reordered around the others, so the text is normalised between them. */
static bool too_young(uint32_t cp);

/* Code points of a text in 32 bits, as utf8proc has them. */
struct points {
    utf8proc_int32_t *v;
    size_t n, cap;
};

static int decompose(struct points *x, struct str s, utf8proc_option_t options)
{
    size_t k;
    uint32_t cp;
    for (size_t i = 0; i < s.n && (k = utf8_next(s.p + i, s.n - i, &cp)); i += k) {
        if (x->cap - x->n < 32) { /* the longest decomposition has 18 */
            size_t cap = x->cap ? 2 * x->cap : 1024;
            utf8proc_int32_t *v = realloc(x->v, cap * sizeof *v);
            if (!v)
                return -1;
            x->v = v;
            x->cap = cap;
        }
        int last = UTF8PROC_BOUNDCLASS_START;
        utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, x->v + x->n, 32, options, &last);
        if (n < 0 || n > 32)
            return -1;
        x->n += (size_t)n;
    }
    return 0;
}

static unsigned combining_class(utf8proc_int32_t cp)
{
    return (unsigned)utf8proc_get_property(cp)->combining_class;
}

/* A run of marks in the order of their combining classes, stably. Long runs by counting: utf8proc's own ordering is
 * quadratic, and texts come from outside. */
static int order_run(utf8proc_int32_t *v, size_t n)
{
    enum { FEW = 16 };
    if (n <= FEW) {
        for (size_t i = 1; i < n; i++) {
            utf8proc_int32_t x = v[i];
            size_t k = i;
            for (; k && combining_class(v[k - 1]) > combining_class(x); k--)
                v[k] = v[k - 1];
            v[k] = x;
        }
        return 0;
    }
    size_t at[257] = {0};
    utf8proc_int32_t *sorted = malloc(n * sizeof *sorted);
    if (!sorted)
        return -1;
    for (size_t i = 0; i < n; i++)
        at[(combining_class(v[i]) & 255) + 1]++;
    for (size_t i = 1; i < 257; i++)
        at[i] += at[i - 1];
    for (size_t i = 0; i < n; i++)
        sorted[at[combining_class(v[i]) & 255]++] = v[i];
    memcpy(v, sorted, n * sizeof *v);
    free(sorted);
    return 0;
}

static int order(struct points *x)
{
    for (size_t i = 0; i < x->n; i++) {
        size_t k = i;
        while (k < x->n && combining_class(x->v[k]))
            k++;
        if (k - i > 1 && order_run(x->v + i, k - i) < 0)
            return -1;
        i = k;
    }
    return 0;
}

static int map_text(struct buf *out, struct str s, utf8proc_option_t options, struct err *e)
{
    struct points x = {0};
    char text[4];
    int rc = decompose(&x, s, options);
    if (rc == 0)
        rc = order(&x);
    utf8proc_ssize_t n = (utf8proc_ssize_t)x.n;
    if (rc == 0 && x.n && options & UTF8PROC_COMPOSE)
        n = utf8proc_normalize_utf32(x.v, n, options);
    for (utf8proc_ssize_t i = 0; rc == 0 && i < n; i++)
        buf_put(out, text, utf8_put((uint32_t)x.v[i], text));
    free(x.v);
    return rc < 0 || n < 0 ? err_nomem(e, s.n, "normalising a text") : 0;
}

static int unicode_form(struct buf *out, struct str s, enum norm_kind kind, struct err *e)
{
    static const int options[] = {
        [NORM_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [NORM_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [NORM_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [NORM_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    size_t from = 0, k;
    uint32_t cp;
    for (size_t i = 0; i < s.n && (k = utf8_next(s.p + i, s.n - i, &cp)); i += k) {
        if (cp < 0x80 || !too_young(cp))
            continue;
        int rc = map_text(out, (struct str){s.p + from, i - from}, (utf8proc_option_t)options[kind], e);
        if (rc < 0)
            return rc;
        buf_put(out, s.p + i, k);
        from = i + k;
    }
    return map_text(out, (struct str){s.p + from, s.n - from}, (utf8proc_option_t)options[kind], e);
}

/* The lower case of capitals younger than utf8proc's tables (Unicode 16 and 17). */
static uint32_t lower(uint32_t cp)
{
    static const struct {
        uint32_t first, last, lower;
    } newer[] = {{0x1c89, 0x1c89, 0x1c8a},   {0xa7cb, 0xa7cb, 0x264},  {0xa7cc, 0xa7cc, 0xa7cd},
                 {0xa7ce, 0xa7ce, 0xa7cf},   {0xa7d2, 0xa7d2, 0xa7d3}, {0xa7d4, 0xa7d4, 0xa7d5},
                 {0xa7da, 0xa7da, 0xa7db},   {0xa7dc, 0xa7dc, 0x19b},  {0x10d50, 0x10d65, 0x10d70},
                 {0x16ea0, 0x16eb8, 0x16ebb}};
    for (size_t i = 0; cp >= newer[0].first && i < sizeof newer / sizeof newer[0]; i++) {
        if (cp >= newer[i].first && cp <= newer[i].last)
            return newer[i].lower + (cp - newer[i].first);
    }
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
}

static void lowercase(struct buf *out, struct str s)
{
    uint32_t cp;
    char text[4];
    for (size_t i = 0, k; i < s.n && (k = utf8_next(s.p + i, s.n - i, &cp)); i += k) {
        if (cp == 0x130) /* the only one with two characters: i and a dot above */
            buf_puts(out, "i\xcc\x87");
        else
            buf_put(out, text, utf8_put(lower(cp), text));
    }
}

static int replace(struct buf *out, struct str s, const struct normalizer *x, struct matcher *m, struct err *e)
{
    struct match_iter it;
    size_t from = 0;
    int rc;
    match_start(&it, x->regex, s);
    while ((rc = match_next(&it, m, e)) > 0) {
        buf_put(out, s.p + from, it.start - from);
        buf_str(out, x->text);
        from = it.end;
    }
    buf_put(out, s.p + from, s.n - from);
    return rc;
}

static struct str strip(struct str s, bool left, bool right)
{
    uint32_t cp = 0;
    size_t k;
    while (left && s.n && (k = utf8_next(s.p, s.n, &cp)) && utf8_is_space(cp)) {
        s.p += k;
        s.n -= k;
    }
    while (right && s.n) {
        size_t i = s.n - 1;
        while (i && ((unsigned char)s.p[i] & 0xc0) == 0x80)
            i--;
        if (!utf8_next(s.p + i, s.n - i, &cp) || !utf8_is_space(cp))
            break;
        s.n = i;
    }
    return s;
}

void put_byte_chars(struct buf *out, struct str bytes)
{
    char text[4];
    for (size_t i = 0; i < bytes.n; i++)
        buf_put(out, text, utf8_put(byte_to_char((uint8_t)bytes.p[i]), text));
}

static int step(const struct normalizer *x, struct str s, struct buf *out, struct matcher *m, struct err *e)
{
    switch (x->kind) {
    case NORM_LOWERCASE:
        lowercase(out, s);
        return 0;
    case NORM_PREPEND:
        buf_str(out, x->text);
        buf_str(out, s);
        return 0;
    case NORM_REPLACE:
        return replace(out, s, x, m, e);
    case NORM_BYTES:
        put_byte_chars(out, s);
        return 0;
    default:
        return unicode_form(out, s, x->kind, e);
    }
}

int normalize(const struct normalizers *l, struct str *text, struct buf work[2], struct matcher *m, struct err *e)
{
    for (size_t i = 0; i < l->n && text->n; i++) {
        const struct normalizer *x = &l->v[i];
        if (x->kind == NORM_STRIP) {
            *text = strip(*text, x->left, x->right);
            continue;
        }
        if (x->kind <= NORM_NFKD && is_ascii(*text))
            continue;
        struct buf *out = text->p >= work[0].p && work[0].p && text->p <= work[0].p + work[0].n ? &work[1] : &work[0];
        buf_clear(out);
        int rc = step(x, *text, out, m, e);
        if (rc < 0)
            return rc;
        if (out->failed)
            return err_nomem(e, out->n, "normalising a text");
        *text = buf_view(out);
    }
    return 0;
}

/* ---- tables ---- */

static const struct {
    uint32_t first, last;
} young[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},
    {0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},   {0xa82c, 0xa82c},   {0xab69, 0xab69},   {0x10781, 0x10785},
    {0x10787, 0x107b0}, {0x107b2, 0x107ba}, {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff},
    {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e},
    {0x11839, 0x1183a}, {0x11930, 0x11930}, {0x11935, 0x11935}, {0x11938, 0x11938}, {0x1193d, 0x1193e},
    {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99},
    {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1},
    {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
    {0x1e4ec, 0x1e4ef}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9},
};

static bool too_young(uint32_t cp)
{
    size_t low = 0, high = sizeof young / sizeof young[0];
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (cp > young[mid].last)
            low = mid + 1;
        else
            high = mid;
    }
    return low < sizeof young / sizeof young[0] && cp >= young[low].first;
}

void put_case(struct buf *out, uint32_t cp, bool upper)
{
    char text[4];
    if (upper && cp == 0xdf) { /* the one letter whose capital is two */
        buf_puts(out, "SS");
        return;
    }
    utf8proc_int32_t x = upper ? utf8proc_toupper((utf8proc_int32_t)cp) : utf8proc_tolower((utf8proc_int32_t)cp);
    buf_put(out, text, utf8_put((uint32_t)x, text));
}

bool is_letter(uint32_t cp)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

const char *normalize_library_version(void)
{
    return utf8proc_version();
}
