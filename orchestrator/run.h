/* `run`: works through sweeps until they are done, a deadline comes, or it is asked to stop.
 *
 * Everything it knows lies in the store: killed at any moment and started again, it goes on where it was. */
#ifndef ORCHESTRATOR_RUN_H
#define ORCHESTRATOR_RUN_H

#include "orchestrator/progress.h"

struct run_options {
    const char *store;        /* path; its folder is made */
    const char *const *files; /* definitions, worked through in order */
    int n_files;
    const char *new_name;      /* another sweep's name for the (only) definition; NULL: its own */
    const char *launcher;      /* command prefix that starts the worker ("srun -n1"); NULL: started directly */
    int workers;               /* how many are started; 0: one */
    int slots;                 /* of each worker; 0: as the definition says */
    double deadline_seconds;   /* from now; running trials checkpoint then; 0: as the definition's budget says */
    double checkpoint_seconds; /* between checkpoints of a trial; negative: the default, 30 */
    struct progress *progress; /* where it says what happens; borrowed */
};

struct run_outcome {
    int64_t n_failed; /* trials FAILED */
    int64_t n_open;   /* trials still to be trained: stopped or out of time */
    bool was_interrupted;
    bool was_canceled; /* a sweep, by a person */
};

/* Runs the sweeps. 0 when every trial is final or the run was stopped in good order (`outcome` says which). A finished
 * sweep is left at once. ERR_USAGE for a definition that is wrong or does not extend the sweep of its name, ERR_BUSY
 * when another coordinator has the store, ERR_STORE when the storage fails. */
int run_sweeps(const struct run_options *options, struct run_outcome *outcome, struct err *err) MUST_CHECK;

#endif
