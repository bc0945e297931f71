/* A session's sweep in the store. Trials are trained elsewhere, so an attempt begins with the first report about its
 * trial; after a crash the store has closed it, and the next report begins another. */
#include "orchestrator/suggest_store.h"

#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/store_op.h"
#include "orchestrator/study_log.h"
#include "orchestrator/warm_start.h"

enum { OPS_MAX = 96 };

struct kept_trial {
    int64_t id, attempt; /* attempt 0: none is open */
};

struct suggest_store {
    struct store *store;
    const struct definition *definition;
    int64_t sweep;
    struct kept_trial *trials;
    int64_t *configurations; /* ids, by number − 1 */
    int n_trials, n_configurations, trials_capacity, configurations_capacity;
};

static int grow(void **array, int *capacity, int n, size_t size, struct err *err)
{
    if (n < *capacity)
        return 0;
    int next = *capacity ? *capacity * 2 : 64;
    void *grown = realloc(*array, (size_t)next * size);
    if (!grown)
        return err_set(err, ERR_NOMEM, "no memory for the session's trials");
    *array = grown;
    *capacity = next;
    return 0;
}

static int put_trial(struct suggest_store *s, int64_t id, struct err *err)
{
    int rc = grow((void **)&s->trials, &s->trials_capacity, s->n_trials, sizeof(*s->trials), err);
    if (rc == 0)
        s->trials[s->n_trials++] = (struct kept_trial){.id = id};
    return rc;
}

static int put_configuration(struct suggest_store *s, int64_t id, struct err *err)
{
    int rc = grow((void **)&s->configurations, &s->configurations_capacity, s->n_configurations,
                  sizeof(*s->configurations), err);
    if (rc == 0)
        s->configurations[s->n_configurations++] = id;
    return rc;
}

/* Opening ---------------------------------------------------------------------------------------------------------- */

/* What decides proposals must be what it was; budgets may grow. */
static int check_same(const struct definition *earlier, const struct definition *next, const char *path,
                      struct err *err)
{
    static const char *const keys[] = {"seed",        "parameters", "settings", "objectives", "stopping",
                                       "constraints", "seeds",      "order",    NULL};
    for (const char *const *key = keys; *key; key++) {
        const cJSON *was = json_get(earlier->root, *key), *is = json_get(next->root, *key);
        if ((was || is) && (!was || !is || !json_equal(was, is)))
            return err_set(err, ERR_USAGE,
                           "sweep '%s' is in '%s' with another '%s': give the definition another name, or another "
                           "--store",
                           next->name, path, *key);
    }
    if (strcmp(earlier->search, next->search) != 0)
        return err_set(err, ERR_USAGE, "sweep '%s' is in '%s' with the algorithm %s, now it is %s", next->name, path,
                       earlier->search, next->search);
    return 0;
}

