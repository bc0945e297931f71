/* Reading a sweep back: what the coordinator starts from, and streams of rows for what it must not hold in memory. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "orchestrator/store_internal.h"

/* Texts of loaded rows, one behind the other: an arena's alignment would double them. */
struct pool {
    struct arena *arena;
    char *at;
    size_t left;
};
enum { POOL_BYTES = 64 << 10 };

/* A column's text, NULL for NULL. *failed is set without memory. */
static const char *pool_column(struct pool *pool, sqlite3_stmt *row, int column, bool *failed)
{
    const unsigned char *text = sqlite3_column_text(row, column);
    if (text == NULL)
        return NULL;
    size_t size = (size_t)sqlite3_column_bytes(row, column) + 1;
    if (size > pool->left) {
        size_t bytes = size > POOL_BYTES ? size : POOL_BYTES;
        char *block = arena_alloc(pool->arena, bytes);
        if (block == NULL) {
            *failed = true;
            return NULL;
        }
        pool->at = block;
        pool->left = bytes;
    }
    char *copy = memcpy(pool->at, text, size);
    pool->at += size;
    pool->left -= size;
    return copy;
}

static int no_memory(const struct store *store, struct err *err)
{
    return err_set(err, ERR_NOMEM, "store '%s': no memory for what is loaded from it", store->path);
}

static struct optional_int column_int(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) == SQLITE_NULL ? (struct optional_int){0}
                                                           : known_int(sqlite3_column_int64(row, column));
}

static struct optional_real column_real(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) == SQLITE_NULL ? (struct optional_real){0}
                                                           : known_real(sqlite3_column_double(row, column));
}

static const char *column_text(sqlite3_stmt *row, int column)
{
    return (const char *)sqlite3_column_text(row, column);
}

int store_find_sweep(struct store *store, const char *name, int64_t *id, struct err *err)
{
    sqlite3_stmt *row;
    bool found = false;
    int rc = store_first(store, "SELECT id FROM sweep WHERE name = ?1", BINDS(bind_text(name)), &row, &found, err);
    if (rc != 0)
        return rc;
    *id = found ? sqlite3_column_int64(row, 0) : 0;
    sqlite3_reset(row);
    return 0;
}

static int read_names(struct store *store, bool with_archived, struct arena *arena, const char *const **names,
                      struct err *err)
{
    int64_t count = 0;
    bool has_row = true, failed = false;
    sqlite3_stmt *row;
    struct pool pool = {.arena = arena};
    int rc = store_read_number(store, "SELECT COUNT(*) FROM sweep", &count, err);
    if (rc == 0)
        rc = store_query(store, "SELECT name FROM sweep WHERE ?2 OR archived_at IS NULL ORDER BY id LIMIT ?1",
                         BINDS(bind_int(count), bind_int(with_archived)), &row, err);
    if (rc != 0)
        return rc;
    const char **list = arena_calloc(arena, (size_t)count + 1, sizeof *list);
    if (list == NULL)
        return no_memory(store, err);
    for (int64_t n = 0; rc == 0 && has_row && !failed; n++) {
        rc = store_step(store, row, &has_row, err);
        if (rc == 0 && has_row)
            list[n] = pool_column(&pool, row, 0, &failed);
    }
    sqlite3_reset(row);
    if (rc == 0 && failed)
        rc = no_memory(store, err);
    if (rc == 0)
        *names = list;
    return rc;
}

int store_sweep_names(struct store *store, struct arena *arena, const char *const **names, struct err *err)
{
    return read_names(store, true, arena, names, err);
}

int store_listed_names(struct store *store, struct arena *arena, const char *const **names, struct err *err)
{
    return read_names(store, false, arena, names, err);
}

/* "there is no sweep 'x' in 'file', nearest is 'y'" */
static int refuse_name(struct store *store, const char *name, struct arena *arena, struct err *err)
{
    const char *const *names = NULL;
    int rc = store_sweep_names(store, arena, &names, err);
    if (rc != 0)
        return rc;
    const char *nearest = text_nearest(name, names);
    if (nearest != NULL)
        return err_set(err, ERR_NOT_FOUND, "there is no sweep '%s' in '%s', nearest is '%s'", name, store->path,
                       nearest);
    return err_set(err, ERR_NOT_FOUND, "there is no sweep '%s' in '%s'", name, store->path);
}

