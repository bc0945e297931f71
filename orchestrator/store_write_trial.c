/* Writing the life of a trial: its transitions, and its attempts from begin to end.
 *
 * Invariant: a trial is RUNNING exactly while one of its attempts is. begin_attempt makes both at once, and a trial
 * leaves RUNNING only after its attempt was closed, in the same group. */
#include "orchestrator/store_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

enum { STATES_BYTES = 64 }; /* all names of states */

int store_running_attempt(struct store *store, int64_t attempt_id, int64_t *trial_id, struct err *err)
{
    sqlite3_stmt *row;
    bool found = false;
    int rc = store_first(store, "SELECT trial_id, state FROM attempt WHERE id = ?1", BINDS(bind_int(attempt_id)), &row,
                         &found, err);
    if (rc != 0)
        return rc;
    if (!found)
        return err_set(err, ERR_CANCELED, "there is no attempt %" PRId64 ": its records are refused", attempt_id);
    const char *state = (const char *)sqlite3_column_text(row, 1);
    if (state == NULL || strcmp(state, "RUNNING") != 0)
        rc = err_set(err, ERR_CANCELED, "attempt %" PRId64 " is %s: its records are refused", attempt_id, state);
    else
        *trial_id = sqlite3_column_int64(row, 0);
    sqlite3_reset(row);
    return rc;
}

/* A statement of a running attempt that changed no row: says why. */
static int expect_running(struct store *store, int64_t attempt_id, int64_t changes, struct err *err)
{
    int64_t trial_id = 0;
    return changes > 0 ? 0 : store_running_attempt(store, attempt_id, &trial_id, err);
}

static int check_values(const struct store_move_trial *move, struct err *err)
{
    if ((move->to == TRIAL_FAILED) != (move->reason != REASON_NONE))
        return err_set(err, ERR_INTERNAL, "trial %" PRId64 ": FAILED goes with a reason, and nothing else does",
                       move->trial_id);
    if (move->value.is_known && (move->to != TRIAL_COMPLETE || !isfinite(move->value.value)))
        return err_set(err, ERR_NUMERIC, "trial %" PRId64 ": only a COMPLETE trial has a value, a finite number",
                       move->trial_id);
    return 0;
}

/* The states from which a trial may go to `to`, one behind the other: no name is a part of another. */
static void list_states_before(char out[STATES_BYTES], enum trial_state to)
{
    for (int from = 0; from < TRIAL_STATE_COUNT; from++) {
        const char *name = trial_state_name((enum trial_state)from);
        size_t n = trial_state_may_follow((enum trial_state)from, to) ? strlen(name) : 0;
        memcpy(out, name, n);
        out += n;
    }
    *out = '\0';
}

/* Why a move changed nothing. */
static int refuse_move(struct store *store, const struct store_move_trial *move, struct err *err)
{
    sqlite3_stmt *row;
    bool found = false;
    enum trial_state from = move->to;
    int rc =
        store_first(store, "SELECT state FROM trial WHERE id = ?1", BINDS(bind_int(move->trial_id)), &row, &found, err);
    if (rc == 0 && !found)
        rc = store_expect_one(0, "trial", move->trial_id, err);
    if (rc != 0)
        return rc;
    rc = trial_state_parse((const char *)sqlite3_column_text(row, 0), &from, err);
    sqlite3_reset(row);
    if (rc == 0 && trial_state_may_follow(from, move->to))
        rc = err_set(err, ERR_INTERNAL, "trial %" PRId64 " cannot go to %s before its attempt is closed",
                     move->trial_id, trial_state_name(move->to));
    else if (rc == 0)
        rc = err_set(err, ERR_INTERNAL, "trial %" PRId64 " cannot go from %s to %s", move->trial_id,
                     trial_state_name(from), trial_state_name(move->to));
    return rc;
}

int store_move(struct store *store, const struct store_move_trial *move, struct err *err)
{
    char before[STATES_BYTES];
    int64_t changes = 0;
    int rc = check_values(move, err);
    list_states_before(before, move->to);
    if (rc == 0)
        rc = store_run(
            store,
            "UPDATE trial SET state = ?2, reason = ?3, message = ?4, value = ?5, steps = COALESCE(?6, steps), "
            "stored_bytes = COALESCE(?7, stored_bytes), finished_at = ?8 WHERE id = ?1 AND instr(?9, state) AND "
            "NOT EXISTS (SELECT 1 FROM attempt WHERE trial_id = ?1 AND state = 'RUNNING')",
            BINDS(bind_int(move->trial_id), bind_text(trial_state_name(move->to)),
                  bind_text(trial_reason_name(move->reason)), bind_text(move->message), bind_optional_real(move->value),
                  bind_optional_int(move->steps), bind_optional_int(move->stored_bytes),
                  bind_text(trial_state_is_final(move->to) ? store->now : NULL), bind_text(before)),
            &changes, err);
    return rc == 0 && changes == 0 ? refuse_move(store, move, err) : rc;
}

