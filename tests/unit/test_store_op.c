/* Tests of the store's operations: whole groups or nothing, idempotent records, refused transitions, and the views
 * against values worked out by hand. */
#include "orchestrator/store_op.h"
#include "orchestrator/store_thread.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/store_rows.h"
#include "tests/support/temp.h"

static struct temp temp;
static struct store *store;
static int64_t sweep, configuration, trial, attempt;

static void setup(void)
{
    temp_open(&temp);
    store = rows_open(temp_path(&temp, "x.db"));
    sweep = rows_sweep(store, "s");
    configuration = rows_configuration(store, sweep, 1);
    trial = rows_trial(store, sweep, configuration, 1, 100);
    attempt = rows_attempt(store, trial);
}

static void teardown(void)
{
    store_close(store);
    temp_close(&temp);
}

TestSuite(store_op, .init = setup, .fini = teardown);

static void expect_text(const char *sql, const char *expected)
{
    char *text = rows_text(store, sql);
    cr_assert_str_eq(text, expected, "%s: '%s'", sql, text);
    free(text);
}

static struct store_op end_op(enum attempt_state state, enum trial_reason reason)
{
    return (struct store_op){.kind = STORE_END_ATTEMPT,
                             .end_attempt = {.attempt_id = attempt, .state = state, .reason = reason}};
}

static struct store_op move_op(int64_t trial_id, enum trial_state to)
{
    return (struct store_op){.kind = STORE_MOVE_TRIAL, .move_trial = {.trial_id = trial_id, .to = to}};
}

static struct store_op points_op(const struct store_point *points, size_t n)
{
    return (struct store_op){.kind = STORE_POINTS, .points = {.attempt_id = attempt, .points = points, .n = n}};
}

Test(store_op, trial_ends_in_one_group)
{
    ROWS_APPLY(store,
               {.kind = STORE_ARTIFACT,
                .artifact = {.attempt_id = attempt, .kind = "adapter", .path = "1/a", .bytes = 10, .sha256 = "a0"}},
               {.kind = STORE_END_ATTEMPT,
                .end_attempt = {.attempt_id = attempt,
                                .state = ATTEMPT_COMPLETE,
                                .seconds = known_real(2.5),
                                .peak_bytes = known_int(1000)}},
               {.kind = STORE_OBJECTIVE_VALUE, .objective_value = {.trial_id = trial, .value = 0.75}},
               {.kind = STORE_MOVE_TRIAL,
                .move_trial = {.trial_id = trial,
                               .to = TRIAL_COMPLETE,
                               .value = known_real(0.75),
                               .steps = known_int(40),
                               .stored_bytes = known_int(10)}},
               {.kind = STORE_EXIT_ATTEMPT,
                .exit_attempt = {.attempt_id = attempt,
                                 .exit_status = known_int(0),
                                 .peak_bytes = known_int(16), /* the worker looked while it was starting */
                                 .log_tail = "bye"}});
    expect_text("SELECT state || ' ' || value || ' ' || steps || ' ' || stored_bytes FROM trial",
                "COMPLETE 0.75 40 10");
    expect_text("SELECT state || ' ' || seconds || ' ' || peak_bytes || ' ' || exit_status || ' ' || log_tail || ' ' "
                "|| (signal IS NULL) || ' ' || (ended_at IS NOT NULL) FROM attempt",
                "COMPLETE 2.5 1000 0 bye 1 1");
    cr_assert_eq(rows_number(store,
                             "SELECT COUNT(*) FROM trial WHERE finished_at GLOB "
                             "'20[0-9][0-9]-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9]'"),
                 1);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM artifact"), 1);
}

Test(store_op, group_is_whole_or_nothing)
{
    struct err err = {0};
    struct store_result result;
    const struct store_op ops[] = {
        {.kind = STORE_EVENT, .event = {.sweep_id = sweep, .kind = "started", .message = "run"}},
        end_op(ATTEMPT_COMPLETE, REASON_NONE),
        move_op(trial, TRIAL_COMPLETE),
        move_op(trial, TRIAL_WAITING),
    };
    cr_assert_eq(store_apply(store, ops, 4, &result, &err), ERR_INTERNAL);
    cr_assert_eq(result.rc, ERR_INTERNAL);
    cr_assert_not_null(strstr(err.message, "move_trial: trial 1 cannot go from COMPLETE to WAITING"), "%s",
                       err.message);
    cr_assert_str_eq(result.message, err.message);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM event"), 0);
    expect_text("SELECT state FROM attempt", "RUNNING");
    expect_text("SELECT state FROM trial", "RUNNING");
    cr_assert_eq(store_apply(store, ops, 3, &result, &err), 0, "%s", err.message);
    cr_assert_eq(result.rc, 0);
    cr_assert_str_eq(result.message, "");
    cr_assert_eq(store_apply(store, ops, 0, NULL, &err), 0);
}

