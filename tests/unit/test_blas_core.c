/* The choice of BLAS kernels, for processors old and new. */
#include "common/blas_core.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/blas_settle.h"

static const char *const old[] = {"Prescott", "Core2", "Nehalem", "Opteron", "no such core", ""};

Test(blas_core, kernels_of_an_old_processor_are_replaced_where_the_processor_has_better)
{
    bool has_avx512 = false, has_avx2 = false;
#ifdef __x86_64__
    has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    const char *best = has_avx512 ? "SkylakeX" : has_avx2 ? "Haswell" : NULL;
    for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++) {
        const char *better = blas_core_better_than(old[i]);
        cr_assert_eq(better == NULL, best == NULL, "%s", old[i]);
        if (best)
            cr_expect_str_eq(better, best, "instead of '%s'", old[i]);
    }
    const char *better = blas_core_better_than("Zen");
    cr_expect_eq(better != NULL, has_avx512);
}

Test(blas_core, what_is_as_good_is_left_to_the_library)
{
    cr_expect_null(blas_core_better_than("SkylakeX"));
    cr_expect_null(blas_core_better_than("Cooperlake"));
    cr_expect_null(blas_core_better_than("skylakex"));
}

/* A variable that is set is the user's: no exec, which would end this test. */
Test(blas_core, a_choice_of_the_user_is_kept)
{
    char name[] = "no program", *argv[] = {name, NULL};
    cr_assert_eq(setenv("OPENBLAS_CORETYPE", "Prescott", 1), 0);
    blas_settle(argv);
    cr_expect_str_eq(getenv("OPENBLAS_CORETYPE"), "Prescott");
}
