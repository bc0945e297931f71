/* What search algorithms and stopping rules see of a study. */
#ifndef ORCHESTRATOR_STUDY_INTERNAL_H
#define ORCHESTRATOR_STUDY_INTERNAL_H

#include "orchestrator/search.h"
#include "orchestrator/search_codec.h"
#include "orchestrator/stop.h"
#include "orchestrator/study.h"

struct study_point {
    int64_t step;
    double value;   /* the stopping rule's metric, turned so that less is better */
    double *scores; /* the objectives, turned likewise */
};

struct study_trial {
    int64_t number;
    int configuration; /* index */
    int seed_index;
    enum trial_state state;
    struct study_point *points; /* by step */
    int n_points, capacity;
    int64_t step;     /* of the newest point */
    int64_t reserved; /* steps until it reports next, of a budget of steps */
    int64_t gap;      /* the most steps between two of its reports */
    int64_t length;   /* at which it ends by itself; 0: not known */
    double *scores;   /* objectives, turned so that less is better; of a pruned trial those of its newest point */
    double *outcomes; /* of each constraint on a result the metric's value, NaN elsewhere */
    double cost;      /* what it reported as definition->cost; NaN: nothing */
    bool has_scores;
    int finished;                /* position in study->finished, or −1 */
    int rung;                    /* rungs reached: what the rule decided about already */
    double bracket;              /* of hyperband */
    int64_t parent, parent_step; /* of population-based training: where it came from; 0: nowhere */
    bool is_due;                 /* its generation is complete: it goes on, or … */
    int64_t heir_of;             /* … a trial that goes on from this one takes its place */
    int place, n_members;        /* in the generation, when it is replaced */
};

struct study_configuration {
    double *x;
    cJSON *parameters;
    char *key; /* canonical text */
    int n_trials, n_open;
    int n_done;           /* trials that are COMPLETE … */
    double mean, squares; /* … their mean of the first objective and sum of squared deviations */
    bool is_infeasible;   /* one of them broke a constraint */
    bool is_lost;         /* a clear loser: gets no further seeds */
};

/* A finished trial of an earlier sweep. */
struct study_foreign {
    const char *sweep, *key;
    double *x, *scores, *outcomes;
};

struct study_order;

struct study {
    const struct definition *definition;
    struct arena arena;
    struct codec codec;
    const struct search_kind *kind; /* at work */
    const char *explanation;
    void *state; /* of the search algorithm */
    bool can_pause;
    int n_objectives, n_constraints;
    struct study_configuration *configurations;
    struct study_trial **trials; /* each in the arena, so that pointers stay */
    int *finished;               /* trials (index) in the order they became final */
    int n_configurations, n_trials, n_finished, n_running, n_paused;
    int n_children;          /* trials with a parent */
    bool is_population_full; /* the space had no more for it */
    int configurations_capacity, trials_capacity, finished_capacity;
    int *index; /* open addressing over keys: configuration + 1, 0: free */
    int index_size;
    int64_t position;  /* proposals looked at */
    int64_t grid_size; /* −1: not countable */
    int64_t total_steps;
    int64_t reserved_steps; /* of running trials until they report next (study_budget.c) */
    int64_t first_gap;      /* the most steps before a first report */
    double **first;         /* fixed first configurations as points, and behind them the best of earlier sweeps */
    int n_first, n_fixed_first;
    struct study_foreign *foreign;
    int n_foreign, foreign_capacity;
    bool is_warm; /* the best of `foreign` stand in `first` */
    struct text reason;
    struct study_order *order; /* of strict order (study_order.c); NULL: everything happens as it is told */
};

/* A trial is COMPLETE: mean and variance of its configuration, and whether it gets further seeds (study_seeds.c). */
void study_count_seed(struct study *study, const struct study_trial *trial);
/* Whether the incumbent or the one next to it should be trained with another seed, because they differ by less than the
 * noise between seeds: *configuration, and why in study->reason. */
