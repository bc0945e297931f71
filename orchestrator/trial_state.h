/* States of sweeps, trials and attempts: their names in the store, and which may follow which.
 *
 * The names are the texts in the store (schemas/store.sql) and on the page. Which state of a trial may follow which is
 * decided here and nowhere else. */
#ifndef ORCHESTRATOR_TRIAL_STATE_H
#define ORCHESTRATOR_TRIAL_STATE_H

#include <stdbool.h>

#include "common/err.h"

enum sweep_state { SWEEP_OPEN, SWEEP_COMPLETE, SWEEP_STOPPED };

enum trial_state { TRIAL_WAITING, TRIAL_RUNNING, TRIAL_PAUSED, TRIAL_COMPLETE, TRIAL_PRUNED, TRIAL_FAILED };

/* An interrupted attempt was lost with its coordinator, worker or node and is no fault of the trial; a stopped one was
 * asked to end (deadline, stopping rule, Ctrl-C); only a failed one counts as a retry. */
enum attempt_state { ATTEMPT_RUNNING, ATTEMPT_COMPLETE, ATTEMPT_INTERRUPTED, ATTEMPT_STOPPED, ATTEMPT_FAILED };

/* What took an attempt away that is INTERRUPTED or STOPPED: its reason in the store, and a counter of its own in
 * `nightsweep status`. None of them is a fault of the trial. */
#define ATTEMPT_PREEMPTED        "preempted"        /* a signal from elsewhere: a batch system wants the machine */
#define ATTEMPT_WORKER_LOST      "worker_lost"      /* worker or node gone, or silent */
#define ATTEMPT_COORDINATOR_LOST "coordinator_lost" /* found RUNNING by the next run */
#define ATTEMPT_TIME_LIMIT       "time_limit"       /* of the batch system, the run or its budget */
#define ATTEMPT_ASKED            "asked"            /* Ctrl-C, a command */

enum trial_reason {
    REASON_NONE,
    REASON_DIVERGED,
    REASON_OUT_OF_MEMORY,
    REASON_TIMEOUT,
    REASON_CRASHED,
    REASON_BAD_DATA,
    REASON_INFEASIBLE
};

enum { TRIAL_STATE_COUNT = 6, ATTEMPT_STATE_COUNT = 5, SWEEP_STATE_COUNT = 3, TRIAL_REASON_COUNT = 7 };

/* "WAITING", "diverged", …; NULL for REASON_NONE. */
const char *sweep_state_name(enum sweep_state state);
const char *trial_state_name(enum trial_state state);
const char *attempt_state_name(enum attempt_state state);
const char *trial_reason_name(enum trial_reason reason);

/* The inverse. ERR_FORMAT for another text: "'WAIT' is no state of a trial, nearest is 'WAITING'". */
int sweep_state_parse(const char *name, enum sweep_state *state, struct err *err) MUST_CHECK;
int trial_state_parse(const char *name, enum trial_state *state, struct err *err) MUST_CHECK;
int attempt_state_parse(const char *name, enum attempt_state *state, struct err *err) MUST_CHECK;
int trial_reason_parse(const char *name, enum trial_reason *reason, struct err *err) MUST_CHECK;

/* Whether a trial in state `from` may go to state `to`. No state follows itself. */
bool trial_state_may_follow(enum trial_state from, enum trial_state to);
/* COMPLETE, PRUNED and FAILED: nothing follows by itself. */
bool trial_state_is_final(enum trial_state state);
/* Another attempt would end the same way: diverged, bad_data, infeasible. */
bool trial_reason_is_deterministic(enum trial_reason reason);

#endif