static void keep_code(const struct store_result *result, void *context)
{
    *(int *)context = result->rc;
}

/* A batch in which one is refused: the others are in the store, in their order, and each knows. */
Test(store_op, a_refused_group_leaves_the_others_of_its_batch)
{
    struct err err = {0};
    struct store_thread *thread = NULL;
    const struct store_thread_options options = {.is_pumped = true};
    const struct store_point points[] = {{"train/loss", 1, 0.5}, {"train/loss", 2, 0.25}};
    const struct store_op ops[] = {points_op(&points[0], 1), move_op(trial, TRIAL_WAITING), points_op(&points[1], 1)};
    int codes[] = {1, 1, 1};
    cr_assert_eq(store_thread_start(&thread, store, &options, &err), 0, "%s", err.message);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(store_thread_submit(thread, &ops[i], 1, keep_code, &codes[i], &err), 0, "%s", err.message);
    cr_expect_not(store_thread_pump(thread), "nothing was handed over yet");
    store_thread_flush(thread);
    cr_expect(codes[0] == 0 && codes[1] == ERR_INTERNAL && codes[2] == 0, "%d %d %d", codes[0], codes[1], codes[2]);
    store_thread_stop(thread);
    cr_expect_eq(rows_number(store, "SELECT COUNT(*) FROM metric"), 2);
    expect_text("SELECT state || ' ' || steps FROM trial", "RUNNING 2");
}

Test(store_op, transitions_that_are_our_bug)
{
    rows_refuse(store, move_op(trial, TRIAL_WAITING), ERR_INTERNAL,
                "cannot go to WAITING before its attempt is closed");
    rows_refuse(store, move_op(trial, TRIAL_RUNNING), ERR_INTERNAL, "by begin_attempt only");
    rows_refuse(store, move_op(77, TRIAL_COMPLETE), ERR_INTERNAL, "there is no trial with id 77");
    rows_refuse(
        store,
        (struct store_op){.kind = STORE_BEGIN_ATTEMPT, .begin_attempt = {.id = 99, .trial_id = trial, .worker = "w"}},
        ERR_INTERNAL, "cannot go from RUNNING to RUNNING");
    rows_refuse(store, end_op(ATTEMPT_FAILED, REASON_NONE), ERR_INTERNAL, "FAILED goes with a reason");
    rows_refuse(store, end_op(ATTEMPT_COMPLETE, REASON_TIMEOUT), ERR_INTERNAL, "FAILED goes with a reason");
    rows_refuse(store, end_op(ATTEMPT_RUNNING, REASON_NONE), ERR_INTERNAL, "RUNNING is no end");
    ROWS_APPLY(store, end_op(ATTEMPT_STOPPED, REASON_NONE));
    rows_refuse(store, move_op(trial, TRIAL_FAILED), ERR_INTERNAL, "FAILED goes with a reason");
    struct store_op nan_value = move_op(trial, TRIAL_COMPLETE);
    nan_value.move_trial.value = known_real((double)NAN);
    rows_refuse(store, nan_value, ERR_NUMERIC, "a finite number");
    struct store_op early_value = move_op(trial, TRIAL_PAUSED);
    early_value.move_trial.value = known_real(0.5);
    rows_refuse(store, early_value, ERR_NUMERIC, "only a COMPLETE trial has a value");
    ROWS_APPLY(store, move_op(trial, TRIAL_PAUSED));
    expect_text("SELECT state FROM trial", "PAUSED");
}

Test(store_op, references_and_missing_texts_are_our_bug)
{
    rows_refuse(store, (struct store_op){.kind = STORE_SET_SWEEP_STATE, .set_sweep_state = {.sweep_id = 9}},
                ERR_INTERNAL, "there is no sweep with id 9");
    rows_refuse(
        store,
        (struct store_op){.kind = STORE_ADD_TRIAL,
                          .trial = {.id = 50, .sweep_id = sweep, .configuration_id = 99, .number = 9, .identity = "x"}},
        ERR_INTERNAL, "FOREIGN KEY constraint failed");
    rows_refuse(store, (struct store_op){.kind = STORE_EVENT, .event = {.sweep_id = sweep, .kind = "x"}}, ERR_INTERNAL,
                "event: store '");
    rows_refuse(store,
                (struct store_op){.kind = STORE_ADD_SWEEP,
                                  .sweep = {.id = 50,
                                            .name = "s",
                                            .definition = "{}",
                                            .definition_sha256 = "d",
                                            .folder = "/",
                                            .output_folder = "/"}},
                ERR_INTERNAL, "UNIQUE constraint failed: sweep.name");
}

