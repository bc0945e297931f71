/* Optuna's journal file: a JSON object a line, one to create each study and one for each trial, with everything in it.
 * Trials and parameters are those of the store's views for Optuna (schemas/store.sql): number n here is n − 1 there. */
#include <string.h>

#include "orchestrator/export_columns.h"
#include "orchestrator/export_rows.h"

struct journal {
    struct store *store;
    struct text out;
    struct text distributions, parameters; /* of the trial that is being written */
    sqlite3_stmt *rows;                    /* of trial_params, in the order of trials */
    bool has_row;
    int n, study, n_objectives;
};

/* 'YYYY-MM-DD HH:MM:SS.SSS' → "YYYY-MM-DDTHH:MM:SS.SSS+00:00" */
static void add_time(struct text *out, const char *stamp)
{
    if (!stamp) {
        text_add(out, "null");
        return;
    }
    text_add_char(out, '"');
    for (const char *c = stamp; *c; c++)
        text_add_char(out, *c == ' ' ? 'T' : *c);
    text_add(out, "000+00:00\"");
}

static int add_direction(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct journal *j = context;
    text_printf(&j->out, "%s%d", j->n_objectives++ ? "," : "",
                text_equal((const char *)sqlite3_column_text(row, 0), "maximize") ? 2 : 1);
    return 0;
}

static int add_metric_name(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct journal *j = context;
    text_add(&j->out, j->n++ ? "," : "");
    export_add_value(&j->out, row, 0);
    return 0;
}

static int add_study(struct journal *j, int64_t sweep_id, const char *name, struct err *err)
{
    text_add(&j->out, "{\"op_code\":0,\"worker_id\":\"nightsweep\",\"study_name\":");
    text_add_json(&j->out, name);
    text_add(&j->out, ",\"directions\":[");
    j->n_objectives = 0;
    int rc = export_each(j->store, "SELECT goal FROM objective WHERE sweep_id = ?1 ORDER BY position", sweep_id,
                         add_direction, j, err);
    text_printf(&j->out,
                "]}\n{\"op_code\":3,\"worker_id\":\"nightsweep\",\"study_id\":%d,\"system_attr\":{\"study:metric_"
                "names\":[",
                j->study);
    j->n = 0;
    if (rc == 0)
        rc = export_each(j->store, "SELECT metric FROM objective WHERE sweep_id = ?1 ORDER BY position", sweep_id,
                         add_metric_name, j, err);
    text_add(&j->out, "]}}\n");
    return rc;
}

/* Parameters come in one pass over the view, which knows the range of each over the whole sweep. */
static int next_row(struct journal *j, struct err *err)
{
    int step = sqlite3_step(j->rows);
    j->has_row = step == SQLITE_ROW;
    return step == SQLITE_ROW || step == SQLITE_DONE ? 0 : export_sql_error(j->store, "parameters", err);
}

static int add_parameters(struct journal *j, const struct export_trial *trial, struct err *err)
{
    int rc = 0;
    text_reset(&j->distributions);
    text_reset(&j->parameters);
    while (rc == 0 && j->has_row && sqlite3_column_int64(j->rows, 0) <= trial->number) {
        const char *comma = j->parameters.len ? "," : "";
        const char *name = (const char *)sqlite3_column_text(j->rows, 1);
        text_add(&j->parameters, comma);
        export_json_text(&j->parameters, name, strlen(name));
        text_add_char(&j->parameters, ':');
        export_add_value(&j->parameters, j->rows, 2);
        text_add(&j->distributions, comma);
        export_json_text(&j->distributions, name, strlen(name));
        text_add_char(&j->distributions, ':');
        export_add_value(&j->distributions, j->rows, 3);
        rc = next_row(j, err);
    }
    text_printf(&j->out, ",\"params\":{%s},\"distributions\":{%s}", j->parameters.len ? j->parameters.data : "",
                j->distributions.len ? j->distributions.data : "");
    return rc;
}

static int add_intermediate(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct journal *j = context;
    text_printf(&j->out, "%s\"%lld\":", j->n++ ? "," : "", (long long)sqlite3_column_int64(row, 0));
    if (sqlite3_column_type(row, 1) == SQLITE_NULL)
        text_add(&j->out, "NaN"); /* as Python's own writer does */
    else
        text_add_double(&j->out, sqlite3_column_double(row, 1));
    return 0;
}

static int add_objective(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct journal *j = context;
    text_add(&j->out, j->n++ ? "," : "");
    export_add_value(&j->out, row, 0);
    return 0;
}

