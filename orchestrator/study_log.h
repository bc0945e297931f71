/* What happened to a study, as records: one JSON object for each call that changed it, in order. Replayed they give the
 * same study again, whatever is asked next.
 *
 *     {"op":"ask","trial":3,"configuration":2,"seed":0,"position":5,"parameters":{…}}   a trial was proposed
 *     {"op":"observe","sweep":"a","parameters":{…},"metrics":{…}}                        of an earlier sweep
 *     {"op":"resume","trial":3}                                                          a paused one goes on
 *     {"op":"tell","trial":3,"step":9,"metrics":{…}}                                     an intermediate report
 *     {"op":"tell","trial":3,"metrics":{…}}   {"op":"fail","trial":3}                    the end
 *     {"op":"cancel","trial":3}                                                          a person ended it
 *     {"op":"length","trial":3,"steps":243}                                              it ends by itself there */
#ifndef ORCHESTRATOR_STUDY_LOG_H
#define ORCHESTRATOR_STUDY_LOG_H

#include "orchestrator/study.h"

void study_log_ask(struct text *record, const struct study_proposal *proposal);              /* ask or resume */
void study_log_tell(struct text *record, int64_t trial, int64_t step, const cJSON *metrics); /* step 0: the end */
void study_log_observe(struct text *record, const char *sweep, const cJSON *parameters, const cJSON *metrics);
void study_log_fail(struct text *record, int64_t trial);
void study_log_length(struct text *record, int64_t trial, int64_t steps);
/* Calls what a record says. ERR_FORMAT, or what the call refuses. */
int study_log_replay(struct study *study, const cJSON *record, struct err *err) MUST_CHECK;

#endif