static int prepare(struct suggest_store *s, const char *sql, sqlite3_stmt **row, struct err *err)
{
    sqlite3 *db = store_database(s->store);
    if (sqlite3_prepare_v2(db, sql, -1, row, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "%s: %s", store_path(s->store), sqlite3_errmsg(db));
    sqlite3_bind_int64(*row, 1, s->sweep);
    return 0;
}

static int load_definition(struct suggest_store *s, struct err *err)
{
    sqlite3_stmt *row = NULL;
    struct definition earlier = {0};
    int rc = prepare(s, "SELECT definition FROM sweep WHERE id = ?1", &row, err);
    if (rc == 0 && sqlite3_step(row) == SQLITE_ROW) {
        rc = definition_parse_elsewhere(&earlier, (const char *)sqlite3_column_text(row, 0), store_path(s->store), err);
        if (rc == 0)
            rc = check_same(&earlier, s->definition, store_path(s->store), err);
        definition_done(&earlier);
    }
    sqlite3_finalize(row);
    return rc;
}

static int load_ids(struct suggest_store *s, const char *sql, int (*put)(struct suggest_store *, int64_t, struct err *),
                    struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc = prepare(s, sql, &row, err);
    while (rc == 0 && sqlite3_step(row) == SQLITE_ROW)
        rc = put(s, sqlite3_column_int64(row, 0), err);
    sqlite3_finalize(row);
    return rc;
}

static int load(struct suggest_store *s, struct err *err)
{
    int rc = load_definition(s, err);
    if (rc == 0)
        rc = load_ids(s, "SELECT id FROM configuration WHERE sweep_id = ?1 ORDER BY number", put_configuration, err);
    if (rc == 0)
        rc = load_ids(s, "SELECT id FROM trial WHERE sweep_id = ?1 ORDER BY number", put_trial, err);
    if (rc < 0)
        return rc;
    struct store_op ops[] = {
        {.kind = STORE_SET_DEFINITION, .set_definition = {s->sweep, s->definition->text, s->definition->sha256}},
        {.kind = STORE_SET_SWEEP_STATE, .set_sweep_state = {s->sweep, SWEEP_OPEN}},
    };
    return store_apply(s->store, ops, 2, NULL, err);
}

static int create(struct suggest_store *s, struct err *err)
{
    struct store_op ops[OPS_MAX];
    size_t n = 0;
    s->sweep = store_new_id(s->store, STORE_SWEEP);
    ops[n++] = (struct store_op){.kind = STORE_ADD_SWEEP,
                                 .sweep = {.id = s->sweep,
                                           .name = s->definition->name,
                                           .definition = s->definition->text,
                                           .definition_sha256 = s->definition->sha256,
                                           .folder = s->definition->folder,
                                           .output_folder = "",
                                           .seed = (int64_t)s->definition->seed,
                                           .state = SWEEP_OPEN}};
    for (int i = 0; i < s->definition->n_objectives; i++)
        ops[n++] = (struct store_op){
            .kind = STORE_ADD_OBJECTIVE,
            .objective = {s->sweep, i, s->definition->objectives[i].metric, s->definition->objectives[i].is_maximized}};
    return store_apply(s->store, ops, n, NULL, err);
}

int suggest_store_open(struct suggest_store **store, const struct definition *definition, const char *path,
                       struct err *err)
{
    struct suggest_store *s = calloc(1, sizeof(*s));
    if (!s)
        return err_set(err, ERR_NOMEM, "no memory for the store");
    s->definition = definition;
    int rc = store_open(&s->store, path, STORE_WRITE, err);
    if (rc == 0)
        rc = store_find_sweep(s->store, definition->name, &s->sweep, err);
    if (rc == 0)
        rc = s->sweep ? load(s, err) : create(s, err);
    if (rc < 0)
        suggest_store_close(s);
    else
        *store = s;
    return rc;
}

void suggest_store_close(struct suggest_store *store)
{
    if (!store)
        return;
    store_close(store->store);
    free(store->trials);
    free(store->configurations);
    free(store);
}

static int keep_record(const char *record, void *context, struct err *err)
{
    struct suggest_store *s = context;
    const struct store_op op = {.kind = STORE_EVENT,
                                .event = {.sweep_id = s->sweep, .kind = "suggest", .message = record}};
    return store_apply(s->store, &op, 1, NULL, err);
}

int suggest_store_warm_up(struct suggest_store *s, struct study *study, int *n_taken, int *n_left, struct err *err)
{
    return warm_start_load(s->store, s->definition, study, keep_record, s, n_taken, n_left, err);
}

int suggest_store_replay(struct suggest_store *store, int (*on_record)(const cJSON *, void *, struct err *),
                         void *context, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc =
        prepare(store, "SELECT message FROM event WHERE sweep_id = ?1 AND kind = 'suggest' ORDER BY id", &row, err);
    while (rc == 0 && sqlite3_step(row) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(row, 0);
        cJSON *record = NULL;
        rc = json_parse(text, strlen(text), &record, err);
        if (rc == 0)
            rc = on_record(record, context, err);
        json_free(record);
    }
    sqlite3_finalize(row);
    return rc < 0 ? err_wrap(err, "%s: replaying sweep '%s'", store_path(store->store), store->definition->name) : 0;
}

/* Keeping ---------------------------------------------------------------------------------------------------------- */

static void identify(const struct suggest_store *s, const char *parameters, int seed_index, char hex[HASH_HEX_SIZE])
{
    struct text text = {0};
    text_printf(&text, "suggest %s %d ", s->definition->name, seed_index);
    text_add(&text, parameters);
    hash_bytes(text.data ? text.data : "", text.len, hex);
    text_done(&text);
}

int suggest_store_ask(struct suggest_store *s, const struct study_proposal *proposal, struct err *err)
{
    struct text parameters = {0}, record = {0};
    struct store_op ops[4];
    size_t n = 0;
    char identity[HASH_HEX_SIZE];
    int64_t trial = store_new_id(s->store, STORE_TRIAL);
    json_add_canonical(&parameters, proposal->parameters);
    study_log_ask(&record, proposal);
    int rc = parameters.failed || record.failed ? err_set(err, ERR_NOMEM, "no memory for a trial") : 0;
    if (rc == 0 && proposal->configuration > s->n_configurations) {
        int64_t id = store_new_id(s->store, STORE_CONFIGURATION);
        ops[n++] = (struct store_op){.kind = STORE_ADD_CONFIGURATION,
                                     .configuration = {.id = id,
                                                       .sweep_id = s->sweep,
                                                       .number = proposal->configuration,
                                                       .parameters = parameters.data,
                                                       .settings = parameters.data}};
        rc = put_configuration(s, id, err);
    }
    if (rc == 0) {
        identify(s, parameters.data, proposal->seed_index, identity);
        ops[n++] = (struct store_op){.kind = STORE_ADD_TRIAL,
                                     .trial = {.id = trial,
                                               .sweep_id = s->sweep,
                                               .configuration_id = s->configurations[proposal->configuration - 1],
                                               .number = proposal->trial,
                                               .seed = proposal->seed_index,
                                               .identity = identity}};
        ops[n++] = (struct store_op){
            .kind = STORE_EVENT,
            .event = {.sweep_id = s->sweep, .trial_id = trial, .kind = "suggest", .message = record.data}};
        rc = store_apply(s->store, ops, n, NULL, err);
    }
    if (rc == 0)
        rc = put_trial(s, trial, err);
    text_done(&parameters);
    text_done(&record);
    return rc;
}

/* Points of every number that was reported. */
static size_t read_points(const cJSON *metrics, int64_t step, struct store_point *points, size_t max)
{
    size_t n = 0;
    for (const cJSON *item = metrics ? metrics->child : NULL; item && n < max; item = item->next)
        if (cJSON_IsNumber(item))
            points[n++] = (struct store_point){item->string, step, item->valuedouble};
    return n;
}

static size_t add_end(const struct suggest_store *s, const cJSON *metrics, struct kept_trial *trial,
                      enum trial_state state, const char *reason, struct store_op *ops)
{
    size_t n = 0;
    bool is_failed = state == TRIAL_FAILED;
    struct optional_real first = {0};
    for (int i = 0; i < s->definition->n_objectives; i++) {
        const cJSON *item = metrics ? json_get(metrics, s->definition->objectives[i].metric) : NULL;
        if (state != TRIAL_COMPLETE || !item || !cJSON_IsNumber(item))
            continue;
        ops[n++] =
            (struct store_op){.kind = STORE_OBJECTIVE_VALUE, .objective_value = {trial->id, i, item->valuedouble}};
        if (i == 0)
            first = known_real(item->valuedouble);
    }
    ops[n++] = (struct store_op){.kind = STORE_END_ATTEMPT,
                                 .end_attempt = {.attempt_id = trial->attempt,
                                                 .state = is_failed               ? ATTEMPT_FAILED
                                                          : state == TRIAL_PRUNED ? ATTEMPT_STOPPED
                                                                                  : ATTEMPT_COMPLETE,
                                                 .reason = is_failed ? REASON_CRASHED : REASON_NONE,
                                                 .message = reason[0] ? reason : NULL}};
    ops[n++] = (struct store_op){.kind = STORE_MOVE_TRIAL,
                                 .move_trial = {.trial_id = trial->id,
                                                .to = state,
                                                .reason = is_failed ? REASON_CRASHED : REASON_NONE,
                                                .message = reason[0] ? reason : NULL,
                                                .value = first}};
    trial->attempt = 0;
    return n;
}

int suggest_store_tell(struct suggest_store *s, const cJSON *request, int64_t number, int64_t step,
                       enum trial_state state, const char *reason, struct err *err)
{
    struct kept_trial *trial = &s->trials[number - 1];
    const cJSON *metrics = json_get(request, "metrics");
    struct store_point points[OPS_MAX / 2];
    struct store_op ops[OPS_MAX];
    struct text record = {0};
    size_t n = 0;
    enum trial_state stored = TRIAL_WAITING;
    sqlite3_stmt *row = NULL;
    json_add(&record, request);
    int rc = record.failed ? err_set(err, ERR_NOMEM, "no memory for a report") : 0;
    if (rc == 0)
        rc = prepare(s, "SELECT state FROM trial WHERE id = ?1", &row, err);
    if (rc == 0) {
        sqlite3_bind_int64(row, 1, trial->id);
        if (sqlite3_step(row) == SQLITE_ROW)
            rc = trial_state_parse((const char *)sqlite3_column_text(row, 0), &stored, err);
    }
    sqlite3_finalize(row);
    ops[n++] = (struct store_op){
        .kind = STORE_EVENT,
        .event = {.sweep_id = s->sweep, .trial_id = trial->id, .kind = "suggest", .message = record.data}};
    if (!trial_state_is_final(stored)) {
        if (!trial->attempt) {
            trial->attempt = store_new_id(s->store, STORE_ATTEMPT);
            ops[n++] = (struct store_op){.kind = STORE_BEGIN_ATTEMPT,
                                         .begin_attempt = {trial->attempt, trial->id, "elsewhere", 0}};
        }
        size_t n_points = step > 0 ? read_points(metrics, step, points, OPS_MAX / 2) : 0;
        if (n_points > 0)
            ops[n++] = (struct store_op){.kind = STORE_POINTS, .points = {trial->attempt, points, n_points}};
        if (reason[0])
            ops[n++] = (struct store_op){
                .kind = STORE_DECISION,
                .decision = {.sweep_id = s->sweep,
                             .trial_id = trial->id,
                             .rule = s->definition->stopping.kind ? s->definition->stopping.kind->name : "budget",
                             .step = known_int(step),
                             .action = state == TRIAL_RUNNING ? "continue" : "prune",
                             .reason = reason}};
        if (trial_state_is_final(state))
            n += add_end(s, metrics, trial, state, reason, ops + n);
    }
    if (rc == 0)
        rc = store_apply(s->store, ops, n, NULL, err);
    text_done(&record);
    return rc;
}
