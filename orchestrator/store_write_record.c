/* Writing a trainer's records other than points: evaluations, checks, checkpoints, artifacts, objective values.
 *
 * Each is idempotent: the insert does nothing when the row is there, and what is there is then compared. */
#include "orchestrator/store_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int store_note_difference(struct store *store, int64_t trial_id, int64_t rows, const char *message,
                          struct store_result *result, struct err *err)
{
    char text[1024];
    snprintf(text, sizeof text, "%" PRId64 " %s repeated with another value: %s", rows,
             rows == 1 ? "row was" : "rows were", message);
    result->nondeterministic += rows;
    return store_run(store,
                     "INSERT INTO event (sweep_id, trial_id, kind, message, created_at) "
                     "SELECT sweep_id, id, 'nondeterministic', ?2, ?3 FROM trial WHERE id = ?1",
                     BINDS(bind_int(trial_id), bind_text(text), bind_text(store->now)), NULL, err);
}

/* Whether a one-row query that compares the row that is there says "different". */
static int differs(struct store *store, const char *sql, const struct bind *binds, size_t n, bool *is_different,
                   struct err *err)
{
    sqlite3_stmt *row;
    bool found = false;
    int rc = store_first(store, sql, binds, n, &row, &found, err);
    if (rc != 0)
        return rc;
    *is_different = !found || sqlite3_column_int(row, 0) == 0;
    if (found)
        sqlite3_reset(row);
    return 0;
}

/* The trial that a record belongs to: its running attempt's, or the one named when it is no record of an attempt. */
static int owner(struct store *store, int64_t attempt_id, int64_t named_trial_id, int64_t *trial_id, struct err *err)
{
    if (attempt_id != 0)
        return store_running_attempt(store, attempt_id, trial_id, err);
    *trial_id = named_trial_id;
    return 0;
}

int store_run_evaluation(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_evaluation *e = &op->evaluation;
    int64_t trial_id = 0, changes = 0;
    bool is_different = false;
    char message[256];
    int rc = store_running_attempt(store, e->attempt_id, &trial_id, err);
    if (rc != 0)
        return rc;
    const struct bind columns[] = {
        bind_int(trial_id),
        bind_text(e->split),
        bind_int(e->step),
        bind_int(e->is_final),
        bind_int(e->n_items),
        bind_text(e->metrics),
        bind_text(e->item_set_sha256),
        bind_blob(e->items, e->items_bytes),
    };
    rc = store_run(store,
                   "INSERT INTO evaluation (trial_id, split, step, is_final, n_items, metrics, item_set_sha256, items) "
                   "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
                   columns, 8, &changes, err);
    if (rc != 0 || changes != 0)
        return rc;
    rc = differs(store,
                 "SELECT n_items = ?5 AND metrics = ?6 AND item_set_sha256 IS ?7 AND items IS ?8 FROM evaluation "
                 "WHERE trial_id = ?1 AND split = ?2 AND step = ?3 AND is_final = ?4",
                 columns, 8, &is_different, err);
    if (rc != 0 || !is_different)
        return rc;
    snprintf(message, sizeof message, "evaluation of '%.100s' at step %" PRId64, e->split, e->step);
    return store_note_difference(store, trial_id, 1, message, result, err);
}

