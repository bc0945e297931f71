/* Rows that most tests of the store begin with: see store_rows.h. */
#include "tests/support/store_rows.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct store *rows_open(const char *path)
{
    struct err err;
    struct store *store = NULL;
    cr_assert_eq(store_open(&store, path, STORE_WRITE, &err), 0, "%s", err.message);
    return store;
}

void rows_apply(struct store *store, const struct store_op *ops, size_t n)
{
    struct err err;
    cr_assert_eq(store_apply(store, ops, n, NULL, &err), 0, "%s", err.message);
}

void rows_refuse(struct store *store, struct store_op op, int code, const char *part)
{
    struct err err = {0};
    cr_assert_eq(store_apply(store, &op, 1, NULL, &err), code, "%s: '%s'", store_op_name(op.kind), err.message);
    cr_assert_not_null(strstr(err.message, part), "'%s' is not in '%s'", part, err.message);
}

int64_t rows_sweep(struct store *store, const char *name)
{
    int64_t id = store_new_id(store, STORE_SWEEP);
    ROWS_APPLY(store,
               {.kind = STORE_ADD_SWEEP,
                .sweep = {.id = id,
                          .name = name,
                          .definition = "{}",
                          .definition_sha256 = "d0",
                          .folder = "/sweeps",
                          .output_folder = "/runs",
                          .seed = 7}},
               {.kind = STORE_ADD_OBJECTIVE,
                .objective = {.sweep_id = id, .metric = "validation/accuracy", .is_maximized = true}});
    return id;
}

int64_t rows_configuration(struct store *store, int64_t sweep_id, int64_t number)
{
    char parameters[64], settings[128];
    int64_t id = store_new_id(store, STORE_CONFIGURATION);
    snprintf(parameters, sizeof parameters, "{\"rank\":%d}", (int)number);
    snprintf(settings, sizeof settings, "{\"method\":\"lora\",\"rank\":%d}", (int)number);
    ROWS_APPLY(store,
               {.kind = STORE_ADD_CONFIGURATION,
                .configuration = {
                    .id = id, .sweep_id = sweep_id, .number = number, .parameters = parameters, .settings = settings}});
    return id;
}

int64_t rows_trial(struct store *store, int64_t sweep_id, int64_t configuration_id, int64_t number, int64_t seed)
{
    char identity[32];
    int64_t id = store_new_id(store, STORE_TRIAL);
    snprintf(identity, sizeof identity, "id-%d", (int)number);
    ROWS_APPLY(store, {.kind = STORE_ADD_TRIAL,
                       .trial = {.id = id,
                                 .sweep_id = sweep_id,
                                 .configuration_id = configuration_id,
                                 .number = number,
                                 .seed = seed,
                                 .identity = identity}});
    return id;
}

int64_t rows_attempt(struct store *store, int64_t trial_id)
{
    int64_t id = store_new_id(store, STORE_ATTEMPT);
    ROWS_APPLY(store, {.kind = STORE_BEGIN_ATTEMPT,
                       .begin_attempt = {.id = id, .trial_id = trial_id, .worker = "node1/0", .slot = 1}});
    return id;
}

void rows_complete(struct store *store, int64_t trial_id, double value)
{
    int64_t attempt_id = rows_attempt(store, trial_id);
    ROWS_APPLY(store,
               {.kind = STORE_END_ATTEMPT,
                .end_attempt = {.attempt_id = attempt_id, .state = ATTEMPT_COMPLETE, .seconds = known_real(1.5)}},
               {.kind = STORE_MOVE_TRIAL,
                .move_trial = {.trial_id = trial_id, .to = TRIAL_COMPLETE, .value = known_real(value)}});
}

static sqlite3_stmt *first_row(struct store *store, const char *sql)
{
    sqlite3_stmt *row = NULL;
    cr_assert_eq(sqlite3_prepare_v2(store_database(store), sql, -1, &row, NULL), SQLITE_OK, "%s: %s", sql,
                 sqlite3_errmsg(store_database(store)));
    cr_assert_eq(sqlite3_step(row), SQLITE_ROW, "no row: %s", sql);
    return row;
}

double rows_number(struct store *store, const char *sql)
{
    sqlite3_stmt *row = first_row(store, sql);
    double value = sqlite3_column_type(row, 0) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(row, 0);
    sqlite3_finalize(row);
    return value;
}

char *rows_text(struct store *store, const char *sql)
{
    sqlite3_stmt *row = first_row(store, sql);
    const char *text = (const char *)sqlite3_column_text(row, 0);
    char *copy = strdup(text == NULL ? "NULL" : text);
    sqlite3_finalize(row);
    return copy;
}