Test(store_op, closed_attempts_are_refused)
{
    const struct store_point point = {"train/loss", 1, 0.5};
    ROWS_APPLY(store, end_op(ATTEMPT_INTERRUPTED, REASON_NONE), move_op(trial, TRIAL_WAITING));
    const int64_t next = rows_attempt(store, trial);
    const struct store_op ops[] = {
        points_op(&point, 1),
        {.kind = STORE_CHECKPOINT, .checkpoint = {.attempt_id = attempt, .step = 1, .path = "/c", .sha256 = "c"}},
        {.kind = STORE_EVALUATION, .evaluation = {.attempt_id = attempt, .split = "test", .metrics = "{}"}},
        {.kind = STORE_BIAS_CHECK, .bias_check = {.attempt_id = attempt, .check_name = "0:c", .metric = "m"}},
        {.kind = STORE_ARTIFACT, .artifact = {.attempt_id = attempt, .kind = "head", .path = "h", .sha256 = "c"}},
        {.kind = STORE_START_ATTEMPT,
         .start_attempt = {.attempt_id = attempt,
                           .environment = {"0.1", "abc", "0.3", "Zen", "cpu", "avx2", "fp32", "m", "t", "d", "s"}}},
        end_op(ATTEMPT_COMPLETE, REASON_NONE),
    };
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        rows_refuse(store, ops[i], ERR_CANCELED, "attempt 1 is INTERRUPTED: its records are refused");
    struct store_op unknown = points_op(&point, 1);
    unknown.points.attempt_id = 999;
    rows_refuse(store, unknown, ERR_CANCELED, "there is no attempt 999");
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM metric"), 0);
    cr_assert_eq(next, 2);
    cr_assert_eq(rows_number(store, "SELECT number FROM attempt WHERE id = 2"), 2);
}

Test(store_op, points_are_kept_once)
{
    struct err err;
    struct store_result result;
    struct store_point points[] = {
        {"train/loss", 1, 0.5},         {"train/grad_norm", 1, 2.0},
        {"train/loss", 2, (double)NAN}, {"train/loss", 3, (double)INFINITY},
        {"train/loss", 4, 0.1 + 0.2},   {"train/loss", 5, -0.0},
    };
    struct store_op op = points_op(points, 6);
    ROWS_APPLY(store, op);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM metric"), 6);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM metric WHERE value IS NULL"), 2);
    cr_assert_eq(rows_number(store, "SELECT value FROM metric WHERE step = 4"), 0.1 + 0.2);
    cr_assert_eq(rows_number(store, "SELECT steps FROM trial"), 5);
    /* Computed again after a resume: equal. */
    cr_assert_eq(store_apply(store, &op, 1, &result, &err), 0, "%s", err.message);
    cr_assert_eq(result.nondeterministic, 0);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM event"), 0);
    /* And not equal: the first value stays. */
    points[0].value = 0.25;
    points[2].value = 1.0;
    points[4].value = (double)NAN;
    cr_assert_eq(store_apply(store, &op, 1, &result, &err), 0, "%s", err.message);
    cr_assert_eq(result.nondeterministic, 3);
    cr_assert_eq(rows_number(store, "SELECT value FROM metric WHERE step = 1 AND name_id = 1"), 0.5);
    expect_text(
        "SELECT kind || ': ' || message FROM event",
        "nondeterministic: 3 rows were repeated with another value: 'train/loss' at step 1 was 0.5, is now 0.25");
    op.points.n = 0;
    ROWS_APPLY(store, op);
}

Test(store_op, metric_names_have_limits)
{
    char name[300];
    struct store_point points[] = {{"fine", 1, 1}, {name, 1, 1}};
    memset(name, 'x', sizeof name);
    name[201] = '\0';
    rows_refuse(store, points_op(points, 2), ERR_FORMAT, "a metric's name has 201 bytes, 1 to 200 are allowed");
    name[0] = '\0';
    rows_refuse(store, points_op(points, 2), ERR_FORMAT, "a metric's name has 0 bytes");
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM metric_name"), 0);
    /* The name that was rolled back is added when it comes again. */
    ROWS_APPLY(store, points_op(points, 1));
    expect_text("SELECT metric FROM curve", "fine");
    enum { MANY = 4095 };
    static char names[MANY][16];
    static struct store_point many[MANY];
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "m%d", i);
        many[i] = (struct store_point){names[i], 1, 1};
    }
    ROWS_APPLY(store, points_op(many, MANY));
    memcpy(name, "more", 5);
    rows_refuse(store, points_op(&points[1], 1), ERR_FORMAT, "metric 'more' is one more than the 4096");
}

