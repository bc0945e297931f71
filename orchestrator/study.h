/* A study: what a sweep's search and stopping rule know, in memory.
 *
 * Whoever trains asks for a configuration, tells what the trial reported, and is told whether it goes on. No file, no
 * process, no clock: the same definition and the same order of calls give the same answers, so a study is restored by
 * replaying its calls (study_restore instead of study_ask, which computes no proposal).
 *
 * With strict order (definition.is_strict) what is told is taken in an order of its own, so that the answers depend on
 * the seed and the results alone, not on which trial was faster or how many run at a time (study_order.c). */
#ifndef ORCHESTRATOR_STUDY_H
#define ORCHESTRATOR_STUDY_H

#include "orchestrator/definition.h"
#include "orchestrator/trial_state.h"

struct study;

/* Keeps `definition` (borrowed; it must outlive the study). With can_pause stopping rules may pause trials and resume
 * them later, which needs checkpoints; without, they end them. *study is owned by the caller. ERR_USAGE when fixed
 * first configurations are wrong. */
int study_new(struct study **study, const struct definition *definition, bool can_pause, struct err *err) MUST_CHECK;
void study_free(struct study *study); /* NULL is fine */

/* The algorithm at work and why: "gp: one objective, 50 trials, …". Borrowed. */
const char *study_explain(struct study *study);

enum study_answer {
    STUDY_TRIAL,  /* a new trial */
    STUDY_RESUME, /* a paused trial goes on */
    STUDY_WAIT,   /* nothing now: what running trials tell decides */
    STUDY_DONE    /* budget or space are used up */
};

struct study_proposal {
    enum study_answer answer;
    int64_t trial; /* from 1, in the order of proposal */
    int64_t configuration;
    int seed_index;          /* which repeat of the configuration, from 0 */
    const cJSON *parameters; /* those that apply; borrowed */
    int64_t position;        /* of the search's own counting: what study_restore wants back */
    const char *reason;      /* in words; borrowed until the next call */
    int64_t parent;          /* trial whose checkpoint of parent_step it goes on from; 0: none … */
    int64_t parent_step;
    int64_t replaced; /* … and the trial in whose place, which is PRUNED by that */
    int64_t step;     /* the newest that was decided about; with strict order it may have reported more since */
};
int study_ask(struct study *study, struct study_proposal *proposal, struct err *err) MUST_CHECK;
/* Puts a trial back that an earlier study proposed: same trial, parameters, seed_index and position. ERR_USAGE when
 * that is not the next trial, or its parameters do not belong to the space. */
int study_restore(struct study *study, const struct study_proposal *proposal, struct err *err) MUST_CHECK;

/* A finished trial of an earlier sweep: what it found counts as a prior, and the best of them are proposed first.
 * `values` may hold more than the space's parameters; *is_taken is false where they do not lie in the space or an
 * objective is missing. Before the first study_ask. */
int study_observe(struct study *study, const char *sweep, const cJSON *values, const cJSON *metrics, bool *is_taken,
                  struct err *err) MUST_CHECK;

struct study_decision {
    bool goes_on;
    bool is_paused;     /* does not go on now, but may be resumed */
    const char *reason; /* in words; borrowed until the next call; "" where the rule had nothing to decide */
};
/* An intermediate report at `step` (rising within a trial; a repeated step must be equal). ERR_NOT_FOUND for an unknown
 * trial, ERR_USAGE when a metric is missing (the nearest is named) or the trial is final. */
int study_tell_step(struct study *study, int64_t trial, int64_t step, const cJSON *metrics,
                    struct study_decision *decision, struct err *err) MUST_CHECK;
/* With strict order a decision may come with a later call, of another trial too: the next that has come, or false. The
 * texts are valid until the next call. */
struct study_later {
    int64_t trial, step;
    struct study_decision decision;
};
bool study_next_decision(struct study *study, struct study_later *later);
/* With strict order what a trial reports while it is paused counts once it is promoted. */
bool study_takes_overrun(const struct study *study);
/* With strict order a paused trial may be promoted before anybody asks: whether study_ask will answer STUDY_RESUME. */
bool study_is_promoted(const struct study *study, int64_t trial);
/* With strict order, whether the rule has still to decide about what a trial reported: it should not go on until then.
 */
bool study_is_undecided(const struct study *study, int64_t trial);
/* The final report: the trial is COMPLETE; a trial that was ended keeps its state PRUNED and takes the values. A metric
 * that is null makes it FAILED (diverged). */
int study_tell(struct study *study, int64_t trial, const cJSON *metrics, struct err *err) MUST_CHECK;
/* The trial is FAILED and its surroundings count as infeasible. */
int study_fail(struct study *study, int64_t trial, struct err *err) MUST_CHECK;

/* The trial ends by itself at that step: of a budget of steps no more is reserved for it. *is_new is false when that
 * was known. ERR_NOT_FOUND, ERR_USAGE. */
int study_set_length(struct study *study, int64_t trial, int64_t steps, bool *is_new, struct err *err) MUST_CHECK;

/* A person ended the trial: it is PRUNED with what it reported so far, or, without a report or where results are taken
 * in order, counts as FAILED. Nothing happens to one that is final. */
int study_cancel(struct study *study, int64_t trial, struct err *err) MUST_CHECK;

/* A trial that was proposed before, as study_ask answered. ERR_NOT_FOUND. */
int study_describe(const struct study *study, int64_t trial, struct study_proposal *proposal,
                   struct err *err) MUST_CHECK;
/* The step at which the trial pauses next whatever it reports (rules that work in generations); 0: none. */
int64_t study_pause_step(const struct study *study, int64_t trial);
/* State of a trial; ERR_NOT_FOUND. */
int study_state(const struct study *study, int64_t trial, enum trial_state *state, struct err *err) MUST_CHECK;
/* How many trials and configurations there are. */
int64_t study_trials(const struct study *study);
int64_t study_configurations(const struct study *study);
/* The trial with the best first objective among those that are COMPLETE and feasible; 0: none. */
int64_t study_best(const struct study *study);

#endif
