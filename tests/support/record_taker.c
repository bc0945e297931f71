/* A coordinator without processes: see record_taker.h. */
#include "tests/support/record_taker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/coordinator_internal.h"

static struct store *store;
static struct store_loaded loaded;
static struct store_trial stored;
static struct live_trial trial;
static struct pool pool;
static struct coordinator_slot slot;
static struct coordinator coordinator;
static struct coordinator_options options;
static struct definition definition;
static struct err refusal;

static void on_refused(const struct store_result *result, void *context)
{
    (void)context;
    if (result->rc != ERR_CANCELED && result->rc != ERR_NUMERIC && result->rc != ERR_FORMAT)
        err_set(&refusal, result->rc, "%s", result->message);
}

static int add_sweep(struct err *err)
{
    static struct objective objective = {.metric = "validation/accuracy", .is_maximized = true};
    definition =
        (struct definition){.name = "records", .sha256 = "d0", .objectives = &objective, .n_objectives = 1, .seeds = 1};
    loaded.sweep = (struct store_sweep){.id = 1,
                                        .name = "records",
                                        .definition = "{}",
                                        .definition_sha256 = "d0",
                                        .folder = "/sweeps",
                                        .output_folder = "/out",
                                        .seed = 7};
    const struct store_op ops[] = {
        {.kind = STORE_ADD_SWEEP, .sweep = loaded.sweep},
        {.kind = STORE_ADD_OBJECTIVE,
         .objective = {.sweep_id = 1, .metric = "validation/accuracy", .is_maximized = true}},
        {.kind = STORE_ADD_CONFIGURATION,
         .configuration = {.id = 1, .sweep_id = 1, .number = 1, .parameters = "{}", .settings = "{}"}}};
    return store_apply(store, ops, 3, NULL, err);
}

int record_taker_open(const char *path, struct err *err)
{
    static const struct store_thread_options thread_options = {.on_error = on_refused};
    int rc = store_open(&store, path, STORE_WRITE, err);
    if (rc == 0 && sqlite3_exec(store_database(store), "PRAGMA synchronous = OFF", NULL, NULL, NULL) != SQLITE_OK)
        rc = err_set(err, ERR_STORE, "the store still syncs");
    if (rc == 0)
        rc = add_sweep(err);
    if (rc == 0)
        rc = store_thread_start(&coordinator.thread, store, &thread_options, err);
    options = (struct coordinator_options){
        .store = store, .definition = &definition, .loaded = &loaded, .progress = progress_new(PROGRESS_JSON)};
    coordinator.options = &options;
    coordinator.definition = &definition;
    coordinator.is_closing = true; /* there is no loop to close */
    coordinator.slots = &slot;
    coordinator.n_slots = 1;
    return rc;
}

/* A new trial whose attempt runs: the one before is through. */
static int start_attempt(struct err *err)
{
    char identity[32];
    int64_t number = stored.number + 1;
    snprintf(identity, sizeof(identity), "id-%d", (int)number);
    stored = (struct store_trial){
        .id = number, .sweep_id = 1, .configuration_id = 1, .number = number, .seed = number, .identity = identity};
    const struct store_op ops[] = {
        {.kind = STORE_ADD_TRIAL, .trial = stored},
        {.kind = STORE_BEGIN_ATTEMPT, .begin_attempt = {.id = number, .trial_id = number, .worker = "w", .slot = 1}}};
    free(trial.checkpoint);
    cJSON_Delete(slot.outcomes);
    trial = (struct live_trial){.stored = &stored, .method = "lora", .parameters = "", .state = TRIAL_RUNNING};
    slot = (struct coordinator_slot){
        .state = SLOT_RUNNING, .pool = &pool, .number = 1, .trial = &trial, .attempt = number};
    coordinator.n_busy = 1;
    int rc = store_thread_submit(coordinator.thread, ops, 2, NULL, NULL, err);
    stored.identity = "id";
    return rc;
}

static void fill_in_path(cJSON *record)
{
    char path[128];
    cJSON *item = cJSON_GetObjectItemCaseSensitive(record, "path");
    const cJSON *step = json_get(record, "step");
    if (!cJSON_IsString(item) || item->valuestring[0] != '@' || !cJSON_IsNumber(step))
        return;
    snprintf(path, sizeof(path), "/out/%d/%d-%.0f.checkpoint", (int)stored.number, (int)slot.attempt,
             step->valuedouble);
    cJSON_SetValuestring(item, path);
}

int record_taker_take(cJSON *record, const char *type, struct err *err)
{
    int rc = slot.state == SLOT_RUNNING && !slot.is_closed ? 0 : start_attempt(err);
    if (rc < 0)
        return rc;
    fill_in_path(record);
    if (strcmp(type, "ended") == 0)
        attempt_ended(&coordinator, &slot, record);
    else if ((rc = record_take(&coordinator, &slot, type, record, err)) < 0)
        attempt_fail(&coordinator, &slot, REASON_CRASHED, err->message);
    return rc;
}

int record_taker_flush(struct err *err)
{
    store_thread_flush(coordinator.thread);
    if (coordinator.rc < 0)
        return err_set(err, coordinator.rc, "%s", coordinator.err.message);
    return refusal.code ? err_set(err, refusal.code, "%s", refusal.message) : 0;
}

void record_taker_close(void)
{
    store_thread_stop(coordinator.thread);
    store_close(store);
    progress_free(options.progress);
    free(trial.checkpoint);
    cJSON_Delete(slot.outcomes);
    coordinator = (struct coordinator){0};
    slot = (struct coordinator_slot){0};
    trial = (struct live_trial){0};
    stored = (struct store_trial){0};
    refusal = (struct err){0};
}
