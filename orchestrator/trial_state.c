/* States of sweeps, trials and attempts: see trial_state.h. */
#include "orchestrator/trial_state.h"

#include <assert.h>
#include <stddef.h>

#include "common/text.h"

static const char *const sweep_states[] = {"OPEN", "COMPLETE", "STOPPED", NULL};
static const char *const trial_states[] = {"WAITING", "RUNNING", "PAUSED", "COMPLETE", "PRUNED", "FAILED", NULL};
static const char *const attempt_states[] = {"RUNNING", "COMPLETE", "INTERRUPTED", "STOPPED", "FAILED", NULL};
/* One behind the enum, which starts with REASON_NONE. */
static const char *const trial_reasons[] = {"diverged", "out_of_memory", "timeout", "crashed",
                                            "bad_data", "infeasible",    NULL};

#define BIT(state) (1u << (state))

/* What may follow each state. A failed trial waits again when a person asks for it (`retry`). A waiting trial completes
 * without running when its results are taken from an equal one, fails when it is infeasible or its retries are used up,
 * and is pruned when a rule decides while it waits to go on. A running one waits again when its attempt was interrupted
 * or is retried. */
static const unsigned followers[TRIAL_STATE_COUNT] = {
    [TRIAL_WAITING] = BIT(TRIAL_RUNNING) | BIT(TRIAL_COMPLETE) | BIT(TRIAL_PRUNED) | BIT(TRIAL_FAILED),
    [TRIAL_RUNNING] =
        BIT(TRIAL_WAITING) | BIT(TRIAL_PAUSED) | BIT(TRIAL_COMPLETE) | BIT(TRIAL_PRUNED) | BIT(TRIAL_FAILED),
    [TRIAL_PAUSED] =
        BIT(TRIAL_WAITING) | BIT(TRIAL_RUNNING) | BIT(TRIAL_COMPLETE) | BIT(TRIAL_PRUNED) | BIT(TRIAL_FAILED),
    [TRIAL_COMPLETE] = 0,
    [TRIAL_PRUNED] = 0,
    [TRIAL_FAILED] = BIT(TRIAL_WAITING),
};

const char *sweep_state_name(enum sweep_state state)
{
    assert((unsigned)state < SWEEP_STATE_COUNT);
    return sweep_states[state];
}

const char *trial_state_name(enum trial_state state)
{
    assert((unsigned)state < TRIAL_STATE_COUNT);
    return trial_states[state];
}

const char *attempt_state_name(enum attempt_state state)
{
    assert((unsigned)state < ATTEMPT_STATE_COUNT);
    return attempt_states[state];
}

const char *trial_reason_name(enum trial_reason reason)
{
    assert((unsigned)reason < TRIAL_REASON_COUNT);
    return reason == REASON_NONE ? NULL : trial_reasons[reason - 1];
}

static int parse(const char *name, const char *const *names, const char *what, int *index, struct err *err)
{
    for (int i = 0; names[i] != NULL; i++) {
        if (text_equal(name, names[i])) {
            *index = i;
            return 0;
        }
    }
    const char *nearest = text_nearest(name, names);
    if (nearest == NULL)
        return err_set(err, ERR_FORMAT, "'%s' is no %s", name, what);
    return err_set(err, ERR_FORMAT, "'%s' is no %s, nearest is '%s'", name, what, nearest);
}

int sweep_state_parse(const char *name, enum sweep_state *state, struct err *err)
{
    int index = 0, rc = parse(name, sweep_states, "state of a sweep", &index, err);
    if (rc == 0)
        *state = (enum sweep_state)index;
    return rc;
}

int trial_state_parse(const char *name, enum trial_state *state, struct err *err)
{
    int index = 0, rc = parse(name, trial_states, "state of a trial", &index, err);
    if (rc == 0)
        *state = (enum trial_state)index;
    return rc;
}

int attempt_state_parse(const char *name, enum attempt_state *state, struct err *err)
{
    int index = 0, rc = parse(name, attempt_states, "state of an attempt", &index, err);
    if (rc == 0)
        *state = (enum attempt_state)index;
    return rc;
}

int trial_reason_parse(const char *name, enum trial_reason *reason, struct err *err)
{
    int index = 0, rc = parse(name, trial_reasons, "reason of a failure", &index, err);
    if (rc == 0)
        *reason = (enum trial_reason)(index + 1);
    return rc;
}

bool trial_state_may_follow(enum trial_state from, enum trial_state to)
{
    assert((unsigned)from < TRIAL_STATE_COUNT && (unsigned)to < TRIAL_STATE_COUNT);
    return (followers[from] & BIT(to)) != 0;
}

bool trial_state_is_final(enum trial_state state)
{
    assert((unsigned)state < TRIAL_STATE_COUNT);
    return state == TRIAL_COMPLETE || state == TRIAL_PRUNED || state == TRIAL_FAILED;
}

bool trial_reason_is_deterministic(enum trial_reason reason)
{
    return reason == REASON_DIVERGED || reason == REASON_BAD_DATA || reason == REASON_INFEASIBLE;
}
