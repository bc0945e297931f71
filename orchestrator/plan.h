/* The plan: which configurations and trials a definition asks for, and how they relate to what the store has.
 *
 * `plan` prints it, `run` writes it. A trial is known by its identity: a configuration that stands in the store keeps
 * its number and its trials, what is new gets the next numbers, and what the definition no longer asks for is dropped
 * (it stays in the store, and is not run). Equal configurations are one. */
#ifndef ORCHESTRATOR_PLAN_H
#define ORCHESTRATOR_PLAN_H

#include "orchestrator/job.h"
#include "orchestrator/store.h"

struct planned_configuration {
    int64_t number;            /* in the sweep, from 1 */
    int64_t stored_id;         /* 0: not in the store yet */
    bool is_baseline;          /* the linear probe that checks are compared with */
    cJSON *parameters;         /* the searched values that apply */
    cJSON *settings;           /* everything that applies */
    int first_trial, n_trials; /* in plan.trials; one a seed */
};

struct planned_trial {
    int configuration;
    uint64_t seed;
    char identity[HASH_HEX_SIZE];
    int64_t number;
    int stored; /* index into store_loaded.trials; −1: new */
};

struct plan {
    const struct definition *definition;
    const struct input_hashes *hashes;
    const struct store_loaded *stored; /* NULL: the sweep is new */
    struct arena arena;
    struct planned_configuration *configurations;
    struct planned_trial *trials;
    int n_configurations, configurations_capacity, n_trials, trials_capacity;
    int64_t n_proposals, n_equal; /* proposals looked at; those that were a configuration already */
    struct plan_index *index;     /* plan.c */
    int *dropped;                 /* indices into store_loaded.trials that the definition no longer asks for */
    int n_dropped;
};

/* Everything the definition asks for: the baseline first when there are checks, then the search's proposals with a
 * trial a seed, up to budget.trials trials. Arguments are kept (borrowed). ERR_USAGE when a proposal is refused or the
 * list is beyond PLAN_MAX_TRIALS, before it is made where its length is known. The plan is done also after a failure.
 */
enum { PLAN_MAX_TRIALS = 100000 };
/* Whether what is trained next depends on results: a search based on a model, a stopping rule, constraints, fixed first
 * configurations or a budget of steps. Such a sweep's plan has the baseline and what the store has; the rest is
 * proposed as it goes (coordinator_study.c). */
bool plan_is_adaptive(const struct definition *definition);
/* ERR_USAGE when the definition asks for a list of more than PLAN_MAX_TRIALS trials: a grid of a million points. */
int plan_check_length(const struct definition *definition, struct err *err) MUST_CHECK;
int plan_make(struct plan *plan, const struct definition *definition, const struct input_hashes *hashes,
              const struct store_loaded *stored, struct err *err) MUST_CHECK;
void plan_done(struct plan *plan);
/* What an adaptive sweep will probably train, for a preview only (`run` must not write it): what the store has, then
 * the proposals of a search that lists them (a stopping rule may end some early), or random draws from the space up to
 * search.configurations, the size of the space and budget.trials. ERR_USAGE when a listed proposal is refused. */
int plan_add_expected(struct plan *plan, struct err *err) MUST_CHECK;
/* Adds a configuration (taken: freed in any case) with its trials unless it is there already; *added is its index or
 * −1. */
int plan_add(struct plan *plan, cJSON *parameters, bool is_baseline, int *added, struct err *err) MUST_CHECK;

#endif
