/* Automatic choice of the search algorithm: by space, budget and objectives. */
#include "orchestrator/search_kinds.h"
#include "orchestrator/study_internal.h"

static const struct search_kind *choose(struct study *study, const char **reason)
{
    int64_t expected = study_expected_configurations(study);
    if (study->grid_size > 0 && expected >= study->grid_size) {
        *reason = "the budget covers every configuration of the space";
        return &search_grid;
    }
    /* Where rungs end trials after a few steps and only steps are counted, many looks are cheap: spread evenly they
     * found more than a model of unfinished curves (docs/search.md). */
    const struct stop_kind *rule = study->definition->stopping.kind;
    bool is_cheap = rule && rule->can_pause && study->definition->budget.steps > 0 && expected == INT64_MAX;
    if (is_cheap && study->n_objectives == 1 && !study->definition->cost && !study->definition->warm_start) {
        *reason = "the rule's rungs make looks cheap and only steps are counted: evenly spread points";
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