/* A row that is there: `after` must be equal when it is a record; what is known of before and interval is filled in. */
static int update_bias_check(struct store *store, const struct store_bias_check *check, int64_t trial_id,
                             struct store_result *result, struct err *err)
{
    bool is_different = false;
    char message[256];
    int rc = differs(store,
                     "SELECT n_items = ?4 AND after = ?5 AND item_set_sha256 IS ?6 FROM bias_check "
                     "WHERE trial_id = ?1 AND check_name = ?2 AND metric = ?3",
                     BINDS(bind_int(trial_id), bind_text(check->check_name), bind_text(check->metric),
                           bind_int(check->n_items), bind_real(check->after), bind_text(check->item_set_sha256)),
                     &is_different, err);
    if (rc == 0 && is_different && check->attempt_id != 0) {
        snprintf(message, sizeof message, "bias check '%.100s', '%.100s'", check->check_name, check->metric);
        rc = store_note_difference(store, trial_id, 1, message, result, err);
    }
    if (rc != 0)
        return rc;
    return store_run(store,
                     "UPDATE bias_check SET before = COALESCE(?4, before), delta = COALESCE(?5, delta), "
                     "low = COALESCE(?6, low), high = COALESCE(?7, high), items = COALESCE(items, ?8) "
                     "WHERE trial_id = ?1 AND check_name = ?2 AND metric = ?3",
                     BINDS(bind_int(trial_id), bind_text(check->check_name), bind_text(check->metric),
                           bind_optional_real(check->before), bind_optional_real(check->delta),
                           bind_optional_real(check->low), bind_optional_real(check->high), bind_text(check->items)),
                     NULL, err);
}

int store_run_bias_check(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_bias_check *check = &op->bias_check;
    int64_t trial_id = 0, changes = 0;
    int rc = owner(store, check->attempt_id, check->trial_id, &trial_id, err);
    if (rc == 0 && !isfinite(check->after))
        rc = err_set(err, ERR_NUMERIC, "bias check '%s': '%s' after training is no finite number", check->check_name,
                     check->metric);
    if (rc == 0)
        rc = store_run(
            store,
            "INSERT INTO bias_check (trial_id, check_name, metric, n_items, before, after, delta, low, high, "
            "item_set_sha256, items) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) "
            "ON CONFLICT DO NOTHING",
            BINDS(bind_int(trial_id), bind_text(check->check_name), bind_text(check->metric), bind_int(check->n_items),
                  bind_optional_real(check->before), bind_real(check->after), bind_optional_real(check->delta),
                  bind_optional_real(check->low), bind_optional_real(check->high), bind_text(check->item_set_sha256),
                  bind_text(check->items)),
            &changes, err);
    return rc == 0 && changes == 0 ? update_bias_check(store, check, trial_id, result, err) : rc;
}

int store_run_drop_items(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    (void)result;
    return store_run(store,
                     "UPDATE bias_check SET items = NULL WHERE check_name = ?2 AND before IS NOT NULL AND items IS NOT "
                     "NULL AND trial_id IN (SELECT t.id FROM trial t JOIN configuration c ON c.id = t.configuration_id "
                     "WHERE t.sweep_id = ?1 AND c.role <> 'baseline')",
                     BINDS(bind_int(op->drop_items.sweep_id), bind_text(op->drop_items.check_name)), NULL, err);
}

int store_read_replaced(struct store *store, int64_t trial_id, const char *new_path, struct store_result *result,
                        struct err *err)
{
    sqlite3_stmt *row;
    bool found = false;
    int rc = store_first(store, "SELECT path FROM checkpoint WHERE trial_id = ?1 AND path <> ?2",
                         BINDS(bind_int(trial_id), bind_text(new_path)), &row, &found, err);
    if (rc != 0 || !found)
        return rc;
    char *path = strdup((const char *)sqlite3_column_text(row, 0));
    sqlite3_reset(row);
    if (path == NULL)
        return err_set(err, ERR_NOMEM, "no memory for a checkpoint's path");
    free((char *)result->replaced_path);
    result->replaced_path = path;
    return 0;
}

