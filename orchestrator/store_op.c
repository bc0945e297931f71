/* The table of operations, and groups of them inside a transaction. */
#include "orchestrator/store_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TEXTS(...)                                                                                                     \
    (const size_t[])                                                                                                   \
    {                                                                                                                  \
        __VA_ARGS__, 0                                                                                                 \
    } /* `kind` stands at offset 0, so no text does */
#define AT(member) offsetof(struct store_op, member)

const struct store_op_row store_op_rows[STORE_OP_KINDS] = {
    [STORE_ADD_SWEEP] = {"add_sweep", store_run_add_sweep,
                         TEXTS(AT(sweep.name), AT(sweep.definition), AT(sweep.definition_sha256), AT(sweep.folder),
                               AT(sweep.output_folder))},
    [STORE_ADD_OBJECTIVE] = {"add_objective", store_run_add_objective, TEXTS(AT(objective.metric))},
    [STORE_INPUT] = {"input", store_run_input,
                     TEXTS(AT(input.role), AT(input.path), AT(input.sha256), AT(input.license),
                           AT(input.license_source))},
    [STORE_ADD_ORIGIN] = {"add_origin", store_run_add_origin,
                          TEXTS(AT(origin.role), AT(origin.seed), AT(origin.from_sweep), AT(origin.from_identity),
                                AT(origin.path), AT(origin.sha256))},
    [STORE_SET_DEFINITION] = {"set_definition", store_run_set_definition,
                              TEXTS(AT(set_definition.definition), AT(set_definition.definition_sha256))},
    [STORE_SET_SWEEP_STATE] = {"set_sweep_state", store_run_set_sweep_state, NULL},
    [STORE_ADD_CONFIGURATION] = {"add_configuration", store_run_add_configuration,
                                 TEXTS(AT(configuration.parameters), AT(configuration.settings))},
    [STORE_ADD_TRIAL] = {"add_trial", store_run_add_trial, TEXTS(AT(trial.identity))},
    [STORE_PARAMETER_VALUE] = {"parameter_value", store_run_parameter_value,
                               TEXTS(AT(parameter_value.name), AT(parameter_value.text))},
    [STORE_MOVE_TRIAL] = {"move_trial", store_run_move_trial, TEXTS(AT(move_trial.message))},
    [STORE_REUSE_TRIAL] = {"reuse_trial", store_run_reuse_trial, NULL},
    [STORE_BEGIN_ATTEMPT] = {"begin_attempt", store_run_begin_attempt, TEXTS(AT(begin_attempt.worker))},
    [STORE_START_ATTEMPT] = {"start_attempt", store_run_start_attempt,
                             TEXTS(AT(start_attempt.environment.program_version),
                                   AT(start_attempt.environment.git_commit), AT(start_attempt.environment.blas_version),
                                   AT(start_attempt.environment.blas_core), AT(start_attempt.environment.cpu),
                                   AT(start_attempt.environment.kernel_level), AT(start_attempt.environment.compute),
                                   AT(start_attempt.environment.model_sha256),
                                   AT(start_attempt.environment.tokenizer_sha256),
                                   AT(start_attempt.environment.data_sha256),
                                   AT(start_attempt.environment.definition_sha256))},
    [STORE_END_ATTEMPT] = {"end_attempt", store_run_end_attempt, TEXTS(AT(end_attempt.cause), AT(end_attempt.message))},
    [STORE_EXIT_ATTEMPT] = {"exit_attempt", store_run_exit_attempt, TEXTS(AT(exit_attempt.log_tail))},
    [STORE_POINTS] = {"points", store_run_points, NULL},
    [STORE_EVALUATION] = {"evaluation", store_run_evaluation,
                          TEXTS(AT(evaluation.split), AT(evaluation.metrics), AT(evaluation.item_set_sha256))},
    [STORE_BIAS_CHECK] = {"bias_check", store_run_bias_check,
                          TEXTS(AT(bias_check.check_name), AT(bias_check.metric), AT(bias_check.item_set_sha256),
                                AT(bias_check.items))},
    [STORE_DROP_ITEMS] = {"drop_items", store_run_drop_items, TEXTS(AT(drop_items.check_name))},
    [STORE_INHERIT_CHECKPOINT] = {"inherit_checkpoint", store_run_inherit_checkpoint,
                                  TEXTS(AT(inherit_checkpoint.path))},
    [STORE_CHECKPOINT] = {"checkpoint", store_run_checkpoint, TEXTS(AT(checkpoint.path), AT(checkpoint.sha256))},
    [STORE_ARTIFACT] = {"artifact", store_run_artifact,
                        TEXTS(AT(artifact.kind), AT(artifact.path), AT(artifact.sha256))},
    [STORE_OBJECTIVE_VALUE] = {"objective_value", store_run_objective_value, NULL},
    [STORE_DECISION] = {"decision", store_run_decision,
                        TEXTS(AT(decision.rule), AT(decision.action), AT(decision.reason))},
    [STORE_EVENT] = {"event", store_run_event, TEXTS(AT(event.kind), AT(event.message))},
    [STORE_CANCEL] = {"cancel", store_run_cancel, TEXTS(AT(choice.sweep), AT(choice.reason))},
    [STORE_RETRY] = {"retry", store_run_retry, TEXTS(AT(choice.sweep), AT(choice.reason))},
    [STORE_ARCHIVE] = {"archive", store_run_archive, TEXTS(AT(choice.sweep), AT(choice.reason))},
    [STORE_UNARCHIVE] = {"unarchive", store_run_unarchive, TEXTS(AT(choice.sweep), AT(choice.reason))},
    [STORE_DELETE] = {"delete", store_run_delete, TEXTS(AT(choice.sweep), AT(choice.reason))},
};

