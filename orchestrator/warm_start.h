/* Warm start: the finished trials of earlier sweeps in the store, told to a study before its first proposal. */
#ifndef ORCHESTRATOR_WARM_START_H
#define ORCHESTRATOR_WARM_START_H

#include "orchestrator/store.h"
#include "orchestrator/study.h"

enum { WARM_START_MAX = 300 }; /* trials a sweep, the newest */

/* Reads the sweeps that definition.warm_start names and tells `study` their COMPLETE trials. Each call becomes a record
 * (study_log.h), so that a sweep goes on as it began whatever happens to the earlier ones: on_record gets its text.
 * *n_taken and *n_left: how many belong to the space, and how many do not. ERR_NOT_FOUND for a sweep that is not in the
 * store, with the nearest that is. */
int warm_start_load(struct store *store, const struct definition *definition, struct study *study,
                    int (*on_record)(const char *record, void *context, struct err *err), void *context, int *n_taken,
                    int *n_left, struct err *err) MUST_CHECK;

/* What a final trial of the store reported: {"validation/accuracy": …, "bias/flip_rate": …, "seconds": …,
 * "parameters": …} by SQL over trial ?1; a NULL where it has no objective. */
extern const char warm_start_metrics_sql[];

#endif
