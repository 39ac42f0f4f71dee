/* SPDX-License-Identifier: MIT
 *
 * bench generate: tokens a second of prefill and of greedy decoding, of a model folder. Prompts are pseudo-random ids, each
 * another; nothing ends early. Prefill is the time to the first token of all sequences, decoding that
 * after the second of all (sequences must fit one batch). The
 * processor time beside it is what a loaded machine leaves comparable.
 *
 *   bench FOLDER [bf16|f32] [SEQUENCES] [PROMPT TOKENS] [NEW TOKENS] [REPETITIONS] [THREADS] [copied|resident|packed]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/fs.h"
#include "runtime/base/rng.h"
#include "runtime/exec/par.h"
#include "runtime/model/generate.h"

struct clock {
    double wall, cpu;
};

static struct clock now(void)
{
    struct timespec t;
    struct rusage u;
    clock_gettime(CLOCK_MONOTONIC, &t);
    getrusage(RUSAGE_SELF, &u);
    return (struct clock){(double)t.tv_sec + 1e-9 * (double)t.tv_nsec, (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                                                                           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec)};
}

static int in_folder(void *u, const char *name, const char **path, struct err *e)
{
    static char *last;
    free(last);
    *path = last = fs_join(u, name);
    return last ? 0 : err_nomem(e, strlen(name), "a path");
}

/* Told after every id: when all prompts had their first, and their second (what is done once for decoding is over then). */
struct watch {
    size_t n, have[3];
    struct clock at[3];
};

static bool tick(void *u, size_t prompt, const int32_t *ids, size_t n)
{
    struct watch *w = u;
    (void)prompt;
    (void)ids;
    if (n <= 2 && ++w->have[n] == w->n)
        w->at[n] = now();
    return false;
}

static int measure(struct generate_options *o, size_t n, const struct ids *prompts, bool print, struct err *e)
{
    struct ids *out = calloc(n, sizeof *out);
    struct watch w = {.n = n, .at[0] = now()};
    o->stop = tick;
    o->stop_u = &w;
    int rc = out ? generate(o, n, prompts, out, e) : err_nomem(e, n, "ids");
    struct clock end = now();
    double read = (double)(n * prompts[0].n), wrote = (double)n * ((double)o->max_new_tokens - 2);
    if (rc == 0 && print)
        printf("prefill %8.1f tokens/s (%5.2f ms processor time a token)   decode %8.2f tokens/s (%6.2f ms)\n", read / (w.at[1].wall - w.at[0].wall),
               1e3 * (w.at[1].cpu - w.at[0].cpu) / read, wrote / (end.wall - w.at[2].wall), 1e3 * (end.cpu - w.at[2].cpu) / wrote);
    for (size_t i = 0; out && i < n; i++)
        ids_release(&out[i]);
    free(out);
    return rc;
}

static size_t number(int argc, char **argv, int i, size_t fallback)
{
    return argc > i ? (size_t)strtoul(argv[i], NULL, 10) : fallback;
}

static int run(int argc, char **argv, struct err *e)
{
    size_t n = number(argc, argv, 3, 1), prompt = number(argc, argv, 4, 512), fresh = number(argc, argv, 5, 64), runs = number(argc, argv, 6, 3);
    enum dtype t = argc > 2 && strcmp(argv[2], "f32") == 0 ? DT_F32 : DT_BF16;
    fresh = fresh < 3 ? 3 : fresh;
    struct js *json = NULL;
    struct model *m = NULL;
    struct weights *w = NULL;
    struct ids *prompts = calloc(n, sizeof *prompts);
    int rc = prompts ? model_describe_dir(argv[1], &json, e) : err_nomem(e, n, "prompts");
    par_set_threads((int)number(argc, argv, 7, 0));
    if (rc == 0)
        rc = model_open(json, in_folder, argv[1], &m, e);
    if (rc == 0)
        rc = weights_new(m, t, argc > 8 && strcmp(argv[8], "packed") == 0 ? WEIGHTS_PACKED : WEIGHTS_RESIDENT, &w, e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        for (size_t j = 0; rc == 0 && j < prompt; j++)
            rc = ids_push(&prompts[i], (int32_t)rng_below(1, i, j, (uint64_t)model_config(m)->vocab_size)) ? err_nomem(e, prompt, "prompts") : 0;
    const char *how = argc > 8 ? argv[8] : "copied";
    struct generate_options o = {.weights = w, .max_new_tokens = fresh, .max_batch = n, .copy_weights = strcmp(how, "copied") == 0};
    for (size_t r = 0; rc == 0 && r <= runs; r++) /* the first time the pages of the file are touched */
        rc = measure(&o, n, prompts, r > 0, e);
    for (size_t i = 0; prompts && i < n; i++)
        ids_release(&prompts[i]);
    free(prompts);
    weights_free(w);
    model_close(m);
    js_free(json);
    return rc;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    if (argc < 2) {
        fputs("usage: bench FOLDER [bf16|f32] [SEQUENCES] [PROMPT TOKENS] [NEW TOKENS] [REPETITIONS] [THREADS] [copied|resident|packed]\n", stderr);
        return 2;
    }
    /* as pkgraph does: the team's threads block soon instead of spinning when processors are shared; read when a process starts */
    if (!getenv("OMP_WAIT_POLICY") && !getenv("GOMP_SPINCOUNT") && setenv("GOMP_SPINCOUNT", "2000", 1) == 0)
        execv("/proc/self/exe", argv);
    if (run(argc, argv, &e) == 0)
        return 0;
    fprintf(stderr, "bench: %s\n", e.msg);
    return 1;
}