int store_run_inherit_checkpoint(struct store *store, const struct store_op *op, struct store_result *result,
                                 struct err *err)
{
    const struct store_inherit_checkpoint *inherit = &op->inherit_checkpoint;
    (void)result;
    int rc = store_run(store,
                       "INSERT INTO checkpoint (trial_id, attempt_id, step, path, bytes, sha256) "
                       "SELECT ?1, attempt_id, step, ?3, bytes, sha256 FROM checkpoint WHERE trial_id = ?2 "
                       "ON CONFLICT (trial_id) DO NOTHING",
                       BINDS(bind_int(inherit->trial_id), bind_int(inherit->parent_id), bind_text(inherit->path)), NULL,
                       err);
    if (rc == 0)
        rc = store_run(store,
                       "UPDATE trial SET steps = max(steps, (SELECT step FROM checkpoint WHERE trial_id = ?1)) "
                       "WHERE id = ?1",
                       BINDS(bind_int(inherit->trial_id)), NULL, err);
    return rc;
}

int store_run_checkpoint(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_checkpoint *checkpoint = &op->checkpoint;
    int64_t trial_id = 0;
    int rc = store_running_attempt(store, checkpoint->attempt_id, &trial_id, err);
    if (rc == 0)
        rc = store_read_replaced(store, trial_id, checkpoint->path, result, err);
    if (rc == 0)
        rc = store_run(store,
                       "INSERT INTO checkpoint (trial_id, attempt_id, step, path, bytes, sha256) "
                       "VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (trial_id) DO UPDATE SET "
                       "(attempt_id, step, path, bytes, sha256) = (?2, ?3, ?4, ?5, ?6)",
                       BINDS(bind_int(trial_id), bind_int(checkpoint->attempt_id), bind_int(checkpoint->step),
                             bind_text(checkpoint->path), bind_int(checkpoint->bytes), bind_text(checkpoint->sha256)),
                       NULL, err);
    if (rc == 0)
        rc = store_run(store, "UPDATE trial SET steps = ?2 WHERE id = ?1 AND steps < ?2",
                       BINDS(bind_int(trial_id), bind_int(checkpoint->step)), NULL, err);
    return rc;
}

int store_run_artifact(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_artifact *artifact = &op->artifact;
    int64_t trial_id = 0, changes = 0;
    bool is_different = false;
    char message[512];
    int rc = owner(store, artifact->attempt_id, artifact->trial_id, &trial_id, err);
    if (rc != 0)
        return rc;
    const struct bind columns[] = {bind_int(trial_id), bind_text(artifact->kind), bind_text(artifact->path),
                                   bind_int(artifact->bytes), bind_text(artifact->sha256)};
    rc = store_run(store,
                   "INSERT INTO artifact (trial_id, kind, path, bytes, sha256) VALUES (?1, ?2, ?3, ?4, ?5) "
                   "ON CONFLICT DO NOTHING",
                   columns, 5, &changes, err);
    if (rc != 0 || changes != 0)
        return rc;
    rc = differs(store,
                 "SELECT kind = ?2 AND bytes = ?4 AND sha256 = ?5 FROM artifact WHERE trial_id = ?1 AND path = ?3",
                 columns, 5, &is_different, err);
    if (rc != 0 || !is_different)
        return rc;
    /* Unlike other rows this one is replaced: it must describe the file that lies there now. */
    snprintf(message, sizeof message, "artifact '%.200s'", artifact->path);
    rc = store_run(store, "UPDATE artifact SET kind = ?2, bytes = ?4, sha256 = ?5 WHERE trial_id = ?1 AND path = ?3",
                   columns, 5, NULL, err);
    return rc == 0 ? store_note_difference(store, trial_id, 1, message, result, err) : rc;
}

int store_run_objective_value(struct store *store, const struct store_op *op, struct store_result *result,
                              struct err *err)
{
    const struct store_objective_value *value = &op->objective_value;
    (void)result;
    if (!isfinite(value->value))
        return err_set(err, ERR_NUMERIC, "objective %d of trial %" PRId64 " is no finite number", value->position,
                       value->trial_id);
    return store_run(store,
                     "INSERT INTO objective_value (trial_id, position, value) VALUES (?1, ?2, ?3) "
                     "ON CONFLICT DO UPDATE SET value = ?3",
                     BINDS(bind_int(value->trial_id), bind_int(value->position), bind_real(value->value)), NULL, err);
}