Test(store_op, complete_trial_drops_its_checkpoint_and_a_failed_one_keeps_it)
{
    struct err err;
    struct store_result result;
    int64_t failing = rows_trial(store, sweep, configuration, 2, 200), other = rows_attempt(store, failing);
    struct store_op checkpoint = {
        .kind = STORE_CHECKPOINT,
        .checkpoint = {.attempt_id = attempt, .step = 10, .path = "/c/1-10", .bytes = 5, .sha256 = "a"}};
    ROWS_APPLY(store, checkpoint);
    checkpoint.checkpoint.attempt_id = other;
    checkpoint.checkpoint.path = "/c/2-10";
    ROWS_APPLY(store, checkpoint);
    struct store_op ops[] = {end_op(ATTEMPT_COMPLETE, REASON_NONE), move_op(trial, TRIAL_COMPLETE)};
    cr_assert_eq(store_apply(store, ops, 2, &result, &err), 0, "%s", err.message);
    cr_expect_str_eq(result.replaced_path, "/c/1-10");
    attempt = other;
    struct store_op fails[] = {end_op(ATTEMPT_FAILED, REASON_CRASHED), move_op(failing, TRIAL_FAILED)};
    fails[1].move_trial.reason = REASON_CRASHED;
    cr_assert_eq(store_apply(store, fails, 2, &result, &err), 0, "%s", err.message);
    cr_expect_null(result.replaced_path);
    expect_text("SELECT group_concat(path) FROM checkpoint", "/c/2-10");
}

Test(store_op, checkpoint_names_the_one_it_replaces)
{
    struct err err;
    struct store_result result;
    struct store_op op = {
        .kind = STORE_CHECKPOINT,
        .checkpoint = {.attempt_id = attempt, .step = 10, .path = "/c/1-10", .bytes = 5, .sha256 = "a"}};
    cr_assert_eq(store_apply(store, &op, 1, &result, &err), 0, "%s", err.message);
    cr_assert_null(result.replaced_path);
    cr_assert_eq(store_apply(store, &op, 1, &result, &err), 0, "%s", err.message);
    cr_assert_null(result.replaced_path, "the same file again is not to be deleted");
    op.checkpoint.step = 20;
    op.checkpoint.path = "/c/1-20";
    cr_assert_eq(store_apply(store, &op, 1, &result, &err), 0, "%s", err.message);
    cr_assert_str_eq(result.replaced_path, "/c/1-10");
    expect_text("SELECT path || ' ' || step FROM checkpoint", "/c/1-20 20");
    cr_assert_eq(rows_number(store, "SELECT steps FROM trial"), 20);
}

Test(store_op, a_checkpoint_is_inherited_once)
{
    const int64_t heir = rows_trial(store, sweep, configuration, 2, 200);
    struct store_op op = {
        .kind = STORE_CHECKPOINT,
        .checkpoint = {.attempt_id = attempt, .step = 10, .path = "/c/1-10", .bytes = 5, .sha256 = "a"}};
    struct store_op inherit = {.kind = STORE_INHERIT_CHECKPOINT, .inherit_checkpoint = {heir, trial, "/c/parent-10"}};
    ROWS_APPLY(store, op);
    ROWS_APPLY(store, inherit);
    expect_text("SELECT group_concat(path || ' ' || step || ' ' || sha256, ', ') FROM checkpoint ORDER BY trial_id",
                "/c/1-10 10 a, /c/parent-10 10 a");
    cr_assert_eq(rows_number(store, "SELECT steps FROM trial WHERE number = 2"), 10);
    op.checkpoint.step = 20;
    op.checkpoint.path = "/c/1-20";
    ROWS_APPLY(store, op);
    ROWS_APPLY(store, inherit);
    expect_text("SELECT group_concat(path, ', ') FROM checkpoint ORDER BY trial_id", "/c/1-20, /c/parent-10");
}