const char *store_op_name(enum store_op_kind kind)
{
    return (unsigned)kind < STORE_OP_KINDS ? store_op_rows[kind].name : "unknown";
}

void store_result_done(struct store_result *result)
{
    free((char *)result->replaced_path);
    free((char *)result->reused_metrics);
    if (result->message != NULL && result->message[0] != '\0')
        free((char *)result->message);
    *result = (struct store_result){.message = ""};
}

void store_result_fail(struct store_result *result, int rc, const char *message)
{
    store_result_done(result);
    char *copy = strdup(message);
    result->rc = rc;
    if (copy != NULL) /* without memory the code alone has to do */
        result->message = copy;
}

/* Ends the group's savepoint; what the group did is undone first when it failed. */
static int close_group(struct store *store, bool has_failed, struct err *err)
{
    int rc = 0;
    if (has_failed) {
        store_names_rolled_back(store);
        rc = store_run(store, "ROLLBACK TO operations", NULL, 0, NULL, err);
    }
    if (rc == 0)
        rc = store_run(store, "RELEASE operations", NULL, 0, NULL, err);
    return rc == ERR_INTERNAL ? ERR_STORE : rc;
}

int store_run_group(struct store *store, const struct store_op *ops, size_t n, bool is_alone,
                    struct store_result *result, struct err *err)
{
    struct err end;
    store_result_done(result);
    int rc = is_alone ? store_run(store, "SAVEPOINT operations", NULL, 0, NULL, err) : 0;
    if (rc != 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        assert((unsigned)ops[i].kind < STORE_OP_KINDS);
        rc = store_op_rows[ops[i].kind].run(store, &ops[i], result, err);
        if (rc != 0)
            err_wrap(err, "%s", store_op_name(ops[i].kind));
    }
    if (store_is_storage_failure(rc))
        return rc;
    int end_rc = is_alone ? close_group(store, rc != 0, &end) : 0;
    if (end_rc != 0)
        return err_set(err, end_rc, "%s", end.message);
    if (rc != 0)
        store_result_fail(result, rc, err->message);
    return rc;
}

int store_apply(struct store *store, const struct store_op *ops, size_t n, struct store_result *result, struct err *err)
{
    struct err failure;
    int rc = store_begin(store, &failure);
    if (rc == 0)
        rc = store_run_group(store, ops, n, false, &store->result, &failure);
    if (rc == 0)
        rc = store_commit(store, &failure);
    if (rc != 0) {
        store_rollback(store);
        store_result_fail(&store->result, rc, failure.message);
        err_set(err, rc, "%s", failure.message);
    }
    if (result != NULL)
        *result = store->result;
    return rc;
}

const char *store_canonical(struct arena *arena, const cJSON *json)
{
    struct text text = {0};
    json_add_canonical(&text, json);
    const char *out = text.failed ? NULL : arena_strdup(arena, text.data);
    text_done(&text);
    return out;
}

int store_apply_begin(struct store *store, struct err *err)
{
    return store_begin(store, err);
}

int store_apply_part(struct store *store, const struct store_op *ops, size_t n, struct err *err)
{
    struct err failure;
    int rc = store_run_group(store, ops, n, false, &store->result, &failure);
    return rc == 0 ? 0 : err_set(err, rc, "%s", failure.message);
}

int store_apply_end(struct store *store, bool has_failed, struct err *err)
{
    int rc = has_failed ? 0 : store_commit(store, err);
    if (has_failed || rc != 0)
        store_rollback(store);
    return rc;
}

int store_value_op(struct store_op *op, int64_t trial_id, const cJSON *item, struct arena *arena, struct err *err)
{
    *op = (struct store_op){.kind = STORE_PARAMETER_VALUE,
                            .parameter_value = {.trial_id = trial_id, .name = item->string}};
    if (cJSON_IsNumber(item))
        op->parameter_value.number = item->valuedouble;
    else if (cJSON_IsString(item))
        op->parameter_value.text = item->valuestring;
    else if (!(op->parameter_value.text = store_canonical(arena, item)))
        return err_set(err, ERR_NOMEM, "no memory for the value of '%s'", item->string);
    return 0;
}
