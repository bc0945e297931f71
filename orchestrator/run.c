/* `run`: for each definition, bring the store to what it asks for, then let the coordinator work.
 *
 *   read → hash inputs → load or add the sweep → plan → add what is new → coordinate → pair the checks → set the state
 */
#include "orchestrator/run.h"

#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/crash.h"
#include "common/file.h"
#include "orchestrator/bias_before.h"
#include "orchestrator/coordinator.h"
#include "orchestrator/license.h"
#include "orchestrator/loop.h"
#include "orchestrator/origin.h"
#include "orchestrator/plan.h"
#include "orchestrator/stages.h"
#include "orchestrator/store_care.h"
#include "orchestrator/study_log.h"
#include "orchestrator/warm_start.h"

#define CHECKPOINT_SECONDS 30

/* One definition on its way. */
struct run_sweep {
    const struct run_options *options;
    struct store *store;
    struct definition definition;
    struct input_hashes hashes;
    struct arena arena, first; /* of loaded; of what was there before the plan added to it */
    struct store_loaded loaded;
    struct plan plan;
    bool is_stored;
    char *output_folder;
    struct run_adjustment *adjustment;
    struct study *study; /* NULL: the plan has every trial */
    int64_t *told_steps;
};

/* Ops in one group, growing. */
struct group {
    struct store_op *ops;
    size_t n, capacity;
    struct arena arena; /* texts of the ops */
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the sweep");
}

static int group_add(struct group *group, const struct store_op *op, struct err *err)
{
    if (group->n == group->capacity) {
        size_t larger = group->capacity ? 2 * group->capacity : 256;
        struct store_op *moved = realloc(group->ops, larger * sizeof(*moved));
        if (!moved)
            return no_memory(err);
        group->ops = moved;
        group->capacity = larger;
    }
    group->ops[group->n++] = *op;
    return 0;
}

static void group_done(struct group *group)
{
    free(group->ops);
    arena_done(&group->arena);
    *group = (struct group){0};
}

/* The sweep's row ----------------------------------------------------------------------------------------------- */

/* runs/nightsweep.db and sweep "ranks": runs/nightsweep/ranks, so that two stores in a folder do not meet. */
static int make_output_folder(struct run_sweep *run, struct err *err)
{
    char *trials = NULL;
    int rc = store_trials_folder(store_path(run->store), &trials, err);
    if (rc < 0)
        return rc;
    run->output_folder = file_join(trials, run->definition.name);
    free(trials);
    return run->output_folder ? file_make_folders(run->output_folder, err) : no_memory(err);
}

static int add_sweep(struct run_sweep *run, struct err *err)
{
    const struct definition *d = &run->definition;
    struct group group = {0};
    int64_t id = store_new_id(run->store, STORE_SWEEP);
    struct store_op op = {.kind = STORE_ADD_SWEEP,
                          .sweep = {.id = id,
                                    .name = d->name,
                                    .definition = d->text,
                                    .definition_sha256 = d->sha256,
                                    .folder = d->folder,
                                    .output_folder = run->output_folder,
                                    .seed = (int64_t)d->seed}};
    int rc = group_add(&group, &op, err);
    for (int i = 0; i < d->n_objectives && rc == 0; i++) {
        op = (struct store_op){.kind = STORE_ADD_OBJECTIVE,
                               .objective = {.sweep_id = id,
                                             .position = i,
                                             .metric = d->objectives[i].metric,
                                             .is_maximized = d->objectives[i].is_maximized}};
        rc = group_add(&group, &op, err);
    }
    if (rc == 0)
        rc = store_apply(run->store, group.ops, group.n, NULL, err);
    group_done(&group);
    return rc;
}

