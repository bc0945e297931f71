/* A path through the code with each call failing in turn: see paths.h. */
#include "tests/support/faults/paths.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/json.h"

long fault_stride(long usual)
{
    const char *given = getenv("FAULTS_STRIDE");
    long n = given ? strtol(given, NULL, 10) : usual;
    return n > 0 ? n : usual;
}

/* What an earlier run lacked is no business of the next one. */
static int run_path(const struct fault_path *path, struct err *problem)
{
    struct err earlier;
    (void)!json_check_memory(&earlier);
    return path->run(path->context, problem);
}

/* A run with the n-th call failing (0: none); how many calls there were. */
static long run_with(const struct fault_path *path, enum fault_kind kind, int error, long n)
{
    struct err err = {0};
    long before = faults_blocks();
    faults_start(kind, n, error, false);
    int rc = run_path(path, &err);
    long calls = faults_stop();
    if (getenv("FAULTS_SHOW"))
        fprintf(stderr, "%s, fault %ld of %ld: %d %s\n", path->name, n, calls, rc, err.message);
    cr_expect(rc == 0 || (rc == err.code && err.message[0]), "%s, fault %ld: code %d without a message", path->name, n,
              rc);
    cr_expect_neq(rc, ERR_INTERNAL, "%s, fault %ld: %s", path->name, n, err.message);
    cr_expect_eq(faults_blocks(), before, "%s, fault %ld of %ld: %ld blocks left (%s)", path->name, n, calls,
                 faults_blocks() - before, err.message);
    return calls;
}

long fault_each(const struct fault_path *path, enum fault_kind kind, int error, long most_runs)
{
    struct err err = {0};
    long runs = 0, n = 1;
    cr_assert_eq(run_path(path, &err), 0, "%s: %s", path->name, err.message);
    faults_start(kind, 1, error, false); /* what is allocated once stays */
    (void)!run_path(path, &err);
    faults_stop();
    long calls = run_with(path, kind, error, 0), step = fault_stride(1 + calls / most_runs);
    do {
        calls = run_with(path, kind, error, n);
        runs++;
        n += step;
    } while (calls >= n - step);
    cr_assert_eq(run_path(path, &err), 0, "%s afterwards: %s", path->name, err.message);
    return runs;
}
