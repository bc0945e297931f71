/* Writing curve points: the one operation whose cost a row matters.
 *
 * A batch is one operation: the attempt is checked once and a metric's name is looked up in a hash in memory. The
 * points are put in the order of the table and inserted several rows a statement, so that most of them go where the one
 * before went. Only the names are held in memory, never the points. */
#include "common/table.h"
#include "orchestrator/store_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct metric_name {
    char *name;
    int64_t id;
    bool is_committed;
    UT_hash_handle hh;
};

static void forget_name(struct store *store, struct metric_name *entry)
{
    HASH_DEL(store->metric_names, entry);
    free(entry->name);
    free(entry);
}

void store_names_rolled_back(struct store *store)
{
    struct metric_name *entry, *next;
    store->environment_id = 0;
    HASH_ITER(hh, store->metric_names, entry, next)
    {
        if (!entry->is_committed)
            forget_name(store, entry);
    }
}

void store_names_committed(struct store *store)
{
    for (struct metric_name *entry = store->metric_names; entry != NULL; entry = entry->hh.next)
        entry->is_committed = true;
}

void store_names_done(struct store *store)
{
    struct metric_name *entry, *next;
    HASH_ITER(hh, store->metric_names, entry, next)
    {
        forget_name(store, entry);
    }
}

static int remember_name(struct store *store, const char *name, int64_t id, struct err *err)
{
    struct metric_name *entry = calloc(1, sizeof *entry);
    if (entry == NULL || (entry->name = strdup(name)) == NULL) {
        free(entry);
        return err_set(err, ERR_NOMEM, "no memory for the metric '%s'", name);
    }
    entry->id = id;
    HASH_ADD_KEYPTR(hh, store->metric_names, entry->name, strlen(entry->name), entry);
    if (entry->hh.tbl != NULL)
        return 0;
    free(entry->name);
    free(entry);
    return err_set(err, ERR_NOMEM, "no memory for the metric '%s'", name);
}

/* The id of a name that is not in memory; adds it to the store when it is new. */
static int load_name(struct store *store, const char *name, int64_t *id, struct err *err)
{
    sqlite3_stmt *row;
    bool found = false;
    if (name[0] == '\0' || strnlen(name, STORE_METRIC_NAME_MAX + 1) > STORE_METRIC_NAME_MAX)
        return err_set(err, ERR_FORMAT, "a metric's name has %zu bytes, 1 to %d are allowed", strlen(name),
                       STORE_METRIC_NAME_MAX);
    if (HASH_COUNT(store->metric_names) >= STORE_METRIC_NAMES_MAX)
        return err_set(err, ERR_FORMAT, "metric '%s' is one more than the %d different ones that a store holds", name,
                       STORE_METRIC_NAMES_MAX);
    int rc =
        store_first(store, "SELECT id FROM metric_name WHERE name = ?1", BINDS(bind_text(name)), &row, &found, err);
    if (rc == 0 && found) {
        *id = sqlite3_column_int64(row, 0);
        sqlite3_reset(row);
    } else if (rc == 0) {
        rc = store_run(store, "INSERT INTO metric_name (name) VALUES (?1)", BINDS(bind_text(name)), NULL, err);
        *id = sqlite3_last_insert_rowid(store->db);
    }
    return rc == 0 ? remember_name(store, name, *id, err) : rc;
}

static int find_name(struct store *store, const char *name, int64_t *id, struct err *err)
{
    struct metric_name *entry;
    HASH_FIND_STR(store->metric_names, name, entry);
    if (entry == NULL)
        return load_name(store, name, id, err);
    *id = entry->id;
    return 0;
}

/* What a batch comes to: rows that were there with another value, and the first of them in words. */
struct differences {
    int64_t n;
    char first[512];
};

/* The row is there already: a computation that was repeated from a checkpoint must give the same. */
static int compare_point(struct store *store, int64_t trial_id, int64_t name_id, const struct store_point *point,
                         struct differences *differences, struct err *err)
{
    sqlite3_stmt *row;
    bool found = false;
    int rc = store_first(store, "SELECT value FROM metric WHERE trial_id = ?1 AND name_id = ?2 AND step = ?3",
                         BINDS(bind_int(trial_id), bind_int(name_id), bind_int(point->step)), &row, &found, err);
    if (rc != 0 || !found)
        return rc;
    const bool was_null = sqlite3_column_type(row, 0) == SQLITE_NULL;
    const double was = sqlite3_column_double(row, 0);
    sqlite3_reset(row);
    if (was_null ? !isfinite(point->value) : was == point->value)
        return 0;
    if (differences->n++ == 0)
        snprintf(differences->first, sizeof differences->first, "'%s' at step %" PRId64 " was %.17g, is now %.17g",
                 point->name, point->step, was_null ? (double)NAN : was, point->value);
    return 0;
}

/* Rows of one metric, several a statement: parameters are trial, metric, then step and value of each. */
enum { ROWS = 8 };
static const char insert_row[] = "INSERT INTO metric (trial_id, name_id, step, value) VALUES (?1, ?2, ?3, ?4) "
                                 "ON CONFLICT DO NOTHING";