/* Whether the definition may go on with the sweep of its name. */
static int check_extends(struct run_sweep *run, struct err *err)
{
    const struct store_sweep *sweep = &run->loaded.sweep;
    struct definition earlier;
    if (strcmp(sweep->definition_sha256, run->definition.sha256) == 0)
        return 0;
    int rc = definition_parse(&earlier, sweep->definition, sweep->folder, sweep->name, err);
    if (rc < 0)
        err_wrap(err, "sweep '%s' is in the store with a definition that this program does not take any more",
                 sweep->name);
    else
        rc = definition_check_extends(&earlier, &run->definition, err);
    definition_done(&earlier);
    if (rc < 0)
        return rc;
    const struct store_op op = {.kind = STORE_SET_DEFINITION,
                                .set_definition = {.sweep_id = sweep->id,
                                                   .definition = run->definition.text,
                                                   .definition_sha256 = run->definition.sha256}};
    return store_apply(run->store, &op, 1, NULL, err);
}

static int load(struct run_sweep *run, struct err *err)
{
    int64_t id = 0;
    int rc = store_find_sweep(run->store, run->definition.name, &id, err);
    run->is_stored = id != 0;
    if (rc == 0 && id == 0) {
        rc = add_sweep(run, err);
        return rc == 0 ? store_load(run->store, run->definition.name, &run->arena, &run->loaded, err) : rc;
    }
    if (rc == 0)
        rc = store_load(run->store, run->definition.name, &run->arena, &run->loaded, err);
    return rc == 0 ? check_extends(run, err) : rc;
}

/* What is new of the plan -------------------------------------------------------------------------------------------
 */

static int add_configuration(struct run_sweep *run, struct group *group, struct planned_configuration *configuration,
                             struct err *err)
{
    struct store_op op = {.kind = STORE_ADD_CONFIGURATION,
                          .configuration = {.id = store_new_id(run->store, STORE_CONFIGURATION),
                                            .sweep_id = run->loaded.sweep.id,
                                            .number = configuration->number,
                                            .is_baseline = configuration->is_baseline,
                                            .parameters = store_canonical(&group->arena, configuration->parameters),
                                            .settings = store_canonical(&group->arena, configuration->settings)}};
    if (!op.configuration.parameters || !op.configuration.settings)
        return no_memory(err);
    configuration->stored_id = op.configuration.id;
    return group_add(group, &op, err);
}

static int add_trial(struct run_sweep *run, struct group *group, const struct planned_trial *trial, struct err *err)
{
    const struct planned_configuration *configuration = &run->plan.configurations[trial->configuration];
    const struct store_op op = {.kind = STORE_ADD_TRIAL,
                                .trial = {.id = store_new_id(run->store, STORE_TRIAL),
                                          .sweep_id = run->loaded.sweep.id,
                                          .configuration_id = configuration->stored_id,
                                          .number = trial->number,
                                          .seed = (int64_t)trial->seed,
                                          .identity = trial->identity}};
    int rc = group_add(group, &op, err);
    for (const cJSON *item = configuration->parameters->child; item && rc == 0; item = item->next) {
        struct store_op value;
        rc = store_value_op(&value, op.trial.id, item, &group->arena, err);
        if (rc == 0)
            rc = group_add(group, &value, err);
    }
    return rc;
}

enum { PART_OPS = 4096 };

/* Writes what the group holds and empties it. */
static int write_part(struct run_sweep *run, struct group *group, struct err *err)
{
    int rc = group->n > 0 ? store_apply_part(run->store, group->ops, group->n, err) : 0;
    group->n = 0;
    arena_reset(&group->arena);
    return rc;
}

static int add_new_configuration(struct run_sweep *run, struct group *group,
                                 struct planned_configuration *configuration, int *n_new, struct err *err)
{
    int rc = 0;
    if (configuration->stored_id == 0 && configuration->n_trials > 0)
        rc = add_configuration(run, group, configuration, err);
    for (int i = 0; i < configuration->n_trials && rc == 0; i++) {
        const struct planned_trial *trial = &run->plan.trials[configuration->first_trial + i];
        if (trial->stored >= 0)
            continue;
        ++*n_new;
        rc = add_trial(run, group, trial, err);
        if (rc == 0 && group->n > PART_OPS)
            rc = write_part(run, group, err);
    }
    return rc;
}

