/* SPDX-License-Identifier: MIT */
#include "runtime/text/added.h"

#include <stdlib.h>

#include "runtime/text/utf8.h"

/* ---- the trie ---- */

static size_t edge_slot(const struct trie *t, uint32_t from, uint8_t byte)
{
    size_t i = hash_mix(0, (uint64_t)from << 8 | byte) & t->mask;
    while (t->edges[i].from != UINT32_MAX && !(t->edges[i].from == from && t->edges[i].byte == byte))
        i = (i + 1) & t->mask;
    return i;
}

static int trie_init(struct trie *t, size_t bytes)
{
    size_t size = 16;
    while (size < 2 * bytes + 2)
        size *= 2;
    *t = (struct trie){
        .edges = malloc(size * sizeof *t->edges), .token = malloc((bytes + 1) * sizeof *t->token), .mask = size - 1};
    if (!t->edges || !t->token)
        return -1;
    for (size_t i = 0; i < size; i++)
        t->edges[i].from = UINT32_MAX;
    t->token[0] = -1;
    t->n_nodes = 1;
    return 0;
}

static void trie_add(struct trie *t, struct str s, int32_t token)
{
    uint32_t node = 0;
    t->start[(unsigned char)s.p[0]] = true;
    for (size_t i = 0; i < s.n; i++) {
        struct edge *x = &t->edges[edge_slot(t, node, (uint8_t)s.p[i])];
        if (x->from == UINT32_MAX) {
            *x = (struct edge){node, (uint32_t)t->n_nodes, (uint8_t)s.p[i]};
            t->token[t->n_nodes++] = -1;
        }
        node = x->to;
    }
    if (t->token[node] < 0)
        t->token[node] = token;
}

/* The longest token that s begins with: its index and length, or -1. */
static int32_t trie_match(const struct trie *t, struct str s, size_t *length)
{
    int32_t found = -1;
    uint32_t node = 0;
    for (size_t i = 0; i < s.n; i++) {
        const struct edge *x = &t->edges[edge_slot(t, node, (uint8_t)s.p[i])];
        if (x->from == UINT32_MAX)
            break;
        node = x->to;
        if (t->token[node] >= 0) {
            found = t->token[node];
            *length = i + 1;
        }
    }
    return found;
}

/* ---- reading ---- */

static struct str pattern_of(const struct added_token *x)
{
    return x->pattern ? (struct str){x->pattern, x->pattern_n} : x->content;
}

static int set_pattern(struct added_token *x, const struct normalizers *norm, struct err *e)
{
    struct str s = x->content;
    struct buf work[2] = {{0}, {0}};
    struct matcher m = {0};
    int rc = normalize(norm, &s, work, &m, e);
    if (rc == 0 && !str_eq(s, x->content)) {
        x->pattern_n = s.n;
        x->pattern = str_dup(s);
        if (!x->pattern)
            rc = err_nomem(e, s.n, "added tokens");
    }
    matcher_release(&m);
    buf_release(&work[0]);
    buf_release(&work[1]);
    return rc;
}

/* The id that the `tokenizers` library gives to the token must be the one in the file. */
static int check_id(const struct added_token *x, const struct text_map *vocab, int64_t id, int64_t *next,
                    const char *what, struct err *e)
{
    int32_t known = text_map_find(vocab, x->content);
    int64_t expected = known >= 0 ? known : *next;
    if (known < 0)
        ++*next;
    if (id != expected)
        return err_set(e, ERR_INPUT,
                       "%s: added_tokens: \"%.60s\" has the id %lld, but %s is %lld; the file contradicts itself", what,
                       x->content.p, (long long)id, known >= 0 ? "its id in the vocabulary" : "the next free id",
                       (long long)expected);
    return 0;
}

static int read_tokens(struct added *a, const struct js *list, const struct text_map *vocab, size_t n,
                       const struct normalizers *norm, const char *what, struct err *e)
{
    int64_t next = (int64_t)n;
    for (size_t i = 0; i < js_len(list); i++) {
        const struct js *j = js_at(list, i);
        struct added_token *x = &a->v[a->n];
        int64_t id = js_int(js_get(j, "id"), -1);
        int rc;
        x->content = js_str(js_get(j, "content"));
        if (!x->content.p || id < 0)
            return err_set(e, ERR_INPUT, "%s: added_tokens: element %zu needs a string \"content\" and an \"id\"", what,
                           i + 1);
        if (x->content.n == 0)
            continue;
        if ((rc = check_id(x, vocab, id, &next, what, e)) < 0)
            return rc;
        x->id = (int32_t)id;
        x->single_word = js_bool(js_get(j, "single_word"), false);
        x->lstrip = js_bool(js_get(j, "lstrip"), false);
        x->rstrip = js_bool(js_get(j, "rstrip"), false);
        x->special = js_bool(js_get(j, "special"), false);
        x->normalized = js_bool(js_get(j, "normalized"), !x->special);
        for (size_t k = 0; k < a->n; k++) {
            if (a->v[k].id == x->id)
                return err_set(e, ERR_INPUT, "%s: added_tokens: \"%.60s\" is there twice", what, x->content.p);
        }
        a->n++;
        if (x->normalized && (rc = set_pattern(x, norm, e)) < 0)
            return rc;
    }
    return 0;
}

