/* CSV (RFC 4180): a row a trial, searched values as params.*, the last value of each metric as metrics.*, checks as
 * checks.<check>.<metric>.<before|after|delta>. Empty is missing, nan is a value that is no number. */
#include <stdlib.h>
#include <string.h>

#include "orchestrator/csv_cell.h"
#include "orchestrator/export_rows.h"

/* Columns of a kind, with the cells of the trial that is being written. */
struct cells {
    const char *prefix;
    struct export_names names;
    struct text *cells;
};

struct csv {
    struct store *store;
    struct text out;
    struct cells parameters, metrics, checks;
};

/* A name of the columns (column 0), while they are gathered. */
static int add_name(sqlite3_stmt *row, void *context, struct err *err)
{
    struct cells *cells = context;
    if (export_names_place(&cells->names, (const char *)sqlite3_column_text(row, 0)) < 0)
        return err_set(err, ERR_NOMEM, "no memory for the columns of a table");
    return 0;
}

/* A cell of this trial: name and value. */
static int set_cell(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct cells *cells = context;
    int place = export_names_place(&cells->names, (const char *)sqlite3_column_text(row, 0));
    struct text *cell = &cells->cells[place];
    text_reset(cell);
    if (sqlite3_column_type(row, 1) == SQLITE_FLOAT)
        text_add_double(cell, sqlite3_column_double(row, 1));
    else if (sqlite3_column_type(row, 1) == SQLITE_NULL)
        text_add(cell, cells->prefix[0] == 'm' ? "nan" : "");
    else
        text_add(cell, (const char *)sqlite3_column_text(row, 1));
    return 0;
}

static const char parameter_names[] = "SELECT DISTINCT p.name FROM parameter_value p JOIN trial t ON t.id = p.trial_id"
                                      " WHERE t.sweep_id = ?1 ORDER BY 1";
static const char metric_names[] = "SELECT name FROM metric_name n WHERE EXISTS (SELECT 1 FROM trial t JOIN metric m"
                                   " ON m.trial_id = t.id AND m.name_id = n.id WHERE t.sweep_id = ?1) ORDER BY 1";
#define CHECK_ROWS                                                                                                     \
    "SELECT b.check_name || '.' || b.metric || '.' || k.kind, CASE k.kind WHEN 'before' THEN b.before"                 \
    " WHEN 'after' THEN b.after ELSE b.delta END FROM bias_check b JOIN (SELECT 'before' AS kind UNION ALL"            \
    " SELECT 'after' UNION ALL SELECT 'delta') k"
static const char check_names[] = "SELECT DISTINCT b.check_name || '.' || b.metric || '.' || k.kind FROM bias_check b"
                                  " JOIN trial t ON t.id = b.trial_id JOIN (SELECT 'before' AS kind UNION ALL"
                                  " SELECT 'after' UNION ALL SELECT 'delta') k WHERE t.sweep_id = ?1 ORDER BY 1";
static const char parameters_of[] = "SELECT name, value FROM parameter_value WHERE trial_id = ?1";
static const char metrics_of[] = "SELECT n.name, m.value FROM metric m JOIN metric_name n ON n.id = m.name_id"
                                 " WHERE m.trial_id = ?1 AND m.step = (SELECT MAX(step) FROM metric x"
                                 " WHERE x.trial_id = m.trial_id AND x.name_id = m.name_id)";
static const char checks_of[] = CHECK_ROWS " WHERE b.trial_id = ?1";

static int add_names_of(int64_t sweep_id, const char *name, void *context, struct err *err)
{
    (void)name;
    struct csv *csv = context;
    int rc = export_each(csv->store, parameter_names, sweep_id, add_name, &csv->parameters, err);
    if (rc == 0)
        rc = export_each(csv->store, metric_names, sweep_id, add_name, &csv->metrics, err);
    if (rc == 0)
        rc = export_each(csv->store, check_names, sweep_id, add_name, &csv->checks, err);
    return rc;
}

static void add_real(struct text *out, struct optional_real value)
{
    text_add_char(out, ',');
    if (value.is_known)
        text_add_double(out, value.value);
}