/* Everything new in one transaction, so that a sweep is in the store with all its trials or without any of them. */
static int add_new(struct run_sweep *run, struct err *err)
{
    struct group group = {0};
    int n_new = 0, rc = store_apply_begin(run->store, err);
    if (rc < 0)
        return rc;
    for (int i = 0; i < run->plan.n_configurations && rc == 0; i++)
        rc = add_new_configuration(run, &group, &run->plan.configurations[i], &n_new, err);
    const struct store_op open = {.kind = STORE_SET_SWEEP_STATE,
                                  .set_sweep_state = {.sweep_id = run->loaded.sweep.id, .state = SWEEP_OPEN}};
    if (rc == 0 && n_new > 0 && run->loaded.sweep.state != SWEEP_OPEN)
        rc = group_add(&group, &open, err);
    if (rc == 0)
        rc = write_part(run, &group, err);
    int end_rc = store_apply_end(run->store, rc != 0, rc == 0 ? err : NULL);
    rc = rc == 0 ? end_rc : rc;
    if (rc == 0 && run->plan.stored->n_trials > 0 && (n_new > 0 || run->plan.n_dropped > 0))
        progress_say(run->options->progress, "extended", "sweep '%s': %d trials kept, %d new, %d no longer asked for",
                     run->definition.name, run->plan.n_trials - n_new, n_new, run->plan.n_dropped);
    group_done(&group);
    return rc;
}

/* Working ------------------------------------------------------------------------------------------------------------
 */

/* Seconds until the next HH:MM of local time. */
static double seconds_until(const char *time_of_day)
{
    time_t now = time(NULL);
    struct tm then;
    localtime_r(&now, &then);
    then.tm_hour = (int)strtol(time_of_day, NULL, 10);
    then.tm_min = (int)strtol(time_of_day + 3, NULL, 10);
    then.tm_sec = 0;
    then.tm_isdst = -1;
    double seconds = difftime(mktime(&then), now);
    if (seconds > 0)
        return seconds;
    then.tm_mday++;
    then.tm_isdst = -1;
    return difftime(mktime(&then), now);
}

/* What a person said while it ran, else the command line, else the definition's time of day; 0: none. Its `for` holds
 * over all runs and is counted by the coordinator. */
static double deadline(const struct run_options *options, const struct definition *definition,
                       const struct run_adjustment *adjustment, double elapsed)
{
    double left = 1e-9 * ((double)adjustment->deadline_ns - (double)loop_now_ns());
    if (adjustment->has_deadline && adjustment->deadline_ns == 0)
        return 0;
    if (adjustment->has_deadline)
        return left > 0.001 ? left : 0.001;
    double out = options->deadline_seconds > 0 ? options->deadline_seconds - elapsed : 0;
    if (options->deadline_seconds > 0)
        return out > 0.001 ? out : 0.001; /* it has come: what runs checkpoints at once */
    return definition->budget.until ? seconds_until(definition->budget.until) : 0;
}

static int count_slots(const struct run_options *options, const struct definition *definition,
                       const struct run_adjustment *adjustment)
{
    cpu_set_t cpus;
    int cores = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    if (adjustment->slots > 0)
        return adjustment->slots;
    if (options->slots > 0)
        return options->slots;
    if (definition->resources.slots > 0)
        return definition->resources.slots;
    return cores > definition->resources.threads ? cores / definition->resources.threads : 1;
}

/* Adds a record of the study's to the store. */
static int keep_record(struct run_sweep *run, int64_t trial_id, const char *record, struct err *err)
{
    const struct store_op op = {
        .kind = STORE_EVENT,
        .event = {.sweep_id = run->loaded.sweep.id, .trial_id = trial_id, .kind = "study", .message = record}};
    return store_apply(run->store, &op, 1, NULL, err);
}