static const char insert_rows[] = "INSERT INTO metric (trial_id, name_id, step, value) VALUES (?1, ?2, ?3, ?4), "
                                  "(?1, ?2, ?5, ?6), (?1, ?2, ?7, ?8), (?1, ?2, ?9, ?10), (?1, ?2, ?11, ?12), "
                                  "(?1, ?2, ?13, ?14), (?1, ?2, ?15, ?16), (?1, ?2, ?17, ?18) ON CONFLICT DO NOTHING";

/* Rows of one metric that are to be inserted next. */
struct rows {
    int64_t trial_id, name_id;
    const struct store_point *points[ROWS];
    int n;
};

static int insert(struct store *store, const char *sql, const struct rows *rows, int first, int n,
                  struct differences *differences, struct err *err)
{
    sqlite3_stmt *statement;
    int rc = store_prepare(store, sql, &statement, err);
    if (rc != 0)
        return rc;
    sqlite3_bind_int64(statement, 1, rows->trial_id);
    sqlite3_bind_int64(statement, 2, rows->name_id);
    for (int i = 0; i < n; i++) {
        const struct store_point *point = rows->points[first + i];
        sqlite3_bind_int64(statement, 3 + 2 * i, point->step);
        if (isfinite(point->value))
            sqlite3_bind_double(statement, 4 + 2 * i, point->value);
        else
            sqlite3_bind_null(statement, 4 + 2 * i);
    }
    if (sqlite3_step(statement) != SQLITE_DONE)
        rc = store_fail(store, "cannot write a point", err);
    sqlite3_reset(statement);
    if (rc != 0 || sqlite3_changes(store->db) == n)
        return rc;
    for (int i = 0; rc == 0 && i < n; i++)
        rc = compare_point(store, rows->trial_id, rows->name_id, rows->points[first + i], differences, err);
    return rc;
}

static int flush(struct store *store, struct rows *rows, struct differences *differences, struct err *err)
{
    int rc = 0;
    if (rows->n == ROWS)
        rc = insert(store, insert_rows, rows, 0, ROWS, differences, err);
    else
        for (int i = 0; rc == 0 && i < rows->n; i++)
            rc = insert(store, insert_row, rows, i, 1, differences, err);
    rows->n = 0;
    return rc;
}

/* The metrics of a batch, in the order in which they first appear; a name is the same text again, mostly. */
enum { BATCH_NAMES = 32 };
struct batch_names {
    const char *names[BATCH_NAMES];
    int64_t ids[BATCH_NAMES];
    int n;
};

/* The place of a point's metric in the batch; BATCH_NAMES: there are more than that. */
static int find_in_batch(struct store *store, struct batch_names *batch, const char *name, int *place, struct err *err)
{
    int rc = 0;
    for (*place = 0; *place < batch->n; ++*place)
        if (batch->names[*place] == name || strcmp(batch->names[*place], name) == 0)
            return 0;
    if (*place == BATCH_NAMES)
        return 0;
    rc = find_name(store, name, &batch->ids[*place], err);
    batch->names[*place] = name;
    batch->n += rc == 0;
    return rc;
}

/* Metric after metric, each in the order of the batch; those of more metrics than BATCH_NAMES as they come. */
static int insert_points(struct store *store, int64_t trial_id, const struct store_points *points,
                         struct differences *differences, struct err *err)
{
    struct batch_names names = {0};
    int rc = 0, place;
    unsigned char *places = malloc(points->n > 0 ? points->n : 1);
    if (places == NULL)
        return err_set(err, ERR_NOMEM, "no memory for %zu points", points->n);
    for (size_t i = 0; rc == 0 && i < points->n; i++) {
        rc = find_in_batch(store, &names, points->points[i].name, &place, err);
        places[i] = (unsigned char)place;
    }
    for (place = 0; rc == 0 && place < names.n; place++) {
        struct rows rows = {.trial_id = trial_id, .name_id = names.ids[place]};
        for (size_t i = 0; rc == 0 && i < points->n; i++) {
            if (places[i] != place)
                continue;
            rows.points[rows.n++] = &points->points[i];
            if (rows.n == ROWS)
                rc = flush(store, &rows, differences, err);
        }
        if (rc == 0)
            rc = flush(store, &rows, differences, err);
    }
    for (size_t i = 0; rc == 0 && i < points->n; i++) {
        if (places[i] != BATCH_NAMES)
            continue;
        struct rows rows = {.trial_id = trial_id, .points = {&points->points[i]}, .n = 1};
        rc = find_name(store, points->points[i].name, &rows.name_id, err);
        if (rc == 0)
            rc = flush(store, &rows, differences, err);
    }
    free(places);
    return rc;
}

int store_run_points(struct store *store, const struct store_op *op, struct store_result *result, struct err *err)
{
    const struct store_points *points = &op->points;
    struct differences differences = {0};
    int64_t trial_id = 0, last_step = 0;
    int rc = store_running_attempt(store, points->attempt_id, &trial_id, err);
    if (rc == 0)
        rc = insert_points(store, trial_id, points, &differences, err);
    for (size_t i = 0; i < points->n; i++)
        last_step = points->points[i].step > last_step ? points->points[i].step : last_step;
    if (rc == 0)
        rc = store_run(store, "UPDATE trial SET steps = ?2 WHERE id = ?1 AND steps < ?2",
                       BINDS(bind_int(trial_id), bind_int(last_step)), NULL, err);
    if (rc == 0 && differences.n > 0)
        rc = store_note_difference(store, trial_id, differences.n, differences.first, result, err);
    return rc;
}