static int add_values(struct journal *j, const struct export_trial *trial, struct err *err)
{
    bool has = text_equal(trial->state, "COMPLETE") && trial->value.is_known;
    if (!has || j->n_objectives == 1) {
        text_add(&j->out, ",\"values\":null,\"value\":");
        if (has)
            text_add_double(&j->out, trial->value.value);
        else
            text_add(&j->out, "null");
        return 0;
    }
    text_add(&j->out, ",\"value\":null,\"values\":[");
    j->n = 0;
    int rc = export_each(j->store, "SELECT value FROM trial_values WHERE trial_id = ?1 ORDER BY objective", trial->id,
                         add_objective, j, err);
    text_add_char(&j->out, ']');
    return rc;
}

static void add_attributes(struct text *out, const struct export_trial *trial)
{
    text_printf(out, ",\"user_attrs\":{\"nightsweep:configuration\":%lld,\"nightsweep:seed\":%s,\"nightsweep:method\":",
                (long long)trial->configuration, trial->seed);
    export_json_text(out, trial->method, strlen(trial->method));
    const char *const texts[][2] = {{"role", trial->role}, {"reason", trial->reason}, {"message", trial->message}};
    for (size_t i = 0; i < 3; i++) {
        if (!texts[i][1])
            continue;
        text_printf(out, ",\"nightsweep:%s\":", texts[i][0]);
        export_json_text(out, texts[i][1], strlen(texts[i][1]));
    }
    if (trial->trained_parameters.is_known)
        text_printf(out, ",\"nightsweep:trained_parameters\":%lld", (long long)trial->trained_parameters.value);
    text_add(out, "},\"system_attrs\":{}");
}

/* RUNNING 0, COMPLETE 1, PRUNED 2, FAIL 3, WAITING 4. A COMPLETE trial without a number as value is a FAIL there. */
static int state_of(const struct export_trial *trial)
{
    static const char *const states[] = {"RUNNING", "COMPLETE", "PRUNED", "FAILED"};
    for (int i = 0; i < 4; i++)
        if (text_equal(trial->state, states[i]))
            return i == 1 && !trial->value.is_known ? 3 : i;
    return 4;
}

static int add_trial(const struct export_trial *trial, void *context, struct err *err)
{
    struct journal *j = context;
    int state = state_of(trial);
    text_printf(&j->out, "{\"op_code\":4,\"worker_id\":\"nightsweep\",\"study_id\":%d,\"state\":%d,\"datetime_start\":",
                j->study, state);
    add_time(&j->out, state == 4 ? NULL : trial->created_at);
    if (state >= 1 && state <= 3) { /* a null is not understood there */
        text_add(&j->out, ",\"datetime_complete\":");
        add_time(&j->out, trial->finished_at ? trial->finished_at : trial->created_at);
    }
    int rc = add_parameters(j, trial, err);
    if (rc == 0)
        rc = add_values(j, trial, err);
    add_attributes(&j->out, trial);
    text_add(&j->out, ",\"intermediate_values\":{");
    j->n = 0;
    if (rc == 0)
        rc = export_each(
            j->store,
            "SELECT step, intermediate_value FROM trial_intermediate_values WHERE trial_id = ?1 ORDER BY step",
            trial->id, add_intermediate, j, err);
    text_add(&j->out, "}}\n");
    return rc;
}

static int add_sweep(int64_t sweep_id, const char *name, void *context, struct err *err)
{
    struct journal *j = context;
    int rc = add_study(j, sweep_id, name, err);
    if (rc == 0 &&
        sqlite3_prepare_v2(store_database(j->store),
                           "SELECT t.number, p.param_name, p.param_value, p.distribution_json FROM trial_params p JOIN"
                           " trial t ON t.id = p.trial_id WHERE t.sweep_id = ?1 ORDER BY t.number, p.param_name",
                           -1, &j->rows, NULL) != SQLITE_OK)
        rc = export_sql_error(j->store, "parameters", err);
    if (rc == 0) {
        sqlite3_bind_int64(j->rows, 1, sweep_id);
        rc = next_row(j, err);
    }
    if (rc == 0)
        rc = export_each_trial(j->store, sweep_id, add_trial, j, err);
    sqlite3_finalize(j->rows);
    j->rows = NULL;
    j->study++;
    return rc;
}

static int write_journal(const struct export_request *request, struct err *err)
{
    struct journal j = {.store = request->store};
    int rc = export_each_sweep(request, add_sweep, &j, err);
    if (rc == 0)
        rc = export_write_file(request->path, &j.out, err);
    text_done(&j.out);
    text_done(&j.distributions);
    text_done(&j.parameters);
    return rc;
}

const struct export_format export_optuna_journal = {"optuna-journal", "-optuna.log", "Optuna's journal file",
                                                    write_journal};