Test(store_op, evaluations_are_kept_once)
{
    struct err err;
    struct store_result result;
    unsigned char items[] = {1, 0, 2, 3};
    struct store_op op = {.kind = STORE_EVALUATION,
                          .evaluation = {.attempt_id = attempt,
                                         .split = "validation",
                                         .step = 10,
                                         .n_items = 1,
                                         .metrics = "{\"accuracy\":1}",
                                         .item_set_sha256 = "e",
                                         .items = items,
                                         .items_bytes = 4}};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(store_apply(store, &op, 1, &result, &err), 0, "%s", err.message);
        cr_assert_eq(result.nondeterministic, 0);
    }
    items[3] = 4;
    cr_assert_eq(store_apply(store, &op, 1, &result, &err), 0, "%s", err.message);
    cr_assert_eq(result.nondeterministic, 1);
    expect_text("SELECT message FROM event",
                "1 row was repeated with another value: evaluation of 'validation' at step 10");
    expect_text("SELECT hex(items) FROM evaluation", "01000203");
    op.evaluation.is_final = true;
    op.evaluation.items = NULL;
    ROWS_APPLY(store, op);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM evaluation"), 2);
}

Test(store_op, bias_check_gets_its_before_later)
{
    struct err err;
    struct store_result result;
    struct store_op op = {.kind = STORE_BIAS_CHECK,
                          .bias_check = {.attempt_id = attempt,
                                         .check_name = "0:counterfactual",
                                         .metric = "flip_rate",
                                         .n_items = 200,
                                         .after = 0.25,
                                         .items = "[[1,0.5]]"}};
    ROWS_APPLY(store, op);
    cr_assert(isnan(rows_number(store, "SELECT delta FROM bias_check")));
    op.bias_check.after = 0.5;
    cr_assert_eq(store_apply(store, &op, 1, &result, &err), 0, "%s", err.message);
    cr_assert_eq(result.nondeterministic, 1);
    op.bias_check = (struct store_bias_check){.trial_id = trial,
                                              .check_name = "0:counterfactual",
                                              .metric = "flip_rate",
                                              .n_items = 200,
                                              .after = 0.25,
                                              .before = known_real(0.125),
                                              .delta = known_real(0.125),
                                              .low = known_real(0.0625),
                                              .high = known_real(0.1875)};
    ROWS_APPLY(store, op);
    expect_text("SELECT before || ' ' || after || ' ' || delta || ' ' || low || ' ' || high || ' ' || items "
                "FROM bias_check",
                "0.125 0.25 0.125 0.0625 0.1875 [[1,0.5]]");
    op.bias_check.after = (double)NAN;
    rows_refuse(store, op, ERR_NUMERIC, "'flip_rate' after training is no finite number");
}

Test(store_op, artifact_row_follows_its_file)
{
    struct err err;
    struct store_result result;
    struct store_op op = {
        .kind = STORE_ARTIFACT,
        .artifact = {.attempt_id = attempt, .kind = "head", .path = "1/h", .bytes = 8, .sha256 = "a"}};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(store_apply(store, &op, 1, &result, &err), 0, "%s", err.message);
        cr_assert_eq(result.nondeterministic, 0);
    }
    op.artifact.sha256 = "b";
    cr_assert_eq(store_apply(store, &op, 1, &result, &err), 0, "%s", err.message);
    cr_assert_eq(result.nondeterministic, 1);
    expect_text("SELECT sha256 FROM artifact", "b");
}

Test(store_op, environments_are_shared)
{
    struct store_op op = {
        .kind = STORE_START_ATTEMPT,
        .start_attempt = {.attempt_id = attempt,
                          .environment = {"0.1", "abc", "0.3", "Zen", "cpu", "avx2", "fp32", "m", "t", "d", "s"},
                          .resumed_step = 4,
                          .total_steps = known_int(50),
                          .trained_parameters = known_int(1000),
                          .flops = known_real(1e12)}};
    ROWS_APPLY(store, op);
    ROWS_APPLY(store, op);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM environment"), 1);
    op.start_attempt.environment.cpu = "another";
    op.start_attempt.total_steps = (struct optional_int){0};
    ROWS_APPLY(store, op);
    expect_text("SELECT environment_id || ' ' || resumed_step || ' ' || bit_exact FROM attempt", "2 4 0");
    expect_text("SELECT total_steps || ' ' || trained_parameters || ' ' || flops FROM trial",
                "50 1000 1000000000000.0");
    op.start_attempt.environment.cpu = NULL;
    rows_refuse(store, op, ERR_INTERNAL, "NOT NULL constraint failed: environment.cpu");
}