/* A trial with its result needs its checkpoint no more. A failed one keeps it: it may be tried again. */
static int drop_checkpoint(struct store *store, int64_t trial_id, struct store_result *result, struct err *err)
{
    int rc = store_read_replaced(store, trial_id, "", result, err);
    return rc == 0 && result->replaced_path != NULL
               ? store_run(store, "DELETE FROM checkpoint WHERE trial_id = ?1", BINDS(bind_int(trial_id)), NULL, err)
               : rc;
}

int store_run_move_trial(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_move_trial *move = &op->move_trial;
    if (move->to == TRIAL_RUNNING)
        return err_set(err, ERR_INTERNAL, "trial %" PRId64 " gets RUNNING by begin_attempt only", move->trial_id);
    int rc = store_move(store, move, err);
    if (rc == 0 && (move->to == TRIAL_COMPLETE || move->to == TRIAL_PRUNED))
        rc = drop_checkpoint(store, move->trial_id, result, err);
    return rc;
}

int store_run_begin_attempt(struct store *store, const struct store_op *op, struct store_result *result,
                            struct err *err)
{
    const struct store_begin_attempt *begin = &op->begin_attempt;
    const struct store_op reuse = {.kind = STORE_REUSE_TRIAL, .reuse = {.trial_id = begin->trial_id}};
    int rc = begin->may_reuse ? store_run_reuse_trial(store, &reuse, result, err) : 0;
    if (rc != 0 || result->reused_trial_id != 0)
        return rc;
    rc = store_move(store, &(struct store_move_trial){.trial_id = begin->trial_id, .to = TRIAL_RUNNING}, err);
    if (rc != 0)
        return rc;
    return store_run(store,
                     "INSERT INTO attempt (id, trial_id, number, worker, slot, started_at) VALUES (?1, ?2, "
                     "(SELECT COALESCE(MAX(number), 0) + 1 FROM attempt WHERE trial_id = ?2), ?3, ?4, ?5)",
                     BINDS(bind_int(begin->id), bind_int(begin->trial_id), bind_text(begin->worker),
                           bind_int(begin->slot), bind_text(store->now)),
                     NULL, err);
}

#define ENVIRONMENT_COLUMNS                                                                                            \
    "(program_version, git_commit, blas_version, blas_core, cpu, kernel_level, compute, model_sha256, "                \
    "tokenizer_sha256, data_sha256, definition_sha256)"

/* Equal for equal environments. */
static int write_environment(struct text *text, const struct store_environment *e, struct err *err)
{
    const char *const parts[] = {
        e->program_version,  e->git_commit, e->blas_version, e->blas_core,        e->cpu,
        e->kernel_level,     e->compute,    e->model_sha256, e->tokenizer_sha256, e->data_sha256,
        e->definition_sha256};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        text_add_n(text, parts[i] ? parts[i] : "", parts[i] ? strlen(parts[i]) + 1 : 1);
    return text->failed ? err_set(err, ERR_NOMEM, "no memory for an environment") : 0;
}