static int load_sweep(struct store *store, const char *name, struct pool *pool, struct store_sweep *sweep,
                      struct err *err)
{
    sqlite3_stmt *row;
    bool found = false, failed = false;
    int rc = store_first(
        store,
        "SELECT id, name, definition, definition_sha256, folder, output_folder, seed, state, archived_at IS NOT NULL "
        "FROM sweep WHERE name = ?1",
        BINDS(bind_text(name)), &row, &found, err);
    if (rc != 0)
        return rc;
    if (!found)
        return refuse_name(store, name, pool->arena, err);
    sweep->id = sqlite3_column_int64(row, 0);
    sweep->name = pool_column(pool, row, 1, &failed);
    sweep->definition = pool_column(pool, row, 2, &failed);
    sweep->definition_sha256 = pool_column(pool, row, 3, &failed);
    sweep->folder = pool_column(pool, row, 4, &failed);
    sweep->output_folder = pool_column(pool, row, 5, &failed);
    sweep->seed = sqlite3_column_int64(row, 6);
    sweep->is_archived = sqlite3_column_int(row, 8) != 0;
    rc = sweep_state_parse(column_text(row, 7), &sweep->state, err);
    sqlite3_reset(row);
    return rc == 0 && failed ? no_memory(store, err) : rc;
}

static int count_rows(struct store *store, const char *sql, int64_t sweep_id, int *n, struct err *err)
{
    sqlite3_stmt *row;
    bool found = false;
    int rc = store_first(store, sql, BINDS(bind_int(sweep_id)), &row, &found, err);
    if (rc != 0)
        return rc;
    *n = found ? sqlite3_column_int(row, 0) : 0;
    sqlite3_reset(row);
    return 0;
}

/* Settings are long and only needed to make a job, so those of configurations that have ended stay in the store. A
 * failed trial may be asked for again. */
static const char select_configurations[] =
    "SELECT id, number, role = 'baseline', parameters, "
    "CASE WHEN EXISTS (SELECT 1 FROM trial t WHERE t.configuration_id = c.id "
    "AND t.state IN ('WAITING', 'RUNNING', 'PAUSED', 'FAILED')) "
    "OR NOT EXISTS (SELECT 1 FROM trial t WHERE t.configuration_id = c.id) THEN settings END "
    "FROM configuration c WHERE sweep_id = ?1 ORDER BY number";

static int load_configurations(struct store *store, struct pool *pool, struct store_loaded *loaded, struct err *err)
{
    sqlite3_stmt *row;
    bool has_row = false, failed = false;
    int n = 0;
    const int64_t sweep_id = loaded->sweep.id;
    int rc = count_rows(store, "SELECT COUNT(*) FROM configuration WHERE sweep_id = ?1", sweep_id,
                        &loaded->n_configurations, err);
    if (rc != 0)
        return rc;
    loaded->configurations =
        arena_calloc(pool->arena, (size_t)loaded->n_configurations + 1, sizeof *loaded->configurations);
    if (loaded->configurations == NULL)
        return no_memory(store, err);
    rc = store_query(store, select_configurations, BINDS(bind_int(sweep_id)), &row, err);
    if (rc == 0)
        rc = store_step(store, row, &has_row, err);
    for (; rc == 0 && has_row && n < loaded->n_configurations; n++) {
        loaded->configurations[n] = (struct store_configuration){
            .id = sqlite3_column_int64(row, 0),
            .sweep_id = sweep_id,
            .number = sqlite3_column_int64(row, 1),
            .is_baseline = sqlite3_column_int(row, 2) != 0,
            .parameters = pool_column(pool, row, 3, &failed),
            .settings = pool_column(pool, row, 4, &failed),
        };
        rc = store_step(store, row, &has_row, err);
    }
    return rc == 0 && failed ? no_memory(store, err) : rc;
}

static int compare_numbers(const void *key, const void *element)
{
    const int64_t number = *(const int64_t *)key;
    const int64_t other = ((const struct store_configuration *)element)->number;
    return (number > other) - (number < other);
}

static const char select_trials[] =
    "SELECT t.id, t.configuration_id, t.number, t.seed, t.identity, t.state, t.reason, t.value, t.steps, "
    "t.total_steps, t.trained_parameters, c.number, k.step, k.path, k.sha256 "
    "FROM trial t JOIN configuration c ON c.id = t.configuration_id LEFT JOIN checkpoint k ON k.trial_id = t.id "
    "WHERE t.sweep_id = ?1 ORDER BY t.number";

