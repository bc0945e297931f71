/* The table of stopping rules, and what they share. */
#include "orchestrator/stop.h"

#include <math.h>
#include <string.h>

#include "orchestrator/stop_kinds.h"

const struct stop_kind *const stop_kinds[] = {&stop_asha,      &stop_hyperband, &stop_median, &stop_patience,
                                              &stop_threshold, &stop_predicted, &stop_pbt,    NULL};

const struct stop_kind *stop_find(const char *name)
{
    for (const struct stop_kind *const *kind = stop_kinds; *kind; kind++)
        if (strcmp((*kind)->name, name) == 0)
            return *kind;
    return NULL;
}

double stop_shown(const struct study *study, double value)
{
    return study->definition->stopping.is_maximized ? -value : value;
}

/* Whether a is better than b in every objective, or equal in some and better in one. */
static bool dominates(const double *a, const double *b, int n)
{
    bool is_better = false;
    for (int i = 0; i < n; i++) {
        if (a[i] > b[i])
            return false;
        is_better = is_better || a[i] < b[i];
    }
    return is_better;
}

const struct study_point *stop_point_at(const struct study_trial *trial, double step)
{
    int low = 0, high = trial->n_points;
    while (low < high) {
        int middle = (low + high) / 2;
        if ((double)trial->points[middle].step < step)
            low = middle + 1;
        else
            high = middle;
    }
    while (low < trial->n_points && isnan(trial->points[low].value))
        low++;
    return low < trial->n_points ? &trial->points[low] : NULL;
}

int stop_values(const struct study *study)
{
    bool is_own = strcmp(study->definition->stopping.metric, study->definition->objectives[0].metric) != 0;
    return is_own ? 1 : study->n_objectives;
}

double stop_value(const struct study *study, const struct study_point *point, int k)
{
    return stop_values(study) > 1 ? point->scores[k] : point->value;
}

bool stop_is_better(const struct study *study, const struct study_point *a, const struct study_point *b)
{
    if (!a || !b)
        return a != NULL;
    return stop_values(study) > 1 ? dominates(a->scores, b->scores, study->n_objectives) : a->value < b->value;
}

/* Equal values, as accuracies on few examples often are: the earlier trial stands before, else all of them would be
 * among the best. */
static bool stands_before(const struct study *study, const struct study_trial *other, const struct study_point *point,
                          const struct study_trial *trial, const struct study_point *own)
{
    if (!own || other->number > trial->number)
        return false;
    for (int k = 0; k < stop_values(study); k++)
        if (stop_value(study, point, k) != stop_value(study, own, k))
            return false;
    return true;
}

int stop_count_better(const struct study *study, const struct study_trial *trial, double step, double bracket,
                      int *n_there)
{
    const struct study_point *own = stop_point_at(trial, step);
    int n = 0, better = 0;
    for (int i = 0; i < study->n_trials; i++) {
        const struct study_trial *other = study->trials[i];
        const struct study_point *point = other->bracket == bracket ? stop_point_at(other, step) : NULL;
        if (!point)
            continue;
        n++;
        if (other != trial && (stop_is_better(study, point, own) || stands_before(study, other, point, trial, own)))
            better++;
    }
    *n_there = n;
    return better;
}
