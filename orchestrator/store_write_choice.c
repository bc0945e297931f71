/* Writing what a person asks for: trials that are canceled, and failed ones that are tried again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "orchestrator/store_internal.h"

/* The trials of a choice, by id. */
struct chosen {
    int64_t sweep_id;
    int64_t *ids;
    size_t n;
};

static int find_sweep(struct store *store, const struct store_choice *choice, int64_t *id, struct err *err)
{
    int rc = store_find_sweep(store, choice->sweep, id, err);
    return rc == 0 && *id == 0
               ? err_set(err, ERR_NOT_FOUND, "there is no sweep '%s' in '%s'", choice->sweep, store->path)
               : rc;
}

/* A trial that was named must be there, and in a state from which `to` follows. */
static int check_named(struct store *store, const struct store_choice *choice, int64_t sweep_id, const char *states,
                       const char *wanted, struct err *err)
{
    sqlite3_stmt *row;
    bool found = false;
    if (choice->trial == 0)
        return 0;
    int rc = store_first(store, "SELECT state, instr(?3, state) FROM trial WHERE sweep_id = ?1 AND number = ?2",
                         BINDS(bind_int(sweep_id), bind_int(choice->trial), bind_text(states)), &row, &found, err);
    if (rc != 0)
        return rc;
    if (!found)
        return err_set(err, ERR_NOT_FOUND, "sweep '%s' has no trial %" PRId64, choice->sweep, choice->trial);
    if (sqlite3_column_int(row, 1) == 0)
        rc = err_set(err, ERR_USAGE, "trial %" PRId64 " of sweep '%s' is %s, %s was expected", choice->trial,
                     choice->sweep, (const char *)sqlite3_column_text(row, 0), wanted);
    sqlite3_reset(row);
    return rc;
}

/* `states`: the names of those that are chosen, one behind the other. */
static int choose(struct store *store, const struct store_choice *choice, const char *states, const char *wanted,
                  struct chosen *chosen, struct err *err)
{
    sqlite3_stmt *row;
    bool has_row = true;
    size_t capacity = 0;
    int rc = find_sweep(store, choice, &chosen->sweep_id, err);
    if (rc == 0)
        rc = check_named(store, choice, chosen->sweep_id, states, wanted, err);
    if (rc == 0)
        rc =
            store_query(store,
                        "SELECT id FROM trial WHERE sweep_id = ?1 AND (?2 = 0 OR number = ?2) AND instr(?3, state) > 0 "
                        "ORDER BY number",
                        BINDS(bind_int(chosen->sweep_id), bind_int(choice->trial), bind_text(states)), &row, err);
    while (rc == 0 && (rc = store_step(store, row, &has_row, err)) == 0 && has_row) {
        if (chosen->n == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            int64_t *moved = realloc(chosen->ids, capacity * sizeof *moved);
            if (moved == NULL) {
                sqlite3_reset(row);
                return err_set(err, ERR_NOMEM, "no memory for the trials of sweep '%s'", choice->sweep);
            }
            chosen->ids = moved;
        }
        chosen->ids[chosen->n++] = sqlite3_column_int64(row, 0);
    }
    return rc;
}

static int refuse_running(struct store *store, const struct store_choice *choice, int64_t sweep_id, struct err *err)
{
    sqlite3_stmt *row;
    bool found = false;
    int rc = store_first(
        store, "SELECT number FROM trial WHERE sweep_id = ?1 AND (?2 = 0 OR number = ?2) AND state = 'RUNNING'",
        BINDS(bind_int(sweep_id), bind_int(choice->trial)), &row, &found, err);
    if (rc != 0 || !found)
        return rc;
    rc = err_set(err, ERR_BUSY, "trial %lld of sweep '%s' is running", (long long)sqlite3_column_int64(row, 0),
                 choice->sweep);
    sqlite3_reset(row);
    return rc;
}

static int note(struct store *store, int64_t sweep_id, int64_t trial_id, const char *kind, const char *message,
                struct err *err)
{
    return store_run(
        store, "INSERT INTO event (sweep_id, trial_id, kind, message, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        BINDS(bind_int(sweep_id), bind_id(trial_id), bind_text(kind), bind_text(message), bind_text(store->now)), NULL,
        err);
}