struct warm_group {
    struct run_sweep *run;
    struct group group;
};

static int on_warm_record(const char *record, void *context, struct err *err)
{
    struct warm_group *warm = context;
    struct store_op op = {.kind = STORE_EVENT, .event = {.sweep_id = warm->run->loaded.sweep.id, .kind = "study"}};
    op.event.message = arena_strdup(&warm->group.arena, record);
    return op.event.message ? group_add(&warm->group, &op, err) : no_memory(err);
}

/* What earlier sweeps found, once: a sweep that has begun keeps what it began with. */
static int warm_up(struct run_sweep *run, struct err *err)
{
    struct warm_group warm = {.run = run};
    int n_taken = 0, n_left = 0;
    int rc = warm_start_load(run->store, &run->definition, run->study, on_warm_record, &warm, &n_taken, &n_left, err);
    if (rc == 0 && warm.group.n > 0)
        rc = store_apply(run->store, warm.group.ops, warm.group.n, NULL, err);
    if (rc == 0)
        progress_say(run->options->progress, "warm_start",
                     "warm start: %d trials of earlier sweeps are taken as a prior, %d lie outside this space", n_taken,
                     n_left);
    group_done(&warm.group);
    return rc;
}

/* Results that were taken from an equal trial when the last run ended before its search heard of them. */
static int tell_reused(struct run_sweep *run, int study_trial, const struct store_trial *stored, struct err *err)
{
    enum trial_state state = TRIAL_COMPLETE;
    sqlite3_stmt *row = NULL;
    cJSON *metrics = NULL;
    struct text record = {0};
    if (stored->state != TRIAL_COMPLETE || study_state(run->study, study_trial, &state, NULL) < 0 ||
        state != TRIAL_RUNNING)
        return 0;
    if (sqlite3_prepare_v2(store_database(run->store), warm_start_metrics_sql, -1, &row, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "store '%s': a trial's results cannot be read", store_path(run->store));
    sqlite3_bind_int64(row, 1, stored->id);
    const char *text = sqlite3_step(row) == SQLITE_ROW ? (const char *)sqlite3_column_text(row, 0) : NULL;
    int rc = json_parse(text ? text : "{}", text ? strlen(text) : 2, &metrics, err);
    sqlite3_finalize(row);
    if (rc == 0)
        rc = study_tell(run->study, study_trial, metrics, err);
    if (rc == 0) {
        study_log_tell(&record, study_trial, 0, metrics);
        rc = keep_record(run, stored->id, record.data ? record.data : "", err);
    }
    text_done(&record);
    json_free(metrics);
    return rc;
}

static int tell_all_reused(struct run_sweep *run, struct err *err)
{
    int rc = 0, study_trial = 0;
    for (int i = 0; i < run->loaded.n_trials && rc == 0; i++)
        if (!run->loaded.configurations[run->loaded.trials[i].configuration].is_baseline)
            rc = tell_reused(run, ++study_trial, &run->loaded.trials[i], err);
    return rc;
}

/* The study of an adaptive sweep, as it was when the last run ended. */
static int replay(struct run_sweep *run, sqlite3_stmt *rows, int *n, struct err *err)
{
    int rc = 0, code = SQLITE_DONE;
    while (rc == 0 && (code = sqlite3_step(rows)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(rows, 0);
        cJSON *record = NULL;
        rc = json_parse(text, strlen(text), &record, err);
        if (rc == 0)
            rc = study_log_replay(run->study, record, err);
        ++*n;
        const cJSON *trial = json_get(record, "trial"), *step = json_get(record, "step");
        if (rc == 0 && cJSON_IsNumber(step) && trial->valuedouble >= 1 && trial->valuedouble <= run->loaded.n_trials)
            run->told_steps[(int)trial->valuedouble - 1] = (int64_t)step->valuedouble;
        json_free(record);
    }
    if (rc == 0 && code != SQLITE_DONE)
        rc = err_set(err, ERR_STORE, "store '%s': the search's history cannot be read: %s", store_path(run->store),
                     sqlite3_errmsg(store_database(run->store)));
    return rc;
}

static int open_study(struct run_sweep *run, struct err *err)
{
    sqlite3_stmt *rows = NULL;
    int n = 0;
    if (!plan_is_adaptive(&run->definition))
        return 0;
    run->told_steps = arena_calloc(&run->arena, (size_t)run->loaded.n_trials + 1, sizeof(*run->told_steps));
    int rc = run->told_steps ? study_new(&run->study, &run->definition, true, err) : no_memory(err);
    if (rc == 0 && sqlite3_prepare_v2(store_database(run->store),
                                      "SELECT message FROM event WHERE sweep_id = ?1 AND kind = 'study' ORDER BY id",
                                      -1, &rows, NULL) != SQLITE_OK)
        rc = err_set(err, ERR_STORE, "store '%s': the search's history cannot be read", store_path(run->store));
    if (rc == 0) {
        sqlite3_bind_int64(rows, 1, run->loaded.sweep.id);
        rc = replay(run, rows, &n, err);
    }
    sqlite3_finalize(rows);
    if (rc == ERR_USAGE) /* the rules of a rung may change between versions; what was decided cannot */
        rc = err_wrap(err,
                      "record %d of its search does not follow from those before: another version began it, whose "
                      "rules decided otherwise; go on with that one, or start again with --new NAME (equal trials "
                      "are reused)",
                      n);
    if (rc == 0 && n == 0 && run->definition.warm_start)
        rc = warm_up(run, err);
    if (rc == 0)
        rc = tell_all_reused(run, err);
    if (rc < 0)
        return err_wrap(err, "sweep '%s'", run->definition.name);
    progress_say(run->options->progress, "search", "search: %s", study_explain(run->study));
    return 0;
}

/* Index of the study's trial among the loaded ones. */
static int find_loaded(const struct run_sweep *run, int64_t study_trial)
{
    int64_t number = 0;
    for (int i = 0; i < run->loaded.n_trials; i++)
        if (!run->loaded.configurations[run->loaded.trials[i].configuration].is_baseline && ++number == study_trial)
            return i;
    return -1;
}

/* The identity of a trial that went on from another one. */
static int add_lineage(const struct run_sweep *run, int index, char identity[HASH_HEX_SIZE], struct err *err)
{
    struct study_proposal proposal;
    int64_t number = 0;
    for (int i = 0; i <= index; i++)
        number += !run->loaded.configurations[run->loaded.trials[i].configuration].is_baseline;
    if (number > study_trials(run->study))
        return 0;
    int rc = study_describe(run->study, number, &proposal, err);
    int parent = rc == 0 && proposal.parent > 0 ? find_loaded(run, proposal.parent) : -1;
    if (parent >= 0)
        job_child_identity(identity, run->loaded.trials[parent].identity, proposal.parent_step, identity);
    return rc;
}

/* Whether what was begun can be ended as it was begun: same data, model and numerics. */
static int check_identity(struct run_sweep *run, struct err *err)
{
    char identity[HASH_HEX_SIZE];
    for (int i = 0; i < run->loaded.n_trials; i++) {
        const struct store_trial *trial = &run->loaded.trials[i];
        const struct store_configuration *configuration = &run->loaded.configurations[trial->configuration];
        cJSON *settings = NULL;
        if (trial_state_is_final(trial->state) || configuration->is_baseline)
            continue;
        int rc = json_parse(configuration->settings, strlen(configuration->settings), &settings, err);
        if (rc == 0)
            rc = job_identity(&run->definition, &run->hashes, settings, (uint64_t)trial->seed, identity, err);
        json_free(settings);
        if (rc == 0)
            rc = add_lineage(run, i, identity, err);
        if (rc == 0 && strcmp(identity, trial->identity) != 0)
            rc = err_set(err, ERR_USAGE,
                         "sweep '%s': model, data or the program's numerics are not those that it was begun with; "
                         "--new NAME starts another sweep",
                         run->definition.name);
        return rc;
    }
    return 0;
}

/* What earlier runs used of the budgets of time: the newest event of that kind says. */
static int read_used(struct run_sweep *run, struct budget_used *used, struct err *err)
{
    sqlite3_stmt *row = NULL;
    cJSON *json = NULL;
    int rc = 0;
    *used = (struct budget_used){0};
    if (sqlite3_prepare_v2(store_database(run->store),
                           "SELECT message FROM event WHERE sweep_id = ?1 AND kind = 'budget' ORDER BY id DESC LIMIT 1",
                           -1, &row, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "store '%s': the budget cannot be read", store_path(run->store));
    sqlite3_bind_int64(row, 1, run->loaded.sweep.id);
    if (sqlite3_step(row) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(row, 0);
        rc = json_parse(text, strlen(text), &json, err);
        if (rc == 0)
            rc = json_get_double(json, "seconds", "budget", &used->seconds, err);
        if (rc == 0)
            rc = json_get_double(json, "cpu_seconds", "budget", &used->cpu_seconds, err);
    }
    sqlite3_finalize(row);
    json_free(json);
    return rc;
}

/* Which loaded trials the plan asks for; in the sweep's arena. */
static bool *wanted(struct run_sweep *run)
{
    bool *is_wanted = arena_calloc(&run->arena, (size_t)run->loaded.n_trials + 1, sizeof(*is_wanted));
    int i = 0;
    if (!is_wanted)
        return NULL;
    for (int j = 0; j < run->loaded.n_trials; j++)
        is_wanted[j] = true;
    /* Both are in the order of the trials' numbers as they were before anything was added. */
    for (int j = 0; j < run->plan.n_dropped; j++) {
        int64_t number = run->plan.stored->trials[run->plan.dropped[j]].number;
        while (i < run->loaded.n_trials && run->loaded.trials[i].number < number)
            i++;
        if (i < run->loaded.n_trials && run->loaded.trials[i].number == number)
            is_wanted[i] = false;
    }
    return is_wanted;
}

/* What the plan and the first look at the store took is given back: the rest of the night needs none of it. */
static void forget_plan(struct run_sweep *run)
{
    plan_done(&run->plan);
    run->plan = (struct plan){0};
    arena_done(&run->first);
    run->first = (struct arena){0};
    malloc_trim(0);
}

static int coordinate(struct run_sweep *run, double elapsed, struct run_outcome *outcome, struct err *err)
{
    const struct run_options *o = run->options;
    struct coordinator_options options = {.store = run->store,
                                          .definition = &run->definition,
                                          .hashes = &run->hashes,
                                          .loaded = &run->loaded,
                                          .is_wanted = wanted(run),
                                          .study = run->study,
                                          .told_steps = run->told_steps,
                                          .launcher = o->launcher,
                                          .workers = o->workers > 0 ? o->workers : 1,
                                          .slots = count_slots(o, &run->definition, run->adjustment),
                                          .deadline_seconds = deadline(o, &run->definition, run->adjustment, elapsed),
                                          .checkpoint_seconds =
                                              o->checkpoint_seconds >= 0 ? o->checkpoint_seconds : CHECKPOINT_SECONDS,
                                          .progress = o->progress,
                                          .adjustment = run->adjustment};
    if (!options.is_wanted)
        return no_memory(err);
    forget_plan(run);
    int rc = read_used(run, &options.used, err);
    return rc == 0 ? coordinator_run(&options, outcome, err) : rc;
}

/* What the sweep is trained on, with its licenses; again with every run, since a card may have come since. */
static int add_inputs(struct run_sweep *run, struct err *err)
{
    struct input inputs[INPUTS_MAX];
    struct group group = {0};
    int n = 0;
    int rc = inputs_describe(inputs, &n, &run->definition, &run->hashes, &group.arena, err);
    for (int i = 0; i < n && rc == 0; i++) {
        const struct store_op op = {.kind = STORE_INPUT,
                                    .input = {.sweep_id = run->loaded.sweep.id,
                                              .role = inputs[i].role,
                                              .path = inputs[i].path,
                                              .sha256 = inputs[i].sha256,
                                              .license = inputs[i].license.text,
                                              .license_source = inputs[i].license.source}};
        rc = group_add(&group, &op, err);
    }
    if (rc == 0)
        rc = store_apply(run->store, group.ops, group.n, NULL, err);
    group_done(&group);
    return rc;
}

static int set_state(struct run_sweep *run, enum sweep_state state, struct err *err)
{
    const struct store_op op = {.kind = STORE_SET_SWEEP_STATE,
                                .set_sweep_state = {.sweep_id = run->loaded.sweep.id, .state = state}};
    return store_apply(run->store, &op, 1, NULL, err);
}

static int hash_inputs(struct run_sweep *run, struct err *err)
{
    char *cache = job_hash_cache(store_path(run->store));
    int rc = cache ? job_hash_inputs(&run->hashes, &run->definition, cache, err) : no_memory(err);
    free(cache);
    return rc;
}

/* What it starts from, when that is an earlier sweep's; *waits: it is not there yet. */
static int settle_origins(struct run_sweep *run, bool *waits, struct err *err)
{
    const char *waits_for = NULL;
    if (!definition_has_from(&run->definition))
        return 0;
    int rc = origin_load(&run->definition, run->store, run->loaded.sweep.id, err);
    if (rc == 0)
        rc = origin_waits_for(&run->definition, run->store, &waits_for, err);
    *waits = waits_for != NULL;
    if (rc == 0 && waits_for)
        progress_say(run->options->progress, "stage_waits", "sweep '%s' waits for sweep '%s', which is not complete",
                     run->definition.name, waits_for);
    else if (rc == 0)
        rc = origin_settle(&run->definition, run->store, run->loaded.sweep.id, run->output_folder, err);
    if (rc == 0 && !waits_for)
        rc = hash_inputs(run, err);
    return rc < 0 ? err_wrap(err, "sweep '%s'", run->definition.name) : 0;
}

/* What fine-tuning added to each check; then the items go that nobody asked to keep. */
static int pair_checks(struct run_sweep *run, struct err *err)
{
    int rc = bias_before_fill(run->store, run->loaded.sweep.id, err);
    for (int i = 0; i < run->definition.n_checks && rc == 0; i++)
        if (!run->definition.checks[i].items)
            rc = bias_before_drop_items(run->store, run->loaded.sweep.id, run->definition.checks[i].name, err);
    return rc;
}

static int run_one(struct run_sweep *run, double elapsed, struct run_outcome *outcome, struct err *err)
{
    struct store_loaded stored;
    bool waits = false;
    int rc = definition_has_from(&run->definition) ? 0 : hash_inputs(run, err);
    if (rc == 0)
        rc = make_output_folder(run, err);
    /* A sweep's rows are on disk with its first attempt; until then nobody was told anything. */
    if (rc == 0)
        rc = store_set_durable(run->store, false, err);
    if (rc == 0)
        rc = load(run, err);
    if (rc == 0)
        rc = settle_origins(run, &waits, err);
    outcome->n_open += rc == 0 && waits; /* how many trials that is, is not known yet */
    if (rc < 0 || waits)
        return rc;
    crash_at(CRASH_SWEEP_ADDED);
    /* The plan looks at what was there; the coordinator at what is there with the plan's additions. */
    run->first = run->arena;
    stored = run->loaded;
    run->arena = (struct arena){0};
    rc = plan_make(&run->plan, &run->definition, &run->hashes, &stored, err);
    if (rc == 0)
        rc = add_new(run, err);
    crash_at(CRASH_TRIALS_ADDED);
    if (rc == 0)
        rc = add_inputs(run, err);
    if (rc == 0)
        rc = store_load(run->store, run->definition.name, &run->arena, &run->loaded, err);
    if (rc == 0)
        rc = open_study(run, err);
    if (rc == 0 && run->study)
        rc = check_identity(run, err);
    struct run_outcome own = {0};
    struct err detail = {0};
    int durable = store_set_durable(run->store, true, &detail);
    if (rc == 0 && durable < 0) {
        rc = durable;
        *err = detail;
    }
    if (rc == 0)
        rc = coordinate(run, elapsed, &own, err);
    crash_at(CRASH_RUN_OVER);
    int paired = run->loaded.sweep.id ? pair_checks(run, &detail) : 0;
    if (rc == 0 && paired < 0) {
        rc = paired;
        *err = detail;
    }
    crash_at(CRASH_CHECKS_PAIRED);
    if (rc == 0)
        rc = set_state(run, own.n_open > 0 || own.was_canceled ? SWEEP_STOPPED : SWEEP_COMPLETE, err);
    outcome->n_failed += own.n_failed;
    outcome->n_open += own.n_open;
    outcome->was_interrupted = outcome->was_interrupted || own.was_interrupted;
    outcome->was_canceled = outcome->was_canceled || own.was_canceled;
    return rc;
}

/* A definition of a file (moved here), from its beginning to its end. */
static int run_definition(struct run_sweep *run, double elapsed, struct run_outcome *outcome, struct err *err)
{
    int rc = run_one(run, elapsed, outcome, err);
    plan_done(&run->plan);
    study_free(run->study);
    arena_done(&run->first);
    free(run->output_folder);
    arena_done(&run->arena);
    definition_done(&run->definition);
    return rc;
}

/* The stages of a file have their rows from the beginning, so that what waits is seen. */
static int announce(struct run_sweep *run, struct err *err)
{
    int64_t id = 0;
    int rc = store_find_sweep(run->store, run->definition.name, &id, err);
    if (rc == 0 && id == 0)
        rc = make_output_folder(run, err);
    if (rc == 0 && id == 0)
        rc = add_sweep(run, err);
    free(run->output_folder);
    return rc;
}

static int run_file(const struct run_sweep *prepared, const char *path, uint64_t start_ns, struct run_outcome *outcome,
                    struct err *err)
{
    struct stages stages;
    int rc = stages_read(&stages, path, prepared->options->new_name, err);
    for (int i = 0; i < stages.n && rc == 0 && stages.is_staged; i++) {
        struct run_sweep run = *prepared;
        run.definition = stages.items[i]; /* borrowed */
        rc = announce(&run, err);
    }
    for (int i = 0; i < stages.n && rc == 0 && !outcome->was_interrupted; i++) {
        struct run_sweep run = *prepared;
        run.definition = stages_take(&stages, i);
        rc = run_definition(&run, 1e-9 * (double)(loop_now_ns() - start_ns), outcome, err);
    }
    stages_done(&stages);
    return rc;
}

int run_sweeps(const struct run_options *options, struct run_outcome *outcome, struct err *err)
{
    struct store *store = NULL;
    struct run_adjustment adjustment = {0};
    *outcome = (struct run_outcome){0};
    if (options->new_name && options->n_files != 1)
        return err_set(err, ERR_USAGE, "--new names one sweep, %d definitions were given", options->n_files);
    uint64_t start_ns = loop_now_ns();
    int rc = store_open(&store, options->store, STORE_WRITE, err);
    if (rc == 0)
        rc = store_trust_operations(store, err);
    for (int i = 0; i < options->n_files && rc == 0 && !outcome->was_interrupted; i++) {
        const struct run_sweep prepared = {.options = options, .store = store, .adjustment = &adjustment};
        rc = run_file(&prepared, options->files[i], start_ns, outcome, err);
    }
    store_close(store);
    malloc_trim(0); /* the page has the room that the trials had */
    return rc;
}
