/* The finished trials of sweeps, configuration by configuration, from the store. */
#include <math.h>
#include <string.h>

#include "orchestrator/compare_internal.h"
#include "orchestrator/summary.h"

static int sql_error(struct store *store, const char *what, struct err *err)
{
    return err_set(err, ERR_STORE, "%s: cannot read %s: %s", store_path(store), what,
                   sqlite3_errmsg(store_database(store)));
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for a comparison");
}

static double column_real(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(row, column);
}

static const char *column_text(sqlite3_stmt *row, int column)
{
    const unsigned char *s = sqlite3_column_text(row, column);
    return s ? (const char *)s : "";
}

/* Objective -------------------------------------------------------------------------------------------------------- */

/* Sets the comparison's objective, or refuses one that differs from it. */
static int take_objective(struct comparison *c, const char *sweep, const char *metric, const char *goal, int64_t seed,
                          struct arena *arena, struct err *err)
{
    if (c->metric && (strcmp(c->metric, metric) != 0 || strcmp(c->goal, goal) != 0))
        return err_set(err, ERR_USAGE, "compare: sweep '%s' would %s %s, sweep '%s' would %s %s: compare them apart",
                       c->sweeps[0], c->goal, c->metric, sweep, goal, metric);
    if (c->metric)
        return 0;
    c->metric = arena_strdup(arena, metric);
    c->goal = arena_strdup(arena, goal);
    c->is_maximized = strcmp(goal, "maximize") == 0;
    c->seed = (uint64_t)seed;
    return c->metric && c->goal ? 0 : no_memory(err);
}

static int read_objective(struct store *store, int64_t id, const char *sweep, struct arena *arena, struct comparison *c,
                          struct err *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(store_database(store),
                           "SELECT o.metric, o.goal, s.seed FROM objective o JOIN sweep s ON s.id = o.sweep_id"
                           " WHERE o.sweep_id = ?1 AND o.position = 0",
                           -1, &row, NULL) != SQLITE_OK)
        return sql_error(store, "the objective", err);
    sqlite3_bind_int64(row, 1, id);
    int rc = sqlite3_step(row) == SQLITE_ROW
                 ? take_objective(c, sweep, column_text(row, 0), column_text(row, 1), sqlite3_column_int64(row, 2),
                                  arena, err)
                 : err_set(err, ERR_STORE, "%s: sweep '%s' has no objective", store_path(store), sweep);
    sqlite3_finalize(row);
    return rc;
}

/* Trials ----------------------------------------------------------------------------------------------------------- */

static const char trials_sql[] =
    "SELECT c.id, c.number, json_extract(c.settings, '$.method'), c.parameters, t.id, t.seed, t.value,"
    " (SELECT json_extract(e.metrics, '$.' || substr(?2, instr(?2, '/') + 1)) FROM evaluation e"
    "   WHERE e.trial_id = t.id AND e.split = 'test' AND e.is_final ORDER BY e.step DESC LIMIT 1),"
    " t.trained_parameters, t.stored_bytes, (SELECT SUM(a.seconds) FROM attempt a WHERE a.trial_id = t.id),"
    /* The bias axis is the first metric of the first check of bias, of those that are 0 without any. */
    " (SELECT ABS(b.after) FROM bias_check b WHERE b.trial_id = t.id"
    "   AND substr(b.check_name, instr(b.check_name, ':') + 1) NOT IN ('weights', 'perplexity', 'probe', 'safety')"
    "   AND b.metric NOT IN ('stereotype_share', 'ss', 'lms', 'icat') AND b.metric NOT LIKE 'accuracy%'"
    "   ORDER BY b.check_name, b.id LIMIT 1),"
    /* Forgetting: 1 − knowledge kept, as compare_kept has it. */
    " (SELECT 1 - COALESCE("
    "     AVG(iif(b.metric = 'probe_accuracy', min(1, b.after / b.before), NULL)),"
    "     AVG(iif(b.metric IN ('perplexity', 'pseudo_perplexity'), min(1, b.before / b.after), NULL)))"
    "   FROM bias_check b WHERE b.trial_id = t.id AND b.before > 0 AND b.after > 0),"
    " t.flops, (SELECT MAX(a.peak_bytes) FROM attempt a WHERE a.trial_id = t.id),"
    " COALESCE(json_extract(c.settings, '$.label_smoothing'), 0) = 0"
    "   AND COALESCE(json_extract(c.settings, '$.class_weights'), 'none') = 'none',"
    " c.settings, json_extract(c.settings, '$.examples_per_class'), json_extract(c.settings, '$.train_fraction'),"
    " json_extract(c.settings, '$.train_examples')"
    " FROM trial t JOIN configuration c ON c.id = t.configuration_id"
    " WHERE t.sweep_id = ?1 AND t.state = 'COMPLETE' AND c.role = 'search' AND t.value IS NOT NULL"
    " ORDER BY c.number, t.seed";

