/* What trials report: points, ends, failures; and the rows that models learn from. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/study_internal.h"

enum { METRICS_MAX = 64, POINTS_MAX = 1 << 20 };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the search");
}

static int find_trial(struct study *study, int64_t number, struct study_trial **trial, struct err *err)
{
    if (number < 1 || number > study->n_trials)
        return err_set(err, ERR_NOT_FOUND, "there is no trial %lld; the last is %d", (long long)number,
                       study->n_trials);
    *trial = study->trials[number - 1];
    return 0;
}

/* Metrics ---------------------------------------------------------------------------------------------------------- */

/* A metric by name: NaN when it is null. ERR_USAGE when it is missing, with the nearest that is there. */
static int read_metric(const cJSON *metrics, const char *name, const char *what, double *value, struct err *err)
{
    const cJSON *item = json_get(metrics, name);
    const char *names[METRICS_MAX + 1];
    int n = 0;
    if (item && (cJSON_IsNumber(item) || cJSON_IsNull(item))) {
        *value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
        return 0;
    }
    if (item)
        return err_set(err, ERR_USAGE, "metrics.%s: %s was found, a number was expected", name, json_type_name(item));
    for (const cJSON *other = metrics->child; other && n < METRICS_MAX; other = other->next)
        names[n++] = other->string;
    names[n] = NULL;
    const char *near = text_nearest(name, names);
    if (near)
        return err_set(err, ERR_USAGE, "metrics: %s '%s' is missing; nearest is '%s'", what, name, near);
    return err_set(err, ERR_USAGE, "metrics: %s '%s' is missing", what, name);
}

/* The objectives turned so that less is better; *is_bad when one is not a number. */
static int read_scores(const struct study *study, const cJSON *metrics, double *scores, bool *is_bad, struct err *err)
{
    if (!cJSON_IsObject(metrics))
        return err_set(err, ERR_USAGE, "metrics: %s was found, an object was expected", json_type_name(metrics));
    for (int i = 0; i < study->n_objectives; i++) {
        const struct objective *objective = &study->definition->objectives[i];
        double value = 0;
        int rc = read_metric(metrics, objective->metric, "objective", &value, err);
        if (rc < 0)
            return rc;
        *is_bad = *is_bad || !isfinite(value);
        scores[i] = objective->is_maximized ? -value : value;
    }
    return 0;
}

/* Outcomes that are not reported stay unknown. */
static void read_outcomes(const struct study *study, const cJSON *metrics, double *outcomes)
{
    for (int i = 0; i < study->n_constraints; i++) {
        const char *name = study->definition->constraints[i].metric;
        const cJSON *item = name ? json_get(metrics, name) : NULL;
        if (item && cJSON_IsNumber(item))
            outcomes[i] = item->valuedouble;
    }
}

int study_read_metrics(const struct study *study, const cJSON *metrics, double *scores, double *outcomes, bool *is_bad,
                       struct err *err)
{
    int rc = read_scores(study, metrics, scores, is_bad, err);
    if (rc == 0)
        read_outcomes(study, metrics, outcomes);
    return rc;
}

/* What the trial cost; NaN where costs do not count. */
static int read_cost(const struct study *study, const cJSON *metrics, double *cost, struct err *err)
{
    *cost = NAN;
    if (!study->definition->cost)
        return 0;
    int rc = read_metric(metrics, study->definition->cost, "search.cost", cost, err);
    if (rc == 0 && !(*cost > 0))
        rc = err_set(err, ERR_USAGE, "metrics.%s: a cost must be a number above 0", study->definition->cost);
    return rc;
}

/* Ends ------------------------------------------------------------------------------------------------------------- */

static int add_finished(struct study *study, struct study_trial *trial, struct err *err)
{
    if (study->n_finished == study->finished_capacity) {
        int next = study->finished_capacity ? study->finished_capacity * 2 : 64;
        int *grown = realloc(study->finished, (size_t)next * sizeof(*grown));
        if (!grown)
            return no_memory(err);
        study->finished = grown;
        study->finished_capacity = next;
    }
    trial->finished = study->n_finished;
    study->finished[study->n_finished++] = (int)(trial->number - 1);
    return 0;
}

