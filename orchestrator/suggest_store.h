/* How a session of `suggest` lies in the store: sweep, configurations, trials and objective values as everybody reads
 * them, and the requests themselves, in order, as events of kind 'suggest', from which the session is replayed. */
#ifndef ORCHESTRATOR_SUGGEST_STORE_H
#define ORCHESTRATOR_SUGGEST_STORE_H

#include "orchestrator/stop.h"
#include "orchestrator/study.h"

struct suggest_store;

/* Opens or creates the store and the sweep of the definition's name (borrowed). */
int suggest_store_open(struct suggest_store **store, const struct definition *definition, const char *path,
                       struct err *err) MUST_CHECK;
void suggest_store_close(struct suggest_store *store); /* NULL is fine */
/* Calls on_record for each request kept so far, in order. */
int suggest_store_replay(struct suggest_store *store,
                         int (*on_record)(const cJSON *record, void *context, struct err *err), void *context,
                         struct err *err) MUST_CHECK;
/* Tells the study what earlier sweeps of the store found (warm_start.h), and keeps that. */
int suggest_store_warm_up(struct suggest_store *store, struct study *study, int *n_taken, int *n_left,
                          struct err *err) MUST_CHECK;
/* Commits a new trial. */
int suggest_store_ask(struct suggest_store *store, const struct study_proposal *proposal, struct err *err) MUST_CHECK;
/* Commits what was reported, and the state the trial is in now. `step` 0: not an intermediate report. */
int suggest_store_tell(struct suggest_store *store, const cJSON *request, int64_t trial, int64_t step,
                       enum trial_state state, const char *reason, struct err *err) MUST_CHECK;

#endif
