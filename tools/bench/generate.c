/* SPDX-License-Identifier: MIT
 *
 * bench generate: tokens a second of prefill and of greedy decoding, of a model folder. Prompts are pseudo-random ids, each
 * another; nothing ends early. Prefill is the time to the first token of all sequences, decoding that of the others. The
 * processor time beside it is what a loaded machine leaves comparable.
 *
 *   bench FOLDER [bf16|f32] [SEQUENCES] [PROMPT TOKENS] [NEW TOKENS] [REPETITIONS] [THREADS] [resident|packed]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

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

/* Seconds of generating `new_tokens` ids for each of n prompts. */
static int measure(const struct generate_options *o, size_t n, const struct ids *prompts, struct clock *took, struct err *e)
{
    struct ids *out = calloc(n, sizeof *out);
    struct clock from = now();
    int rc = out ? generate(o, n, prompts, out, e) : err_nomem(e, n, "ids");
    struct clock to = now();
    *took = (struct clock){to.wall - from.wall, to.cpu - from.cpu};
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
    for (size_t r = 0; rc == 0 && r <= runs; r++) {
        struct clock first, all;
        struct generate_options o = {.weights = w, .max_new_tokens = 1, .max_batch = n};
        rc = measure(&o, n, prompts, &first, e);
        o.max_new_tokens = fresh;
        if (rc == 0)
            rc = measure(&o, n, prompts, &all, e);
        if (rc == 0 && r > 0) { /* the first time the pages of the file are touched */
            double read = (double)(n * prompt), wrote = (double)(n * (fresh - 1));
            printf("prefill %8.1f tokens/s (%5.2f ms processor time a token)   decode %8.2f tokens/s (%6.2f ms)\n", read / first.wall,
                   1e3 * first.cpu / read, wrote / (all.wall - first.wall), 1e3 * (all.cpu - first.cpu) / wrote);
        }
    }
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
        fputs("usage: bench FOLDER [bf16|f32] [SEQUENCES] [PROMPT TOKENS] [NEW TOKENS] [REPETITIONS] [THREADS] [resident|packed]\n", stderr);
        return 2;
    }
    if (run(argc, argv, &e) == 0)
        return 0;
    fprintf(stderr, "bench: %s\n", e.msg);
    return 1;
}