/* The row of an environment, added when it is new. */
static int add_environment(struct store *store, const struct store_environment *e, int64_t *id, struct err *err)
{
    sqlite3_stmt *row;
    bool found = false;
    const struct bind columns[] = {
        bind_text(e->program_version),
        bind_text(e->git_commit),
        bind_text(e->blas_version),
        bind_text(e->blas_core),
        bind_text(e->cpu),
        bind_text(e->kernel_level),
        bind_text(e->compute),
        bind_text(e->model_sha256),
        bind_text(e->tokenizer_sha256),
        bind_text(e->data_sha256),
        bind_text(e->definition_sha256),
    };
    const size_t n = sizeof columns / sizeof columns[0];
    int rc = store_run(store,
                       "INSERT INTO environment " ENVIRONMENT_COLUMNS
                       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING",
                       columns, n, NULL, err);
    if (rc == 0)
        rc = store_first(store,
                         "SELECT id FROM environment WHERE " ENVIRONMENT_COLUMNS
                         " = (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                         columns, n, &row, &found, err);
    if (rc != 0)
        return rc;
    if (!found)
        return err_set(err, ERR_INTERNAL, "an environment was added and is not there");
    *id = sqlite3_column_int64(row, 0);
    sqlite3_reset(row);
    return 0;
}

/* The same; nearly all attempts of a run have the one of the attempt before. */
static int find_environment(struct store *store, const struct store_environment *e, int64_t *id, struct err *err)
{
    struct text text = {0};
    int rc = write_environment(&text, e, err);
    bool is_last = rc == 0 && store->environment_id != 0 && text.len == store->environment.len &&
                   memcmp(text.data, store->environment.data, text.len) == 0;
    if (rc == 0 && !is_last) {
        store->environment_id = 0;
        rc = add_environment(store, e, &store->environment_id, err);
        text_done(&store->environment);
        store->environment = text;
        text = (struct text){0};
    }
    if (rc == 0)
        *id = store->environment_id;
    text_done(&text);
    return rc;
}

int store_run_start_attempt(struct store *store, const struct store_op *op, struct store_result *result,
                            struct err *err)
{
    const struct store_start_attempt *start = &op->start_attempt;
    int64_t environment_id = 0, changes = 0;
    (void)result;
    int rc = find_environment(store, &start->environment, &environment_id, err);
    if (rc == 0)
        rc = store_run(store,
                       "UPDATE attempt SET environment_id = ?2, resumed_step = ?3, bit_exact = ?4 WHERE id = ?1 AND "
                       "state = 'RUNNING'",
                       BINDS(bind_int(start->attempt_id), bind_int(environment_id), bind_int(start->resumed_step),
                             bind_int(start->is_bit_exact)),
                       &changes, err);
    if (rc == 0)
        rc = expect_running(store, start->attempt_id, changes, err);
    if (rc == 0)
        rc = store_run(store,
                       "UPDATE trial SET total_steps = COALESCE(?2, total_steps), "
                       "trained_parameters = COALESCE(?3, trained_parameters), flops = COALESCE(?4, flops) "
                       "WHERE id = (SELECT trial_id FROM attempt WHERE id = ?1)",
                       BINDS(bind_int(start->attempt_id), bind_optional_int(start->total_steps),
                             bind_optional_int(start->trained_parameters), bind_optional_real(start->flops)),
                       NULL, err);
    return rc;
}

int store_run_end_attempt(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_end_attempt *end = &op->end_attempt;
    int64_t changes = 0;
    (void)result;
    if (end->state == ATTEMPT_RUNNING || (end->state == ATTEMPT_FAILED) != (end->reason != REASON_NONE))
        return err_set(err, ERR_INTERNAL, "attempt %" PRId64 ": FAILED goes with a reason, RUNNING is no end",
                       end->attempt_id);
    int rc = store_run(
        store,
        "UPDATE attempt SET state = ?2, reason = ?3, message = ?4, seconds = ?5, tokens_per_second = ?6, "
        "peak_bytes = ?7, ended_at = ?8 WHERE id = ?1 AND state = 'RUNNING'",
        BINDS(bind_int(end->attempt_id), bind_text(attempt_state_name(end->state)),
              bind_text(end->reason != REASON_NONE ? trial_reason_name(end->reason) : end->cause),
              bind_text(end->message), bind_optional_real(end->seconds), bind_optional_real(end->tokens_per_second),
              bind_optional_int(end->peak_bytes), bind_text(store->now)),
        &changes, err);
    return rc == 0 ? expect_running(store, end->attempt_id, changes, err) : rc;
}

int store_run_exit_attempt(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_exit_attempt *end = &op->exit_attempt;
    int64_t changes = 0;
    (void)result;
    int rc =
        store_run(store,
                  "UPDATE attempt SET exit_status = COALESCE(?2, exit_status), signal = COALESCE(?3, signal), "
                  "peak_bytes = COALESCE(MAX(peak_bytes, ?4), ?4, peak_bytes), seconds = COALESCE(?5, seconds), "
                  "log_tail = COALESCE(?6, log_tail) WHERE id = ?1",
                  BINDS(bind_int(end->attempt_id), bind_optional_int(end->exit_status), bind_optional_int(end->signal),
                        bind_optional_int(end->peak_bytes), bind_optional_real(end->seconds), bind_text(end->log_tail)),
                  &changes, err);
    return rc == 0 ? store_expect_one(changes, "attempt", end->attempt_id, err) : rc;
}