Test(store_op, describing_rows)
{
    ROWS_APPLY(store,
               {.kind = STORE_SET_DEFINITION,
                .set_definition = {.sweep_id = sweep, .definition = "{\"a\":1}", .definition_sha256 = "d2"}},
               {.kind = STORE_PARAMETER_VALUE, .parameter_value = {.trial_id = trial, .name = "rank", .number = 16}},
               {.kind = STORE_PARAMETER_VALUE, .parameter_value = {.trial_id = trial, .name = "m", .text = "lora"}},
               {.kind = STORE_DECISION,
                .decision = {.sweep_id = sweep, .rule = "grid", .action = "propose", .reason = "first"}},
               {.kind = STORE_DECISION,
                .decision = {.sweep_id = sweep,
                             .trial_id = trial,
                             .rule = "median",
                             .step = known_int(0),
                             .action = "prune",
                             .reason = "below"}},
               {.kind = STORE_SET_SWEEP_STATE, .set_sweep_state = {.sweep_id = sweep, .state = SWEEP_STOPPED}});
    expect_text("SELECT definition || definition_sha256 || state || (finished_at IS NULL) FROM sweep",
                "{\"a\":1}d2STOPPED0");
    ROWS_APPLY(store, {.kind = STORE_SET_SWEEP_STATE, .set_sweep_state = {.sweep_id = sweep, .state = SWEEP_OPEN}});
    expect_text("SELECT state || (finished_at IS NULL) FROM sweep", "OPEN1");
    expect_text("SELECT group_concat(name || typeof(value), ' ') FROM parameter_value", "mtext rankreal");
    expect_text("SELECT group_concat(COALESCE(trial_id, '-') || COALESCE(step, '-') || action, ' ') FROM decision",
                "--propose 10prune");
    rows_refuse(store,
                (struct store_op){.kind = STORE_OBJECTIVE_VALUE,
                                  .objective_value = {.trial_id = trial, .value = (double)INFINITY}},
                ERR_NUMERIC, "objective 0 of trial 1 is no finite number");
}

Test(store_op, equal_trial_lends_its_results)
{
    struct err err;
    struct store_result result;
    const struct store_point points[] = {{"train/loss", 1, 0.5}, {"train/loss", 2, 0.25}};
    ROWS_APPLY(store, points_op(points, 2),
               {.kind = STORE_EVALUATION,
                .evaluation = {.attempt_id = attempt, .split = "test", .step = 2, .n_items = 1, .metrics = "{}"}},
               {.kind = STORE_BIAS_CHECK,
                .bias_check = {.attempt_id = attempt,
                               .check_name = "0:c",
                               .metric = "flip_rate",
                               .n_items = 1,
                               .before = known_real(0.5),
                               .after = 0.25,
                               .items = "[[0,0.1]]"}},
               {.kind = STORE_BIAS_CHECK, /* its items are gone */
                .bias_check = {.attempt_id = attempt,
                               .check_name = "1:c",
                               .metric = "flip_rate",
                               .n_items = 1,
                               .before = known_real(0.5),
                               .low = known_real(-1),
                               .after = 0.25}},
               {.kind = STORE_ARTIFACT,
                .artifact = {.attempt_id = attempt, .kind = "head", .path = "1/h", .bytes = 8, .sha256 = "a"}},
               {.kind = STORE_OBJECTIVE_VALUE, .objective_value = {.trial_id = trial, .value = 0.875}});
    int64_t other = rows_sweep(store, "other"), other_configuration = rows_configuration(store, other, 1);
    int64_t copy = rows_trial(store, other, other_configuration, 1, 100); /* the same identity, "id-1" */
    struct store_op op = {.kind = STORE_REUSE_TRIAL, .reuse = {.trial_id = copy}};
    cr_assert_eq(store_apply(store, &op, 1, &result, &err), 0, "%s", err.message);
    cr_assert_eq(result.reused_trial_id, 0, "the equal one still runs");
    struct store_op complete = move_op(trial, TRIAL_COMPLETE);
    complete.move_trial.value = known_real(0.875);
    ROWS_APPLY(store, end_op(ATTEMPT_COMPLETE, REASON_NONE), complete);
    cr_assert_eq(store_apply(store, &op, 1, &result, &err), 0, "%s", err.message);
    cr_assert_eq(result.reused_trial_id, trial);
    expect_text("SELECT state || value || steps FROM trial WHERE id = 2", "COMPLETE0.8752");
    expect_text(
        "SELECT (SELECT COUNT(*) FROM metric WHERE trial_id = 2) || (SELECT COUNT(*) FROM evaluation WHERE "
        "trial_id = 2) || (SELECT COUNT(*) FROM artifact WHERE trial_id = 2) || (SELECT value FROM "
        "objective_value WHERE trial_id = 2) || (SELECT group_concat(COALESCE(before, '-') || COALESCE(low, '-') "
        "|| after, ' ') FROM bias_check WHERE trial_id = 2)",
        "2110.875--0.25 0.5-1.00.25");
    expect_text("SELECT kind || ': ' || message FROM event WHERE trial_id = 2",
                "reused: results of trial 1 of sweep 's', which is equal");
    rows_refuse(store, op, ERR_INTERNAL, "trial 2 cannot go from COMPLETE to COMPLETE");
}

