/* Which kernels OpenBLAS should take: the processor decides where the library does not know it. */
#include "common/blas_core.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

static bool is_one_of(const char *name, const char *const *list)
{
    while (*list && strcasecmp(name, *list) != 0)
        list++;
    return *list != NULL;
}

const char *blas_core_best(void)
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
    const char *best = blas_core_best();
    if (!best || is_one_of(core, with_avx512) || (strcmp(best, "Haswell") == 0 && is_one_of(core, with_avx2)))
        return NULL;
    return best;
}