int study_end(struct study *study, struct study_trial *trial, enum trial_state state, struct err *err)
{
    int rc = add_finished(study, trial, err);
    if (rc < 0)
        return rc;
    if (state != TRIAL_COMPLETE)
        study->total_steps += trial->reserved; /* it may have trained them and not reported it */
    study_release_steps(study, trial);
    if (trial->state == TRIAL_PAUSED)
        study->n_paused--;
    else
        study->n_running--;
    trial->state = state;
    study->configurations[trial->configuration].n_open--;
    if (state == TRIAL_FAILED)
        study->configurations[trial->configuration].is_lost = true;
    if (state == TRIAL_COMPLETE)
        study_count_seed(study, trial);
    return 0;
}

static int refuse_final(const struct study_trial *trial, struct err *err)
{
    return err_set(err, ERR_USAGE, "trial %lld is %s already", (long long)trial->number,
                   trial_state_name(trial->state));
}

static bool same_scores(const struct study *study, const double *a, const double *b)
{
    for (int i = 0; i < study->n_objectives; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

int study_tell_now(struct study *study, int64_t number, const cJSON *metrics, struct err *err)
{
    double scores[64] = {0};
    bool is_bad = false;
    struct study_trial *trial = NULL;
    int rc = find_trial(study, number, &trial, err);
    if (rc == 0)
        rc = read_scores(study, metrics, scores, &is_bad, err);
    if (rc < 0)
        return rc;
    if (trial->state == TRIAL_COMPLETE && !is_bad && same_scores(study, scores, trial->scores))
        return 0; /* told again: nothing changes */
    if (trial->state == TRIAL_COMPLETE || trial->state == TRIAL_FAILED)
        return refuse_final(trial, err);
    rc = trial->state == TRIAL_PRUNED || is_bad ? 0 : read_cost(study, metrics, &trial->cost, err);
    if (rc < 0)
        return rc;
    read_outcomes(study, metrics, trial->outcomes);
    if (trial->state == TRIAL_PRUNED)
        return 0; /* what models learn from it are the values up to where it was ended */
    if (is_bad)
        return study_end(study, trial, TRIAL_FAILED, err);
    memcpy(trial->scores, scores, (size_t)study->n_objectives * sizeof(*scores));
    trial->has_scores = true;
    return study_end(study, trial, TRIAL_COMPLETE, err);
}

int study_fail_now(struct study *study, int64_t number, struct err *err)
{
    struct study_trial *trial = NULL;
    int rc = find_trial(study, number, &trial, err);
    if (rc < 0)
        return rc;
    if (trial->state == TRIAL_FAILED)
        return 0;
    if (trial_state_is_final(trial->state))
        return refuse_final(trial, err);
    return study_end(study, trial, TRIAL_FAILED, err);
}

int study_cancel(struct study *study, int64_t number, struct err *err)
{
    struct study_trial *trial = NULL;
    int rc = find_trial(study, number, &trial, err);
    if (rc < 0 || trial_state_is_final(trial->state))
        return rc;
    if (study->order)
        return study_fail(study, number, err);
    return study_end(study, trial, trial->has_scores ? TRIAL_PRUNED : TRIAL_FAILED, err);
}

/* Points ----------------------------------------------------------------------------------------------------------- */

/* The steps since its last report are used; what was reserved for them is free. */
static void count_steps(struct study *study, struct study_trial *trial, int64_t step)
{
    int64_t gap = step - trial->step;
    study->total_steps += gap;
    study_release_steps(study, trial);
    if (trial->n_points == 0 && gap > study->first_gap)
        study->first_gap = gap;
    trial->gap = gap > trial->gap ? gap : trial->gap;
}

static int add_point(struct study *study, struct study_trial *trial, int64_t step, double value, const double *scores,
                     struct err *err)
{
    size_t bytes = (size_t)study->n_objectives * sizeof(double);
    if (trial->n_points >= POINTS_MAX)
        return err_set(err, ERR_NOMEM, "trial %lld has more than %d points", (long long)trial->number, POINTS_MAX);
    if (trial->n_points == trial->capacity) {
        int next = trial->capacity ? trial->capacity * 2 : 16;
        struct study_point *grown = realloc(trial->points, (size_t)next * sizeof(*grown));
        if (!grown)
            return no_memory(err);
        trial->points = grown;
        trial->capacity = next;
    }
    double *kept = arena_alloc(&study->arena, bytes + 1);
    if (!kept)
        return no_memory(err);
    memcpy(kept, scores, bytes);
    count_steps(study, trial, step);
    trial->points[trial->n_points++] = (struct study_point){.step = step, .value = value, .scores = kept};
    trial->step = step;
    memcpy(trial->scores, scores, bytes);
    trial->has_scores = true;
    return 0;
}

/* The stopping rule's own metric may be missing where only objectives are evaluated: then nothing is decided. */
static bool read_watched(const struct study *study, const cJSON *metrics, double *value)
{
    const struct stopping *stopping = &study->definition->stopping;
    const cJSON *item = json_get(metrics, stopping->metric);
    if (!item || !cJSON_IsNumber(item))
        return false;
    *value = stopping->is_maximized ? -item->valuedouble : item->valuedouble;
    return true;
}

static void add_used_up(struct study *study)
{
    int64_t left = study_steps_left(study);
    text_reset(&study->reason);
    text_printf(&study->reason, "the budget of %lld steps ", (long long)study->definition->budget.steps);
    if (left > 0)
        text_printf(&study->reason, "has %lld left, too few to the next report", (long long)left);
    else
        text_add(&study->reason, "is used up");
}

static int decide(struct study *study, struct study_trial *trial, bool is_watched, struct study_decision *decision,
                  struct err *err)
{
    const struct stopping *stopping = &study->definition->stopping;
    bool is_whole = stopping->max_resource > 0 && (double)trial->step >= stopping->max_resource;
    enum stop_verdict verdict = STOP_CONTINUE;
    if (stopping->kind && is_watched && !is_whole)
        verdict = stopping->kind->decide(study, trial);
    if (verdict == STOP_CONTINUE && !study_has_steps_for(study, trial)) {
        add_used_up(study);
        verdict = STOP_END;
    }
    decision->goes_on = verdict == STOP_CONTINUE;
    decision->is_paused = verdict == STOP_PAUSE && study->can_pause;
    decision->reason = study->reason.data ? study->reason.data : "";
    if (decision->is_paused) {
        trial->state = TRIAL_PAUSED;
        study->n_running--;
        study->n_paused++;
    } else if (!decision->goes_on) {
        return study_end(study, trial, TRIAL_PRUNED, err);
    } else {
        study_reserve_steps(study, trial);
    }
    return 0;
}

int study_tell_step_now(struct study *study, int64_t number, int64_t step, const cJSON *metrics,
                        struct study_decision *decision, struct err *err)
{
    double scores[64] = {0}, value = 0;
    bool is_bad = false;
    struct study_trial *trial = NULL;
    int rc = find_trial(study, number, &trial, err);
    text_reset(&study->reason);
    *decision = (struct study_decision){.goes_on = true, .reason = ""};
    if (rc == 0 && step < 1)
        rc = err_set(err, ERR_USAGE, "step: %lld, at least 1 was expected", (long long)step);
    if (rc == 0)
        rc = read_scores(study, metrics, scores, &is_bad, err);
    if (rc < 0)
        return rc;
    if (trial->state == TRIAL_PRUNED || trial->state == TRIAL_PAUSED) {
        decision->goes_on = false;
        decision->is_paused = trial->state == TRIAL_PAUSED;
        return 0;
    }
    if (trial->state != TRIAL_RUNNING)
        return refuse_final(trial, err);
    if (step <= trial->step && trial->n_points) {
        if (step == trial->step && same_scores(study, scores, trial->scores))
            return 0;
        return err_set(err, ERR_USAGE, "step: %lld comes after step %lld of trial %lld", (long long)step,
                       (long long)trial->step, (long long)trial->number);
    }
    if (is_bad) { /* diverged: it will not come back */
        decision->goes_on = false;
        decision->reason = "a metric is not a number: the trial diverged";
        return study_end(study, trial, TRIAL_FAILED, err);
    }
    bool is_watched = read_watched(study, metrics, &value);
    read_outcomes(study, metrics, trial->outcomes);
    rc = add_point(study, trial, step, is_watched ? value : NAN, scores, err);
    return rc == 0 ? decide(study, trial, is_watched, decision, err) : rc;
}

/* Rows ------------------------------------------------------------------------------------------------------------- */

static int start_row(const struct study *study, int configuration, struct arena *arena, struct study_row *row,
                     struct err *err)
{
    *row = (struct study_row){
        .configuration = configuration,
        .x = study->configurations[configuration].x,
        .scores = arena_calloc(arena, (size_t)study->n_objectives + 1, sizeof(double)),
        .outcomes = arena_calloc(arena, (size_t)study->n_constraints + 1, sizeof(double)),
        .cost = NAN,
        .is_failed = true,
    };
    return row->scores && row->outcomes ? 0 : no_memory(err);
}

/* Steps behind a trial's scores; 0: to its end. */
static double resource_of(const struct study *study, const struct study_trial *trial)
{
    double max = study->definition->stopping.max_resource;
    if (trial->state == TRIAL_COMPLETE || (max > 0 && (double)trial->step >= max))
        return 0;
    return (double)trial->step;
}

static void add_to_row(const struct study *study, const struct study_trial *trial, struct study_row *row)
{
    double resource = resource_of(study, trial);
    if (!trial->has_scores || trial->state == TRIAL_FAILED)
        return;
    /* Of seeds that were ended earlier than others nothing is averaged in. */
    if (!row->is_failed && (row->is_complete ? resource > 0 : false))
        return;
    if (!row->is_failed && !row->is_complete && resource == 0) {
        row->n = 0;
        memset(row->scores, 0, (size_t)study->n_objectives * sizeof(double));
        memset(row->outcomes, 0, (size_t)study->n_constraints * sizeof(double));
    }
    row->n++;
    for (int i = 0; i < study->n_objectives; i++)
        row->scores[i] += (trial->scores[i] - row->scores[i]) / row->n;
    for (int i = 0; i < study->n_constraints; i++)
        row->outcomes[i] += (trial->outcomes[i] - row->outcomes[i]) / row->n;
    if (!isnan(trial->cost)) {
        double before = row->n_costs ? row->cost : 0;
        row->cost = before + (trial->cost - before) / ++row->n_costs;
    }
    row->resource = resource;
    row->trial = (int)(trial->number - 1);
    row->is_failed = false;
    row->is_complete = resource == 0;
}

int study_rows(const struct study *study, int n_finished, struct arena *arena, struct study_row **rows, int *n_rows,
               struct err *err)
{
    int n = 0;
    int *at = arena_calloc(arena, (size_t)study->n_configurations + 1, sizeof(*at)); /* row + 1 */
    struct study_row *made = arena_calloc(arena, (size_t)n_finished + 1, sizeof(*made));
    if (!at || !made)
        return no_memory(err);
    for (int i = 0; i < n_finished; i++) {
        const struct study_trial *trial = study->trials[study->finished[i]];
        int c = trial->configuration;
        if (!at[c]) {
            int rc = start_row(study, c, arena, &made[n], err);
            if (rc < 0)
                return rc;
            at[c] = ++n;
        }
        add_to_row(study, trial, &made[at[c] - 1]);
    }
    for (int i = 0; i < n; i++)
        made[i].violation = made[i].is_failed ? 0 : study_violation(study, made[i].outcomes);
    *rows = made;
    *n_rows = n;
    return 0;
}
