/* The n-th allocation, and the n-th call to the file system, of a whole trial fails: reading model, tokenizer and data,
 * kept tokens and activations, steps, checkpoints, the adapter; and of one that goes on from a checkpoint; and several
 * at a time. No crash, no memory left, an error with a message or the same files as without. FAULTS_STRIDE=1 takes
 * every one; by default about RUNS of each kind. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/hash.h"
#include "common/json.h"
#include "tests/support/faults/faults.h"
#include "tests/support/temp.h"
#include "trainer/token_cache.h"
#include "trainer/trial.h"

enum { RUNS = 60, ROWS = TOKEN_CACHE_MIN_ROWS + 8 };

static struct temp temp;
static struct err err;
static char output[TEMP_PATH_SIZE], cache[TEMP_PATH_SIZE], kept[TEMP_PATH_SIZE];
static FILE *nowhere;
static atomic_bool never;

static void write_rows(const char *name, int n)
{
    FILE *file = fopen(temp_path(&temp, name), "w");
    cr_assert_not_null(file);
    for (int i = 0; i < n; i++)
        fprintf(file, "{\"text\":\"w%d w%d w%d\",\"label\":%d}\n", 6 + i % 60, 20 + 3 * i % 40, 9 + 7 * i % 50, i % 3);
    fclose(file);
}

static void setup(void)
{
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    temp_open(&temp);
    write_rows("train.jsonl", ROWS);
    write_rows("validation.jsonl", 6);
    snprintf(output, sizeof(output), "%s", temp_path(&temp, "out"));
    snprintf(cache, sizeof(cache), "%s", temp_path(&temp, "cache"));
    snprintf(kept, sizeof(kept), "%s", temp_path(&temp, "kept.checkpoint"));
    setenv("NIGHTSWEEP_CACHE", cache, 1);
    nowhere = fopen("/dev/null", "w");
    cr_assert_not_null(nowhere);
}

static void teardown(void)
{
    fclose(nowhere);
    temp_close(&temp);
}

TestSuite(faults_trainer, .init = setup, .fini = teardown, .timeout = 2400);

static void write_job(struct text *job, const char *settings, bool is_resumed)
{
    text_reset(job);
    text_printf(
        job,
        "{\"v\":1,\"type\":\"job\",\"attempt\":1,\"identity\":\"i\",\"output\":\"%s\",\"seed\":5,"
        "\"checkpoint_seconds\":0,\"model\":{\"path\":\"tests/golden/cases/models/bert\"},\"task\":{\"kind\":"
        "\"classification\",\"train\":\"%s/train.jsonl\",\"validation\":\"%s/validation.jsonl\",\"text\":\"text\","
        "\"label\":\"label\"},\"settings\":{\"batch_size\":4,\"steps\":3,\"warmup\":0,\"max_tokens\":16,%s}",
        output, temp.folder, temp.folder, settings);
    if (is_resumed)
        text_printf(job, ",\"resume\":\"%s\"", kept);
    text_add(job, "}");
    cr_assert(!job->failed);
}

static int train(const struct text *text, struct err *problem)
{
    struct trial_job job = {0};
    struct records records = {0};
    struct trial trial = {0};
    records_init(&records, nowhere, 1);
    int rc = trial_job_parse(&job, text->data, text->len, problem);
    if (rc == 0)
        rc = trial_open(&trial, &job, &records, &never, problem);
    if (rc == 0)
        rc = trial_run(&trial, problem);
    trial_close(&trial);
    trial_job_done(&job);
    records_done(&records);
    return rc;
}

static void clear(bool with_cache)
{
    cr_assert_eq(file_remove_tree(output, NULL), 0);
    if (with_cache)
        cr_assert_eq(file_remove_tree(cache, NULL), 0);
}

/* The adapter's files, as one hash. */
static void hash_result(char hash[HASH_HEX_SIZE])
{
    char *folder = file_join(output, "adapter");
    cr_assert_not_null(folder);
    cr_assert_eq(hash_folder(folder, NULL, hash, &err), 0, "%s", err.message);
    free(folder);
}

static void no_temporary_files(long n)
{
    DIR *folder = opendir(output);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        cr_expect(!strstr(entry->d_name, ".tmp-"), "fault %ld: '%s' is left", n, entry->d_name);
    if (folder)
        closedir(folder);
}

static struct text job;
static char expected[HASH_HEX_SIZE];

/* One run with the faults that were asked for: how many calls it made. */
static long run(long n, long before, int *rc)
{
    char found[HASH_HEX_SIZE];
    *rc = train(&job, &err);
    long calls = faults_stop();
    struct err ignored;
    (void)!json_check_memory(&ignored); /* what it remembers is the next trial's in a process of its own */
    if (getenv("FAULTS_SHOW"))
        printf("fault %ld of %ld: %d %s\n", n, calls, *rc, *rc ? err.message : "");
    cr_expect(*rc == 0 || (*rc == err.code && err.message[0]), "fault %ld: code %d without a message", n, *rc);
    cr_expect_neq(*rc, ERR_INTERNAL, "fault %ld: %s", n, err.message);
    cr_expect_eq(faults_blocks(), before, "fault %ld of %ld: %ld blocks left (%s)", n, calls, faults_blocks() - before,
                 err.message);
    no_temporary_files(n);
    if (*rc == 0) {
        hash_result(found);
        cr_expect_str_eq(found, expected, "fault %ld of %ld: other files", n, calls);
    }
    return calls;
}

