/* A path through the code, run again and again with another call failing each time. */
#ifndef TESTS_SUPPORT_PATHS_H
#define TESTS_SUPPORT_PATHS_H

#include "common/err.h"
#include "tests/support/faults/faults.h"

struct fault_path {
    const char *name;
    int (*run)(const void *context, struct err *problem); /* 0 or the negative code of an error */
    const void *context;
};

/* Lets the n-th call of that kind fail, n = 1, 1 + step, …, until a run meets none, with a step that takes at most so
 * many runs (FAULTS_STRIDE=1: each n). Expects of every run 0, or an error with code and message that is not
 * ERR_INTERNAL; no block of memory left; and that the path works afterwards as it did before. Returns the runs. */
long fault_each(const struct fault_path *path, enum fault_kind kind, int error, long most_runs);
/* FAULTS_STRIDE, or `usual`. */
long fault_stride(long usual);

#endif
