/* Reads points in the order of the table's key, a curve at a time, and thins each as it ends. */
#include "orchestrator/export_curves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/export_columns.h"

enum { MIN_POINTS = 12, MAX_POINTS = 400, ALL_POINTS = 1000000 };

/* Growing arrays; everything is dropped at once. */
struct points {
    uint32_t *steps;
    float *values;
    size_t n, capacity;
};

struct curves {
    struct points one, all; /* the curve being read; what is kept of all */
    uint32_t *trials, *metrics, *counts, *kept;
    size_t n, capacity, kept_capacity, limit;
    bool failed;
};

static bool points_grow(struct points *points)
{
    size_t capacity = points->capacity ? points->capacity * 2 : 256;
    uint32_t *steps = realloc(points->steps, capacity * sizeof(*steps));
    if (!steps)
        return false;
    points->steps = steps;
    float *values = realloc(points->values, capacity * sizeof(*values));
    if (!values)
        return false;
    points->values = values;
    points->capacity = capacity;
    return true;
}

static bool points_add(struct points *points, uint32_t step, float value)
{
    if (points->n == points->capacity && !points_grow(points))
        return false;
    points->steps[points->n] = step;
    points->values[points->n++] = value;
    return true;
}

/* Twice the area of the triangle of the last kept point, a candidate and the next bucket's mean. NaN counts most: a
 * curve that diverged must show it. */
static double triangle(double ax, double ay, double bx, double by, double cx, double cy)
{
    double area = fabs((ax - cx) * (by - ay) - (ax - bx) * (cy - ay));
    return isnan(area) ? INFINITY : area;
}

size_t export_thin(const uint32_t *steps, const float *values, size_t n, size_t limit, uint32_t *kept)
{
    size_t n_kept = 0, last = 0;
    if (n <= limit) {
        for (; n_kept < n; n_kept++)
            kept[n_kept] = (uint32_t)n_kept;
        return n_kept;
    }
    kept[n_kept++] = 0;
    double width = (double)(n - 2) / (double)(limit - 2);
    for (size_t bucket = 0; bucket < limit - 2; bucket++) {
        size_t from = (size_t)((double)bucket * width) + 1, to = (size_t)((double)(bucket + 1) * width) + 1;
        size_t end = bucket + 3 == limit ? n : (size_t)((double)(bucket + 2) * width) + 1;
        double x = 0, y = 0, best = -1;
        for (size_t i = to; i < end && i < n; i++) {
            x += steps[i];
            y += isnan(values[i]) ? 0 : (double)values[i];
        }
        double size = (double)(end > n ? n : end) - (double)to;
        size_t choice = from;
        for (size_t i = from; i < to; i++) {
            double area = triangle(steps[last], (double)values[last], steps[i], (double)values[i], x / size, y / size);
            if (area > best) {
                best = area;
                choice = i;
            }
        }
        last = choice;
        kept[n_kept++] = (uint32_t)choice;
    }
    kept[n_kept++] = (uint32_t)(n - 1);
    return n_kept;
}

static bool reserve_curve(struct curves *curves)
{
    if (curves->one.n > curves->kept_capacity) {
        uint32_t *kept = realloc(curves->kept, curves->one.capacity * sizeof(*kept));
        if (!kept)
            return false;
        curves->kept = kept;
        curves->kept_capacity = curves->one.capacity;
    }
    if (curves->n < curves->capacity)
        return true;
    size_t capacity = curves->capacity ? curves->capacity * 2 : 64;
    uint32_t **arrays[] = {&curves->trials, &curves->metrics, &curves->counts};
    for (size_t i = 0; i < 3; i++) {
        uint32_t *grown = realloc(*arrays[i], capacity * sizeof(*grown));
        if (!grown)
            return false;
        *arrays[i] = grown;
    }
    curves->capacity = capacity;
    return true;
}

static void curve_close(struct curves *curves, int64_t trial, uint32_t metric)
{
    struct points *one = &curves->one;
    if (one->n == 0 || curves->failed)
        return;
    curves->failed = !reserve_curve(curves);
    if (curves->failed)
        return;
    size_t n = export_thin(one->steps, one->values, one->n, curves->limit, curves->kept);
    for (size_t i = 0; i < n && !curves->failed; i++)
        curves->failed = !points_add(&curves->all, one->steps[curves->kept[i]], one->values[curves->kept[i]]);
    curves->trials[curves->n] = (uint32_t)trial;
    curves->metrics[curves->n] = metric;
    curves->counts[curves->n++] = (uint32_t)n;
    one->n = 0;
}

/* Names, [name, name, …], with the place of each id in `places` (by id; 0 is the first). */
static int add_names(struct text *out, struct store *store, uint32_t **places, int64_t *n_places, struct err *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(store_database(store), "SELECT id, name, MAX(id) OVER () FROM metric_name ORDER BY name", -1,
                           &row, NULL) != SQLITE_OK)
        return export_sql_error(store, "the names of metrics", err);
    int step;
    uint32_t n = 0;
    text_add(out, "\"names\":[");
    while ((step = sqlite3_step(row)) == SQLITE_ROW) {
        if (!*places) {
            *n_places = sqlite3_column_int64(row, 2) + 1;
            *places = calloc((size_t)*n_places, sizeof(**places));
        }
        if (!*places)
            break;
        (*places)[sqlite3_column_int64(row, 0)] = n;
        text_add(out, n++ ? "," : "");
        export_json_text(out, (const char *)sqlite3_column_text(row, 1), (size_t)sqlite3_column_bytes(row, 1));
    }
    text_add_char(out, ']');
    sqlite3_finalize(row);
    if (step == SQLITE_DONE)
        return 0;
    return step == SQLITE_ROW ? err_set(err, ERR_NOMEM, "no memory for the names of metrics")
                              : export_sql_error(store, "the names of metrics", err);
}

