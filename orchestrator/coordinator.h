/* The coordinator of one sweep: hands waiting trials to the worker's slots and writes what comes back into the store.
 *
 *   WAITING ──reuse or begin_attempt committed──▶ start sent ──records──▶ finished | failed | stopped ──▶ `ended`: slot
 * free
 *
 * Nothing is sent before it is on disk, and nothing is remembered that the store does not have: killed at any moment,
 * the next coordinator loads the sweep and goes on. */
#ifndef ORCHESTRATOR_COORDINATOR_H
#define ORCHESTRATOR_COORDINATOR_H

#include "orchestrator/job.h"
#include "orchestrator/run.h"
#include "orchestrator/store_thread.h"
#include "orchestrator/study.h"

/* What a sweep has used of its budgets of time. */
struct budget_used {
    double seconds, cpu_seconds;
};

/* What a person asked for while it ran, for the sweeps that follow. */
struct run_adjustment {
    int slots; /* 0: as it was */
    bool has_deadline;
    uint64_t deadline_ns; /* of loop_now_ns; 0: none */
};

struct coordinator_options {
    struct store *store; /* open for writing; borrowed, used through a store thread while the coordinator runs */
    const struct definition *definition;
    const struct input_hashes *hashes;
    const struct store_loaded *loaded; /* every trial of the sweep … */
    const bool *is_wanted;             /* … and which of them (by index) the definition asks for */
    struct study *study;               /* proposes trials as it goes; NULL: all of them are loaded */
    const int64_t *told_steps;         /* by the study's trial − 1: the newest step it was told */
    const char *launcher;              /* or NULL */
    int workers;                       /* how many are started, at least 1 */
    int slots;                         /* of each */
    double deadline_seconds;           /* from now; 0: none */
    struct budget_used used;           /* by the runs before */
    double checkpoint_seconds;
    struct progress *progress;
    struct run_adjustment *adjustment; /* filled in; NULL: not wanted */
};

/* Runs until every wanted trial is final, the deadline, or SIGINT, SIGTERM or SIGHUP (running trials checkpoint; a
 * second signal ends them at once). The outcome counts the wanted trials. ERR_STORE when the storage fails for good,
 * ERR_IO when the worker cannot be kept running. */
int coordinator_run(const struct coordinator_options *options, struct run_outcome *outcome, struct err *err) MUST_CHECK;

#endif
