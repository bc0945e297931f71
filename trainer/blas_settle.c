/* The library's choice of kernels cannot be changed once it is loaded, so the program starts again. */
#include "trainer/blas_settle.h"

#include <cblas.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/blas_core.h"

void blas_settle(char **argv)
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