static int build(struct added *a, struct trie *t, bool normalized)
{
    size_t bytes = 0;
    for (size_t i = 0; i < a->n; i++)
        bytes += a->v[i].normalized == normalized ? pattern_of(&a->v[i]).n : 0;
    if (trie_init(t, bytes) < 0)
        return -1;
    for (size_t i = 0; i < a->n; i++) {
        if (a->v[i].normalized == normalized && pattern_of(&a->v[i]).n)
            trie_add(t, pattern_of(&a->v[i]), (int32_t)i);
    }
    return 0;
}

int added_read(struct added *a, const struct js *list, const struct text_map *vocab, size_t n,
               const struct normalizers *norm, const char *what, struct err *e)
{
    *a = (struct added){.v = calloc(js_len(list) + 1, sizeof *a->v)};
    if (!a->v)
        return err_nomem(e, js_len(list) * sizeof *a->v, "added tokens");
    if (list && js_kind(list) != JS_ARRAY && js_kind(list) != JS_NULL)
        return err_set(e, ERR_INPUT, "%s: \"added_tokens\" should be a list", what);
    int rc = read_tokens(a, list, vocab, n, norm, what, e);
    /* \w of Rust's regex crate: Alphabetic, marks, decimal digits, connectors, joiners */
    if (rc == 0)
        rc = regex_new(STR("[\\p{L}\\p{M}\\p{Nl}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{"
                           "1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}]"),
                       false, what, &a->word, e);
    if (rc == 0 && (build(a, &a->raw, false) < 0 || build(a, &a->normalized, true) < 0))
        rc = err_nomem(e, 0, "added tokens");
    return rc;
}

void added_release(struct added *a)
{
    struct trie *tries[] = {&a->raw, &a->normalized};
    for (int i = 0; i < 2; i++) {
        free(tries[i]->edges);
        free(tries[i]->token);
    }
    for (size_t i = 0; i < a->n; i++)
        free(a->v[i].pattern);
    free(a->v);
    regex_free(a->word);
    *a = (struct added){0};
}

/* ---- finding ---- */

/* Is the character that starts (or ends, when before) at i a word character? Ends of the text are none. */
static int word_at(const struct added *a, struct str s, size_t i, bool before, struct matcher *m, struct err *e)
{
    size_t from = i;
    if (before) {
        if (i == 0)
            return 0;
        do
            from--;
        while (from && ((unsigned char)s.p[from] & 0xc0) == 0x80);
    } else if (i == s.n) {
        return 0;
    }
    struct match_iter it;
    match_start(&it, a->word, (struct str){s.p + from, utf8_len(s.p[from])});
    return match_next(&it, m, e);
}

static size_t spaces_before(struct str s, size_t i)
{
    while (i) {
        size_t k = i;
        uint32_t cp = 0;
        do
            k--;
        while (k && ((unsigned char)s.p[k] & 0xc0) == 0x80);
        if (!utf8_next(s.p + k, i - k, &cp) || !utf8_is_space(cp))
            break;
        i = k;
    }
    return i;
}

static size_t spaces_after(struct str s, size_t i)
{
    uint32_t cp = 0;
    size_t k;
    while (i < s.n && (k = utf8_next(s.p + i, s.n - i, &cp)) && utf8_is_space(cp))
        i += k;
    return i;
}

int added_next(const struct added *a, const struct trie *t, struct str s, size_t from, size_t taken, struct matcher *m,
               size_t *start, size_t *end, size_t *resume, const struct added_token **token, struct err *e)
{
    if (t->n_nodes <= 1)
        return 0;
    for (size_t i = from; i < s.n; i++) {
        size_t n = 0;
        int32_t k = t->start[(unsigned char)s.p[i]] ? trie_match(t, (struct str){s.p + i, s.n - i}, &n) : -1;
        if (k < 0)
            continue;
        const struct added_token *x = &a->v[k];
        if (x->single_word) {
            int before = word_at(a, s, i, true, m, e), after = before < 0 ? before : word_at(a, s, i + n, false, m, e);
            if (after < 0)
                return after;
            if (before || after) {
                i += n - 1; /* not a word of its own: passed over as a whole */
                continue;
            }
        }
        *start = x->lstrip ? spaces_before(s, i) : i;
        if (*start < taken)
            *start = taken;
        *end = x->rstrip ? spaces_after(s, i + n) : i + n;
        *resume = i + n;
        *token = x;
        return 1;
    }
    return 0;
}
