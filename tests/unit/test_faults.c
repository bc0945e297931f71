/* The n-th allocation fails, the n-th call to the file system fails, for every n until a run meets none: no crash, an
 * error with a message or a result that is right all the same, no memory left behind, and of the store what it has
 * acknowledged. FAULTS_STRIDE=1 takes every allocation; by default some hundreds of each path, and every call to the
 * file system. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "orchestrator/plan.h"
#include "orchestrator/store_op.h"
#include "tests/support/faults/paths.h"
#include "tests/support/temp.h"
#include "trainer/counterfactual.h"
#include "trainer/trial_job.h"

static struct temp temp;
static struct err err;

/* In memory where there is such a folder: thousands of stores are made. */
static void setup(void)
{
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    temp_open(&temp);
    static const char *const files[] = {"model/config.json", "model/tokenizer.json", "model/model.safetensors",
                                        "train.jsonl", "names.json"};
    cr_assert_eq(file_make_folders(temp_path(&temp, "model"), &err), 0);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        temp_write(&temp, files[i], "{}", 2);
}

static void teardown(void)
{
    temp_close(&temp);
}

TestSuite(faults, .init = setup, .fini = teardown, .timeout = 1200);

/* The paths ---------------------------------------------------------------------------------------------------------
 */

static int plan_path(const void *context, struct err *problem)
{
    (void)context;
    static const char text[] =
        "{\"name\": \"p\", \"model\": \"model\", \"task\": {\"train\": \"train.jsonl\", \"text\": \"text\", \"label\": "
        "\"label\"}, \"settings\": {\"epochs\": 2}, \"parameters\": {\"method\": {\"values\": [\"lora\", \"full\"]}, "
        "\"rank\": {\"values\": [2, 4], \"when\": {\"method\": \"lora\"}}}, \"seeds\": 2, "
        "\"search\": {\"algorithm\": \"grid\"}, \"checks\": [{\"kind\": \"counterfactual\", \"file\": "
        "\"names.json\"}], \"resources\": {\"memory\": \"2GiB\"}}";
    struct definition definition = {0};
    struct input_hashes hashes;
    struct plan plan = {0};
    int rc = definition_parse(&definition, text, temp.folder, "p.json", problem);
    if (rc == 0)
        rc = job_hash_inputs(&hashes, &definition, NULL, problem);
    if (rc == 0)
        rc = plan_make(&plan, &definition, &hashes, NULL, problem);
    /* The identities are those of a run without a fault. */
    static char expected[8][HASH_HEX_SIZE];
    static bool is_known;
    for (int i = 0; rc == 0 && i < 8; i++) {
        cr_assert_eq(plan.n_trials, 8, "%d trials", plan.n_trials);
        if (!is_known)
            memcpy(expected[i], plan.trials[i].identity, HASH_HEX_SIZE);
        else
            cr_expect_str_eq(plan.trials[i].identity, expected[i], "trial %d is another one", i + 1);
    }
    is_known = is_known || rc == 0;
    plan_done(&plan);
    definition_done(&definition);
    return rc;
}

static int job_path(const void *context, struct err *problem)
{
    (void)context;
    static const char text[] = "{\"v\": 1, \"type\": \"job\", \"attempt\": 1, \"output\": \"/o\", \"model\": "
                               "{\"path\": \"/m\"}, \"task\": {\"kind\": "
                               "\"classification\", \"train\": \"/t\", \"text\": \"text\", \"label\": \"label\"}, "
                               "\"settings\": {\"method\": [\"lora\", "
                               "\"bitfit\"], \"rank\": 8}, \"checks\": [{\"name\": \"0:counterfactual\", \"kind\": "
                               "\"counterfactual\", \"file\": "
                               "\"/n\"}]}";
    struct trial_job job;
    int rc = trial_job_parse(&job, text, strlen(text), problem);
    trial_job_done(&job);
    return rc;
}

static int items_path(const void *context, struct err *problem)
{
    (void)context;
    static const char text[] =
        "{\"kind\": \"counterfactual\", \"templates\": [\"{who} is {a}.\"], \"lists\": {\"who\": [[\"she\", \"he\"], "
        "[\"her\", \"him\"]]}, \"slots\": {\"a\": [\"one\", \"two\"]}, \"swaps\": [[\"mother\", \"father\"]]}";
    struct counterfactual set;
    struct arena arena = {0};
    static bool is_written;
    if (!is_written)
        temp_write(&temp, "items.json", text, strlen(text));
    is_written = true;
    int rc = counterfactual_read(&set, temp_path(&temp, "items.json"), NULL, &arena, problem);
    static char expected[HASH_HEX_SIZE];
    if (rc == 0 && !expected[0])
        memcpy(expected, set.item_set_sha256, HASH_HEX_SIZE);
    if (rc == 0)
        cr_expect_str_eq(set.item_set_sha256, expected);
    arena_done(&arena);
    return rc;
}

