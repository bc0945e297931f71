/* Automatic choice of the search algorithm: by space, budget and objectives. */
#include "orchestrator/search_kinds.h"
#include "orchestrator/study_internal.h"

/* Whole trials that the budget's steps amount to at most where a model is worth it. */
enum { WHOLE_TRIALS_MAX = 200 };

static const struct search_kind *choose(struct study *study, const char **reason)
{
    int64_t expected = study_expected_configurations(study);
    if (study->grid_size > 0 && expected >= study->grid_size) {
        *reason = "the budget covers every configuration of the space";
        return &search_grid;
    }
    /* Where rungs end trials after a few steps and only steps are counted looks are cheap. Enough steps for thousands
     * are more than a model takes; spread evenly they find more than one of unfinished curves (docs/search.md). */
    const struct stopping *stopping = &study->definition->stopping;
    bool is_cheap = stopping->kind && stopping->kind->can_pause && expected == INT64_MAX &&
                    (double)study->definition->budget.steps > WHOLE_TRIALS_MAX * stopping->max_resource;
    if (is_cheap && study->n_objectives == 1) {
        *reason = "the rule's rungs make looks cheap and the budget has steps for thousands: evenly spread points";
        return &search_sobol;
    }
    *reason = study->n_objectives > 1 ? "several objectives: gains of hypervolume are modelled"
                                      : "one objective: a model of it finds good configurations with few trials";
    return &search_gp;
}

const struct search_kind search_auto = {
    .name = "auto",
    .help = "chooses the algorithm by space, budget and objectives, and says why",
    .choose = choose,
};
