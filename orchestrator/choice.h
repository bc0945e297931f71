/* Which sweep or trial an argument means: "ranks", "ranks/12", or "12" where the store has one sweep only. */
#ifndef ORCHESTRATOR_CHOICE_H
#define ORCHESTRATOR_CHOICE_H

#include "orchestrator/command.h"
#include "orchestrator/store.h"

/* The first argument as "12" or "ranks/12"; *sweep is NULL in the first case (unless --sweep says it) and owned by the
 * caller otherwise. The command must have the option --sweep. ERR_USAGE. */
int choice_read_trial(const struct command_line *line, char **sweep, int64_t *number, struct err *err) MUST_CHECK;
/* Without a name the store's only sweep is meant; owned by the caller. ERR_USAGE with the names when there are several,
 * ERR_NOT_FOUND when there is none. */
int choice_only_sweep(struct store *store, const char *command, char **sweep, struct err *err) MUST_CHECK;
/* Id of a trial by number. ERR_NOT_FOUND, which says what numbers there are. */
int choice_find_trial(struct store *store, const char *sweep, int64_t number, int64_t *id, struct err *err) MUST_CHECK;
/* ERR_NOT_FOUND with the nearest name. */
int choice_check_sweep(struct store *store, const char *name, struct err *err) MUST_CHECK;

/* Adds the answer of a command about one trial to `out`, by the trial's id. */
typedef int (*choice_trial_fn)(struct text *out, const struct command_line *line, struct store *store, int64_t id,
                               struct err *err);
/* Runs a command about one trial: finds it by the first argument and prints what `answer` adds. */
int choice_run_trial(const struct command_line *line, const char *command, choice_trial_fn answer,
                     struct err *err) MUST_CHECK;

struct choice {
    char *sweep;   /* owned by the caller: free */
    int64_t trial; /* number; 0: the whole sweep */
};
/* A sweep by name, else a trial. ERR_NOT_FOUND for one that is not there. */
int choice_read_target(const struct command_line *line, struct store *store, const char *argument, struct choice *out,
                       struct err *err) MUST_CHECK;

#endif
