/* Writing what describes a sweep: its row, objectives, configurations, trials, decisions and events. */
#include "orchestrator/store_internal.h"

int store_expect_one(int64_t changes, const char *what, int64_t id, struct err *err)
{
    if (changes == 1)
        return 0;
    return err_set(err, ERR_INTERNAL, "there is no %s with id %lld in the store", what, (long long)id);
}

int store_run_add_sweep(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_sweep *sweep = &op->sweep;
    (void)result;
    return store_run(
        store,
        "INSERT INTO sweep (id, name, definition, definition_sha256, folder, output_folder, seed, created_at) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        BINDS(bind_int(sweep->id), bind_text(sweep->name), bind_text(sweep->definition),
              bind_text(sweep->definition_sha256), bind_text(sweep->folder), bind_text(sweep->output_folder),
              bind_int(sweep->seed), bind_text(store->now)),
        NULL, err);
}

int store_run_add_objective(struct store *store, const struct store_op *op, struct store_result *result,
                            struct err *err)
{
    const struct store_objective *objective = &op->objective;
    (void)result;
    return store_run(store, "INSERT INTO objective (sweep_id, position, metric, goal) VALUES (?1, ?2, ?3, ?4)",
                     BINDS(bind_int(objective->sweep_id), bind_int(objective->position), bind_text(objective->metric),
                           bind_text(objective->is_maximized ? "maximize" : "minimize")),
                     NULL, err);
}

int store_run_input(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_input *input = &op->input;
    (void)result;
    return store_run(store,
                     "INSERT INTO input (sweep_id, role, path, sha256, license, license_source) "
                     "VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (sweep_id, role) DO UPDATE SET path = excluded.path, "
                     "sha256 = excluded.sha256, license = excluded.license, license_source = excluded.license_source",
                     BINDS(bind_int(input->sweep_id), bind_text(input->role), bind_text(input->path),
                           bind_text(input->sha256), bind_text(input->license), bind_text(input->license_source)),
                     NULL, err);
}

int store_run_add_origin(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_origin *origin = &op->origin;
    (void)result;
    return store_run(store,
                     "INSERT INTO origin (sweep_id, role, seed, from_sweep, from_trial, from_identity, path, sha256) "
                     "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                     BINDS(bind_int(origin->sweep_id), bind_text(origin->role), bind_text(origin->seed),
                           bind_text(origin->from_sweep), bind_int(origin->from_trial),
                           bind_text(origin->from_identity), bind_text(origin->path), bind_text(origin->sha256)),
                     NULL, err);
}

int store_run_set_definition(struct store *store, const struct store_op *op, struct store_result *result,
                             struct err *err)
{
    const struct store_set_definition *set = &op->set_definition;
    int64_t changes = 0;
    (void)result;
    int rc = store_run(store, "UPDATE sweep SET definition = ?2, definition_sha256 = ?3 WHERE id = ?1",
                       BINDS(bind_int(set->sweep_id), bind_text(set->definition), bind_text(set->definition_sha256)),
                       &changes, err);
    return rc == 0 ? store_expect_one(changes, "sweep", set->sweep_id, err) : rc;
}

int store_run_set_sweep_state(struct store *store, const struct store_op *op, struct store_result *result,
                              struct err *err)
{
    const struct store_set_sweep_state *set = &op->set_sweep_state;
    int64_t changes = 0;
    (void)result;
    int rc = store_run(store, "UPDATE sweep SET state = ?2, finished_at = ?3 WHERE id = ?1",
                       BINDS(bind_int(set->sweep_id), bind_text(sweep_state_name(set->state)),
                             bind_text(set->state == SWEEP_OPEN ? NULL : store->now)),
                       &changes, err);
    return rc == 0 ? store_expect_one(changes, "sweep", set->sweep_id, err) : rc;
}

int store_run_add_configuration(struct store *store, const struct store_op *op, struct store_result *result,
                                struct err *err)
{
    const struct store_configuration *configuration = &op->configuration;
    (void)result;
    return store_run(store,
                     "INSERT INTO configuration (id, sweep_id, number, role, parameters, settings) "
                     "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                     BINDS(bind_int(configuration->id), bind_int(configuration->sweep_id),
                           bind_int(configuration->number),
                           bind_text(configuration->is_baseline ? "baseline" : "search"),
                           bind_text(configuration->parameters), bind_text(configuration->settings)),
                     NULL, err);
}

int store_run_add_trial(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_trial *trial = &op->trial;
    (void)result;
    return store_run(store,
                     "INSERT INTO trial (id, sweep_id, configuration_id, number, seed, identity, created_at) "
                     "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                     BINDS(bind_int(trial->id), bind_int(trial->sweep_id), bind_int(trial->configuration_id),
                           bind_int(trial->number), bind_int(trial->seed), bind_text(trial->identity),
                           bind_text(store->now)),
                     NULL, err);
}

int store_run_parameter_value(struct store *store, const struct store_op *op, struct store_result *result,
                              struct err *err)
{
    const struct store_parameter_value *value = &op->parameter_value;
    (void)result;
    return store_run(store, "INSERT INTO parameter_value (trial_id, name, value) VALUES (?1, ?2, ?3)",
                     BINDS(bind_int(value->trial_id), bind_text(value->name),
                           value->text != NULL ? bind_text(value->text) : bind_real(value->number)),
                     NULL, err);
}

int store_run_decision(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_decision *decision = &op->decision;
    (void)result;
    return store_run(store,
                     "INSERT INTO decision (sweep_id, trial_id, rule, step, action, reason, created_at) "
                     "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                     BINDS(bind_int(decision->sweep_id), bind_id(decision->trial_id), bind_text(decision->rule),
                           bind_optional_int(decision->step), bind_text(decision->action), bind_text(decision->reason),
                           bind_text(store->now)),
                     NULL, err);
}

int store_run_event(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_event *event = &op->event;
    (void)result;
    return store_run(store,
                     "INSERT INTO event (sweep_id, trial_id, kind, message, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                     BINDS(bind_id(event->sweep_id), bind_id(event->trial_id), bind_text(event->kind),
                           bind_text(event->message), bind_text(store->now)),
                     NULL, err);
}