static int read_trial(struct store *store, sqlite3_stmt *row, struct pool *pool, const struct store_loaded *loaded,
                      struct store_trial *trial, struct err *err)
{
    bool failed = false;
    const char *reason = column_text(row, 6);
    const int64_t id = sqlite3_column_int64(row, 0), number = sqlite3_column_int64(row, 11);
    const struct store_configuration *configuration = bsearch(
        &number, loaded->configurations, (size_t)loaded->n_configurations, sizeof *configuration, compare_numbers);
    if (configuration == NULL)
        return err_set(err, ERR_STORE, "store '%s' is damaged: trial %" PRId64 " has a configuration of another sweep",
                       store->path, id);
    *trial = (struct store_trial){
        .id = id,
        .sweep_id = loaded->sweep.id,
        .configuration_id = sqlite3_column_int64(row, 1),
        .number = sqlite3_column_int64(row, 2),
        .seed = sqlite3_column_int64(row, 3),
        .identity = pool_column(pool, row, 4, &failed),
        .value = column_real(row, 7),
        .steps = sqlite3_column_int64(row, 8),
        .total_steps = column_int(row, 9),
        .trained_parameters = column_int(row, 10),
        .configuration = (int)(configuration - loaded->configurations),
        .checkpoint_step = sqlite3_column_int64(row, 12),
        .checkpoint_path = pool_column(pool, row, 13, &failed),
        .checkpoint_sha256 = pool_column(pool, row, 14, &failed),
    };
    int rc = trial_state_parse(column_text(row, 5), &trial->state, err);
    if (rc == 0 && reason != NULL)
        rc = trial_reason_parse(reason, &trial->reason, err);
    return rc == 0 && failed ? no_memory(store, err) : rc;
}

static int load_trials(struct store *store, struct pool *pool, struct store_loaded *loaded, struct err *err)
{
    sqlite3_stmt *row;
    bool has_row = false;
    const int64_t sweep_id = loaded->sweep.id;
    int rc = count_rows(store, "SELECT COUNT(*) FROM trial WHERE sweep_id = ?1", sweep_id, &loaded->n_trials, err);
    if (rc != 0)
        return rc;
    loaded->trials = arena_calloc(pool->arena, (size_t)loaded->n_trials + 1, sizeof *loaded->trials);
    if (loaded->trials == NULL)
        return no_memory(store, err);
    rc = store_query(store, select_trials, BINDS(bind_int(sweep_id)), &row, err);
    if (rc == 0)
        rc = store_step(store, row, &has_row, err);
    for (int n = 0; rc == 0 && has_row && n < loaded->n_trials; n++) {
        rc = read_trial(store, row, pool, loaded, &loaded->trials[n], err);
        if (rc == 0)
            rc = store_step(store, row, &has_row, err);
        else
            sqlite3_reset(row);
    }
    return rc;
}

/* Attempts by state, merged into the trials: both are ordered by the trial's number. Failed ones from before the trial
 * was asked for again used up no retry: they count as interrupted. */
static int load_attempts(struct store *store, struct store_loaded *loaded, struct err *err)
{
    sqlite3_stmt *row;
    bool has_row = false;
    int i = 0;
    int rc = store_query(store,
                         "WITH retried AS (SELECT trial_id, MAX(created_at) AS at FROM event WHERE sweep_id = ?1 "
                         "AND kind = 'retried' GROUP BY trial_id) "
                         "SELECT t.number, CASE WHEN a.state = 'FAILED' AND a.started_at <= r.at THEN 'INTERRUPTED' "
                         "ELSE a.state END AS counted, COUNT(*), SUM(a.seconds) FROM trial t "
                         "JOIN attempt a ON a.trial_id = t.id LEFT JOIN retried r ON r.trial_id = t.id "
                         "WHERE t.sweep_id = ?1 GROUP BY t.number, counted ORDER BY t.number",
                         BINDS(bind_int(loaded->sweep.id)), &row, err);
    if (rc == 0)
        rc = store_step(store, row, &has_row, err);
    while (rc == 0 && has_row) {
        enum attempt_state state = ATTEMPT_RUNNING;
        const int64_t number = sqlite3_column_int64(row, 0);
        while (i < loaded->n_trials && loaded->trials[i].number < number)
            i++;
        assert(i < loaded->n_trials && loaded->trials[i].number == number);
        rc = attempt_state_parse(column_text(row, 1), &state, err);
        if (rc != 0) {
            sqlite3_reset(row);
            break;
        }
        loaded->trials[i].attempts[state] = sqlite3_column_int(row, 2);
        loaded->trials[i].seconds += sqlite3_column_double(row, 3);
        rc = store_step(store, row, &has_row, err);
    }
    return rc;
}