static const struct fault_path paths[] = {
    {"plan", plan_path, NULL}, {"job", job_path, NULL}, {"items", items_path, NULL}};

#ifndef NIGHTSWEEP_ASAN /* the sanitizers have a malloc of their own */
Test(faults, every_allocation_of_reading_and_planning)
{
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        cr_expect_geq(fault_each(&paths[i], FAULT_ALLOCATION, ENOMEM, 200), 5);
        cr_expect_geq(fault_each(&paths[i], FAULT_OWN_ALLOCATION, ENOMEM, 2000), 5);
    }
}
#endif

Test(faults, every_call_of_reading_and_planning)
{
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        fault_each(&paths[i], FAULT_IO, EIO, 400);
}

/* The store ---------------------------------------------------------------------------------------------------------
 */

/* A sweep with one trial from its first row to its end, a group at a time: how many groups were acknowledged. */
static int write_groups(struct store *store, int *acknowledged, struct err *problem)
{
    const struct store_point points[] = {{"train/loss", 1, 0.5}, {"train/loss", 2, 0.25}};
    const struct store_op ops[] = {
        {.kind = STORE_ADD_SWEEP,
         .sweep = {.id = 1,
                   .name = "s",
                   .definition = "{}",
                   .definition_sha256 = "d",
                   .folder = "/s",
                   .output_folder = "/o",
                   .seed = 7}},
        {.kind = STORE_ADD_OBJECTIVE,
         .objective = {.sweep_id = 1, .metric = "validation/accuracy", .is_maximized = true}},
        {.kind = STORE_ADD_CONFIGURATION,
         .configuration = {.id = 1, .sweep_id = 1, .number = 1, .parameters = "{}", .settings = "{}"}},
        {.kind = STORE_ADD_TRIAL,
         .trial = {.id = 1, .sweep_id = 1, .configuration_id = 1, .number = 1, .seed = 1, .identity = "i"}},
        {.kind = STORE_BEGIN_ATTEMPT, .begin_attempt = {.id = 1, .trial_id = 1, .worker = "w", .slot = 1}},
        {.kind = STORE_POINTS, .points = {.attempt_id = 1, .points = points, .n = 2}},
        {.kind = STORE_CHECKPOINT,
         .checkpoint = {.attempt_id = 1, .step = 2, .path = "/o/1/1-2.checkpoint", .bytes = 3, .sha256 = "c"}},
        {.kind = STORE_END_ATTEMPT, .end_attempt = {.attempt_id = 1, .state = ATTEMPT_COMPLETE}}};
    int rc = 0;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]) && rc == 0; i++) {
        rc = store_apply(store, &ops[i], 1, NULL, problem);
        *acknowledged += rc == 0;
    }
    return rc;
}

static int64_t number(struct store *store, const char *sql)
{
    sqlite3_stmt *row = NULL;
    cr_assert_eq(sqlite3_prepare_v2(store_database(store), sql, -1, &row, NULL), SQLITE_OK, "%s", sql);
    cr_assert_eq(sqlite3_step(row), SQLITE_ROW, "%s", sql);
    int64_t value = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return value;
}

/* Whole, and everything that was acknowledged is in it. */
static void check_store(int acknowledged, long n)
{
    static const char *const questions[] = {
        "SELECT count(*) FROM sweep",         "SELECT count(*) FROM objective",
        "SELECT count(*) FROM configuration", "SELECT count(*) FROM trial",
        "SELECT count(*) FROM attempt",       "SELECT count(*) = 2 FROM metric",
        "SELECT count(*) FROM checkpoint",    "SELECT state = 'COMPLETE' FROM attempt"};
    struct store *store = NULL;
    cr_assert_eq(store_open(&store, temp_path(&temp, "s.db"), STORE_WRITE, &err), 0, "fault %ld: %s", n, err.message);
    cr_expect_eq(store_check(store, &err), 0, "fault %ld: %s", n, err.message);
    for (int i = 0; i < acknowledged; i++)
        cr_expect_eq(number(store, questions[i]), 1, "fault %ld: group %d was acknowledged and is not there", n, i + 1);
    store_close(store);
}