struct seen {
    int64_t trials[8], steps[8];
    double values[8];
    int n;
};

static int see_point(int64_t trial_id, int64_t step, struct optional_real value, void *context, struct err *err)
{
    struct seen *seen = context;
    if (seen->n == 3)
        return err_set(err, ERR_CANCELED, "enough");
    seen->trials[seen->n] = trial_id;
    seen->steps[seen->n] = step;
    seen->values[seen->n++] = value.is_known ? value.value : -1;
    return 0;
}

Test(store_op, points_are_streamed_by_trial_and_step)
{
    struct err err;
    struct seen seen = {0};
    const struct store_point points[] = {{"a", 2, 0.25}, {"b", 1, 9}, {"a", 1, (double)NAN}};
    ROWS_APPLY(store, points_op(points, 3));
    int64_t second = rows_trial(store, sweep, configuration, 2, 101), first_attempt = attempt;
    attempt = rows_attempt(store, second);
    ROWS_APPLY(store, points_op(points, 1));
    cr_assert_eq(store_read_points(store, sweep, "a", see_point, &seen, &err), 0, "%s", err.message);
    cr_assert_eq(seen.n, 3);
    cr_assert(seen.steps[0] == 1 && seen.values[0] == -1 && seen.trials[0] == trial);
    cr_assert(seen.steps[1] == 2 && seen.values[1] == 0.25 && seen.trials[1] == trial);
    cr_assert(seen.steps[2] == 2 && seen.trials[2] == second);
    cr_assert_eq(store_read_points(store, sweep, "a", see_point, &seen, &err), ERR_CANCELED);
    cr_assert_eq(store_read_points(store, sweep, "none", see_point, &seen, &err), 0);
    attempt = first_attempt;
    ROWS_APPLY(store, points_op(points, 3)); /* writing goes on after a reading that was cut short */
}

static int see_check(const struct store_bias_check *check, void *context, struct err *err)
{
    (void)err;
    cr_assert_str_eq(check->metric, "flip_rate");
    *(double *)context += check->after;
    return 0;
}

static int see_decision(const struct store_decision *decision, void *context, struct err *err)
{
    (void)err;
    cr_assert_str_eq(decision->action, "propose");
    (*(int *)context)++;
    return 0;
}

Test(store_op, checks_and_decisions_are_streamed)
{
    struct err err;
    double all = 0, baselines = 0;
    int decisions = 0;
    int64_t baseline = store_new_id(store, STORE_CONFIGURATION);
    ROWS_APPLY(
        store,
        {.kind = STORE_ADD_CONFIGURATION,
         .configuration = {.id = baseline,
                           .sweep_id = sweep,
                           .number = 2,
                           .is_baseline = true,
                           .parameters = "{}",
                           .settings = "{}"}},
        {.kind = STORE_DECISION, .decision = {.sweep_id = sweep, .rule = "grid", .action = "propose", .reason = "r"}});
    int64_t other = rows_trial(store, sweep, baseline, 2, 100);
    ROWS_APPLY(store,
               {.kind = STORE_BIAS_CHECK,
                .bias_check = {.trial_id = trial, .check_name = "0:c", .metric = "flip_rate", .after = 1}},
               {.kind = STORE_BIAS_CHECK,
                .bias_check = {.trial_id = other, .check_name = "0:c", .metric = "flip_rate", .after = 2}});
    cr_assert_eq(store_read_bias_checks(store, sweep, false, see_check, &all, &err), 0, "%s", err.message);
    cr_assert_eq(all, 3);
    cr_assert_eq(store_read_bias_checks(store, sweep, true, see_check, &baselines, &err), 0, "%s", err.message);
    cr_assert_eq(baselines, 2);
    cr_assert_eq(store_read_decisions(store, sweep, see_decision, &decisions, &err), 0, "%s", err.message);
    cr_assert_eq(decisions, 1);
}

