/* Whole commands in this process, with each allocation of ours and each call to the file system failing in turn: the
 * answer is the one of an undisturbed run, or there is an error with a message; no memory is left, and the store stays
 * whole. FAULTS_STRIDE=1 takes every allocation, by default there are some dozens a command. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/commands.h"
#include "tests/support/faults/paths.h"
#include "tests/support/store_rows.h"

TestSuite(faults_commands, .init = commands_open, .fini = commands_close, .timeout = 1200);

struct call {
    const char *words;
    bool is_changing; /* its answer names times, or says what it did before it failed */
    char *expected;   /* its output, once it is known */
};

static void check_store(const struct call *call, long n)
{
    struct store *store = NULL;
    struct err err = {0};
    cr_assert_eq(store_open(&store, temp_path(&commands_temp, "s.db"), STORE_WRITE, &err), 0, "%s, fault %ld: %s",
                 call->words, n, err.message);
    cr_expect_eq(store_check(store, &err), 0, "%s, fault %ld: %s", call->words, n, err.message);
    store_close(store);
}

/* A run with the n-th call failing; how many calls there were. */
static long run_with(struct call *call, enum fault_kind kind, int error, long n)
{
    char *argv[COMMANDS_MOST_WORDS + 1];
    struct err problem = {0};
    int argc = commands_prepare(call->words, argv);
    long before = faults_blocks();
    faults_start(kind, n, error, false);
    int rc = commands_perform(argc, argv, &problem);
    long calls = faults_stop(), left = faults_blocks() - before;
    const char *found = commands_output();
    cr_expect(rc == 0 || (rc == problem.code && problem.message[0]), "%s, fault %ld of %ld: code %d, '%s'", call->words,
              n, calls, rc, problem.message);
    cr_expect(rc != ERR_INTERNAL && rc != ERR_USAGE, "%s, fault %ld of %ld: %s", call->words, n, calls,
              problem.message);
    cr_expect_eq(left, 0, "%s, fault %ld of %ld: %ld blocks left (%s)", call->words, n, calls, left, problem.message);
    if (call->expected && rc == 0 && !call->is_changing)
        cr_expect_str_eq(found, call->expected, "%s, fault %ld of %ld: another answer", call->words, n, calls);
    if (!call->expected)
        call->expected = strdup(found);
    check_store(call, n);
    return calls;
}

static void each_call(struct call *call, enum fault_kind kind, int error, long most_runs)
{
    for (int i = 0; i < 2; i++) { /* what is allocated once stays */
        struct err problem = {0};
        int rc = commands_call(call->words, &problem);
        cr_assert_eq(rc, 0, "%s: %d, %s", call->words, rc, problem.message);
    }
    long n = 1, calls = run_with(call, kind, error, 0), step = fault_stride(1 + calls / most_runs);
    for (; calls >= n; n += step)
        calls = run_with(call, kind, error, n);
    free(call->expected);
    call->expected = NULL;
}

static struct call calls[] = {
    {"status", false, NULL},
    {"status --json", false, NULL},
    {"status ranks", false, NULL},
    {"names --trials", false, NULL},
    {"show ranks/100", false, NULL},
    {"show ranks/2 --json", false, NULL},
    {"explain ranks/2", false, NULL},
    {"explain ranks/101 --json", false, NULL},
    {"compare ranks --resamples 100", false, NULL},
    {"compare ranks --resamples 100 --json", false, NULL},
    {"advise ranks", false, NULL},
    {"advise ranks --json --bytes 1KiB", false, NULL},
    {"export ranks --output %/out", true, NULL},
    {"export ranks --format live --output %/out", true, NULL},
    {"export ranks --format csv --output %/out", true, NULL},
    {"export ranks --format jsonl --output %/out", true, NULL},
    {"export ranks --format tensorboard --output %/out", true, NULL},
    {"export ranks --format mlflow --output %/out", true, NULL},
    {"export ranks --format optuna-journal --output %/out", true, NULL},
    {"backup %/out.db", true, NULL},
    {"gc --dry-run --json", false, NULL},
    {"gc --checkpoints-older-than 1s", true, NULL},
    {"archive ranks", true, NULL},
    {"cancel ranks --json", true, NULL},
    {"retry ranks --failed", true, NULL},
    {"delete ranks --yes --json", true, NULL},
    {"import %/s.db --store %/f.db", true, NULL},
    {"import %/w.yaml", false, NULL},
    {"recover --output %/out.db", true, NULL},
    {"score --hypotheses %/h.txt --references %/r.txt --json", false, NULL},
    {"plan %/d.json --no-timing", false, NULL},
    {"plan %/d.json --no-timing --json --store %/d.db", false, NULL},
    {"suggest %/e.json --count 2 --quiet --store %/e.db", true, NULL},
    {"slurm submit %/d.json --dry-run --store %/d.db", true, NULL},
    {"init %/text.csv --model %/model --output %/out.json", true, NULL},
};

#ifndef NIGHTSWEEP_ASAN /* the sanitizers have a malloc of their own */
Test(faults_commands, every_allocation)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        each_call(&calls[i], FAULT_OWN_ALLOCATION, ENOMEM, 250);
}
#endif

Test(faults_commands, every_call_to_the_file_system)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        each_call(&calls[i], FAULT_IO, EIO, 150);
}