/* A search that proposes trials as it goes numbers those it proposed itself, so baselines are not counted. */
static int log_cancel(struct store *store, int64_t sweep_id, int64_t trial_id, struct err *err)
{
    return store_run(
        store,
        "INSERT INTO event (sweep_id, trial_id, kind, message, created_at) "
        "SELECT ?1, t.id, 'study', '{\"op\":\"cancel\",\"trial\":' || (SELECT COUNT(*) FROM trial o "
        "JOIN configuration d ON d.id = o.configuration_id WHERE o.sweep_id = ?1 AND d.role = 'search' "
        "AND o.number <= t.number) || '}', ?3 FROM trial t JOIN configuration c ON c.id = t.configuration_id "
        "WHERE t.id = ?2 AND c.role = 'search' AND EXISTS (SELECT 1 FROM event WHERE sweep_id = ?1 AND kind = 'study')",
        BINDS(bind_int(sweep_id), bind_int(trial_id), bind_text(store->now)), NULL, err);
}

static int cancel_one(struct store *store, const struct store_choice *choice, int64_t sweep_id, int64_t id,
                      struct err *err)
{
    const struct store_move_trial move = {.trial_id = id, .to = TRIAL_PRUNED, .message = choice->reason};
    int rc = store_move(store, &move, err);
    if (rc == 0)
        rc = store_run(store,
                       "INSERT INTO decision (sweep_id, trial_id, rule, step, action, reason, created_at) "
                       "SELECT ?1, id, 'person', steps, 'stop', ?3, ?4 FROM trial WHERE id = ?2",
                       BINDS(bind_int(sweep_id), bind_int(id), bind_text(choice->reason), bind_text(store->now)), NULL,
                       err);
    if (rc == 0)
        rc = store_run(store, "DELETE FROM checkpoint WHERE trial_id = ?1", BINDS(bind_int(id)), NULL, err);
    return rc == 0 ? log_cancel(store, sweep_id, id, err) : rc;
}

static int stop_sweep(struct store *store, int64_t sweep_id, struct err *err)
{
    return store_run(store, "UPDATE sweep SET state = 'STOPPED', finished_at = ?2 WHERE id = ?1 AND state = 'OPEN'",
                     BINDS(bind_int(sweep_id), bind_text(store->now)), NULL, err);
}

int store_run_cancel(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_choice *choice = &op->choice;
    struct chosen chosen = {0};
    char message[ERR_MESSAGE_SIZE];
    int rc = find_sweep(store, choice, &chosen.sweep_id, err);
    if (rc == 0)
        rc = refuse_running(store, choice, chosen.sweep_id, err);
    if (rc == 0)
        rc = choose(store, choice, "WAITING PAUSED", "WAITING, RUNNING or PAUSED", &chosen, err);
    for (size_t i = 0; rc == 0 && i < chosen.n; i++)
        rc = cancel_one(store, choice, chosen.sweep_id, chosen.ids[i], err);
    if (rc == 0 && choice->trial == 0)
        rc = stop_sweep(store, chosen.sweep_id, err);
    snprintf(message, sizeof message, "%zu trial%s: %s", chosen.n, chosen.n == 1 ? "" : "s",
             choice->reason != NULL ? choice->reason : "");
    if (rc == 0)
        rc = note(store, chosen.sweep_id, choice->trial && chosen.n ? chosen.ids[0] : 0, "canceled", message, err);
    result->n_changed = (int64_t)chosen.n;
    free(chosen.ids);
    return rc;
}

