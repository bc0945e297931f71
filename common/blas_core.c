/* Which kernels OpenBLAS takes: the processor decides where the library does not know it. */
#include "common/blas_core.h"

#include <cblas.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static bool is_one_of(const char *name, const char *const *list)
{
    while (*list && strcasecmp(name, *list) != 0)
        list++;
    return *list != NULL;
}

static const char *best_of_processor(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return "SkylakeX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "Haswell";
#endif
    return NULL;
}

const char *blas_core_better_than(const char *core)
{
    static const char *const with_avx512[] = {"SkylakeX", "Cooperlake", "SapphireRapids", NULL};
    static const char *const with_avx2[] = {"Haswell", "Zen", "Excavator", NULL};
    const char *best = best_of_processor();
    if (!best || is_one_of(core, with_avx512) || (strcmp(best, "Haswell") == 0 && is_one_of(core, with_avx2)))
        return NULL;
    return best;
}

void blas_core_settle(char **argv)
{
    const char *set = getenv("OPENBLAS_CORETYPE");
    const char *better = set && *set ? NULL : blas_core_better_than(openblas_get_corename());
    char program[PATH_MAX]; /* by its path: a process takes its name from what exec is given */
    ssize_t n = better ? readlink("/proc/self/exe", program, sizeof(program) - 1) : -1;
    if (n <= 0)
        return;
    program[n] = '\0';
    if (setenv("OPENBLAS_CORETYPE", better, 1) == 0)
        execv(program, argv);
}
