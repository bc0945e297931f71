/* Pairing the checks of a sweep with its baselines. Read first, then written: one row a check and metric. */
#include "orchestrator/bias_before.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/stats.h"
#include "common/stats_bootstrap.h"
#include "orchestrator/check_items.h"
#include "orchestrator/store_op.h"

/* A row of bias_check with the seed of its trial. The items lie with the first metric of a check. */
struct row {
    int64_t trial_id, seed;
    bool is_baseline;
    const char *check_name, *metric, *item_set;
    int64_t n_items;
    struct optional_real before;
    double after;
    struct check_items items; /* items.n 0: none */
};

struct reading {
    struct arena arena;
    struct row *rows;
    size_t n, capacity;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the checks of a sweep");
}

static int add_row(const struct store_bias_check *check, void *context, struct err *err)
{
    struct reading *reading = context;
    if (reading->n == reading->capacity) {
        size_t larger = reading->capacity ? 2 * reading->capacity : 256;
        struct row *moved = realloc(reading->rows, larger * sizeof(*moved));
        if (!moved)
            return no_memory(err);
        reading->rows = moved;
        reading->capacity = larger;
    }
    struct row *row = &reading->rows[reading->n++];
    *row = (struct row){.trial_id = check->trial_id,
                        .check_name = arena_strdup(&reading->arena, check->check_name),
                        .metric = arena_strdup(&reading->arena, check->metric),
                        .item_set = check->item_set_sha256 ? arena_strdup(&reading->arena, check->item_set_sha256) : "",
                        .n_items = check->n_items,
                        .before = check->before,
                        .after = check->after};
    return row->check_name && row->metric && row->item_set
               ? check_items_read(&row->items, row->check_name, check->items, &reading->arena, err)
               : no_memory(err);
}

/* Seeds and roles of the trials, which the rows do not have. */
static int add_seeds(struct store *store, int64_t sweep_id, struct reading *reading, struct err *err)
{
    sqlite3_stmt *query = NULL;
    size_t i = 0;
    int code = sqlite3_prepare_v2(store_database(store),
                                  "SELECT t.id, t.seed, c.role = 'baseline' FROM trial t "
                                  "JOIN configuration c ON c.id = t.configuration_id WHERE t.sweep_id = ?1 "
                                  "ORDER BY t.number",
                                  -1, &query, NULL);
    if (code == SQLITE_OK)
        sqlite3_bind_int64(query, 1, sweep_id);
    /* Rows come by the trial's number too. */
    while (code == SQLITE_OK && (code = sqlite3_step(query)) == SQLITE_ROW) {
        for (; i < reading->n && reading->rows[i].trial_id == sqlite3_column_int64(query, 0); i++) {
            reading->rows[i].seed = sqlite3_column_int64(query, 1);
            reading->rows[i].is_baseline = sqlite3_column_int(query, 2) != 0;
        }
        code = SQLITE_OK;
    }
    sqlite3_finalize(query);
    return code == SQLITE_DONE ? 0
                               : err_set(err, ERR_STORE, "store '%s': the trials' seeds cannot be read: %s",
                                         store_path(store), sqlite3_errmsg(store_database(store)));
}

/* The items of a row: its own, or those of the row of the same trial and check that has them. */
static const struct row *items_of(const struct reading *reading, const struct row *row)
{
    const struct row *first = row;
    while (first > reading->rows && first[-1].trial_id == row->trial_id)
        first--;
    for (; first < reading->rows + reading->n && first->trial_id == row->trial_id; first++)
        if (first->items.n > 0 && strcmp(first->check_name, row->check_name) == 0)
            return first;
    return NULL;
}

static const struct row *find_baseline(const struct reading *reading, const struct row *row)
{
    for (size_t i = 0; i < reading->n; i++) {
        const struct row *b = &reading->rows[i];
        if (b->is_baseline && b->seed == row->seed && strcmp(b->check_name, row->check_name) == 0 &&
            check_is_before(b->metric, row->metric))
            return b;
    }
    return NULL;
}

/* Quantiles of the differences that are defined: a resample can leave a group without members. Unknown when fewer than
 * half are. */
static void set_interval(double *differences, struct store_bias_check *check)
{
    int n = 0;
    for (int r = 0; r < BIAS_RESAMPLES; r++)
        if (!isnan(differences[r]))
            differences[n++] = differences[r];
    if (2 * n < BIAS_RESAMPLES)
        return;
    check->low = known_real(stats_quantile(differences, n, 0.025));
    check->high = known_real(stats_quantile(differences, n, 0.975));
}

/* The interval of the paired differences; unknown when the two were measured on other items. */
static int add_interval(const struct reading *reading, const struct row *row, const struct row *baseline,
                        struct store_bias_check *check, struct err *err)
{
    const struct row *after = items_of(reading, row), *before = items_of(reading, baseline);
    if (!after || !before || after->items.n != before->items.n || strcmp(row->item_set, baseline->item_set) != 0)
        return 0;
    struct check_items sides[] = {after->items, before->items};
    sides[0].metric = sides[1].metric = row->metric;
    if (isnan(check_items_metric(&sides[0], NULL, sides[0].n)) ||
        isnan(check_items_metric(&sides[1], NULL, sides[1].n)))
        return 0;
    const void *rows[] = {&sides[0], &sides[1]};
    double *means = malloc(3 * BIAS_RESAMPLES * sizeof(*means));
    if (!means)
        return no_memory(err);
    double *differences = means + 2 * BIAS_RESAMPLES;
    int rc = stats_resample(check_items_metric, rows, 2, sides[0].n, BIAS_RESAMPLES, (uint64_t)row->seed, means, err);
    for (int r = 0; r < BIAS_RESAMPLES && rc == 0; r++)
        differences[r] = means[2 * r] - means[2 * r + 1];
    if (rc == 0)
        set_interval(differences, check);
    free(means);
    return rc;
}

static int fill_row(struct store *store, const struct reading *reading, const struct row *row, struct err *err)
{
    const struct row *baseline = row->is_baseline || row->before.is_known ? NULL : find_baseline(reading, row);
    if (!baseline)
        return 0;
    struct store_op op = {.kind = STORE_BIAS_CHECK,
                          .bias_check = {.trial_id = row->trial_id,
                                         .check_name = row->check_name,
                                         .metric = row->metric,
                                         .n_items = row->n_items,
                                         .item_set_sha256 = row->item_set[0] ? row->item_set : NULL,
                                         .after = row->after,
                                         .before = known_real(baseline->after),
                                         .delta = known_real(row->after - baseline->after)}};
    int rc = add_interval(reading, row, baseline, &op.bias_check, err);
    return rc == 0 ? store_apply(store, &op, 1, NULL, err) : rc;
}

int bias_before_fill(struct store *store, int64_t sweep_id, struct err *err)
{
    struct reading reading = {0};
    int rc = store_read_bias_checks(store, sweep_id, false, add_row, &reading, err);
    if (rc == 0)
        rc = add_seeds(store, sweep_id, &reading, err);
    for (size_t i = 0; i < reading.n && rc == 0; i++)
        rc = fill_row(store, &reading, &reading.rows[i], err);
    free(reading.rows);
    arena_done(&reading.arena);
    return rc;
}

int bias_before_drop_items(struct store *store, int64_t sweep_id, const char *check_name, struct err *err)
{
    const struct store_op op = {.kind = STORE_DROP_ITEMS,
                                .drop_items = {.sweep_id = sweep_id, .check_name = check_name}};
    return store_apply(store, &op, 1, NULL, err);
}
