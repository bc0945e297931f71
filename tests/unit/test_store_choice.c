/* Tests of store_write_choice: what cancel and retry change, what they leave, and what they refuse. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/store_internal.h"
#include "tests/support/store_rows.h"
#include "tests/support/temp.h"

static struct temp temp;
static struct store *store;
static int64_t sweep, trials[4]; /* WAITING, RUNNING, COMPLETE, FAILED */

static struct store_op choice(enum store_op_kind kind, const char *name, int64_t trial)
{
    return (struct store_op){.kind = kind, .choice = {.sweep = name, .trial = trial, .reason = "why not"}};
}

static int64_t changes(struct store_op op)
{
    struct store_result result;
    struct err err = {0};
    cr_assert_eq(store_apply(store, &op, 1, &result, &err), 0, "%s", err.message);
    return result.n_changed;
}

static void expect_text(const char *sql, const char *wanted)
{
    char *found = rows_text(store, sql);
    cr_expect_str_eq(found, wanted, "%s", sql);
    free(found);
}

static void fail(int64_t trial)
{
    int64_t attempt = rows_attempt(store, trial);
    ROWS_APPLY(
        store,
        {.kind = STORE_END_ATTEMPT,
         .end_attempt = {.attempt_id = attempt, .state = ATTEMPT_FAILED, .reason = REASON_CRASHED}},
        {.kind = STORE_MOVE_TRIAL,
         .move_trial = {.trial_id = trial, .to = TRIAL_FAILED, .reason = REASON_CRASHED, .message = "it crashed"}});
}

static void setup(void)
{
    temp_open(&temp);
    store = rows_open(temp_path(&temp, "x.db"));
    sweep = rows_sweep(store, "s");
    int64_t configuration = rows_configuration(store, sweep, 1);
    for (int i = 0; i < 4; i++)
        trials[i] = rows_trial(store, sweep, configuration, i + 1, i + 1);
    rows_complete(store, trials[2], 0.5);
    fail(trials[3]);
}

static void teardown(void)
{
    store_close(store);
    temp_close(&temp);
}

TestSuite(store_choice, .init = setup, .fini = teardown);

Test(store_choice, cancel_ends_what_is_open)
{
    cr_expect_eq(changes(choice(STORE_CANCEL, "s", 0)), 2);
    expect_text("SELECT group_concat(state) FROM (SELECT state FROM trial ORDER BY number)",
                "PRUNED,PRUNED,COMPLETE,FAILED");
    expect_text("SELECT message FROM trial WHERE number = 1", "why not");
    expect_text("SELECT group_concat(rule || ' ' || action) FROM decision", "person stop,person stop");
    expect_text("SELECT message FROM event WHERE kind = 'canceled'", "2 trials: why not");
    expect_text("SELECT state FROM sweep", "STOPPED");
    cr_expect_eq(rows_number(store, "SELECT COUNT(*) FROM event WHERE kind = 'study'"), 0);
    cr_expect_eq(changes(choice(STORE_CANCEL, "s", 0)), 0);
    cr_expect_eq(rows_number(store, "SELECT value FROM trial WHERE number = 3"), 0.5);
}

Test(store_choice, cancel_tells_the_search)
{
    ROWS_APPLY(store, {.kind = STORE_EVENT, .event = {.sweep_id = sweep, .kind = "study", .message = "{}"}});
    cr_expect_eq(changes(choice(STORE_CANCEL, "s", 2)), 1);
    expect_text("SELECT message FROM event WHERE kind = 'study' AND trial_id IS NOT NULL",
                "{\"op\":\"cancel\",\"trial\":2}");
    expect_text("SELECT state FROM sweep", "OPEN");
}

Test(store_choice, what_cannot_be_is_refused_and_changes_nothing)
{
    rows_refuse(store, choice(STORE_CANCEL, "t", 0), ERR_NOT_FOUND, "no sweep 't'");
    rows_refuse(store, choice(STORE_CANCEL, "s", 9), ERR_NOT_FOUND, "sweep 's' has no trial 9");
    rows_refuse(store, choice(STORE_CANCEL, "s", 3), ERR_USAGE, "trial 3 of sweep 's' is COMPLETE");
    rows_refuse(store, choice(STORE_RETRY, "s", 3), ERR_USAGE, "is COMPLETE, FAILED was expected");
    rows_attempt(store, trials[1]);
    rows_refuse(store, choice(STORE_CANCEL, "s", 0), ERR_BUSY, "trial 2 of sweep 's' is running");
    expect_text("SELECT group_concat(state) FROM (SELECT state FROM trial ORDER BY number)",
                "WAITING,RUNNING,COMPLETE,FAILED");
}