bool study_wants_reevaluation(struct study *study, int *configuration);
/* What study_ask, study_restore, study_tell, study_tell_step and study_fail do where order does not matter. */
int study_ask_now(struct study *study, struct study_proposal *proposal, struct err *err) MUST_CHECK;
int study_restore_now(struct study *study, const struct study_proposal *proposal, struct err *err) MUST_CHECK;
int study_tell_now(struct study *study, int64_t trial, const cJSON *metrics, struct err *err) MUST_CHECK;
int study_tell_step_now(struct study *study, int64_t trial, int64_t step, const cJSON *metrics,
                        struct study_decision *decision, struct err *err) MUST_CHECK;
int study_fail_now(struct study *study, int64_t trial, struct err *err) MUST_CHECK;
/* study_order.c */
int study_order_new(struct study_order **order, struct err *err) MUST_CHECK;
void study_order_free(struct study_order *order); /* NULL is fine */
int64_t study_order_trials(const struct study *study);
/* Whether no further configuration will be proposed: their number, the budget of trials or the space is used up. */
bool study_is_complete(const struct study *study);
/* Whether budget.trials is used up. */
bool study_is_out_of_trials(const struct study *study);
/* study_budget.c, of a budget of steps: what is neither used nor reserved (INT64_MAX: there is no such budget), and
 * whether that takes the trial (NULL: a new one) to its next report. */
int64_t study_steps_left(const struct study *study);
bool study_has_steps_for(const struct study *study, const struct study_trial *trial);
/* The trial runs to its next report; it has reported, or ended. */
void study_reserve_steps(struct study *study, struct study_trial *trial);
void study_release_steps(struct study *study, struct study_trial *trial);
/* Ends a trial that is not final. */
int study_end(struct study *study, struct study_trial *trial, enum trial_state state, struct err *err) MUST_CHECK;
/* Whether the configuration of this settled point was proposed before. */
bool study_is_known(struct study *study, const double *x);
/* 0 when the settled point meets the constraints over parameters. */
bool study_is_allowed(struct study *study, const double *x);
/* The stream of random numbers of the next proposal. */
struct rng_stream study_stream(const struct study *study, int attempt);
/* A draw from the prior, not settled. */
void study_draw(struct study *study, struct rng_stream *stream, double *x);
/* How many new configurations the definition still allows in all (budget over seeds); INT64_MAX: no bound. */
int64_t study_expected_configurations(const struct study *study);
/* Sum of the amounts by which the outcomes break constraints; 0: feasible. NaN outcomes count as not broken. */
double study_violation(const struct study *study, const double *outcomes);

/* Results a configuration at a time, seeds averaged: what models learn from. */
struct study_row {
    int configuration;
    int trial; /* index of the one that was added last */
    const double *x;
    double *scores;   /* means; of failed ones not set */
    double *outcomes; /* means */
    double resource;  /* steps behind the scores; 0: whole trials */
    double cost;      /* mean over the trials that reported one; NaN: none did */
    int n, n_costs;   /* trials in the means */
    bool is_foreign;  /* of an earlier sweep: configuration and trial are −1 */
    bool is_failed;   /* no trial of it gave a value */
    bool is_complete; /* at least one trial ran to its end */
    double violation;
};
/* Of the first n_finished final trials, in the order of their first finish. Arrays in `arena`. */
int study_rows(const struct study *study, int n_finished, struct arena *arena, struct study_row **rows, int *n_rows,
               struct err *err) MUST_CHECK;
/* The same behind the trials of earlier sweeps. Those of a sweep are moved by the mean difference of the configurations
 * that were trained in both. */
int study_all_rows(const struct study *study, int n_finished, struct arena *arena, struct study_row **rows, int *n_rows,
                   struct err *err) MUST_CHECK;
/* The configuration (index) of that canonical text, or −1. */
int study_find(const struct study *study, const char *key);
/* The point of a configuration: always computed from the configuration, so that a restored study has the same bits. */
int study_encode(struct study *study, const cJSON *parameters, double *x, struct err *err) MUST_CHECK;
/* Objectives and outcomes of a report (study_tell.c); *is_bad: an objective is no number. */
int study_read_metrics(const struct study *study, const cJSON *metrics, double *scores, double *outcomes, bool *is_bad,
                       struct err *err) MUST_CHECK;
/* Puts the best of earlier sweeps behind the fixed first configurations (study_warm.c). */
int study_rank_foreign(struct study *study, struct err *err) MUST_CHECK;

#endif
