/* SPDX-License-Identifier: MIT */
#include "runtime/text/mmlu.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/fs.h"
#include "runtime/text/csv.h"
#include "runtime/text/utf8.h"

enum { COLUMNS = 6 };

static int add(struct mmlu_file *f, const struct csv *c, struct err *e)
{
    size_t row = f->n + 1;
    if (c->n != COLUMNS)
        return err_set(e, ERR_INPUT, "%s:%zu: row %zu has %zu columns; a row of MMLU has six: the question, four choices, the letter", c->what,
                       c->first_line, row, c->n);
    struct str letter = str_trim(c->fields[5]);
    if (letter.n != 1 || letter.p[0] < 'A' || letter.p[0] > 'D')
        return err_set(e, ERR_INPUT, "%s:%zu: row %zu has the answer \"%.*s\"; it is one of A, B, C, D%s", c->what, c->first_line, row,
                       (int)(letter.n < 40 ? letter.n : 40), letter.p ? letter.p : "", row == 1 ? " (the files have no header line)" : "");
    for (size_t i = 0; i < COLUMNS; i++) {
        struct str x = c->fields[i];
        if (x.n && (utf8_valid(x) < x.n || memchr(x.p, 0, x.n)))
            return err_set(e, ERR_INPUT, "%s:%zu: row %zu, column %zu is not text in UTF-8; convert the file (iconv -t UTF-8)", c->what, c->first_line, row,
                           i + 1);
    }
    struct mmlu_question *v = realloc(f->v, row * sizeof *v);
    if (!v)
        return err_nomem(e, row * sizeof *v, "questions");
    f->v = v;
    v += f->n++;
    *v = (struct mmlu_question){.question = str_dup(c->fields[0]), .answer = letter.p[0] - 'A'};
    bool ok = v->question != NULL;
    for (int i = 0; i < 4; i++)
        ok &= (v->choice[i] = str_dup(c->fields[i + 1])) != NULL;
    return ok ? 0 : err_nomem(e, 0, "questions");
}

int mmlu_read(const char *path, size_t limit, struct mmlu_file *out, struct err *e)
{
    struct buf text = {0};
    struct csv c = {0};
    *out = (struct mmlu_file){0};
    int rc = fs_read(path, (size_t)1 << 28, &text, e), more = 1;
    csv_init(&c, buf_view(&text), path);
    while (rc == 0 && (!limit || out->n < limit) && (more = csv_next(&c, e)) > 0)
        rc = add(out, &c, e);
    if (rc == 0 && more < 0)
        rc = more;
    if (rc == 0 && out->n == 0)
        rc = err_set(e, ERR_INPUT, "%s: no rows", path);
    csv_release(&c);
    buf_release(&text);
    return rc;
}

void mmlu_release(struct mmlu_file *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->v[i].question);
        for (int k = 0; k < 4; k++)
            free(f->v[i].choice[k]);
    }
    free(f->v);
    *f = (struct mmlu_file){0};
}

static void put_question(const struct mmlu_question *q, struct buf *out)
{
    buf_puts(out, q->question);
    for (int i = 0; i < 4; i++) {
        buf_printf(out, "\n%c. ", 'A' + i);
        buf_puts(out, q->choice[i]);
    }
    buf_puts(out, "\nAnswer:");
}

void mmlu_prompt(const char *subject, bool reference, const struct mmlu_file *shots, size_t n_shot, const struct mmlu_question *q,
                 struct buf *out)
{
    buf_puts(out, "The following are multiple choice questions (with answers) about ");
    if (reference)
        buf_putc(out, ' ');
    for (const char *p = subject; *p; p++)
        buf_putc(out, *p == '_' ? ' ' : *p);
    buf_puts(out, ".\n\n");
    for (size_t i = 0; i < n_shot; i++) {
        put_question(&shots->v[i], out);
        buf_printf(out, " %c\n\n", 'A' + shots->v[i].answer);
    }
    put_question(q, out);
}

/* ---- categories ---- */

static const char *const stem[] = {
    "abstract_algebra", "astronomy", "college_biology", "college_chemistry", "college_computer_science", "college_mathematics", "college_physics",
    "computer_security", "conceptual_physics", "electrical_engineering", "elementary_mathematics", "high_school_biology",
    "high_school_chemistry", "high_school_computer_science", "high_school_mathematics", "high_school_physics", "high_school_statistics",
    "machine_learning", NULL};
static const char *const humanities[] = {
    "formal_logic", "high_school_european_history", "high_school_us_history", "high_school_world_history", "international_law", "jurisprudence",
    "logical_fallacies", "moral_disputes", "moral_scenarios", "philosophy", "prehistory", "professional_law", "world_religions", NULL};
static const char *const social[] = {
    "econometrics", "high_school_geography", "high_school_government_and_politics", "high_school_macroeconomics", "high_school_microeconomics",
    "high_school_psychology", "human_sexuality", "professional_psychology", "public_relations", "security_studies", "sociology",
    "us_foreign_policy", NULL};
static const char *const other[] = {
    "anatomy", "business_ethics", "clinical_knowledge", "college_medicine", "global_facts", "human_aging", "management", "marketing",
    "medical_genetics", "miscellaneous", "nutrition", "professional_accounting", "professional_medicine", "virology", NULL};

static const struct {
    const char *name;
    const char *const *subjects;
} categories[] = {{"STEM", stem}, {"humanities", humanities}, {"social sciences", social}, {"other", other}};

const char *mmlu_category(const char *subject)
{
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++)
        for (const char *const *s = categories[i].subjects; *s; s++)
            if (strcmp(*s, subject) == 0)
                return categories[i].name;
    return NULL;
}
