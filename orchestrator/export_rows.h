/* What exports read: rows of a query, and trials with what belongs to them. */
#ifndef ORCHESTRATOR_EXPORT_ROWS_H
#define ORCHESTRATOR_EXPORT_ROWS_H

#include "common/text.h"
#include "orchestrator/export.h"

typedef int (*export_row_fn)(sqlite3_stmt *row, void *context, struct err *err);
/* Calls on_row for each row of a query with at most one parameter (?1 = id). Not 0 ends it and is returned. */
int export_each(struct store *store, const char *sql, int64_t id, export_row_fn on_row, void *context,
                struct err *err) MUST_CHECK;

/* A trial; texts are valid during the call, NULL where the store has NULL. Times are seconds since 1970. */
struct export_trial {
    int64_t id, number, configuration, steps, attempts;
    const char *sweep, *role, *method, *seed, *identity, *state, *reason, *message, *created_at, *finished_at;
    const char *parameters, *settings; /* canonical JSON */
    const char *method_json;           /* "lora" in quotes, or a list */
    struct optional_real value, flops, seconds, peak_bytes, created, started, finished;
    struct optional_int total_steps, trained_parameters, stored_bytes;
};
typedef int (*export_trial_fn)(const struct export_trial *trial, void *context, struct err *err);
/* Every trial of a sweep, by number. */
int export_each_trial(struct store *store, int64_t sweep_id, export_trial_fn on_trial, void *context,
                      struct err *err) MUST_CHECK;

typedef int (*export_sweep_fn)(int64_t sweep_id, const char *name, void *context, struct err *err);
/* Every sweep of a request, in one read transaction: one moment of a store that is being written. */
int export_each_sweep(const struct export_request *request, export_sweep_fn on_sweep, void *context,
                      struct err *err) MUST_CHECK;

/* A set of names in order of addition, for columns; zeroed is empty. */
struct export_names {
    char **names;
    int n, capacity;
};
/* The place of a name, added where it is new; −1 without memory. */
int export_names_place(struct export_names *set, const char *name);
void export_names_done(struct export_names *set);

/* Column c as a JSON value: null, a number, or a string. */
void export_add_value(struct text *out, sqlite3_stmt *row, int c);
/* `name` as a part of a path: what could leave the folder or trouble a file system becomes '_'; at most 120 bytes. */
void export_add_path_part(struct text *out, const char *name);
/* Makes the folder of `path` and replaces the file. */
int export_write_file(const char *path, const struct text *content, struct err *err) MUST_CHECK;
struct optional_real export_real(sqlite3_stmt *row, int c);

#endif
