/* SPDX-License-Identifier: MIT
 *
 * export: the files of an artifact into a folder, as they are or in a form that other programs load.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/pkgraph/export_dir.h"
#include "tools/pkgraph/export_gguf.h"
#include "engine/param.h"
#include "tools/pkgraph/export_hf.h"
#include "tools/pkgraph/export_lmeval.h"
#include "tools/pkgraph/export_peft.h"
#include "tools/pkgraph/export_verify.h"
#include "tools/pkgraph/session.h"
#include "tools/pkgraph/term.h"

static bool in_dir(const struct export_dir *d, const char *name)
{
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->files[i].name, name) == 0)
            return true;
    return false;
}

static int as_is(struct export_dir *d, struct store *s, const struct artifact *a, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < a->n; i++) {
        char *from = NULL;
        if (in_dir(d, a->files[i].name))
            continue;
        rc = store_resolve(s, &a->files[i].digest, &from, e);
        if (!rc)
            rc = export_copy(d, a->files[i].name, from, e);
        free(from);
    }
    return rc;
}

static int fill(struct export_dir *d, struct session *s, const struct args *args, const struct artifact *a, struct buf *command, struct err *e)
{
    bool model = strcmp(a->type, "model") == 0;
    const char *as = args_get(args, "as");
    long rank = 0;
    if (args_int(args, "rank", 1, 1 << 20, &rank) < 0)
        return err_set(e, ERR_INPUT, "nothing was written");
    const char *size = args_get(args, "shard-size");
    if (size && (!as || strcmp(as, "hf") != 0))
        return err_set(e, ERR_INPUT, "--shard-size belongs to --as hf");
    if (as && strcmp(as, "peft") == 0)
        return export_peft(d, s->store, a, (int)rank, args_get(args, "base"), args_get(args, "for") ? command : NULL, e);
    if (args_has(args, "base") || args_has(args, "verify") || args_has(args, "for"))
        return err_set(e, ERR_INPUT, "--base, --for and --verify belong to --as peft");
    if (as && strcmp(as, "gguf") == 0)
        return export_gguf(d, s->store, a, args_get(args, "dtype"), (int)rank, e);
    if (rank || args_get(args, "dtype"))
        return err_set(e, ERR_INPUT, rank ? "--rank belongs to --as peft and --as gguf" : "--dtype belongs to --as gguf");
    if (as && strcmp(as, "lm-eval") == 0)
        return export_lmeval(d, s->store, a, e);
    if (as && strcmp(as, "hf") == 0 && !model)
        return err_set(e, ERR_INPUT, "--as hf is for models; this is of type %s", a->type);
    int64_t shard = (int64_t)5 << 30;
    if (size && (!parse_size(str_of(size), &shard) || shard <= 0))
        return err_set(e, ERR_INPUT, "--shard-size %s is not a size; write for instance 5GiB", size);
    int rc = model ? export_hf(d, s->store, a, as ? (uint64_t)shard : UINT64_MAX, e) : 0;
    return rc || as ? rc : as_is(d, s->store, a, e);
}

static void print_files(const struct export_dir *d)
{
    for (size_t i = 0; i < d->n; i++)
        printf("%s/%s%s\n", d->path, d->files[i].name, d->files[i].same ? " (was there)" : "");
}

static int export_to(struct session *s, const struct args *a, size_t node, const struct artifact *artifact)
{
    struct err e = {0};
    struct export_dir d = {0};
    struct buf command = {0};
    int rc = export_begin(&d, a->pos[2], args_has(a, "force"), &e);
    d.link = args_has(a, "link");
    if (!rc)
        rc = fill(&d, s, a, artifact, &command, &e);
    if (!rc)
        rc = export_end(&d, &e);
    if (rc)
        say_err(&e);
    else
        print_files(&d);
    if (!rc && command.n)
        fputs(command.p, stdout);
    buf_release(&command);
    export_release(&d);
    if (!rc && args_has(a, "verify"))
        return export_verify(s, a, node, artifact, a->pos[2]);
    return !rc ? STATUS_DONE : rc == ERR_INPUT || rc == ERR_UNSUPPORTED ? STATUS_USAGE : STATUS_FAILED;
}

static int run_export(const struct args *a)
{
    struct session s = {0};
    size_t node;
    int port;
    const struct artifact *artifact;
    int status = session_open(&s, a, SESSION_STORE | SESSION_PLAN);
    if (status == STATUS_DONE)
        status = session_find(&s, a->pos[1], &node, &port);
    if (status == STATUS_DONE)
        status = session_artifact(&s, a, node, port, &artifact);
    if (status == STATUS_DONE)
        status = export_to(&s, a, node, artifact);
    session_close(&s);
    return status;
}

static const struct option_def options[] = {
    {.name = "as", .arg = "FORM", .help = "peft: one adapter for the original base (adapters); hf: a Hugging Face folder (models); "
     "gguf: for llama.cpp and Ollama (models, adapters); lm-eval: results as lm-evaluation-harness writes them (metrics)",
     .choices = "peft|hf|gguf|lm-eval"},
    {.name = "dtype", .arg = "TYPE", .help = "with --as gguf, of models: type of the matrices; as stored when not given",
     .choices = "f32|f16|bf16|q8_0"},
    {.name = "rank", .arg = "N", .help = "of adapters, --as peft or gguf: truncate to this rank (peft: and print each module's relative error)"},
    {.name = "shard-size", .arg = "SIZE", .help = "with --as hf: weights beyond this become several files with an index (default: 5GiB)"},
    {.name = "base", .arg = "NAME", .help = "with --as peft: base_model_name_or_path of adapter_config.json"},
    {.name = "for", .arg = "PROGRAM", .help = "with --as peft: vllm: refuse what it would not serve, and print the command that serves it", .choices = "vllm"},
    {.name = "verify", .help = "with --as peft: read it again and print the largest difference of logits on the base model"},
    {.name = "link", .help = "hard links to the store's own read-only files instead of copies: at once and without room. One that is changed "
     "all the same is changed in the store, too, which then computes it again"},
    {.name = "force", .help = "replace files that are there with another content"},
    OPTIONS_SPEC,
    OPTIONS_HELP,
    {0},
};

const struct command cmd_export = {
    .name = "export",
    .usage = "SPEC NODE[.PORT] DIR",
    .summary = "write an artifact's files into a folder, as they are or as other programs load them",
    .about = "Without --as: the files of the artifact under their names; for a model, a Hugging Face folder with model.json.\n"
             "Files appear under their names only when all are written; foreign files are not replaced without --force.",
    .example = "pkgraph export specs/quickstart.yaml teacher teacher-hf --as hf\n"
               "pkgraph export specs/quickstart.yaml svd svd-adapter --as peft --verify\n"
               "pkgraph export specs/quickstart.yaml teacher teacher-gguf --as gguf --dtype q8_0\n"
               "pkgraph export specs/quickstart.yaml svd.log logs\n"
               "pkgraph export specs/quickstart.yaml teacher teacher-hf --as hf --link",
    .options = options,
    .min_pos = 3,
    .max_pos = 3,
    .run = run_export,
};