int store_run_retry(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_choice *choice = &op->choice;
    struct chosen chosen = {0};
    int rc = choose(store, choice, "FAILED", "FAILED", &chosen, err);
    for (size_t i = 0; rc == 0 && i < chosen.n; i++) {
        const struct store_move_trial move = {.trial_id = chosen.ids[i], .to = TRIAL_WAITING};
        rc = store_move(store, &move, err);
        if (rc == 0)
            rc = note(store, chosen.sweep_id, chosen.ids[i], "retried", "it failed, and is tried again as asked", err);
    }
    if (rc == 0 && chosen.n > 0)
        rc = store_run(store, "UPDATE sweep SET state = 'OPEN', finished_at = NULL WHERE id = ?1",
                       BINDS(bind_int(chosen.sweep_id)), NULL, err);
    result->n_changed = (int64_t)chosen.n;
    free(chosen.ids);
    return rc;
}

/* Sweeps as a whole --------------------------------------------------------------------------------------------------
 */

int store_run_archive(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    int64_t id = 0;
    int rc = find_sweep(store, &op->choice, &id, err);
    return rc == 0 ? store_run(store, "UPDATE sweep SET archived_at = ?2 WHERE id = ?1 AND archived_at IS NULL",
                               BINDS(bind_int(id), bind_text(store->now)), &result->n_changed, err)
                   : rc;
}

int store_run_unarchive(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    int64_t id = 0;
    int rc = find_sweep(store, &op->choice, &id, err);
    return rc == 0 ? store_run(store, "UPDATE sweep SET archived_at = NULL WHERE id = ?1 AND archived_at IS NOT NULL",
                               BINDS(bind_int(id)), &result->n_changed, err)
                   : rc;
}

/* {"sweep":…,"folder":…}: where the files of the sweep lie that is about to go. */
static int note_folder(struct store *store, const struct store_choice *choice, int64_t id, struct err *err)
{
    sqlite3_stmt *row;
    bool found = false;
    struct text message = {0};
    int rc =
        store_first(store, "SELECT output_folder FROM sweep WHERE id = ?1", BINDS(bind_int(id)), &row, &found, err);
    if (rc != 0)
        return rc;
    text_add(&message, "{\"sweep\":");
    text_add_json(&message, choice->sweep);
    text_add(&message, ",\"folder\":");
    text_add_json(&message, found ? (const char *)sqlite3_column_text(row, 0) : "");
    text_add_char(&message, '}');
    if (found)
        sqlite3_reset(row);
    rc = message.failed ? err_set(err, ERR_NOMEM, "no memory to delete a sweep")
                        : store_run(store, "INSERT INTO event (kind, message, created_at) VALUES ('deleted', ?1, ?2)",
                                    BINDS(bind_text(message.data), bind_text(store->now)), NULL, err);
    text_done(&message);
    return rc;
}

int store_run_delete(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_choice *choice = &op->choice;
    const struct store_choice whole = {.sweep = choice->sweep};
    int64_t id = 0;
    int rc = find_sweep(store, choice, &id, err);
    if (rc == 0)
        rc = refuse_running(store, &whole, id, err);
    if (rc == 0)
        rc = note_folder(store, choice, id, err);
    /* What points at trials goes first: then nothing is looked for trial by trial. */
    if (rc == 0)
        rc = store_run(store, "DELETE FROM event WHERE sweep_id = ?1", BINDS(bind_int(id)), NULL, err);
    if (rc == 0)
        rc = store_run(store, "DELETE FROM decision WHERE sweep_id = ?1", BINDS(bind_int(id)), NULL, err);
    if (rc == 0)
        rc = store_run(store, "DELETE FROM checkpoint WHERE trial_id IN (SELECT id FROM trial WHERE sweep_id = ?1)",
                       BINDS(bind_int(id)), NULL, err);
    if (rc == 0)
        rc = store_run(store, "DELETE FROM trial WHERE sweep_id = ?1", BINDS(bind_int(id)), &result->n_changed, err);
    if (rc == 0)
        rc = store_run(store, "DELETE FROM sweep WHERE id = ?1", BINDS(bind_int(id)), NULL, err);
    store->environment_id = 0;
    if (rc == 0)
        rc = store_run(store,
                       "DELETE FROM environment WHERE id NOT IN (SELECT environment_id FROM attempt WHERE "
                       "environment_id IS NOT NULL)",
                       NULL, 0, NULL, err);
    return rc;
}