enum { COLUMN_TEST = 7, COLUMN_AXES = 8, COLUMN_FLOPS = 13, COLUMN_PEAK, COLUMN_PLAIN, COLUMN_SETTINGS, COLUMN_SIZES };

/* Room for one more of `size` bytes: doubled when n is a power of two. NULL without memory. */
static void *grow(struct arena *arena, void *items, int n, size_t size)
{
    if (n > 0 && (n & (n - 1)) != 0)
        return items;
    void *larger = arena_calloc(arena, n ? 2 * (size_t)n : 1, size);
    if (larger && n > 0)
        memcpy(larger, items, (size_t)n * size);
    return larger;
}

/* Which part of the training rows a configuration learns from. */
static void set_size(struct compare_configuration *x, sqlite3_stmt *row, struct arena *arena)
{
    double per_class = column_real(row, COLUMN_SIZES), fraction = column_real(row, COLUMN_SIZES + 1),
           rows = column_real(row, COLUMN_SIZES + 2);
    x->size_order = per_class > 0 ? per_class : fraction < 1 ? fraction : rows > 0 ? rows : 1e18;
    x->size = per_class > 0  ? arena_printf(arena, "%g a class", per_class)
              : fraction < 1 ? arena_printf(arena, "%g %%", 100 * fraction)
              : rows > 0     ? arena_printf(arena, "%g", rows)
                             : "all";
}

static int add_configuration(struct comparison *c, sqlite3_stmt *row, struct arena *arena, struct err *err)
{
    c->configurations = grow(arena, c->configurations, c->n_configurations, sizeof(*c->configurations));
    if (!c->configurations)
        return no_memory(err);
    struct compare_configuration *configuration = &c->configurations[c->n_configurations++];
    *configuration = (struct compare_configuration){.sweep = c->n_sweeps - 1,
                                                    .method = summary_method_label(arena, column_text(row, 2)),
                                                    .number = sqlite3_column_int64(row, 1),
                                                    .parameters = arena_strdup(arena, column_text(row, 3)),
                                                    .settings = arena_strdup(arena, column_text(row, COLUMN_SETTINGS)),
                                                    .has_plain_loss = sqlite3_column_int(row, COLUMN_PLAIN) != 0};
    set_size(configuration, row, arena);
    return configuration->method && configuration->parameters && configuration->settings && configuration->size
               ? 0
               : no_memory(err);
}

/* Adds the row's trial; axes hold sums until compare.c divides them. */
static int add_trial(struct compare_configuration *configuration, sqlite3_stmt *row, struct arena *arena,
                     struct err *err)
{
    if (configuration->n_trials == COMPARE_MAX_SEEDS)
        return err_set(err, ERR_NOMEM, "configuration %lld has more than %d seeds", (long long)configuration->number,
                       COMPARE_MAX_SEEDS);
    configuration->trials = grow(arena, configuration->trials, configuration->n_trials, sizeof(struct compare_trial));
    if (!configuration->trials)
        return no_memory(err);
    configuration->trials[configuration->n_trials++] = (struct compare_trial){.id = sqlite3_column_int64(row, 4),
                                                                              .seed = sqlite3_column_int64(row, 5),
                                                                              .value = sqlite3_column_double(row, 6),
                                                                              .test = column_real(row, COLUMN_TEST),
                                                                              .gap = NAN,
                                                                              .row = -1};
    configuration->axes[AXIS_SCORE] += sqlite3_column_double(row, 6);
    for (int axis = AXIS_PARAMETERS; axis < AXIS_COUNT; axis++)
        configuration->axes[axis] += column_real(row, COLUMN_AXES + axis - AXIS_PARAMETERS);
    configuration->flops = column_real(row, COLUMN_FLOPS);
    configuration->peak_bytes = fmax(configuration->peak_bytes, column_real(row, COLUMN_PEAK));
    return 0;
}

static int read_trials(struct store *store, int64_t id, struct arena *arena, struct comparison *c, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int64_t current = 0;
    int rc = 0, step;
    if (sqlite3_prepare_v2(store_database(store), trials_sql, -1, &row, NULL) != SQLITE_OK)
        return sql_error(store, "the trials", err);
    sqlite3_bind_int64(row, 1, id);
    sqlite3_bind_text(row, 2, c->metric, -1, SQLITE_STATIC);
    while ((step = sqlite3_step(row)) == SQLITE_ROW && rc == 0) {
        if (sqlite3_column_int64(row, 0) != current)
            rc = add_configuration(c, row, arena, err);
        current = sqlite3_column_int64(row, 0);
        if (rc == 0)
            rc = add_trial(&c->configurations[c->n_configurations - 1], row, arena, err);
    }
    if (rc == 0 && step != SQLITE_DONE)
        rc = sql_error(store, "the trials", err);
    sqlite3_finalize(row);
    return rc;
}

