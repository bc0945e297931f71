/* Automatic choice of the search algorithm: by space, budget and objectives. */
#include "orchestrator/search_kinds.h"
#include "orchestrator/study_internal.h"

/* Configurations up to which a list without a limit is gone through in its order; of a longer one nobody may see the
 * end, and a model has the better part of it first. */
enum { LIST_MAX = 100 };

/* Whole trials that the budget's steps amount to at most where a model is worth it. */
enum { WHOLE_TRIALS_MAX = 200 };

static const struct search_kind *choose(struct study *study, const char **reason)
{
    int64_t expected = study_expected_configurations(study);
    const struct definition *definition = study->definition;
    bool is_limited = definition->configurations > 0 || definition->budget.trials > 0;
    if (study->grid_size > 0 && expected >= study->grid_size && (is_limited || study->grid_size <= LIST_MAX)) {
        *reason = is_limited ? "the budget covers every configuration of the space"
                             : "the space has few configurations: all of them";
        return &search_grid;
    }
    /* Where rungs end trials after a few steps and only steps are counted looks are cheap. Enough steps for thousands
     * are more than a model takes; spread evenly they find more than one of unfinished curves (docs/search.md). */
    const struct stopping *stopping = &definition->stopping;
    bool is_cheap = stopping->kind && stopping->kind->can_pause && expected == INT64_MAX &&
                    (double)definition->budget.steps > WHOLE_TRIALS_MAX * stopping->max_resource;
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
