/* The budget of steps: a trial that trains has the steps until its next report reserved, so that several at a time
 * never train more than there is. What a trial reports less often than it said, or has trained when it fails, is
 * counted as if it had trained all that was reserved. */
#include "orchestrator/study_internal.h"

/* A number that the configuration or the settings give; 0: neither. */
static int64_t number_of(const struct study *study, const struct study_trial *trial, const char *name)
{
    const cJSON *item = trial ? json_get(study->configurations[trial->configuration].parameters, name) : NULL;
    if (!item)
        item = json_get(study->definition->settings, name);
    return item && cJSON_IsNumber(item) && item->valuedouble >= 1 ? (int64_t)item->valuedouble : 0;
}

/* Steps of a whole trial; 0: not known. */
static int64_t whole_steps(const struct study *study, const struct study_trial *trial)
{
    if (trial && trial->length > 0)
        return trial->length;
    int64_t given = study->definition->is_free ? 0 : number_of(study, trial, "steps");
    return given > 0 ? given : (int64_t)study->definition->stopping.max_resource;
}

/* Steps that a trial (NULL: a new one) trains until it reports next; what was seen so far where nothing says it. */
static int64_t steps_ahead(const struct study *study, const struct study_trial *trial)
{
    bool is_free = study->definition->is_free;
    int64_t step = trial ? trial->step : 0, whole = whole_steps(study, trial);
    int64_t every = is_free ? 0 : number_of(study, trial, "evaluate_every");
    int64_t ahead = every > 0 ? every - step % every : trial && trial->gap > 0 ? trial->gap : study->first_gap;
    if (whole > 0 && step >= whole)
        return 0; /* it ends */
    if (whole > 0 && (ahead > whole - step || (ahead == 0 && !is_free)))
        ahead = whole - step;
    return ahead;
}

int64_t study_steps_left(const struct study *study)
{
    int64_t budget = study->definition->budget.steps, used = study->total_steps + study->reserved_steps;
    return budget <= 0 ? INT64_MAX : budget > used ? budget - used : 0;
}

bool study_has_steps_for(const struct study *study, const struct study_trial *trial)
{
    int64_t left = study_steps_left(study), whole = whole_steps(study, trial);
    bool is_through = trial && whole > 0 && trial->step >= whole;
    return is_through || (left > 0 && steps_ahead(study, trial) <= left);
}

void study_reserve_steps(struct study *study, struct study_trial *trial)
{
    if (study->definition->budget.steps <= 0)
        return;
    study_release_steps(study, trial);
    trial->reserved = steps_ahead(study, trial);
    study->reserved_steps += trial->reserved;
}

void study_release_steps(struct study *study, struct study_trial *trial)
{
    study->reserved_steps -= trial->reserved;
    trial->reserved = 0;
}

int study_set_length(struct study *study, int64_t number, int64_t steps, bool *is_new, struct err *err)
{
    enum trial_state state = TRIAL_WAITING;
    int rc = study_state(study, number, &state, err);
    if (rc == 0 && steps < 1)
        rc = err_set(err, ERR_USAGE, "length: %lld steps, at least 1 was expected", (long long)steps);
    if (rc < 0)
        return rc;
    struct study_trial *trial = study->trials[number - 1];
    *is_new = trial->length != steps;
    trial->length = steps;
    if (trial->reserved > 0)
        study_reserve_steps(study, trial);
    return 0;
}