int compare_read_sweep(struct store *store, const char *sweep, struct arena *arena, struct comparison *c,
                       struct err *err)
{
    int64_t id = 0;
    const char *const *names = NULL;
    int rc = store_find_sweep(store, sweep, &id, err);
    if (rc == 0 && id == 0 && (rc = store_sweep_names(store, arena, &names, err)) == 0) {
        const char *nearest = text_nearest(sweep, names);
        rc = err_set(err, ERR_NOT_FOUND, "there is no sweep '%s' in '%s'%s%s", sweep, store_path(store),
                     nearest ? ", nearest is " : "", nearest ? nearest : "");
    }
    if (rc == 0)
        rc = read_objective(store, id, sweep, arena, c, err);
    c->sweeps[c->n_sweeps++] = sweep;
    return rc == 0 ? read_trials(store, id, arena, c, err) : rc;
}

/* Of chosen configurations ----------------------------------------------------------------------------------------- */

/* Training loss: the mean over the tenth of the steps that leads up to the best checkpoint, one step being noisy. */
static const char gap_sql[] = "SELECT json_extract(e.metrics, '$.loss') - (SELECT AVG(m.value) FROM metric m JOIN "
                              "metric_name n ON n.id = m.name_id"
                              "   WHERE m.trial_id = t.id AND n.name = 'train/loss' AND m.step <= e.step AND m.step > "
                              "e.step - MAX(1, t.steps / 10))"
                              " FROM evaluation e JOIN trial t ON t.id = e.trial_id"
                              " WHERE t.id = ?1 AND e.split = 'validation' AND e.is_final ORDER BY e.step DESC LIMIT 1";

static const char checks_sql[] =
    "SELECT b.check_name, b.metric, COUNT(*), AVG(b.before), AVG(b.after) FROM bias_check b WHERE b.trial_id IN"
    " (SELECT t.id FROM trial t WHERE t.configuration_id = (SELECT configuration_id FROM trial WHERE id = ?1)"
    "   AND t.state = 'COMPLETE') GROUP BY b.check_name, b.metric ORDER BY b.check_name, MIN(b.id)";

static int read_gap(struct store *store, struct compare_trial *trial, struct err *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(store_database(store), gap_sql, -1, &row, NULL) != SQLITE_OK)
        return sql_error(store, "the losses", err);
    sqlite3_bind_int64(row, 1, trial->id);
    if (sqlite3_step(row) == SQLITE_ROW)
        trial->gap = column_real(row, 0);
    sqlite3_finalize(row);
    return 0;
}

static int read_checks(struct store *store, struct compare_method *method, struct arena *arena, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(store_database(store), checks_sql, -1, &row, NULL) != SQLITE_OK)
        return sql_error(store, "the checks", err);
    sqlite3_bind_int64(row, 1, method->chosen->trials[0].id);
    while (rc == 0 && sqlite3_step(row) == SQLITE_ROW) {
        method->checks = grow(arena, method->checks, method->n_checks, sizeof(*method->checks));
        struct compare_check check = {arena_strdup(arena, column_text(row, 0)),
                                      arena_strdup(arena, column_text(row, 1)), sqlite3_column_int(row, 2),
                                      column_real(row, 3), column_real(row, 4)};
        if (!method->checks || !check.name || !check.metric)
            rc = no_memory(err);
        else
            method->checks[method->n_checks++] = check;
    }
    sqlite3_finalize(row);
    return rc;
}

int compare_read_gaps(struct store *store, struct compare_configuration *x, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < x->n_trials && rc == 0 && x->has_plain_loss; i++)
        rc = read_gap(store, &x->trials[i], err);
    return rc;
}

int compare_read_chosen(struct store *store, struct compare_method *method, struct arena *arena, struct err *err)
{
    struct compare_configuration *chosen = method->chosen;
    int rc = read_checks(store, method, arena, err);
    if (rc == 0)
        rc = compare_read_gaps(store, chosen, err);
    for (int i = 0; i < chosen->n_trials && rc == 0 && chosen->has_plain_loss; i++)
        rc = fit_read(store, chosen->trials[i].id, &method->fit, err);
    fit_judge(&method->fit);
    compare_kept(method);
    return rc;
}