/* Attempts stay, and those before the retry use up no retry. */
Test(store_choice, retry_lets_failed_trials_wait)
{
    struct arena arena = {0};
    struct store_loaded loaded;
    struct err err;
    cr_assert_eq(store_load(store, "s", &arena, &loaded, &err), 0);
    cr_expect_eq(loaded.trials[3].attempts[ATTEMPT_FAILED], 1);
    cr_expect_eq(changes(choice(STORE_RETRY, "s", 0)), 1);
    cr_assert_eq(store_load(store, "s", &arena, &loaded, &err), 0);
    cr_expect_eq(loaded.trials[3].state, TRIAL_WAITING);
    cr_expect_eq(loaded.trials[3].reason, REASON_NONE);
    cr_expect_eq(loaded.trials[3].attempts[ATTEMPT_FAILED], 0);
    cr_expect_eq(loaded.trials[3].attempts[ATTEMPT_INTERRUPTED], 1);
    cr_expect_eq(rows_number(store, "SELECT COUNT(*) FROM attempt WHERE state = 'FAILED'"), 1);
    fail(trials[3]);
    cr_assert_eq(store_load(store, "s", &arena, &loaded, &err), 0);
    cr_expect_eq(changes(choice(STORE_RETRY, "s", 4)), 1);
    cr_expect_eq(changes(choice(STORE_RETRY, "s", 0)), 0);
    arena_done(&arena);
}

Test(store_choice, archived_sweeps_are_not_listed)
{
    struct arena arena = {0};
    const char *const *names = NULL;
    struct err err;
    rows_sweep(store, "t");
    cr_expect_eq(changes(choice(STORE_ARCHIVE, "s", 0)), 1);
    cr_expect_eq(changes(choice(STORE_ARCHIVE, "s", 0)), 0);
    cr_assert_eq(store_listed_names(store, &arena, &names, &err), 0);
    cr_assert_str_eq(names[0], "t");
    cr_assert_null(names[1]);
    cr_assert_eq(store_sweep_names(store, &arena, &names, &err), 0);
    cr_assert_str_eq(names[0], "s");
    cr_expect_eq(changes(choice(STORE_UNARCHIVE, "s", 0)), 1);
    cr_assert_eq(store_listed_names(store, &arena, &names, &err), 0);
    cr_assert_str_eq(names[0], "s");
    rows_refuse(store, choice(STORE_ARCHIVE, "u", 0), ERR_NOT_FOUND, "no sweep 'u'");
    arena_done(&arena);
}

/* Every table is empty of the deleted sweep, and as it was of the other. */
Test(store_choice, delete_takes_all_rows_of_one_sweep)
{
    static const char *const tables[] = {"objective", "configuration", "trial", "attempt", "decision"};
    struct err err;
    char sql[200];
    double before[5];
    int64_t other = rows_sweep(store, "t");
    rows_complete(store, rows_trial(store, other, rows_configuration(store, other, 1), 1, 1), 0.25);
    changes(choice(STORE_CANCEL, "s", 1));
    ROWS_APPLY(store,
               {.kind = STORE_EVENT, .event = {.sweep_id = sweep, .trial_id = trials[1], .kind = "x", .message = "y"}});
    for (int i = 0; i < 5; i++) {
        snprintf(sql, sizeof(sql), "SELECT COUNT(*) FROM %s", tables[i]);
        before[i] = rows_number(store, sql);
    }
    int64_t attempt = rows_attempt(store, trials[1]);
    rows_refuse(store, choice(STORE_DELETE, "s", 0), ERR_BUSY, "trial 2 of sweep 's' is running");
    ROWS_APPLY(store, {.kind = STORE_END_ATTEMPT, .end_attempt = {.attempt_id = attempt, .state = ATTEMPT_STOPPED}},
               {.kind = STORE_MOVE_TRIAL, .move_trial = {.trial_id = trials[1], .to = TRIAL_WAITING}});
    cr_expect_eq(changes(choice(STORE_DELETE, "s", 0)), 4);
    cr_assert_eq(store_check(store, &err), 0, "%s", err.message);
    expect_text("SELECT group_concat(name) FROM sweep", "t");
    expect_text("SELECT message FROM event", "{\"sweep\":\"s\",\"folder\":\"/runs\"}");
    cr_expect_eq(rows_number(store, "SELECT COUNT(*) FROM trial"), 1);
    cr_expect_eq(rows_number(store, "SELECT value FROM trial"), 0.25);
    cr_expect_eq(rows_number(store, "SELECT COUNT(*) FROM objective"), 1);
    cr_expect_eq(rows_number(store, "SELECT COUNT(*) FROM decision"), 0);
    cr_expect(before[2] > 1 && before[4] > 0);
}
