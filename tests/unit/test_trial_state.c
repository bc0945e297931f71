/* Tests of orchestrator/trial_state: names both ways, and the whole table of transitions. */
#include "orchestrator/trial_state.h"

#include <criterion/criterion.h>
#include <string.h>

Test(trial_state, names_read_back)
{
    struct err err;
    for (int i = 0; i < TRIAL_STATE_COUNT; i++) {
        enum trial_state state = TRIAL_WAITING;
        cr_assert_eq(trial_state_parse(trial_state_name((enum trial_state)i), &state, &err), 0);
        cr_assert_eq(state, (enum trial_state)i);
    }
    for (int i = 0; i < ATTEMPT_STATE_COUNT; i++) {
        enum attempt_state state = ATTEMPT_RUNNING;
        cr_assert_eq(attempt_state_parse(attempt_state_name((enum attempt_state)i), &state, &err), 0);
        cr_assert_eq(state, (enum attempt_state)i);
    }
    for (int i = 0; i < SWEEP_STATE_COUNT; i++) {
        enum sweep_state state = SWEEP_OPEN;
        cr_assert_eq(sweep_state_parse(sweep_state_name((enum sweep_state)i), &state, &err), 0);
        cr_assert_eq(state, (enum sweep_state)i);
    }
    cr_assert_null(trial_reason_name(REASON_NONE));
    for (int i = REASON_DIVERGED; i < TRIAL_REASON_COUNT; i++) {
        enum trial_reason reason = REASON_NONE;
        cr_assert_eq(trial_reason_parse(trial_reason_name((enum trial_reason)i), &reason, &err), 0);
        cr_assert_eq(reason, (enum trial_reason)i);
    }
}

Test(trial_state, unknown_name_is_refused_with_the_nearest)
{
    struct err err;
    enum trial_state state = TRIAL_PAUSED;
    enum trial_reason reason = REASON_TIMEOUT;
    cr_assert_eq(trial_state_parse("WAITNG", &state, &err), ERR_FORMAT);
    cr_assert_not_null(strstr(err.message, "'WAITNG' is no state of a trial, nearest is 'WAITING'"), "%s", err.message);
    cr_assert_eq(state, TRIAL_PAUSED);
    cr_assert_eq(trial_reason_parse("zzzzzz", &reason, &err), ERR_FORMAT);
    cr_assert_not_null(strstr(err.message, "'zzzzzz' is no reason of a failure"), "%s", err.message);
    cr_assert_eq(reason, REASON_TIMEOUT);
}

/* The table as a picture: a column for each state that may follow, W R P C p F. */
Test(trial_state, transitions)
{
    static const char *const allowed[TRIAL_STATE_COUNT] = {
        [TRIAL_WAITING] = ".R.CpF",  [TRIAL_RUNNING] = "W.PCpF", [TRIAL_PAUSED] = "WR.CpF",
        [TRIAL_COMPLETE] = "......", [TRIAL_PRUNED] = "......",  [TRIAL_FAILED] = "W.....",
    };
    for (int from = 0; from < TRIAL_STATE_COUNT; from++) {
        for (int to = 0; to < TRIAL_STATE_COUNT; to++)
            cr_assert_eq(trial_state_may_follow((enum trial_state)from, (enum trial_state)to), allowed[from][to] != '.',
                         "%s to %s", trial_state_name((enum trial_state)from), trial_state_name((enum trial_state)to));
        cr_assert_eq(trial_state_is_final((enum trial_state)from), from >= TRIAL_COMPLETE);
    }
}

Test(trial_state, only_what_would_fail_again_is_deterministic)
{
    cr_assert(trial_reason_is_deterministic(REASON_DIVERGED));
    cr_assert(trial_reason_is_deterministic(REASON_BAD_DATA));
    cr_assert(trial_reason_is_deterministic(REASON_INFEASIBLE));
    cr_assert_not(trial_reason_is_deterministic(REASON_CRASHED));
    cr_assert_not(trial_reason_is_deterministic(REASON_TIMEOUT));
    cr_assert_not(trial_reason_is_deterministic(REASON_OUT_OF_MEMORY));
}