static const struct {
    const char *name, *settings;
    bool is_resumed;
} cases[] = {{"lora", "\"method\":\"lora\",\"rank\":2,\"dropout\":0.1", false},
             {"frozen prefix", "\"method\":\"partial\",\"top_layers\":1,\"frozen_prefix\":\"shared\"", false},
             {"resumed", "\"method\":\"lora\",\"rank\":2,\"dropout\":0.1", true}};
enum { N_CASES = sizeof(cases) / sizeof(cases[0]) };

static bool is_checkpoint(const char *name)
{
    return strstr(name, "-2.checkpoint") != NULL;
}

/* The undisturbed trial: what it makes, and for the resumed one a checkpoint of its second step. */
static void begin(int i)
{
    write_job(&job, cases[i].settings, false);
    clear(true);
    cr_assert_eq(train(&job, &err), 0, "%s: %s", cases[i].name, err.message);
    hash_result(expected);
    DIR *folder = opendir(output);
    cr_assert_not_null(folder);
    bool is_found = false;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (is_checkpoint(entry->d_name)) {
            char *path = file_join(output, entry->d_name);
            cr_assert(path && rename(path, kept) == 0);
            free(path);
            is_found = true;
        }
    closedir(folder);
    cr_assert(is_found, "%s: no checkpoint", cases[i].name);
    write_job(&job, cases[i].settings, cases[i].is_resumed);
    for (int k = 0; k < 2; k++) { /* what is allocated once stays */
        clear(true);
        cr_assert_eq(train(&job, &err), 0, "%s: %s", cases[i].name, err.message);
    }
    char again[HASH_HEX_SIZE];
    hash_result(again);
    cr_assert_str_eq(again, expected, "%s: undisturbed it ends otherwise", cases[i].name);
}

static long stride(long calls)
{
    const char *given = getenv("FAULTS_STRIDE");
    long n = given ? strtol(given, NULL, 10) : 0;
    return n > 0 ? n : calls > RUNS ? calls / RUNS : 1;
}

/* Every other run finds the tokens and activations that the one before it kept. */
static void each_fault(int i, enum fault_kind kind, int error, bool stays)
{
    int rc, n_failed = 0;
    begin(i);
    clear(true);
    faults_start(kind, 0, error, false);
    long calls = run(0, faults_blocks(), &rc), step = stride(calls);
    cr_assert_gt(calls, 10, "%s: %ld calls", cases[i].name, calls);
    for (long n = 1, k = 0; n <= calls; n += step, k++) {
        clear(k % 2 == 0);
        long before = faults_blocks();
        err = (struct err){0};
        faults_start(kind, n, error, stays);
        (void)run(n, before, &rc);
        n_failed += rc < 0;
    }
    cr_expect_gt(n_failed, 0, "%s: no fault was noticed", cases[i].name);
}

static void several(int i, enum fault_kind kind, int error)
{
    int rc;
    begin(i);
    clear(true);
    faults_start(kind, 0, error, false);
    long calls = run(0, faults_blocks(), &rc);
    for (long seed = 1; seed <= RUNS / 2; seed++) {
        clear(seed % 2 == 0);
        long before = faults_blocks();
        err = (struct err){0};
        faults_scatter(kind, (unsigned long)seed, (unsigned long)calls / 3, error);
        (void)run(seed, before, &rc);
    }
}

#if !defined(NIGHTSWEEP_ASAN) && !defined(__SANITIZE_THREAD__) /* the sanitizers have a malloc of their own */
Test(faults_trainer, every_allocation_of_a_trial)
{
    for (int i = 0; i < N_CASES; i++)
        each_fault(i, FAULT_ALLOCATION, ENOMEM, false);
    text_done(&job);
}

Test(faults_trainer, several_allocations_of_a_trial)
{
    for (int i = 0; i < N_CASES; i++)
        several(i, FAULT_ALLOCATION, ENOMEM);
    text_done(&job);
}
#endif

Test(faults_trainer, every_call_of_a_trial)
{
    for (int i = 0; i < N_CASES; i++) {
        each_fault(i, FAULT_IO, EIO, false);
        each_fault(i, FAULT_IO, ENOSPC, true);
    }
    text_done(&job);
}

Test(faults_trainer, several_calls_of_a_trial)
{
    for (int i = 0; i < N_CASES; i++)
        several(i, FAULT_IO, EIO);
    text_done(&job);
}

Test(faults_trainer, short_and_interrupted_writes_go_unnoticed)
{
    static const enum fault_kind kinds[] = {FAULT_SHORT, FAULT_INTERRUPT};
    for (int k = 0; k < 2; k++) {
        int rc;
        begin(0);
        clear(true);
        faults_start(kinds[k], 0, 0, false);
        long calls = run(0, faults_blocks(), &rc), step = stride(calls);
        for (long n = 1; n <= calls; n += step) {
            clear(true);
            faults_start(kinds[k], n, 0, false);
            (void)run(n, faults_blocks(), &rc);
            cr_expect_eq(rc, 0, "write %ld: %s", n, err.message);
        }
    }
    text_done(&job);
}
