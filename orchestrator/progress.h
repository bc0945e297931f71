/* What `run` shows while it works: on a terminal a line a slot and a total line, redrawn in place; otherwise plain
 * timestamped lines, few; with --json one object a line; with --quiet nothing but what went wrong. */
#ifndef ORCHESTRATOR_PROGRESS_H
#define ORCHESTRATOR_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/store.h"

struct progress;

enum progress_style { PROGRESS_AUTO, PROGRESS_PLAIN, PROGRESS_QUIET, PROGRESS_JSON };

/* AUTO draws when standard error is a terminal that can (TERM is not dumb), and is PLAIN otherwise. Everything goes to
 * standard error except PROGRESS_JSON, which writes to standard output. NO_COLOR is honoured. NULL without memory. */
struct progress *progress_new(enum progress_style style);
/* Erases what is drawn and frees; NULL is fine. */
void progress_free(struct progress *progress);

struct progress_slot {
    int64_t trial;             /* number; 0: the slot is free */
    const char *method;        /* "lora" */
    const char *parameters;    /* short text of the searched values: "rank 8, learning_rate 0.001" */
    int64_t step, total_steps; /* 0: not known yet */
    double loss;               /* NaN: not known yet */
    double tokens_per_second;
};

/* Where a sweep stands; borrowed for the call. */
struct progress_state {
    const char *sweep;
    int64_t n_trials, n_complete, n_pruned, n_failed, n_running;
    double steps_per_second; /* over all slots */
    double seconds_left;     /* NaN: not known yet */
    struct optional_real best;
    const char *metric; /* of best */
    const struct progress_slot *slots;
    int n_slots;
    bool is_paused; /* by a person: nothing runs until it is resumed */
};

/* Called at every change and at least once a second; draws at most ten times a second, prints a plain line at most
 * every ten seconds. */
void progress_update(struct progress *progress, const struct progress_state *state);
/* A line that stays: a trial finished or failed, the deadline came. `kind` is a stable word for --json
 * ("trial_failed").
 */
void progress_say(struct progress *progress, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