/* '+' keeps the planner from the index on sweep_id: trials by rowid and points by key need no sorting. */
static const char points_sql[] =
    "SELECT t.number, m.name_id, m.step, m.value FROM trial t CROSS JOIN metric m ON m.trial_id = t.id"
    " WHERE +t.sweep_id = ?1 AND (?2 OR m.name_id NOT IN (SELECT id FROM metric_name WHERE name IN"
    " ('train/grad_norm', 'train/learning_rate'))) ORDER BY t.id, m.name_id, m.step";

static int read_points(struct curves *curves, struct store *store, int64_t sweep_id, bool has_all,
                       const uint32_t *places, struct err *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(store_database(store), points_sql, -1, &row, NULL) != SQLITE_OK)
        return export_sql_error(store, "the curves", err);
    sqlite3_bind_int64(row, 1, sweep_id);
    sqlite3_bind_int(row, 2, has_all);
    int step = SQLITE_ROW;
    int64_t trial = 0, metric = 0;
    while (!curves->failed && (step = sqlite3_step(row)) == SQLITE_ROW) {
        if (sqlite3_column_int64(row, 0) != trial || sqlite3_column_int64(row, 1) != metric) {
            curve_close(curves, trial, places[metric]);
            trial = sqlite3_column_int64(row, 0);
            metric = sqlite3_column_int64(row, 1);
        }
        float value = sqlite3_column_type(row, 3) == SQLITE_NULL ? NAN : (float)sqlite3_column_double(row, 3);
        if (!points_add(&curves->one, (uint32_t)sqlite3_column_int64(row, 2), value))
            curves->failed = true;
    }
    if (trial != 0)
        curve_close(curves, trial, places[metric]);
    sqlite3_finalize(row);
    if (curves->failed)
        return err_set(err, ERR_NOMEM, "no memory for the curves of a sweep");
    return step == SQLITE_DONE ? 0 : export_sql_error(store, "the curves", err);
}

enum { PIECE_POINTS = 3 << 14 }; /* whole base64 digits */

static int give_values(struct export_pieces *pieces, const float *values, size_t n, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i += PIECE_POINTS) {
        text_add_base64(&pieces->text, values + i, (n - i < PIECE_POINTS ? n - i : PIECE_POINTS) * sizeof(*values));
        rc = export_give(pieces, err);
    }
    return rc;
}

static int give_curves(struct export_pieces *pieces, const struct curves *curves, struct err *err)
{
    const struct {
        const char *name;
        const uint32_t *numbers;
        size_t n;
    } blocks[] = {{"trial", curves->trials, curves->n},
                  {"metric", curves->metrics, curves->n},
                  {"n", curves->counts, curves->n},
                  {"steps", curves->all.steps, curves->all.n}};
    int rc = 0;
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]) && rc == 0; i++) {
        text_printf(&pieces->text, ",\"%s\":{", blocks[i].name);
        export_whole_numbers(&pieces->text, blocks[i].numbers, blocks[i].n);
        text_add_char(&pieces->text, '}');
        rc = export_give(pieces, err);
    }
    text_add(&pieces->text, ",\"values\":{\"f32\":\"");
    if (rc == 0)
        rc = give_values(pieces, curves->all.values, curves->all.n, err);
    text_add(&pieces->text, "\"}}");
    return rc;
}

int export_count_trials(struct store *store, int64_t sweep_id, int64_t *n, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(store_database(store), "SELECT COUNT(*) FROM trial WHERE sweep_id = ?1", -1, &row, NULL) ==
            SQLITE_OK &&
        sqlite3_bind_int64(row, 1, sweep_id) == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW)
        *n = sqlite3_column_int64(row, 0);
    else
        rc = export_sql_error(store, "the number of trials", err);
    sqlite3_finalize(row);
    return rc;
}

int export_curves(struct export_pieces *pieces, struct store *store, int64_t sweep_id, struct err *err)
{
    struct curves curves = {0};
    uint32_t *places = NULL;
    int64_t n_places = 0, n_trials = 0;
    int rc = export_count_trials(store, sweep_id, &n_trials, err);
    int64_t limit = n_trials > 0 ? ALL_POINTS / (4 * n_trials) : MAX_POINTS;
    curves.limit = (size_t)(limit < MIN_POINTS ? MIN_POINTS : limit > MAX_POINTS ? MAX_POINTS : limit);
    text_add(&pieces->text, ",\n\"curves\":{");
    if (rc == 0)
        rc = add_names(&pieces->text, store, &places, &n_places, err);
    if (rc == 0 && places)
        rc = read_points(&curves, store, sweep_id, n_trials <= EXPORT_MANY_TRIALS, places, err);
    if (rc == 0)
        rc = give_curves(pieces, &curves, err);
    free(places);
    free(curves.one.steps);
    free(curves.one.values);
    free(curves.all.steps);
    free(curves.all.values);
    free(curves.trials);
    free(curves.metrics);
    free(curves.counts);
    free(curves.kept);
    return rc;
}
