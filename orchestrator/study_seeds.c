/* Seeds: mean and variance of configurations, racing, and further seeds where noise hides which is best. */
#include <math.h>

#include "orchestrator/study_internal.h"

/* Without a configuration that has two seeds the noise is not known; after so many trials one is given a second. */
enum { FIRST_LOOK = 8 };

/* Variance between seeds, pooled over the configurations with several; NaN when no configuration has two. */
static double seed_variance(const struct study *study)
{
    double sum = 0;
    int freedom = 0;
    for (int i = 0; i < study->n_configurations; i++)
        if (study->configurations[i].n_done > 1) {
            sum += study->configurations[i].squares;
            freedom += study->configurations[i].n_done - 1;
        }
    return freedom ? sum / freedom : NAN;
}

/* The best mean, and the next (indices; −1: none). Configurations that break a constraint do not count. */
static void find_leaders(const struct study *study, int *first, int *second)
{
    *first = *second = -1;
    for (int i = 0; i < study->n_configurations; i++) {
        const struct study_configuration *c = &study->configurations[i];
        if (c->n_done == 0 || c->is_infeasible)
            continue;
        if (*first < 0 || c->mean < study->configurations[*first].mean) {
            *second = *first;
            *first = i;
        } else if (*second < 0 || c->mean < study->configurations[*second].mean) {
            *second = i;
        }
    }
}

/* Racing: a configuration whose mean lies three standard errors of the difference behind the best gets no further
 * seeds. Only where seeds are repeated; one objective decides. */
static void race(struct study *study, struct study_configuration *c)
{
    const struct study_configuration *best = NULL;
    if (study->definition->seeds < 3 || study->n_objectives > 1)
        return;
    for (int i = 0; i < study->n_configurations; i++)
        if (study->configurations[i].n_done > 0 && (!best || study->configurations[i].mean < best->mean))
            best = &study->configurations[i];
    double variance = seed_variance(study);
    if (!best || best->n_done < 2 || isnan(variance))
        return;
    c->is_lost = c->mean - best->mean > 3 * sqrt(variance * (1.0 / c->n_done + 1.0 / best->n_done));
}

void study_count_seed(struct study *study, const struct study_trial *trial)
{
    struct study_configuration *c = &study->configurations[trial->configuration];
    double off = trial->scores[0] - c->mean;
    c->mean += off / ++c->n_done;
    c->squares += off * (trial->scores[0] - c->mean); /* Welford */
    c->is_infeasible = c->is_infeasible || study_violation(study, trial->outcomes) > 0;
    race(study, c);
}

static bool may_have_more(const struct study *study, int configuration)
{
    const struct study_configuration *c = &study->configurations[configuration];
    const struct definition *d = study->definition;
    return c->n_open == 0 && c->n_trials < d->seeds + d->reevaluations;
}

static double shown(const struct study *study, double score)
{
    return study->definition->objectives[0].is_maximized ? -score : score;
}

bool study_wants_reevaluation(struct study *study, int *configuration)
{
    int first, second;
    if (study->definition->reevaluations == 0 || study->n_objectives > 1)
        return false;
    find_leaders(study, &first, &second);
    if (second < 0)
        return false;
    const struct study_configuration *best = &study->configurations[first], *next = &study->configurations[second];
    double variance = seed_variance(study);
    if (isnan(variance)) {
        if (study->n_finished < FIRST_LOOK || !may_have_more(study, first))
            return false;
        text_printf(&study->reason, "re-evaluation: how much the incumbent, %.6g, owes to chance is not known yet",
                    shown(study, best->mean));
        *configuration = first;
        return true;
    }
    double noise = sqrt(variance * (1.0 / best->n_done + 1.0 / next->n_done));
    int wanted = next->n_trials < best->n_trials ? second : first;
    if (next->mean - best->mean >= noise)
        return false;
    if (!may_have_more(study, wanted))
        wanted = wanted == first ? second : first;
    if (!may_have_more(study, wanted))
        return false;
    text_printf(
        &study->reason,
        "re-evaluation: the incumbent, %.6g over %d seeds, and the next, %.6g over %d, differ by less than their "
        "noise, %.2g",
        shown(study, best->mean), best->n_done, shown(study, next->mean), next->n_done, noise);
    *configuration = wanted;
    return true;
}
