/* Queries that all exports share. */
#include "orchestrator/export_rows.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/export_columns.h"

int export_each(struct store *store, const char *sql, int64_t id, export_row_fn on_row, void *context, struct err *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(store_database(store), sql, -1, &row, NULL) != SQLITE_OK)
        return export_sql_error(store, "rows to export", err);
    if (sqlite3_bind_parameter_count(row) > 0)
        sqlite3_bind_int64(row, 1, id);
    int rc = 0, step = SQLITE_ROW;
    while (rc == 0 && (step = sqlite3_step(row)) == SQLITE_ROW)
        rc = on_row(row, context, err);
    if (rc == 0 && step != SQLITE_DONE)
        rc = export_sql_error(store, "rows to export", err);
    sqlite3_finalize(row);
    return rc;
}

struct optional_real export_real(sqlite3_stmt *row, int c)
{
    return sqlite3_column_type(row, c) == SQLITE_NULL ? (struct optional_real){0}
                                                      : known_real(sqlite3_column_double(row, c));
}

static struct optional_int whole(sqlite3_stmt *row, int c)
{
    return sqlite3_column_type(row, c) == SQLITE_NULL ? (struct optional_int){0}
                                                      : known_int(sqlite3_column_int64(row, c));
}

#define UNIX(column) "(julianday(" column ") - 2440587.5) * 86400.0"

static const char trials_sql[] =
    "SELECT t.id, t.number, c.number, t.steps, (SELECT COUNT(*) FROM attempt a WHERE a.trial_id = t.id), s.name, "
    "c.role,"
    " CASE json_type(c.settings, '$.method') WHEN 'array' THEN (SELECT group_concat(j.value, '+')"
    "   FROM json_each(c.settings, '$.method') j) ELSE json_extract(c.settings, '$.method') END,"
    " CAST(t.seed AS TEXT), t.identity, t.state, t.reason, t.message, t.created_at, t.finished_at, c.parameters, "
    "c.settings,"
    " json_extract(c.settings, '$.method'), t.value, t.flops,"
    " (SELECT SUM(a.seconds) FROM attempt a WHERE a.trial_id = t.id),"
    " (SELECT MAX(a.peak_bytes) FROM attempt a WHERE a.trial_id = t.id), " UNIX(
        "t.created_at") ","
                        " (SELECT " UNIX("MIN(a.started_at)") " FROM attempt a WHERE a.trial_id = t.id), " UNIX(
                            "t.finished_at") ","
                                             " t.total_steps, t.trained_parameters, t.stored_bytes"
                                             " FROM trial t JOIN configuration c ON c.id = t.configuration_id JOIN "
                                             "sweep s ON s.id = t.sweep_id"
                                             " WHERE t.sweep_id = ?1 ORDER BY t.number";

struct trial_call {
    export_trial_fn on_trial;
    void *context;
};

static const char *words(sqlite3_stmt *row, int c)
{
    return (const char *)sqlite3_column_text(row, c);
}

static int on_trial_row(sqlite3_stmt *row, void *context, struct err *err)
{
    const struct trial_call *call = context;
    struct export_trial trial = {
        .id = sqlite3_column_int64(row, 0),
        .number = sqlite3_column_int64(row, 1),
        .configuration = sqlite3_column_int64(row, 2),
        .steps = sqlite3_column_int64(row, 3),
        .attempts = sqlite3_column_int64(row, 4),
        .sweep = words(row, 5),
        .role = words(row, 6),
        .method = words(row, 7) ? words(row, 7) : "",
        .seed = words(row, 8),
        .identity = words(row, 9),
        .state = words(row, 10),
        .reason = words(row, 11),
        .message = words(row, 12),
        .created_at = words(row, 13),
        .finished_at = words(row, 14),
        .parameters = words(row, 15),
        .settings = words(row, 16),
        .method_json = words(row, 17),
        .value = export_real(row, 18),
        .flops = export_real(row, 19),
        .seconds = export_real(row, 20),
        .peak_bytes = export_real(row, 21),
        .created = export_real(row, 22),
        .started = export_real(row, 23),
        .finished = export_real(row, 24),
        .total_steps = whole(row, 25),
        .trained_parameters = whole(row, 26),
        .stored_bytes = whole(row, 27),
    };
    return call->on_trial(&trial, call->context, err);
}

int export_each_trial(struct store *store, int64_t sweep_id, export_trial_fn on_trial, void *context, struct err *err)
{
    struct trial_call call = {on_trial, context};
    return export_each(store, trials_sql, sweep_id, on_trial_row, &call, err);
}

int export_each_sweep(const struct export_request *request, export_sweep_fn on_sweep, void *context, struct err *err)
{
    int rc = 0;
    if (sqlite3_exec(store_database(request->store), "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return export_sql_error(request->store, "a moment of the store", err);
    for (int i = 0; rc == 0 && i < request->n_names; i++) {
        int64_t id = 0;
        rc = store_find_sweep(request->store, request->names[i], &id, err);
        if (rc == 0 && id == 0)
            rc = err_set(err, ERR_NOT_FOUND, "there is no sweep '%s' in '%s'", request->names[i],
                         store_path(request->store));
        if (rc == 0)
            rc = on_sweep(id, request->names[i], context, err);
    }
    sqlite3_exec(store_database(request->store), "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

int export_names_place(struct export_names *set, const char *name)
{
    for (int i = 0; i < set->n; i++)
        if (strcmp(set->names[i], name) == 0)
            return i;
    if (set->n == set->capacity) {
        int capacity = set->capacity ? set->capacity * 2 : 16;
        char **names = realloc(set->names, (size_t)capacity * sizeof(*names));
        if (!names)
            return -1;
        set->names = names;
        set->capacity = capacity;
    }
    set->names[set->n] = strdup(name);
    return set->names[set->n] ? set->n++ : -1;
}

void export_names_done(struct export_names *set)
{
    for (int i = 0; i < set->n; i++)
        free(set->names[i]);
    free(set->names);
    *set = (struct export_names){0};
}

void export_add_value(struct text *out, sqlite3_stmt *row, int c)
{
    switch (sqlite3_column_type(row, c)) {
    case SQLITE_INTEGER:
        text_printf(out, "%lld", (long long)sqlite3_column_int64(row, c));
        break;
    case SQLITE_FLOAT:
        if (isfinite(sqlite3_column_double(row, c)))
            text_add_double(out, sqlite3_column_double(row, c));
        else
            text_add(out, "null");
        break;
    case SQLITE_NULL:
        text_add(out, "null");
        break;
    default:
        export_json_text(out, words(row, c), (size_t)sqlite3_column_bytes(row, c));
    }
}

void export_add_path_part(struct text *out, const char *name)
{
    size_t n = strnlen(name, 120);
    if (n == 0)
        text_add_char(out, '_');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        bool is_plain = c < 0x80 && (isalnum(c) || c == '-' || c == '_' || (c == '.' && i > 0));
        text_add_char(out, is_plain ? (char)c : '_');
    }
}

int export_write_file(const char *path, const struct text *content, struct err *err)
{
    if (content->failed)
        return err_set(err, ERR_NOMEM, "no memory for '%s'", path);
    char *folder = file_folder(path);
    int rc = folder ? file_make_folders(folder, err) : err_set(err, ERR_NOMEM, "no memory for '%s'", path);
    if (rc == 0)
        rc = file_write_atomic(path, content->data ? content->data : "", content->len, err);
    free(folder);
    return rc;
}
