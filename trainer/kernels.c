/* Dispatch: which compilation of the kernels runs. */
#include "trainer/kernels.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_supported(const char *level)
{
#ifdef __x86_64__
    if (strcmp(level, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma");
    if (strcmp(level, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return strcmp(level, "portable") == 0;
}

static const struct kernels *const levels[] = {
#ifdef __x86_64__
    &kernels_avx512,
    &kernels_avx2,
#endif
    &kernels_portable,
};

static _Atomic(const struct kernels *) chosen;

int kernels_select(const char *level, struct err *err)
{
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcmp(levels[i]->level, level) != 0)
            continue;
        if (!is_supported(level))
            return err_set(err, ERR_UNSUPPORTED, "this processor has no '%s'", level);
        atomic_store(&chosen, levels[i]);
        return 0;
    }
    return err_set(err, ERR_UNSUPPORTED, "kernel level '%s' is not one of portable, avx2, avx512", level);
}

const struct kernels *kernels(void)
{
    const struct kernels *found = atomic_load(&chosen);
    if (found)
        return found;
    const char *forced = getenv("NIGHTSWEEP_CPU");
    for (size_t i = 0; !found && i < sizeof(levels) / sizeof(levels[0]); i++)
        if (is_supported(levels[i]->level) && (!forced || strcmp(forced, levels[i]->level) == 0))
            found = levels[i];
    found = found ? found : &kernels_portable;
    atomic_store(&chosen, found);
    return found;
}