int store_load(struct store *store, const char *name, struct arena *arena, struct store_loaded *loaded, struct err *err)
{
    struct pool pool = {.arena = arena};
    struct store_loaded found = {0};
    /* One transaction: what belongs together is read as of one moment, also beside a writer. */
    int rc = store_run(store, "BEGIN", NULL, 0, NULL, err);
    if (rc == 0)
        rc = load_sweep(store, name, &pool, &found.sweep, err);
    if (rc == 0)
        rc = load_configurations(store, &pool, &found, err);
    if (rc == 0)
        rc = load_trials(store, &pool, &found, err);
    if (rc == 0)
        rc = load_attempts(store, &found, err);
    store_rollback(store);
    if (rc == 0)
        *loaded = found;
    return rc;
}

int store_read_points(struct store *store, int64_t sweep_id, const char *metric, store_point_fn on_point, void *context,
                      struct err *err)
{
    sqlite3_stmt *row;
    bool has_row = false;
    int rc = store_query(store,
                         "SELECT m.trial_id, m.step, m.value FROM trial t CROSS JOIN metric m ON m.trial_id = t.id "
                         "AND m.name_id = (SELECT id FROM metric_name WHERE name = ?2) "
                         "WHERE t.sweep_id = ?1 ORDER BY t.number, m.step",
                         BINDS(bind_int(sweep_id), bind_text(metric)), &row, err);
    if (rc == 0)
        rc = store_step(store, row, &has_row, err);
    while (rc == 0 && has_row) {
        rc = on_point(sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1), column_real(row, 2), context, err);
        if (rc == 0)
            rc = store_step(store, row, &has_row, err);
        else
            sqlite3_reset(row);
    }
    return rc;
}

int store_read_bias_checks(struct store *store, int64_t sweep_id, bool baselines_only, store_bias_check_fn on_check,
                           void *context, struct err *err)
{
    sqlite3_stmt *row;
    bool has_row = false;
    int rc = store_query(store,
                         "SELECT b.trial_id, b.check_name, b.metric, b.n_items, b.before, b.delta, b.low, b.high, "
                         "b.after, b.item_set_sha256, b.items FROM trial t JOIN bias_check b ON b.trial_id = t.id "
                         "JOIN configuration c ON c.id = t.configuration_id "
                         "WHERE t.sweep_id = ?1 AND (NOT ?2 OR c.role = 'baseline') ORDER BY t.number, b.id",
                         BINDS(bind_int(sweep_id), bind_int(baselines_only)), &row, err);
    if (rc == 0)
        rc = store_step(store, row, &has_row, err);
    while (rc == 0 && has_row) {
        const struct store_bias_check check = {
            .trial_id = sqlite3_column_int64(row, 0),
            .check_name = column_text(row, 1),
            .metric = column_text(row, 2),
            .n_items = sqlite3_column_int64(row, 3),
            .before = column_real(row, 4),
            .delta = column_real(row, 5),
            .low = column_real(row, 6),
            .high = column_real(row, 7),
            .after = sqlite3_column_double(row, 8),
            .item_set_sha256 = column_text(row, 9),
            .items = column_text(row, 10),
        };
        rc = on_check(&check, context, err);
        if (rc == 0)
            rc = store_step(store, row, &has_row, err);
        else
            sqlite3_reset(row);
    }
    return rc;
}

int store_read_decisions(struct store *store, int64_t sweep_id, store_decision_fn on_decision, void *context,
                         struct err *err)
{
    sqlite3_stmt *row;
    bool has_row = false;
    int rc =
        store_query(store, "SELECT trial_id, rule, step, action, reason FROM decision WHERE sweep_id = ?1 ORDER BY id",
                    BINDS(bind_int(sweep_id)), &row, err);
    if (rc == 0)
        rc = store_step(store, row, &has_row, err);
    while (rc == 0 && has_row) {
        const struct store_decision decision = {
            .sweep_id = sweep_id,
            .trial_id = sqlite3_column_int64(row, 0),
            .rule = column_text(row, 1),
            .step = column_int(row, 2),
            .action = column_text(row, 3),
            .reason = column_text(row, 4),
        };
        rc = on_decision(&decision, context, err);
        if (rc == 0)
            rc = store_step(store, row, &has_row, err);
        else
            sqlite3_reset(row);
    }
    return rc;
}
