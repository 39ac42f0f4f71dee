/* SPDX-License-Identifier: MIT */
#include "ops/lib/vocabulary.h"

#include <string.h>

struct js *vocabulary_facts(const struct js *model)
{
    static const char *const facts[] = {"bos_token", "eos_token", "vocabulary"};
    struct js *j = js_object();
    int bad = js_set(j, "vocab_size", js_new_int(js_int(js_get(js_get(model, "config"), "vocab_size"), 0)));
    for (int i = 0; i < 3; i++) {
        const struct js *v = js_get(js_get(model, "tokenizer"), facts[i]);
        bad |= v ? js_set(j, facts[i], js_ref(v)) : 0;
    }
    if (!bad)
        return j;
    js_free(j);
    return NULL;
}

/* An added token that one has and the other has not, or under another id. */
static bool odd_one(const struct js *a, const struct js *b, const char **text, int64_t *id, int64_t *there)
{
    const struct js *added = js_get(js_get(a, "vocabulary"), "added"), *others = js_get(js_get(b, "vocabulary"), "added");
    *text = NULL;
    for (void *it = js_iter(added); it; it = js_next(added, it)) {
        int64_t mine = js_int(js_iter_value(it), -1), theirs = js_int(js_get(others, js_iter_key(it)), -1);
        if (mine == theirs || (*text && mine > *id))
            continue;
        *text = js_iter_key(it);
        *id = mine;
        *there = theirs;
    }
    return *text != NULL;
}

static int differ(const struct js *teacher, const struct js *student, const char *remedy, struct err *e)
{
    const char *text;
    int64_t id, there, n = js_int(js_get(js_get(teacher, "vocabulary"), "ids"), 0), m = js_int(js_get(js_get(student, "vocabulary"), "ids"), 0);
    bool first = odd_one(teacher, student, &text, &id, &there);
    if (!first && !odd_one(student, teacher, &text, &id, &there))
        return err_set(e, ERR_INPUT, "the tokens of teacher and student differ (%lld and %lld ids; no added token is the odd one): %s", (long long)n, (long long)m, remedy);
    const char *who = first ? "teacher" : "student", *other = first ? "student" : "teacher";
    if (there < 0)
        return err_set(e, ERR_INPUT, "the added token \"%.60s\" (id %lld) of the %s is none of the %s's: %s", text, (long long)id, who, other, remedy);
    return err_set(e, ERR_INPUT, "the added token \"%.60s\" has the id %lld in the %s and %lld in the %s: %s", text, (long long)id, who, (long long)there, other, remedy);
}

int vocabulary_same(const struct js *teacher, const struct js *student, bool texts, const char *remedy, struct err *e)
{
    int64_t v = js_int(js_get(teacher, "vocab_size"), 0), w = js_int(js_get(student, "vocab_size"), 0);
    const char *d = js_cstr(js_get(js_get(teacher, "vocabulary"), "digest")), *f = js_cstr(js_get(js_get(student, "vocabulary"), "digest"));
    const char *a = js_cstr(js_get(teacher, "eos_token")), *b = js_cstr(js_get(student, "eos_token"));
    bool known = d && f;
    if (known && strcmp(d, f) != 0)
        return differ(teacher, student, remedy, e);
    if (!known && v && w && v != w) /* padding, or other tokens: nobody knows */
        return err_set(e, ERR_INPUT, "teacher and student have different vocabularies (vocab_size %lld and %lld): %s", (long long)v, (long long)w, remedy);
    if (texts && a && b && strcmp(a, b) != 0)
        return err_set(e, ERR_INPUT, "teacher and student end their texts in different tokens (EOS is \"%.40s\" and \"%.40s\"): %s", a, b, remedy);
    return 0;
}

int vocabulary_fits(const struct js *model, struct err *e)
{
    const struct js *facts = js_get(js_get(model, "tokenizer"), "vocabulary"), *added = js_get(facts, "added");
    int64_t rows = js_int(js_get(js_get(model, "config"), "vocab_size"), 0), ids = js_int(js_get(facts, "ids"), 0);
    const char *odd = NULL;
    int64_t least = 0;
    if (ids <= rows)
        return 0;
    for (void *it = js_iter(added); it; it = js_next(added, it)) {
        int64_t id = js_int(js_iter_value(it), -1);
        if (id >= rows && (!odd || id < least)) {
            odd = js_iter_key(it);
            least = id;
        }
    }
    return err_set(e, ERR_INPUT, "the tokenizer has %lld ids, the embedding %lld rows: %s%.60s%s has none; give the checkpoint's own tokenizer", (long long)ids,
                   (long long)rows, odd ? "the added token \"" : "the last", odd ? odd : "", odd ? "\"" : "");
}