static void add_whole(struct text *out, struct optional_int value)
{
    text_add_char(out, ',');
    if (value.is_known)
        text_printf(out, "%lld", (long long)value.value);
}

static int fill(struct csv *csv, struct cells *cells, const char *sql, int64_t trial_id, struct err *err)
{
    for (int i = 0; i < cells->names.n; i++)
        text_reset(&cells->cells[i]);
    int rc = export_each(csv->store, sql, trial_id, set_cell, cells, err);
    for (int i = 0; rc == 0 && i < cells->names.n; i++) {
        text_add_char(&csv->out, ',');
        csv_cell_add(&csv->out, cells->cells[i].data);
    }
    return rc;
}

static const char head[] =
    "sweep,trial,configuration,role,method,seed,state,reason,message,created_at,finished_at,value,"
    "steps,total_steps,trained_parameters,stored_bytes,flops,seconds,peak_bytes,attempts";

static int add_trial(const struct export_trial *t, void *context, struct err *err)
{
    struct csv *csv = context;
    struct text *out = &csv->out;
    csv_cell_add(out, t->sweep);
    text_printf(out, ",%lld,%lld", (long long)t->number, (long long)t->configuration);
    const char *const cells[] = {t->role,   t->method,  t->seed,       t->state,
                                 t->reason, t->message, t->created_at, t->finished_at};
    for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
        text_add_char(out, ',');
        csv_cell_add(out, cells[i]);
    }
    add_real(out, t->value);
    text_printf(out, ",%lld", (long long)t->steps);
    add_whole(out, t->total_steps);
    add_whole(out, t->trained_parameters);
    add_whole(out, t->stored_bytes);
    add_real(out, t->flops);
    add_real(out, t->seconds);
    add_real(out, t->peak_bytes);
    text_printf(out, ",%lld", (long long)t->attempts);
    int rc = fill(csv, &csv->parameters, parameters_of, t->id, err);
    if (rc == 0)
        rc = fill(csv, &csv->metrics, metrics_of, t->id, err);
    if (rc == 0)
        rc = fill(csv, &csv->checks, checks_of, t->id, err);
    text_add(out, "\r\n");
    return rc;
}

static int add_trials(int64_t sweep_id, const char *name, void *context, struct err *err)
{
    (void)name;
    struct csv *csv = context;
    return export_each_trial(csv->store, sweep_id, add_trial, csv, err);
}

static int add_head(struct csv *csv, struct err *err)
{
    struct cells *kinds[] = {&csv->parameters, &csv->metrics, &csv->checks};
    text_add(&csv->out, head);
    for (size_t k = 0; k < 3; k++) {
        kinds[k]->cells = calloc((size_t)kinds[k]->names.n + 1, sizeof(struct text));
        if (!kinds[k]->cells)
            return err_set(err, ERR_NOMEM, "no memory for the columns of a table");
        for (int i = 0; i < kinds[k]->names.n; i++) {
            struct text name = {0};
            text_printf(&name, "%s%s", kinds[k]->prefix, kinds[k]->names.names[i]);
            text_add_char(&csv->out, ',');
            csv_cell_add(&csv->out, name.data);
            text_done(&name);
        }
    }
    text_add(&csv->out, "\r\n");
    return 0;
}

static void cells_done(struct cells *cells)
{
    for (int i = 0; cells->cells && i < cells->names.n; i++)
        text_done(&cells->cells[i]);
    free(cells->cells);
    export_names_done(&cells->names);
}

static int write_csv(const struct export_request *request, struct err *err)
{
    struct csv csv = {.store = request->store,
                      .parameters = {.prefix = "params."},
                      .metrics = {.prefix = "metrics."},
                      .checks = {.prefix = "checks."}};
    int rc = export_each_sweep(request, add_names_of, &csv, err);
    if (rc == 0)
        rc = add_head(&csv, err);
    if (rc == 0)
        rc = export_each_sweep(request, add_trials, &csv, err);
    if (rc == 0)
        rc = export_write_file(request->path, &csv.out, err);
    cells_done(&csv.parameters);
    cells_done(&csv.metrics);
    cells_done(&csv.checks);
    text_done(&csv.out);
    return rc;
}

const struct export_format export_csv = {"csv", ".csv", "a table with a row a trial", write_csv};
