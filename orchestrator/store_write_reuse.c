/* Taking a trial's results from an equal one: what was run is not run again when a grid grows or sweeps overlap. */
#include "orchestrator/store_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/warm_start.h"

/* A COMPLETE trial of the same identity whose value means the same (the first objective is the same metric) and that
 * has the others. The own sweep comes first, because its artifacts can be shared. */
static const char find_equal[] =
    "SELECT b.id, b.number, s.name, b.value, x.output_folder = s.output_folder "
    "FROM trial a JOIN trial b ON b.identity = a.identity AND b.id <> a.id AND b.state = 'COMPLETE' "
    "JOIN sweep x ON x.id = a.sweep_id JOIN sweep s ON s.id = b.sweep_id "
    "JOIN objective oa ON oa.sweep_id = a.sweep_id AND oa.position = 0 "
    "JOIN objective ob ON ob.sweep_id = b.sweep_id AND ob.position = 0 AND ob.metric = oa.metric "
    "WHERE a.id = ?1 AND NOT EXISTS (SELECT 1 FROM objective oc WHERE oc.sweep_id = a.sweep_id AND oc.position > 0 AND "
    "NOT EXISTS (SELECT 1 FROM objective_value v JOIN objective od ON od.sweep_id = b.sweep_id AND od.position = "
    "v.position WHERE v.trial_id = b.id AND od.metric = oc.metric)) ORDER BY x.output_folder = s.output_folder DESC, "
    "b.id LIMIT 1";

struct equal_trial {
    int64_t id;
    struct optional_real value;
    bool shares_folder;
    char message[256];
};

static int read_equal(struct store *store, int64_t trial_id, struct equal_trial *equal, bool *found, struct err *err)
{
    sqlite3_stmt *row;
    /* Nearly all trials are like no other, which the index says. */
    int rc = store_first(store,
                         "SELECT 1 FROM trial WHERE identity = (SELECT identity FROM trial WHERE id = ?1) AND id <> ?1",
                         BINDS(bind_int(trial_id)), &row, found, err);
    if (rc != 0 || !*found)
        return rc;
    sqlite3_reset(row);
    rc = store_first(store, find_equal, BINDS(bind_int(trial_id)), &row, found, err);
    if (rc != 0 || !*found)
        return rc;
    equal->id = sqlite3_column_int64(row, 0);
    snprintf(equal->message, sizeof equal->message, "results of trial %lld of sweep '%s', which is equal",
             (long long)sqlite3_column_int64(row, 1), (const char *)sqlite3_column_text(row, 2));
    if (sqlite3_column_type(row, 3) != SQLITE_NULL)
        equal->value = known_real(sqlite3_column_double(row, 3));
    equal->shares_folder = sqlite3_column_int(row, 4) != 0;
    sqlite3_reset(row);
    return 0;
}

/* Rows of ?2 again for ?1. A check's "before" belongs to the sweep and is filled in by its coordinator. */
static const char *const copies[] = {
    "UPDATE trial SET (steps, total_steps, trained_parameters, stored_bytes, flops) = (SELECT steps, total_steps, "
    "trained_parameters, stored_bytes, flops FROM trial WHERE id = ?2) WHERE id = ?1",
    "INSERT INTO metric (trial_id, name_id, step, value) "
    "SELECT ?1, name_id, step, value FROM metric WHERE trial_id = ?2",
    "INSERT INTO evaluation (trial_id, split, step, is_final, n_items, metrics, item_set_sha256, items) "
    "SELECT ?1, split, step, is_final, n_items, metrics, item_set_sha256, items FROM evaluation WHERE trial_id = ?2",
    "INSERT INTO bias_check (trial_id, check_name, metric, n_items, after, item_set_sha256, items) "
    "SELECT ?1, check_name, metric, n_items, after, item_set_sha256, items FROM bias_check WHERE trial_id = ?2",
    /* Without the items it cannot be filled in: the pairing of the equal trial comes along. */
    "UPDATE bias_check AS own SET (before, delta, low, high) = (SELECT before, delta, low, high FROM bias_check b "
    "WHERE "
    "b.trial_id = ?2 AND b.check_name = own.check_name AND b.metric = own.metric) WHERE trial_id = ?1 AND NOT EXISTS "
    "(SELECT 1 FROM bias_check i WHERE i.trial_id = ?2 AND i.check_name = own.check_name AND i.items IS NOT NULL)",
    "INSERT INTO objective_value (trial_id, position, value) SELECT ?1, oa.position, v.value "
    "FROM objective_value v JOIN trial b ON b.id = v.trial_id "
    "JOIN objective ob ON ob.sweep_id = b.sweep_id AND ob.position = v.position "
    "JOIN trial a ON a.id = ?1 JOIN objective oa ON oa.sweep_id = a.sweep_id AND oa.metric = ob.metric "
    "WHERE v.trial_id = ?2",
};
static const char copy_artifacts[] = "INSERT INTO artifact (trial_id, kind, path, bytes, sha256) "
                                     "SELECT ?1, kind, path, bytes, sha256 FROM artifact WHERE trial_id = ?2";
static const char add_event[] = "INSERT INTO event (sweep_id, trial_id, kind, message, created_at) "
                                "SELECT sweep_id, id, 'reused', ?2, ?3 FROM trial WHERE id = ?1";

static int read_metrics(struct store *store, int64_t trial_id, struct store_result *result, struct err *err)
{
    sqlite3_stmt *row;
    bool found = false;
    int rc = store_first(store, warm_start_metrics_sql, BINDS(bind_int(trial_id)), &row, &found, err);
    if (rc != 0 || !found)
        return rc;
    const char *text = (const char *)sqlite3_column_text(row, 0);
    free((char *)result->reused_metrics);
    result->reused_metrics = text ? strdup(text) : NULL;
    sqlite3_reset(row);
    return text && !result->reused_metrics ? err_set(err, ERR_NOMEM, "no memory for a trial's results") : 0;
}

int store_run_reuse_trial(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const int64_t trial_id = op->reuse.trial_id;
    struct equal_trial equal = {0};
    bool found = false;
    int rc = read_equal(store, trial_id, &equal, &found, err);
    if (rc != 0 || !found)
        return rc;
    const struct store_move_trial move = {.trial_id = trial_id, .to = TRIAL_COMPLETE, .value = equal.value};
    rc = store_move(store, &move, err);
    for (size_t i = 0; rc == 0 && i < sizeof copies / sizeof copies[0]; i++)
        rc = store_run(store, copies[i], BINDS(bind_int(trial_id), bind_int(equal.id)), NULL, err);
    if (rc == 0 && equal.shares_folder)
        rc = store_run(store, copy_artifacts, BINDS(bind_int(trial_id), bind_int(equal.id)), NULL, err);
    if (rc == 0)
        rc = store_run(store, add_event, BINDS(bind_int(trial_id), bind_text(equal.message), bind_text(store->now)),
                       NULL, err);
    if (rc == 0)
        rc = read_metrics(store, equal.id, result, err);
    if (rc == 0)
        result->reused_trial_id = equal.id;
    return rc;
}