static void remove_store(void)
{
    static const char *const names[] = {"s.db", "s.db-wal", "s.db-shm", "s.db.lock", "s.db-journal"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(temp_path(&temp, names[i]));
}

/* A store from its creation to a finished trial while calls fail as they were asked to; then it is looked at. `n` names
 * the run; *calls is how many there were. */
static int run_store(long n, long *calls)
{
    struct store *store = NULL;
    int acknowledged = 0;
    int rc = store_open(&store, temp_path(&temp, "s.db"), STORE_WRITE, &err);
    if (rc == 0)
        rc = write_groups(store, &acknowledged, &err);
    store_close(store);
    *calls = faults_stop();
    cr_expect(rc == 0 || (rc == err.code && err.message[0] && rc != ERR_INTERNAL && rc != ERR_USAGE),
              "fault %ld: code %d, '%s'", n, rc, err.message);
    if (getenv("FAULTS_SHOW"))
        printf("%ld: %d groups, %s\n", n, acknowledged, err.message);
    check_store(acknowledged, n);
    return rc;
}

static void each_store_fault(enum fault_kind kind, int error, bool stays, long step)
{
    long n = 1, calls;
    int rc;
    sqlite3_initialize();
    do {
        remove_store();
        err = (struct err){0};
        faults_start(kind, n, error, stays);
        rc = run_store(n, &calls);
        n += step;
    } while (calls >= n - step);
    cr_expect_eq(rc, 0, "without a fault: %s", err.message);
}

/* Several at a time: with one seed the same ones. */
Test(faults, several_calls_of_the_store_fail)
{
    static const unsigned long one_in[] = {20, 60, 150};
    long calls, n_failed = 0;
    sqlite3_initialize();
    for (unsigned long seed = 1; seed <= 150; seed++) {
        remove_store();
        err = (struct err){0};
        faults_scatter(FAULT_IO, seed, one_in[seed % 3], seed % 2 ? EIO : ENOSPC);
        n_failed += run_store((long)seed, &calls) < 0;
    }
    cr_expect_geq(n_failed, 20, "only %ld runs failed", n_failed);
}

#ifndef NIGHTSWEEP_ASAN
Test(faults, every_allocation_of_the_store)
{
    each_store_fault(FAULT_ALLOCATION, ENOMEM, false, fault_stride(35));
}
#endif

Test(faults, every_call_of_the_store)
{
    each_store_fault(FAULT_IO, EIO, false, 1);
    each_store_fault(FAULT_IO, EIO, true, 1);
    each_store_fault(FAULT_IO, ENOSPC, true, 1);
}

Test(faults, short_and_interrupted_writes_of_the_store_go_unnoticed)
{
    for (int i = 0; i < 2; i++) {
        struct store *store = NULL;
        int acknowledged = 0;
        remove_store();
        for (long n = 1; n <= 40; n++) {
            remove_store();
            acknowledged = 0;
            faults_start(i ? FAULT_INTERRUPT : FAULT_SHORT, n, 0, false);
            cr_expect_eq(store_open(&store, temp_path(&temp, "s.db"), STORE_WRITE, &err), 0, "%s", err.message);
            cr_expect_eq(write_groups(store, &acknowledged, &err), 0, "write %ld: %s", n, err.message);
            store_close(store);
            faults_stop();
            cr_expect_eq(acknowledged, 8);
            check_store(acknowledged, n);
        }
    }
}

/* Files that replace others ------------------------------------------------------------------------------------------
 */

static int write_file(struct err *problem)
{
    struct file_write file;
    static const char part[] = "0123456789abcdef";
    int rc = file_write_begin(&file, temp_path(&temp, "atomic"), problem);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = file_write_add(&file, part, sizeof(part) - 1, problem);
    if (rc == 0)
        rc = file_write_commit(&file, problem);
    file_write_abandon(&file);
    return rc;
}

static void check_file(const char *old, long n)
{
    char *data = NULL;
    size_t len = 0;
    cr_assert_eq(file_read(temp_path(&temp, "atomic"), 1000, &data, &len, &err), 0, "fault %ld: %s", n, err.message);
    cr_expect(len == 48 || strcmp(data, old) == 0, "fault %ld: '%s' is neither old nor new", n, data);
    free(data);
    snprintf(temp.path, sizeof(temp.path), "%s/atomic.tmp-%ld", temp.folder, (long)getpid());
    cr_expect(!file_exists(temp.path), "fault %ld: the temporary file is left", n);
}

Test(faults, a_replaced_file_is_the_old_or_the_new_one)
{
    static const struct {
        enum fault_kind kind;
        int error;
        bool must_pass;
    } cases[] = {{FAULT_IO, EIO, false}, {FAULT_IO, ENOSPC, false}, {FAULT_SHORT, 0, true}, {FAULT_INTERRUPT, 0, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        long n = 1, calls;
        do {
            temp_write(&temp, "atomic", "old", 3);
            faults_start(cases[i].kind, n, cases[i].error, false);
            int rc = write_file(&err);
            calls = faults_stop();
            cr_expect(rc == 0 || !cases[i].must_pass, "fault %ld: %s", n, err.message);
            check_file("old", n);
        } while (calls >= n++);
    }
}