/* Seeds 0.80, 0.84, 0.88: mean 0.84, s = 0.04, and t(0.975; 2) = 4.3027 gives ± 4.3027 · 0.04 / √3 = ± 0.09937. */
Test(store_op, leaderboard_by_hand)
{
    static const double values[3] = {0.80, 0.84, 0.88};
    int64_t other = rows_sweep(store, "views");
    int64_t good = rows_configuration(store, other, 1), best = rows_configuration(store, other, 2);
    int64_t failed = rows_configuration(store, other, 3), baseline = store_new_id(store, STORE_CONFIGURATION);
    for (int i = 0; i < 3; i++)
        rows_complete(store, rows_trial(store, other, good, i + 1, i), values[i]);
    rows_complete(store, rows_trial(store, other, best, 4, 0), 0.9);
    int64_t bad = rows_trial(store, other, failed, 5, 0);
    ROWS_APPLY(store,
               {.kind = STORE_MOVE_TRIAL,
                .move_trial = {.trial_id = bad, .to = TRIAL_FAILED, .reason = REASON_INFEASIBLE, .message = "too big"}},
               {.kind = STORE_ADD_CONFIGURATION,
                .configuration = {.id = baseline,
                                  .sweep_id = other,
                                  .number = 4,
                                  .is_baseline = true,
                                  .parameters = "{}",
                                  .settings = "{}"}});
    rows_complete(store, rows_trial(store, other, baseline, 6, 0), 0.99);

    expect_text("SELECT group_concat(rank || ':' || configuration || ':' || seeds, ' ') FROM leaderboard "
                "WHERE sweep = 'views'",
                "1:2:1 2:1:3");
    expect_text("SELECT method || ' ' || parameters || ' ' || metric FROM leaderboard WHERE rank = 1",
                "lora {\"rank\":2} validation/accuracy");
    cr_assert(isnan(rows_number(store, "SELECT low FROM leaderboard WHERE rank = 1")), "one seed has no interval");
    /* Sums of three squares: a few units in the last place of 0.84. */
    cr_assert_float_eq(rows_number(store, "SELECT mean FROM leaderboard WHERE rank = 2"), 0.84, 1e-12);
    cr_assert_float_eq(rows_number(store, "SELECT low FROM leaderboard WHERE rank = 2"), 0.84 - 0.0993655, 1e-6);
    cr_assert_float_eq(rows_number(store, "SELECT high FROM leaderboard WHERE rank = 2"), 0.84 + 0.0993655, 1e-6);
}

Test(store_op, curve_and_trial_summary_by_hand)
{
    const struct store_point points[] = {{"train/loss", 1, 0.5}, {"validation/accuracy", 1, 0.625}};
    ROWS_APPLY(store, points_op(points, 2), end_op(ATTEMPT_STOPPED, REASON_NONE), move_op(trial, TRIAL_WAITING),
               {.kind = STORE_EXIT_ATTEMPT,
                .exit_attempt = {.attempt_id = attempt, .seconds = known_real(2), .peak_bytes = known_int(300)}});
    attempt = rows_attempt(store, trial);
    ROWS_APPLY(store,
               {.kind = STORE_END_ATTEMPT,
                .end_attempt = {.attempt_id = attempt,
                                .state = ATTEMPT_FAILED,
                                .reason = REASON_DIVERGED,
                                .seconds = known_real(0.5),
                                .peak_bytes = known_int(200)}},
               {.kind = STORE_MOVE_TRIAL,
                .move_trial = {.trial_id = trial, .to = TRIAL_FAILED, .reason = REASON_DIVERGED, .message = "NaN"}});
    expect_text("SELECT group_concat(sweep || ' ' || trial || ' ' || metric || ' ' || step || ' ' || value, ', ') "
                "FROM (SELECT * FROM curve ORDER BY metric)",
                "s 1 train/loss 1 0.5, s 1 validation/accuracy 1 0.625");
    expect_text("SELECT group_concat(metric) FROM validation_curve", "validation/accuracy");
    expect_text(
        "SELECT sweep || ' ' || trial || ' ' || configuration || ' ' || role || ' ' || method || ' ' || seed || "
        "' ' || state || ' ' || reason || ' ' || steps || ' ' || attempts || ' ' || seconds || ' ' || "
        "peak_bytes || ' ' || message FROM trial_summary",
        "s 1 1 search lora 100 FAILED diverged 1 2 2.5 300 NaN");
}
